/* Theory of operation. One object is first an attach under way (resolve,
 * connect, request, head of the answer), then an open stream, then closes:
 * `phase` says which. Its handles are the connection and one timer, which is
 * the attach's deadline first and afterwards the way to deliver, from the top
 * of the loop, what came while the reader was off.
 *
 * This is the path of every run's bytes: what the engine sends is read into
 * one buffer and handed on from there, with the 8-byte frame headers taken out
 * and nothing copied; a write is one system call unless the socket is full. */
#include "controller/docker_stream.h"

#include <assert.h>
#include <string.h>
#include <sys/queue.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/time.h"
#include "common/tls.h"
#include "controller/docker_http.h"
#include "controller/docker_mux.h"

#define READ_BYTES (32u * 1024 + PD_DOCKER_MUX_HEADER_BYTES) /* one full frame of the engine's */
/* Of what came while nobody reads: one read's worth, a TLS record that was not
 * whole before it, and an answer's head. */
#define HELD_BYTES_MAX (READ_BYTES + PD_TLS_RECORD_BYTES_MAX + PD_DOCKER_HEAD_BYTES_MAX)
#define KEEPALIVE_S 15
#define DIAGNOSTIC_BYTES_MAX 400
#define DIAGNOSTICS_PER_WINDOW 20
#define DIAGNOSTICS_WINDOW_MS 10000

enum phase {
    PHASE_CONNECTING, /* up to the request being sent */
    PHASE_HEAD,       /* the answer's head is awaited */
    PHASE_OPEN,       /* handed to its user */
    PHASE_ENDED,      /* the peer ended or failed; the user has yet to close */
    PHASE_CLOSING,
};

struct pd_docker_attach {
    struct pd_stream stream; /* what the user sees */
    union {
        uv_stream_t any;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } connection;
    uv_timer_t timer;
    union {
        uv_connect_t connect;
        uv_getaddrinfo_t resolve;
    } request;
    bool resolving;
    struct addrinfo *found;     /* tcp: all of the host's addresses */
    struct addrinfo *candidate; /* the one to be tried next */
    int handles;                /* not yet closed */
    enum phase phase;
    bool reading;    /* the user wants data */
    bool delivering; /* on_data is on the stack */
    size_t queued_bytes;
    struct pd_tls *tls; /* NULL: the connection is plain */
    char *plain;        /* PD_TLS_RECORD_BYTES_MAX, with tls */
    struct pd_docker_mux mux;
    struct pd_buf held; /* the head while it comes; then what came while not reading */
    char *buffer;       /* READ_BYTES */
    char *hello;        /* the request's text */
    char *socket_path;
    char *host;
    int port;
    char *name;
    pd_docker_attach_cb cb; /* NULL once it was called */
    void *arg;
    struct pd_err failure; /* what cb will get */
    void (*closed)(void *arg);
    void *closed_arg;
    struct {
        struct pd_time since;
        unsigned count;
    } diagnostics; /* rate limit */
};

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

static void maybe_closed(struct pd_docker_attach *attach)
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
    maybe_closed(attach);
}

static void close_handles(struct pd_docker_attach *attach)
{
    assert(attach->phase != PHASE_CLOSING);
    attach->phase = PHASE_CLOSING;
    if (attach->resolving)
        uv_cancel((uv_req_t *)&attach->request.resolve);
    uv_close((uv_handle_t *)&attach->timer, on_handle_closed);
    if (attach->connection.any.data && !uv_is_closing((uv_handle_t *)&attach->connection.any))
        uv_close((uv_handle_t *)&attach->connection.any, on_handle_closed);
}

/* Before it was open: give up; cb is told when all is closed. */
static void fail(struct pd_docker_attach *attach, const struct pd_err *err)
{
    if (attach->phase >= PHASE_OPEN)
        return;
    attach->failure = *err;
    close_handles(attach);
}

static void fail_os(struct pd_docker_attach *attach, int rc, const char *what)
{
    struct pd_err err;

    pd_err_set(&err, PD_UNAVAILABLE, "%s: %s", what, uv_strerror(rc));
    fail(attach, &err);
}

/* Once open: tell the user, once; they close. */
static void end(struct pd_docker_attach *attach, const struct pd_err *err)
{
    if (attach->phase != PHASE_OPEN)
        return;
    attach->phase = PHASE_ENDED;
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
static void hold(struct pd_docker_attach *attach, const unsigned char *data, size_t len)
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
    while (attach->phase == PHASE_OPEN && attach->reading &&
           (rc = pd_docker_mux_next(&attach->mux, &data, &len, &piece, &err)) > 0) {
        if (piece.channel == PD_DOCKER_STDOUT)
            attach->stream.on_data(attach->stream.arg, piece.data, piece.len);
        else
            log_diagnostic(attach, &piece);
    }
    attach->delivering = false;
    if (rc < 0)
        end(attach, &err);
    else if (attach->phase == PHASE_OPEN && len > 0)
        hold(attach, data, len);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct pd_docker_attach *attach = handle->data;

    (void)suggested;
    *buf = uv_buf_init(attach->buffer, READ_BYTES);
}

/* However far it has come: who waits for it is told. */
static void broke(struct pd_docker_attach *attach, const struct pd_err *err)
{
    if (attach->phase == PHASE_OPEN)
        end(attach, err);
    else
        fail(attach, err);
}

static void take_head(struct pd_docker_attach *attach, const char *data, size_t len);
static void take_protected(struct pd_docker_attach *attach, const char *data, size_t len);

static void take_plain(struct pd_docker_attach *attach, const char *data, size_t len)
{
    if (attach->phase == PHASE_HEAD)
        take_head(attach, data, len);
    else if (attach->phase == PHASE_OPEN)
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

    if (attach->phase != PHASE_OPEN || !attach->reading)
        return;
    pd_buf_init(&attach->held, held.max);
    deliver(attach, (const unsigned char *)held.data, held.len);
    pd_buf_fini(&held);
    if (attach->phase != PHASE_OPEN || !attach->reading)
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
    if (status >= 0 || attach->phase == PHASE_CLOSING)
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

    attach->phase = PHASE_HEAD;
    if (transmit(attach, attach->hello, strlen(attach->hello), &err) < 0)
        fail(attach, &err);
}

/* false: it has failed, and that was told. */
static bool shake_hands(struct pd_docker_attach *attach)
{
    struct pd_err err;
    int rc = pd_tls_step(attach->tls, &err), sent = flush(attach); /* an alert, too */

    if (rc < 0)
        fail(attach, &err);
    else if (sent < 0)
        fail_os(attach, sent, "write to the engine");
    else if (pd_tls_is_open(attach->tls))
        say_hello(attach);
    return rc == 0 && sent == 0 && attach->phase != PHASE_CLOSING;
}

static void take_protected(struct pd_docker_attach *attach, const char *data, size_t len)
{
    struct pd_err err;
    int count = 0;

    pd_tls_feed(attach->tls, data, len);
    if (attach->phase == PHASE_CONNECTING && !shake_hands(attach))
        return;
    while ((attach->phase == PHASE_HEAD || attach->phase == PHASE_OPEN) &&
           (count = pd_tls_read(attach->tls, attach->plain, PD_TLS_RECORD_BYTES_MAX, &err)) > 0)
        take_plain(attach, attach->plain, (size_t)count);
    if (count < 0)
        broke(attach, &err);
}

/* ---- what the user calls ---- */

static int stream_write(struct pd_stream *stream, const void *data, size_t len, struct pd_err *err)
{
    struct pd_docker_attach *attach = attach_of(stream);

    if (attach->phase != PHASE_OPEN)
        return pd_err_set(err, PD_UNAVAILABLE, "the stream has ended");
    if (len > PD_STREAM_QUEUE_BYTES_MAX - attach->queued_bytes)
        return pd_err_set(err, PD_LIMIT, "%zu bytes wait to be sent already", attach->queued_bytes);
    return len > 0 ? transmit(attach, data, len, err) : 0;
}

static void stream_read(struct pd_stream *stream, bool on)
{
    struct pd_docker_attach *attach = attach_of(stream);

    if (attach->phase != PHASE_OPEN || attach->reading == on)
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

    if (attach->phase == PHASE_CLOSING)
        return;
    attach->closed = closed;
    attach->closed_arg = arg;
    close_handles(attach);
}

static const struct pd_stream_ops stream_ops = {
    .write = stream_write,
    .read = stream_read,
    .close = stream_close,
};

/* ---- attaching ---- */

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

    attach->phase = PHASE_OPEN;
    attach->cb = NULL;
    uv_timer_stop(&attach->timer);
    uv_read_stop(&attach->connection.any); /* until the user wants it */
    cb(attach->arg, NULL, &attach->stream);
}

static void take_head(struct pd_docker_attach *attach, const char *data, size_t len)
{
    struct pd_docker_head head;
    struct pd_err err;

    hold(attach, (const unsigned char *)data, len);
    if (pd_docker_head_parse(attach->held.data, attach->held.len, &head, &err) < 0) {
        err.kind = PD_UNAVAILABLE; /* whatever this is, it is not the engine we need */
        fail(attach, &err);
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
    fail(attach, &err);
}

static void on_candidate_closed(uv_handle_t *handle);

static void on_connected(uv_connect_t *connect, int status)
{
    struct pd_docker_attach *attach = connect->data;
    int rc;

    if (attach->phase != PHASE_CONNECTING)
        return;
    if (status < 0 && attach->candidate) { /* "localhost" may be two addresses, one of them deaf */
        uv_close((uv_handle_t *)&attach->connection.any, on_candidate_closed);
        return;
    }
    if (status < 0) {
        fail_os(attach, status, "connect to the engine");
        return;
    }
    rc = uv_read_start(&attach->connection.any, on_alloc, on_read);
    if (rc < 0)
        fail_os(attach, rc, "read from the engine");
    else if (attach->tls)
        shake_hands(attach);
    else
        say_hello(attach);
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
        fail_os(attach, rc, "connect to the engine");
}

static void on_candidate_closed(uv_handle_t *handle)
{
    struct pd_docker_attach *attach = handle->data;

    attach->handles--;
    attach->connection.any.data = NULL;
    if (attach->phase == PHASE_CLOSING)
        maybe_closed(attach);
    else
        connect_next(attach);
}

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *found)
{
    struct pd_docker_attach *attach = resolve->data;

    attach->resolving = false;
    attach->found = attach->candidate = found;
    if (attach->phase == PHASE_CLOSING)
        maybe_closed(attach);
    else if (status < 0)
        fail_os(attach, status, "find the engine's address");
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
        fail_os(attach, rc, "find the engine's address");
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
    fail(timer->data, &err);
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

    fail(attach, &err);
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

    attach->stream.ops = &stream_ops;
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
    attach->buffer = pd_realloc(NULL, 1, READ_BYTES);
    pd_buf_init(&attach->held, HELD_BYTES_MAX);
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
    fail(attach, &err);
}
