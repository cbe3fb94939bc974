/* paddock check --live, of Redis (REDIS_URL): whether it is in reach and keeps
 * what it is given (AOF, noeviction). Changes nothing there. */
#ifndef PD_CLI_LIVE_REDIS_H
#define PD_CLI_LIVE_REDIS_H

#include <stddef.h>
#include <stdio.h>

/* As pd_check_live. */
size_t pd_live_redis(FILE *out, FILE *problems);

#endif
