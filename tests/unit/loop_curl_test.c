#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/loop_curl.h"
#include "common/mem.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/loop_until.h"

#define WAIT_MS 20000

struct ctx {
    uv_loop_t loop;
    struct pd_http *http;
    struct pd_http_peer *peer;
    char url[64];
    /* what the peer does */
    void (*answer)(struct ctx *ctx, struct pd_peer_connection *connection, const char *request);
    char request[8192]; /* the last one */
    struct pd_peer_connection *connection;
    /* what came of it */
    unsigned callbacks;
    unsigned expected;
    bool done;
    int kind;
    char msg[PD_ERR_MSG_MAX];
    int status;
    char body[4096];
    size_t body_len;
    char header[64];
    struct pd_http_request *under_way;
    /* streamed */
    int start_status;
    size_t streamed;
    enum { STREAM_GO_ON, STREAM_CANCEL, STREAM_CLOSE, STREAM_SEND } on_stream;
    bool closed;
};

static void on_request(void *arg, struct pd_peer_connection *connection, const char *request)
{
    struct ctx *ctx = arg;

    ctx->connection = connection;
    pd_strcpy(ctx->request, sizeof ctx->request, request);
    ctx->answer(ctx, connection, request);
}

static void on_response(void *arg, const struct pd_err *err,
                        const struct pd_http_response *response)
{
    struct ctx *ctx = arg;

    assert_true(!err == (response != NULL));
    ctx->kind = err ? err->kind : 0;
    pd_strcpy(ctx->msg, sizeof ctx->msg, err ? err->msg : "");
    if (response) {
        ctx->status = response->status;
        assert_int_equal(response->body[response->body_len], '\0');
        pd_strcpy(ctx->body, sizeof ctx->body, response->body);
        ctx->body_len = response->body_len;
        pd_http_header(response, "x-test", ctx->header, sizeof ctx->header);
    }
    ctx->callbacks++;
    ctx->done = ctx->callbacks >= ctx->expected;
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static int setup(void **state)
{
    struct ctx *ctx = PD_NEW(struct ctx);

    uv_loop_init(&ctx->loop);
    ctx->peer = pd_http_peer_open(&ctx->loop, NULL, on_request, ctx);
    ctx->http = pd_http_new(&ctx->loop);
    ctx->expected = 1;
    snprintf(ctx->url, sizeof ctx->url, "http://127.0.0.1:%d/x", pd_http_peer_port(ctx->peer));
    *state = ctx;
    return 0;
}

static int teardown(void **state)
{
    struct ctx *ctx = *state;
    bool finished;

    if (!ctx->closed) {
        pd_http_close(ctx->http, on_closed, &ctx->closed);
        assert_false(ctx->closed);
        assert_true(pd_loop_until(&ctx->loop, &ctx->closed, WAIT_MS));
    }
    pd_http_peer_close(ctx->peer);
    finished = pd_loop_finish(&ctx->loop, WAIT_MS);
    free(ctx);
    return finished ? 0 : -1;
}

static void send_it(struct ctx *ctx, struct pd_http_params params)
{
    struct pd_err err;

    params.method = params.method ? params.method : "GET";
    params.url = params.url ? params.url : ctx->url;
    params.direct = true;
    params.response_bytes_max = params.response_bytes_max ? params.response_bytes_max : 1000;
    if (pd_http_send(ctx->http, &params, on_response, ctx, &ctx->under_way, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(ctx->callbacks, 0);
}

static void wait_it(struct ctx *ctx)
{
    assert_true(pd_loop_until(&ctx->loop, &ctx->done, WAIT_MS));
    pd_loop_for(&ctx->loop, 5);
    assert_int_equal(ctx->callbacks, ctx->expected); /* once, and only once */
    ctx->done = false;
    ctx->callbacks = 0;
}

#define SEND(...) send_it(ctx, (struct pd_http_params){__VA_ARGS__})

/* ---- answers ---- */

static void say_hello(struct ctx *ctx, struct pd_peer_connection *connection, const char *request)
{
    (void)ctx;
    (void)request;
    pd_peer_say(connection,
                "HTTP/1.1 200 OK\r\nX-Test: \t a value \r\nContent-Length: 5\r\n\r\n"
                "hello");
}

static void say_nothing(struct ctx *ctx, struct pd_peer_connection *connection, const char *request)
{
    (void)ctx;
    (void)connection;
    (void)request;
}

static void hang_up(struct ctx *ctx, struct pd_peer_connection *connection, const char *request)
{
    (void)ctx;
    (void)request;
    pd_peer_end(connection);
}

static void say_garbage(struct ctx *ctx, struct pd_peer_connection *connection, const char *request)
{
    (void)ctx;
    (void)request;
    pd_peer_say(connection, "\x16\x03\x01 what is this?\r\n\r\n");
    pd_peer_end(connection);
}

static void say_half(struct ctx *ctx, struct pd_peer_connection *connection, const char *request)
{
    (void)ctx;
    (void)request;
    pd_peer_say(connection, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf");
    pd_peer_end(connection);
}

static void say_much(struct ctx *ctx, struct pd_peer_connection *connection, const char *request)
{
    static char much[100000];

    (void)ctx;
    (void)request;
    memset(much, 'm', sizeof much);
    pd_peer_say(connection, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    pd_peer_say_bytes(connection, much, sizeof much);
}

static void say_many_headers(struct ctx *ctx, struct pd_peer_connection *connection,
                             const char *request)
{
    (void)ctx;
    (void)request;
    pd_peer_say(connection, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 5000; i++)
        pd_peer_say(connection, "X-Filler: 0123456789012345678901234567890123456789\r\n");
    pd_peer_say(connection, "Content-Length: 0\r\n\r\n");
}

static void redirect(struct ctx *ctx, struct pd_peer_connection *connection, const char *request)
{
    (void)ctx;
    (void)request;
    pd_peer_say(connection,
                "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n"
                "Content-Length: 0\r\n\r\n");
}

static void say_interim_first(struct ctx *ctx, struct pd_peer_connection *connection,
                              const char *request)
{
    pd_peer_say(connection, "HTTP/1.1 103 Early Hints\r\nX-Test: early\r\n\r\n");
    say_hello(ctx, connection, request);
}

static void stream_chunks(struct ctx *ctx, struct pd_peer_connection *connection,
                          const char *request)
{
    (void)ctx;
    (void)request;
    pd_peer_say(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    pd_peer_say(connection, "5\r\nfirst\r\n");
}

/* ---- tests ---- */

static void test_get(void **state)
{
    struct ctx *ctx = *state;
    static const char *const headers[] = {"X-One: 1", "Accept: application/json", NULL};

    ctx->answer = say_hello;
    SEND(.headers = headers);
    wait_it(ctx);
    assert_int_equal(ctx->kind, 0);
    assert_int_equal(ctx->status, 200);
    assert_string_equal(ctx->body, "hello");
    assert_string_equal(ctx->header, "a value");
    assert_memory_equal(ctx->request, "GET /x HTTP/1.1\r\n", 17);
    assert_non_null(strstr(ctx->request, "\r\nX-One: 1\r\n"));
    assert_null(strstr(ctx->request, "Expect"));
}

static void test_post_and_reuse(void **state)
{
    struct ctx *ctx = *state;
    char body[] = "some\0bytes";

    ctx->answer = say_hello;
    for (int i = 0; i < 20; i++) {
        SEND(.method = "POST", .body = body, .body_len = sizeof body);
        wait_it(ctx);
        assert_int_equal(ctx->kind, 0);
        assert_non_null(strstr(ctx->request, "Content-Length: 11\r\n"));
    }
    SEND(.method = "POST");
    wait_it(ctx);
    assert_non_null(strstr(ctx->request, "Content-Length: 0\r\n"));
    SEND(.method = "DELETE");
    wait_it(ctx);
    assert_memory_equal(ctx->request, "DELETE /x", 9);
    assert_int_equal(pd_http_peer_connections(ctx->peer), 1);
}

static void test_unix_socket(void **state)
{
    struct ctx *ctx = *state;
    char path[] = "/tmp/pd-curl-XXXXXX";
    struct pd_http_peer *peer;

    assert_true(mkstemp(path) >= 0);
    unlink(path);
    peer = pd_http_peer_open(&ctx->loop, path, on_request, ctx);
    ctx->answer = say_hello;
    SEND(.url = "http://docker/y", .unix_socket = path);
    wait_it(ctx);
    assert_int_equal(ctx->kind, 0);
    assert_memory_equal(ctx->request, "GET /y", 6);
    pd_http_peer_close(peer);
    pd_loop_for(&ctx->loop, 5);
    unlink(path);
    SEND(.url = "http://docker/y", .unix_socket = "/nonexistent/socket");
    wait_it(ctx);
    assert_int_equal(ctx->kind, PD_UNAVAILABLE);
}

static void test_what_goes_wrong(void **state)
{
    static const struct {
        const char *what;
        void (*answer)(struct ctx *ctx, struct pd_peer_connection *connection, const char *request);
        int kind;
    } cases[] = {
        {"hangs up", hang_up, PD_UNAVAILABLE},
        {"garbage", say_garbage, PD_UNAVAILABLE},
        {"ends half way", say_half, PD_UNAVAILABLE},
        {"too long", say_much, PD_LIMIT},
        {"silence", say_nothing, PD_TIMEOUT},
        {"endless headers", say_many_headers, PD_UNAVAILABLE},
        {"redirect", redirect, 0},
        {"interim response", say_interim_first, 0},
    };
    struct ctx *ctx = *state;

    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        ctx->answer = cases[i].answer;
        SEND(.timeout_ms = 300);
        wait_it(ctx);
        if (ctx->kind != cases[i].kind)
            fail_msg("%s: %d %s", cases[i].what, ctx->kind, ctx->msg);
        if (ctx->answer == redirect)
            assert_int_equal(ctx->status, 302); /* not followed */
    }
    assert_string_equal(ctx->header, "a value"); /* not the interim one's */
    assert_string_equal(ctx->body, "hello");
}

static void test_nobody_there(void **state)
{
    struct ctx *ctx = *state;
    struct pd_http_peer *peer = pd_http_peer_open(&ctx->loop, NULL, on_request, ctx);
    char url[64];

    snprintf(url, sizeof url, "http://127.0.0.1:%d/", pd_http_peer_port(peer));
    pd_http_peer_close(peer);
    pd_loop_for(&ctx->loop, 5);
    SEND(.url = url, .timeout_ms = 5000);
    wait_it(ctx);
    assert_int_equal(ctx->kind, PD_UNAVAILABLE);
}

static void test_stall(void **state)
{
    struct ctx *ctx = *state;

    ctx->answer = say_nothing;
    SEND(.stall_timeout_ms = 1000);
    wait_it(ctx);
    assert_int_equal(ctx->kind, PD_TIMEOUT);
}

static void test_cannot_be_sent(void **state)
{
    static const char *const split[] = {"X: a\r\nEvil: yes", NULL};
    struct ctx *ctx = *state;
    const struct pd_http_params bad[] = {
        {.method = "GET", .url = "file:///etc/passwd"},
        {.method = "GET", .url = "127.0.0.1"},
        {.method = "GET", .url = "gopher://127.0.0.1/"},
        {.method = "GET", .url = ctx->url, .headers = split},
    };

    for (size_t i = 0; i < PD_COUNT(bad); i++)
        assert_int_equal(pd_http_send(ctx->http, &bad[i], on_response, ctx, NULL, NULL),
                         PD_INVALID);
    pd_loop_for(&ctx->loop, 20);
    assert_int_equal(ctx->callbacks, 0);
}

static void test_cancel_before_and_during(void **state)
{
    struct ctx *ctx = *state;

    ctx->answer = say_nothing;
    SEND(.timeout_ms = 0);
    pd_http_cancel(ctx->under_way);
    pd_http_cancel(ctx->under_way);
    assert_int_equal(ctx->callbacks, 0); /* not from within */
    wait_it(ctx);
    assert_int_equal(ctx->kind, PD_CANCELED);

    SEND(.timeout_ms = 0);
    pd_loop_for(&ctx->loop, 30);
    assert_int_equal(pd_http_peer_living(ctx->peer), 1);
    pd_http_cancel(ctx->under_way);
    assert_int_equal(ctx->callbacks, 0);
    wait_it(ctx);
    assert_int_equal(ctx->kind, PD_CANCELED);
}

static void test_close_cancels_all(void **state)
{
    struct ctx *ctx = *state;

    ctx->answer = say_nothing;
    ctx->expected = 10;
    for (int i = 0; i < 5; i++)
        SEND(.timeout_ms = 0);
    pd_loop_for(&ctx->loop, 30); /* these have been sent */
    for (int i = 0; i < 5; i++)
        SEND(.timeout_ms = 0);
    pd_http_close(ctx->http, on_closed, &ctx->closed);
    assert_int_equal(pd_http_send(ctx->http,
                                  &(struct pd_http_params){.method = "GET", .url = ctx->url},
                                  on_response, ctx, NULL, NULL),
                     PD_CANCELED);
    assert_int_equal(ctx->callbacks, 0);
    assert_true(pd_loop_until(&ctx->loop, &ctx->closed, WAIT_MS));
    assert_int_equal(ctx->callbacks, 10);
    assert_int_equal(ctx->kind, PD_CANCELED);
}

static void on_start(void *arg, int status)
{
    struct ctx *ctx = arg;

    assert_int_equal(ctx->start_status, 0);
    ctx->start_status = status;
}

static void on_data(void *arg, const void *data, size_t len)
{
    struct ctx *ctx = arg;

    assert_int_equal(ctx->start_status, 200);
    assert_memory_equal(data, "first", len);
    ctx->streamed += len;
    if (ctx->on_stream == STREAM_CANCEL)
        pd_http_cancel(ctx->under_way);
    else if (ctx->on_stream == STREAM_CLOSE)
        pd_http_close(ctx->http, on_closed, &ctx->closed);
    else if (ctx->on_stream == STREAM_SEND)
        assert_int_equal(
            pd_http_send(ctx->http,
                         &(struct pd_http_params){.method = "GET", .url = ctx->url, .direct = true},
                         on_response, ctx, NULL, NULL),
            0);
}

static void start_stream(struct ctx *ctx)
{
    ctx->answer = stream_chunks;
    ctx->start_status = 0;
    ctx->streamed = 0;
    SEND(.on_start = on_start, .on_data = on_data);
    for (int i = 0; i < 200 && ctx->streamed == 0; i++)
        pd_loop_for(&ctx->loop, 5);
    assert_int_equal(ctx->streamed, 5); /* delivered though the response goes on */
}

static void test_stream(void **state)
{
    struct ctx *ctx = *state;

    start_stream(ctx);
    assert_int_equal(ctx->callbacks, 0);
    pd_peer_say(ctx->connection, "5\r\nfirst\r\n0\r\n\r\n");
    wait_it(ctx);
    assert_int_equal(ctx->kind, 0);
    assert_int_equal(ctx->streamed, 10);
    assert_int_equal(ctx->body_len, 0);
    /* Cut off: an error. */
    start_stream(ctx);
    pd_peer_end(ctx->connection);
    wait_it(ctx);
    assert_int_equal(ctx->kind, PD_UNAVAILABLE);
}

static void test_cancel_in_stream(void **state)
{
    struct ctx *ctx = *state;

    ctx->on_stream = STREAM_CANCEL;
    start_stream(ctx);
    wait_it(ctx);
    assert_int_equal(ctx->kind, PD_CANCELED);
}

static void test_close_in_stream(void **state)
{
    struct ctx *ctx = *state;

    ctx->on_stream = STREAM_CLOSE;
    start_stream(ctx);
    assert_true(pd_loop_until(&ctx->loop, &ctx->closed, WAIT_MS));
    assert_int_equal(ctx->callbacks, 1);
    assert_int_equal(ctx->kind, PD_CANCELED);
}

static void test_send_in_stream(void **state)
{
    struct ctx *ctx = *state;

    ctx->on_stream = STREAM_SEND;
    ctx->answer = stream_chunks;
    SEND(.on_start = on_start, .on_data = on_data);
    for (int i = 0; i < 200 && ctx->streamed == 0; i++) {
        pd_loop_for(&ctx->loop, 1);
        if (ctx->streamed)
            ctx->answer = say_hello;
    }
    ctx->on_stream = STREAM_GO_ON;
    ctx->expected = 2;
    pd_http_cancel(ctx->under_way);
    wait_it(ctx);
}

/* Many at once, each with its own answer; all of them end. */
static void test_many(void **state)
{
    struct ctx *ctx = *state;

    ctx->answer = say_hello;
    ctx->expected = 200;
    for (int i = 0; i < 200; i++)
        SEND(.timeout_ms = 20000);
    wait_it(ctx);
    assert_int_equal(ctx->kind, 0);
}

static void test_header_lookup(void **state)
{
    const struct pd_http_response response = {
        .headers = "Content-Type: text/plain\r\nX-Empty:\r\nX-Test-More: no\r\nx-test: yes\r\n"};
    char out[8] = "before";

    (void)state;
    assert_true(pd_http_header(&response, "X-Test", out, sizeof out));
    assert_string_equal(out, "yes");
    assert_true(pd_http_header(&response, "X-Empty", out, sizeof out));
    assert_string_equal(out, "");
    pd_strcpy(out, sizeof out, "before");
    assert_false(pd_http_header(&response, "X-Tes", out, sizeof out));
    assert_false(pd_http_header(&response, "content-type", out, sizeof out)); /* too long */
    assert_string_equal(out, "before");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_get, setup, teardown),
        cmocka_unit_test_setup_teardown(test_post_and_reuse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unix_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_goes_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stall, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cannot_be_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_before_and_during, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_cancels_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_in_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_in_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_send_in_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test(test_header_lookup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
