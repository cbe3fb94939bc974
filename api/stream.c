#include "api/stream.h"

#include <stdlib.h>
#include <string.h>

#include "api/admission.h"
#include "api/answered.h"
#include "api/async.h"
#include "api/async_inside.h"
#include "api/context.h"
#include "api/execution.h"
#include "api/head.h"
#include "api/ledger.h"
#include "api/mirror.h"
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
        pd_answered_run(exchange, pd_execution_id(execution));
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

/* One who asks to watch, while it is found out what there is to see. */
struct asking {
    struct pd_api_context *api;
    struct pd_exchange *exchange; /* NULL: the client hung up */
    char id[PD_SEGMENT_BYTES];
    const char *own; /* whose it must be; NULL: anybody's */
    uint64_t from_seq;
    bool by_socket; /* else by SSE */
    bool unsure;    /* a replica that may have it did not answer */
    struct pd_websocket_offer offer;
};

static bool may_watch(const struct asking *asking, const struct pd_execution *execution)
{
    return !asking->own || strcmp(asking->own, pd_execution_key_id(execution)) == 0;
}

static void tell_none(struct pd_exchange *exchange)
{
    pd_exchange_problem(
        exchange,
        &(struct pd_problem_details){
            .status = 404, .detail = "there is no such execution, or it is kept no longer"});
}

static void show(const struct asking *asking, struct pd_execution *execution)
{
    if (may_watch(asking, execution))
        pd_viewer_watch(asking->api->viewers, asking->exchange,
                        asking->by_socket ? &asking->offer : NULL, execution, asking->from_seq);
    else
        tell_none(asking->exchange);
}

/* ---- watching one that only the records know ---- */

static void on_asking_gone(void *arg)
{
    struct asking *asking = arg;

    asking->exchange = NULL;
}

/* `text`: its key's id, a line, then its events. */
static int recall(struct asking *asking, const struct pd_buf *text,
                  struct pd_execution **ret_execution, struct pd_err *err)
{
    const char *end = text->len > 0 ? memchr(text->data, '\n', text->len) : NULL;
    char key_id[PD_KEY_ID_MAX];

    if (!end || (size_t)(end - text->data) >= sizeof key_id)
        return pd_err_set(err, PD_INVALID, "a record without a key");
    memcpy(key_id, text->data, (size_t)(end - text->data));
    key_id[end - text->data] = '\0';
    end++;
    return pd_executions_recall(asking->api->executions, asking->id, key_id, end,
                                text->len - (size_t)(end - text->data), ret_execution, err);
}

static void show_recorded(struct asking *asking, const struct pd_buf *text)
{
    struct pd_execution *execution = pd_executions_find(asking->api->executions, asking->id);
    struct pd_problem_details details;
    struct pd_err err;
    int rc = execution ? 0 : recall(asking, text, &execution, &err);

    if (rc == 0) {
        show(asking, execution);
    } else if (rc == PD_INVALID) {
        pd_exchange_problem(
            asking->exchange,
            &(struct pd_problem_details){.status = 404, .detail = "what it printed was not kept"});
    } else {
        pd_failure_details(&err, PD_RETRY_AFTER_DEFAULT_S, &details);
        pd_exchange_problem(asking->exchange, &details);
    }
}

static void on_events(void *arg, struct pd_buf *text, const struct pd_err *err)
{
    static const struct pd_err unsure = {.kind = PD_UNAVAILABLE,
                                         .msg = "not all replicas have answered: ask again"};
    struct asking *asking = arg;

    if (err && err->kind == PD_NOT_FOUND && asking->unsure)
        err = &unsure;
    if (asking->exchange && err)
        pd_async_problem_of(asking->exchange, err);
    else if (asking->exchange)
        show_recorded(asking, text);
    free(asking);
}

/* False: it is answered, and freed. */
static bool ask_records(struct asking *asking)
{
    struct pd_err err;

    if (asking->api->ledger->ops->events(asking->api->ledger, asking->id, asking->own, on_events,
                                         asking, &err) == 0)
        return true;
    pd_async_problem_of(asking->exchange, &err);
    free(asking);
    return false;
}

/* ---- watching one that another replica has ---- */

static void on_elsewhere(void *arg, const struct pd_err *err, struct pd_execution *execution)
{
    struct asking *asking = arg;

    asking->unsure = err && err->kind != PD_NOT_FOUND;
    if (asking->exchange && err) {
        ask_records(asking);
        return;
    }
    if (asking->exchange)
        show(asking, execution);
    free(asking);
}

static void ask_others(const struct asking *question)
{
    struct pd_mirror *mirror = question->api->mirror;
    struct asking *asking = PD_NEW(struct asking);
    struct pd_err err;
    int rc = PD_NOT_FOUND;

    *asking = *question;
    if (mirror)
        rc = pd_mirror_follow(mirror, asking->id, on_elsewhere, asking, &err);
    asking->unsure = rc < 0 && rc != PD_NOT_FOUND;
    if (rc == 0 || ask_records(asking))
        pd_exchange_on_gone(question->exchange, on_asking_gone, asking);
}

void pd_stream_watch_handle(void *arg, struct pd_exchange *exchange)
{
    struct asking asking = {
        .api = arg,
        .exchange = exchange,
        .own = pd_async_sees_only(arg, exchange),
        .from_seq = first_seq(exchange),
        .by_socket = pd_exchange_asks_upgrade(exchange, "websocket"),
    };
    struct pd_execution *execution;

    if (asking.by_socket && !pd_viewer_read_offer(exchange, &asking.offer))
        return;
    pd_route_segment("/executions/{}/stream", pd_exchange_path(exchange), asking.id);
    execution = pd_executions_find(asking.api->executions, asking.id);
    if (!execution && asking.api->mirror)
        execution = pd_mirror_find(asking.api->mirror, asking.id);
    if (asking.from_seq == 0)
        pd_exchange_problem(
            exchange, &(struct pd_problem_details){
                          .status = 400, .detail = "from and Last-Event-ID are numbers from 1 on"});
    else if (execution)
        show(&asking, execution);
    else if (asking.api->ledger)
        ask_others(&asking);
    else
        tell_none(exchange);
}
