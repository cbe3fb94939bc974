/* An open stream, and the way to its end. This is the path of every run's bytes
 * where they go through the engine: what it sends is read into one buffer and
 * handed on from there, with the 8-byte frame headers taken out and nothing
 * copied; a write is one system call unless the socket is full. */
#include "controller/docker_stream.h"

#include <assert.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/docker_attach_state.h"

#define DIAGNOSTIC_BYTES_MAX 400
#define DIAGNOSTICS_PER_WINDOW 20
#define DIAGNOSTICS_WINDOW_MS 10000

struct write {
    uv_write_t req;
    struct pd_docker_attach *attach;
    size_t len;
    char data[];
};

static struct pd_docker_attach *attach_of(struct pd_stream *stream)
{
    return PD_CONTAINER_OF(stream, struct pd_docker_attach, stream);
}

/* ---- closing ---- */

static void attach_free(struct pd_docker_attach *attach)
{
    pd_buf_fini(&attach->held);
    pd_tls_free(attach->tls);
    free(attach->plain);
    uv_freeaddrinfo(attach->found);
    free(attach->buffer);
    free(attach->hello);
    free(attach->socket_path);
    free(attach->host);
    free(attach->name);
    free(attach);
}

void pd_docker_attach_maybe_closed(struct pd_docker_attach *attach)
{
    if (attach->handles > 0 || attach->resolving)
        return;
    if (attach->cb)
        attach->cb(attach->arg, &attach->failure, NULL);
    if (attach->closed)
        attach->closed(attach->closed_arg);
    attach_free(attach);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pd_docker_attach *attach = handle->data;

    attach->handles--;
    pd_docker_attach_maybe_closed(attach);
}

static void close_handles(struct pd_docker_attach *attach)
{
    assert(attach->phase != PD_ATTACH_CLOSING);
    attach->phase = PD_ATTACH_CLOSING;
    if (attach->resolving)
        uv_cancel((uv_req_t *)&attach->request.resolve);
    uv_close((uv_handle_t *)&attach->timer, on_handle_closed);
    if (attach->connection.any.data && !uv_is_closing((uv_handle_t *)&attach->connection.any))
        uv_close((uv_handle_t *)&attach->connection.any, on_handle_closed);
}

/* Before it was open: give up; cb is told when all is closed. */
void pd_docker_attach_fail(struct pd_docker_attach *attach, const struct pd_err *err)
{
    if (attach->phase >= PD_ATTACH_OPEN)
        return;
    attach->failure = *err;
    close_handles(attach);
}

void pd_docker_attach_fail_os(struct pd_docker_attach *attach, int rc, const char *what)
{
    struct pd_err err;

    pd_err_set(&err, PD_UNAVAILABLE, "%s: %s", what, uv_strerror(rc));
    pd_docker_attach_fail(attach, &err);
}

/* Once open: tell the user, once; they close. */
static void end(struct pd_docker_attach *attach, const struct pd_err *err)
{
    if (attach->phase != PD_ATTACH_OPEN)
        return;
    attach->phase = PD_ATTACH_ENDED;
    uv_read_stop(&attach->connection.any);
    if (attach->stream.on_end)
        attach->stream.on_end(attach->stream.arg, err);
}

/* ---- data ---- */

static void log_diagnostic(struct pd_docker_attach *attach, const struct pd_docker_piece *piece)
{
    struct pd_time now = pd_time_now();
    char text[DIAGNOSTIC_BYTES_MAX + 1];
    size_t len = piece->len < DIAGNOSTIC_BYTES_MAX ? piece->len : DIAGNOSTIC_BYTES_MAX;

    if (pd_time_ms_between(attach->diagnostics.since, now) > DIAGNOSTICS_WINDOW_MS) {
        attach->diagnostics.since = now;
        attach->diagnostics.count = 0;
    }
    if (attach->diagnostics.count++ >= DIAGNOSTICS_PER_WINDOW)
        return;
    memcpy(text, piece->data, len);
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\0'))
        len--;
    text[len] = '\0';
    pd_log(PD_LOG_WARN, "agent", "the sandbox's stderr", "id", attach->name, "text", text, NULL);
}

/* What the reader does not want yet; at most one read's worth by construction. */
void pd_docker_stream_hold(struct pd_docker_attach *attach, const unsigned char *data, size_t len)
{
    int rc = pd_buf_add(&attach->held, data, len, NULL);
    assert(rc == 0);
    (void)rc;
}

/* Hand on what came, piece by piece, as long as it is wanted. */
static void deliver(struct pd_docker_attach *attach, const unsigned char *data, size_t len)
{
    struct pd_docker_piece piece;
    struct pd_err err;
    int rc = 0;

    attach->delivering = true;
    while (attach->phase == PD_ATTACH_OPEN && attach->reading &&
           (rc = pd_docker_mux_next(&attach->mux, &data, &len, &piece, &err)) > 0) {
        if (piece.channel == PD_DOCKER_STDOUT)
            attach->stream.on_data(attach->stream.arg, piece.data, piece.len);
        else
            log_diagnostic(attach, &piece);
    }
    attach->delivering = false;
    if (rc < 0)
        end(attach, &err);
    else if (attach->phase == PD_ATTACH_OPEN && len > 0)
        pd_docker_stream_hold(attach, data, len);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct pd_docker_attach *attach = handle->data;

    (void)suggested;
    *buf = uv_buf_init(attach->buffer, PD_ATTACH_READ_BYTES);
}

/* However far it has come: who waits for it is told. */
static void broke(struct pd_docker_attach *attach, const struct pd_err *err)
{
    if (attach->phase == PD_ATTACH_OPEN)
        end(attach, err);
    else
        pd_docker_attach_fail(attach, err);
}

static void take_protected(struct pd_docker_attach *attach, const char *data, size_t len);

static void take_plain(struct pd_docker_attach *attach, const char *data, size_t len)
{
    if (attach->phase == PD_ATTACH_HEAD)
        pd_docker_attach_take_head(attach, data, len);
    else if (attach->phase == PD_ATTACH_OPEN)
        deliver(attach, (const unsigned char *)data, len);
}

static void on_read(uv_stream_t *connection, ssize_t count, const uv_buf_t *buf)
{
    struct pd_docker_attach *attach = connection->data;
    struct pd_err err;

    if (count < 0) {
        pd_err_set(&err, PD_UNAVAILABLE, "the engine ended the stream: %s",
                   uv_strerror((int)count));
        broke(attach, &err);
    } else if (count > 0 && attach->tls) {
        take_protected(attach, buf->base, (size_t)count);
    } else if (count > 0) {
        take_plain(attach, buf->base, (size_t)count);
    }
}

/* Deliver what was held, then read on; from the top of the loop. */
static void on_resume(uv_timer_t *timer)
{
    struct pd_docker_attach *attach = timer->data;
    struct pd_buf held = attach->held;
    int rc;

    if (attach->phase != PD_ATTACH_OPEN || !attach->reading)
        return;
    pd_buf_init(&attach->held, held.max);
    deliver(attach, (const unsigned char *)held.data, held.len);
    pd_buf_fini(&held);
    if (attach->phase != PD_ATTACH_OPEN || !attach->reading)
        return;
    rc = uv_read_start(&attach->connection.any, on_alloc, on_read);
    if (rc < 0 && rc != UV_EALREADY) {
        struct pd_err err;
        pd_err_set(&err, PD_UNAVAILABLE, "read from the engine: %s", uv_strerror(rc));
        end(attach, &err);
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct write *write = PD_CONTAINER_OF(req, struct write, req);
    struct pd_docker_attach *attach = write->attach;
    struct pd_err err;

    attach->queued_bytes -= write->len;
    free(write);
    if (status >= 0 || attach->phase == PD_ATTACH_CLOSING)
        return;
    pd_err_set(&err, PD_UNAVAILABLE, "write to the engine: %s", uv_strerror(status));
    broke(attach, &err);
}

static int queue_write(struct pd_docker_attach *attach, const char *data, size_t len)
{
    struct write *write = pd_realloc(NULL, 1, sizeof *write + len);
    uv_buf_t buf = uv_buf_init(write->data, (unsigned)len);
    int rc;

    write->attach = attach;
    write->len = len;
    memcpy(write->data, data, len);
    rc = uv_write(&write->req, &attach->connection.any, &buf, 1, on_written);
    if (rc < 0)
        free(write);
    else
        attach->queued_bytes += len;
    return rc;
}

/* Send now what can be sent now, queue the rest. 0 or libuv's error. */
static int send_all(struct pd_docker_attach *attach, const char *data, size_t len)
{
    int rc = UV_EAGAIN;

    if (attach->queued_bytes == 0) {
        uv_buf_t buf = uv_buf_init((char *)data, (unsigned)len);
        rc = uv_try_write(&attach->connection.any, &buf, 1);
    }
    if (rc == UV_EAGAIN)
        rc = 0;
    if (rc < 0)
        return rc;
    return (size_t)rc == len ? 0 : queue_write(attach, data + rc, len - (size_t)rc);
}

/* ---- TLS ---- */

/* Send what the session has to say: records, or parts of its handshake. */
static int flush(struct pd_docker_attach *attach)
{
    const char *data;
    size_t len = pd_tls_to_send(attach->tls, &data);
    int rc = len > 0 ? send_all(attach, data, len) : 0;

    pd_tls_sent(attach->tls);
    return rc;
}

static int transmit(struct pd_docker_attach *attach, const char *data, size_t len,
                    struct pd_err *err)
{
    int rc;

    if (attach->tls && (rc = pd_tls_write(attach->tls, data, len, err)) < 0)
        return rc;
    rc = attach->tls ? flush(attach) : send_all(attach, data, len);
    if (rc < 0)
        return pd_err_set(err, PD_UNAVAILABLE, "write to the engine: %s", uv_strerror(rc));
    return 0;
}

static void say_hello(struct pd_docker_attach *attach)
{
    struct pd_err err;

    attach->phase = PD_ATTACH_HEAD;
    if (transmit(attach, attach->hello, strlen(attach->hello), &err) < 0)
        pd_docker_attach_fail(attach, &err);
}

/* false: it has failed, and that was told. */
static bool shake_hands(struct pd_docker_attach *attach)
{
    struct pd_err err;
    int rc = pd_tls_step(attach->tls, &err), sent = flush(attach); /* an alert, too */

    if (rc < 0)
        pd_docker_attach_fail(attach, &err);
    else if (sent < 0)
        pd_docker_attach_fail_os(attach, sent, "write to the engine");
    else if (pd_tls_is_open(attach->tls))
        say_hello(attach);
    return rc == 0 && sent == 0 && attach->phase != PD_ATTACH_CLOSING;
}

static void take_protected(struct pd_docker_attach *attach, const char *data, size_t len)
{
    struct pd_err err;
    int count = 0;

    pd_tls_feed(attach->tls, data, len);
    if (attach->phase == PD_ATTACH_CONNECTING && !shake_hands(attach))
        return;
    while ((attach->phase == PD_ATTACH_HEAD || attach->phase == PD_ATTACH_OPEN) &&
           (count = pd_tls_read(attach->tls, attach->plain, PD_TLS_RECORD_BYTES_MAX, &err)) > 0)
        take_plain(attach, attach->plain, (size_t)count);
    if (count < 0)
        broke(attach, &err);
}

void pd_docker_stream_connected(struct pd_docker_attach *attach)
{
    int rc = uv_read_start(&attach->connection.any, on_alloc, on_read);

    if (rc < 0)
        pd_docker_attach_fail_os(attach, rc, "read from the engine");
    else if (attach->tls)
        shake_hands(attach);
    else
        say_hello(attach);
}

/* ---- what the user calls ---- */

static int stream_write(struct pd_stream *stream, const void *data, size_t len, struct pd_err *err)
{
    struct pd_docker_attach *attach = attach_of(stream);

    if (attach->phase != PD_ATTACH_OPEN)
        return pd_err_set(err, PD_UNAVAILABLE, "the stream has ended");
    if (len > PD_STREAM_QUEUE_BYTES_MAX - attach->queued_bytes)
        return pd_err_set(err, PD_LIMIT, "%zu bytes wait to be sent already", attach->queued_bytes);
    return len > 0 ? transmit(attach, data, len, err) : 0;
}

static void stream_read(struct pd_stream *stream, bool on)
{
    struct pd_docker_attach *attach = attach_of(stream);

    if (attach->phase != PD_ATTACH_OPEN || attach->reading == on)
        return;
    attach->reading = on;
    if (!on)
        uv_read_stop(&attach->connection.any);
    else
        uv_timer_start(&attach->timer, on_resume, 0, 0);
}

static void stream_close(struct pd_stream *stream, void (*closed)(void *arg), void *arg)
{
    struct pd_docker_attach *attach = attach_of(stream);

    if (attach->phase == PD_ATTACH_CLOSING)
        return;
    attach->closed = closed;
    attach->closed_arg = arg;
    close_handles(attach);
}

const struct pd_stream_ops pd_docker_stream_ops = {
    .write = stream_write,
    .read = stream_read,
    .close = stream_close,
};
