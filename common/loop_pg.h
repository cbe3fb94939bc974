/* PostgreSQL on the shared loop (libpq, asynchronous): one connection, one
 * statement at a time. Everything that libpq takes may be in the URL, TLS too
 * (sslmode=verify-full, sslrootcert). The only file that knows libpq. */
#ifndef PD_COMMON_LOOP_PG_H
#define PD_COMMON_LOOP_PG_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "common/err.h"

#define PD_PG_CONNECT_MS 10000   /* then it is given up */
#define PD_PG_STATEMENT_MS 60000 /* likewise; the connection then is down */

struct pd_pg;

struct pd_pg_events {
    void (*ready)(void *arg);                           /* connected */
    void (*down)(void *arg, const struct pd_err *err);  /* once; the owner closes */
};

/* Connects. `events` is static. PD_INVALID for a URL that libpq cannot read. */
int pd_pg_open(uv_loop_t *loop, const char *url, const struct pd_pg_events *events, void *arg,
               struct pd_pg **ret_pg, struct pd_err *err);
/* Idempotent; a statement under way is not heard of again. */
void pd_pg_close(struct pd_pg *pg, void (*closed)(void *arg), void *arg);

/* After `ready`, one at a time. Without parameters `sql` may be many statements. `done`
 * fires once, unless the connection goes down (`down` then): NULL, or what the server
 * says (by SQLSTATE: PD_INVALID, the data cannot be had; PD_DENIED; PD_UNAVAILABLE;
 * PD_INTERNAL, anything else). Texts are borrowed for the call; a NULL is NULL. */
int pd_pg_query(struct pd_pg *pg, const char *sql, const char *const *params, int n_params,
                void (*done)(void *arg, const char *first_value, const struct pd_err *err),
                void *arg, struct pd_err *err);

#endif
