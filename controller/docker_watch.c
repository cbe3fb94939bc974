/* Theory of operation. One streamed call to /events is kept open. Its end,
 * however it came, means DOWN and another attempt after a delay that doubles;
 * its start means UP. An engine that hangs keeps the stream open and says
 * nothing, so it is asked for a ping now and then; no answer ends the stream. */
#include "controller/docker_watch.h"

#include <string.h>

#include "common/mem.h"
#include "controller/docker_reply.h"
#include "controller/docker_request.h"

enum watch_state { WATCH_UNKNOWN, WATCH_DOWN, WATCH_UP };

struct pd_docker_watch {
    struct pd_docker_engine *engine;
    char *instance;
    char *path;
    uv_timer_t timer; /* the next attempt, or the next ping */
    enum watch_state state;
    unsigned retry_ms;
    int calls; /* under way: the stream, a ping */
    bool closing;
    bool timer_closed;
    pd_provider_event_cb cb;
    void *arg;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void attempt(struct pd_docker_watch *watch);

/* ---- closing ---- */

static void maybe_closed(struct pd_docker_watch *watch)
{
    if (!watch->closing || !watch->timer_closed || watch->calls > 0)
        return;
    if (watch->closed)
        watch->closed(watch->closed_arg);
    free(watch->instance);
    free(watch->path);
    free(watch);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct pd_docker_watch *watch = handle->data;

    watch->timer_closed = true;
    maybe_closed(watch);
}

void pd_docker_watch_close(struct pd_docker_watch *watch, void (*closed)(void *arg), void *arg)
{
    if (watch->closing)
        return;
    watch->closing = true;
    watch->closed = closed;
    watch->closed_arg = arg;
    uv_close((uv_handle_t *)&watch->timer, on_timer_closed);
}

/* ---- up and down ---- */

static void ignore(void *arg, const struct pd_provider_event *event)
{
    (void)arg;
    (void)event;
}

void pd_docker_watch_mute(struct pd_docker_watch *watch)
{
    watch->cb = ignore;
    watch->arg = NULL;
}

static void change(struct pd_docker_watch *watch, enum watch_state state, const char *reason)
{
    struct pd_provider_event event = {
        .type = state == WATCH_UP ? PD_PROVIDER_UP : PD_PROVIDER_DOWN,
    };

    if (watch->state == state)
        return;
    watch->state = state;
    pd_strcpy(event.reason, sizeof event.reason, reason);
    watch->cb(watch->arg, &event);
}

static void on_retry(uv_timer_t *timer)
{
    attempt(timer->data);
}

static void went_down(struct pd_docker_watch *watch, const char *reason)
{
    unsigned delay = watch->retry_ms;

    watch->retry_ms = delay * 2 < PD_DOCKER_RETRY_MAX_MS ? delay * 2 : PD_DOCKER_RETRY_MAX_MS;
    uv_timer_start(&watch->timer, on_retry, delay, 0);
    change(watch, WATCH_DOWN, reason);
}

/* ---- the ping ---- */

static void on_pong(void *arg, const struct pd_err *err, const struct pd_docker_answer *answer)
{
    struct pd_docker_watch *watch = arg;

    (void)answer;
    watch->calls--;
    if (watch->closing)
        maybe_closed(watch);
    else if (err)
        pd_docker_engine_cancel(watch->engine, watch);
}

static void on_ping_due(uv_timer_t *timer)
{
    struct pd_docker_watch *watch = timer->data;
    struct pd_docker_call call = {
        .method = "GET",
        .path = "/_ping",
        .timeout_ms = PD_DOCKER_PING_TIMEOUT_MS,
        .raw_answer = true,
    };

    if (pd_docker_engine_call(watch->engine, &call, on_pong, watch, NULL) == 0)
        watch->calls++;
}

/* ---- the stream ---- */

static void on_stream_start(void *arg)
{
    struct pd_docker_watch *watch = arg;

    if (watch->closing)
        return;
    watch->retry_ms = PD_DOCKER_RETRY_MIN_MS;
    uv_timer_start(&watch->timer, on_ping_due, PD_DOCKER_PING_INTERVAL_MS,
                   PD_DOCKER_PING_INTERVAL_MS);
    change(watch, WATCH_UP, "");
}

static void on_message(void *arg, const struct pd_node *message)
{
    struct pd_docker_watch *watch = arg;
    struct pd_provider_event event;

    if (!watch->closing && pd_docker_event_parse(message, watch->instance, &event))
        watch->cb(watch->arg, &event);
}

static void on_stream_end(void *arg, const struct pd_err *err,
                          const struct pd_docker_answer *answer)
{
    struct pd_docker_watch *watch = arg;

    (void)answer;
    watch->calls--;
    if (watch->closing)
        maybe_closed(watch);
    else if (!err)
        went_down(watch, "the engine ended the stream of events");
    else if (err->kind == PD_CANCELED)
        went_down(watch, "the engine does not answer, or not in its own language");
    else
        went_down(watch, err->msg);
}

static void attempt(struct pd_docker_watch *watch)
{
    struct pd_docker_call call = {
        .method = "GET",
        .path = watch->path,
        .timeout_ms = -1,
        .on_start = on_stream_start,
        .on_message = on_message,
    };
    struct pd_err err;

    if (pd_docker_engine_call(watch->engine, &call, on_stream_end, watch, &err) == 0)
        watch->calls++;
    else if (!watch->closing && err.kind != PD_CANCELED)
        went_down(watch, err.msg);
}

struct pd_docker_watch *pd_docker_watch_open(uv_loop_t *loop, struct pd_docker_engine *engine,
                                             const char *instance, pd_provider_event_cb cb,
                                             void *arg)
{
    static const char *const events[] = {"start", "die", "oom", "destroy", NULL};
    struct pd_docker_watch *watch = PD_NEW(struct pd_docker_watch);
    pd_autofree char *label = pd_asprintf(PD_DOCKER_LABEL_INSTANCE "=%s", instance);
    pd_autofree char *filters = pd_docker_filters(label, events);

    watch->engine = engine;
    watch->instance = pd_strdup(instance);
    watch->path = pd_asprintf("/events?%s", filters);
    watch->retry_ms = PD_DOCKER_RETRY_MIN_MS;
    watch->cb = cb;
    watch->arg = arg;
    uv_timer_init(loop, &watch->timer);
    watch->timer.data = watch;
    uv_timer_start(&watch->timer, on_retry, 0, 0);
    return watch;
}
