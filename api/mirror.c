#include "api/mirror.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/mirror_state.h"
#include "api/trace.h"
#include "common/log.h"
#include "common/mem.h"

#define CHANNEL_BYTES (sizeof PD_MIRROR_CHANNEL + 1 + PD_MIRROR_NAME_BYTES)
#define TICK_MS 250

/* ---- life ---- */

static void maybe_free(struct pd_mirror *mirror)
{
    void (*closed)(void *arg) = mirror->closed;
    void *arg = mirror->closed_arg;

    if (!mirror->closing || mirror->refs > 0)
        return;
    pd_strmap_fini(&mirror->follows);
    free(mirror);
    closed(arg);
}

void pd_mirror_ref(struct pd_mirror *mirror)
{
    mirror->refs++;
}

void pd_mirror_unref(struct pd_mirror *mirror)
{
    mirror->refs--;
    maybe_free(mirror);
}

uint64_t pd_mirror_now_ms(const struct pd_mirror *mirror)
{
    return uv_now(mirror->config.loop);
}

/* ---- saying ---- */

/* One that is on its way. */
struct said {
    struct pd_mirror *mirror;
    pd_redis_cb cb;
    void *arg;
};

static void on_said(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct said *said = arg;
    struct pd_mirror *mirror = said->mirror;

    if (said->cb)
        said->cb(said->arg, err, reply);
    free(said);
    pd_mirror_unref(mirror);
}

static int publish(struct pd_mirror *mirror, const char *channel, const void *data, size_t len,
                   pd_redis_cb cb, void *arg, struct pd_err *err)
{
    const struct pd_redis_arg args[] = {
        PD_REDIS_TEXT("PUBLISH"), PD_REDIS_TEXT(channel), {data, len}};
    struct said *said = PD_NEW(struct said);
    int rc;

    *said = (struct said){mirror, cb, arg};
    rc = pd_redis_command(mirror->config.redis, args, 3, on_said, said, err);
    if (rc < 0)
        free(said);
    else
        pd_mirror_ref(mirror);
    return rc;
}

int pd_mirror_say(struct pd_mirror *mirror, const char *to, struct pd_mirror_message *message,
                  pd_redis_cb cb, void *arg, struct pd_err *err)
{
    char channel[CHANNEL_BYTES] = PD_MIRROR_CHANNEL;
    char head[PD_MIRROR_HEAD_BYTES_MAX];
    pd_autobuf struct pd_buf text = {.data = NULL};
    int rc;

    if (to)
        snprintf(channel, sizeof channel, PD_MIRROR_CHANNEL ":%s", to);
    pd_strcpy(message->from, sizeof message->from, mirror->name);
    pd_mirror_message_format(message, head);
    if (message->payload_len == 0)
        return publish(mirror, channel, head, strlen(head), cb, arg, err);
    pd_buf_init(&text, sizeof head + message->payload_len);
    rc = pd_buf_add(&text, head, strlen(head), err);
    if (rc == 0)
        rc = pd_buf_add(&text, message->payload, message->payload_len, err);
    return rc < 0 ? rc : publish(mirror, channel, text.data, text.len, cb, arg, err);
}

void pd_mirror_answer(struct pd_mirror *mirror, const struct pd_mirror_message *to,
                      struct pd_mirror_message *answer)
{
    struct pd_err err;

    answer->ask = to->ask;
    (void)pd_mirror_say(mirror, to->from, answer, NULL, NULL, &err);
}

/* ---- hearing ---- */

static void cancel_here(struct pd_mirror *mirror, const struct pd_mirror_message *message)
{
    bool any = strcmp(message->key, PD_MIRROR_ANYBODY) == 0;
    struct pd_mirror_message answer = {
        .word = mirror->config.local->cancel(mirror->config.arg, message->run,
                                             any ? NULL : message->key)};

    pd_mirror_answer(mirror, message, &answer);
}

static void show_here(struct pd_mirror *mirror, const struct pd_mirror_message *message)
{
    bool any = strcmp(message->key, PD_MIRROR_ANYBODY) == 0;
    struct pd_mirror_message answer = {.word = PD_MIRROR_NONE};
    pd_autobuf struct pd_buf text = {.data = NULL};

    if (mirror->config.local->show(mirror->config.arg, message->run, any ? NULL : message->key,
                                   &text)) {
        answer.word = PD_MIRROR_SHOWN;
        answer.payload = text.data;
        answer.payload_len = text.len;
    }
    pd_mirror_answer(mirror, message, &answer);
}

static void on_message(void *arg, const void *data, size_t len)
{
    struct pd_mirror *mirror = arg;
    struct pd_mirror_message message;
    struct pd_err err;

    if (pd_mirror_message_parse(data, len, &message, &err) < 0) {
        pd_log(PD_LOG_WARN, "mirror", "what came on a channel of replicas is no message", NULL);
        return;
    }
    switch (message.word) {
    case PD_MIRROR_CANCEL:
        cancel_here(mirror, &message);
        break;
    case PD_MIRROR_LOOK:
        show_here(mirror, &message);
        break;
    case PD_MIRROR_WHERE:
    case PD_MIRROR_FOLLOW:
    case PD_MIRROR_MORE:
    case PD_MIRROR_STOP:
        pd_mirror_tell_heard(mirror, &message);
        break;
    case PD_MIRROR_NONE:
    case PD_MIRROR_HERE:
    case PD_MIRROR_CANCELING:
    case PD_MIRROR_ENDED:
    case PD_MIRROR_SHOWN:
        pd_mirror_ask_heard(mirror, &message);
        break;
    case PD_MIRROR_EVENTS:
    case PD_MIRROR_STILL:
    case PD_MIRROR_GONE:
        pd_mirror_follow_heard(mirror, &message);
        break;
    case PD_MIRROR_WORDS:
        break;
    }
}

static void on_begun(void *arg)
{
    pd_mirror_follows_begun(arg);
}

/* ---- time ---- */

static void on_tick(uv_timer_t *timer)
{
    struct pd_mirror *mirror = timer->data;

    if (!pd_redis_is_up(mirror->config.redis))
        mirror->up_since_ms = 0;
    pd_mirror_asks_tick(mirror);
    pd_mirror_follows_tick(mirror);
    pd_mirror_tells_tick(mirror);
    if (mirror->n_asks == 0 && mirror->n_tells == 0 && pd_ring_is_empty(&mirror->followed))
        uv_timer_stop(timer);
}

void pd_mirror_wake(struct pd_mirror *mirror)
{
    if (!mirror->closing && !uv_is_active((uv_handle_t *)&mirror->tick))
        uv_timer_start(&mirror->tick, on_tick, TICK_MS, TICK_MS);
}

static void on_up(void *arg)
{
    struct pd_mirror *mirror = arg;

    mirror->up_since_ms = pd_mirror_now_ms(mirror);
}

static void on_down(void *arg, const struct pd_err *err)
{
    struct pd_mirror *mirror = arg;

    (void)err;
    mirror->up_since_ms = 0;
}

/* ---- opening and closing ---- */

static void on_tick_closed(uv_handle_t *handle)
{
    pd_mirror_unref(handle->data);
}

int pd_mirror_open(const struct pd_mirror_config *config, struct pd_mirror **ret_mirror,
                   struct pd_err *err)
{
    static const struct pd_redis_subscriber to_all = {.message = on_message};
    static const struct pd_redis_subscriber to_us = {.begun = on_begun, .message = on_message};
    struct pd_mirror *mirror = PD_NEW(struct pd_mirror);
    char channel[CHANNEL_BYTES];
    int rc;

    mirror->config = *config;
    pd_random_hex(mirror->name, PD_MIRROR_NAME_BYTES - 1);
    snprintf(channel, sizeof channel, PD_MIRROR_CHANNEL ":%s", mirror->name);
    pd_ring_init(&mirror->asks);
    pd_ring_init(&mirror->followed);
    pd_ring_init(&mirror->tells);
    rc = pd_redis_subscribe(config->redis, PD_MIRROR_CHANNEL, &to_all, mirror, &mirror->all, err);
    if (rc == 0)
        rc = pd_redis_subscribe(config->redis, channel, &to_us, mirror, &mirror->own, err);
    if (rc < 0) {
        if (mirror->all)
            pd_redis_unsubscribe(mirror->all);
        free(mirror);
        return pd_err_wrap(err, "hear of other replicas' runs");
    }
    uv_timer_init(config->loop, &mirror->tick);
    mirror->tick.data = mirror;
    mirror->refs = 1;
    pd_redis_observe(config->redis, &(struct pd_redis_observer){on_up, on_down, mirror});
    if (pd_redis_is_up(config->redis))
        on_up(mirror);
    *ret_mirror = mirror;
    return 0;
}

size_t pd_mirror_telling(const struct pd_mirror *mirror)
{
    return mirror->n_tells;
}

void pd_mirror_close(struct pd_mirror *mirror, void (*closed)(void *arg), void *arg)
{
    mirror->closed = closed;
    mirror->closed_arg = arg;
    pd_redis_unobserve(mirror->config.redis, mirror);
    pd_redis_unsubscribe(mirror->own);
    pd_redis_unsubscribe(mirror->all);
    pd_mirror_tells_close(mirror);
    pd_mirror_asks_close(mirror);
    pd_mirror_follows_close(mirror);
    mirror->closing = true;
    uv_close((uv_handle_t *)&mirror->tick, on_tick_closed);
}
