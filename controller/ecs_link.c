/* Theory of operation. One object is first a connection being opened (TCP, then
 * TLS), then an open stream, then closes: `phase` says which. Its handles are the
 * connection and one timer, which is the deadline of opening first and afterwards
 * the way to deliver, from the top of the loop, what TLS still held when the
 * reader came back. */
#include "controller/ecs_link.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define READ_BYTES (32u * 1024)
#define KEEPALIVE_S 15

enum phase { PHASE_CONNECTING, PHASE_HANDSHAKE, PHASE_OPEN, PHASE_ENDED, PHASE_CLOSING };

struct pd_ecs_link {
    struct pd_stream stream;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connect;
    int handles;
    enum phase phase;
    bool reading, delivering;
    struct pd_tls *tls;
    size_t queued_bytes;
    pd_ecs_link_cb cb; /* NULL once it was called */
    void *arg;
    struct pd_err failure;
    void (*closed)(void *arg);
    void *closed_arg;
    char buffer[READ_BYTES];
    char plain[PD_TLS_RECORD_BYTES_MAX];
};

struct write {
    uv_write_t req;
    struct pd_ecs_link *link;
    size_t len;
    char data[];
};

static struct pd_ecs_link *link_of(struct pd_stream *stream)
{
    return PD_CONTAINER_OF(stream, struct pd_ecs_link, stream);
}

/* ---- closing ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct pd_ecs_link *link = handle->data;

    if (--link->handles > 0)
        return;
    if (link->cb)
        link->cb(link->arg, &link->failure, NULL, NULL);
    if (link->closed)
        link->closed(link->closed_arg);
    pd_tls_free(link->tls);
    free(link);
}

static void close_handles(struct pd_ecs_link *link)
{
    if (link->phase == PHASE_CLOSING)
        return;
    link->phase = PHASE_CLOSING;
    uv_close((uv_handle_t *)&link->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&link->timer, on_handle_closed);
}

/* It failed: while opening that is the answer, later the stream's end. */
static void fail(struct pd_ecs_link *link, const struct pd_err *err)
{
    if (link->phase < PHASE_OPEN) {
        link->failure = *err;
        close_handles(link);
    } else if (link->phase == PHASE_OPEN) {
        link->phase = PHASE_ENDED;
        uv_read_stop((uv_stream_t *)&link->tcp);
        if (link->stream.on_end)
            link->stream.on_end(link->stream.arg, err);
    }
}

/* ---- sending ---- */

static void on_written(uv_write_t *req, int status)
{
    struct write *write = req->data;
    struct pd_ecs_link *link = write->link;
    struct pd_err err;

    link->queued_bytes -= write->len;
    free(write);
    if (status < 0 && status != UV_ECANCELED) {
        pd_err_set(&err, PD_UNAVAILABLE, "write to the agent: %s", uv_strerror(status));
        fail(link, &err);
    }
}

/* What TLS has to say: at once as far as the socket takes it, the rest queued. */
static int flush(struct pd_ecs_link *link, struct pd_err *err)
{
    const char *data;
    size_t len = pd_tls_to_send(link->tls, &data);
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
    struct write *write;
    int n = 0;

    if (len == 0)
        return 0;
    if (link->queued_bytes == 0)
        n = uv_try_write((uv_stream_t *)&link->tcp, &buf, 1);
    if (n < 0 && n != UV_EAGAIN)
        return pd_err_set(err, PD_UNAVAILABLE, "write to the agent: %s", uv_strerror(n));
    n = n < 0 ? 0 : n;
    if ((size_t)n < len) {
        write = pd_calloc(1, sizeof *write + len - (size_t)n);
        write->link = link;
        write->req.data = write;
        write->len = len - (size_t)n;
        memcpy(write->data, data + n, write->len);
        buf = uv_buf_init(write->data, (unsigned)write->len);
        link->queued_bytes += write->len;
        if (uv_write(&write->req, (uv_stream_t *)&link->tcp, &buf, 1, on_written) < 0)
            abort();
    }
    pd_tls_sent(link->tls);
    return 0;
}

static int stream_write(struct pd_stream *stream, const void *data, size_t len, struct pd_err *err)
{
    struct pd_ecs_link *link = link_of(stream);

    if (link->phase != PHASE_OPEN)
        return pd_err_set(err, PD_UNAVAILABLE, "the link to the agent has ended");
    if (len > PD_STREAM_QUEUE_BYTES_MAX - link->queued_bytes)
        return pd_err_set(err, PD_LIMIT, "the agent does not read");
    if (pd_tls_write(link->tls, data, len, err) < 0)
        return err ? err->kind : PD_UNAVAILABLE;
    return flush(link, err);
}

/* ---- receiving ---- */

static void on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buf);

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buf)
{
    struct pd_ecs_link *link = handle->data;

    (void)wanted;
    *buf = uv_buf_init(link->buffer, sizeof link->buffer);
}

static void deliver(struct pd_ecs_link *link)
{
    struct pd_err err;
    int n = 0;

    if (link->delivering)
        return;
    link->delivering = true;
    while (link->phase == PHASE_OPEN && link->reading &&
           (n = pd_tls_read(link->tls, link->plain, sizeof link->plain, &err)) > 0)
        link->stream.on_data(link->stream.arg, link->plain, (size_t)n);
    link->delivering = false;
    if (n < 0 && link->phase == PHASE_OPEN)
        fail(link, &err);
}

static void on_deliver(uv_timer_t *timer)
{
    deliver(timer->data);
}

static void stream_read(struct pd_stream *stream, bool on)
{
    struct pd_ecs_link *link = link_of(stream);

    if (link->phase != PHASE_OPEN || link->reading == on)
        return;
    link->reading = on;
    if (on) {
        uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read);
        uv_timer_start(&link->timer, on_deliver, 0, 0);
    } else {
        uv_read_stop((uv_stream_t *)&link->tcp);
    }
}

static void stream_close(struct pd_stream *stream, void (*closed)(void *arg), void *arg)
{
    struct pd_ecs_link *link = link_of(stream);

    if (link->phase == PHASE_CLOSING)
        return;
    link->closed = closed;
    link->closed_arg = arg;
    close_handles(link);
}

static const struct pd_stream_ops stream_ops = {
    .write = stream_write,
    .read = stream_read,
    .close = stream_close,
};

/* ---- opening ---- */

static void opened(struct pd_ecs_link *link)
{
    unsigned char pin[PD_TLS_PIN_BYTES];
    pd_ecs_link_cb cb = link->cb;

    uv_timer_stop(&link->timer);
    uv_read_stop((uv_stream_t *)&link->tcp);
    link->phase = PHASE_OPEN;
    link->cb = NULL;
    pd_tls_pin(link->tls, pin);
    cb(link->arg, NULL, &link->stream, pin);
}

static void go_on(struct pd_ecs_link *link)
{
    struct pd_err err;
    int rc = pd_tls_step(link->tls, &err);

    if (flush(link, rc < 0 ? NULL : &err) < 0 || rc < 0)
        fail(link, &err);
    else if (pd_tls_is_open(link->tls))
        opened(link);
}

static void on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buf)
{
    struct pd_ecs_link *link = tcp->data;
    struct pd_err err;

    if (n > 0) {
        pd_tls_feed(link->tls, buf->base, (size_t)n);
        if (link->phase == PHASE_HANDSHAKE)
            go_on(link);
        else
            deliver(link);
    } else if (n < 0) {
        /* An agent that does not take our key ends the connection within the handshake. */
        pd_err_set(&err, PD_UNAVAILABLE, "the agent ended the connection%s",
                   link->phase == PHASE_HANDSHAKE ? " before it was sure of us" : "");
        fail(link, &err);
    }
}

static void on_connected(uv_connect_t *req, int status)
{
    struct pd_ecs_link *link = req->data;
    struct pd_err err;

    if (link->phase != PHASE_CONNECTING)
        return;
    if (status < 0) {
        pd_err_set(&err, PD_UNAVAILABLE, "connect to the agent: %s", uv_strerror(status));
        fail(link, &err);
        return;
    }
    link->phase = PHASE_HANDSHAKE;
    uv_tcp_nodelay(&link->tcp, 1);
    uv_tcp_keepalive(&link->tcp, 1, KEEPALIVE_S);
    uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read);
    go_on(link);
}

static void on_overdue(uv_timer_t *timer)
{
    struct pd_ecs_link *link = timer->data;
    struct pd_err err;

    pd_err_set(&err, PD_TIMEOUT, "the agent does not answer at its address");
    fail(link, &err);
}

static int begin(struct pd_ecs_link *link, const char *address, int port, struct pd_err *err)
{
    struct sockaddr_storage to;
    int rc;

    if (uv_ip4_addr(address, port, (struct sockaddr_in *)&to) < 0 &&
        uv_ip6_addr(address, port, (struct sockaddr_in6 *)&to) < 0)
        return pd_err_set(err, PD_INVALID, "'%.60s' is no address", address);
    rc = uv_tcp_connect(&link->connect, &link->tcp, (const struct sockaddr *)&to, on_connected);
    return rc < 0 ? pd_err_set(err, PD_UNAVAILABLE, "connect: %s", uv_strerror(rc)) : 0;
}

struct pd_ecs_link *pd_ecs_link_open(uv_loop_t *loop, const char *address, int port,
                                     const struct pd_tls_identity *identity,
                                     const unsigned char *pin, pd_ecs_link_cb cb, void *arg)
{
    struct pd_ecs_link *link = PD_NEW(struct pd_ecs_link);
    struct pd_err err;

    link->stream.ops = &stream_ops;
    link->tls = pd_tls_new_pinned(identity, pin);
    link->cb = cb;
    link->arg = arg;
    link->handles = 2;
    uv_tcp_init(loop, &link->tcp);
    uv_timer_init(loop, &link->timer);
    link->tcp.data = link->timer.data = link->connect.data = link;
    uv_timer_start(&link->timer, on_overdue, PD_ECS_LINK_TIMEOUT_MS, 0);
    if (begin(link, address, port, &err) < 0)
        fail(link, &err);
    return link;
}

void pd_ecs_link_cancel(struct pd_ecs_link *link)
{
    struct pd_err err;

    pd_err_set(&err, PD_CANCELED, "opening the link was given up");
    fail(link, &err);
}
