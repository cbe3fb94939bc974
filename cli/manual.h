/* The manual page, the shell's completion and --version, made from the table of
 * commands and from what each of them says to --help: told once, shown thrice. */
#ifndef PD_CLI_MANUAL_H
#define PD_CLI_MANUAL_H

#include <stddef.h>
#include <stdio.h>

struct pd_command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the name; returns the exit status */
    const char *summary;               /* one line */
};

/* paddock(1) in roff (man(7)), as `paddock man` prints it. */
void pd_manual_page(FILE *out, const struct pd_command *commands, size_t count);

/* A script for bash that completes commands, their flags and file names, as
 * `paddock completion` prints it. */
void pd_manual_completion(FILE *out, const struct pd_command *commands, size_t count);

/* Our version, and those of the libraries that are in use. */
void pd_manual_version(FILE *out);

#endif
