/* Executions that are done later, and runs that may be asked for twice:
 *
 *   POST   /executions       202 once durable; an array is a batch
 *   GET    /executions       history, newest first: status, pool, language, key,
 *                            from, to, cursor, limit
 *   GET    /executions/{id}  where it stands, its result once it is done
 *   DELETE /executions/{id}  ends it
 *   POST   /execute          with an Idempotency-Key
 *                            (draft-ietf-httpapi-idempotency-key-header-06)
 *
 * docs/executions.md tells it to clients. */
#ifndef PD_API_ASYNC_H
#define PD_API_ASYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PD_BATCH_MAX 100 /* executions in one request */

struct pd_exchange;
struct pd_api_context;

/* pd_route_cbs; arg is a struct pd_api_context. */
void pd_async_post_handle(void *arg, struct pd_exchange *exchange);
void pd_async_list_handle(void *arg, struct pd_exchange *exchange);
void pd_async_get_handle(void *arg, struct pd_exchange *exchange);
void pd_async_delete_handle(void *arg, struct pd_exchange *exchange);

/* From on_request of POST /execute: does it carry an Idempotency-Key? Keeps it with
 * the exchange. *ret_ok: false, and the exchange is answered, when it is malformed. */
bool pd_async_has_key(struct pd_exchange *exchange, bool *ret_ok);
/* The body of such a POST /execute. */
void pd_async_execute_on_body(void *arg, struct pd_exchange *exchange, const char *body,
                              size_t len);

#endif
