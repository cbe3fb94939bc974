/* POST /executions: one, or a batch. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/admission.h"
#include "api/answered.h"
#include "api/async.h"
#include "api/async_inside.h"
#include "api/book.h"
#include "api/context.h"
#include "api/execute.h"
#include "api/records.h"
#include "api/server.h"
#include "common/json.h"
#include "common/mem.h"

#define BATCH_BYTES_MAX (16u * 1024 * 1024)

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
    return pd_buf_addf(body, err,
                       "{\"id\":\"%s\",\"status\":\"%s\",\"location\":\"/executions/%s\"}",
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
        pd_answered_run(posting->exchange, results[i].id);
    }
    if (rc == 0)
        rc = pd_buf_addf(&body, NULL, posting->is_batch ? "]}\n" : "\n");
    assert(rc == 0); /* bounded by PD_BATCH_MAX */
    if (!posting->is_batch)
        snprintf(headers, sizeof headers, "Location: /executions/%s\r\n", results[0].id);
    if (!results[0].is_new)
        pd_exchange_add_headers(posting->exchange, PD_ASYNC_REPLAYED);
    pd_exchange_reply(posting->exchange, 202, "application/json", headers, &body);
}

static void on_posted(void *arg, struct pd_accepted *results, size_t count,
                      const struct pd_err *err)
{
    struct posting *posting = arg;

    if (posting->exchange && err)
        pd_async_problem_of(posting->exchange, err);
    else if (posting->exchange)
        reply_accepted(posting, results, count);
    free(posting);
}

static void post(struct pd_api_context *api, struct pd_exchange *exchange,
                 const struct pd_book_item *items, size_t count, bool is_batch)
{
    struct posting *posting = PD_NEW(struct posting);
    struct pd_err err;

    *posting = (struct posting){.api = api, .exchange = exchange, .is_batch = is_batch};
    if (pd_book_accept(api->book, items, count, on_posted, posting, &err) < 0) {
        free(posting);
        pd_async_problem_of(exchange, &err);
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
        pd_async_refuse(exchange, &refusal);
        return;
    }
    item.retry_safe = pd_async_is_retry_safe(item.request);
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
    item->retry_safe = pd_async_is_retry_safe(item->request);
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
        pd_async_problem(exchange, 400, err.msg);
        return;
    }
    if (list->list.count == 0 || list->list.count > PD_BATCH_MAX) {
        pd_async_problem(exchange, 422, "a batch has 1 to 100 executions");
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

    if (!pd_async_keeps_records(api, exchange) || !pd_execute_is_open(api, exchange))
        return;
    pd_async_has_key(exchange, &ok);
    if (ok && pd_admission_take(api, exchange))
        pd_exchange_want_body(exchange, bytes_max > BATCH_BYTES_MAX ? bytes_max : BATCH_BYTES_MAX,
                              on_post_body, api);
}
