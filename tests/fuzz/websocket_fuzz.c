/* Bytes from a WebSocket client, through the framing library and on into our frames:
 * whatever comes, in whatever pieces, ends in messages or in an end, and what is taken
 * as a frame of ours is one. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

#include "api/client_frame.h"

#define MESSAGE_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t len;
};

static ssize_t on_recv(wslay_event_context_ptr context, uint8_t *buf, size_t len, int flags,
                       void *arg)
{
    struct input *input = arg;
    size_t piece = input->len < len ? input->len : len;

    (void)flags;
    if (piece == 0) {
        wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(buf, input->data, piece);
    input->data += piece;
    input->len -= piece;
    return (ssize_t)piece;
}

static ssize_t on_send(wslay_event_context_ptr context, const uint8_t *data, size_t len, int flags,
                       void *arg)
{
    (void)context, (void)data, (void)flags, (void)arg;
    return (ssize_t)len;
}

static void read_frame(const char *text, size_t len)
{
    struct pd_client_frame frame;
    struct pd_err err = {.msg = ""};
    int rc = pd_client_frame_parse(text, len, &frame, &err);

    if (rc < 0) {
        assert((rc == PD_INVALID || rc == PD_DENIED) && err.msg[0]);
        return;
    }
    assert(frame.rows <= PD_TERMINAL_CELLS_MAX && frame.cols <= PD_TERMINAL_CELLS_MAX);
    assert((frame.type == PD_CLIENT_RUN) == (frame.request != NULL));
    assert((frame.type == PD_CLIENT_SIGNAL) == (frame.signo != 0));
    assert(frame.data_len <= len);
    assert(!pd_node_get(frame.request, "type"));
    pd_client_frame_fini(&frame);
}

static void on_message(wslay_event_context_ptr context,
                       const struct wslay_event_on_msg_recv_arg *message, void *arg)
{
    (void)context, (void)arg;
    assert(message->msg_length <= MESSAGE_MAX);
    if (message->opcode == WSLAY_TEXT_FRAME)
        read_frame((const char *)message->msg, message->msg_length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .on_msg_recv_callback = on_message,
    };
    struct input input = {.data = data};
    wslay_event_context_ptr context;
    size_t step = size > 0 ? data[0] + 1u : 1;

    read_frame((const char *)data, size);
    if (wslay_event_context_server_init(&context, &callbacks, &input) < 0)
        abort();
    wslay_event_config_set_max_recv_msg_length(context, MESSAGE_MAX);
    for (size_t at = 0; at < size && wslay_event_want_read(context); at += step) {
        input.data = data + at;
        input.len = size - at < step ? size - at : step;
        if (wslay_event_recv(context) < 0)
            break;
        wslay_event_send(context);
    }
    wslay_event_context_free(context);
    return 0;
}
