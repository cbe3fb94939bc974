/* Theory of operation. The client has two lines, each a session or the pause
 * before the next one: `commands`, always, and `channels` while there are
 * subscriptions. A session that ended is closed at once and freed when its
 * handles are; the line does not wait for that. */
#include "common/loop_redis.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/log.h"
#include "common/mem.h"

struct line {
    struct pd_redis *redis;
    enum pd_redis_session_kind kind;
    struct pd_redis_session *session; /* NULL: pausing, or not wanted */
    bool ready;
    uv_timer_t pause;
    int64_t pause_ms;
};

struct pd_redis_subscription {
    LIST_ENTRY(pd_redis_subscription) next;
    struct pd_redis *redis;
    const struct pd_redis_subscriber *subscriber; /* NULL: given up, to be reaped */
    void *arg;
    char channel[];
};

struct pd_redis {
    uv_loop_t *loop;
    struct pd_redis_url url;
    char *ca_file, *cert_file, *key_file;
    int command_timeout_ms;
    struct line commands, channels;
    struct pd_redis_observer observers[PD_REDIS_OBSERVERS_MAX];
    size_t n_observers;
    LIST_HEAD(, pd_redis_subscription) subscriptions;
    size_t n_subscriptions;
    bool delivering;
    char why_down[PD_ERR_MSG_MAX];
    unsigned failures;
    uint64_t readonly_at_ms; /* when it was left for being read-only; 0: never */
    int open_parts;          /* sessions and timers not yet closed */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- life ---- */

static void redis_free(struct pd_redis *redis)
{
    struct pd_redis_subscription *subscription;

    while ((subscription = LIST_FIRST(&redis->subscriptions))) {
        LIST_REMOVE(subscription, next);
        free(subscription);
    }
    pd_redis_url_fini(&redis->url);
    free(redis->ca_file);
    free(redis->cert_file);
    free(redis->key_file);
    free(redis);
}

static void on_part_closed(void *arg)
{
    struct pd_redis *redis = arg;
    void (*closed)(void *arg) = redis->closed;
    void *closed_arg = redis->closed_arg;

    if (--redis->open_parts > 0)
        return;
    redis_free(redis);
    if (closed)
        closed(closed_arg);
}

static void on_pause_closed(uv_handle_t *handle)
{
    struct line *line = handle->data;

    on_part_closed(line->redis);
}

static void close_session(struct line *line)
{
    struct pd_redis_session *session = line->session;

    line->session = NULL;
    line->ready = false;
    if (session)
        pd_redis_session_close(session, on_part_closed, line->redis);
}

static void close_line(struct line *line)
{
    close_session(line);
    uv_close((uv_handle_t *)&line->pause, on_pause_closed);
}

void pd_redis_close(struct pd_redis *redis, void (*closed)(void *arg), void *arg)
{
    if (redis->closing)
        return;
    redis->closing = true;
    redis->closed = closed;
    redis->closed_arg = arg;
    redis->n_observers = 0;
    close_line(&redis->commands);
    close_line(&redis->channels);
}

/* ---- observers ---- */

void pd_redis_observe(struct pd_redis *redis, const struct pd_redis_observer *observer)
{
    assert(redis->n_observers < PD_REDIS_OBSERVERS_MAX);
    redis->observers[redis->n_observers++] = *observer;
}

void pd_redis_unobserve(struct pd_redis *redis, const void *arg)
{
    for (size_t i = redis->n_observers; i-- > 0;) {
        if (redis->observers[i].arg != arg)
            continue;
        redis->n_observers--;
        memmove(&redis->observers[i], &redis->observers[i + 1],
                (redis->n_observers - i) * sizeof redis->observers[0]);
    }
}

static void tell_up(struct pd_redis *redis)
{
    struct pd_redis_observer now[PD_REDIS_OBSERVERS_MAX];
    size_t count = redis->n_observers;

    memcpy(now, redis->observers, sizeof now);
    for (size_t i = 0; i < count && redis->commands.ready; i++) {
        if (now[i].up)
            now[i].up(now[i].arg);
    }
}

static void tell_down(struct pd_redis *redis, const struct pd_err *err)
{
    struct pd_redis_observer now[PD_REDIS_OBSERVERS_MAX];
    size_t count = redis->n_observers;

    memcpy(now, redis->observers, sizeof now);
    for (size_t i = 0; i < count && !redis->closing; i++) {
        if (now[i].down)
            now[i].down(now[i].arg, err);
    }
}

/* ---- lines ---- */

static void on_pause_over(uv_timer_t *timer);

/* Three quarters to all of the pause, so that a hundred replicas do not come
 * back in step. */
static void pause_line(struct line *line)
{
    uint32_t random = 0;
    int64_t ms = line->pause_ms;

    uv_random(NULL, NULL, &random, sizeof random, 0, NULL);
    ms -= (int64_t)(random % (uint32_t)(ms / 4 + 1));
    line->pause_ms =
        line->pause_ms * 2 < PD_REDIS_PAUSE_MAX_MS ? line->pause_ms * 2 : PD_REDIS_PAUSE_MAX_MS;
    uv_timer_start(&line->pause, on_pause_over, (uint64_t)ms, 0);
}

static void on_ended(void *arg, const struct pd_err *err)
{
    struct line *line = arg;
    struct pd_redis *redis = line->redis;

    pd_log(PD_LOG_DEBUG, "redis", "connection lost", "url", redis->url.shown, "err", err->msg,
           NULL);
    close_session(line);
    if (redis->closing)
        return;
    if (line == &redis->commands || !redis->why_down[0])
        pd_strcpy(redis->why_down, sizeof redis->why_down, err->msg);
    pause_line(line);
    if (line != &redis->commands)
        return;
    redis->failures++;
    tell_down(redis, err);
}

static void subscribe_all(struct pd_redis *redis);

static void on_ready(void *arg)
{
    struct line *line = arg;
    struct pd_redis *redis = line->redis;

    line->ready = true;
    line->pause_ms = PD_REDIS_PAUSE_MIN_MS;
    if (line == &redis->channels) {
        subscribe_all(redis);
        return;
    }
    redis->why_down[0] = '\0';
    redis->failures = 0;
    pd_log(PD_LOG_DEBUG, "redis", "connected", "url", redis->url.shown, NULL);
    tell_up(redis);
}

static void on_push(void *arg, const struct pd_redis_reply *reply);

static const struct pd_redis_session_events session_events = {
    .ready = on_ready,
    .push = on_push,
    .ended = on_ended,
};

static void open_session(struct line *line)
{
    struct pd_redis *redis = line->redis;
    const struct pd_redis_session_config config = {
        .loop = redis->loop,
        .url = &redis->url,
        .ca_file = redis->ca_file,
        .cert_file = redis->cert_file,
        .key_file = redis->key_file,
        .connect_timeout_ms = PD_REDIS_CONNECT_TIMEOUT_MS,
        .command_timeout_ms = redis->command_timeout_ms,
        .ping_interval_ms = PD_REDIS_PING_INTERVAL_MS,
    };

    line->session = pd_redis_session_open(&config, line->kind, &session_events, line);
    redis->open_parts++;
}

static void on_pause_over(uv_timer_t *timer)
{
    open_session(timer->data);
}

static void init_line(struct pd_redis *redis, struct line *line, enum pd_redis_session_kind kind)
{
    line->redis = redis;
    line->kind = kind;
    line->pause_ms = PD_REDIS_PAUSE_MIN_MS;
    uv_timer_init(redis->loop, &line->pause);
    line->pause.data = line;
    redis->open_parts++;
}

static char *copy_text(const char *text)
{
    return text ? pd_strdup(text) : NULL;
}

struct pd_redis *pd_redis_open(const struct pd_redis_config *config)
{
    struct pd_redis *redis = PD_NEW(struct pd_redis);

    redis->loop = config->loop;
    redis->url = pd_redis_url_copy(config->url);
    redis->ca_file = copy_text(config->ca_file);
    redis->cert_file = copy_text(config->cert_file);
    redis->key_file = copy_text(config->key_file);
    redis->command_timeout_ms =
        config->command_timeout_ms ? config->command_timeout_ms : PD_REDIS_COMMAND_TIMEOUT_MS;
    LIST_INIT(&redis->subscriptions);
    init_line(redis, &redis->commands, PD_REDIS_COMMANDS);
    init_line(redis, &redis->channels, PD_REDIS_SUBSCRIBER);
    open_session(&redis->commands);
    return redis;
}

bool pd_redis_is_up(const struct pd_redis *redis)
{
    return redis->commands.ready;
}

const char *pd_redis_why_down(const struct pd_redis *redis)
{
    return redis->commands.ready ? "" : redis->why_down;
}

unsigned pd_redis_failures(const struct pd_redis *redis)
{
    return redis->failures;
}

const char *pd_redis_shown_url(const struct pd_redis *redis)
{
    return redis->url.shown;
}

const char *pd_redis_run_id(const struct pd_redis *redis)
{
    return redis->commands.ready ? pd_redis_session_run_id(redis->commands.session) : "";
}

/* ---- commands ---- */

int pd_redis_command(struct pd_redis *redis, const struct pd_redis_arg *args, size_t n_args,
                     pd_redis_cb cb, void *arg, struct pd_err *err)
{
    if (!redis->commands.ready || redis->closing)
        return pd_err_set(err, PD_UNAVAILABLE, "Redis at %s is not in reach%s%.200s",
                          redis->url.shown, redis->why_down[0] ? ": " : "", redis->why_down);
    return pd_redis_session_send(redis->commands.session, args, n_args, cb, arg, err);
}

/* ---- scripts ---- */

struct pd_redis_script pd_redis_script_of(const char *source)
{
    struct pd_redis_script script = {.source = source};
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (EVP_Digest(source, strlen(source), digest, &len, EVP_sha1(), NULL) != 1 || len != 20)
        abort();
    for (unsigned i = 0; i < len; i++)
        snprintf(script.sha1 + (size_t)2 * i, 3, "%02x", digest[i]);
    return script;
}

/* An EVALSHA under way, with what it takes to send it as EVAL. */
struct eval {
    struct pd_redis *redis;
    const char *source;
    pd_redis_cb cb;
    void *arg;
    size_t n_args; /* the command's name and all */
    struct pd_redis_arg args[];
};

static struct eval *eval_new(size_t n_args, const struct pd_redis_arg *args)
{
    size_t head = sizeof(struct eval) + n_args * sizeof args[0], total = head;
    struct eval *eval;
    char *at;

    for (size_t i = 0; i < n_args; i++)
        total += args[i].len;
    eval = pd_calloc(1, total);
    eval->n_args = n_args;
    at = (char *)eval + head;
    for (size_t i = 0; i < n_args; i++) {
        if (args[i].len)
            memcpy(at, args[i].data, args[i].len);
        eval->args[i] = (struct pd_redis_arg){at, args[i].len};
        at += args[i].len;
    }
    return eval;
}

static void on_readonly(uv_timer_t *timer)
{
    const struct pd_err err = {.kind = PD_UNAVAILABLE, .msg = "Redis has become read-only"};
    struct line *line = timer->data;

    if (line->ready)
        pd_redis_session_end(line->session, &err);
}

/* Both lines are made anew, in the next turn of the loop: nobody's answers are cut off in the
 * middle of one. */
static void leave_readonly(struct pd_redis *redis)
{
    uint64_t now = uv_now(redis->loop);

    if (redis->closing || !redis->commands.ready ||
        (redis->readonly_at_ms && now - redis->readonly_at_ms < PD_REDIS_READONLY_MS))
        return;
    redis->readonly_at_ms = now;
    uv_timer_start(&redis->commands.pause, on_readonly, 0, 0);
    if (redis->channels.ready)
        uv_timer_start(&redis->channels.pause, on_readonly, 0, 0);
}

static void on_evaluated(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct eval *eval = arg;
    struct pd_err again;

    if (err && reply && strncmp(reply->text, "READONLY", 8) == 0)
        leave_readonly(eval->redis);
    if (err && reply && strncmp(reply->text, "NOSCRIPT", 8) == 0) {
        eval->args[0] = PD_REDIS_TEXT("EVAL");
        eval->args[1] = PD_REDIS_TEXT(eval->source);
        if (pd_redis_command(eval->redis, eval->args, eval->n_args, eval->cb, eval->arg, &again) <
                0 &&
            eval->cb)
            eval->cb(eval->arg, &again, NULL);
    } else if (eval->cb) {
        eval->cb(eval->arg, err, reply);
    }
    free(eval);
}

int pd_redis_eval(struct pd_redis *redis, const struct pd_redis_script *script, size_t n_keys,
                  const struct pd_redis_arg *args, size_t n_args, pd_redis_cb cb, void *arg,
                  struct pd_err *err)
{
    struct pd_redis_arg all[PD_REDIS_ARGS_MAX];
    char count[24];
    struct eval *eval;
    int rc;

    assert(n_args + 3 <= PD_REDIS_ARGS_MAX && n_keys <= n_args);
    snprintf(count, sizeof count, "%zu", n_keys);
    all[0] = PD_REDIS_TEXT("EVALSHA");
    all[1] = PD_REDIS_TEXT(script->sha1);
    all[2] = PD_REDIS_TEXT(count);
    for (size_t i = 0; i < n_args; i++)
        all[3 + i] = args[i];
    eval = eval_new(n_args + 3, all);
    eval->redis = redis;
    eval->source = script->source;
    eval->cb = cb;
    eval->arg = arg;
    rc = pd_redis_command(redis, eval->args, eval->n_args, on_evaluated, eval, err);
    if (rc < 0)
        free(eval);
    return rc;
}

/* ---- channels ---- */

/* On the channels' session; a failure ends it, and the next begins with all. */
static void say(struct pd_redis *redis, const char *command, const char *channel)
{
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT(command), PD_REDIS_TEXT(channel)};
    struct pd_err err;

    if (redis->channels.ready &&
        pd_redis_session_send(redis->channels.session, args, 2, NULL, NULL, &err) < 0)
        pd_log(PD_LOG_DEBUG, "redis", "channel not asked for", "err", err.msg, NULL);
}

static void subscribe_all(struct pd_redis *redis)
{
    struct pd_redis_subscription *subscription;

    LIST_FOREACH(subscription, &redis->subscriptions, next)
    if (subscription->subscriber)
        say(redis, "SUBSCRIBE", subscription->channel);
}

static void reap(struct pd_redis *redis)
{
    struct pd_redis_subscription *subscription = LIST_FIRST(&redis->subscriptions);

    while (subscription) {
        struct pd_redis_subscription *next = LIST_NEXT(subscription, next);
        if (!subscription->subscriber) {
            LIST_REMOVE(subscription, next);
            free(subscription);
        }
        subscription = next;
    }
}

/* New ones come to the list's head, so none is met in the loop that made it. */
static void on_push(void *arg, const struct pd_redis_reply *reply)
{
    struct pd_redis *redis = ((struct line *)arg)->redis;
    const struct pd_redis_reply *what = pd_redis_reply_string(reply, 0);
    const struct pd_redis_reply *channel = pd_redis_reply_string(reply, 1);
    const struct pd_redis_reply *data = pd_redis_reply_string(reply, 2);
    bool begun = pd_redis_reply_is(what, "subscribe");
    struct pd_redis_subscription *subscription;

    if (!channel || (!begun && !(pd_redis_reply_is(what, "message") && data)))
        return;
    redis->delivering = true;
    LIST_FOREACH(subscription, &redis->subscriptions, next)
    {
        const struct pd_redis_subscriber *subscriber = subscription->subscriber;
        if (!subscriber || strcmp(subscription->channel, channel->text) != 0)
            continue;
        if (!begun)
            subscriber->message(subscription->arg, data->text, data->len);
        else if (subscriber->begun)
            subscriber->begun(subscription->arg);
    }
    redis->delivering = false;
    reap(redis);
}

int pd_redis_subscribe(struct pd_redis *redis, const char *channel,
                       const struct pd_redis_subscriber *subscriber, void *arg,
                       struct pd_redis_subscription **ret_subscription, struct pd_err *err)
{
    size_t bytes = strlen(channel) + 1;
    struct pd_redis_subscription *subscription;

    if (redis->n_subscriptions >= PD_REDIS_SUBSCRIPTIONS_MAX)
        return pd_err_set(err, PD_LIMIT, "%zu channels are listened to already",
                          redis->n_subscriptions);
    subscription = pd_calloc(1, sizeof *subscription + bytes);
    subscription->redis = redis;
    subscription->subscriber = subscriber;
    subscription->arg = arg;
    memcpy(subscription->channel, channel, bytes);
    LIST_INSERT_HEAD(&redis->subscriptions, subscription, next);
    redis->n_subscriptions++;
    if (redis->channels.ready)
        say(redis, "SUBSCRIBE", channel);
    else if (!redis->channels.session && !uv_is_active((uv_handle_t *)&redis->channels.pause))
        open_session(&redis->channels);
    *ret_subscription = subscription;
    return 0;
}

static bool is_wanted(struct pd_redis *redis, const char *channel)
{
    struct pd_redis_subscription *subscription;

    LIST_FOREACH(subscription, &redis->subscriptions, next)
    if (subscription->subscriber && strcmp(subscription->channel, channel) == 0)
        return true;
    return false;
}

void pd_redis_unsubscribe(struct pd_redis_subscription *subscription)
{
    struct pd_redis *redis = subscription->redis;

    subscription->subscriber = NULL;
    redis->n_subscriptions--;
    if (!is_wanted(redis, subscription->channel))
        say(redis, "UNSUBSCRIBE", subscription->channel);
    if (!redis->delivering)
        reap(redis);
}
