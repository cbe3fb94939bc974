#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "api/conn.h"
#include "common/mem.h"

#define REPLY_HEADERS_BYTES 256
#define DISCARD_BYTES_MAX (64u * 1024) /* of an unwanted body that keeps the connection */

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
    if (conn->state == PD_CONN_RAW)
        return "Connection: Upgrade\r\n";
    if (!conn->keep_alive)
        return "Connection: close\r\n";
    return conn->http10 ? "Connection: keep-alive\r\n" : "";
}

size_t pd_exchange_format_head(struct pd_exchange *conn, int status, const char *content_type,
                               const char *framing, const char *headers,
                               char out[static PD_REPLY_HEAD_BYTES])
{
    int len = snprintf(out, PD_REPLY_HEAD_BYTES,
                       "HTTP/1.1 %d %s\r\n"
                       "Date: %s\r\n"
                       "%s%s%s%s%s%s%s"
                       "X-Request-Id: %s\r\n"
                       "traceparent: %s\r\n"
                       "%s"
                       "X-Content-Type-Options: nosniff\r\n"
                       "\r\n",
                       status, pd_status_title(status), date_now(conn->server),
                       content_type ? "Content-Type: " : "", content_type ? content_type : "",
                       content_type ? "\r\n" : "", framing, connection_header(conn),
                       headers ? headers : "", conn->more_headers ? conn->more_headers : "",
                       conn->trace.request_id, conn->trace.traceparent,
                       headers && strstr(headers, "Cache-Control:")
                           ? ""
                           : "Cache-Control: no-store\r\n");

    assert(len > 0 && len < PD_REPLY_HEAD_BYTES);
    if (conn->server->on_answer)
        conn->server->on_answer(conn->server->arg, conn, status);
    return (size_t)len;
}

void pd_exchange_decide_keep_alive(struct pd_exchange *conn)
{
    if (conn->server->closing ||
        (pd_conn_is_body_unread(conn) &&
         (conn->expects || conn->chunked || conn->body_left > DISCARD_BYTES_MAX)))
        conn->keep_alive = false;
}

static void on_written(uv_write_t *write, int status)
{
    struct pd_exchange *conn = write->data;

    if (conn->state == PD_CONN_CLOSING)
        return;
    if (status < 0)
        pd_conn_close(conn);
    else
        pd_conn_finish(conn);
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
    pd_conn_set_clock(conn, PD_CLOCK_WRITE);
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
        pd_conn_finish(conn);
    else
        write_rest(conn, bufs, n > 0 ? (size_t)n : 0);
}

void pd_exchange_reply(struct pd_exchange *conn, int status, const char *content_type,
                       const char *headers, struct pd_buf *body)
{
    char head[PD_REPLY_HEAD_BYTES];
    char length[48] = "";
    size_t body_len = body ? body->len : 0;
    size_t head_len;

    assert(!conn->replied && !conn->flow && conn->state != PD_CONN_CLOSING);
    conn->replied = true;
    pd_deadline_clear(&conn->deadline);
    pd_exchange_decide_keep_alive(conn);
    if (status != 204 && status != 304)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", body_len);
    head_len = pd_exchange_format_head(conn, status, content_type, length, headers, head);
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

void pd_exchange_refuse(struct pd_exchange *conn, int status, const char *detail)
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

void pd_exchange_add_headers(struct pd_exchange *conn, const char *lines)
{
    char *old = conn->more_headers;

    assert(strlen(lines) + (old ? strlen(old) : 0) <= PD_MORE_HEADERS_BYTES_MAX);
    conn->more_headers = old ? pd_asprintf("%s%s", old, lines) : pd_strdup(lines);
    free(old);
}

void *pd_exchange_note(const struct pd_exchange *conn)
{
    return conn->note;
}

void pd_exchange_set_route(struct pd_exchange *conn, const char *route)
{
    conn->route = route;
}

const char *pd_exchange_route(const struct pd_exchange *conn)
{
    return conn->route;
}

int64_t pd_exchange_age_us(const struct pd_exchange *conn)
{
    return (pd_time_now().ns - conn->begun.ns) / 1000;
}

bool pd_exchange_has_header(const struct pd_exchange *conn, const char *name)
{
    return conn->head && pd_head_has(conn->head, name);
}

bool pd_exchange_header(const struct pd_exchange *conn, const char *name, char *out,
                        size_t out_bytes)
{
    return conn->head && pd_head_copy(conn->head, name, out, out_bytes);
}

bool pd_exchange_query(const struct pd_exchange *conn, const char *name, char *out,
                       size_t out_bytes)
{
    return conn->head && pd_head_query(conn->head, name, out, out_bytes);
}

bool pd_exchange_asks_upgrade(const struct pd_exchange *conn, const char *protocol)
{
    const struct pd_header *connection = conn->head ? pd_head_find(conn->head, "connection") : NULL;
    const struct pd_header *upgrade = conn->head ? pd_head_find(conn->head, "upgrade") : NULL;

    return connection && upgrade && conn->method == PD_METHOD_GET && !conn->http10 &&
           !pd_conn_is_body_unread(conn) && pd_header_has_token(connection, "upgrade") &&
           pd_header_has_token(upgrade, protocol);
}

enum pd_way pd_exchange_way(const struct pd_exchange *conn)
{
    struct sockaddr_storage peer;
    int len = sizeof peer;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&peer;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&peer;
    bool loopback = false;

    if (uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&peer, &len) < 0)
        return PD_WAY_NETWORK;
    if (peer.ss_family == AF_UNIX)
        return PD_WAY_TLS;
    if (peer.ss_family == AF_INET)
        loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    else if (peer.ss_family == AF_INET6)
        loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    return loopback ? PD_WAY_LOOPBACK : PD_WAY_NETWORK;
}

void pd_exchange_peer(const struct pd_exchange *conn, unsigned char ret_address[static 16])
{
    struct sockaddr_storage peer;
    int len = sizeof peer;

    memset(ret_address, 0, 16);
    if (uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&peer, &len) < 0)
        return;
    if (peer.ss_family == AF_INET6) {
        memcpy(ret_address, &((const struct sockaddr_in6 *)&peer)->sin6_addr, 16);
    } else if (peer.ss_family == AF_INET) {
        ret_address[10] = ret_address[11] = 0xff;
        memcpy(ret_address + 12, &((const struct sockaddr_in *)&peer)->sin_addr, 4);
    }
}

void pd_exchange_set_note(struct pd_exchange *conn, void *note, void (*release)(void *note))
{
    pd_conn_drop_note(conn);
    conn->note = note;
    conn->release_note = release;
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
        pd_exchange_refuse(conn, 413, detail);
        return;
    }
    /* Nothing was sent since the last answer: this little fits. */
    if (conn->expects && pd_conn_is_body_unread(conn))
        uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
    conn->expects = false;
    conn->ready = ready;
    conn->ready_arg = arg;
    pd_buf_init(&conn->body, max_bytes);
    conn->state = PD_CONN_BODY;
    conn->body_since_ms = uv_now(conn->server->loop);
    pd_conn_set_clock(conn, PD_CLOCK_BODY);
}
