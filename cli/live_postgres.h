/* paddock check --live, of PostgreSQL (DATABASE_URL): whether it is in reach and
 * would take records. Changes nothing there. */
#ifndef PD_CLI_LIVE_POSTGRES_H
#define PD_CLI_LIVE_POSTGRES_H

#include <stddef.h>
#include <stdio.h>

/* As pd_check_live. */
size_t pd_live_postgres(FILE *out, FILE *problems);

#endif
