/* What a client is sent: events as they come, as fast as it reads. */
#include <assert.h>
#include <stdio.h>

#include "api/problem.h"
#include "api/viewer_state.h"
#include "common/mem.h"

#define SSE_PIECE_BYTES (64u * 1024)
#define SSE_HEAD_BYTES 64

static bool send_piece(struct pd_viewer *viewer, const char *head, size_t head_len)
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
static bool send_sse(struct pd_viewer *viewer)
{
    char head[SSE_HEAD_BYTES] = "";
    int len = 0;

    if (viewer->entry_at == 0)
        len = snprintf(head, sizeof head,
                       "id: %llu\nevent: %s\ndata: ", (unsigned long long)viewer->entry->seq,
                       pd_entry_name(viewer->entry->type));
    return send_piece(viewer, head, (size_t)len);
}

static bool send_entry(struct pd_viewer *viewer, struct pd_entry *entry)
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

/* An error that is no event of the run: it has no number, so that who comes again with the
 * last one misses nothing. */
static void tell_broken(struct pd_viewer *viewer, const char *why)
{
    const struct pd_problem_details details = {.status = 503, .detail = why};
    pd_autobuf struct pd_buf text;

    pd_buf_init(&text, PD_PROBLEM_BYTES_MAX + SSE_HEAD_BYTES);
    if (pd_buf_addf(&text, NULL, "%s{\"type\":\"error\",\"problem\":",
                    viewer->socket ? "" : "event: error\ndata: ") < 0 ||
        pd_problem_details_format(&details, &text, NULL) < 0)
        return; /* cannot be: it fits */
    text.len--; /* its newline */
    if (pd_buf_addf(&text, NULL, "}%s", viewer->socket ? "" : "\n\n") < 0)
        return;
    if (viewer->socket)
        pd_websocket_send_text(viewer->socket, text.data);
    else
        pd_exchange_send(viewer->exchange, text.data, text.len);
}

static void leave_broken(struct pd_viewer *viewer, const char *why)
{
    tell_broken(viewer, why);
    pd_viewer_leave(viewer, viewer->socket ? PD_CLOSE_ELSEWHERE : PD_CLOSE_NORMAL,
                    "its end is not seen from here; see the error");
}

/* All that there is was sent: whether there will be more. */
static void maybe_leave(struct pd_viewer *viewer)
{
    const char *broken = pd_watch_broken(viewer->watch);

    if (broken)
        leave_broken(viewer, broken);
    else if (!pd_watch_is_over(viewer->watch))
        return;
    else if (viewer->failed)
        pd_viewer_leave(viewer, viewer->socket ? PD_CLOSE_NEVER_BEGAN : PD_CLOSE_NORMAL,
                        "the run did not begin; see the error");
    else
        pd_viewer_leave(viewer, PD_CLOSE_NORMAL, "");
}

void pd_viewer_pump(struct pd_viewer *viewer)
{
    bool all = false;

    while (!viewer->blocked) {
        struct pd_entry *entry;
        if (viewer->entry) {
            viewer->blocked = !send_sse(viewer);
            continue;
        }
        entry = viewer->watch ? pd_watch_next(viewer->watch) : NULL;
        all = !entry;
        if (all)
            break;
        viewer->blocked = !send_entry(viewer, entry);
    }
    if (viewer->watch && !viewer->entry && (all || pd_watch_is_over(viewer->watch)))
        maybe_leave(viewer);
}

void pd_viewer_on_more(void *arg)
{
    pd_viewer_pump(arg);
}

void pd_viewer_on_room(void *arg)
{
    struct pd_viewer *viewer = arg;

    viewer->blocked = false;
    pd_viewer_pump(viewer);
}

/* ---- errors ---- */

void pd_viewer_refuse(struct pd_viewer *viewer, const struct pd_problem_details *details)
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
    pd_viewer_leave(viewer, PD_CLOSE_NEVER_BEGAN, "the run was refused; see the error");
}
