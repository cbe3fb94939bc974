/* Theory of operation. One object is first an attach under way (resolve,
 * connect, request, head of the answer), then an open stream (docker_stream.c),
 * then closes: `phase` says which. Its handles are the connection and one timer,
 * which is the attach's deadline first and afterwards the way to deliver, from
 * the top of the loop, what came while the reader was off. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/mem.h"
#include "controller/docker_attach_state.h"

#define KEEPALIVE_S 15

static int kind_of_status(int status)
{
    switch (status) {
    case 404:
        return PD_NOT_FOUND;
    case 409:
        return PD_CONFLICT;
    case 400:
        return PD_INVALID;
    default:
        return PD_UNAVAILABLE;
    }
}

static void opened(struct pd_docker_attach *attach)
{
    pd_docker_attach_cb cb = attach->cb;

    attach->phase = PD_ATTACH_OPEN;
    attach->cb = NULL;
    uv_timer_stop(&attach->timer);
    uv_read_stop(&attach->connection.any); /* until the user wants it */
    cb(attach->arg, NULL, &attach->stream);
}

void pd_docker_attach_take_head(struct pd_docker_attach *attach, const char *data, size_t len)
{
    struct pd_docker_head head;
    struct pd_err err;

    pd_docker_stream_hold(attach, (const unsigned char *)data, len);
    if (pd_docker_head_parse(attach->held.data, attach->held.len, &head, &err) < 0) {
        err.kind = PD_UNAVAILABLE; /* whatever this is, it is not the engine we need */
        pd_docker_attach_fail(attach, &err);
        return;
    }
    if (head.len == 0)
        return;
    pd_buf_consume(&attach->held, head.len);
    if (pd_docker_head_is_stream(&head)) {
        opened(attach);
        return;
    }
    pd_err_set(&err, kind_of_status(head.status), "the engine answers %d: %.*s", head.status,
               (int)(attach->held.len < 300 ? attach->held.len : 300),
               attach->held.data ? attach->held.data : "");
    pd_docker_attach_fail(attach, &err);
}

static void on_candidate_closed(uv_handle_t *handle);

static void on_connected(uv_connect_t *connect, int status)
{
    struct pd_docker_attach *attach = connect->data;

    if (attach->phase != PD_ATTACH_CONNECTING)
        return;
    if (status < 0 && attach->candidate) { /* "localhost" may be two addresses, one of them deaf */
        uv_close((uv_handle_t *)&attach->connection.any, on_candidate_closed);
        return;
    }
    if (status < 0) {
        pd_docker_attach_fail_os(attach, status, "connect to the engine");
        return;
    }
    pd_docker_stream_connected(attach);
}

static void connect_next(struct pd_docker_attach *attach)
{
    struct addrinfo *address = attach->candidate;
    int rc;

    attach->candidate = address->ai_next;
    uv_tcp_init(attach->timer.loop, &attach->connection.tcp);
    uv_tcp_nodelay(&attach->connection.tcp, 1);
    uv_tcp_keepalive(&attach->connection.tcp, 1, KEEPALIVE_S);
    attach->connection.any.data = attach;
    attach->handles++;
    attach->request.connect.data = attach;
    rc = uv_tcp_connect(&attach->request.connect, &attach->connection.tcp, address->ai_addr,
                        on_connected);
    if (rc < 0)
        pd_docker_attach_fail_os(attach, rc, "connect to the engine");
}

static void on_candidate_closed(uv_handle_t *handle)
{
    struct pd_docker_attach *attach = handle->data;

    attach->handles--;
    attach->connection.any.data = NULL;
    if (attach->phase == PD_ATTACH_CLOSING)
        pd_docker_attach_maybe_closed(attach);
    else
        connect_next(attach);
}

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *found)
{
    struct pd_docker_attach *attach = resolve->data;

    attach->resolving = false;
    attach->found = attach->candidate = found;
    if (attach->phase == PD_ATTACH_CLOSING)
        pd_docker_attach_maybe_closed(attach);
    else if (status < 0)
        pd_docker_attach_fail_os(attach, status, "find the engine's address");
    else
        connect_next(attach);
}

static void connect_tcp(struct pd_docker_attach *attach)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    char port[16];
    int rc;

    snprintf(port, sizeof port, "%d", attach->port);
    attach->request.resolve.data = attach;
    rc = uv_getaddrinfo(attach->timer.loop, &attach->request.resolve, on_resolved, attach->host,
                        port, &hints);
    attach->resolving = rc == 0;
    if (rc < 0)
        pd_docker_attach_fail_os(attach, rc, "find the engine's address");
}

static void connect_unix(struct pd_docker_attach *attach)
{
    uv_pipe_init(attach->timer.loop, &attach->connection.pipe, 0);
    attach->connection.any.data = attach;
    attach->handles++;
    attach->request.connect.data = attach;
    uv_pipe_connect(&attach->request.connect, &attach->connection.pipe, attach->socket_path,
                    on_connected);
}

static void on_deadline(uv_timer_t *timer)
{
    struct pd_err err;

    pd_err_set(&err, PD_TIMEOUT, "the engine does not answer within %d s",
               PD_DOCKER_ATTACH_TIMEOUT_MS / 1000);
    pd_docker_attach_fail(timer->data, &err);
}

static void on_begin(uv_timer_t *timer)
{
    struct pd_docker_attach *attach = timer->data;

    uv_timer_start(timer, on_deadline, PD_DOCKER_ATTACH_TIMEOUT_MS, 0);
    if (attach->socket_path)
        connect_unix(attach);
    else
        connect_tcp(attach);
}

static void on_refused(uv_timer_t *timer)
{
    struct pd_docker_attach *attach = timer->data;
    struct pd_err err = attach->failure;

    pd_docker_attach_fail(attach, &err);
}

static int set_up_tls(struct pd_docker_attach *attach, const struct pd_docker_address *address)
{
    const struct pd_tls_config config = {
        .ca_file = address->tls_files.ca_file,
        .cert_file = address->tls_files.cert_file,
        .key_file = address->tls_files.key_file,
        .peer = address->host,
    };

    if (!address->tls)
        return 0;
    attach->plain = pd_realloc(NULL, 1, PD_TLS_RECORD_BYTES_MAX);
    return pd_tls_new(&config, &attach->tls, &attach->failure);
}

struct pd_docker_attach *pd_docker_attach_open(uv_loop_t *loop,
                                               const struct pd_docker_address *address,
                                               const char *path, const char *name,
                                               pd_docker_attach_cb cb, void *arg)
{
    struct pd_docker_attach *attach = PD_NEW(struct pd_docker_attach);

    attach->stream.ops = &pd_docker_stream_ops;
    attach->cb = cb;
    attach->arg = arg;
    attach->name = pd_strdup(name);
    attach->socket_path = address->socket_path ? pd_strdup(address->socket_path) : NULL;
    attach->host = address->host ? pd_strdup(address->host) : NULL;
    attach->port = address->port;
    attach->hello = pd_asprintf(
        "POST %s HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\n"
        "Upgrade: tcp\r\nContent-Length: 0\r\n\r\n",
        path);
    attach->buffer = pd_realloc(NULL, 1, PD_ATTACH_READ_BYTES);
    pd_buf_init(&attach->held, PD_ATTACH_HELD_BYTES_MAX);
    uv_timer_init(loop, &attach->timer);
    attach->timer.data = attach;
    attach->handles = 1;
    uv_timer_start(&attach->timer, set_up_tls(attach, address) < 0 ? on_refused : on_begin, 0, 0);
    return attach;
}

void pd_docker_attach_cancel(struct pd_docker_attach *attach)
{
    struct pd_err err;

    pd_err_set(&err, PD_CANCELED, "the attach was canceled");
    pd_docker_attach_fail(attach, &err);
}
