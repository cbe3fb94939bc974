/* Theory of operation.
 *
 * A piece goes straight to the socket. What the socket does not take waits in
 * `waiting`; as soon as libuv is done with what it was given (`sending`), the
 * two change places. So at most one write is under way, pieces that wait are
 * sent together, and both buffers are let go when they run empty: a connection
 * that only waits for something to say holds neither.
 *
 * Nothing here calls the handler back at once. A connection that fails is shut
 * down in both directions, which the reading side then hears from the kernel
 * like any hang-up: `gone` has one way in. */
#include <assert.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "api/conn.h"
#include "common/mem.h"

#define CHUNK_HEAD_BYTES 24
#define BUFS_MAX 3
/* Unsent bytes that the kernel takes over: its megabytes would be stale by the time
 * that a slow reader sees them, and would hide from us that it is slow. */
#define KERNEL_UNSENT_BYTES (64 * 1024)

struct pd_flow {
    struct pd_buf waiting;
    struct pd_buf sending; /* libuv has it */
    uv_write_t write;
    uint64_t sent;   /* bytes, of all that libuv has finished */
    bool chunked;    /* pieces are framed */
    bool headless;   /* HEAD: the pieces are not sent */
    bool wants_room; /* the handler waits for `writable` */
    void (*writable)(void *arg);
    void *writable_arg;
    void (*drain)(void *arg);
    void *drain_arg;
    const struct pd_raw_events *raw;
    void *raw_arg;
};

void pd_flow_free(struct pd_flow *flow)
{
    if (!flow)
        return;
    pd_buf_fini(&flow->waiting);
    pd_buf_fini(&flow->sending);
    free(flow);
}

static bool is_live(const struct pd_exchange *conn)
{
    return conn->state == PD_CONN_STREAMING || conn->state == PD_CONN_RAW;
}

static size_t unsent(const struct pd_flow *flow)
{
    return flow->waiting.len + flow->sending.len;
}

uint64_t pd_flow_sent(const struct pd_exchange *conn)
{
    size_t left = uv_stream_get_write_queue_size((const uv_stream_t *)&conn->tcp);

    return conn->flow->sent + conn->flow->sending.len - left;
}

/* What may go wrong next: that nobody takes what waits, or that a peer that is not
 * read from has gone. */
static void watch(struct pd_exchange *conn)
{
    if (unsent(conn->flow) > 0)
        pd_conn_set_clock(conn, PD_CLOCK_WRITE);
    else if (conn->paused)
        pd_conn_set_clock(conn, PD_CLOCK_PAUSED);
    else
        pd_deadline_clear(&conn->deadline);
}

static void break_off(struct pd_exchange *conn)
{
    conn->broken = true;
    shutdown(pd_conn_fd(conn), SHUT_RDWR);
    pd_conn_resume(conn); /* to read of the end */
}

/* ---- sending ---- */

static void send_waiting(struct pd_exchange *conn);

static void on_drained(struct pd_exchange *conn)
{
    struct pd_flow *flow = conn->flow;

    if (conn->state == PD_CONN_WRITING) {
        pd_conn_finish(conn);
        return;
    }
    watch(conn);
    if (flow->wants_room) {
        flow->wants_room = false;
        if (flow->writable)
            flow->writable(flow->writable_arg);
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct pd_exchange *conn = write->data;
    struct pd_flow *flow = conn->flow;

    if (conn->state == PD_CONN_CLOSING)
        return;
    flow->sent += flow->sending.len;
    pd_buf_fini(&flow->sending);
    if (status < 0)
        pd_conn_close(conn);
    else if (flow->waiting.len > 0)
        send_waiting(conn);
    else
        on_drained(conn);
}

static void send_waiting(struct pd_exchange *conn)
{
    struct pd_flow *flow = conn->flow;
    uv_buf_t buf = {.base = flow->waiting.data, .len = flow->waiting.len};

    flow->sending = flow->waiting;
    pd_buf_init(&flow->waiting, PD_SEND_BYTES_MAX);
    flow->write.data = conn;
    if (uv_write(&flow->write, (uv_stream_t *)&conn->tcp, &buf, 1, on_written) < 0) {
        pd_buf_fini(&flow->sending);
        break_off(conn);
    }
}

static void put_waiting(struct pd_exchange *conn, const uv_buf_t *bufs, size_t n, size_t skip)
{
    struct pd_flow *flow = conn->flow;
    bool was_empty = unsent(flow) == 0;

    for (size_t i = 0; i < n; i++) {
        size_t part = skip < bufs[i].len ? skip : bufs[i].len;
        skip -= part;
        if (bufs[i].len > part &&
            pd_buf_add(&flow->waiting, bufs[i].base + part, bufs[i].len - part, NULL) < 0) {
            break_off(conn); /* the handler did not wait */
            return;
        }
    }
    if (flow->sending.len == 0 && flow->waiting.len > 0)
        send_waiting(conn);
    if (was_empty && unsent(flow) > 0) {
        conn->sent = pd_flow_sent(conn);
        watch(conn);
    }
}

static void put(struct pd_exchange *conn, const uv_buf_t *bufs, size_t n)
{
    size_t len = 0;
    int sent = 0;

    for (size_t i = 0; i < n; i++)
        len += bufs[i].len;
    if (unsent(conn->flow) == 0)
        sent = uv_try_write((uv_stream_t *)&conn->tcp, bufs, (unsigned)n);
    if (sent < 0 && sent != UV_EAGAIN) {
        break_off(conn);
        return;
    }
    if (sent < 0)
        sent = 0;
    conn->flow->sent += (uint64_t)sent;
    if ((size_t)sent < len)
        put_waiting(conn, bufs, n, (size_t)sent);
}

bool pd_exchange_send(struct pd_exchange *conn, const void *data, size_t len)
{
    struct pd_flow *flow = conn->flow;
    char head[CHUNK_HEAD_BYTES];
    uv_buf_t bufs[BUFS_MAX] = {
        {.base = head},
        {.base = (char *)(uintptr_t)data, .len = len},
        {.base = "\r\n", .len = 2},
    };

    assert(is_live(conn));
    if (len == 0 || conn->broken || flow->headless)
        return !conn->broken;
    if (flow->chunked) {
        bufs[0].len = (size_t)snprintf(head, sizeof head, "%zx\r\n", len);
        put(conn, bufs, BUFS_MAX);
    } else {
        put(conn, &bufs[1], 1);
    }
    if (!conn->broken && unsent(flow) < PD_SEND_HIGH_BYTES)
        return true;
    flow->wants_room = true;
    return false;
}

void pd_exchange_on_writable(struct pd_exchange *conn, void (*cb)(void *arg), void *arg)
{
    conn->flow->writable = cb;
    conn->flow->writable_arg = arg;
}

size_t pd_exchange_unsent(const struct pd_exchange *conn)
{
    return unsent(conn->flow);
}

/* ---- beginning ---- */

/* Each of these is a wish: a socket that knows it not (it may be no TCP socket) still
 * works, and heartbeats find out what the first would have told. */
static void set_options(struct pd_exchange *conn)
{
    int timeout_ms = (int)conn->server->limits.write_ms;
    int unsent_bytes = KERNEL_UNSENT_BYTES;
    int fd = pd_conn_fd(conn);

    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes, sizeof unsent_bytes);
}

static void start(struct pd_exchange *conn, enum pd_conn_state state)
{
    assert(!conn->replied && !conn->flow && conn->state == PD_CONN_RUNNING);
    conn->flow = PD_NEW(struct pd_flow);
    pd_buf_init(&conn->flow->waiting, PD_SEND_BYTES_MAX);
    pd_buf_init(&conn->flow->sending, PD_SEND_BYTES_MAX);
    conn->state = state;
    conn->server->n_streaming++;
    set_options(conn);
    watch(conn);
}

static void send_head(struct pd_exchange *conn, int status, const char *content_type,
                      const char *framing, const char *headers)
{
    char head[PD_REPLY_HEAD_BYTES];
    uv_buf_t buf = {.base = head};

    buf.len = pd_exchange_format_head(conn, status, content_type, framing, headers, head);
    put(conn, &buf, 1);
}

void pd_exchange_begin(struct pd_exchange *conn, int status, const char *content_type,
                       const char *headers)
{
    pd_exchange_decide_keep_alive(conn);
    if (conn->http10)
        conn->keep_alive = false; /* its end is how the answer ends */
    start(conn, PD_CONN_STREAMING);
    conn->flow->chunked = !conn->http10;
    conn->flow->headless = conn->method == PD_METHOD_HEAD;
    send_head(conn, status, content_type, conn->http10 ? "" : "Transfer-Encoding: chunked\r\n",
              headers);
}

static void on_raw_gone(void *arg)
{
    struct pd_exchange *conn = arg;

    conn->flow->raw->gone(conn->flow->raw_arg);
}

bool pd_exchange_has_more(const struct pd_exchange *conn)
{
    return !conn->head && conn->in.len > 0;
}

void pd_exchange_upgrade(struct pd_exchange *conn, const char *headers,
                         const struct pd_raw_events *events, void *arg)
{
    assert((conn->head || !pd_exchange_has_more(conn)) && !pd_conn_is_body_unread(conn) &&
           !conn->http10);
    conn->keep_alive = false;
    start(conn, PD_CONN_RAW);
    conn->flow->raw = events;
    conn->flow->raw_arg = arg;
    pd_exchange_on_gone(conn, on_raw_gone, conn);
    send_head(conn, 101, NULL, "", headers);
}

void pd_flow_on_data(struct pd_exchange *conn, const char *data, size_t len)
{
    if (!conn->broken)
        conn->flow->raw->data(conn->flow->raw_arg, conn, data, len);
}

void pd_exchange_pause(struct pd_exchange *conn, bool paused)
{
    assert(conn->state == PD_CONN_RAW);
    if (conn->broken || paused == conn->paused)
        return;
    if (paused)
        pd_conn_pause(conn);
    else
        pd_conn_resume(conn);
    watch(conn);
}

/* ---- ending ---- */

void pd_exchange_end(struct pd_exchange *conn)
{
    static char last_chunk[] = "0\r\n\r\n";
    struct pd_flow *flow = conn->flow;
    uv_buf_t buf = {.base = last_chunk, .len = sizeof last_chunk - 1};

    assert(is_live(conn));
    conn->replied = true;
    if (!conn->broken && flow->chunked && !flow->headless)
        put(conn, &buf, 1);
    if (conn->broken) {
        pd_conn_close(conn);
        return;
    }
    conn->lingers = conn->state == PD_CONN_RAW;
    conn->server->n_streaming--;
    conn->server->n_writing++;
    conn->state = PD_CONN_WRITING;
    if (unsent(flow) == 0)
        pd_conn_finish(conn);
}

void pd_exchange_abort(struct pd_exchange *conn)
{
    assert(is_live(conn));
    conn->replied = true;
    pd_conn_close(conn);
}

void pd_exchange_on_drain(struct pd_exchange *conn, void (*drain)(void *arg), void *arg)
{
    conn->flow->drain = drain;
    conn->flow->drain_arg = arg;
}

void pd_flow_drain(struct pd_exchange *conn)
{
    void (*drain)(void *arg) = is_live(conn) ? conn->flow->drain : NULL;

    if (!drain)
        return;
    conn->flow->drain = NULL;
    drain(conn->flow->drain_arg);
}
