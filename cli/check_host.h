/* paddock check --live, of the engine's own host: which gates of its kernel are closed
 * to cells, and how each is opened. */
#ifndef PD_CLI_CHECK_HOST_H
#define PD_CLI_CHECK_HOST_H

#include <stddef.h>
#include <stdio.h>

/* Looks below `root` ("" for this machine) at proc/sys and sys: user and other
 * namespaces, seccomp, AppArmor and its profile. Prints a line to `out` for what is in
 * order and one to `problems` for each gate that is closed. Returns how many are. */
size_t pd_check_host(const char *root, FILE *out, FILE *problems);

#endif
