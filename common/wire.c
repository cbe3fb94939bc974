/* Theory of operation. A wire begins from its timer, at the top of the loop, so
 * that every failure, an early one too, comes through `ended`. The timer is the
 * connection's deadline afterwards. TLS is a pump (common/tls.h) between the
 * socket and the user; only one of the two write paths knows of it. */
#include "common/wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define READ_BYTES (64u * 1024)
#define KEEPALIVE_S 15

enum phase { BEGINNING, CONNECTING, SHAKING_HANDS, OPEN, ENDED, CLOSING };

struct pd_wire {
    const struct pd_wire_events *events;
    void *arg;
    enum phase phase;
    union {
        uv_stream_t any;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } socket;
    bool has_socket;
    uv_timer_t timer;
    uv_connect_t connect;
    uv_getaddrinfo_t resolve;
    bool resolving;
    struct addrinfo *found;     /* all of the host's addresses */
    struct addrinfo *candidate; /* the one to be tried next */
    int handles;                /* not yet closed */
    struct pd_tls *tls;         /* NULL: plain */
    char *plain;                /* PD_TLS_RECORD_BYTES_MAX, with tls */
    char *buffer;               /* READ_BYTES */
    size_t unsent, unsent_max;
    char *peer, *socket_path, *host;
    int port;
    int connect_timeout_ms;
    struct pd_err early; /* kind 0, or why it cannot even begin */
    void (*closed)(void *arg);
    void *closed_arg;
};

struct piece {
    uv_write_t req;
    struct pd_wire *wire;
    size_t len;
    char data[];
};

/* ---- ends ---- */

static void wire_free(struct pd_wire *wire)
{
    pd_tls_free(wire->tls);
    uv_freeaddrinfo(wire->found);
    free(wire->plain);
    free(wire->buffer);
    free(wire->peer);
    free(wire->socket_path);
    free(wire->host);
    free(wire);
}

static void maybe_closed(struct pd_wire *wire)
{
    void (*closed)(void *arg) = wire->closed;
    void *arg = wire->closed_arg;

    if (wire->phase != CLOSING || wire->handles > 0 || wire->resolving)
        return;
    wire_free(wire);
    if (closed)
        closed(arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pd_wire *wire = handle->data;

    wire->handles--;
    maybe_closed(wire);
}

static void end(struct pd_wire *wire, const struct pd_err *err)
{
    struct pd_err copy = *err;

    if (wire->phase >= ENDED)
        return;
    wire->phase = ENDED;
    uv_timer_stop(&wire->timer);
    if (wire->has_socket && !uv_is_closing((uv_handle_t *)&wire->socket.any))
        uv_read_stop(&wire->socket.any);
    wire->events->ended(wire->arg, &copy);
}

static void end_os(struct pd_wire *wire, int rc, const char *what)
{
    struct pd_err err;
    const char *where = wire->socket_path ? wire->socket_path : wire->host;

    pd_err_set(&err, PD_UNAVAILABLE, "%s %s at %.200s: %s", what, wire->peer, where,
               uv_strerror(rc));
    end(wire, &err);
}

/* ---- sending ---- */

static void on_written(uv_write_t *req, int status)
{
    struct piece *piece = PD_CONTAINER_OF(req, struct piece, req);
    struct pd_wire *wire = piece->wire;

    wire->unsent -= piece->len;
    free(piece);
    if (status < 0 && status != UV_ECANCELED)
        end_os(wire, status, "write to");
}

static int queue_rest(struct pd_wire *wire, const char *data, size_t len)
{
    struct piece *piece = pd_realloc(NULL, 1, sizeof *piece + len);
    uv_buf_t buf = uv_buf_init(piece->data, (unsigned)len);
    int rc;

    piece->wire = wire;
    piece->len = len;
    memcpy(piece->data, data, len);
    rc = uv_write(&piece->req, &wire->socket.any, &buf, 1, on_written);
    if (rc < 0)
        free(piece);
    else
        wire->unsent += len;
    return rc;
}

/* 0 or libuv's error. */
static int send_all(struct pd_wire *wire, const char *data, size_t len)
{
    int rc = UV_EAGAIN;

    if (wire->unsent == 0) {
        uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
        rc = uv_try_write(&wire->socket.any, &buf, 1);
    }
    if (rc == UV_EAGAIN)
        rc = 0;
    if (rc < 0)
        return rc;
    return (size_t)rc == len ? 0 : queue_rest(wire, data + rc, len - (size_t)rc);
}

/* What the TLS session has to say: records, or parts of its handshake. */
static int flush_tls(struct pd_wire *wire)
{
    const char *data;
    size_t len = pd_tls_to_send(wire->tls, &data);
    int rc = len > 0 ? send_all(wire, data, len) : 0;

    pd_tls_sent(wire->tls);
    return rc;
}

int pd_wire_write(struct pd_wire *wire, const void *data, size_t len, struct pd_err *err)
{
    int rc;

    if (wire->phase != OPEN)
        return pd_err_set(err, PD_UNAVAILABLE, "no connection to %s", wire->peer);
    if (len > wire->unsent_max || wire->unsent > wire->unsent_max - len)
        return pd_err_set(err, PD_LIMIT, "%zu bytes wait to be sent to %s already", wire->unsent,
                          wire->peer);
    if (len == 0)
        return 0;
    if (wire->tls && (rc = pd_tls_write(wire->tls, data, len, err)) < 0)
        return rc;
    rc = wire->tls ? flush_tls(wire) : send_all(wire, data, len);
    if (rc < 0)
        return pd_err_set(err, PD_UNAVAILABLE, "write to %s: %s", wire->peer, uv_strerror(rc));
    return 0;
}

/* ---- receiving ---- */

static void opened(struct pd_wire *wire)
{
    wire->phase = OPEN;
    uv_timer_stop(&wire->timer);
    wire->events->open(wire->arg);
}

static void shake_hands(struct pd_wire *wire)
{
    struct pd_err err;
    int rc = pd_tls_step(wire->tls, &err), sent = flush_tls(wire); /* an alert, too */

    if (rc < 0) {
        pd_err_wrap(&err, "%s at %.200s", wire->peer, wire->host);
        end(wire, &err);
    } else if (sent < 0) {
        end_os(wire, sent, "write to");
    } else if (pd_tls_is_open(wire->tls)) {
        opened(wire);
    }
}

static void take_protected(struct pd_wire *wire, const char *data, size_t len)
{
    struct pd_err err;
    int count = 0;

    pd_tls_feed(wire->tls, data, len);
    if (wire->phase == SHAKING_HANDS)
        shake_hands(wire);
    while (wire->phase == OPEN &&
           (count = pd_tls_read(wire->tls, wire->plain, PD_TLS_RECORD_BYTES_MAX, &err)) > 0)
        wire->events->data(wire->arg, wire->plain, (size_t)count);
    if (count < 0) {
        pd_err_wrap(&err, "%s at %.200s", wire->peer, wire->host);
        end(wire, &err);
    } else if (wire->phase == OPEN) {
        int sent = flush_tls(wire); /* what reading gave cause to say: a key update */
        if (sent < 0)
            end_os(wire, sent, "write to");
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct pd_wire *wire = handle->data;

    (void)suggested;
    *buf = uv_buf_init(wire->buffer, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct pd_wire *wire = stream->data;

    if (count < 0)
        end_os(wire, (int)count, "connection ended by");
    else if (count > 0 && wire->tls)
        take_protected(wire, buf->base, (size_t)count);
    else if (count > 0 && wire->phase == OPEN)
        wire->events->data(wire->arg, buf->base, (size_t)count);
}

/* ---- connecting ---- */

static void on_candidate_closed(uv_handle_t *handle);

static void on_connected(uv_connect_t *connect, int status)
{
    struct pd_wire *wire = connect->data;
    int rc;

    if (wire->phase != CONNECTING)
        return;
    if (status < 0 && wire->candidate) { /* "localhost" may be two addresses, one of them deaf */
        uv_close((uv_handle_t *)&wire->socket.any, on_candidate_closed);
        return;
    }
    rc = status < 0 ? status : uv_read_start(&wire->socket.any, on_alloc, on_read);
    if (rc < 0) {
        end_os(wire, rc, "connect to");
    } else if (wire->tls) {
        wire->phase = SHAKING_HANDS;
        shake_hands(wire);
    } else {
        opened(wire);
    }
}

static void took_socket(struct pd_wire *wire)
{
    wire->socket.any.data = wire;
    wire->has_socket = true;
    wire->handles++;
    wire->connect.data = wire;
}

static void connect_next(struct pd_wire *wire)
{
    struct addrinfo *address = wire->candidate;
    int rc;

    wire->candidate = address->ai_next;
    uv_tcp_init(wire->timer.loop, &wire->socket.tcp);
    took_socket(wire);
    uv_tcp_nodelay(&wire->socket.tcp, 1);
    uv_tcp_keepalive(&wire->socket.tcp, 1, KEEPALIVE_S);
    rc = uv_tcp_connect(&wire->connect, &wire->socket.tcp, address->ai_addr, on_connected);
    if (rc < 0)
        end_os(wire, rc, "connect to");
}

static void on_candidate_closed(uv_handle_t *handle)
{
    struct pd_wire *wire = handle->data;

    wire->handles--;
    wire->has_socket = false;
    if (wire->phase == CONNECTING)
        connect_next(wire);
    else
        maybe_closed(wire);
}

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *found)
{
    struct pd_wire *wire = resolve->data;

    wire->resolving = false;
    wire->found = wire->candidate = found;
    if (wire->phase == CLOSING)
        maybe_closed(wire);
    else if (wire->phase == CONNECTING && status < 0)
        end_os(wire, status, "find the address of");
    else if (wire->phase == CONNECTING)
        connect_next(wire);
}

static void connect_tcp(struct pd_wire *wire)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    char port[16];
    int rc;

    snprintf(port, sizeof port, "%d", wire->port);
    wire->resolve.data = wire;
    rc = uv_getaddrinfo(wire->timer.loop, &wire->resolve, on_resolved, wire->host, port, &hints);
    wire->resolving = rc == 0;
    if (rc < 0)
        end_os(wire, rc, "find the address of");
}

static void connect_unix(struct pd_wire *wire)
{
    uv_pipe_init(wire->timer.loop, &wire->socket.pipe, 0);
    took_socket(wire);
    uv_pipe_connect(&wire->connect, &wire->socket.pipe, wire->socket_path, on_connected);
}

static void on_deadline(uv_timer_t *timer)
{
    struct pd_wire *wire = timer->data;
    struct pd_err err;

    pd_err_set(&err, PD_TIMEOUT, "no connection to %s at %.200s within %d ms", wire->peer,
               wire->socket_path ? wire->socket_path : wire->host, wire->connect_timeout_ms);
    end(wire, &err);
}

static void on_begin(uv_timer_t *timer)
{
    struct pd_wire *wire = timer->data;

    if (wire->early.kind) {
        end(wire, &wire->early);
        return;
    }
    wire->phase = CONNECTING;
    uv_timer_start(timer, on_deadline, (uint64_t)wire->connect_timeout_ms, 0);
    if (wire->socket_path)
        connect_unix(wire);
    else
        connect_tcp(wire);
}

static char *copy_text(const char *text)
{
    return text ? pd_strdup(text) : NULL;
}

struct pd_wire *pd_wire_open(uv_loop_t *loop, const struct pd_wire_config *config,
                             const struct pd_wire_events *events, void *arg)
{
    struct pd_wire *wire = PD_NEW(struct pd_wire);

    wire->events = events;
    wire->arg = arg;
    wire->peer = pd_strdup(config->peer);
    wire->socket_path = copy_text(config->socket_path);
    wire->host = copy_text(config->host);
    wire->port = config->port;
    wire->connect_timeout_ms = config->connect_timeout_ms;
    wire->unsent_max = config->unsent_bytes_max;
    wire->buffer = pd_realloc(NULL, 1, READ_BYTES);
    if (config->tls && pd_tls_new(config->tls, &wire->tls, &wire->early) == 0)
        wire->plain = pd_realloc(NULL, 1, PD_TLS_RECORD_BYTES_MAX);
    uv_timer_init(loop, &wire->timer);
    wire->timer.data = wire;
    wire->handles = 1;
    uv_timer_start(&wire->timer, on_begin, 0, 0);
    return wire;
}

void pd_wire_close(struct pd_wire *wire, void (*closed)(void *arg), void *arg)
{
    assert(wire->phase != CLOSING);
    wire->phase = CLOSING;
    wire->closed = closed;
    wire->closed_arg = arg;
    if (wire->resolving)
        uv_cancel((uv_req_t *)&wire->resolve);
    uv_close((uv_handle_t *)&wire->timer, on_handle_closed);
    if (wire->has_socket && !uv_is_closing((uv_handle_t *)&wire->socket.any))
        uv_close((uv_handle_t *)&wire->socket.any, on_handle_closed);
}
