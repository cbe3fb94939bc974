/* A stream over two pipes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/direct.h"
#include "common/mem.h"

#define READ_BYTES (32u * 1024)

struct pipe_stream {
    struct pd_stream stream;
    uv_pipe_t *from_peer, *to_peer;
    size_t queued_bytes;
    int open;   /* handles */
    bool ended; /* on_end has fired, or must not */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
    char buffer[READ_BYTES];
};

struct queued {
    uv_write_t write;
    struct pipe_stream *stream;
    size_t len;
    char data[];
};

static struct pipe_stream *of(struct pd_stream *stream)
{
    return PD_CONTAINER_OF(stream, struct pipe_stream, stream);
}

static void end(struct pipe_stream *pipe, int status)
{
    struct pd_err err;

    uv_read_stop((uv_stream_t *)pipe->from_peer);
    if (pipe->ended || pipe->closing)
        return;
    pipe->ended = true;
    pd_err_set(&err, PD_UNAVAILABLE, "the sandbox's pipes: %s",
               status == UV_EOF ? "its agent has ended" : uv_strerror(status));
    pipe->stream.on_end(pipe->stream.arg, &err);
}

static void on_written(uv_write_t *write, int status)
{
    struct queued *queued = (struct queued *)write;
    struct pipe_stream *pipe = queued->stream;

    pipe->queued_bytes -= queued->len;
    free(queued);
    if (status < 0 && status != UV_ECANCELED)
        end(pipe, status);
}

static int pipe_write(struct pd_stream *stream, const void *data, size_t len, struct pd_err *err)
{
    struct pipe_stream *pipe = of(stream);
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
    struct queued *queued;
    int sent = 0;

    if (pipe->ended || pipe->closing)
        return pd_err_set(err, PD_UNAVAILABLE, "the sandbox's pipes has ended");
    if (pipe->queued_bytes + len > PD_STREAM_QUEUE_BYTES_MAX)
        return pd_err_set(err, PD_LIMIT, "the agent reads too slowly");
    if (pipe->queued_bytes == 0)
        sent = uv_try_write((uv_stream_t *)pipe->to_peer, &buf, 1);
    if (sent < 0 && sent != UV_EAGAIN)
        return pd_err_set(err, PD_UNAVAILABLE, "the sandbox's pipes: %s", uv_strerror(sent));
    sent = sent < 0 ? 0 : sent;
    if ((size_t)sent == len)
        return 0;
    queued = pd_calloc(1, sizeof *queued + len - (size_t)sent);
    queued->stream = pipe;
    queued->len = len - (size_t)sent;
    memcpy(queued->data, (const char *)data + sent, queued->len);
    buf = uv_buf_init(queued->data, (unsigned)queued->len);
    pipe->queued_bytes += queued->len;
    if (uv_write(&queued->write, (uv_stream_t *)pipe->to_peer, &buf, 1, on_written) < 0) {
        pipe->queued_bytes -= queued->len;
        free(queued);
        return pd_err_set(err, PD_UNAVAILABLE, "the sandbox's pipes has ended");
    }
    return 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct pipe_stream *pipe = handle->data;

    (void)suggested;
    *buf = uv_buf_init(pipe->buffer, sizeof pipe->buffer);
}

static void on_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *buf)
{
    struct pipe_stream *pipe = handle->data;

    if (n > 0)
        pipe->stream.on_data(pipe->stream.arg, buf->base, (size_t)n);
    else if (n < 0)
        end(pipe, (int)n);
}

static void pipe_read(struct pd_stream *stream, bool on)
{
    struct pipe_stream *pipe = of(stream);

    if (pipe->ended || pipe->closing)
        return;
    if (on)
        uv_read_start((uv_stream_t *)pipe->from_peer, on_alloc, on_read);
    else
        uv_read_stop((uv_stream_t *)pipe->from_peer);
}

static void on_closed(uv_handle_t *handle)
{
    struct pipe_stream *pipe = handle->data;
    void (*closed)(void *arg) = pipe->closed;
    void *arg = pipe->closed_arg;

    if (--pipe->open > 0)
        return;
    free(pipe->from_peer);
    free(pipe->to_peer);
    free(pipe);
    if (closed)
        closed(arg);
}

static void pipe_close(struct pd_stream *stream, void (*closed)(void *arg), void *arg)
{
    struct pipe_stream *pipe = of(stream);

    if (pipe->closing)
        return;
    pipe->closing = true;
    pipe->closed = closed;
    pipe->closed_arg = arg;
    uv_close((uv_handle_t *)pipe->from_peer, on_closed);
    uv_close((uv_handle_t *)pipe->to_peer, on_closed);
}

static const struct pd_stream_ops pipe_ops = {
    .write = pipe_write,
    .read = pipe_read,
    .close = pipe_close,
};

struct pd_stream *pd_stream_of_pipes(uv_pipe_t *from_peer, uv_pipe_t *to_peer)
{
    struct pipe_stream *stream = PD_NEW(struct pipe_stream);

    stream->stream.ops = &pipe_ops;
    stream->from_peer = from_peer;
    stream->to_peer = to_peer;
    stream->open = 2;
    from_peer->data = to_peer->data = stream;
    return &stream->stream;
}
