/* Theory of operation.
 *
 * A session has two ends: `outer` is the client's socket and carries protected
 * bytes, `inner` is our end of a socket pair whose other end the HTTP server
 * has, and carries plain ones. pd_tls in between does no I/O.
 *
 * Each direction has one write under way at most. What is being written was
 * taken out of where it was (`to_inner`, `to_outer`), the end that feeds it is
 * not read meanwhile: that bounds a session to about one read in either
 * direction. The only bytes that come without being asked for are TLS's own
 * answers (key updates); a peer that provokes more of them than
 * OUTER_PENDING_MAX without taking any is hung up on.
 *
 * The server hanging up is the usual end: what it said last is flushed, then
 * close_notify, then the end of the stream. The client hanging up ends both. */
#include "api/tls_listener.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/deadline.h"
#include "api/listener.h"
#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/tls.h"

#define READ_BYTES (64u * 1024)
#define OUTER_PENDING_MAX (256u * 1024)
#define INNER_PENDING_MAX (READ_BYTES + PD_TLS_RECORD_BYTES_MAX)

enum clock { CLOCK_HANDSHAKE, CLOCK_FLUSH, CLOCKS };

enum state {
    HANDSHAKE, /* nothing is handed on yet */
    OPEN,
    FLUSHING, /* the server has hung up */
    CLOSING,
};

struct session {
    struct pd_tls_listener *listener;
    struct session *next, *prev;
    enum state state;
    struct pd_deadline deadline;
    struct pd_tls *tls;
    uv_tcp_t outer;
    uv_pipe_t inner;
    bool has_inner;
    unsigned handles; /* still to be closed */
    uv_write_t outer_write, inner_write;
    uv_shutdown_t outer_shutdown;
    struct pd_buf to_outer, to_inner; /* being written; empty otherwise */
};

struct pd_tls_listener {
    uv_loop_t *loop;
    struct pd_listener *socket;
    struct pd_tls_server *server;
    struct pd_deadlines deadlines;
    struct session *sessions; /* newest first */
    size_t n_sessions;
    void (*on_accept)(void *arg, int fd);
    void *arg;
    bool closing;
    unsigned open_parts; /* listener, deadlines */
    void (*closed)(void *arg);
    void *closed_arg;
    char scratch[READ_BYTES]; /* what was just read, from whomever */
    char plain[PD_TLS_RECORD_BYTES_MAX];
};

static void close_step(struct pd_tls_listener *listener);
static void flush_outer(struct session *session);
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
static void on_outer(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void on_inner(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

/* ---- a session's end ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct session *session = handle->data;
    struct pd_tls_listener *listener = session->listener;

    if (--session->handles > 0)
        return;
    if (session->prev)
        session->prev->next = session->next;
    else
        listener->sessions = session->next;
    if (session->next)
        session->next->prev = session->prev;
    listener->n_sessions--;
    pd_tls_free(session->tls);
    pd_buf_fini(&session->to_outer);
    if (session->to_inner.data)
        pd_wipe(session->to_inner.data, session->to_inner.cap);
    pd_buf_fini(&session->to_inner);
    free(session);
    close_step(listener);
}

static void session_close(struct session *session)
{
    if (session->state == CLOSING)
        return;
    session->state = CLOSING;
    pd_deadline_clear(&session->deadline);
    session->handles = session->has_inner ? 2 : 1;
    uv_close((uv_handle_t *)&session->outer, on_handle_closed);
    if (session->has_inner)
        uv_close((uv_handle_t *)&session->inner, on_handle_closed);
}

static void read_again(struct session *session, uv_stream_t *stream, uv_read_cb cb)
{
    if (session->state != CLOSING && uv_read_start(stream, on_alloc, cb) < 0)
        session_close(session);
}

/* ---- towards the client ---- */

/* Not closed yet: a socket closed with unread bytes in it takes back what it
 * has just sent. The client's own end, or the deadline, is what closes. */
static void on_shut(uv_shutdown_t *request, int status)
{
    if (status < 0)
        session_close(request->data);
}

static void on_outer_written(uv_write_t *write, int status)
{
    struct session *session = write->data;

    pd_buf_fini(&session->to_outer);
    if (session->state == CLOSING)
        return;
    if (status < 0) {
        session_close(session);
        return;
    }
    flush_outer(session);
    if (session->to_outer.len == 0 && session->state == OPEN)
        read_again(session, (uv_stream_t *)&session->inner, on_inner);
}

/* What the socket did not take at once; nothing more is asked of the server
 * until it has. */
static void write_outer_rest(struct session *session, const char *data, size_t len)
{
    uv_buf_t buf;

    pd_buf_init(&session->to_outer, OUTER_PENDING_MAX);
    if (pd_buf_add(&session->to_outer, data, len, NULL) < 0) {
        session_close(session);
        return;
    }
    if (session->has_inner)
        uv_read_stop((uv_stream_t *)&session->inner);
    buf = uv_buf_init(session->to_outer.data, (unsigned)len);
    session->outer_write.data = session;
    if (uv_write(&session->outer_write, (uv_stream_t *)&session->outer, &buf, 1, on_outer_written) <
        0)
        session_close(session);
}

static void flush_outer(struct session *session)
{
    const char *data;
    size_t len = pd_tls_to_send(session->tls, &data);
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
    int n;

    if (session->to_outer.len > 0) { /* its end comes back here */
        if (len > OUTER_PENDING_MAX)
            session_close(session);
        return;
    }
    if (len > 0) {
        n = uv_try_write((uv_stream_t *)&session->outer, &buf, 1);
        if (n < 0 && n != UV_EAGAIN) {
            session_close(session);
            return;
        }
        if (n < 0)
            n = 0;
        if ((size_t)n < len)
            write_outer_rest(session, data + n, len - (size_t)n);
        pd_tls_sent(session->tls);
    }
    if (session->state == FLUSHING && session->to_outer.len == 0 && !session->outer_shutdown.data) {
        session->outer_shutdown.data = session;
        if (uv_shutdown(&session->outer_shutdown, (uv_stream_t *)&session->outer, on_shut) < 0)
            session_close(session);
    }
}

/* The server hung up: what it said goes out, then the end. */
static void begin_flush(struct session *session)
{
    session->state = FLUSHING;
    uv_read_stop((uv_stream_t *)&session->inner);
    uv_read_start((uv_stream_t *)&session->outer, on_alloc, on_outer); /* to throw away */
    pd_tls_end(session->tls);
    pd_deadline_set(&session->listener->deadlines, &session->deadline, CLOCK_FLUSH);
    flush_outer(session);
}

static void on_inner(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct session *session = stream->data;

    if (n == UV_EOF) {
        begin_flush(session);
    } else if (n < 0) {
        session_close(session);
    } else if (n > 0) {
        if (pd_tls_write(session->tls, buf->base, (size_t)n, NULL) < 0)
            session_close(session);
        else
            flush_outer(session);
    }
}

/* ---- towards the server ---- */

/* 0 when there was nothing to hand on, 1 when all of it went, -1 when the
 * server has to take its time or the session is over. */
static int pump_inner(struct session *session);

static void on_inner_written(uv_write_t *write, int status)
{
    struct session *session = write->data;

    pd_buf_fini(&session->to_inner);
    if (session->state != OPEN)
        return;
    if (status < 0) {
        session_close(session);
        return;
    }
    while (pump_inner(session) > 0)
        ;
    if (session->state == OPEN && session->to_inner.len == 0)
        read_again(session, (uv_stream_t *)&session->outer, on_outer);
}

static int write_inner(struct session *session, const char *data, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
    int n = uv_try_write((uv_stream_t *)&session->inner, &buf, 1);

    if (n == (int)len)
        return 1;
    if (n < 0 && n != UV_EAGAIN) {
        session_close(session);
        return -1;
    }
    if (n < 0)
        n = 0;
    uv_read_stop((uv_stream_t *)&session->outer);
    pd_buf_init(&session->to_inner, INNER_PENDING_MAX);
    if (pd_buf_add(&session->to_inner, data + n, len - (size_t)n, NULL) < 0)
        abort(); /* one record at most */
    buf = uv_buf_init(session->to_inner.data, (unsigned)session->to_inner.len);
    session->inner_write.data = session;
    if (uv_write(&session->inner_write, (uv_stream_t *)&session->inner, &buf, 1, on_inner_written) <
        0)
        session_close(session);
    return -1;
}

static int pump_inner(struct session *session)
{
    char *plain = session->listener->plain;
    int n = pd_tls_read(session->tls, plain, sizeof session->listener->plain, NULL);

    if (n < 0)
        session_close(session);
    return n > 0 ? write_inner(session, plain, (size_t)n) : n;
}

/* ---- the handshake ---- */

static int hand_on(struct session *session)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0) {
        pd_log(PD_LOG_WARN, "tls", "a client was refused", "err", strerror(errno), NULL);
        return -1;
    }
    uv_pipe_init(session->listener->loop, &session->inner, 0);
    session->inner.data = session;
    session->has_inner = true;
    if (uv_pipe_open(&session->inner, ends[0]) < 0) {
        close(ends[0]);
        close(ends[1]);
        return -1;
    }
    session->state = OPEN;
    pd_deadline_clear(&session->deadline);
    session->listener->on_accept(session->listener->arg, ends[1]);
    read_again(session, (uv_stream_t *)&session->inner, on_inner);
    return session->state == OPEN ? 0 : -1;
}

static void step_handshake(struct session *session)
{
    struct pd_err err;
    int rc = pd_tls_step(session->tls, &err);

    flush_outer(session); /* an alert, too */
    if (session->state != HANDSHAKE)
        return;
    if (rc < 0) {
        pd_log(PD_LOG_DEBUG, "tls", "a handshake failed", "err", err.msg, NULL);
        session_close(session);
    } else if (pd_tls_is_open(session->tls) && hand_on(session) < 0) {
        session_close(session);
    }
}

static void on_outer(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct session *session = stream->data;

    if (n < 0) {
        session_close(session);
        return;
    }
    if (n == 0 || session->state == FLUSHING)
        return;
    pd_tls_feed(session->tls, buf->base, (size_t)n);
    if (session->state == HANDSHAKE)
        step_handshake(session);
    while (session->state == OPEN && session->to_inner.len == 0 && pump_inner(session) > 0)
        ;
    if (session->state == OPEN)
        flush_outer(session);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct session *session = handle->data;

    (void)suggested;
    *buf = uv_buf_init(session->listener->scratch, sizeof session->listener->scratch);
}

/* ---- coming and going ---- */

static bool make_room(struct pd_tls_listener *listener)
{
    struct pd_deadline *oldest = pd_deadline_first(&listener->deadlines, CLOCK_HANDSHAKE);

    if (oldest)
        session_close(PD_CONTAINER_OF(oldest, struct session, deadline));
    return oldest != NULL;
}

static void on_accept(void *arg, int fd)
{
    struct pd_tls_listener *listener = arg;
    struct session *session;

    if (listener->n_sessions >= PD_TLS_SESSIONS_MAX && !make_room(listener)) {
        close(fd);
        return;
    }
    session = PD_NEW(struct session);
    session->listener = listener;
    session->next = listener->sessions;
    if (session->next)
        session->next->prev = session;
    listener->sessions = session;
    listener->n_sessions++;
    session->tls = pd_tls_accept(listener->server);
    uv_tcp_init(listener->loop, &session->outer);
    session->outer.data = session;
    if (uv_tcp_open(&session->outer, fd) < 0) {
        close(fd);
        session_close(session);
        return;
    }
    pd_deadline_set(&listener->deadlines, &session->deadline, CLOCK_HANDSHAKE);
    read_again(session, (uv_stream_t *)&session->outer, on_outer);
}

static void on_deadline(void *arg, struct pd_deadline *deadline)
{
    (void)arg;
    session_close(PD_CONTAINER_OF(deadline, struct session, deadline));
}

int pd_tls_listener_open(const struct pd_tls_listener_config *config,
                         struct pd_tls_listener **ret_listener, struct pd_err *err)
{
    static const int64_t duration_ms[CLOCKS] = {
        [CLOCK_HANDSHAKE] = PD_TLS_HANDSHAKE_MS, [CLOCK_FLUSH] = PD_TLS_FLUSH_MS};
    struct pd_tls_listener *listener = PD_NEW(struct pd_tls_listener);
    int rc;

    listener->loop = config->loop;
    listener->on_accept = config->on_accept;
    listener->arg = config->arg;
    rc = pd_listener_open(config->loop, config->address, config->port, on_accept, listener,
                          &listener->socket, err);
    if (rc < 0) {
        free(listener);
        return rc;
    }
    listener->server = config->server;
    pd_deadlines_init(&listener->deadlines, config->loop, duration_ms, CLOCKS, on_deadline,
                      listener);
    *ret_listener = listener;
    return 0;
}

int pd_tls_listener_port(const struct pd_tls_listener *listener)
{
    return pd_listener_port(listener->socket);
}

size_t pd_tls_listener_sessions(const struct pd_tls_listener *listener)
{
    return listener->n_sessions;
}

void pd_tls_listener_set_server(struct pd_tls_listener *listener, struct pd_tls_server *server)
{
    pd_tls_server_free(listener->server);
    listener->server = server;
}

static void close_step(struct pd_tls_listener *listener)
{
    void (*closed)(void *arg) = listener->closed;
    void *arg = listener->closed_arg;

    if (!listener->closing || listener->n_sessions > 0 || listener->open_parts > 0)
        return;
    pd_tls_server_free(listener->server);
    free(listener);
    closed(arg);
}

static void on_listener_closed(void *arg)
{
    struct pd_tls_listener *listener = arg;

    listener->open_parts--;
    close_step(listener);
}

static void on_deadlines_closed(uv_handle_t *handle)
{
    struct pd_deadlines *deadlines = handle->data;
    struct pd_tls_listener *listener =
        PD_CONTAINER_OF(deadlines, struct pd_tls_listener, deadlines);

    listener->open_parts--;
    close_step(listener);
}

void pd_tls_listener_close(struct pd_tls_listener *listener, void (*closed)(void *arg), void *arg)
{
    assert(!listener->closing);
    listener->closing = true;
    listener->closed = closed;
    listener->closed_arg = arg;
    listener->open_parts = 2;
    for (struct session *session = listener->sessions; session; session = session->next)
        session_close(session);
    pd_listener_close(listener->socket, on_listener_closed, listener);
    pd_deadlines_close(&listener->deadlines, on_deadlines_closed);
}
