/* Theory of operation.
 *
 * A connection begins in the waiting room: a descriptor and a poll handle, a
 * few hundred bytes, until its first byte arrives; ten thousand connections
 * that say nothing cost just that. Then libwebsockets adopts it and parses
 * heads; bodies arrive by its callbacks, whatever is sent goes through
 * lws_write. libwebsockets' own timeouts sit in one sorted list that is walked
 * at every change, so they are taken off wherever it sets them, and deadline.c
 * stands in.
 *
 * A reply is written at once, from whatever callback it comes: head and body in
 * one send(2). What the socket does not take libwebsockets keeps; what is
 * larger than SCRATCH_BYTES goes piece by piece, as the socket drains.
 *
 * While a run is under way the socket stays readable, so that a hang-up is
 * noticed. A client that pipelines its next request meanwhile would wake us for
 * ever; its socket is paused, and looked at once a second instead.
 *
 * Traps of libwebsockets 4.1 that shape this file: it accepts any
 * Content-Length that atoll does, so framing is checked here; a POST without a
 * length counts as 100 MiB, so it is refused; HTTP_BODY_COMPLETION fires again
 * for each pipelined packet; Upgrade: h2c leads into code with known holes, so
 * every upgrade is refused without looking at `in`. */
#include "api/server.h"

#include <assert.h>
#include <libwebsockets.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api/deadline.h"
#include "api/listener.h"
#include "common/log.h"
#include "common/mem.h"

#define SCRATCH_BYTES (64u * 1024)
#define REPLY_HEAD_BYTES 1024
#define DISCARD_BYTES_MAX (64u * 1024) /* of an unwanted body that keeps the connection */
#define FILES_RESERVED 512             /* descriptors for everything but connections */
#define LWS_NEVER_S (24 * 3600)
#define CLOSE_TURNS 4

const struct pd_server_limits pd_server_limits_default = {
    .connections_max = 16384,
    .head_ms = 10000,
    .idle_ms = 75000,
    .body_idle_ms = 10000,
    .body_total_ms = 60000,
    .write_ms = 30000,
    .linger_ms = 2000,
};

enum clock { CLOCK_HEAD, CLOCK_IDLE, CLOCK_BODY, CLOCK_WRITE, CLOCK_LINGER, CLOCK_PAUSED, CLOCKS };

enum conn_state {
    CONN_WAITING,   /* no byte yet; libwebsockets does not know of it */
    CONN_IDLE,      /* a head is awaited */
    CONN_BODY,      /* a body is awaited */
    CONN_RUNNING,   /* the handler has it */
    CONN_WRITING,   /* a large answer is on its way */
    CONN_LINGERING, /* answered and shut for writing; what still comes is thrown away */
    CONN_CLOSED,    /* hung up on; memory is freed when the last handle is */
};

struct pd_server {
    uv_loop_t *loop;
    struct pd_server_limits limits;
    struct pd_listener *listener;
    struct lws_context *lws;
    struct lws_vhost *vhost;
    struct pd_deadlines deadlines;
    struct pd_exchange *conns; /* all of them */
    size_t n_conns;
    size_t conns_max;
    void (*on_request)(void *arg, struct pd_exchange *exchange);
    void *arg;
    time_t date_of;
    char date[40];
    bool closing;
    unsigned open_parts; /* listener, deadlines */
    int close_turns;
    uv_idle_t turn;
    void (*closed)(void *arg);
    void *closed_arg;
    unsigned char scratch[LWS_PRE + SCRATCH_BYTES];
};

/* A connection, and the request that it carries now. */
struct pd_exchange {
    struct pd_server *server;
    struct pd_exchange *next, *prev;
    struct lws *wsi; /* NULL in the waiting room and after the end */
    uv_poll_t room;
    bool room_open;
    bool lws_open;
    int fd;
    enum conn_state state;
    struct pd_deadline deadline;
    bool inside;   /* a callback of libwebsockets for it is on the stack */
    bool hang_up;  /* end it when that callback returns */
    bool paused;   /* not read from */
    bool headless; /* libwebsockets could not parse the head: there are no headers */
    bool expects;  /* waits for "100 Continue" before it sends its body */
    bool unread;   /* more of the request may come, and libwebsockets reads it */

    /* the request */
    enum pd_method method;
    char path[PD_REQUEST_PATH_BYTES];
    struct pd_trace trace;
    const char *key_id;
    bool http10;
    bool keep_alive;
    bool replied;
    uint64_t body_bytes; /* that the head announces */
    uint64_t body_received;
    uint64_t body_since_ms;
    struct pd_buf body;
    void (*ready)(void *arg, struct pd_exchange *exchange, const char *body, size_t len);
    void *ready_arg;
    void (*gone)(void *arg);
    void *gone_arg;

    /* the answer, when it is large */
    struct pd_buf reply;
    size_t reply_sent;
};

/* ---- life of a connection ---- */

static void close_step(struct pd_server *server);

static void conn_free_if_done(struct pd_exchange *conn)
{
    struct pd_server *server = conn->server;

    if (conn->room_open || conn->lws_open)
        return;
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        server->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    server->n_conns--;
    pd_buf_fini(&conn->body);
    pd_buf_fini(&conn->reply);
    free(conn);
    if (server->closing)
        close_step(server);
}

/* It has ended, or is about to: tell whoever waits for nothing now. */
static void conn_ended(struct pd_exchange *conn)
{
    void (*gone)(void *arg) = conn->gone;

    if (conn->state == CONN_CLOSED)
        return;
    conn->state = CONN_CLOSED;
    conn->wsi = NULL;
    pd_deadline_clear(&conn->deadline);
    conn->gone = NULL;
    if (gone && !conn->replied)
        gone(conn->gone_arg);
}

static void on_room_closed(uv_handle_t *handle)
{
    struct pd_exchange *conn = handle->data;

    conn->room_open = false;
    conn_free_if_done(conn);
}

static void conn_leave_room(struct pd_exchange *conn)
{
    uv_poll_stop(&conn->room);
    uv_close((uv_handle_t *)&conn->room, on_room_closed);
}

/* Hang up now, or as soon as libwebsockets has returned from its callback. */
static void conn_hang_up(struct pd_exchange *conn)
{
    if (conn->state == CONN_CLOSED)
        return;
    if (conn->state == CONN_WAITING) {
        conn_ended(conn);
        conn_leave_room(conn);
        close(conn->fd);
    } else if (conn->inside) {
        conn->hang_up = true;
    } else {
        lws_set_timeout(conn->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
        conn_ended(conn);
    }
}

static void conn_set_clock(struct pd_exchange *conn, enum clock clock)
{
    pd_deadline_set(&conn->server->deadlines, &conn->deadline, clock);
}

static void conn_reset(struct pd_exchange *conn)
{
    pd_buf_fini(&conn->body);
    pd_buf_fini(&conn->reply);
    conn->reply_sent = 0;
    conn->replied = false;
    conn->ready = NULL;
    conn->gone = NULL;
    conn->key_id = NULL;
    conn->body_bytes = conn->body_received = 0;
    conn->expects = conn->unread = false;
    conn->state = CONN_IDLE;
}

/* ---- sending ---- */

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

/* Keep a connection only where what is left of the body is small and sure to come. */
static void decide_keep_alive(struct pd_exchange *conn)
{
    if (conn->body_bytes - conn->body_received > DISCARD_BYTES_MAX || conn->expects ||
        conn->server->closing)
        conn->keep_alive = false;
}

static size_t format_head(struct pd_exchange *conn, int status, const char *content_type,
                          const char *headers, size_t body_len, char out[static REPLY_HEAD_BYTES])
{
    char type[128] = "";
    char length[48] = "";
    int len;

    if (content_type)
        snprintf(type, sizeof type, "Content-Type: %s\r\n", content_type);
    if (status != 204)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", body_len);
    len = snprintf(out, REPLY_HEAD_BYTES,
                   "HTTP/1.1 %d %s\r\n"
                   "Date: %s\r\n"
                   "%s%s%s%s"
                   "X-Request-Id: %s\r\n"
                   "traceparent: %s\r\n"
                   "Cache-Control: no-store\r\n"
                   "X-Content-Type-Options: nosniff\r\n"
                   "\r\n",
                   status, pd_status_title(status), date_now(conn->server), type, length,
                   connection_header(conn), headers ? headers : "", conn->trace.request_id,
                   conn->trace.traceparent);
    assert(len > 0 && len < REPLY_HEAD_BYTES);
    return (size_t)len;
}

/* A socket closed while bytes wait in it resets the connection, and the peer may
 * lose the answer that it was just sent: so say that it was the last one, and
 * read on for a moment. */
static void linger(struct pd_exchange *conn)
{
    bool sent = !lws_partial_buffered(conn->wsi);

    conn->state = CONN_LINGERING;
    conn_set_clock(conn, sent ? CLOCK_LINGER : CLOCK_WRITE);
    if (sent)
        shutdown(conn->fd, SHUT_WR);
}

/* The answer is with the kernel or libwebsockets; make ready for the next request. */
static void finish(struct pd_exchange *conn)
{
    if (!conn->keep_alive) {
        if (conn->unread)
            linger(conn);
        else
            conn_hang_up(conn);
        return;
    }
    conn_reset(conn);
    conn_set_clock(conn, CLOCK_IDLE);
    if (lws_http_transaction_completed(conn->wsi)) {
        conn_hang_up(conn);
        return;
    }
    lws_set_timeout(conn->wsi, NO_PENDING_TIMEOUT, 0);
    if (conn->paused) {
        conn->paused = false;
        lws_rx_flow_control(conn->wsi, 1);
    }
}

/* Send scratch[0..len) of the server. */
static void send_scratch(struct pd_exchange *conn, size_t len)
{
    if (lws_write(conn->wsi, conn->server->scratch + LWS_PRE, len, LWS_WRITE_HTTP) < 0)
        conn->hang_up = true;
}

static void send_piece(struct pd_exchange *conn)
{
    size_t left = conn->reply.len - conn->reply_sent;
    size_t len = left < SCRATCH_BYTES ? left : SCRATCH_BYTES;

    memcpy(conn->server->scratch + LWS_PRE, conn->reply.data + conn->reply_sent, len);
    conn->reply_sent += len;
    send_scratch(conn, len);
}

static void send_next(struct pd_exchange *conn)
{
    if (conn->state == CONN_LINGERING)
        linger(conn);
    if (conn->state != CONN_WRITING)
        return;
    send_piece(conn);
    if (conn->hang_up)
        return;
    if (conn->reply_sent == conn->reply.len) {
        finish(conn);
        return;
    }
    conn_set_clock(conn, CLOCK_WRITE);
    lws_callback_on_writable(conn->wsi);
}

void pd_exchange_reply(struct pd_exchange *conn, int status, const char *content_type,
                       const char *headers, struct pd_buf *body)
{
    unsigned char *out = conn->server->scratch + LWS_PRE;
    size_t body_len = body ? body->len : 0;
    size_t head_len;

    assert(!conn->replied && conn->state != CONN_CLOSED);
    conn->replied = true;
    decide_keep_alive(conn);
    head_len = format_head(conn, status, content_type, headers, body_len, (char *)out);
    if (conn->method == PD_METHOD_HEAD)
        body_len = 0;
    pd_deadline_clear(&conn->deadline);
    if (head_len + body_len <= SCRATCH_BYTES) {
        if (body_len)
            memcpy(out + head_len, body->data, body_len);
        send_scratch(conn, head_len + body_len);
        if (!conn->hang_up)
            finish(conn);
    } else {
        conn->state = CONN_WRITING;
        conn->reply = *body;
        *body = (struct pd_buf){.max = body->max};
        conn_set_clock(conn, CLOCK_WRITE);
        send_scratch(conn, head_len);
        lws_callback_on_writable(conn->wsi);
    }
    if (body)
        pd_buf_fini(body);
    if (conn->hang_up && !conn->inside) {
        conn->hang_up = false;
        conn_hang_up(conn);
    }
}

void pd_exchange_problem(struct pd_exchange *conn, const struct pd_problem_details *details)
{
    struct pd_problem_details full = *details;
    char headers[256] = "";
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
    pd_exchange_problem(conn, &(struct pd_problem_details){.status = status, .detail = detail});
}

/* ---- heads ---- */

static const struct {
    int token;          /* libwebsockets' own, or -1 */
    const char *custom; /* else a name, with the colon */
} header_names[] = {
    [PD_HEADER_HOST] = {WSI_TOKEN_HOST, NULL},
    [PD_HEADER_ORIGIN] = {WSI_TOKEN_ORIGIN, NULL},
    [PD_HEADER_CONTENT_TYPE] = {WSI_TOKEN_HTTP_CONTENT_TYPE, NULL},
    [PD_HEADER_AUTHORIZATION] = {WSI_TOKEN_HTTP_AUTHORIZATION, NULL},
    [PD_HEADER_API_KEY] = {-1, "x-api-key:"},
};

static bool copy_token(struct lws *wsi, enum lws_token_indexes token, char *out, size_t out_bytes)
{
    return lws_hdr_total_length(wsi, token) > 0 &&
           lws_hdr_copy(wsi, out, (int)out_bytes, token) > 0;
}

static bool copy_custom(struct lws *wsi, const char *name, char *out, size_t out_bytes)
{
    int len = lws_hdr_custom_length(wsi, name, (int)strlen(name));

    return len > 0 && (size_t)len < out_bytes &&
           lws_hdr_custom_copy(wsi, out, (int)out_bytes, name, (int)strlen(name)) > 0;
}

bool pd_exchange_header(const struct pd_exchange *conn, enum pd_header header, char *out,
                        size_t out_bytes)
{
    if (conn->headless)
        return false;
    if (header_names[header].custom)
        return copy_custom(conn->wsi, header_names[header].custom, out, out_bytes);
    return copy_token(conn->wsi, (enum lws_token_indexes)header_names[header].token, out,
                      out_bytes);
}

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

static enum pd_method read_method(struct lws *wsi)
{
    static const struct {
        enum lws_token_indexes token;
        enum pd_method method;
    } methods[] = {
        {WSI_TOKEN_POST_URI, PD_METHOD_POST},       {WSI_TOKEN_GET_URI, PD_METHOD_GET},
        {WSI_TOKEN_HEAD_URI, PD_METHOD_HEAD},       {WSI_TOKEN_PUT_URI, PD_METHOD_PUT},
        {WSI_TOKEN_DELETE_URI, PD_METHOD_DELETE},   {WSI_TOKEN_PATCH_URI, PD_METHOD_PATCH},
        {WSI_TOKEN_OPTIONS_URI, PD_METHOD_OPTIONS},
    };

    for (size_t i = 0; i < PD_COUNT(methods); i++) {
        if (lws_hdr_total_length(wsi, methods[i].token) > 0)
            return methods[i].method;
    }
    return PD_METHOD_OTHER;
}

static void read_version(struct pd_exchange *conn)
{
    char text[32];

    conn->http10 =
        !copy_token(conn->wsi, WSI_TOKEN_HTTP, text, sizeof text) || strcmp(text, "HTTP/1.1") != 0;
    conn->keep_alive = !conn->http10;
    if (!copy_token(conn->wsi, WSI_TOKEN_CONNECTION, text, sizeof text))
        return;
    if (strcasecmp(text, "close") == 0)
        conn->keep_alive = false;
    else if (strcasecmp(text, "keep-alive") == 0)
        conn->keep_alive = true;
}

static void read_trace(struct pd_exchange *conn)
{
    char id[PD_REQUEST_ID_BYTES];
    char parent[PD_TRACEPARENT_BYTES];
    bool has_id = copy_custom(conn->wsi, "x-request-id:", id, sizeof id);
    bool has_parent = copy_custom(conn->wsi, "traceparent:", parent, sizeof parent);

    pd_trace_init(&conn->trace, has_id ? id : NULL, has_parent ? parent : NULL);
}

enum framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_MISSING, FRAMING_BAD };

/* RFC 9112, section 6.3, as strictly as it may be read: one Content-Length of
 * digits only, no Transfer-Encoding. */
static enum framing read_framing(struct pd_exchange *conn)
{
    char text[24];
    char *end;

    if (lws_hdr_total_length(conn->wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0)
        return lws_hdr_total_length(conn->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0 ? FRAMING_BAD
                                                                                  : FRAMING_MISSING;
    if (lws_hdr_total_length(conn->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) <= 0)
        return conn->method == PD_METHOD_POST || conn->method == PD_METHOD_PUT ||
                       conn->method == PD_METHOD_PATCH
                   ? FRAMING_MISSING
                   : FRAMING_NONE;
    if (!copy_token(conn->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, text, sizeof text) ||
        strlen(text) > 18 || strspn(text, "0123456789") != strlen(text))
        return FRAMING_BAD;
    conn->body_bytes = strtoull(text, &end, 10);
    return FRAMING_LENGTH;
}

static bool expects_continue(const struct pd_exchange *conn)
{
    char expect[32];

    return copy_token(conn->wsi, WSI_TOKEN_HTTP_EXPECT, expect, sizeof expect) &&
           strcasecmp(expect, "100-continue") == 0;
}

static void begin_body(struct pd_exchange *conn)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

    if (conn->expects) {
        conn->expects = false;
        memcpy(conn->server->scratch + LWS_PRE, go_on, sizeof go_on - 1);
        send_scratch(conn, sizeof go_on - 1);
    }
    conn->state = CONN_BODY;
    conn->body_since_ms = uv_now(conn->server->loop);
    conn_set_clock(conn, CLOCK_BODY);
}

void pd_exchange_want_body(struct pd_exchange *conn, size_t max_bytes,
                           void (*ready)(void *arg, struct pd_exchange *exchange, const char *body,
                                         size_t len),
                           void *arg)
{
    char detail[96];

    if (conn->body_bytes > max_bytes) {
        snprintf(detail, sizeof detail, "the body may have at most %zu bytes", max_bytes);
        refuse(conn, 413, detail);
        return;
    }
    conn->ready = ready;
    conn->ready_arg = arg;
    pd_buf_init(&conn->body, max_bytes);
    begin_body(conn);
}

void pd_exchange_on_gone(struct pd_exchange *conn, void (*gone)(void *arg), void *arg)
{
    conn->gone = gone;
    conn->gone_arg = arg;
}

/* The handler did not reply: it must have asked for the body or to be told. */
static void await_handler(struct pd_exchange *conn)
{
    if (conn->replied || conn->state != CONN_RUNNING || conn->hang_up)
        return;
    assert(conn->gone);
}

static void on_head(struct pd_exchange *conn, const char *path, size_t path_len)
{
    enum framing framing;

    pd_deadline_clear(&conn->deadline);
    lws_set_timeout(conn->wsi, NO_PENDING_TIMEOUT, 0);
    conn_reset(conn);
    conn->state = CONN_RUNNING;
    conn->method = read_method(conn->wsi);
    snprintf(conn->path, sizeof conn->path, "%.*s",
             path_len < sizeof conn->path ? (int)path_len : 0, path);
    read_version(conn);
    read_trace(conn);
    framing = read_framing(conn);
    if (framing == FRAMING_BAD || framing == FRAMING_MISSING) {
        conn->keep_alive = false;
        conn->unread = framing == FRAMING_MISSING;
        if (framing == FRAMING_BAD)
            refuse(conn, 400, "the request's Content-Length cannot be relied on");
        else
            refuse(conn, 411, "a request with a body needs a Content-Length");
        return;
    }
    conn->unread = conn->body_bytes > 0;
    conn->expects = conn->unread && expects_continue(conn);
    conn->server->on_request(conn->server->arg, conn);
    await_handler(conn);
}

/* ---- bodies ---- */

static void on_body(struct pd_exchange *conn, const void *data, size_t len)
{
    conn->body_received += len;
    if (conn->state != CONN_BODY || len == 0)
        return; /* answered already: thrown away */
    if (pd_buf_add(&conn->body, data, len, NULL) < 0) {
        conn->keep_alive = false;
        refuse(conn, 413, "the body is longer than announced");
    } else if (uv_now(conn->server->loop) - conn->body_since_ms <
               (uint64_t)conn->server->limits.body_total_ms) {
        conn_set_clock(conn, CLOCK_BODY);
    }
}

static void on_body_complete(struct pd_exchange *conn)
{
    if (conn->state == CONN_LINGERING) {
        conn->hang_up = true;
    } else if (conn->state == CONN_BODY) {
        struct pd_buf body = conn->body;
        conn->body = (struct pd_buf){.max = 0};
        conn->unread = false;
        conn->state = CONN_RUNNING;
        pd_deadline_clear(&conn->deadline);
        conn->ready(conn->ready_arg, conn, body.data ? body.data : "", body.len);
        pd_buf_fini(&body);
        await_handler(conn);
    } else if ((conn->state == CONN_RUNNING || conn->state == CONN_WRITING) && !conn->paused) {
        conn->paused = true;
        lws_rx_flow_control(conn->wsi, 0);
        if (conn->state == CONN_RUNNING)
            conn_set_clock(conn, CLOCK_PAUSED);
    }
}

/* ---- what libwebsockets could not parse ---- */

static void on_unknown_method(struct pd_exchange *conn, const char *data, size_t len)
{
    const char *space = memchr(data, ' ', len);
    size_t rest = space ? len - (size_t)(space + 1 - data) : 0;
    size_t path_len = 0;

    conn->headless = true;
    conn->keep_alive = false;
    conn->method = PD_METHOD_OTHER;
    pd_trace_init(&conn->trace, NULL, NULL);
    pd_deadline_clear(&conn->deadline);
    while (path_len < rest && !strchr(" ?\r\n", space[1 + path_len]))
        path_len++;
    if (!space || path_len == 0 || path_len >= sizeof conn->path || space[1] != '/') {
        refuse(conn, 400, "this is no HTTP/1.1 request");
        return;
    }
    snprintf(conn->path, sizeof conn->path, "%.*s", (int)path_len, space + 1);
    conn->server->on_request(conn->server->arg, conn);
    assert(conn->replied); /* no route has such a method */
}

static void on_upgrade(struct pd_exchange *conn)
{
    pd_deadline_clear(&conn->deadline);
    conn->method = read_method(conn->wsi);
    conn->keep_alive = false;
    read_trace(conn);
    refuse(conn, 400, "this service speaks HTTP/1.1 and upgrades to nothing else");
}

/* ---- libwebsockets' callbacks ---- */

static void dispatch_reason(struct pd_exchange *conn, enum lws_callback_reasons reason, void *in,
                            size_t len)
{
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        on_head(conn, in, len);
        break;
    case LWS_CALLBACK_HTTP_BODY:
        on_body(conn, in, len);
        break;
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        on_body_complete(conn);
        break;
    case LWS_CALLBACK_HTTP_WRITEABLE:
        send_next(conn);
        break;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        on_upgrade(conn);
        conn->hang_up = true;
        break;
    case LWS_CALLBACK_RAW_RX:
        if (!conn->replied)
            on_unknown_method(conn, in, len);
        conn->hang_up = true;
        break;
    default:
        break;
    }
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                  size_t len)
{
    struct pd_exchange *conn;
    bool hang_up;

    (void)user;
    switch (reason) {
    case LWS_CALLBACK_HTTP:
    case LWS_CALLBACK_HTTP_BODY:
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
    case LWS_CALLBACK_HTTP_WRITEABLE:
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
    case LWS_CALLBACK_RAW_RX:
        conn = lws_get_opaque_user_data(wsi);
        if (!conn || conn->state == CONN_CLOSED)
            return -1;
        conn->inside = true;
        dispatch_reason(conn, reason, in, len);
        conn->inside = false;
        hang_up = conn->hang_up;
        return hang_up ? -1 : 0;
    case LWS_CALLBACK_CLOSED_HTTP:
    case LWS_CALLBACK_RAW_CLOSE:
        conn = lws_get_opaque_user_data(wsi);
        if (conn)
            conn_ended(conn);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        conn = lws_get_opaque_user_data(wsi);
        if (conn) {
            conn_ended(conn);
            conn->lws_open = false;
            conn_free_if_done(conn);
        }
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "http", .callback = on_lws},
    {.name = NULL},
};

/* ---- accepting ---- */

static void conn_adopt(struct pd_exchange *conn)
{
    lws_adopt_desc_t desc = {
        .vh = conn->server->vhost,
        .type = LWS_ADOPT_HTTP | LWS_ADOPT_SOCKET,
        .fd = {.sockfd = conn->fd},
        .opaque = conn,
    };

    conn_leave_room(conn);
    conn->state = CONN_IDLE;
    conn->lws_open = true;
    conn->wsi = lws_adopt_descriptor_vhost_via_info(&desc);
    if (conn->wsi)
        lws_set_timeout(conn->wsi, NO_PENDING_TIMEOUT, 0);
    else
        conn_ended(conn);
}

static void on_first_byte(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    conn_adopt(poll->data);
}

static void refuse_connection(int fd)
{
    static const char text[] =
        "HTTP/1.1 503 Service Unavailable\r\n"
        "Retry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

    (void)!send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

static void on_accept(void *arg, int fd)
{
    struct pd_server *server = arg;
    struct pd_exchange *conn;

    if (server->n_conns >= server->conns_max) {
        refuse_connection(fd);
        return;
    }
    conn = PD_NEW(struct pd_exchange);
    conn->server = server;
    conn->fd = fd;
    conn->room.data = conn;
    if (uv_poll_init(server->loop, &conn->room, fd) < 0) {
        close(fd);
        free(conn);
        return;
    }
    conn->room_open = true;
    conn->next = server->conns;
    if (conn->next)
        conn->next->prev = conn;
    server->conns = conn;
    server->n_conns++;
    conn_set_clock(conn, CLOCK_HEAD);
    uv_poll_start(&conn->room, UV_READABLE, on_first_byte);
}

/* ---- deadlines ---- */

static bool peer_has_closed(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof info;

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
           info.tcpi_state != TCP_ESTABLISHED;
}

static void on_deadline(void *arg, struct pd_deadline *deadline)
{
    struct pd_exchange *conn = PD_CONTAINER_OF(deadline, struct pd_exchange, deadline);

    (void)arg;
    if (deadline->kind == CLOCK_BODY) {
        conn->keep_alive = false;
        refuse(conn, 408, "the rest of the body did not arrive in time");
    } else if (deadline->kind == CLOCK_PAUSED && !peer_has_closed(conn->fd)) {
        conn_set_clock(conn, CLOCK_PAUSED);
    } else {
        conn_hang_up(conn);
    }
}

/* ---- life of the server ---- */

static void on_lws_log(int level, const char *line)
{
    char text[256];

    pd_strcpy(text, sizeof text, line);
    text[strcspn(text, "\n")] = '\0';
    pd_log(level & (LLL_ERR | LLL_WARN) ? PD_LOG_WARN : PD_LOG_DEBUG, "lws", text, NULL);
}

static int open_lws(struct pd_server *server, struct pd_err *err)
{
    void *loops[1] = {server->loop};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME |
                   LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_NO_LWS_SYSTEM_STATES |
                   LWS_SERVER_OPTION_FALLBACK_TO_APPLY_LISTEN_ACCEPT_CONFIG,
        .foreign_loops = loops,
        .count_threads = 1,
        .alpn = "http/1.1",
        .max_http_header_data = PD_REQUEST_HEAD_BYTES_MAX,
        .pt_serv_buf_size = LWS_PRE + SCRATCH_BYTES,
        .timeout_secs = LWS_NEVER_S,
        .keepalive_timeout = LWS_NEVER_S,
        .timeout_secs_ah_idle = LWS_NEVER_S,
        .listen_accept_role = "raw-skt",
        .listen_accept_protocol = "http",
        .vhost_name = "paddock",
    };

    lws_set_log_level(LLL_ERR | LLL_WARN, on_lws_log);
    server->lws = lws_create_context(&info);
    if (!server->lws)
        return pd_err_set(err, PD_INTERNAL,
                          "libwebsockets could not be set up; its libuv plugin "
                          "(libwebsockets-evlib-uv) is needed");
    server->vhost = lws_create_vhost(server->lws, &info);
    if (!server->vhost) {
        lws_context_destroy(server->lws);
        return pd_err_set(err, PD_INTERNAL, "libwebsockets could not be set up");
    }
    return 0;
}

/* As many as allowed, but never so many that nothing is left for sandboxes. */
static size_t connections_max(int wanted)
{
    long files = sysconf(_SC_OPEN_MAX);

    if (files > 0 && files - FILES_RESERVED < wanted)
        return files > 2 * FILES_RESERVED ? (size_t)(files - FILES_RESERVED) : (size_t)files / 2;
    return (size_t)wanted;
}

int pd_server_open(const struct pd_server_config *config, struct pd_server **ret_server,
                   struct pd_err *err)
{
    struct pd_server *server = PD_NEW(struct pd_server);
    const struct pd_server_limits *limits = config->limits;
    int rc;

    server->loop = config->loop;
    server->limits = *limits;
    server->on_request = config->on_request;
    server->arg = config->arg;
    rc = pd_listener_open(config->loop, config->address, config->port, on_accept, server,
                          &server->listener, err);
    if (rc < 0) {
        free(server);
        return rc;
    }
    server->conns_max = connections_max(limits->connections_max);
    pd_deadlines_init(&server->deadlines, config->loop,
                      (const int64_t[CLOCKS]){
                          [CLOCK_HEAD] = limits->head_ms,
                          [CLOCK_IDLE] = limits->idle_ms,
                          [CLOCK_BODY] = limits->body_idle_ms,
                          [CLOCK_WRITE] = limits->write_ms,
                          [CLOCK_LINGER] = limits->linger_ms,
                          [CLOCK_PAUSED] = 1000,
                      },
                      CLOCKS, on_deadline, server);
    if (open_lws(server, err) < 0)
        abort(); /* an installation without its libraries: nothing can be served */
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

static void on_last_handle_closed(uv_handle_t *handle)
{
    struct pd_server *server = handle->data;
    void (*closed)(void *arg) = server->closed;
    void *arg = server->closed_arg;

    free(server);
    closed(arg);
}

/* libwebsockets closes its handles over two turns of the loop and tells nobody
 * when it has; only then may its context be freed. */
static void on_turn(uv_idle_t *idle)
{
    struct pd_server *server = idle->data;

    if (++server->close_turns < CLOSE_TURNS)
        return;
    uv_idle_stop(idle);
    lws_context_destroy(server->lws);
    uv_close((uv_handle_t *)idle, on_last_handle_closed);
}

static void close_step(struct pd_server *server)
{
    if (server->n_conns > 0 || server->open_parts > 0)
        return;
    lws_context_destroy(server->lws);
    uv_idle_init(server->loop, &server->turn);
    server->turn.data = server;
    uv_idle_start(&server->turn, on_turn);
}

static void on_part_closed(struct pd_server *server)
{
    server->open_parts--;
    close_step(server);
}

static void on_listener_closed(void *arg)
{
    on_part_closed(arg);
}

static void on_deadlines_closed(uv_handle_t *handle)
{
    struct pd_deadlines *deadlines = handle->data;

    on_part_closed(PD_CONTAINER_OF(deadlines, struct pd_server, deadlines));
}

void pd_server_close(struct pd_server *server, void (*closed)(void *arg), void *arg)
{
    struct pd_exchange *next;

    assert(!server->closing);
    server->closing = true;
    server->closed = closed;
    server->closed_arg = arg;
    server->open_parts = 2;
    for (struct pd_exchange *conn = server->conns; conn; conn = next) {
        next = conn->next;
        conn_hang_up(conn);
    }
    pd_listener_close(server->listener, on_listener_closed, server);
    pd_deadlines_close(&server->deadlines, on_deadlines_closed);
}
