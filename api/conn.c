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
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"

#define AHEAD_BYTES_MAX (PD_HEAD_BYTES_MAX + PD_READ_BYTES)
#define REPLY_HEAD_BYTES 1024
#define RETRY_AFTER_S 5
#define REPLY_HEADERS_BYTES 256
#define DISCARD_BYTES_MAX (64u * 1024) /* of an unwanted body that keeps the connection */

static void process(struct pd_exchange *conn);

/* ---- life ---- */

static void on_closed(uv_handle_t *handle)
{
    struct pd_exchange *conn = handle->data;

    pd_buf_fini(&conn->in);
    pd_buf_fini(&conn->body);
    pd_buf_fini(&conn->reply);
    free(conn->reply_head);
    free(conn->path);
    pd_server_forget(conn->server, conn);
    free(conn);
}

static void leave_writing(struct pd_exchange *conn)
{
    if (conn->state == PD_CONN_WRITING)
        conn->server->n_writing--;
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
    leave_writing(conn);
    conn->state = PD_CONN_CLOSING;
    conn->server->n_open--;
    drop_body(conn);
    pd_deadline_clear(&conn->deadline);
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
    if (gone && !conn->replied)
        gone(conn->gone_arg);
}

static void set_clock(struct pd_exchange *conn, enum pd_conn_clock clock)
{
    pd_deadline_set(&conn->server->deadlines, &conn->deadline, clock);
}

static int fd_of(const struct pd_exchange *conn)
{
    uv_os_fd_t fd = -1;

    uv_fileno((const uv_handle_t *)&conn->tcp, &fd);
    return fd;
}

/* ---- answering ---- */

static const char *date_now(struct pd_server *server)
{
    time_t now = time(NULL);
    struct tm utc;

    if (now != server->date_of) {
        server->date_of = now;
        gmtime_r(&now, &utc);
        strftime(server->date, sizeof server->date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    }
    return server->date;
}

static const char *connection_header(const struct pd_exchange *conn)
{
    if (!conn->keep_alive)
        return "Connection: close\r\n";
    return conn->http10 ? "Connection: keep-alive\r\n" : "";
}

static size_t format_head(struct pd_exchange *conn, int status, const char *content_type,
                          const char *headers, size_t body_len, char out[static REPLY_HEAD_BYTES])
{
    char length[48] = "";
    int len;

    if (status != 204)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", body_len);
    len = snprintf(out, REPLY_HEAD_BYTES,
                   "HTTP/1.1 %d %s\r\n"
                   "Date: %s\r\n"
                   "%s%s%s%s%s%s"
                   "X-Request-Id: %s\r\n"
                   "traceparent: %s\r\n"
                   "Cache-Control: no-store\r\n"
                   "X-Content-Type-Options: nosniff\r\n"
                   "\r\n",
                   status, pd_status_title(status), date_now(conn->server),
                   content_type ? "Content-Type: " : "", content_type ? content_type : "",
                   content_type ? "\r\n" : "", length, connection_header(conn),
                   headers ? headers : "", conn->trace.request_id, conn->trace.traceparent);
    assert(len > 0 && len < REPLY_HEAD_BYTES);
    return (size_t)len;
}

static bool is_body_unread(const struct pd_exchange *conn)
{
    return conn->body_left > 0 || (conn->chunked && !pd_chunks_done(&conn->chunks));
}

static void decide_keep_alive(struct pd_exchange *conn)
{
    if (conn->server->closing || (is_body_unread(conn) && (conn->expects || conn->chunked ||
                                                           conn->body_left > DISCARD_BYTES_MAX)))
        conn->keep_alive = false;
}

static void linger(struct pd_exchange *conn)
{
    conn->state = PD_CONN_LINGERING;
    pd_buf_fini(&conn->in);
    shutdown(fd_of(conn), SHUT_WR);
    set_clock(conn, PD_CLOCK_LINGER);
}

static void resume(struct pd_exchange *conn);

/* The answer is with the kernel: on to the next request, if there may be one. */
static void finish(struct pd_exchange *conn)
{
    leave_writing(conn);
    conn->state = PD_CONN_HEAD; /* what is left of a refused body is taken off first */
    free(PD_STEAL(conn->reply_head));
    free(PD_STEAL(conn->path));
    pd_buf_fini(&conn->reply);
    drop_body(conn);
    if (!conn->keep_alive) {
        if (is_body_unread(conn) || conn->in.len > 0)
            linger(conn);
        else
            pd_conn_close(conn);
        return;
    }
    conn->ready = NULL;
    conn->gone = NULL;
    conn->key_id = NULL;
    conn->replied = false;
    conn->head_from = 0;
    set_clock(conn, PD_CLOCK_IDLE);
    if (!conn->processing) {
        process(conn);
        resume(conn);
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct pd_exchange *conn = write->data;

    if (conn->state == PD_CONN_CLOSING)
        return;
    if (status < 0)
        pd_conn_close(conn);
    else
        finish(conn);
}

/* What try_write left over of bufs[0..2). */
static void write_rest(struct pd_exchange *conn, uv_buf_t *bufs, size_t written)
{
    for (size_t i = 0; i < 2; i++) {
        size_t skip = written < bufs[i].len ? written : bufs[i].len;
        bufs[i].base += skip;
        bufs[i].len -= skip;
        written -= skip;
    }
    if (bufs[0].len > 0) {
        conn->reply_head = pd_strndup(bufs[0].base, bufs[0].len);
        bufs[0].base = conn->reply_head;
    }
    conn->state = PD_CONN_WRITING;
    conn->server->n_writing++;
    conn->queued = bufs[0].len + bufs[1].len;
    conn->write.data = conn;
    set_clock(conn, PD_CLOCK_WRITE);
    if (uv_write(&conn->write, (uv_stream_t *)&conn->tcp, bufs, 2, on_written) < 0)
        pd_conn_close(conn);
}

/* Send a head from the stack and a body that the connection owns. */
static void send_reply(struct pd_exchange *conn, char *head, size_t head_len, size_t body_len)
{
    uv_buf_t bufs[2] = {
        {.base = head, .len = head_len},
        {.base = conn->reply.data, .len = body_len},
    };
    int n = uv_try_write((uv_stream_t *)&conn->tcp, bufs, body_len > 0 ? 2 : 1);

    if (n < 0 && n != UV_EAGAIN)
        pd_conn_close(conn);
    else if (n == (int)(head_len + body_len))
        finish(conn);
    else
        write_rest(conn, bufs, n > 0 ? (size_t)n : 0);
}

void pd_exchange_reply(struct pd_exchange *conn, int status, const char *content_type,
                       const char *headers, struct pd_buf *body)
{
    char head[REPLY_HEAD_BYTES];
    size_t body_len = body ? body->len : 0;
    size_t head_len;

    assert(!conn->replied && conn->state != PD_CONN_CLOSING);
    conn->replied = true;
    pd_deadline_clear(&conn->deadline);
    decide_keep_alive(conn);
    head_len = format_head(conn, status, content_type, headers, body_len, head);
    if (body) {
        conn->reply = *body;
        *body = (struct pd_buf){.max = body->max};
    }
    send_reply(conn, head, head_len, conn->method == PD_METHOD_HEAD ? 0 : body_len);
}

void pd_exchange_problem(struct pd_exchange *conn, const struct pd_problem_details *details)
{
    struct pd_problem_details full = *details;
    char headers[REPLY_HEADERS_BYTES] = "";
    struct pd_buf body;

    full.request_id = conn->trace.request_id;
    if (full.retry_after_s > 0)
        snprintf(headers, sizeof headers, "Retry-After: %d\r\n", full.retry_after_s);
    else if (full.allow)
        snprintf(headers, sizeof headers, "Allow: %s\r\n", full.allow);
    else if (full.status == 401)
        snprintf(headers, sizeof headers, "WWW-Authenticate: Bearer realm=\"paddock\"\r\n");
    pd_buf_init(&body, PD_PROBLEM_BYTES_MAX);
    if (pd_problem_details_format(&full, &body, NULL) < 0)
        pd_buf_clear(&body);
    pd_exchange_reply(conn, full.status, PD_PROBLEM_CONTENT_TYPE, headers, &body);
}

static void refuse(struct pd_exchange *conn, int status, const char *detail)
{
    conn->keep_alive = false;
    pd_exchange_problem(conn, &(struct pd_problem_details){.status = status, .detail = detail});
}

/* ---- what a handler sees ---- */

enum pd_method pd_exchange_method(const struct pd_exchange *conn)
{
    return conn->method;
}

const char *pd_exchange_path(const struct pd_exchange *conn)
{
    return conn->path;
}

const struct pd_trace *pd_exchange_trace(const struct pd_exchange *conn)
{
    return &conn->trace;
}

void pd_exchange_set_key_id(struct pd_exchange *conn, const char *key_id)
{
    conn->key_id = key_id;
}

const char *pd_exchange_key_id(const struct pd_exchange *conn)
{
    return conn->key_id;
}

static bool copy_header(const struct pd_head *head, const char *name, char *out, size_t out_bytes)
{
    const struct pd_header *header = pd_head_find(head, name);

    if (!header || header->value_len >= out_bytes)
        return false;
    memcpy(out, header->value, header->value_len);
    out[header->value_len] = '\0';
    return true;
}

bool pd_exchange_header(const struct pd_exchange *conn, const char *name, char *out,
                        size_t out_bytes)
{
    return conn->head && copy_header(conn->head, name, out, out_bytes);
}

void pd_exchange_on_gone(struct pd_exchange *conn, void (*gone)(void *arg), void *arg)
{
    conn->gone = gone;
    conn->gone_arg = arg;
}

void pd_exchange_want_body(struct pd_exchange *conn, size_t max_bytes,
                           void (*ready)(void *arg, struct pd_exchange *exchange, const char *body,
                                         size_t len),
                           void *arg)
{
    static char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    uv_buf_t buf = {.base = go_on, .len = sizeof go_on - 1};
    char detail[96];

    if (conn->body_left > max_bytes) {
        snprintf(detail, sizeof detail, "the body may have at most %zu bytes", max_bytes);
        refuse(conn, 413, detail);
        return;
    }
    /* Nothing was sent since the last answer: this little fits. */
    if (conn->expects && is_body_unread(conn))
        uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
    conn->expects = false;
    conn->ready = ready;
    conn->ready_arg = arg;
    pd_buf_init(&conn->body, max_bytes);
    conn->state = PD_CONN_BODY;
    conn->body_since_ms = uv_now(conn->server->loop);
    set_clock(conn, PD_CLOCK_BODY);
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
    bool has_id = copy_header(head, "x-request-id", id, sizeof id);
    bool has_parent = copy_header(head, "traceparent", parent, sizeof parent);

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
    if (status) {
        conn->body_left = 1; /* whatever follows is not to be believed */
        refuse(conn, status, reason);
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
    refuse(conn, status, detail);
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
            set_clock(conn, PD_CLOCK_HEAD);
        if (len >= PD_HEAD_BYTES_MAX)
            refuse_headless(conn, 431, "the request's head is too long");
        return 0;
    }
    on_head(conn, data, head_len);
    return head_len;
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
    return conn->state == PD_CONN_BODY && !is_body_unread(conn);
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
        refuse(conn, 413, "the body is too long");
    else if (conn->server->bodies_bytes > conn->server->limits.bodies_bytes)
        refuse_busy(conn);
    else if (rc < 0)
        refuse(conn, 400, "the body's chunks are not well-formed");
    else if (uv_now(conn->server->loop) - conn->body_since_ms <
             (uint64_t)conn->server->limits.body_total_ms)
        set_clock(conn, PD_CLOCK_BODY);
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

static void pause_reading(struct pd_exchange *conn)
{
    if (conn->paused || conn->in.len < PD_HEAD_BYTES_MAX ||
        (conn->state != PD_CONN_RUNNING && conn->state != PD_CONN_WRITING))
        return;
    conn->paused = true;
    uv_read_stop((uv_stream_t *)&conn->tcp);
    if (conn->state == PD_CONN_RUNNING)
        set_clock(conn, PD_CLOCK_PAUSED);
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
    } else if (n > 0 && conn->state != PD_CONN_LINGERING) {
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
            set_clock(conn, PD_CLOCK_PAUSED);
        return;
    }
    conn->paused = false;
    if (uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) < 0)
        pd_conn_close(conn);
}

/* ---- deadlines ---- */

static bool peer_has_closed(const struct pd_exchange *conn)
{
    struct tcp_info info;
    socklen_t len = sizeof info;

    return getsockopt(fd_of(conn), IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
           info.tcpi_state != TCP_ESTABLISHED;
}

static bool has_sent_some(struct pd_exchange *conn)
{
    size_t queued = uv_stream_get_write_queue_size((uv_stream_t *)&conn->tcp);
    bool some = queued < conn->queued;

    conn->queued = queued;
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
        refuse(conn, 408, "the rest of the body did not arrive in time");
        break;
    case PD_CLOCK_WRITE:
        if (has_sent_some(conn))
            set_clock(conn, PD_CLOCK_WRITE);
        else
            pd_conn_close(conn);
        break;
    case PD_CLOCK_PAUSED:
        if (peer_has_closed(conn))
            pd_conn_close(conn);
        else
            set_clock(conn, PD_CLOCK_PAUSED);
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
    set_clock(conn, PD_CLOCK_HEAD);
    if (uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) < 0)
        pd_conn_close(conn);
}
