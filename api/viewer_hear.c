/* What a client says, by WebSocket: of onlookers, nothing may come. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "api/answered.h"
#include "api/client_frame.h"
#include "api/viewer_state.h"
#include "common/mem.h"

/* ---- stdin ---- */

static void pause_reading(struct pd_viewer *viewer, bool unread)
{
    viewer->unread = unread;
    viewer->awaits_answer = false;
    pd_websocket_pause(viewer->socket, unread);
}

/* Credit for all that there is room for, once it is worth a frame: so that at the latest
 * when nothing waits any more there is credit for nearly all. */
static void grant_stdin(struct pd_viewer *viewer)
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
    struct pd_viewer *viewer = arg;

    if (viewer->counts_stdin)
        grant_stdin(viewer);
    else if (viewer->socket)
        pause_reading(viewer, false);
}

const struct pd_watch_events pd_viewer_watch_events = {.more = pd_viewer_on_more,
                                                       .room = on_stdin_room};

/* ---- what a client says ---- */

static void refuse_run(struct pd_viewer *viewer, const struct pd_refusal *refusal)
{
    pd_viewer_refuse(viewer, &(struct pd_problem_details){.status = refusal->status,
                                                          .detail = refusal->detail,
                                                          .errors = &refusal->problems});
}

static void begin(struct pd_viewer *viewer, struct pd_request *request)
{
    const struct pd_execution_submit submit = {.key_id = viewer->key_id, .request = request};
    struct pd_problem_details details;
    struct pd_err err;
    int retry_after_s;

    if (pd_executions_submit(viewer->all->api->executions, &submit, &viewer->execution,
                             &retry_after_s, &err) < 0) {
        pd_failure_details(&err, retry_after_s, &details);
        pd_viewer_refuse(viewer, &details);
        return;
    }
    viewer->owner = true;
    pd_answered_run(viewer->exchange, pd_execution_id(viewer->execution));
    viewer->watch = pd_watch_open(viewer->execution, 1, true, &pd_viewer_watch_events, viewer);
    pd_websocket_set_message_max(viewer->socket, PD_CLIENT_FRAME_BYTES_MAX);
    if (viewer->counts_stdin)
        grant_stdin(viewer);
    pd_viewer_pump(viewer);
}

static void on_run(struct pd_viewer *viewer, struct pd_client_frame *frame, size_t len)
{
    struct pd_request *request;
    struct pd_refusal refusal;

    if (viewer->execution) {
        pd_viewer_leave(viewer, PD_CLOSE_POLICY,
                        "there was a run already: one connection carries one");
        return;
    }
    if (viewer->all->api->draining) {
        pd_viewer_leave(viewer, PD_CLOSE_GOING_AWAY, "the service is stopping");
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

static void on_stdin(struct pd_viewer *viewer, const struct pd_client_frame *frame)
{
    int rc;

    if (viewer->counts_stdin && frame->data_len > viewer->credit) {
        pd_viewer_leave(viewer, PD_CLOSE_TOO_BIG, "more stdin than there was credit for");
        return;
    }
    viewer->credit -= viewer->counts_stdin ? frame->data_len : 0;
    rc = pd_execution_stdin(viewer->execution, frame->data, frame->data_len);
    if (viewer->counts_stdin) {
        grant_stdin(viewer);
    } else if (rc == PD_LIMIT) {
        pd_viewer_leave(viewer, PD_CLOSE_TOO_BIG, "more stdin than the program reads");
    } else if (rc == PD_THROTTLED) {
        pause_reading(viewer, true);
    }
}

static void on_control(struct pd_viewer *viewer, const struct pd_client_frame *frame)
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

void pd_viewer_on_message(void *arg, const char *text, size_t len)
{
    struct pd_viewer *viewer = arg;
    struct pd_client_frame frame;
    struct pd_err err;
    int rc = pd_client_frame_parse(text, len, &frame, &err);

    if (rc < 0) {
        pd_viewer_leave(viewer, rc == PD_INVALID ? PD_CLOSE_INVALID : PD_CLOSE_POLICY, err.msg);
        return;
    }
    if (frame.type == PD_CLIENT_RUN)
        on_run(viewer, &frame, len);
    else if (!viewer->owner)
        pd_viewer_leave(viewer, PD_CLOSE_POLICY,
                        viewer->execution ? "only who started a run may speak to it"
                                          : "there is no run yet");
    else
        on_control(viewer, &frame);
    pd_client_frame_fini(&frame);
}
