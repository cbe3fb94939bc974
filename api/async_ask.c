/* Questions about executions, and their end: GET and DELETE /executions. */
#include <stdlib.h>
#include <string.h>

#include "api/async.h"
#include "api/async_inside.h"
#include "api/book.h"
#include "api/context.h"
#include "api/execution.h"
#include "api/ledger.h"
#include "api/mirror.h"
#include "api/record_query.h"
#include "api/records.h"
#include "api/route.h"
#include "api/server.h"
#include "common/json.h"
#include "common/mem.h"

#define LIVE_BYTES_MAX 4096

const char *pd_async_sees_only(const struct pd_api_context *api, const struct pd_exchange *exchange)
{
    const char *id = pd_exchange_key_id(exchange);
    const struct pd_key *key = pd_keys_find(api->keys, id);

    return key && (key->record.scopes & (PD_SCOPE_READ | PD_SCOPE_ADMIN)) ? NULL : id;
}

/* ---- asking ---- */

struct asking {
    struct pd_api_context *api;
    struct pd_exchange *exchange; /* NULL: the client hung up */
    char id[PD_RECORD_ID_BYTES];
    char own[PD_KEY_ID_MAX]; /* of one: whose it must be; "": anybody's */
};

static const struct pd_err none = {.kind = PD_NOT_FOUND, .msg = "there is no such execution"};

static void on_asking_gone(void *arg)
{
    struct asking *asking = arg;

    asking->exchange = NULL;
}

static struct asking *asking_new(struct pd_api_context *api, struct pd_exchange *exchange,
                                 const char *id)
{
    struct asking *asking = PD_NEW(struct asking);

    asking->api = api;
    asking->exchange = exchange;
    pd_strcpy(asking->id, sizeof asking->id, id);
    return asking;
}

/* What `rc` of a question says: asked, or refused. */
static void ask(struct asking *asking, int rc, const struct pd_err *err)
{
    if (rc < 0) {
        pd_async_problem_of(asking->exchange, err);
        free(asking);
    } else {
        pd_exchange_on_gone(asking->exchange, on_asking_gone, asking);
    }
}

static void on_text(void *arg, struct pd_buf *text, const struct pd_err *err)
{
    struct asking *asking = arg;

    if (asking->exchange && err)
        pd_async_problem_of(asking->exchange, err);
    else if (asking->exchange)
        pd_exchange_reply(asking->exchange, 200, "application/json", NULL, text);
    free(asking);
}

/* Its place in the queue is known to the book alone: into the object that came. */
static void put_place(const struct asking *asking, struct pd_buf *text)
{
    static const char queued[] = "\"status\":\"queued\"";
    struct pd_book_place place;

    if (!strstr(text->data, queued) || text->len < 2 ||
        !pd_book_look(asking->api->book, asking->id, &place) || place.has_sandbox)
        return;
    text->len -= 2; /* "}\n" */
    (void)!pd_buf_addf(text, NULL, ",\"position\":%zu,\"estimate\":%lld.%03lld}\n", place.position,
                       (long long)(place.wait_ms / 1000), (long long)(place.wait_ms % 1000));
}

static void on_shown(void *arg, const struct pd_err *err, const char *text, size_t len)
{
    struct asking *asking = arg;
    struct pd_buf body;

    if (asking->exchange && err) {
        pd_async_problem_of(asking->exchange, err->kind == PD_NOT_FOUND ? &none : err);
    } else if (asking->exchange) {
        pd_buf_init(&body, len);
        (void)!pd_buf_add(&body, text, len, NULL); /* fits */
        pd_exchange_reply(asking->exchange, 200, "application/json", NULL, &body);
    }
    free(asking);
}

static void on_one(void *arg, struct pd_buf *text, const struct pd_err *err)
{
    struct asking *asking = arg;
    struct pd_mirror *mirror = asking->api->mirror;
    struct pd_err why;

    if (!err && asking->exchange)
        put_place(asking, text);
    if (!err || err->kind != PD_NOT_FOUND || !asking->exchange || !mirror)
        on_text(arg, text, err);
    else if (pd_mirror_show(mirror, asking->id, *asking->own ? asking->own : NULL, on_shown, asking,
                            &why) < 0)
        on_text(arg, text, why.kind == PD_NOT_FOUND ? err : &why);
}

/* A run of a WebSocket or of SSE that goes on: it has no record before its end. `own`:
 * whose it must be, or NULL. */
static struct pd_execution *find_live(const struct pd_api_context *api, const char *id,
                                      const char *own)
{
    struct pd_execution *execution = pd_executions_find(api->executions, id);
    struct pd_book_place place;

    if (!execution || pd_execution_is_done(execution) || pd_book_look(api->book, id, &place) ||
        (own && strcmp(own, pd_execution_key_id(execution)) != 0))
        return NULL;
    return execution;
}

static void format_live(const struct pd_execution *execution, struct pd_buf *out)
{
    const struct pd_request *request = pd_execution_request(execution);
    pd_autonode struct pd_node *node = pd_node_map_new();

    pd_node_set_string(node, "id", pd_execution_id(execution));
    pd_node_set_string(node, "status", "running");
    pd_node_set_string(node, "kind", "stream");
    pd_node_set_string(node, "key", pd_execution_key_id(execution));
    pd_node_set_string(node, "pool", request->pool);
    pd_node_set_string(node, "language", request->language->name);
    pd_buf_init(out, LIVE_BYTES_MAX);
    (void)!pd_json_format(node, out, NULL); /* fits */
}

static void reply_live(struct pd_exchange *exchange, const struct pd_execution *execution)
{
    struct pd_buf body;

    format_live(execution, &body);
    pd_exchange_reply(exchange, 200, "application/json", NULL, &body);
}

void pd_async_get_handle(void *arg, struct pd_exchange *exchange)
{
    struct pd_api_context *api = arg;
    char id[PD_SEGMENT_BYTES];
    const char *own = pd_async_sees_only(api, exchange);
    struct pd_execution *live;
    struct asking *asking;
    struct pd_err err;

    if (!pd_async_keeps_records(api, exchange))
        return;
    pd_route_segment("/executions/{}", pd_exchange_path(exchange), id);
    live = find_live(api, id, own);
    if (live) {
        reply_live(exchange, live);
        return;
    }
    asking = asking_new(api, exchange, id);
    pd_strcpy(asking->own, sizeof asking->own, own ? own : "");
    ask(asking, api->ledger->ops->get(api->ledger, id, own, on_one, asking, &err), &err);
}

static bool get_parameter(const void *source, const char *name, char *out, size_t out_bytes)
{
    return pd_exchange_query(source, name, out, out_bytes);
}

void pd_async_list_handle(void *arg, struct pd_exchange *exchange)
{
    struct pd_api_context *api = arg;
    struct pd_records_query query = {.limit = 0};
    const char *own = pd_async_sees_only(api, exchange);
    struct asking *asking;
    struct pd_err err;

    if (!pd_async_keeps_records(api, exchange))
        return;
    if (pd_records_query_parse(get_parameter, exchange, &query, &err) < 0) {
        pd_async_problem(exchange, 400, err.msg);
        return;
    }
    if (own)
        pd_strcpy(query.key_id, sizeof query.key_id, own);
    asking = asking_new(api, exchange, "");
    ask(asking, api->ledger->ops->list(api->ledger, &query, on_text, asking, &err), &err);
}

/* ---- canceling ---- */

static void reply_canceling(struct pd_exchange *exchange, const char *id)
{
    struct pd_buf body;

    pd_buf_init(&body, PD_RECORD_ID_BYTES + 64);
    (void)!pd_buf_addf(&body, NULL, "{\"id\":\"%s\",\"canceling\":true}\n", id);
    pd_exchange_reply(exchange, 202, "application/json", NULL, &body);
}

/* One that is not under way is done already, or is not there: the record tells. */
static void on_not_live(void *arg, struct pd_buf *text, const struct pd_err *err)
{
    struct asking *asking = arg;

    (void)text;
    if (asking->exchange && err)
        pd_async_problem_of(asking->exchange, err);
    else if (asking->exchange)
        pd_async_problem(asking->exchange, 409, "it is done already");
    free(asking);
}

static void ask_not_live(struct asking *asking)
{
    struct pd_ledger *ledger = asking->api->ledger;
    struct pd_err err;

    if (ledger->ops->get(ledger, asking->id, *asking->own ? asking->own : NULL, on_not_live, asking,
                         &err) < 0) {
        pd_async_problem_of(asking->exchange, &err);
        free(asking);
    }
}

/* A run of a WebSocket or of SSE that goes on at another replica. */
static void on_canceled_elsewhere(void *arg, const struct pd_err *err, const char *text, size_t len)
{
    struct asking *asking = arg;

    (void)text;
    (void)len;
    if (!asking->exchange) {
        free(asking);
    } else if (err && err->kind == PD_NOT_FOUND) {
        ask_not_live(asking);
    } else {
        if (err && err->kind == PD_CONFLICT)
            pd_async_problem(asking->exchange, 409, err->msg);
        else if (err)
            pd_async_problem_of(asking->exchange, err);
        else
            reply_canceling(asking->exchange, asking->id);
        free(asking);
    }
}

static void ask_elsewhere(struct asking *asking)
{
    struct pd_mirror *mirror = asking->api->mirror;
    struct pd_err err;
    int rc = PD_NOT_FOUND;

    if (mirror)
        rc = pd_mirror_cancel(mirror, asking->id, *asking->own ? asking->own : NULL,
                              on_canceled_elsewhere, asking, &err);
    if (rc == PD_NOT_FOUND) {
        ask_not_live(asking);
    } else if (rc < 0) {
        pd_async_problem_of(asking->exchange, &err);
        free(asking);
    }
}

static void on_canceled(void *arg, const struct pd_err *err)
{
    struct asking *asking = arg;

    if (!asking->exchange) {
        free(asking);
        return;
    }
    if (err && err->kind == PD_NOT_FOUND) {
        ask_elsewhere(asking);
        return;
    } else if (err) {
        pd_async_problem_of(asking->exchange, err);
    } else {
        reply_canceling(asking->exchange, asking->id);
    }
    free(asking);
}

void pd_async_delete_handle(void *arg, struct pd_exchange *exchange)
{
    struct pd_api_context *api = arg;
    const struct pd_key *key = pd_keys_find(api->keys, pd_exchange_key_id(exchange));
    bool any = key && (key->record.scopes & PD_SCOPE_ADMIN);
    const char *own = any ? NULL : pd_exchange_key_id(exchange);
    char id[PD_SEGMENT_BYTES];
    struct pd_execution *live;
    struct asking *asking;
    struct pd_err err;
    int rc;

    if (!pd_async_keeps_records(api, exchange))
        return;
    pd_route_segment("/executions/{}", pd_exchange_path(exchange), id);
    live = find_live(api, id, own);
    if (live) {
        reply_canceling(exchange, id);
        pd_execution_cancel(live); /* last: its end may free it */
        return;
    }
    asking = asking_new(api, exchange, id);
    pd_strcpy(asking->own, sizeof asking->own, own ? own : "");
    rc = pd_book_cancel(api->book, id, own, on_canceled, asking, &err);
    if (rc == PD_NOT_FOUND)
        rc = api->ledger->ops->get(api->ledger, id, own, on_not_live, asking, &err);
    ask(asking, rc, &err);
}

/* ---- for other replicas ---- */

static enum pd_mirror_word cancel_here(void *arg, const char *run, const char *key_id)
{
    struct pd_api_context *api = arg;
    struct pd_execution *execution = pd_executions_find(api->executions, run);
    struct pd_execution *live = find_live(api, run, key_id);

    if (live) {
        pd_execution_cancel(live);
        return PD_MIRROR_CANCELING;
    }
    return execution && pd_execution_is_done(execution) &&
                   (!key_id || strcmp(key_id, pd_execution_key_id(execution)) == 0)
               ? PD_MIRROR_ENDED
               : PD_MIRROR_NONE;
}

static bool show_here(void *arg, const char *run, const char *key_id, struct pd_buf *out)
{
    const struct pd_execution *live = find_live(arg, run, key_id);

    if (live)
        format_live(live, out);
    return live != NULL;
}

const struct pd_mirror_local pd_async_mirror_local = {.cancel = cancel_here, .show = show_here};
