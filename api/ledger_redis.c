/* Theory of operation.
 *
 * Every step of an execution is one script, and its answer is durable when Redis has
 * answered: Redis writes to its append-only file before it answers
 * (ledger_redis_check.c). A script that was sent and not answered may have been
 * carried out: each bears being sent again. What was accepted so, and told to nobody,
 * is found by looking for what is ours and not in the book (ledger_redis_member.c).
 *
 * Outcomes wait in `finishing`, in memory, for as long as Redis is away. */
#include "api/ledger_redis.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/ledger_redis_state.h"
#include "common/mem.h"

#define LIFE_MORE_S 3600 /* beyond the age, for what no pruning has reached */
#define NUMBER_BYTES 24

struct ledger_redis *pd_ledger_redis_of(struct pd_ledger *ledger)
{
    return PD_CONTAINER_OF(ledger, struct ledger_redis, base);
}

int pd_ledger_redis_word(const struct pd_err *err, const struct pd_redis_reply *reply,
                         struct pd_err *ret_err)
{
    if (err && err->kind == PD_LIMIT)
        return pd_err_set(ret_err, PD_UNAVAILABLE, "Redis has no memory left: %.200s", err->msg);
    if (err)
        return pd_err_set(ret_err, PD_UNAVAILABLE, "Redis: %.200s", err->msg);
    if (pd_redis_reply_is(reply, "OK"))
        return 0;
    if (pd_redis_reply_is(reply, "NONE"))
        return pd_err_set(ret_err, PD_NOT_FOUND, "no such execution is under way");
    if (pd_redis_reply_is(reply, "CANCELED"))
        return pd_err_set(ret_err, PD_CANCELED, "it is to end");
    if (pd_redis_reply_is(reply, "OTHER") || pd_redis_reply_is(reply, "DONE"))
        return pd_err_set(ret_err, PD_CONFLICT, "another replica has it, or it has its outcome");
    return pd_err_set(ret_err, PD_UNAVAILABLE, "Redis: its answer is none");
}

/* ---- small changes ---- */

struct change {
    struct ledger_redis *ledger;
    pd_records_cb cb;
    void *arg;
};

static void on_changed(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct change *change = arg;
    struct ledger_redis *ledger = change->ledger;
    struct pd_err why;
    int rc = pd_ledger_redis_word(err, reply, &why);

    change->cb(change->arg, rc < 0 ? &why : NULL);
    free(change);
    pd_ledger_redis_unref(ledger);
}

static int change_one(struct ledger_redis *ledger, const struct pd_redis_script *script,
                      const char *first, const char *second, pd_records_cb cb, void *arg,
                      struct pd_err *err)
{
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT(first), PD_REDIS_TEXT(second)};
    struct change *change = PD_NEW(struct change);
    struct pd_err why;

    *change = (struct change){ledger, cb, arg};
    if (pd_redis_eval(ledger->config.redis, script, 0, args, 2, on_changed, change, &why) < 0) {
        free(change);
        return pd_err_set(err, PD_UNAVAILABLE, "Redis is not in reach: %.200s", why.msg);
    }
    pd_ledger_redis_ref(ledger);
    return 0;
}

static int begin(struct pd_ledger *base, const char *id, pd_records_cb cb, void *arg,
                 struct pd_err *err)
{
    struct ledger_redis *ledger = pd_ledger_redis_of(base);

    return change_one(ledger, &ledger->scripts.begin, ledger->owner, id, cb, arg, err);
}

static int cancel(struct pd_ledger *base, const char *id, const char *key_id, pd_records_cb cb,
                  void *arg, struct pd_err *err)
{
    struct ledger_redis *ledger = pd_ledger_redis_of(base);

    return change_one(ledger, &ledger->scripts.cancel, id, key_id ? key_id : "", cb, arg, err);
}

static int forget(struct pd_ledger *base, const char *id, pd_records_cb cb, void *arg,
                  struct pd_err *err)
{
    struct ledger_redis *ledger = pd_ledger_redis_of(base);

    return change_one(ledger, &ledger->scripts.forget, ledger->owner, id, cb, arg, err);
}

/* ---- accepting ---- */

struct accepting {
    struct ledger_redis *ledger;
    pd_accept_cb cb;
    void *arg;
    size_t count;
    struct pd_accepted results[];
};

static const char *text_of(const struct pd_redis_reply *reply, size_t i)
{
    const struct pd_redis_reply *item = pd_redis_reply_string(reply, i);

    return item ? item->text : "";
}

static void take_result(const struct pd_redis_reply *reply, size_t i, struct pd_accepted *result)
{
    const char *state = text_of(reply, 2 + i * 3);
    const struct pd_redis_reply *answer = pd_redis_reply_string(reply, 3 + i * 3);

    pd_strcpy(result->id, sizeof result->id, text_of(reply, 1 + i * 3));
    result->is_new = strcmp(state, "new") == 0;
    result->is_done = strcmp(state, "2") == 0;
    pd_buf_init(&result->answer, answer ? answer->len : 0);
    if (result->is_done && answer && answer->len > 0)
        (void)!pd_buf_add(&result->answer, answer->text, answer->len, NULL); /* fits */
}

static int take_results(struct accepting *accepting, const struct pd_err *err,
                        const struct pd_redis_reply *reply, struct pd_err *why)
{
    const char *word = text_of(reply, 0);

    if (err)
        return pd_ledger_redis_word(err, reply, why);
    if (strcmp(word, "CONFLICT") == 0)
        return pd_err_set(why, PD_CONFLICT,
                          "this Idempotency-Key was used for another request, execution %.64s",
                          text_of(reply, 1));
    if (strcmp(word, "OK") != 0 || reply->count != 1 + 3 * accepting->count)
        return pd_err_set(why, PD_UNAVAILABLE, "this replica is not known in Redis (yet)");
    for (size_t i = 0; i < accepting->count; i++)
        take_result(reply, i, &accepting->results[i]);
    return 0;
}

static void on_accepted(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct accepting *accepting = arg;
    struct ledger_redis *ledger = accepting->ledger;
    struct pd_err why;
    int rc = take_results(accepting, err, reply, &why);

    accepting->cb(accepting->arg, accepting->results, accepting->count, rc < 0 ? &why : NULL);
    for (size_t i = 0; i < accepting->count; i++)
        pd_buf_fini(&accepting->results[i].answer);
    free(accepting);
    pd_ledger_redis_unref(ledger);
}

/* The texts of one item that are made for it. */
struct item_texts {
    char kind[2];
    char code_hash[65], body_hash[65];
    char *head;
};

static void put_item(const struct pd_accept *item, struct item_texts *texts,
                     struct pd_redis_arg *args)
{
    const struct pd_record record = {
        .kind = item->kind,
        .key_id = item->key_id,
        .pool = item->pool,
        .language = item->language,
    };
    const struct pd_redis_arg all[PD_LEDGER_ACCEPT_ARGS] = {
        PD_REDIS_TEXT(item->id),
        PD_REDIS_TEXT(item->key_id),
        PD_REDIS_TEXT(item->idempotency_key ? item->idempotency_key : ""),
        PD_REDIS_TEXT(item->pool),
        PD_REDIS_TEXT(item->language),
        {texts->kind, 1},
        PD_REDIS_TEXT(item->retry_safe ? "1" : "0"),
        {texts->code_hash, 64},
        {item->body, item->body_len},
        {texts->body_hash, 64},
        {NULL, 0},
    };

    texts->kind[0] = (char)('0' + (int)item->kind);
    pd_ledger_redis_hash(item->code, item->code_len, texts->code_hash);
    pd_ledger_redis_hash(item->body, item->body_len, texts->body_hash);
    texts->head = pd_ledger_redis_head(&record, texts->code_hash, item->retry_safe);
    memcpy(args, all, sizeof all);
    args[PD_LEDGER_ACCEPT_ARGS - 1] = PD_REDIS_TEXT(texts->head);
}

static int accept_items(struct pd_ledger *base, const struct pd_accept *items, size_t count,
                        pd_accept_cb cb, void *arg, struct pd_err *err)
{
    struct ledger_redis *ledger = pd_ledger_redis_of(base);
    struct pd_redis_arg *args;
    struct item_texts *texts;
    struct accepting *accepting;
    char number[NUMBER_BYTES];
    struct pd_err why;
    int rc = pd_ledger_redis_may_accept(ledger, err);

    if (rc < 0)
        return rc;
    accepting = pd_calloc(1, sizeof *accepting + count * sizeof accepting->results[0]);
    accepting->ledger = ledger;
    accepting->cb = cb;
    accepting->arg = arg;
    accepting->count = count;
    args = pd_calloc(2 + count * PD_LEDGER_ACCEPT_ARGS, sizeof *args);
    texts = pd_calloc(count, sizeof *texts);
    snprintf(number, sizeof number, "%zu", count);
    args[0] = PD_REDIS_TEXT(ledger->owner);
    args[1] = PD_REDIS_TEXT(number);
    for (size_t i = 0; i < count; i++)
        put_item(&items[i], &texts[i], &args[2 + i * PD_LEDGER_ACCEPT_ARGS]);
    rc = pd_redis_eval(ledger->config.redis, &ledger->scripts.accept, 0, args,
                       2 + count * PD_LEDGER_ACCEPT_ARGS, on_accepted, accepting, &why);
    for (size_t i = 0; i < count; i++)
        free(texts[i].head);
    free(texts);
    free(args);
    if (rc < 0) {
        free(accepting);
        return pd_err_set(err, PD_UNAVAILABLE, "Redis: %.200s", why.msg);
    }
    pd_ledger_redis_ref(ledger);
    return 0;
}

/* ---- outcomes ---- */

struct finishing {
    struct pd_ring in_ledger;
    struct ledger_redis *ledger;
    pd_records_cb cb;
    void *arg;
    bool sent;
    char id[PD_RECORD_ID_BYTES];
    char owner[PD_LEDGER_OWNER_BYTES]; /* that it began with */
    char ended[NUMBER_BYTES];
    char cause[32];
    char *end;
    struct pd_buf answer, events;
};

static size_t finishing_bytes(const struct finishing *finishing)
{
    return sizeof *finishing + finishing->answer.len + finishing->events.len;
}

static void finishing_end(struct finishing *finishing, const struct pd_err *err)
{
    struct ledger_redis *ledger = finishing->ledger;

    pd_ring_remove(&finishing->in_ledger);
    ledger->finishing_bytes -= finishing_bytes(finishing);
    finishing->cb(finishing->arg, err);
    free(finishing->end);
    pd_buf_fini(&finishing->answer);
    pd_buf_fini(&finishing->events);
    free(finishing);
}

static void on_finished(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct finishing *finishing = arg;
    struct ledger_redis *ledger = finishing->ledger;
    struct pd_err why;
    int rc = pd_ledger_redis_word(err, reply, &why);

    finishing->sent = false;
    if (rc != PD_UNAVAILABLE || ledger->closing)
        finishing_end(finishing, rc < 0 ? &why : NULL);
    pd_ledger_redis_unref(ledger); /* else the next heartbeat sends it again */
}

static void send_finish(struct finishing *finishing)
{
    struct ledger_redis *ledger = finishing->ledger;
    char life[NUMBER_BYTES];
    struct pd_err err;
    struct pd_redis_arg args[] = {
        PD_REDIS_TEXT(finishing->owner),
        PD_REDIS_TEXT(finishing->id),
        PD_REDIS_TEXT(finishing->ended),
        PD_REDIS_TEXT(finishing->cause),
        PD_REDIS_TEXT(finishing->end),
        {finishing->answer.data ? finishing->answer.data : "", finishing->answer.len},
        {finishing->events.data ? finishing->events.data : "", finishing->events.len},
        {life, 0},
    };

    args[PD_COUNT(args) - 1].len = (size_t)snprintf(
        life, sizeof life, "%lld", (long long)(ledger->config.age_ms / 1000 + LIFE_MORE_S));
    if (pd_redis_eval(ledger->config.redis, &ledger->scripts.finish, 0, args, PD_COUNT(args),
                      on_finished, finishing, &err) == 0) {
        finishing->sent = true;
        pd_ledger_redis_ref(ledger);
    }
}

static void copy_bytes(const struct pd_buf *from, struct pd_buf *to)
{
    pd_buf_init(to, from ? from->len : 0);
    if (from && from->len > 0)
        (void)!pd_buf_add(to, from->data, from->len, NULL); /* fits */
}

/* Beyond the bounds an outcome is kept without its result. */
static void finish(struct pd_ledger *base, const struct pd_record *record, pd_records_cb cb,
                   void *arg)
{
    struct ledger_redis *ledger = pd_ledger_redis_of(base);
    struct finishing *finishing = PD_NEW(struct finishing);
    size_t bytes =
        (record->answer ? record->answer->len : 0) + (record->events ? record->events->len : 0);
    bool has_room = bytes <= PD_LEDGER_RESULT_BYTES_MAX &&
                    ledger->finishing_bytes + bytes <= PD_LEDGER_UNSENT_BYTES_MAX;

    finishing->ledger = ledger;
    finishing->cb = cb;
    finishing->arg = arg;
    pd_strcpy(finishing->id, sizeof finishing->id, record->id);
    pd_strcpy(finishing->owner, sizeof finishing->owner, ledger->owner);
    snprintf(finishing->ended, sizeof finishing->ended, "%lld", (long long)record->ended_wall_ms);
    pd_strcpy(finishing->cause, sizeof finishing->cause, record->cause);
    finishing->end = pd_ledger_redis_end(record);
    copy_bytes(has_room ? record->answer : NULL, &finishing->answer);
    copy_bytes(has_room ? record->events : NULL, &finishing->events);
    ledger->finishing_bytes += finishing_bytes(finishing);
    pd_ring_append(&ledger->finishing, &finishing->in_ledger);
    send_finish(finishing);
}

void pd_ledger_redis_resend(struct ledger_redis *ledger)
{
    for (struct pd_ring *at = ledger->finishing.next; at != &ledger->finishing; at = at->next) {
        struct finishing *finishing = PD_CONTAINER_OF(at, struct finishing, in_ledger);
        if (!finishing->sent)
            send_finish(finishing);
    }
}

static void fail_unsent(struct ledger_redis *ledger)
{
    const struct pd_err err = {.kind = PD_UNAVAILABLE, .msg = "Redis was not in reach"};
    struct pd_ring *next;

    for (struct pd_ring *at = ledger->finishing.next; at != &ledger->finishing; at = next) {
        struct finishing *finishing = PD_CONTAINER_OF(at, struct finishing, in_ledger);
        next = at->next;
        if (!finishing->sent)
            finishing_end(finishing, &err);
    }
}

/* ---- life ---- */

void pd_ledger_redis_ref(struct ledger_redis *ledger)
{
    ledger->refs++;
}

static void maybe_free(struct ledger_redis *ledger)
{
    void (*closed)(void *arg) = ledger->closed;
    void *arg = ledger->closed_arg;

    if (!ledger->closing || ledger->refs > 0 || ledger->open_timers > 0)
        return;
    pd_ledger_redis_waits_fini(ledger);
    pd_buf_fini(&ledger->added);
    free(ledger->instance);
    free(ledger);
    closed(arg);
}

void pd_ledger_redis_unref(struct ledger_redis *ledger)
{
    ledger->refs--;
    maybe_free(ledger);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct ledger_redis *ledger = handle->data;

    ledger->open_timers--;
    maybe_free(ledger);
}

static int start(struct pd_ledger *base, const struct pd_ledger_events *events, void *arg,
                 struct pd_err *err)
{
    struct ledger_redis *ledger = pd_ledger_redis_of(base);

    (void)err;
    ledger->events = events;
    ledger->arg = arg;
    pd_ledger_redis_member_open(ledger);
    return 0;
}

static void stop(struct pd_ledger *base)
{
    struct ledger_redis *ledger = pd_ledger_redis_of(base);

    pd_ledger_redis_waits_fini(ledger);
    ledger->events = NULL;
}

static size_t replicas(const struct pd_ledger *base)
{
    return PD_CONTAINER_OF(base, const struct ledger_redis, base)->replicas;
}

static void close_ledger(struct pd_ledger *base, void (*closed)(void *arg), void *arg)
{
    struct ledger_redis *ledger = pd_ledger_redis_of(base);

    ledger->closed = closed;
    ledger->closed_arg = arg;
    pd_ledger_redis_flush(ledger);
    pd_ledger_redis_member_close(ledger);
    ledger->closing = true;
    fail_unsent(ledger);
    uv_close((uv_handle_t *)&ledger->beat, on_timer_closed);
    uv_close((uv_handle_t *)&ledger->flush, on_timer_closed);
}

static const struct pd_ledger_ops ops = {
    .start = start,
    .stop = stop,
    .add = pd_ledger_redis_add,
    .accept = accept_items,
    .begin = begin,
    .finish = finish,
    .cancel = cancel,
    .forget = forget,
    .await = pd_ledger_redis_await,
    .body = pd_ledger_redis_body,
    .get = pd_ledger_redis_get,
    .events = pd_ledger_redis_events,
    .list = pd_ledger_redis_list,
    .prune = pd_ledger_redis_prune,
    .replicas = replicas,
    .close = close_ledger,
};

static void learn_scripts(struct ledger_scripts *scripts)
{
    *scripts = (struct ledger_scripts){
        .accept = pd_redis_script_of(pd_ledger_accept_lua),
        .begin = pd_redis_script_of(pd_ledger_begin_lua),
        .finish = pd_redis_script_of(pd_ledger_finish_lua),
        .cancel = pd_redis_script_of(pd_ledger_cancel_lua),
        .forget = pd_redis_script_of(pd_ledger_forget_lua),
        .add = pd_redis_script_of(pd_ledger_add_lua),
        .join = pd_redis_script_of(pd_ledger_join_lua),
        .beat = pd_redis_script_of(pd_ledger_beat_lua),
        .collect = pd_redis_script_of(pd_ledger_collect_lua),
        .steal = pd_redis_script_of(pd_ledger_steal_lua),
        .fetch = pd_redis_script_of(pd_ledger_fetch_lua),
        .leave = pd_redis_script_of(pd_ledger_leave_lua),
        .get = pd_redis_script_of(pd_ledger_get_lua),
        .list = pd_redis_script_of(pd_ledger_list_lua),
        .keep = pd_redis_script_of(pd_ledger_keep_lua),
        .kept = pd_redis_script_of(pd_ledger_kept_lua),
        .prune = pd_redis_script_of(pd_ledger_prune_lua),
    };
}

struct pd_ledger *pd_ledger_redis_new(const struct pd_ledger_redis_config *config)
{
    struct ledger_redis *ledger = PD_NEW(struct ledger_redis);

    ledger->base.ops = &ops;
    ledger->config = *config;
    ledger->instance = pd_strdup(config->instance);
    ledger->replicas = 1;
    pd_ledger_redis_make_owner(ledger->instance, ledger->owner);
    learn_scripts(&ledger->scripts);
    pd_ring_init(&ledger->finishing);
    pd_buf_init(&ledger->added, PD_LEDGER_ADD_BYTES_MAX);
    uv_timer_init(config->loop, &ledger->beat);
    uv_timer_init(config->loop, &ledger->flush);
    ledger->beat.data = ledger;
    ledger->flush.data = ledger;
    ledger->open_timers = 2;
    return &ledger->base;
}
