#include "api/server.h"

#include <assert.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/conn.h"
#include "api/listener.h"
#include "common/mem.h"

#define FILES_RESERVED 512 /* descriptors for everything but connections */
#define PAUSED_MS 1000

const struct pd_server_limits pd_server_limits_default = {
    .connections_max = 16384,
    .bodies_bytes = 256u * 1024 * 1024,
    .head_ms = 10000,
    .idle_ms = 75000,
    .body_idle_ms = 10000,
    .body_total_ms = 60000,
    .write_ms = 30000,
    .linger_ms = 2000,
};

static void refuse_connection(int fd)
{
    static const char text[] =
        "HTTP/1.1 503 Service Unavailable\r\n"
        "Retry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

    (void)!send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

/* Whoever says nothing for longest makes room for one who may. */
static bool make_room(struct pd_server *server)
{
    struct pd_deadline *idle = pd_deadline_first(&server->deadlines, PD_CLOCK_IDLE);

    if (!idle)
        idle = pd_deadline_first(&server->deadlines, PD_CLOCK_HEAD);
    if (idle)
        pd_conn_close(PD_CONTAINER_OF(idle, struct pd_exchange, deadline));
    return idle != NULL;
}

static void on_accept(void *arg, int fd)
{
    pd_server_adopt(arg, fd);
}

void pd_server_adopt(struct pd_server *server, int fd)
{
    if (server->n_open < server->conns_max || make_room(server))
        pd_conn_open(server, fd);
    else
        refuse_connection(fd);
}

static void on_deadline(void *arg, struct pd_deadline *deadline)
{
    (void)arg;
    pd_conn_on_deadline(PD_CONTAINER_OF(deadline, struct pd_exchange, deadline),
                        (enum pd_conn_clock)deadline->kind);
}

/* As many as allowed, but never so many that nothing is left for sandboxes. */
static size_t connections_max(int wanted)
{
    long files = sysconf(_SC_OPEN_MAX);

    if (files > 0 && files - FILES_RESERVED < wanted)
        return (size_t)(files > 2 * FILES_RESERVED ? files - FILES_RESERVED : files / 2);
    return (size_t)wanted;
}

static void open_deadlines(struct pd_server *server)
{
    const struct pd_server_limits *limits = &server->limits;
    const int64_t duration_ms[PD_CLOCKS] = {
        [PD_CLOCK_HEAD] = limits->head_ms,      [PD_CLOCK_IDLE] = limits->idle_ms,
        [PD_CLOCK_BODY] = limits->body_idle_ms, [PD_CLOCK_WRITE] = limits->write_ms,
        [PD_CLOCK_LINGER] = limits->linger_ms,  [PD_CLOCK_PAUSED] = PAUSED_MS,
    };

    pd_deadlines_init(&server->deadlines, server->loop, duration_ms, PD_CLOCKS, on_deadline,
                      server);
}

int pd_server_open(const struct pd_server_config *config, struct pd_server **ret_server,
                   struct pd_err *err)
{
    struct pd_server *server = PD_NEW(struct pd_server);
    int rc;

    server->loop = config->loop;
    server->limits = *config->limits;
    server->on_request = config->on_request;
    server->on_answer = config->on_answer;
    server->arg = config->arg;
    rc = pd_listener_open(config->loop, config->address, config->port, on_accept, server,
                          &server->listener, err);
    if (rc < 0) {
        free(server);
        return rc;
    }
    server->conns_max = connections_max(config->limits->connections_max);
    open_deadlines(server);
    *ret_server = server;
    return 0;
}

int pd_server_port(const struct pd_server *server)
{
    return pd_listener_port(server->listener);
}

size_t pd_server_connections(const struct pd_server *server)
{
    return server->n_conns;
}

size_t pd_server_writing(const struct pd_server *server)
{
    return server->n_writing;
}

size_t pd_server_streaming(const struct pd_server *server)
{
    return server->n_streaming;
}

/* ---- the end ---- */

void pd_server_drain(struct pd_server *server)
{
    for (struct pd_exchange *conn = server->conns; conn; conn = conn->next)
        pd_flow_drain(conn);
}

static void close_step(struct pd_server *server)
{
    void (*closed)(void *arg) = server->closed;
    void *arg = server->closed_arg;

    if (!server->closing || server->n_conns > 0 || server->open_parts > 0)
        return;
    free(server);
    if (closed)
        closed(arg);
}

void pd_server_forget(struct pd_server *server, struct pd_exchange *conn)
{
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        server->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    server->n_conns--;
    close_step(server);
}

static void on_listener_closed(void *arg)
{
    struct pd_server *server = arg;

    server->open_parts--;
    close_step(server);
}

static void on_deadlines_closed(uv_handle_t *handle)
{
    struct pd_deadlines *deadlines = handle->data;
    struct pd_server *server = PD_CONTAINER_OF(deadlines, struct pd_server, deadlines);

    server->open_parts--;
    close_step(server);
}

void pd_server_close(struct pd_server *server, void (*closed)(void *arg), void *arg)
{
    assert(!server->closing);
    server->closing = true;
    server->closed = closed;
    server->closed_arg = arg;
    server->open_parts = 2;
    for (struct pd_exchange *conn = server->conns; conn; conn = conn->next)
        pd_conn_close(conn);
    pd_listener_close(server->listener, on_listener_closed, server);
    pd_deadlines_close(&server->deadlines, on_deadlines_closed);
}
