#include "api/viewer.h"

#include <assert.h>
#include <stdlib.h>

#include "api/client_frame.h"
#include "api/keys.h"
#include "api/problem.h"
#include "api/viewer_state.h"
#include "common/mem.h"

#define PROTOCOL "paddock.v1"
#define SSE_HEADERS "X-Accel-Buffering: no\r\n"

enum { BEAT, BEATS };

const struct pd_viewer_limits pd_viewer_limits_default = {
    .beat_ms = 20000,
    .idle_ms = 5 * 60 * 1000,
    .life_ms = 12 * 60 * 60 * 1000,
};

/* ---- life ---- */

static struct pd_viewer *viewer_new(struct pd_viewers *all, struct pd_exchange *exchange)
{
    struct pd_viewer *viewer = PD_NEW(struct pd_viewer);

    viewer->all = all;
    viewer->exchange = exchange;
    viewer->since_ms = uv_now(all->loop);
    pd_strcpy(viewer->key_id, sizeof viewer->key_id, pd_exchange_key_id(exchange));
    pd_deadline_set(&all->beats, &viewer->beat, BEAT);
    all->count++;
    return viewer;
}

static void viewer_free(struct pd_viewer *viewer)
{
    pd_deadline_clear(&viewer->beat);
    if (viewer->watch && viewer->owner && viewer->detach)
        pd_execution_detach(viewer->execution);
    if (viewer->watch)
        pd_watch_close(viewer->watch);
    pd_entry_unref(viewer->entry);
    viewer->all->count--;
    free(viewer);
}

static void on_gone(void *arg)
{
    viewer_free(arg);
}

void pd_viewer_leave(struct pd_viewer *viewer, enum pd_close_code code, const char *reason)
{
    if (viewer->socket)
        pd_websocket_close(viewer->socket, code, reason);
    else if (code == PD_CLOSE_NORMAL)
        pd_exchange_end(viewer->exchange);
    else
        pd_exchange_abort(viewer->exchange); /* so that it comes back, with Last-Event-ID */
    viewer_free(viewer);
}

static void on_drain(void *arg)
{
    struct pd_viewer *viewer = arg;

    /* Others see their run to its end, which is this service's to wait for. */
    if (!viewer->execution || pd_execution_is_elsewhere(viewer->execution))
        pd_viewer_leave(viewer, PD_CLOSE_GOING_AWAY, "the service is stopping");
}

/* ---- time ---- */

static void on_beat(void *arg, struct pd_deadline *deadline)
{
    struct pd_viewer *viewer = PD_CONTAINER_OF(deadline, struct pd_viewer, beat);
    struct pd_viewers *all = arg;
    int64_t age_ms = (int64_t)(uv_now(all->loop) - viewer->since_ms);

    pd_deadline_set(&all->beats, &viewer->beat, BEAT);
    if (age_ms > all->limits.life_ms) {
        pd_viewer_leave(viewer, PD_CLOSE_LIFE, "it has been here for long enough; come again");
    } else if (!viewer->execution && age_ms > all->limits.idle_ms) {
        pd_viewer_leave(viewer, PD_CLOSE_IDLE, "no run was asked for");
    } else if (viewer->blocked) {
        return; /* whether it still reads is the server's to watch */
    } else if (!viewer->socket) {
        viewer->blocked = !pd_exchange_send(viewer->exchange, ":\n\n", 3);
    } else if (viewer->awaits_answer && !viewer->unread &&
               !pd_websocket_was_heard(viewer->socket)) {
        pd_websocket_abort(viewer->socket);
        viewer_free(viewer);
    } else {
        viewer->awaits_answer = !viewer->unread; /* whose answer would wait, too */
        pd_websocket_was_heard(viewer->socket);
        pd_websocket_ping(viewer->socket);
    }
}

/* ---- coming ---- */

static const struct pd_websocket_events socket_events = {
    .message = pd_viewer_on_message,
    .room = pd_viewer_on_room,
    .gone = on_gone,
};

bool pd_viewer_read_offer(struct pd_exchange *exchange, struct pd_websocket_offer *ret_offer)
{
    return pd_websocket_read_offer(exchange, PROTOCOL, ret_offer);
}

static bool accept_socket(struct pd_viewer *viewer, const struct pd_websocket_offer *offer,
                          size_t message_bytes_max)
{
    viewer->socket = pd_websocket_accept(viewer->exchange, offer, message_bytes_max,
                                         &viewer->all->budget, &socket_events, viewer);
    if (!viewer->socket) {
        viewer_free(viewer);
        return false;
    }
    pd_exchange_on_drain(viewer->exchange, on_drain, viewer);
    return true;
}

void pd_viewer_await_run(struct pd_viewers *all, struct pd_exchange *exchange)
{
    struct pd_websocket_offer offer;

    if (pd_viewer_read_offer(exchange, &offer))
        accept_socket(viewer_new(all, exchange), &offer, PD_RUN_FRAME_BYTES_MAX);
}

static void begin_sse(struct pd_viewer *viewer)
{
    pd_exchange_on_gone(viewer->exchange, on_gone, viewer);
    pd_exchange_begin(viewer->exchange, 200, "text/event-stream", SSE_HEADERS);
    pd_exchange_on_drain(viewer->exchange, on_drain, viewer);
    pd_exchange_on_writable(viewer->exchange, pd_viewer_on_room, viewer);
}

void pd_viewer_watch(struct pd_viewers *all, struct pd_exchange *exchange,
                     const struct pd_websocket_offer *offer, struct pd_execution *execution,
                     uint64_t from_seq)
{
    struct pd_viewer *viewer = viewer_new(all, exchange);

    viewer->watch = pd_watch_open(execution, from_seq, false, &pd_viewer_watch_events, viewer);
    if (!viewer->watch) {
        viewer_free(viewer);
        pd_exchange_problem(exchange,
                            &(struct pd_problem_details){
                                .status = 503, .detail = "too many are watching this execution"});
        return;
    }
    viewer->execution = execution;
    if (offer) {
        if (!accept_socket(viewer, offer, PD_CLIENT_FRAME_BYTES_MAX))
            return;
    } else {
        begin_sse(viewer);
    }
    pd_viewer_pump(viewer);
}

void pd_viewer_own(struct pd_viewers *all, struct pd_exchange *exchange,
                   struct pd_execution *execution)
{
    struct pd_viewer *viewer = viewer_new(all, exchange);

    viewer->execution = execution;
    viewer->owner = true;
    viewer->watch = pd_watch_open(execution, 1, true, &pd_viewer_watch_events, viewer);
    begin_sse(viewer);
    pd_viewer_pump(viewer);
}

/* ---- all of them ---- */

struct pd_viewers *pd_viewers_new(uv_loop_t *loop, struct pd_api_context *api,
                                  const struct pd_viewer_limits *limits)
{
    const int64_t duration_ms[BEATS] = {[BEAT] = limits->beat_ms};
    struct pd_viewers *all = PD_NEW(struct pd_viewers);

    all->api = api;
    all->loop = loop;
    all->limits = *limits;
    pd_deadlines_init(&all->beats, loop, duration_ms, BEATS, on_beat, all);
    return all;
}

size_t pd_viewers_count(const struct pd_viewers *all)
{
    return all->count;
}

static void on_closed(uv_handle_t *handle)
{
    struct pd_deadlines *beats = handle->data;
    struct pd_viewers *all = PD_CONTAINER_OF(beats, struct pd_viewers, beats);
    void (*closed)(void *arg) = all->closed;
    void *arg = all->closed_arg;

    free(all);
    closed(arg);
}

void pd_viewers_close(struct pd_viewers *all, void (*closed)(void *arg), void *arg)
{
    assert(all->count == 0);
    all->closed = closed;
    all->closed_arg = arg;
    pd_deadlines_close(&all->beats, on_closed);
}
