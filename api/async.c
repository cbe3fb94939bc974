#include "api/async.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "api/admission.h"
#include "api/book.h"
#include "api/context.h"
#include "api/execute.h"
#include "api/execution.h"
#include "api/records.h"
#include "api/route.h"
#include "api/server.h"
#include "common/json.h"
#include "common/mem.h"

#define BATCH_BYTES_MAX (16u * 1024 * 1024)
#define PAGE_DEFAULT 50
#define NUMBER_BYTES 32
#define LIVE_BYTES_MAX 4096
#define REPLAYED "Idempotent-Replayed: true\r\n"

/* ---- answering ---- */

static void problem(struct pd_exchange *exchange, int status, const char *detail)
{
    pd_exchange_problem(exchange, &(struct pd_problem_details){
                                      .status = status,
                                      .detail = detail,
                                      .retry_after_s = status == 503 ? PD_RETRY_AFTER_DEFAULT_S : 0,
                                  });
}

static void problem_of(struct pd_exchange *exchange, const struct pd_err *err)
{
    struct pd_problem_details details;

    if (err->kind == PD_NOT_FOUND)
        problem(exchange, 404, "there is no such execution, or it is kept no longer");
    else if (err->kind == PD_CONFLICT)
        problem(exchange, 422, err->msg);
    else if (err->kind == PD_LIMIT)
        problem(exchange, 503, err->msg);
    else {
        pd_failure_details(err, 0, &details);
        pd_exchange_problem(exchange, &details);
    }
}

static void refuse(struct pd_exchange *exchange, const struct pd_refusal *refusal)
{
    pd_exchange_problem(exchange, &(struct pd_problem_details){.status = refusal->status,
                                                               .detail = refusal->detail,
                                                               .errors = &refusal->problems});
}

/* A test's API may be without a database; the service never is. */
static bool keeps_records(const struct pd_api_context *api, struct pd_exchange *exchange)
{
    if (!api->book)
        problem(exchange, 501, "this service keeps no records");
    return api->book != NULL;
}

/* Whose executions a key may see: its own, or (NULL) everybody's. */
static const char *sees_only(const struct pd_api_context *api, const struct pd_exchange *exchange)
{
    const char *id = pd_exchange_key_id(exchange);
    const struct pd_key *key = pd_keys_find(api->keys, id);

    return key && (key->record.scopes & (PD_SCOPE_READ | PD_SCOPE_ADMIN)) ? NULL : id;
}

/* ---- Idempotency-Key ---- */

/* A structured string (RFC 8941, section 3.3.3), or the bare text that most send. */
static bool parse_key(const char *sent, char out[static PD_IDEMPOTENCY_KEY_BYTES])
{
    size_t len = strlen(sent);
    size_t used = 0;

    if (len >= 2 && sent[0] == '"' && sent[len - 1] == '"') {
        sent++;
        len -= 2;
    }
    for (size_t i = 0; i < len; i++) {
        if (sent[i] == '\\' && i + 1 < len)
            i++;
        if (sent[i] < ' ' || sent[i] > '~' || used == PD_IDEMPOTENCY_KEY_BYTES - 1)
            return false;
        out[used++] = sent[i];
    }
    out[used] = '\0';
    return used > 0;
}

bool pd_async_has_key(struct pd_exchange *exchange, bool *ret_ok)
{
    char sent[PD_IDEMPOTENCY_KEY_BYTES * 2];
    char key[PD_IDEMPOTENCY_KEY_BYTES];

    *ret_ok = true;
    if (!pd_exchange_has_header(exchange, "idempotency-key"))
        return false;
    if (!pd_exchange_header(exchange, "idempotency-key", sent, sizeof sent) ||
        !parse_key(sent, key)) {
        problem(exchange, 400, "Idempotency-Key: must be one text of 1 to 255 printable characters");
        *ret_ok = false;
        return false;
    }
    pd_exchange_set_note(exchange, pd_strdup(key), free);
    return true;
}

/* ---- POST /executions ---- */

/* A request whose answer waits for the disk. */
struct posting {
    struct pd_api_context *api;
    struct pd_exchange *exchange; /* NULL: the client hung up */
    bool is_batch;
};

static void on_posting_gone(void *arg)
{
    struct posting *posting = arg;

    posting->exchange = NULL;
}

static int put_accepted(struct pd_buf *body, const struct pd_accepted *result, struct pd_err *err)
{
    return pd_buf_addf(body, err, "{\"id\":\"%s\",\"status\":\"%s\",\"location\":\"/executions/%s\"}",
                       result->id, result->is_done ? "done" : "queued", result->id);
}

static void reply_accepted(struct posting *posting, const struct pd_accepted *results, size_t count)
{
    char headers[PD_RECORD_ID_BYTES + 64] = "";
    struct pd_buf body;
    int rc = 0;

    pd_buf_init(&body, BATCH_BYTES_MAX);
    if (posting->is_batch)
        rc = pd_buf_addf(&body, NULL, "{\"items\":[");
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (i > 0)
            rc = pd_buf_add(&body, ",", 1, NULL);
        if (rc == 0)
            rc = put_accepted(&body, &results[i], NULL);
    }
    if (rc == 0)
        rc = pd_buf_addf(&body, NULL, posting->is_batch ? "]}\n" : "\n");
    assert(rc == 0); /* bounded by PD_BATCH_MAX */
    if (!posting->is_batch)
        snprintf(headers, sizeof headers, "Location: /executions/%s\r\n", results[0].id);
    if (!results[0].is_new)
        pd_exchange_add_headers(posting->exchange, REPLAYED);
    pd_exchange_reply(posting->exchange, 202, "application/json", headers, &body);
}

static void on_posted(void *arg, struct pd_accepted *results, size_t count,
                      const struct pd_err *err)
{
    struct posting *posting = arg;

    if (posting->exchange && err)
        problem_of(posting->exchange, err);
    else if (posting->exchange)
        reply_accepted(posting, results, count);
    free(posting);
}

static bool is_retry_safe(const struct pd_request *request)
{
    return pd_node_bool(pd_node_get(request->node, "retry_safe"), false);
}

static void post(struct pd_api_context *api, struct pd_exchange *exchange,
                 const struct pd_book_item *items, size_t count, bool is_batch)
{
    struct posting *posting = PD_NEW(struct posting);
    struct pd_err err;

    *posting = (struct posting){.api = api, .exchange = exchange, .is_batch = is_batch};
    if (pd_book_accept(api->book, items, count, on_posted, posting, &err) < 0) {
        free(posting);
        problem_of(exchange, &err);
        return;
    }
    pd_exchange_on_gone(exchange, on_posting_gone, posting);
}

static void post_one(struct pd_api_context *api, struct pd_exchange *exchange, const char *body,
                     size_t len)
{
    struct pd_refusal refusal;
    struct pd_book_item item = {
        .key_id = pd_exchange_key_id(exchange),
        .idempotency_key = pd_exchange_note(exchange),
        .body = body,
        .body_len = len,
        .kind = PD_RECORD_ASYNC,
    };

    if (pd_request_parse(&api->rules, body, len, &item.request, &refusal) < 0) {
        refuse(exchange, &refusal);
        return;
    }
    item.retry_safe = is_retry_safe(item.request);
    post(api, exchange, &item, 1, false);
}

/* What one batch needs while its items are made. */
struct batch {
    struct pd_book_item items[PD_BATCH_MAX];
    struct pd_buf bodies[PD_BATCH_MAX];
    char keys[PD_BATCH_MAX][PD_IDEMPOTENCY_KEY_BYTES];
    size_t count;
};

static void batch_free(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        pd_buf_fini(&batch->bodies[i]);
    free(batch);
}

/* An item's own Idempotency-Key is the batch's and its place in it. */
static int make_item(struct pd_api_context *api, struct pd_exchange *exchange, struct batch *batch,
                     const struct pd_node *node, struct pd_refusal *refusal)
{
    size_t i = batch->count++;
    struct pd_book_item *item = &batch->items[i];
    const char *key = pd_exchange_note(exchange);

    *refusal = (struct pd_refusal){.status = 422};
    pd_buf_init(&batch->bodies[i], BATCH_BYTES_MAX);
    if (pd_json_format(node, &batch->bodies[i], NULL) < 0)
        return PD_LIMIT;
    *item = (struct pd_book_item){
        .key_id = pd_exchange_key_id(exchange),
        .body = batch->bodies[i].data,
        .body_len = batch->bodies[i].len,
        .kind = PD_RECORD_ASYNC,
    };
    if (key) {
        snprintf(batch->keys[i], sizeof batch->keys[i], "%.240s #%zu", key, i);
        item->idempotency_key = batch->keys[i];
    }
    if (pd_request_parse(&api->rules, item->body, item->body_len, &item->request, refusal) < 0)
        return PD_INVALID;
    item->retry_safe = is_retry_safe(item->request);
    return 0;
}

static void refuse_item(struct pd_exchange *exchange, struct batch *batch,
                        struct pd_refusal *refusal)
{
    char detail[PD_ERR_MSG_MAX + 32];

    snprintf(detail, sizeof detail, "[%zu]: %s", batch->count - 1, refusal->detail);
    pd_exchange_problem(exchange, &(struct pd_problem_details){.status = refusal->status,
                                                               .detail = detail,
                                                               .errors = &refusal->problems});
    for (size_t i = 0; i + 1 < batch->count; i++)
        pd_request_free(batch->items[i].request);
}

static void post_batch(struct pd_api_context *api, struct pd_exchange *exchange, const char *body,
                       size_t len)
{
    pd_autonode struct pd_node *list = NULL;
    struct batch *batch;
    struct pd_refusal refusal;
    struct pd_err err;
    int rc = 0;

    if (pd_json_parse(body, len, &list, &err) < 0) {
        problem(exchange, 400, err.msg);
        return;
    }
    if (list->list.count == 0 || list->list.count > PD_BATCH_MAX) {
        problem(exchange, 422, "a batch has 1 to 100 executions");
        return;
    }
    batch = PD_NEW(struct batch);
    for (size_t i = 0; rc == 0 && i < list->list.count; i++)
        rc = make_item(api, exchange, batch, list->list.items[i], &refusal);
    if (rc < 0) {
        refuse_item(exchange, batch, &refusal);
    } else {
        pd_admission_take_more(api, pd_exchange_key_id(exchange), batch->count - 1);
        post(api, exchange, batch->items, batch->count, true);
    }
    batch_free(batch);
}

static void on_post_body(void *arg, struct pd_exchange *exchange, const char *body, size_t len)
{
    size_t at = 0;

    while (at < len && strchr(" \t\r\n", body[at]) && body[at])
        at++;
    if (at < len && body[at] == '[')
        post_batch(arg, exchange, body, len);
    else
        post_one(arg, exchange, body, len);
}

void pd_async_post_handle(void *arg, struct pd_exchange *exchange)
{
    struct pd_api_context *api = arg;
    size_t bytes_max = pd_request_bytes_max(api->store);
    bool ok;

    if (!keeps_records(api, exchange) || !pd_execute_is_open(api, exchange))
        return;
    pd_async_has_key(exchange, &ok);
    if (ok && pd_admission_take(api, exchange))
        pd_exchange_want_body(exchange, bytes_max > BATCH_BYTES_MAX ? bytes_max : BATCH_BYTES_MAX,
                              on_post_body, api);
}

/* ---- POST /execute with an Idempotency-Key ---- */

struct sync_wait {
    struct pd_api_context *api;
    struct pd_exchange *exchange; /* NULL: the client hung up */
    struct pd_book_wait wait;
    bool accepted; /* so that `wait` is in use */
};

/* It goes on without its client: who asks again gets its answer. */
static void on_sync_gone(void *arg)
{
    struct sync_wait *sync = arg;

    sync->exchange = NULL;
    if (!sync->accepted)
        return;
    pd_book_forgo(&sync->wait);
    free(sync);
}

static void reply_answer(struct pd_exchange *exchange, const struct pd_buf *answer)
{
    struct pd_buf body;

    pd_buf_init(&body, answer->len + 1);
    if (answer->len == 0 || pd_buf_add(&body, answer->data, answer->len, NULL) < 0)
        problem(exchange, 500, "the result was too large to be kept");
    else
        pd_exchange_reply(exchange, 200, "application/json", NULL, &body);
}

static void on_sync_done(void *arg, const struct pd_buf *answer, const struct pd_err *err,
                         int retry_after_s)
{
    struct sync_wait *sync = arg;
    struct pd_problem_details details;

    if (answer) {
        reply_answer(sync->exchange, answer);
    } else {
        pd_failure_details(err, retry_after_s, &details);
        pd_exchange_problem(sync->exchange, &details);
    }
    free(sync);
}

static void on_sync_accepted(void *arg, struct pd_accepted *results, size_t count,
                             const struct pd_err *err)
{
    struct sync_wait *sync = arg;

    assert(count == 1);
    if (!sync->exchange) {
        free(sync);
        return;
    }
    if (!err && !results->is_new)
        pd_exchange_add_headers(sync->exchange, REPLAYED);
    if (err) {
        problem_of(sync->exchange, err);
    } else if (results->is_done) {
        reply_answer(sync->exchange, &results->answer);
    } else {
        sync->wait = (struct pd_book_wait){.done = on_sync_done, .arg = sync};
        sync->accepted = pd_book_await(sync->api->book, results->id, &sync->wait);
        if (sync->accepted)
            return;
        problem(sync->exchange, 503, "it is accepted, and its end is not known yet: ask again");
    }
    free(sync);
}

void pd_async_execute_on_body(void *arg, struct pd_exchange *exchange, const char *body, size_t len)
{
    struct pd_api_context *api = arg;
    struct pd_refusal refusal;
    struct sync_wait *sync;
    struct pd_err err;
    struct pd_book_item item = {
        .key_id = pd_exchange_key_id(exchange),
        .idempotency_key = pd_exchange_note(exchange),
        .body = body,
        .body_len = len,
        .kind = PD_RECORD_PLAIN,
    };

    if (!keeps_records(api, exchange))
        return;
    if (pd_request_parse(&api->rules, body, len, &item.request, &refusal) < 0) {
        refuse(exchange, &refusal);
        return;
    }
    item.retry_safe = is_retry_safe(item.request);
    sync = PD_NEW(struct sync_wait);
    sync->api = api;
    sync->exchange = exchange;
    if (pd_book_accept(api->book, &item, 1, on_sync_accepted, sync, &err) < 0) {
        free(sync);
        problem_of(exchange, &err);
        return;
    }
    pd_exchange_on_gone(exchange, on_sync_gone, sync);
}

/* ---- asking ---- */

struct asking {
    struct pd_api_context *api;
    struct pd_exchange *exchange; /* NULL: the client hung up */
    char id[PD_RECORD_ID_BYTES];
    uint64_t from_seq;
};

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
        problem_of(asking->exchange, err);
        free(asking);
    } else {
        pd_exchange_on_gone(asking->exchange, on_asking_gone, asking);
    }
}

static void on_text(void *arg, struct pd_buf *text, const struct pd_err *err)
{
    struct asking *asking = arg;

    if (asking->exchange && err)
        problem_of(asking->exchange, err);
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

static void on_one(void *arg, struct pd_buf *text, const struct pd_err *err)
{
    struct asking *asking = arg;

    if (!err && asking->exchange)
        put_place(asking, text);
    on_text(arg, text, err);
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

static void reply_live(struct pd_exchange *exchange, const struct pd_execution *execution)
{
    const struct pd_request *request = pd_execution_request(execution);
    pd_autonode struct pd_node *node = pd_node_map_new();
    struct pd_buf body;

    pd_node_set_string(node, "id", pd_execution_id(execution));
    pd_node_set_string(node, "status", "running");
    pd_node_set_string(node, "kind", "stream");
    pd_node_set_string(node, "key", pd_execution_key_id(execution));
    pd_node_set_string(node, "pool", request->pool);
    pd_node_set_string(node, "language", request->language->name);
    pd_buf_init(&body, LIVE_BYTES_MAX);
    (void)!pd_json_format(node, &body, NULL);
    pd_exchange_reply(exchange, 200, "application/json", NULL, &body);
}

void pd_async_get_handle(void *arg, struct pd_exchange *exchange)
{
    struct pd_api_context *api = arg;
    char id[PD_SEGMENT_BYTES];
    const char *own = sees_only(api, exchange);
    struct pd_execution *live;
    struct asking *asking;
    struct pd_err err;

    if (!keeps_records(api, exchange))
        return;
    pd_route_segment("/executions/{}", pd_exchange_path(exchange), id);
    live = find_live(api, id, own);
    if (live) {
        reply_live(exchange, live);
        return;
    }
    asking = asking_new(api, exchange, id);
    ask(asking, pd_records_get(api->records, id, own, on_one, asking, &err), &err);
}

/* Seconds since 1970, or RFC 3339 in UTC. 0 where it is neither. */
static int64_t parse_time(const char *text)
{
    struct tm utc = {0};
    char *end;
    double seconds = strtod(text, &end);

    if (end != text && !*end && seconds > 0 && seconds < 1e11)
        return (int64_t)(seconds * 1000);
    end = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
    if (!end)
        return 0;
    if (*end == '.')
        end += 1 + strspn(end + 1, "0123456789");
    return strcmp(end, "Z") == 0 ? (int64_t)timegm(&utc) * 1000 : 0;
}

static int take_times(const struct pd_exchange *exchange, struct pd_records_query *query,
                      struct pd_err *err)
{
    char text[64];

    if (pd_exchange_query(exchange, "from", text, sizeof text) &&
        !(query->from_wall_ms = parse_time(text)))
        return pd_err_set(err, PD_INVALID, "from: seconds since 1970, or 2026-01-31T12:00:00Z");
    if (pd_exchange_query(exchange, "to", text, sizeof text) &&
        !(query->to_wall_ms = parse_time(text)))
        return pd_err_set(err, PD_INVALID, "to: seconds since 1970, or 2026-01-31T12:00:00Z");
    return 0;
}

static int take_query(const struct pd_exchange *exchange, struct pd_records_query *query,
                      struct pd_err *err)
{
    char text[PD_RECORD_ID_BYTES + NUMBER_BYTES];
    char *end;

    pd_exchange_query(exchange, "status", query->status, sizeof query->status);
    pd_exchange_query(exchange, "pool", query->pool, sizeof query->pool);
    pd_exchange_query(exchange, "language", query->language, sizeof query->language);
    pd_exchange_query(exchange, "key", query->key_id, sizeof query->key_id);
    query->limit = PAGE_DEFAULT;
    if (pd_exchange_query(exchange, "limit", text, sizeof text)) {
        long limit = strtol(text, &end, 10);
        if (end == text || *end || limit < 1 || limit > PD_RECORDS_PAGE_MAX)
            return pd_err_set(err, PD_INVALID, "limit: must be 1 to %d", PD_RECORDS_PAGE_MAX);
        query->limit = (int)limit;
    }
    if (pd_exchange_query(exchange, "cursor", text, sizeof text) &&
        pd_records_cursor_parse(text, query, err) < 0)
        return PD_INVALID;
    return take_times(exchange, query, err);
}

void pd_async_list_handle(void *arg, struct pd_exchange *exchange)
{
    struct pd_api_context *api = arg;
    struct pd_records_query query = {.limit = 0};
    const char *own = sees_only(api, exchange);
    struct asking *asking;
    struct pd_err err;

    if (!keeps_records(api, exchange))
        return;
    if (take_query(exchange, &query, &err) < 0) {
        problem(exchange, 400, err.msg);
        return;
    }
    if (own)
        pd_strcpy(query.key_id, sizeof query.key_id, own);
    asking = asking_new(api, exchange, "");
    ask(asking, pd_records_list(api->records, &query, on_text, asking, &err), &err);
}

/* ---- canceling ---- */

/* One that is not under way is done already, or is not there: the record tells. */
static void on_not_live(void *arg, struct pd_buf *text, const struct pd_err *err)
{
    struct asking *asking = arg;

    (void)text;
    if (asking->exchange && err)
        problem_of(asking->exchange, err);
    else if (asking->exchange)
        problem(asking->exchange, 409, "it is done already");
    free(asking);
}

static void reply_canceling(struct pd_exchange *exchange, const char *id)
{
    struct pd_buf body;

    pd_buf_init(&body, PD_RECORD_ID_BYTES + 64);
    (void)!pd_buf_addf(&body, NULL, "{\"id\":\"%s\",\"canceling\":true}\n", id);
    pd_exchange_reply(exchange, 202, "application/json", NULL, &body);
}

static void on_canceled(void *arg, const struct pd_err *err)
{
    struct asking *asking = arg;

    if (!asking->exchange) {
        free(asking);
        return;
    }
    if (err && err->kind == PD_NOT_FOUND) {
        problem(asking->exchange, 409, "it is done already");
    } else if (err) {
        problem_of(asking->exchange, err);
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

    if (!keeps_records(api, exchange))
        return;
    pd_route_segment("/executions/{}", pd_exchange_path(exchange), id);
    live = find_live(api, id, own);
    if (live) {
        reply_canceling(exchange, id);
        pd_execution_cancel(live); /* last: its end may free it */
        return;
    }
    asking = asking_new(api, exchange, id);
    rc = pd_book_cancel(api->book, id, own, on_canceled, asking, &err);
    if (rc == PD_NOT_FOUND)
        rc = pd_records_get(api->records, id, own, on_not_live, asking, &err);
    ask(asking, rc, &err);
}

/* ---- replay ---- */

static const char *type_of(const char *json, size_t len, int *ret_len)
{
    const char *at = memmem(json, len, "\"type\":\"", 8);
    const char *end = at ? memchr(at + 8, '"', len - (size_t)(at + 8 - json)) : NULL;

    *ret_len = end ? (int)(end - at - 8) : 0;
    return end ? at + 8 : "";
}

static int put_event(struct pd_buf *out, const char *json, size_t len, uint64_t from_seq)
{
    const char *at = memmem(json, len, "\"seq\":", 6);
    uint64_t seq = at ? strtoull(at + 6, NULL, 10) : 0;
    int type_len;
    const char *type = type_of(json, len, &type_len);

    if (seq < from_seq)
        return 0;
    if (pd_buf_addf(out, NULL, "id: %llu\nevent: %.*s\ndata: ", (unsigned long long)seq, type_len,
                    type) < 0 ||
        pd_buf_add(out, json, len, NULL) < 0)
        return PD_LIMIT;
    return pd_buf_add(out, "\n\n", 2, NULL);
}

static void on_events(void *arg, struct pd_buf *text, const struct pd_err *err)
{
    struct asking *asking = arg;
    struct pd_buf out;

    pd_buf_init(&out, 2 * PD_RECORD_EVENTS_BYTES_MAX + 4096);
    for (size_t at = 0; !err && at < text->len;) {
        size_t len = strcspn(text->data + at, "\n");
        if (len > 0 && put_event(&out, text->data + at, len, asking->from_seq) < 0)
            break;
        at += len + 1;
    }
    if (asking->exchange && err)
        problem_of(asking->exchange, err);
    else if (asking->exchange)
        pd_exchange_reply(asking->exchange, 200, "text/event-stream", NULL, &out);
    pd_buf_fini(&out);
    free(asking);
}

void pd_async_replay(struct pd_api_context *api, struct pd_exchange *exchange, const char *id,
                     uint64_t from_seq)
{
    struct asking *asking = asking_new(api, exchange, id);
    struct pd_err err;

    asking->from_seq = from_seq;
    ask(asking,
        pd_records_events(api->records, id, sees_only(api, exchange), on_events, asking, &err),
        &err);
}
