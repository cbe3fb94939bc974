/* What async.c, async_post.c, async_ask.c and stream.c share; nobody else's. */
#ifndef PD_API_ASYNC_INSIDE_H
#define PD_API_ASYNC_INSIDE_H

#include <stdbool.h>

#include "api/request.h"
#include "common/err.h"

/* The header of an answer to what was accepted before. */
#define PD_ASYNC_REPLAYED "Idempotent-Replayed: true\r\n"

struct pd_api_context;
struct pd_exchange;
struct pd_mirror_local;

/* Answer with problem details (RFC 9457); each ends the exchange. A 503 says when to
 * come back. */
void pd_async_problem(struct pd_exchange *exchange, int status, const char *detail);
/* What the book or the records said. */
void pd_async_problem_of(struct pd_exchange *exchange, const struct pd_err *err);
void pd_async_refuse(struct pd_exchange *exchange, const struct pd_refusal *refusal);

/* Whose executions a client may see: its key's own, or (NULL) everybody's. Of async_ask.c. */
const char *pd_async_sees_only(const struct pd_api_context *api,
                               const struct pd_exchange *exchange);

/* For other replicas (api/mirror.h); `arg` is the API's context. Of async_ask.c. */
extern const struct pd_mirror_local pd_async_mirror_local;

/* False: the exchange is answered 501. A test's API may be without a database; the
 * service never is. */
bool pd_async_keeps_records(const struct pd_api_context *api, struct pd_exchange *exchange);

/* May it run again when the service ended while it ran? */
bool pd_async_is_retry_safe(const struct pd_request *request);

#endif
