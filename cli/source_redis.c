/* Theory of operation. `read` asks Redis for the whole hash by a script, one at
 * a time; whatever asks meanwhile (`again`) leads to one more. What pools it makes is
 * source_redis_fields.c's. */
#include <stdlib.h>
#include <string.h>

#include "cli/source_redis_state.h"
#include "common/mem.h"

/* The hash, its id first; written where pools are there and it has none. */
#define READ_SCRIPT                                                                                \
    "local all = redis.call('HGETALL', KEYS[1])\n"                                                 \
    "if #all == 0 then return {'', all} end\n"                                                     \
    "local id = redis.call('HGET', KEYS[1], '" PD_SOURCE_REDIS_DATASET                             \
    "')\n"                                                                                         \
    "if not id then\n"                                                                             \
    "  id = ARGV[1]\n"                                                                             \
    "  redis.call('HSET', KEYS[1], '" PD_SOURCE_REDIS_DATASET                                      \
    "', id)\n"                                                                                     \
    "end\n"                                                                                        \
    "return {id, all}\n"

#define DOWN_FOR_MS 10000 /* out of reach so long, then pools say so */
#define TICK_MS 2500

/* ---- reading ---- */

static void read_now(struct pd_source_redis *source);

static void source_gone(struct pd_source_redis *source);

/* Whether the source still wants what came. */
static bool read_over(struct pd_source_redis *source)
{
    source->reading = false;
    if (!source->closing)
        return true;
    source_gone(source); /* it may be freed now */
    return false;
}

static void begin_next(struct pd_source_redis *source)
{
    if (source->again && !source->reading)
        read_now(source);
}

static void take_answer(struct pd_source_redis *source, const char *dataset,
                        const struct pd_redis_reply *hash)
{
    pd_strcpy(source->dataset, sizeof source->dataset, dataset);
    pd_source_redis_set_trouble(source, "");
    pd_source_redis_take(source, hash);
}

/* Without the script: from a Redis that cannot be written to. */
static void on_plain(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_source_redis *source = arg;
    const char *dataset = "";

    if (!read_over(source))
        return;
    for (size_t i = 0; !err && i + 1 < reply->count; i += 2)
        if (pd_redis_reply_is(pd_redis_reply_string(reply, i), PD_SOURCE_REDIS_DATASET) &&
            pd_redis_reply_string(reply, i + 1))
            dataset = reply->items[i + 1]->text;
    if (!err)
        take_answer(source, dataset, reply);
    else if (reply) /* else the connection's trouble, which is told another way */
        pd_source_redis_set_trouble(source, err->msg);
    begin_next(source);
}

static void read_plainly(struct pd_source_redis *source)
{
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT("HGETALL"),
                                        PD_REDIS_TEXT(PD_SOURCE_REDIS_KEY)};
    struct pd_err err;

    source->reading = pd_redis_command(source->redis, args, 2, on_plain, source, &err) == 0;
}

static void on_read(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_source_redis *source = arg;
    const struct pd_redis_reply *id = err ? NULL : pd_redis_reply_string(reply, 0);

    if (!read_over(source))
        return;
    if (err && reply && strncmp(reply->text, "WRONGTYPE", 9) != 0)
        read_plainly(source);
    else if (err && (reply || err->kind == PD_LIMIT))
        pd_source_redis_set_trouble(source, err->msg);
    else if (id && reply->count == 2 && reply->items[1]->type == PD_REDIS_ARRAY)
        take_answer(source, id->text, reply->items[1]);
    begin_next(source);
}

static void read_now(struct pd_source_redis *source)
{
    char fresh[PD_UID_BYTES];
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT(PD_SOURCE_REDIS_KEY),
                                        PD_REDIS_TEXT(pd_uid_random(fresh))};
    struct pd_err err;

    source->again = source->reading;
    if (source->reading || !pd_redis_is_up(source->redis))
        return;
    source->read_at = pd_time_now();
    source->reading =
        pd_redis_eval(source->redis, &source->script, 1, args, 2, on_read, source, &err) == 0;
}

void pd_source_redis_reload(struct pd_source_redis *source)
{
    read_now(source);
}

/* ---- when ---- */

static void on_tick(uv_timer_t *timer)
{
    struct pd_source_redis *source = timer->data;
    struct pd_time now = pd_time_now();

    if (pd_redis_is_up(source->redis)) {
        source->down_since = (struct pd_time){0};
        if (pd_time_ms_between(source->read_at, now) >= PD_SOURCE_REDIS_INTERVAL_MS)
            read_now(source);
    } else if (!pd_time_is_set(source->down_since)) {
        source->down_since = now;
    } else if (pd_time_ms_between(source->down_since, now) >= DOWN_FOR_MS) {
        pd_source_redis_set_trouble(source, "Redis is not in reach");
    }
}

static void on_up(void *arg)
{
    read_now(arg);
}

static void on_message(void *arg, const void *data, size_t len)
{
    (void)data, (void)len;
    read_now(arg);
}

static const struct pd_redis_subscriber subscriber = {.begun = on_up, .message = on_message};

/* ---- life ---- */

int pd_source_redis_open(const struct pd_source_redis_config *config,
                         struct pd_source_redis **ret_source, struct pd_err *err)
{
    struct pd_source_redis *source = PD_NEW(struct pd_source_redis);

    source->store = config->store;
    source->redis = config->redis;
    source->default_provider = config->default_provider;
    source->script = pd_redis_script_of(READ_SCRIPT);
    if (pd_pool_schema_new(&source->schema, err) < 0 ||
        pd_redis_subscribe(config->redis, PD_SOURCE_REDIS_CHANNEL, &subscriber, source,
                           &source->subscription, err) < 0) {
        pd_schema_free(source->schema);
        free(source);
        return err->kind;
    }
    pd_redis_observe(config->redis, &(struct pd_redis_observer){.up = on_up, .arg = source});
    uv_timer_init(config->loop, &source->tick);
    source->tick.data = source;
    source->handle_open = true;
    uv_timer_start(&source->tick, on_tick, TICK_MS, TICK_MS);
    read_now(source);
    *ret_source = source;
    return 0;
}

static void source_gone(struct pd_source_redis *source)
{
    void (*closed)(void *arg) = source->closed;
    void *arg = source->closed_arg;

    if (source->reading || source->handle_open)
        return;
    pd_source_redis_free_fields(source);
    pd_schema_free(source->schema);
    free(source);
    if (closed)
        closed(arg);
}

static void on_tick_closed(uv_handle_t *handle)
{
    struct pd_source_redis *source = handle->data;

    source->handle_open = false;
    source_gone(source);
}

void pd_source_redis_close(struct pd_source_redis *source, void (*closed)(void *arg), void *arg)
{
    if (source->closing)
        return;
    source->closing = true;
    source->closed = closed;
    source->closed_arg = arg;
    pd_redis_unsubscribe(source->subscription);
    pd_redis_unobserve(source->redis, source);
    uv_close((uv_handle_t *)&source->tick, on_tick_closed);
}
