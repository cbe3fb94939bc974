#include "api/stream.h"

#include <stdlib.h>
#include <string.h>

#include "api/admission.h"
#include "api/async.h"
#include "api/context.h"
#include "api/execution.h"
#include "api/head.h"
#include "api/keys.h"
#include "api/route.h"
#include "api/viewer.h"
#include "common/mem.h"

#define ACCEPT_BYTES 512
#define NUMBER_BYTES 24

bool pd_stream_is_wanted(const struct pd_exchange *exchange)
{
    char accept[ACCEPT_BYTES];

    return pd_exchange_header(exchange, "accept", accept, sizeof accept) &&
           strcasestr(accept, "text/event-stream") != NULL;
}

void pd_stream_on_body(void *arg, struct pd_exchange *exchange, const char *body, size_t len)
{
    struct pd_api_context *api = arg;
    struct pd_execution_submit submit = {.key_id = pd_exchange_key_id(exchange)};
    struct pd_problem_details details;
    struct pd_refusal refusal;
    struct pd_execution *execution;
    struct pd_err err;
    int retry_after_s;

    if (pd_request_parse(&api->rules, body, len, &submit.request, &refusal) < 0) {
        pd_exchange_problem(exchange, &(struct pd_problem_details){.status = refusal.status,
                                                                   .detail = refusal.detail,
                                                                   .errors = &refusal.problems});
    } else if (pd_executions_submit(api->executions, &submit, &execution, &retry_after_s, &err) <
               0) {
        pd_failure_details(&err, retry_after_s, &details);
        pd_exchange_problem(exchange, &details);
    } else {
        pd_viewer_own(api->viewers, exchange, execution);
    }
}

void pd_stream_run_handle(void *arg, struct pd_exchange *exchange)
{
    struct pd_api_context *api = arg;

    if (api->draining)
        pd_exchange_problem(
            exchange, &(struct pd_problem_details){.status = 503,
                                                   .detail = "the service is stopping",
                                                   .retry_after_s = PD_RETRY_AFTER_DEFAULT_S});
    else if (pd_admission_take(api, exchange))
        pd_viewer_await_run(api->viewers, exchange);
}

/* ---- watching ---- */

/* 0: it is no number. */
static uint64_t read_number(const char *text)
{
    char *end;
    unsigned long long number;

    if (*text < '0' || *text > '9')
        return 0;
    number = strtoull(text, &end, 10);
    return *end ? 0 : number;
}

/* Where to begin: behind the last event that came, or where asked. 0: neither can be
 * understood. */
static uint64_t first_seq(const struct pd_exchange *exchange)
{
    char text[NUMBER_BYTES];

    if (pd_exchange_header(exchange, "last-event-id", text, sizeof text)) {
        uint64_t last = read_number(text);
        return last > 0 && last < UINT64_MAX ? last + 1 : 0;
    }
    return pd_exchange_query(exchange, "from", text, sizeof text) ? read_number(text) : 1;
}

static bool may_watch(const struct pd_api_context *api, const struct pd_exchange *exchange,
                      const struct pd_execution *execution)
{
    const char *key_id = pd_exchange_key_id(exchange);
    const struct pd_key *key = pd_keys_find(api->keys, key_id);

    return strcmp(key_id, pd_execution_key_id(execution)) == 0 ||
           (key && (key->record.scopes & PD_SCOPE_ADMIN));
}

void pd_stream_watch_handle(void *arg, struct pd_exchange *exchange)
{
    struct pd_api_context *api = arg;
    char id[PD_SEGMENT_BYTES];
    struct pd_execution *execution;
    uint64_t from_seq = first_seq(exchange);

    pd_route_segment("/executions/{}/stream", pd_exchange_path(exchange), id);
    execution = pd_executions_find(api->executions, id);
    if (!execution && api->records && from_seq > 0 &&
        !pd_exchange_asks_upgrade(exchange, "websocket"))
        pd_async_replay(api, exchange, id, from_seq);
    else if (!execution || !may_watch(api, exchange, execution))
        pd_exchange_problem(
            exchange,
            &(struct pd_problem_details){
                .status = 404, .detail = "there is no such execution, or it is kept no longer"});
    else if (from_seq == 0)
        pd_exchange_problem(
            exchange, &(struct pd_problem_details){
                          .status = 400, .detail = "from and Last-Event-ID are numbers from 1 on"});
    else
        pd_viewer_watch(api->viewers, exchange, execution, from_seq);
}
