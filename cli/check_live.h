/* paddock check --live: whether what is configured would work, asked of those it
 * would work with, without doing any of it. */
#ifndef PD_CLI_CHECK_LIVE_H
#define PD_CLI_CHECK_LIVE_H

#include <stddef.h>
#include <stdio.h>

/* Prints what is in order to `out`, a line for each, and each problem to `problems`.
 * Returns how many problems there were. */
size_t pd_check_live(FILE *out, FILE *problems);

#endif
