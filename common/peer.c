/* Theory of operation. A peer begins from its timer, at the top of the loop, so
 * that every failure, an early one too, comes through `ended`. The timer is the
 * connection's deadline afterwards. TLS is a pump (common/tls.h) between the
 * socket and the user; only one of the two write paths knows of it. */
#include "common/peer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define READ_BYTES (64u * 1024)
#define KEEPALIVE_S 15

enum phase { BEGINNING, CONNECTING, SHAKING_HANDS, OPEN, ENDED, CLOSING };

struct pd_peer {
    const struct pd_peer_events *events;
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
    char *name, *socket_path, *host;
    int port;
    int connect_timeout_ms;
    struct pd_err early; /* kind 0, or why it cannot even begin */
    void (*closed)(void *arg);
    void *closed_arg;
};

struct piece {
    uv_write_t req;
    struct pd_peer *peer;
    size_t len;
    char data[];
};

/* ---- ends ---- */

static void peer_free(struct pd_peer *peer)
{
    pd_tls_free(peer->tls);
    uv_freeaddrinfo(peer->found);
    free(peer->plain);
    free(peer->buffer);
    free(peer->name);
    free(peer->socket_path);
    free(peer->host);
    free(peer);
}

static void maybe_closed(struct pd_peer *peer)
{
    void (*closed)(void *arg) = peer->closed;
    void *arg = peer->closed_arg;

    if (peer->phase != CLOSING || peer->handles > 0 || peer->resolving)
        return;
    peer_free(peer);
    if (closed)
        closed(arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pd_peer *peer = handle->data;

    peer->handles--;
    maybe_closed(peer);
}

static void end(struct pd_peer *peer, const struct pd_err *err)
{
    struct pd_err copy = *err;

    if (peer->phase >= ENDED)
        return;
    peer->phase = ENDED;
    uv_timer_stop(&peer->timer);
    if (peer->has_socket && !uv_is_closing((uv_handle_t *)&peer->socket.any))
        uv_read_stop(&peer->socket.any);
    peer->events->ended(peer->arg, &copy);
}

static void end_os(struct pd_peer *peer, int rc, const char *what)
{
    struct pd_err err;
    const char *where = peer->socket_path ? peer->socket_path : peer->host;

    pd_err_set(&err, PD_UNAVAILABLE, "%s %s at %.200s: %s", what, peer->name, where,
               uv_strerror(rc));
    end(peer, &err);
}

/* ---- sending ---- */

static void on_written(uv_write_t *req, int status)
{
    struct piece *piece = PD_CONTAINER_OF(req, struct piece, req);
    struct pd_peer *peer = piece->peer;

    peer->unsent -= piece->len;
    free(piece);
    if (status < 0 && status != UV_ECANCELED)
        end_os(peer, status, "write to");
}

static int queue_rest(struct pd_peer *peer, const char *data, size_t len)
{
    struct piece *piece = pd_realloc(NULL, 1, sizeof *piece + len);
    uv_buf_t buf = uv_buf_init(piece->data, (unsigned)len);
    int rc;

    piece->peer = peer;
    piece->len = len;
    memcpy(piece->data, data, len);
    rc = uv_write(&piece->req, &peer->socket.any, &buf, 1, on_written);
    if (rc < 0)
        free(piece);
    else
        peer->unsent += len;
    return rc;
}

/* 0 or libuv's error. */
static int send_all(struct pd_peer *peer, const char *data, size_t len)
{
    int rc = UV_EAGAIN;

    if (peer->unsent == 0) {
        uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
        rc = uv_try_write(&peer->socket.any, &buf, 1);
    }
    if (rc == UV_EAGAIN)
        rc = 0;
    if (rc < 0)
        return rc;
    return (size_t)rc == len ? 0 : queue_rest(peer, data + rc, len - (size_t)rc);
}

/* What the TLS session has to say: records, or parts of its handshake. */
static int flush_tls(struct pd_peer *peer)
{
    const char *data;
    size_t len = pd_tls_to_send(peer->tls, &data);
    int rc = len > 0 ? send_all(peer, data, len) : 0;

    pd_tls_sent(peer->tls);
    return rc;
}

int pd_peer_write(struct pd_peer *peer, const void *data, size_t len, struct pd_err *err)
{
    int rc;

    if (peer->phase != OPEN)
        return pd_err_set(err, PD_UNAVAILABLE, "no connection to %s", peer->name);
    if (len > peer->unsent_max || peer->unsent > peer->unsent_max - len)
        return pd_err_set(err, PD_LIMIT, "%zu bytes wait to be sent to %s already", peer->unsent,
                          peer->name);
    if (len == 0)
        return 0;
    if (peer->tls && (rc = pd_tls_write(peer->tls, data, len, err)) < 0)
        return rc;
    rc = peer->tls ? flush_tls(peer) : send_all(peer, data, len);
    if (rc < 0)
        return pd_err_set(err, PD_UNAVAILABLE, "write to %s: %s", peer->name, uv_strerror(rc));
    return 0;
}

/* ---- receiving ---- */

static void opened(struct pd_peer *peer)
{
    peer->phase = OPEN;
    uv_timer_stop(&peer->timer);
    peer->events->open(peer->arg);
}

static void shake_hands(struct pd_peer *peer)
{
    struct pd_err err;
    int rc = pd_tls_step(peer->tls, &err), sent = flush_tls(peer); /* an alert, too */

    if (rc < 0) {
        pd_err_wrap(&err, "%s at %.200s", peer->name, peer->host);
        end(peer, &err);
    } else if (sent < 0) {
        end_os(peer, sent, "write to");
    } else if (pd_tls_is_open(peer->tls)) {
        opened(peer);
    }
}

static void take_protected(struct pd_peer *peer, const char *data, size_t len)
{
    struct pd_err err;
    int count = 0;

    pd_tls_feed(peer->tls, data, len);
    if (peer->phase == SHAKING_HANDS)
        shake_hands(peer);
    while (peer->phase == OPEN &&
           (count = pd_tls_read(peer->tls, peer->plain, PD_TLS_RECORD_BYTES_MAX, &err)) > 0)
        peer->events->data(peer->arg, peer->plain, (size_t)count);
    if (count < 0) {
        pd_err_wrap(&err, "%s at %.200s", peer->name, peer->host);
        end(peer, &err);
    } else if (peer->phase == OPEN) {
        int sent = flush_tls(peer); /* what reading gave cause to say: a key update */
        if (sent < 0)
            end_os(peer, sent, "write to");
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct pd_peer *peer = handle->data;

    (void)suggested;
    *buf = uv_buf_init(peer->buffer, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct pd_peer *peer = stream->data;

    if (count < 0)
        end_os(peer, (int)count, "connection ended by");
    else if (count > 0 && peer->tls)
        take_protected(peer, buf->base, (size_t)count);
    else if (count > 0 && peer->phase == OPEN)
        peer->events->data(peer->arg, buf->base, (size_t)count);
}

/* ---- connecting ---- */

static void on_candidate_closed(uv_handle_t *handle);

static void on_connected(uv_connect_t *connect, int status)
{
    struct pd_peer *peer = connect->data;
    int rc;

    if (peer->phase != CONNECTING)
        return;
    if (status < 0 && peer->candidate) { /* "localhost" may be two addresses, one of them deaf */
        uv_close((uv_handle_t *)&peer->socket.any, on_candidate_closed);
        return;
    }
    rc = status < 0 ? status : uv_read_start(&peer->socket.any, on_alloc, on_read);
    if (rc < 0) {
        end_os(peer, rc, "connect to");
    } else if (peer->tls) {
        peer->phase = SHAKING_HANDS;
        shake_hands(peer);
    } else {
        opened(peer);
    }
}

static void took_socket(struct pd_peer *peer)
{
    peer->socket.any.data = peer;
    peer->has_socket = true;
    peer->handles++;
    peer->connect.data = peer;
}

static void connect_next(struct pd_peer *peer)
{
    struct addrinfo *address = peer->candidate;
    int rc;

    peer->candidate = address->ai_next;
    uv_tcp_init(peer->timer.loop, &peer->socket.tcp);
    took_socket(peer);
    uv_tcp_nodelay(&peer->socket.tcp, 1);
    uv_tcp_keepalive(&peer->socket.tcp, 1, KEEPALIVE_S);
    rc = uv_tcp_connect(&peer->connect, &peer->socket.tcp, address->ai_addr, on_connected);
    if (rc < 0)
        end_os(peer, rc, "connect to");
}

static void on_candidate_closed(uv_handle_t *handle)
{
    struct pd_peer *peer = handle->data;

    peer->handles--;
    peer->has_socket = false;
    if (peer->phase == CONNECTING)
        connect_next(peer);
    else
        maybe_closed(peer);
}

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *found)
{
    struct pd_peer *peer = resolve->data;

    peer->resolving = false;
    peer->found = peer->candidate = found;
    if (peer->phase == CLOSING)
        maybe_closed(peer);
    else if (peer->phase == CONNECTING && status < 0)
        end_os(peer, status, "find the address of");
    else if (peer->phase == CONNECTING)
        connect_next(peer);
}

static void connect_tcp(struct pd_peer *peer)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    char port[16];
    int rc;

    snprintf(port, sizeof port, "%d", peer->port);
    peer->resolve.data = peer;
    rc = uv_getaddrinfo(peer->timer.loop, &peer->resolve, on_resolved, peer->host, port, &hints);
    peer->resolving = rc == 0;
    if (rc < 0)
        end_os(peer, rc, "find the address of");
}

static void connect_unix(struct pd_peer *peer)
{
    uv_pipe_init(peer->timer.loop, &peer->socket.pipe, 0);
    took_socket(peer);
    uv_pipe_connect(&peer->connect, &peer->socket.pipe, peer->socket_path, on_connected);
}

static void on_deadline(uv_timer_t *timer)
{
    struct pd_peer *peer = timer->data;
    struct pd_err err;

    pd_err_set(&err, PD_TIMEOUT, "no connection to %s at %.200s within %d ms", peer->name,
               peer->socket_path ? peer->socket_path : peer->host, peer->connect_timeout_ms);
    end(peer, &err);
}

static void on_begin(uv_timer_t *timer)
{
    struct pd_peer *peer = timer->data;

    if (peer->early.kind) {
        end(peer, &peer->early);
        return;
    }
    peer->phase = CONNECTING;
    uv_timer_start(timer, on_deadline, (uint64_t)peer->connect_timeout_ms, 0);
    if (peer->socket_path)
        connect_unix(peer);
    else
        connect_tcp(peer);
}

static char *copy_text(const char *text)
{
    return text ? pd_strdup(text) : NULL;
}

struct pd_peer *pd_peer_open(uv_loop_t *loop, const struct pd_peer_config *config,
                             const struct pd_peer_events *events, void *arg)
{
    struct pd_peer *peer = PD_NEW(struct pd_peer);

    peer->events = events;
    peer->arg = arg;
    peer->name = pd_strdup(config->name);
    peer->socket_path = copy_text(config->socket_path);
    peer->host = copy_text(config->host);
    peer->port = config->port;
    peer->connect_timeout_ms = config->connect_timeout_ms;
    peer->unsent_max = config->unsent_bytes_max;
    peer->buffer = pd_realloc(NULL, 1, READ_BYTES);
    if (config->tls && pd_tls_new(config->tls, &peer->tls, &peer->early) == 0)
        peer->plain = pd_realloc(NULL, 1, PD_TLS_RECORD_BYTES_MAX);
    uv_timer_init(loop, &peer->timer);
    peer->timer.data = peer;
    peer->handles = 1;
    uv_timer_start(&peer->timer, on_begin, 0, 0);
    return peer;
}

void pd_peer_close(struct pd_peer *peer, void (*closed)(void *arg), void *arg)
{
    assert(peer->phase != CLOSING);
    peer->phase = CLOSING;
    peer->closed = closed;
    peer->closed_arg = arg;
    if (peer->resolving)
        uv_cancel((uv_req_t *)&peer->resolve);
    uv_close((uv_handle_t *)&peer->timer, on_handle_closed);
    if (peer->has_socket && !uv_is_closing((uv_handle_t *)&peer->socket.any))
        uv_close((uv_handle_t *)&peer->socket.any, on_handle_closed);
}
