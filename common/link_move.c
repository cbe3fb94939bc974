/* From the engine's stream to the direct pipes, right after HELLO. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "common/link_frames.h"
#include "common/link_state.h"
#include "common/log.h"

void pd_link_stop_moving(struct pd_link *link)
{
    if (link->direct)
        pd_direct_close(link->direct, pd_link_part_closed, link);
    if (link->next_stream)
        link->next_stream->ops->close(link->next_stream, NULL, NULL);
    link->direct = NULL;
    link->next_stream = NULL;
}

/* The agent has both left here and come there. */
static void arrive(struct pd_link *link)
{
    struct pd_stream *old = link->stream, *new = link->next_stream;

    link->next_stream = NULL;
    pd_link_stop_moving(link);
    link->open_handles++;
    pd_link_use_stream(link, new);
    old->ops->close(old, pd_link_part_closed, link);
    pd_link_become_ready(link);
    link->stream->ops->read(link->stream, true);
}

static void on_direct(void *arg, const struct pd_err *err, struct pd_stream *stream)
{
    struct pd_link *link = arg;

    if (err) {
        pd_link_fail(link, err->kind, err->msg);
        return;
    }
    link->next_stream = stream;
    if (link->state == LINK_LEAVING)
        arrive(link);
}

void pd_link_on_moved(struct pd_link *link, const struct pd_frame *frame)
{
    struct pd_field why;
    char text[128];

    if (link->state != LINK_MOVING) {
        pd_link_fail(link, PD_INVALID, "a MOVED that nobody asked for");
    } else if (pd_link_field(frame, PD_FIELD_ERROR, &why)) {
        snprintf(text, sizeof text, "%.*s", (int)(why.len & 0x7f), (const char *)why.data);
        pd_log(PD_LOG_DEBUG, "link", "the agent stays at the engine's stream", "why", text, NULL);
        pd_link_stop_moving(link);
        pd_link_become_ready(link);
    } else {
        link->state = LINK_LEAVING;
        if (link->next_stream)
            arrive(link);
    }
}

bool pd_link_ask_to_move(struct pd_link *link)
{
    uint8_t secret[PD_DIRECT_SECRET_BYTES];
    struct pd_err err;

    if (!link->direct_folder)
        return false;
    if (getrandom(secret, sizeof secret, 0) != sizeof secret)
        abort();
    if (pd_direct_open(link->loop, link->direct_folder, secret, on_direct, link, &link->direct,
                       &err) < 0) {
        pd_log(PD_LOG_DEBUG, "link", "no direct pipes", "err", err.msg, NULL);
        return false;
    }
    link->open_handles++;
    link->state = LINK_MOVING;
    pd_link_send_data(link, PD_FRAME_MOVE, secret, sizeof secret, NULL);
    return true;
}
