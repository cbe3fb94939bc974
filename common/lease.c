#include "common/lease.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"

/* KEYS lease, fence; ARGV holder, ttl. The lease's value, ours or not. */
#define TAKE_SCRIPT                                                                                \
    "local value = redis.call('GET', KEYS[1])\n"                                                   \
    "if value then\n"                                                                              \
    "  if string.sub(value, string.find(value, ':', 1, true) + 1) == ARGV[1] then\n"               \
    "    redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"                                                \
    "  end\n"                                                                                      \
    "  return value\n"                                                                             \
    "end\n"                                                                                        \
    "local time = redis.call('TIME')\n"                                                            \
    "local token = tonumber(time[1]) * 1000000 + tonumber(time[2])\n"                              \
    "local last = tonumber(redis.call('GET', KEYS[2]) or '0')\n"                                   \
    "if token <= last then token = last + 1 end\n"                                                 \
    "local text = string.format('%.0f', token)\n"                                                  \
    "value = text .. ':' .. ARGV[1]\n"                                                             \
    "redis.call('SET', KEYS[2], text)\n"                                                           \
    "redis.call('SET', KEYS[1], value, 'PX', ARGV[2])\n"                                           \
    "return value\n"

#define GIVE_UP_SCRIPT                                                                             \
    "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end\n"               \
    "return 'OK'\n"

struct pd_lease {
    struct pd_redis *redis;
    struct pd_time (*now)(void);
    const struct pd_lease_events *events;
    void *arg;
    struct pd_redis_script take, give_up;
    char *lease_key, *fence_key;
    char holder[PD_LEASE_HOLDER_MAX];
    int ttl_ms;
    uv_timer_t renew;  /* repeats */
    uv_timer_t expiry; /* of what is held */
    int handles;
    char value[PD_LEASE_VALUE_MAX];   /* ours */
    char leader[PD_LEASE_HOLDER_MAX]; /* whoever's */
    bool held;
    struct pd_time until, since;
    struct pd_time sent;
    bool asking;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- held and lost ---- */

bool pd_lease_is_held(const struct pd_lease *lease)
{
    return lease->held && !lease->closing && pd_time_before(lease->now(), lease->until);
}

const char *pd_lease_value(const struct pd_lease *lease)
{
    return lease->value;
}

struct pd_time pd_lease_since(const struct pd_lease *lease)
{
    return pd_lease_is_held(lease) ? lease->since : (struct pd_time){0};
}

const char *pd_lease_holder(const struct pd_lease *lease)
{
    return lease->leader;
}

static void lose(struct pd_lease *lease)
{
    if (!lease->held)
        return;
    lease->held = false;
    uv_timer_stop(&lease->expiry);
    pd_log(PD_LOG_DEBUG, "lease", "lost", "key", lease->lease_key, NULL);
    if (!lease->closing)
        lease->events->lost(lease->arg);
}

static void on_expiry(uv_timer_t *timer)
{
    struct pd_lease *lease = timer->data;
    int64_t left_ms = pd_time_ms_between(lease->now(), lease->until);

    if (left_ms > 0) { /* a timer may be early */
        uv_timer_start(timer, on_expiry, (uint64_t)left_ms + 1, 0);
        return;
    }
    lease->leader[0] = '\0';
    lose(lease);
}

static void hold(struct pd_lease *lease, const char *value)
{
    bool renewed = lease->held && strcmp(lease->value, value) == 0;

    if (!renewed)
        lose(lease);
    lease->until = pd_time_add_ms(lease->sent, lease->ttl_ms - PD_LEASE_MARGIN_MS);
    if (!pd_time_before(lease->now(), lease->until))
        return; /* the answer came too late to be of use */
    pd_strcpy(lease->value, sizeof lease->value, value);
    lease->held = true;
    uv_timer_start(&lease->expiry, on_expiry,
                   (uint64_t)pd_time_ms_between(lease->now(), lease->until) + 1, 0);
    if (renewed)
        return;
    lease->since = lease->now();
    lease->events->gained(lease->arg);
}

/* ---- asking ---- */

static void maybe_closed(struct pd_lease *lease)
{
    void (*closed)(void *arg) = lease->closed;
    void *arg = lease->closed_arg;

    if (!lease->closing || lease->handles > 0 || lease->asking)
        return;
    free(lease->lease_key);
    free(lease->fence_key);
    free(lease);
    if (closed)
        closed(arg);
}

static void on_taken(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_lease *lease = arg;
    const char *colon;

    lease->asking = false;
    if (lease->closing) {
        maybe_closed(lease);
        return;
    }
    if (err || reply->type != PD_REDIS_STRING || !(colon = strchr(reply->text, ':')) ||
        reply->len >= sizeof lease->value)
        return; /* what is held runs out by itself */
    pd_strcpy(lease->leader, sizeof lease->leader, colon + 1);
    if (strcmp(colon + 1, lease->holder) == 0)
        hold(lease, reply->text);
    else
        lose(lease);
}

static void ask(struct pd_lease *lease)
{
    char ttl[16];
    const struct pd_redis_arg args[] = {
        PD_REDIS_TEXT(lease->lease_key),
        PD_REDIS_TEXT(lease->fence_key),
        PD_REDIS_TEXT(lease->holder),
        {ttl, (size_t)snprintf(ttl, sizeof ttl, "%d", lease->ttl_ms)}};
    struct pd_err err;

    if (lease->asking)
        return;
    lease->sent = lease->now();
    lease->asking =
        pd_redis_eval(lease->redis, &lease->take, 2, args, 4, on_taken, lease, &err) == 0;
}

static void on_renew(uv_timer_t *timer)
{
    ask(timer->data);
}

static void on_up(void *arg)
{
    ask(arg);
}

/* ---- life ---- */

struct pd_lease *pd_lease_open(const struct pd_lease_config *config)
{
    struct pd_lease *lease = PD_NEW(struct pd_lease);

    assert(strlen(config->holder) < sizeof lease->holder && !strchr(config->holder, ':'));
    lease->redis = config->redis;
    lease->now = config->fixed_now ? config->fixed_now : pd_time_now;
    lease->events = config->events;
    lease->arg = config->arg;
    lease->take = pd_redis_script_of(TAKE_SCRIPT);
    lease->give_up = pd_redis_script_of(GIVE_UP_SCRIPT);
    lease->lease_key = pd_asprintf("%s:lease", config->prefix);
    lease->fence_key = pd_asprintf("%s:fence", config->prefix);
    pd_strcpy(lease->holder, sizeof lease->holder, config->holder);
    lease->ttl_ms = config->ttl_ms ? config->ttl_ms : PD_LEASE_TTL_MS;
    uv_timer_init(config->loop, &lease->renew);
    uv_timer_init(config->loop, &lease->expiry);
    lease->renew.data = lease->expiry.data = lease;
    lease->handles = 2;
    pd_redis_observe(lease->redis, &(struct pd_redis_observer){.up = on_up, .arg = lease});
    uv_timer_start(&lease->renew, on_renew, 0, PD_LEASE_RENEW_MS);
    return lease;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pd_lease *lease = handle->data;

    lease->handles--;
    maybe_closed(lease);
}

static void on_given_up(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_lease *lease = arg;

    (void)err, (void)reply;
    lease->asking = false;
    maybe_closed(lease);
}

void pd_lease_close(struct pd_lease *lease, void (*closed)(void *arg), void *arg)
{
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT(lease->lease_key),
                                        PD_REDIS_TEXT(lease->value)};
    struct pd_err err;

    if (lease->closing)
        return;
    lease->closing = true;
    lease->closed = closed;
    lease->closed_arg = arg;
    pd_redis_unobserve(lease->redis, lease);
    uv_close((uv_handle_t *)&lease->renew, on_handle_closed);
    uv_close((uv_handle_t *)&lease->expiry, on_handle_closed);
    /* A renewal under way only delays this by its answer, which it then is. */
    if (lease->held && !lease->asking)
        lease->asking =
            pd_redis_eval(lease->redis, &lease->give_up, 1, args, 2, on_given_up, lease, &err) == 0;
    else if (lease->held)
        (void)!pd_redis_eval(lease->redis, &lease->give_up, 1, args, 2, NULL, NULL, &err);
}
