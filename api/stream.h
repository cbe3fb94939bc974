/* Live output over HTTP (docs/live-output.md): GET /execute/stream, GET
 * /executions/{id}/stream, and POST /execute that asks for an event stream. */
#ifndef PD_API_STREAM_H
#define PD_API_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "api/server.h"

void pd_stream_run_handle(void *arg, struct pd_exchange *exchange); /* GET /execute/stream */
void pd_stream_watch_handle(void *arg,
                            struct pd_exchange *exchange); /* GET /executions/{}/stream */

/* Whether the answer is wanted as server-sent events (Accept). */
bool pd_stream_is_wanted(const struct pd_exchange *exchange);
/* The body of a POST /execute that does: as pd_exchange_want_body's `ready`. */
void pd_stream_on_body(void *arg, struct pd_exchange *exchange, const char *body, size_t len);

#endif
