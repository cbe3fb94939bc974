#include "api/viewer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/answered.h"
#include "api/client_frame.h"
#include "api/context.h"
#include "api/deadline.h"
#include "api/keys.h"
#include "common/log.h"
#include "common/mem.h"

#define PROTOCOL "paddock.v1"
#define SSE_PIECE_BYTES (64u * 1024)
#define SSE_HEAD_BYTES 64
#define SSE_HEADERS "X-Accel-Buffering: no\r\n"

const struct pd_viewer_limits pd_viewer_limits_default = {
    .beat_ms = 20000,
    .idle_ms = 5 * 60 * 1000,
    .life_ms = 12 * 60 * 60 * 1000,
};

enum { BEAT, BEATS };

struct pd_viewers {
    struct pd_api_context *api;
    uv_loop_t *loop;
    struct pd_viewer_limits limits;
    struct pd_deadlines beats;
    struct pd_websocket_budget budget;
    size_t count;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct viewer {
    struct pd_viewers *all;
    struct pd_exchange *exchange;
    struct pd_websocket *socket;    /* NULL: SSE */
    struct pd_execution *execution; /* NULL: none yet */
    struct pd_watch *watch;
    struct pd_deadline beat;
    uint64_t since_ms;  /* on the loop's clock */
    bool awaits_answer; /* to a ping */
    bool blocked;       /* until there is room */
    bool unread;        /* not read from, until its program takes stdin */
    bool owner;
    bool counts_stdin; /* its client sends what it has credit for, and is always read from */
    size_t credit;     /* that it has not used */
    bool detach;       /* its run goes on without it */
    bool failed;       /* an `error` was sent */
    char key_id[PD_KEY_ID_MAX];
    struct pd_entry *entry; /* SSE: on its way */
    size_t entry_at;
};

/* ---- life ---- */

static struct viewer *viewer_new(struct pd_viewers *all, struct pd_exchange *exchange)
{
    struct viewer *viewer = PD_NEW(struct viewer);

    viewer->all = all;
    viewer->exchange = exchange;
    viewer->since_ms = uv_now(all->loop);
    pd_strcpy(viewer->key_id, sizeof viewer->key_id, pd_exchange_key_id(exchange));
    pd_deadline_set(&all->beats, &viewer->beat, BEAT);
    all->count++;
    return viewer;
}

static void viewer_free(struct viewer *viewer)
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

/* Say goodbye; the viewer is gone. */
static void leave(struct viewer *viewer, enum pd_close_code code, const char *reason)
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
    struct viewer *viewer = arg;

    if (!viewer->execution) /* others see their run to its end */
        leave(viewer, PD_CLOSE_GOING_AWAY, "the service is stopping");
}

/* ---- events ---- */

static bool send_piece(struct viewer *viewer, const char *head, size_t head_len)
{
    struct pd_entry *entry = viewer->entry;
    size_t left = entry->len - viewer->entry_at;
    size_t piece = left < SSE_PIECE_BYTES ? left : SSE_PIECE_BYTES;
    pd_autobuf struct pd_buf out;
    int rc;

    pd_buf_init(&out, SSE_PIECE_BYTES + SSE_HEAD_BYTES + 2);
    rc = pd_buf_add(&out, head, head_len, NULL);
    if (rc == 0)
        rc = pd_buf_add(&out, entry->json + viewer->entry_at, piece, NULL);
    if (rc == 0 && piece == left)
        rc = pd_buf_add(&out, "\n\n", 2, NULL);
    assert(rc == 0); /* it fits: see the size */
    viewer->entry_at += piece;
    if (piece == left)
        pd_entry_unref(PD_STEAL(viewer->entry));
    return pd_exchange_send(viewer->exchange, out.data, out.len);
}

/* JSON has no line ends in it, so that one `data` line holds it. */
static bool send_sse(struct viewer *viewer)
{
    char head[SSE_HEAD_BYTES] = "";
    int len = 0;

    if (viewer->entry_at == 0)
        len = snprintf(head, sizeof head,
                       "id: %llu\nevent: %s\ndata: ", (unsigned long long)viewer->entry->seq,
                       pd_entry_name(viewer->entry->type));
    return send_piece(viewer, head, (size_t)len);
}

static bool send_entry(struct viewer *viewer, struct pd_entry *entry)
{
    bool room;

    viewer->failed = viewer->failed || entry->type == PD_ENTRY_ERROR;
    if (viewer->socket) {
        room = pd_websocket_send(viewer->socket, entry);
        pd_entry_unref(entry);
        return room;
    }
    viewer->entry = entry;
    viewer->entry_at = 0;
    return send_sse(viewer);
}

/* As much as there is room for. */
static void pump(struct viewer *viewer)
{
    while (!viewer->blocked) {
        struct pd_entry *entry;
        if (viewer->entry) {
            viewer->blocked = !send_sse(viewer);
            continue;
        }
        entry = viewer->watch ? pd_watch_next(viewer->watch) : NULL;
        if (!entry)
            break;
        viewer->blocked = !send_entry(viewer, entry);
    }
    if (viewer->entry || !viewer->watch || !pd_watch_is_over(viewer->watch))
        return;
    if (viewer->failed)
        leave(viewer, viewer->socket ? PD_CLOSE_NEVER_BEGAN : PD_CLOSE_NORMAL,
              "the run did not begin; see the error");
    else
        leave(viewer, PD_CLOSE_NORMAL, "");
}

static void on_more(void *arg)
{
    pump(arg);
}

static void on_room(void *arg)
{
    struct viewer *viewer = arg;

    viewer->blocked = false;
    pump(viewer);
}

static void pause_reading(struct viewer *viewer, bool unread)
{
    viewer->unread = unread;
    viewer->awaits_answer = false;
    pd_websocket_pause(viewer->socket, unread);
}

/* Credit for all that there is room for, once it is worth a frame: so that at the latest
 * when nothing waits any more there is credit for nearly all. */
static void grant_stdin(struct viewer *viewer)
{
    size_t room = pd_execution_stdin_room(viewer->execution);
    size_t bytes = room - viewer->credit;
    char text[64];

    assert(room >= viewer->credit); /* what waits took its credit along */
    if (bytes < PD_EXECUTION_STDIN_BYTES_MAX / 4)
        return;
    viewer->credit += bytes;
    snprintf(text, sizeof text, "{\"type\":\"stdin_credit\",\"bytes\":%zu}", bytes);
    pd_websocket_send_text(viewer->socket, text);
}

static void on_stdin_room(void *arg)
{
    struct viewer *viewer = arg;

    if (viewer->counts_stdin)
        grant_stdin(viewer);
    else if (viewer->socket)
        pause_reading(viewer, false);
}

static const struct pd_watch_events watch_events = {.more = on_more, .room = on_stdin_room};

/* ---- time ---- */

static void on_beat(void *arg, struct pd_deadline *deadline)
{
    struct viewer *viewer = PD_CONTAINER_OF(deadline, struct viewer, beat);
    struct pd_viewers *all = arg;
    int64_t age_ms = (int64_t)(uv_now(all->loop) - viewer->since_ms);

    pd_deadline_set(&all->beats, &viewer->beat, BEAT);
    if (age_ms > all->limits.life_ms) {
        leave(viewer, PD_CLOSE_LIFE, "it has been here for long enough; come again");
    } else if (!viewer->execution && age_ms > all->limits.idle_ms) {
        leave(viewer, PD_CLOSE_IDLE, "no run was asked for");
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

/* ---- what a client says ---- */

static void send_error(struct viewer *viewer, const struct pd_problem_details *details)
{
    struct pd_journal one;
    pd_autobuf struct pd_buf members;

    pd_journal_init(&one);
    pd_buf_init(&members, PD_PROBLEM_BYTES_MAX + 16);
    if (pd_buf_addf(&members, NULL, "\"problem\":") == 0 &&
        pd_problem_details_format(details, &members, NULL) == 0) {
        pd_journal_add(&one, PD_ENTRY_ERROR, 0, members.data, members.len - 1, 0);
        pd_websocket_send(viewer->socket, one.events[0]);
    }
    pd_journal_fini(&one);
    leave(viewer, PD_CLOSE_NEVER_BEGAN, "the run was refused; see the error");
}

static void refuse_run(struct viewer *viewer, const struct pd_refusal *refusal)
{
    send_error(viewer, &(struct pd_problem_details){.status = refusal->status,
                                                    .detail = refusal->detail,
                                                    .errors = &refusal->problems});
}

static void begin(struct viewer *viewer, struct pd_request *request)
{
    const struct pd_execution_submit submit = {.key_id = viewer->key_id, .request = request};
    struct pd_problem_details details;
    struct pd_err err;
    int retry_after_s;

    if (pd_executions_submit(viewer->all->api->executions, &submit, &viewer->execution,
                             &retry_after_s, &err) < 0) {
        pd_failure_details(&err, retry_after_s, &details);
        send_error(viewer, &details);
        return;
    }
    viewer->owner = true;
    pd_answered_run(viewer->exchange, pd_execution_id(viewer->execution));
    viewer->watch = pd_watch_open(viewer->execution, 1, true, &watch_events, viewer);
    pd_websocket_set_message_max(viewer->socket, PD_CLIENT_FRAME_BYTES_MAX);
    if (viewer->counts_stdin)
        grant_stdin(viewer);
    pump(viewer);
}

static void on_run(struct viewer *viewer, struct pd_client_frame *frame, size_t len)
{
    struct pd_request *request;
    struct pd_refusal refusal;

    if (viewer->execution) {
        leave(viewer, PD_CLOSE_POLICY, "there was a run already: one connection carries one");
        return;
    }
    if (viewer->all->api->draining) {
        leave(viewer, PD_CLOSE_GOING_AWAY, "the service is stopping");
        return;
    }
    if (pd_request_take(&viewer->all->api->rules, PD_STEAL(frame->request), len, &request,
                        &refusal) < 0) {
        refuse_run(viewer, &refusal);
        return;
    }
    viewer->detach = frame->detach;
    viewer->counts_stdin = frame->stdin_credit;
    request->run.tty = frame->tty;
    request->run.rows = frame->rows;
    request->run.cols = frame->cols;
    request->run.stdin_open = frame->stdin_open;
    begin(viewer, request);
}

static void on_stdin(struct viewer *viewer, const struct pd_client_frame *frame)
{
    int rc;

    if (viewer->counts_stdin && frame->data_len > viewer->credit) {
        leave(viewer, PD_CLOSE_TOO_BIG, "more stdin than there was credit for");
        return;
    }
    viewer->credit -= viewer->counts_stdin ? frame->data_len : 0;
    rc = pd_execution_stdin(viewer->execution, frame->data, frame->data_len);
    if (viewer->counts_stdin) {
        grant_stdin(viewer);
    } else if (rc == PD_LIMIT) {
        leave(viewer, PD_CLOSE_TOO_BIG, "more stdin than the program reads");
    } else if (rc == PD_THROTTLED) {
        pause_reading(viewer, true);
    }
}

static void on_control(struct viewer *viewer, const struct pd_client_frame *frame)
{
    struct pd_execution *execution = viewer->execution;

    switch (frame->type) {
    case PD_CLIENT_STDIN:
        on_stdin(viewer, frame);
        break;
    case PD_CLIENT_STDIN_EOF:
        pd_execution_stdin_eof(execution);
        break;
    case PD_CLIENT_SIGNAL:
        pd_execution_signal(execution, frame->signo);
        break;
    case PD_CLIENT_RESIZE:
        pd_execution_resize(execution, frame->rows, frame->cols);
        break;
    case PD_CLIENT_CANCEL:
        pd_execution_cancel(execution); /* its end may close this viewer */
        break;
    case PD_CLIENT_RUN:
        break;
    }
}

static void on_message(void *arg, const char *text, size_t len)
{
    struct viewer *viewer = arg;
    struct pd_client_frame frame;
    struct pd_err err;
    int rc = pd_client_frame_parse(text, len, &frame, &err);

    if (rc < 0) {
        leave(viewer, rc == PD_INVALID ? PD_CLOSE_INVALID : PD_CLOSE_POLICY, err.msg);
        return;
    }
    if (frame.type == PD_CLIENT_RUN)
        on_run(viewer, &frame, len);
    else if (!viewer->owner)
        leave(viewer, PD_CLOSE_POLICY,
              viewer->execution ? "only who started a run may speak to it" : "there is no run yet");
    else
        on_control(viewer, &frame);
    pd_client_frame_fini(&frame);
}

static const struct pd_websocket_events socket_events = {
    .message = on_message,
    .room = on_room,
    .gone = on_gone,
};

/* ---- coming ---- */

bool pd_viewer_read_offer(struct pd_exchange *exchange, struct pd_websocket_offer *ret_offer)
{
    return pd_websocket_read_offer(exchange, PROTOCOL, ret_offer);
}

static bool accept_socket(struct viewer *viewer, const struct pd_websocket_offer *offer,
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

static void begin_sse(struct viewer *viewer)
{
    pd_exchange_on_gone(viewer->exchange, on_gone, viewer);
    pd_exchange_begin(viewer->exchange, 200, "text/event-stream", SSE_HEADERS);
    pd_exchange_on_writable(viewer->exchange, on_room, viewer);
}

void pd_viewer_watch(struct pd_viewers *all, struct pd_exchange *exchange,
                     const struct pd_websocket_offer *offer, struct pd_execution *execution,
                     uint64_t from_seq)
{
    struct viewer *viewer = viewer_new(all, exchange);

    viewer->watch = pd_watch_open(execution, from_seq, false, &watch_events, viewer);
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
    pump(viewer);
}

void pd_viewer_own(struct pd_viewers *all, struct pd_exchange *exchange,
                   struct pd_execution *execution)
{
    struct viewer *viewer = viewer_new(all, exchange);

    viewer->execution = execution;
    viewer->owner = true;
    viewer->watch = pd_watch_open(execution, 1, true, &watch_events, viewer);
    begin_sse(viewer);
    pump(viewer);
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
