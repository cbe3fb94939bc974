/* What all of it has in common, and POST /execute with an Idempotency-Key. */
#include "api/async.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/async_inside.h"
#include "api/book.h"
#include "api/context.h"
#include "api/record_query.h"
#include "api/records.h"
#include "api/server.h"
#include "common/mem.h"

/* ---- answering ---- */

void pd_async_problem(struct pd_exchange *exchange, int status, const char *detail)
{
    pd_exchange_problem(exchange, &(struct pd_problem_details){
                                      .status = status,
                                      .detail = detail,
                                      .retry_after_s = status == 503 ? PD_RETRY_AFTER_DEFAULT_S : 0,
                                  });
}

void pd_async_problem_of(struct pd_exchange *exchange, const struct pd_err *err)
{
    struct pd_problem_details details;

    if (err->kind == PD_NOT_FOUND)
        pd_async_problem(exchange, 404, "there is no such execution, or it is kept no longer");
    else if (err->kind == PD_CONFLICT)
        pd_async_problem(exchange, 422, err->msg);
    else if (err->kind == PD_LIMIT)
        pd_async_problem(exchange, 503, err->msg);
    else {
        pd_failure_details(err, 0, &details);
        pd_exchange_problem(exchange, &details);
    }
}

void pd_async_refuse(struct pd_exchange *exchange, const struct pd_refusal *refusal)
{
    pd_exchange_problem(exchange, &(struct pd_problem_details){.status = refusal->status,
                                                               .detail = refusal->detail,
                                                               .errors = &refusal->problems});
}

bool pd_async_keeps_records(const struct pd_api_context *api, struct pd_exchange *exchange)
{
    if (!api->book)
        pd_async_problem(exchange, 501, "this service keeps no records");
    return api->book != NULL;
}

bool pd_async_is_retry_safe(const struct pd_request *request)
{
    return pd_node_bool(pd_node_get(request->node, "retry_safe"), false);
}

/* ---- Idempotency-Key ---- */

bool pd_async_has_key(struct pd_exchange *exchange, bool *ret_ok)
{
    char sent[PD_IDEMPOTENCY_KEY_BYTES * 2];
    char key[PD_IDEMPOTENCY_KEY_BYTES];

    *ret_ok = true;
    if (!pd_exchange_has_header(exchange, "idempotency-key"))
        return false;
    if (!pd_exchange_header(exchange, "idempotency-key", sent, sizeof sent) ||
        !pd_idempotency_key_parse(sent, key)) {
        pd_async_problem(exchange, 400,
                         "Idempotency-Key: must be one text of 1 to 255 printable characters");
        *ret_ok = false;
        return false;
    }
    pd_exchange_set_note(exchange, pd_strdup(key), free);
    return true;
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
        pd_async_problem(exchange, 500, "the result was too large to be kept");
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
        pd_exchange_add_headers(sync->exchange, PD_ASYNC_REPLAYED);
    if (err) {
        pd_async_problem_of(sync->exchange, err);
    } else if (results->is_done) {
        reply_answer(sync->exchange, &results->answer);
    } else {
        sync->wait = (struct pd_book_wait){.done = on_sync_done, .arg = sync};
        sync->accepted = pd_book_await(sync->api->book, results->id, &sync->wait);
        if (sync->accepted)
            return;
        pd_async_problem(sync->exchange, 503,
                         "it is accepted, and its end is not known yet: ask again");
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

    if (!pd_async_keeps_records(api, exchange))
        return;
    if (pd_request_parse(&api->rules, body, len, &item.request, &refusal) < 0) {
        pd_async_refuse(exchange, &refusal);
        return;
    }
    item.retry_safe = pd_async_is_retry_safe(item.request);
    sync = PD_NEW(struct sync_wait);
    sync->api = api;
    sync->exchange = exchange;
    if (pd_book_accept(api->book, &item, 1, on_sync_accepted, sync, &err) < 0) {
        free(sync);
        pd_async_problem_of(exchange, &err);
        return;
    }
    pd_exchange_on_gone(exchange, on_sync_gone, sync);
}
