/* paddock check: what configuration files mean in full, or what is wrong with
 * them. */
#ifndef PD_CLI_CHECK_H
#define PD_CLI_CHECK_H

#include <stddef.h>
#include <stdio.h>

/* `paddock check [FILE...]`, without one the Redis of REDIS_URL: argv[0] is "check". The exit status: 0 when all is in
 * order, 1 when there was a problem, 2 for wrong usage. */
int pd_check_main(int argc, char **argv);

/* Reads files, and what stands in folders (*.yaml, *.yml, folders below included): SandboxPools, short forms, catalogues of languages, schemas. Prints
 * the canonical form of each document to `out`, as one YAML stream that checks
 * to itself, and each problem to `problems` as "file:line: path: text". Returns
 * how many problems there were. */
size_t pd_check_files(char *const *paths, size_t count, FILE *out, FILE *problems);

/* Likewise, the pools declared in the Redis that the environment names. */
size_t pd_check_redis(FILE *out, FILE *problems);

#endif
