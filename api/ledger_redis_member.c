/* That we live, and what others leave.
 *
 * A replica joins with a token, and says each second that it lives. What it owns is
 * under that token. One that is not heard for PD_LEDGER_DEAD_MS is dead: the others
 * take what it owned, each as much as a script gives it. If it was only paused, its
 * next heartbeat finds its token gone: it gives up what it has, and joins anew. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/ledger_redis_state.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/store.h"

#define NUMBER_BYTES 24
#define STEAL_POOLS_MAX 256
#define STEAL_MAX 16

static const char *text_of(const struct pd_redis_reply *reply, size_t i)
{
    const struct pd_redis_reply *item = pd_redis_reply_string(reply, i);

    return item ? item->text : "";
}

static int eval(struct ledger_redis *ledger, const struct pd_redis_script *script,
                const struct pd_redis_arg *args, size_t n_args, pd_redis_cb cb)
{
    struct pd_err err;
    int rc = pd_redis_eval(ledger->config.redis, script, 0, args, n_args, cb, ledger, &err);

    if (rc == 0)
        pd_ledger_redis_ref(ledger);
    return rc;
}

/* ---- taking ---- */

static void take_rows(struct ledger_redis *ledger, const struct pd_redis_reply *reply,
                      const char *what)
{
    size_t n = reply && reply->type == PD_REDIS_ARRAY ? reply->count / PD_LEDGER_TAKEN_ITEMS : 0;

    for (size_t i = 0; i < n && ledger->events; i++) {
        size_t at = i * PD_LEDGER_TAKEN_ITEMS;
        struct pd_unfinished item = {
            .kind = (enum pd_record_kind)pd_redis_reply_integer(reply, at + 4, PD_RECORD_ASYNC),
            .began = strcmp(text_of(reply, at + 5), "1") == 0,
            .retry_safe = strcmp(text_of(reply, at + 6), "1") == 0,
            .canceled = strcmp(text_of(reply, at + 7), "1") == 0,
            .accepted_wall_ms = pd_redis_reply_integer(reply, at + 8, 0),
        };
        pd_strcpy(item.id, sizeof item.id, text_of(reply, at));
        pd_strcpy(item.key_id, sizeof item.key_id, text_of(reply, at + 1));
        pd_strcpy(item.pool, sizeof item.pool, text_of(reply, at + 2));
        pd_strcpy(item.language, sizeof item.language, text_of(reply, at + 3));
        ledger->events->taken(ledger->arg, &item);
    }
    if (n > 0)
        pd_log(PD_LOG_INFO, "ledger", what, "count", PD_NUM(n), NULL);
}

static void on_collected(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct ledger_redis *ledger = arg;

    if (!err)
        take_rows(ledger, reply, "executions of a replica that is gone are ours now");
    pd_ledger_redis_unref(ledger);
}

/* Nobody is dead because we were away: not before Redis has taken our word for a while. */
static void collect(struct ledger_redis *ledger)
{
    bool trusts = pd_time_is_set(ledger->up_since) &&
                  pd_time_ms_between(ledger->up_since, pd_time_now()) >= PD_LEDGER_TRUST_MS;
    char silence[NUMBER_BYTES], limit[NUMBER_BYTES];
    struct pd_redis_arg args[3] = {PD_REDIS_TEXT(ledger->owner)};

    snprintf(silence, sizeof silence, "%d", trusts ? PD_LEDGER_DEAD_MS : -1);
    snprintf(limit, sizeof limit, "%d", PD_LEDGER_TAKE_MAX);
    args[1] = PD_REDIS_TEXT(silence);
    args[2] = PD_REDIS_TEXT(limit);
    (void)eval(ledger, &ledger->scripts.collect, args, 3, on_collected);
}

static void on_stolen(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct ledger_redis *ledger = arg;

    if (!err)
        take_rows(ledger, reply, "executions that waited with a busier replica are ours now");
    pd_ledger_redis_unref(ledger);
}

static void steal(struct ledger_redis *ledger)
{
    size_t room = ledger->events->room(ledger->arg);
    struct pd_redis_arg args[2 + STEAL_POOLS_MAX] = {PD_REDIS_TEXT(ledger->owner)};
    struct pd_pool *pool;
    struct pd_err err;
    char limit[NUMBER_BYTES];
    size_t n = 2;

    if (room == 0 || ledger->replicas < 2 ||
        pd_records_may_accept(ledger->config.records, &err) < 0)
        return;
    snprintf(limit, sizeof limit, "%zu", room < STEAL_MAX ? room : (size_t)STEAL_MAX);
    args[1] = PD_REDIS_TEXT(limit);
    for (size_t i = 0; n < PD_COUNT(args) && (pool = pd_store_pool_at(ledger->config.store, i));
         i++)
        args[n++] = PD_REDIS_TEXT(pool->spec->name);
    if (n > 2)
        (void)eval(ledger, &ledger->scripts.steal, args, n, on_stolen);
}

/* ---- what is ours and not in the book ---- */

static void on_fetched(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct ledger_redis *ledger = arg;

    if (!err)
        take_rows(ledger, reply, "executions whose acceptance was not answered go on");
    pd_ledger_redis_unref(ledger);
}

static void on_owned(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct ledger_redis *ledger = arg;
    struct pd_redis_arg args[1 + PD_LEDGER_TAKE_MAX] = {PD_REDIS_TEXT(ledger->owner)};
    size_t n = 1;

    for (size_t i = 0; !err && ledger->events && i < reply->count && n < PD_COUNT(args); i++) {
        const char *id = text_of(reply, i);
        if (*id && !ledger->events->has(ledger->arg, id))
            args[n++] = PD_REDIS_TEXT(id);
    }
    if (n > 1)
        (void)eval(ledger, &ledger->scripts.fetch, args, n, on_fetched);
    pd_ledger_redis_unref(ledger);
}

static void sync_owned(struct ledger_redis *ledger)
{
    char key[sizeof PD_LEDGER_PREFIX + 3 + PD_LEDGER_OWNER_BYTES];
    const char *command = "ZRANGE";
    struct pd_redis_arg args[4] = {PD_REDIS_TEXT(command)};
    struct pd_err err;

    snprintf(key, sizeof key, PD_LEDGER_PREFIX "of:%s", ledger->owner);
    args[1] = PD_REDIS_TEXT(key);
    args[2] = (struct pd_redis_arg){"0", 1};
    args[3] = (struct pd_redis_arg){"-1", 2};
    if (pd_redis_command(ledger->config.redis, args, 4, on_owned, ledger, &err) == 0)
        pd_ledger_redis_ref(ledger);
}

/* ---- joining, and staying ---- */

static void join(struct ledger_redis *ledger);

/* Where we were refused (its disk is full), so were the others: their silence says nothing. */
static void note_answer(struct ledger_redis *ledger, const struct pd_err *err)
{
    if (err && pd_time_is_set(ledger->up_since))
        ledger->up_since = pd_time_now();
}

static void on_joined(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct ledger_redis *ledger = arg;

    note_answer(ledger, err);
    ledger->joining = false;
    if (!err && pd_redis_reply_is(reply, "OK") && !ledger->closing) {
        ledger->joined = true;
        collect(ledger);
    }
    pd_ledger_redis_unref(ledger);
}

static void join(struct ledger_redis *ledger)
{
    char lives[PD_LEDGER_OWNER_BYTES];
    struct pd_redis_arg args[2] = {PD_REDIS_TEXT(ledger->owner)};

    if (ledger->joined || ledger->joining)
        return;
    snprintf(lives, sizeof lives, "%.60s.", ledger->instance);
    args[1] = PD_REDIS_TEXT(lives);
    ledger->joining = eval(ledger, &ledger->scripts.join, args, 2, on_joined) == 0;
}

/* We were taken for dead, or Redis has lost everything. */
static void be_gone(struct ledger_redis *ledger)
{
    pd_log(PD_LOG_WARN, "ledger",
           "this replica is not known in Redis any more: what it had is others' now", "owner",
           ledger->owner, NULL);
    ledger->joined = false;
    pd_ledger_redis_make_owner(ledger->instance, ledger->owner);
    if (ledger->events)
        ledger->events->disowned(ledger->arg);
    join(ledger);
}

static void on_beat_answered(void *arg, const struct pd_err *err,
                             const struct pd_redis_reply *reply)
{
    struct ledger_redis *ledger = arg;

    note_answer(ledger, err);
    if (!err && !ledger->closing && ledger->joined) {
        if (strcmp(text_of(reply, 0), "GONE") == 0) {
            be_gone(ledger);
        } else {
            ledger->replicas = (size_t)pd_redis_reply_integer(reply, 0, 1);
            for (size_t i = 1; i < reply->count && ledger->events; i++)
                ledger->events->canceled(ledger->arg, text_of(reply, i));
        }
    }
    pd_ledger_redis_unref(ledger);
}

static void on_beat(uv_timer_t *timer)
{
    struct ledger_redis *ledger = timer->data;
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT(ledger->owner)};

    if (!pd_redis_is_up(ledger->config.redis) || !ledger->events)
        return;
    pd_ledger_redis_resend(ledger);
    if (ledger->beats++ % PD_LEDGER_CHECK_BEATS == 0 || !ledger->checked || *ledger->why)
        pd_ledger_redis_check(ledger);
    if (!ledger->joined) {
        join(ledger);
        return;
    }
    (void)eval(ledger, &ledger->scripts.beat, args, 1, on_beat_answered);
    collect(ledger);
    steal(ledger);
    if (ledger->beats % PD_LEDGER_SYNC_BEATS == 0)
        sync_owned(ledger);
    pd_ledger_redis_poll(ledger);
    pd_ledger_redis_keep(ledger);
}

static void on_up(void *arg)
{
    struct ledger_redis *ledger = arg;

    ledger->up_since = pd_time_now();
    pd_ledger_redis_check(ledger);
    join(ledger);
    pd_ledger_redis_resend(ledger);
    if (ledger->joined) {
        on_beat(&ledger->beat);
        sync_owned(ledger); /* what was accepted by a script whose answer was lost */
    }
}

static void on_down(void *arg, const struct pd_err *err)
{
    struct ledger_redis *ledger = arg;

    (void)err;
    ledger->up_since = (struct pd_time){0};
}

/* ---- what is said ---- */

/* "ended ID", "cancel OWNER ID". */
static void on_said(void *arg, const void *data, size_t len)
{
    struct ledger_redis *ledger = arg;
    char text[PD_LEDGER_OWNER_BYTES + PD_RECORD_ID_BYTES + 16];
    char owner[PD_LEDGER_OWNER_BYTES], id[PD_RECORD_ID_BYTES];

    if (len >= sizeof text || !ledger->events)
        return;
    memcpy(text, data, len);
    text[len] = '\0';
    if (sscanf(text, "ended %63s", id) == 1)
        pd_ledger_redis_ended(ledger, id);
    else if (sscanf(text, "cancel %95s %63s", owner, id) == 2 && strcmp(owner, ledger->owner) == 0)
        ledger->events->canceled(ledger->arg, id);
}

static void on_said_begun(void *arg)
{
    pd_ledger_redis_poll(arg);
}

static const struct pd_redis_subscriber subscriber = {.begun = on_said_begun, .message = on_said};

void pd_ledger_redis_member_open(struct ledger_redis *ledger)
{
    struct pd_err err;

    pd_redis_observe(ledger->config.redis, &(struct pd_redis_observer){on_up, on_down, ledger});
    if (pd_redis_subscribe(ledger->config.redis, PD_LEDGER_CHANNEL, &subscriber, ledger,
                           &ledger->said, &err) < 0)
        pd_log(PD_LOG_WARN, "ledger", "others' outcomes are asked for each second", "err", err.msg,
               NULL);
    uv_timer_start(&ledger->beat, on_beat, 0, PD_LEDGER_BEAT_MS);
    if (pd_redis_is_up(ledger->config.redis))
        on_up(ledger);
}

static void on_left(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    (void)err;
    (void)reply;
    pd_ledger_redis_unref(arg);
}

void pd_ledger_redis_member_close(struct ledger_redis *ledger)
{
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT(ledger->owner)};

    uv_timer_stop(&ledger->beat);
    pd_redis_unobserve(ledger->config.redis, ledger);
    if (ledger->said)
        pd_redis_unsubscribe(ledger->said);
    ledger->said = NULL;
    if (ledger->joined && pd_redis_is_up(ledger->config.redis))
        (void)eval(ledger, &ledger->scripts.leave, args, 1, on_left);
}
