#include "tests/lib/http_peer.h"

#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "common/buf.h"
#include "common/mem.h"

struct pd_peer_connection {
    LIST_ENTRY(pd_peer_connection) entry;
    union {
        uv_stream_t any;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } handle;
    struct pd_http_peer *peer;
    struct pd_buf in;
    char buffer[65536];
};

struct pd_http_peer {
    union {
        uv_stream_t any;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } listener;
    uv_loop_t *loop;
    bool is_pipe, closing;
    unsigned accepted, living;
    LIST_HEAD(, pd_peer_connection) connections;
    pd_peer_cb cb;
    void *arg;
};

struct say {
    uv_write_t req;
    char data[];
};

static void maybe_free(struct pd_http_peer *peer)
{
    if (peer->closing && peer->living == 0 && !peer->listener.any.data)
        free(peer);
}

static void on_connection_closed(uv_handle_t *handle)
{
    struct pd_peer_connection *connection = handle->data;
    struct pd_http_peer *peer = connection->peer;

    LIST_REMOVE(connection, entry);
    peer->living--;
    pd_buf_fini(&connection->in);
    free(connection);
    maybe_free(peer);
}

static void end_now(struct pd_peer_connection *connection)
{
    if (!uv_is_closing((uv_handle_t *)&connection->handle.any))
        uv_close((uv_handle_t *)&connection->handle.any, on_connection_closed);
}

static void on_said(uv_write_t *req, int status)
{
    (void)status;
    free(PD_CONTAINER_OF(req, struct say, req));
}

void pd_peer_say_bytes(struct pd_peer_connection *connection, const void *data, size_t len)
{
    struct say *say = pd_calloc(1, sizeof *say + len);
    uv_buf_t buf = uv_buf_init(say->data, (unsigned)len);

    memcpy(say->data, data, len);
    if (uv_write(&say->req, &connection->handle.any, &buf, 1, on_said) < 0)
        free(say);
}

void pd_peer_say(struct pd_peer_connection *connection, const char *text)
{
    pd_peer_say_bytes(connection, text, strlen(text));
}

static void on_shut(uv_shutdown_t *req, int status)
{
    struct pd_peer_connection *connection = req->data;

    free(req);
    if (status != UV_ECANCELED)
        end_now(connection);
}

void pd_peer_end(struct pd_peer_connection *connection)
{
    uv_shutdown_t *req = PD_NEW(uv_shutdown_t);

    req->data = connection;
    if (uv_shutdown(req, &connection->handle.any, on_shut) < 0) {
        free(req);
        end_now(connection);
    }
}

/* The length of the whole request at the start of the buffer; 0: not there yet. */
static size_t request_len(const struct pd_buf *in)
{
    const char *end = in->data ? strstr(in->data, "\r\n\r\n") : NULL;
    const char *length = in->data ? strcasestr(in->data, "\r\ncontent-length:") : NULL;
    size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    size_t len = end ? (size_t)(end + 4 - in->data) + body : 0;

    return len <= in->len ? len : 0;
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct pd_peer_connection *connection = stream->data;
    size_t len;

    if (count < 0) {
        end_now(connection);
        return;
    }
    if (pd_buf_add(&connection->in, buf->base, (size_t)count, NULL) < 0)
        abort();
    while ((len = request_len(&connection->in)) > 0) {
        pd_autofree char *request = pd_strndup(connection->in.data, len);
        pd_buf_consume(&connection->in, len);
        connection->peer->cb(connection->peer->arg, connection, request);
        if (uv_is_closing((uv_handle_t *)stream))
            return;
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct pd_peer_connection *connection = handle->data;

    (void)suggested;
    *buf = uv_buf_init(connection->buffer, sizeof connection->buffer);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct pd_http_peer *peer = listener->data;
    struct pd_peer_connection *connection = PD_NEW(struct pd_peer_connection);

    if (peer->is_pipe)
        uv_pipe_init(peer->loop, &connection->handle.pipe, 0);
    else
        uv_tcp_init(peer->loop, &connection->handle.tcp);
    if (status < 0 || uv_accept(listener, &connection->handle.any) < 0)
        abort();
    connection->handle.any.data = connection;
    connection->peer = peer;
    pd_buf_init(&connection->in, 64 << 20);
    LIST_INSERT_HEAD(&peer->connections, connection, entry);
    peer->accepted++;
    peer->living++;
    uv_read_start(&connection->handle.any, on_alloc, on_read);
}

struct pd_http_peer *pd_http_peer_open(uv_loop_t *loop, const char *path, pd_peer_cb cb, void *arg)
{
    struct pd_http_peer *peer = PD_NEW(struct pd_http_peer);
    struct sockaddr_in address;
    int rc;

    peer->loop = loop;
    peer->is_pipe = path != NULL;
    peer->cb = cb;
    peer->arg = arg;
    LIST_INIT(&peer->connections);
    if (path) {
        uv_pipe_init(loop, &peer->listener.pipe, 0);
        rc = uv_pipe_bind(&peer->listener.pipe, path);
    } else {
        uv_tcp_init(loop, &peer->listener.tcp);
        uv_ip4_addr("127.0.0.1", 0, &address);
        rc = uv_tcp_bind(&peer->listener.tcp, (struct sockaddr *)&address, 0);
    }
    peer->listener.any.data = peer;
    if (rc < 0 || uv_listen(&peer->listener.any, 64, on_connection) < 0)
        abort();
    return peer;
}

int pd_http_peer_port(const struct pd_http_peer *peer)
{
    struct sockaddr_in address;
    int len = sizeof address;

    uv_tcp_getsockname(&peer->listener.tcp, (struct sockaddr *)&address, &len);
    return ntohs(address.sin_port);
}

unsigned pd_http_peer_connections(const struct pd_http_peer *peer)
{
    return peer->accepted;
}

unsigned pd_http_peer_living(const struct pd_http_peer *peer)
{
    return peer->living;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct pd_http_peer *peer = handle->data;

    handle->data = NULL;
    maybe_free(peer);
}

void pd_http_peer_close(struct pd_http_peer *peer)
{
    struct pd_peer_connection *connection;

    peer->closing = true;
    LIST_FOREACH(connection, &peer->connections, entry)
    end_now(connection);
    uv_close((uv_handle_t *)&peer->listener.any, on_listener_closed);
}
