/* Theory of operation.
 *
 * Whatever arrives goes through process(): it takes heads and bodies off the
 * front for as long as it is the client's turn, and keeps the rest in `in`. It
 * is entered when bytes arrive and when an answer is finished, and never twice
 * at once: an answer given from within it only lets its loop go on.
 *
 * An answer is one writev(2) of head and body, straight from where they are.
 * What the socket does not take, libuv keeps sending; the connection is in
 * PD_CONN_WRITING until then and reads no further request.
 *
 * The socket stays readable while a run is under way, so that a hang-up is
 * noticed at once. A client that sends more than a head's worth ahead of its
 * turn is paused, and looked at once a second instead.
 *
 * Requests that are refused before their body has come: a small body is read
 * and thrown away, and the connection goes on; otherwise it is closed, after
 * lingering, because a socket closed with unread bytes in it takes back the
 * answer that it has just sent. */
#include "api/conn.h"

#include <assert.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/mem.h"

#define AHEAD_BYTES_MAX (PD_HEAD_BYTES_MAX + PD_READ_BYTES)
#define RETRY_AFTER_S 5

static void process(struct pd_exchange *conn);

/* ---- life ---- */

void pd_conn_drop_note(struct pd_exchange *conn)
{
    if (conn->note)
        conn->release_note(PD_STEAL(conn->note));
}

static void on_closed(uv_handle_t *handle)
{
    struct pd_exchange *conn = handle->data;

    pd_conn_drop_note(conn);
    pd_buf_fini(&conn->in);
    pd_buf_fini(&conn->body);
    pd_buf_fini(&conn->reply);
    pd_flow_free(conn->flow);
    free(conn->reply_head);
    free(conn->more_headers);
    free(conn->path);
    pd_server_forget(conn->server, conn);
    free(conn);
}

static void leave_answering(struct pd_exchange *conn)
{
    if (conn->state == PD_CONN_WRITING)
        conn->server->n_writing--;
    else if (conn->state == PD_CONN_STREAMING || conn->state == PD_CONN_RAW)
        conn->server->n_streaming--;
}

/* What has come of the body so far is not wanted any more. */
static void drop_body(struct pd_exchange *conn)
{
    conn->server->bodies_bytes -= conn->body.len;
    pd_buf_fini(&conn->body);
}

void pd_conn_close(struct pd_exchange *conn)
{
    void (*gone)(void *arg) = conn->gone;

    if (conn->state == PD_CONN_CLOSING)
        return;
    leave_answering(conn);
    conn->state = PD_CONN_CLOSING;
    conn->server->n_open--;
    drop_body(conn);
    pd_deadline_clear(&conn->deadline);
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
    if (gone && !conn->replied)
        gone(conn->gone_arg);
}

void pd_conn_set_clock(struct pd_exchange *conn, enum pd_conn_clock clock)
{
    pd_deadline_set(&conn->server->deadlines, &conn->deadline, clock);
}

int pd_conn_fd(const struct pd_exchange *conn)
{
    uv_os_fd_t fd = -1;

    uv_fileno((const uv_handle_t *)&conn->tcp, &fd);
    return fd;
}

/* ---- after an answer ---- */

bool pd_conn_is_body_unread(const struct pd_exchange *conn)
{
    return conn->body_left > 0 || (conn->chunked && !pd_chunks_done(&conn->chunks));
}

static void linger(struct pd_exchange *conn)
{
    conn->state = PD_CONN_LINGERING;
    pd_buf_fini(&conn->in);
    pd_conn_resume(conn);
    shutdown(pd_conn_fd(conn), SHUT_WR);
    pd_conn_set_clock(conn, PD_CLOCK_LINGER);
}

static void resume(struct pd_exchange *conn);

/* What belongs to one request. */
static void forget_request(struct pd_exchange *conn)
{
    free(PD_STEAL(conn->more_headers));
    pd_conn_drop_note(conn);
    free(PD_STEAL(conn->path));
    conn->ready = NULL;
    conn->gone = NULL;
    conn->key_id = NULL;
    conn->head_from = 0;
}

void pd_exchange_put_off(struct pd_exchange *conn, void (*gone)(void *arg), void *arg)
{
    assert(conn->head && conn->state == PD_CONN_RUNNING && !conn->replied);
    conn->put_off = true;
    pd_exchange_on_gone(conn, gone, arg);
}

void pd_exchange_go_on(struct pd_exchange *conn)
{
    assert(conn->put_off && !conn->processing && conn->state == PD_CONN_RUNNING);
    conn->put_off = false;
    forget_request(conn);
    conn->body_left = 0; /* it is in the head, which is read again */
    conn->state = PD_CONN_HEAD;
    process(conn);
    resume(conn);
}

/* The answer is with the kernel: on to the next request, if there may be one. */
void pd_conn_finish(struct pd_exchange *conn)
{
    leave_answering(conn);
    conn->state = PD_CONN_HEAD; /* what is left of a refused body is taken off first */
    free(PD_STEAL(conn->reply_head));
    pd_flow_free(PD_STEAL(conn->flow));
    pd_buf_fini(&conn->reply);
    drop_body(conn);
    forget_request(conn);
    if (!conn->keep_alive) {
        if (conn->lingers || pd_conn_is_body_unread(conn) || conn->in.len > 0)
            linger(conn);
        else
            pd_conn_close(conn);
        return;
    }
    conn->replied = false;
    pd_conn_set_clock(conn, PD_CLOCK_IDLE);
    if (!conn->processing) {
        process(conn);
        resume(conn);
    }
}

/* ---- reading ---- */

/* The handler has returned: it replied, asked for the body, or will reply. */
static void await_handler(const struct pd_exchange *conn)
{
    assert(conn->state != PD_CONN_RUNNING || conn->gone);
}

static void take_trace(struct pd_exchange *conn, const struct pd_head *head)
{
    char id[PD_REQUEST_ID_BYTES];
    char parent[PD_TRACEPARENT_BYTES];
    bool has_id = pd_head_copy(head, "x-request-id", id, sizeof id);
    bool has_parent = pd_head_copy(head, "traceparent", parent, sizeof parent);

    pd_trace_init(&conn->trace, has_id ? id : NULL, has_parent ? parent : NULL);
}

static void on_head(struct pd_exchange *conn, const char *text, size_t len)
{
    struct pd_head head;
    const char *reason;
    int status = pd_head_parse(text, len, &head, &reason);

    pd_deadline_clear(&conn->deadline);
    conn->state = PD_CONN_RUNNING;
    conn->method = head.method;
    conn->path = pd_strdup(head.path);
    conn->http10 = head.minor == 0;
    conn->keep_alive = head.keep_alive;
    conn->expects = head.expects_continue;
    conn->chunked = head.chunked;
    conn->body_left = head.content_length;
    pd_chunks_init(&conn->chunks);
    take_trace(conn, &head);
    conn->route = NULL;
    conn->begun = pd_time_now();
    if (status) {
        conn->body_left = 1; /* whatever follows is not to be believed */
        pd_exchange_refuse(conn, status, reason);
        return;
    }
    conn->head = &head;
    conn->server->on_request(conn->server->arg, conn);
    conn->head = NULL;
    await_handler(conn);
}

/* There is no head to go by; whatever follows is not to be believed. */
static void refuse_headless(struct pd_exchange *conn, int status, const char *detail)
{
    conn->path = pd_strdup("");
    conn->method = PD_METHOD_OTHER;
    conn->chunked = false;
    conn->body_left = 1;
    pd_trace_init(&conn->trace, NULL, NULL);
    conn->route = NULL;
    conn->begun = pd_time_now();
    pd_exchange_refuse(conn, status, detail);
}

/* Returns how many bytes were used up; 0: more must come. */
static size_t take_head(struct pd_exchange *conn, const char *data, size_t len)
{
    size_t head_len;

    if (conn->body_left > 0) { /* the rest of a body that was refused */
        size_t skip = conn->body_left < len ? (size_t)conn->body_left : len;
        conn->body_left -= skip;
        return skip;
    }
    head_len = pd_head_end(data, len, &conn->head_from);
    if (head_len == 0 || head_len > PD_HEAD_BYTES_MAX) {
        if (conn->deadline.kind != PD_CLOCK_HEAD || !pd_deadline_is_set(&conn->deadline))
            pd_conn_set_clock(conn, PD_CLOCK_HEAD);
        if (len >= PD_HEAD_BYTES_MAX)
            refuse_headless(conn, 431, "the request's head is too long");
        return 0;
    }
    on_head(conn, data, head_len);
    return conn->put_off ? 0 : head_len;
}

static void body_complete(struct pd_exchange *conn)
{
    struct pd_buf body = conn->body;

    conn->server->bodies_bytes -= body.len;
    conn->body = (struct pd_buf){.max = 0};
    conn->state = PD_CONN_RUNNING;
    pd_deadline_clear(&conn->deadline);
    conn->ready(conn->ready_arg, conn, body.data ? body.data : "", body.len);
    pd_buf_fini(&body);
    await_handler(conn);
}

static bool is_body_complete(const struct pd_exchange *conn)
{
    return conn->state == PD_CONN_BODY && !pd_conn_is_body_unread(conn);
}

static void refuse_busy(struct pd_exchange *conn)
{
    conn->keep_alive = false;
    pd_exchange_problem(
        conn, &(struct pd_problem_details){.status = 503,
                                           .detail = "too many large requests are on their way",
                                           .retry_after_s = RETRY_AFTER_S});
}

static size_t take_body(struct pd_exchange *conn, const char *data, size_t len)
{
    size_t used = conn->body_left < len ? (size_t)conn->body_left : len;
    size_t before = conn->body.len;
    int rc;

    if (conn->chunked) {
        rc = pd_chunks_feed(&conn->chunks, data, len, &conn->body, &used);
    } else {
        rc = pd_buf_add(&conn->body, data, used, NULL);
        conn->body_left -= used;
    }
    conn->server->bodies_bytes += conn->body.len - before;
    if (rc == PD_LIMIT)
        pd_exchange_refuse(conn, 413, "the body is too long");
    else if (conn->server->bodies_bytes > conn->server->limits.bodies_bytes)
        refuse_busy(conn);
    else if (rc < 0)
        pd_exchange_refuse(conn, 400, "the body's chunks are not well-formed");
    else if (uv_now(conn->server->loop) - conn->body_since_ms <
             (uint64_t)conn->server->limits.body_total_ms)
        pd_conn_set_clock(conn, PD_CLOCK_BODY);
    return used;
}

/* Use up as much of data as is due. Returns how much. */
static size_t consume(struct pd_exchange *conn, const char *data, size_t len)
{
    size_t at = 0;

    for (;;) {
        size_t used = 0;
        if (is_body_complete(conn)) {
            body_complete(conn);
            continue;
        }
        if (at == len)
            return at;
        if (conn->state == PD_CONN_HEAD)
            used = take_head(conn, data + at, len - at);
        else if (conn->state == PD_CONN_BODY)
            used = take_body(conn, data + at, len - at);
        else if (conn->state == PD_CONN_RAW) {
            pd_flow_on_data(conn, data + at, len - at);
            return len;
        }
        if (used == 0)
            return at;
        at += used;
    }
}

/* What is kept in `in`: after an answer, and when more has been added to it. */
static void process(struct pd_exchange *conn)
{
    size_t used;

    conn->processing = true;
    used = consume(conn, conn->in.data ? conn->in.data : "", conn->in.len);
    conn->processing = false;
    if (conn->in.len > 0 && used == conn->in.len)
        pd_buf_fini(&conn->in);
    else
        pd_buf_consume(&conn->in, used);
}

/* What has just been read, when nothing is kept: from where it is. */
static void process_fresh(struct pd_exchange *conn, const char *data, size_t len)
{
    size_t used;

    conn->processing = true;
    used = consume(conn, data, len);
    conn->processing = false;
    if (used < len && conn->state != PD_CONN_LINGERING && conn->state != PD_CONN_CLOSING) {
        pd_buf_init(&conn->in, AHEAD_BYTES_MAX);
        (void)!pd_buf_add(&conn->in, data + used, len - used, NULL); /* fits: see the size */
    }
}

void pd_conn_pause(struct pd_exchange *conn)
{
    conn->paused = true;
    uv_read_stop((uv_stream_t *)&conn->tcp);
    if (!pd_deadline_is_set(&conn->deadline))
        pd_conn_set_clock(conn, PD_CLOCK_PAUSED);
}

static void pause_reading(struct pd_exchange *conn)
{
    if (!conn->paused && conn->in.len >= PD_HEAD_BYTES_MAX &&
        (conn->state == PD_CONN_RUNNING || conn->state == PD_CONN_STREAMING ||
         conn->state == PD_CONN_WRITING))
        pd_conn_pause(conn);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct pd_exchange *conn = handle->data;

    (void)suggested;
    *buf = (uv_buf_t){.base = conn->server->scratch, .len = sizeof conn->server->scratch};
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct pd_exchange *conn = stream->data;

    if (n == UV_EOF && conn->state == PD_CONN_WRITING) {
        conn->keep_alive = false; /* it may be reading still; if not, writing will tell */
        uv_read_stop(stream);
    } else if (n < 0) {
        pd_conn_close(conn);
    } else if (n > 0 && conn->state == PD_CONN_RAW) {
        pd_flow_on_data(conn, buf->base, (size_t)n);
    } else if (n > 0 && conn->state != PD_CONN_LINGERING && !conn->broken) {
        if (conn->in.len == 0)
            process_fresh(conn, buf->base, (size_t)n);
        else if (pd_buf_add(&conn->in, buf->base, (size_t)n, NULL) < 0)
            pd_conn_close(conn); /* cannot be: it is paused long before */
        else
            process(conn);
        pause_reading(conn);
    }
}

static void resume(struct pd_exchange *conn)
{
    if (!conn->paused || conn->state == PD_CONN_CLOSING)
        return;
    if (conn->in.len >= PD_HEAD_BYTES_MAX) {
        if (conn->state == PD_CONN_RUNNING)
            pd_conn_set_clock(conn, PD_CLOCK_PAUSED);
        return;
    }
    pd_conn_resume(conn);
}

void pd_conn_resume(struct pd_exchange *conn)
{
    if (!conn->paused)
        return;
    conn->paused = false;
    if (uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) < 0)
        abort(); /* it could be read from before */
}

/* ---- deadlines ---- */

static bool peer_has_closed(const struct pd_exchange *conn)
{
    struct pollfd look = {.fd = pd_conn_fd(conn), .events = POLLRDHUP};

    return poll(&look, 1, 0) != 0;
}

static bool has_sent_some(struct pd_exchange *conn)
{
    uint64_t sent = conn->flow ? pd_flow_sent(conn) : 0;
    size_t queued = uv_stream_get_write_queue_size((uv_stream_t *)&conn->tcp);
    bool some = conn->flow ? sent > conn->sent : queued < conn->queued;

    conn->queued = queued;
    conn->sent = sent;
    return some;
}

/* A head that never ends is told so; a client that said nothing is not. */
static void head_overdue(struct pd_exchange *conn)
{
    if (conn->in.len == 0)
        pd_conn_close(conn);
    else
        refuse_headless(conn, 408, "the request's head did not arrive in time");
}

void pd_conn_on_deadline(struct pd_exchange *conn, enum pd_conn_clock clock)
{
    switch (clock) {
    case PD_CLOCK_HEAD:
        head_overdue(conn);
        break;
    case PD_CLOCK_BODY:
        pd_exchange_refuse(conn, 408, "the rest of the body did not arrive in time");
        break;
    case PD_CLOCK_WRITE:
        if (has_sent_some(conn))
            pd_conn_set_clock(conn, PD_CLOCK_WRITE);
        else
            pd_conn_close(conn);
        break;
    case PD_CLOCK_PAUSED:
        if (peer_has_closed(conn))
            pd_conn_close(conn);
        else
            pd_conn_set_clock(conn, PD_CLOCK_PAUSED);
        break;
    case PD_CLOCK_IDLE:
    case PD_CLOCK_LINGER:
    case PD_CLOCKS:
        pd_conn_close(conn);
        break;
    }
}

/* ---- the beginning ---- */

void pd_conn_open(struct pd_server *server, int fd)
{
    struct pd_exchange *conn = PD_NEW(struct pd_exchange);

    uv_tcp_init(server->loop, &conn->tcp);
    conn->tcp.data = conn;
    conn->server = server;
    conn->next = server->conns;
    if (conn->next)
        conn->next->prev = conn;
    server->conns = conn;
    server->n_conns++;
    server->n_open++;
    if (uv_tcp_open(&conn->tcp, fd) < 0) {
        close(fd);
        pd_conn_close(conn);
        return;
    }
    pd_conn_set_clock(conn, PD_CLOCK_HEAD);
    if (uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) < 0)
        pd_conn_close(conn);
}
