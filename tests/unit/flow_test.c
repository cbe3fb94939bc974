#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/server.h"
#include "common/mem.h"
#include "tests/lib/loop_until.h"
#include "tests/lib/server_rig.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define UPGRADE(path)                                                                              \
    "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n"

/* A server whose handler knows three paths:
 *   /stream  begins an answer; the test goes on with it
 *   /raw     hands the connection over; what comes is counted, and sent back
 *   /now     replies at once */
struct rig {
    struct server_rig net;
    struct pd_exchange *exchange; /* the begun or upgraded one */
    int writable;
    int drained;
    bool inside; /* the test is in a call of the server's */
    bool asked_upgrade;
    bool end_on_data;
    size_t raw_bytes;
};

static const struct pd_server_limits limits = {
    .connections_max = 8,
    .bodies_bytes = 1u << 20,
    .head_ms = 10000,
    .idle_ms = 10000,
    .body_idle_ms = 10000,
    .body_total_ms = 10000,
    .write_ms = 1000,
    .linger_ms = 200,
};

static void on_gone(void *arg)
{
    struct rig *rig = arg;

    assert_false(rig->inside);
    rig->net.gone++;
    rig->exchange = NULL;
}

static void on_writable(void *arg)
{
    struct rig *rig = arg;

    assert_false(rig->inside);
    rig->writable++;
}

static void on_drain(void *arg)
{
    struct rig *rig = arg;

    rig->drained++;
    pd_exchange_end(PD_STEAL(rig->exchange));
}

static void on_data(void *arg, struct pd_exchange *exchange, const void *data, size_t len)
{
    struct rig *rig = arg;

    assert_false(rig->inside);
    rig->raw_bytes += len;
    pd_exchange_send(exchange, data, len);
    if (rig->end_on_data)
        pd_exchange_end(PD_STEAL(rig->exchange));
}

static const struct pd_raw_events raw_events = {.data = on_data, .gone = on_gone};

static void on_request(void *arg, struct pd_exchange *exchange)
{
    struct rig *rig = arg;
    const char *path = pd_exchange_path(exchange);

    rig->net.requests++;
    rig->asked_upgrade = pd_exchange_asks_upgrade(exchange, "echo");
    rig->inside = true;
    if (strcmp(path, "/stream") == 0) {
        rig->exchange = exchange;
        pd_exchange_on_gone(exchange, on_gone, rig);
        pd_exchange_begin(exchange, 200, "text/plain", "X-Own: 1\r\n");
        pd_exchange_on_writable(exchange, on_writable, rig);
        pd_exchange_on_drain(exchange, on_drain, rig);
    } else if (strcmp(path, "/raw") == 0) {
        rig->exchange = exchange;
        pd_exchange_upgrade(exchange, "Upgrade: echo\r\n", &raw_events, rig);
        pd_exchange_on_writable(exchange, on_writable, rig);
    } else {
        pd_exchange_reply(exchange, 200, "text/plain", NULL, NULL);
    }
    rig->inside = false;
}

static int set_up(void **state)
{
    struct rig *rig = PD_NEW(struct rig);

    server_rig_open(&rig->net, &limits, on_request, rig);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;

    server_rig_close(&rig->net);
    free(rig);
    return 0;
}

/* Connect and ask; the handler has been told. */
static int dial(struct rig *rig, const char *request)
{
    int fd = server_rig_dial(&rig->net);

    server_rig_ask(fd, request);
    server_rig_await(&rig->net, &rig->net.requests, rig->net.requests + 1);
    return fd;
}

static bool say(struct rig *rig, const void *data, size_t len)
{
    bool room;

    rig->inside = true;
    room = pd_exchange_send(rig->exchange, data, len);
    rig->inside = false;
    return room;
}

/* Sends numbered lines until there is no more room; returns the next number. */
static unsigned fill(struct rig *rig, unsigned number)
{
    char lines[16 * 1024];
    bool room = true;

    while (room) {
        size_t len = 0;
        while (len + 16 < sizeof lines)
            len += (size_t)snprintf(lines + len, sizeof lines - len, "%u\n", number++);
        room = say(rig, lines, len);
        assert_true(pd_exchange_unsent(rig->exchange) < PD_SEND_HIGH_BYTES + sizeof lines + 64);
    }
    return number;
}

/* ---- tests: piece by piece ---- */

static void test_chunks(void **state)
{
    struct rig *rig = *state;
    char text[SERVER_RIG_TEXT_BYTES];
    int fd = dial(rig, GET("/stream") GET("/now"));

    server_rig_hear(&rig->net, fd, "\r\n\r\n", text);
    assert_non_null(strstr(text, "Transfer-Encoding: chunked\r\n"));
    assert_non_null(strstr(text, "X-Own: 1\r\n"));
    assert_null(strstr(text, "Content-Length"));
    assert_true(say(rig, "", 0));
    assert_true(say(rig, "hello", 5));
    server_rig_hear(&rig->net, fd, "5\r\nhello\r\n", text);
    assert_true(say(rig, "0123456789abcdef", 16));
    server_rig_hear(&rig->net, fd, "10\r\n0123456789abcdef\r\n", text);
    assert_int_equal(rig->net.requests, 1); /* the second waits for its turn */
    assert_int_equal(pd_server_streaming(rig->net.server), 1);
    pd_exchange_end(rig->exchange);
    server_rig_hear(&rig->net, fd, "Content-Length: 0", text);
    assert_int_equal(strncmp(text, "0\r\n\r\nHTTP/1.1 200 OK", 20), 0);
    assert_int_equal(pd_server_streaming(rig->net.server), 0);
    close(fd);
    pd_loop_for(&rig->net.loop, 5);
    assert_int_equal(rig->net.gone, 0);
}

static void test_http10(void **state)
{
    struct rig *rig = *state;
    char text[SERVER_RIG_TEXT_BYTES];
    int fd = dial(rig, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");

    say(rig, "hello", 5);
    pd_exchange_end(rig->exchange);
    server_rig_hear(&rig->net, fd, "", text);
    assert_null(strstr(text, "Transfer-Encoding"));
    assert_non_null(strstr(text, "Connection: close\r\n"));
    assert_non_null(strstr(text, "\r\n\r\nhello"));
    close(fd);
}

static void test_head(void **state)
{
    struct rig *rig = *state;
    char text[SERVER_RIG_TEXT_BYTES];
    int fd = dial(rig, "HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n" GET("/now"));

    assert_true(say(rig, "hello", 5));
    pd_exchange_end(rig->exchange);
    server_rig_hear(&rig->net, fd, "Content-Length: 0", text);
    assert_null(strstr(text, "hello"));
    assert_non_null(strstr(text, "\r\n\r\nHTTP/1.1 200 OK"));
    close(fd);
}

/* Nothing is lost, doubled or out of order, however slowly it is read. */
static void test_slow_reader(void **state)
{
    struct rig *rig = *state;
    char text[SERVER_RIG_TEXT_BYTES];
    char got[64 * 1024];
    int fd = dial(rig, "GET /stream HTTP/1.0\r\n\r\n");
    unsigned end = 0;
    unsigned number = 0;
    unsigned digits = 0;
    unsigned expected = 0;
    ssize_t n;

    for (int round = 1; round <= 3; round++) {
        end = fill(rig, end);
        if (round == 1)
            server_rig_hear(&rig->net, fd, "\r\n\r\n0\n", text);
        if (round == 3)
            pd_exchange_end(rig->exchange);
        /* The rest of what hear() took is read over: numbering begins where it breaks off. */
        if (round == 1) {
            char *last = strrchr(text, '\n');
            expected = (unsigned)strtoul(strrchr(strndupa(text, (size_t)(last - text)), '\n') + 1,
                                         NULL, 10) +
                       1;
            number = (unsigned)strtoul(last + 1, NULL, 10);
            digits = (unsigned)strlen(last + 1);
        }
        for (int i = 0; i < SERVER_RIG_WAIT_MS && expected < end; i++) {
            while ((n = recv(fd, got, sizeof got, MSG_DONTWAIT)) > 0) {
                for (ssize_t k = 0; k < n; k++) {
                    if (got[k] == '\n') {
                        assert_true(digits > 0);
                        assert_int_equal(number, expected);
                        expected++;
                        number = digits = 0;
                    } else {
                        number = number * 10 + (unsigned)(got[k] - '0');
                        digits++;
                    }
                }
            }
            pd_loop_for(&rig->net.loop, 1);
        }
        assert_int_equal(expected, end);
        if (round < 3)
            server_rig_await(&rig->net, &rig->writable, round);
    }
    server_rig_hear(&rig->net, fd, "", text);
    assert_int_equal(rig->net.gone, 0);
    close(fd);
}

static void test_handler_that_does_not_wait(void **state)
{
    struct rig *rig = *state;
    int fd = dial(rig, GET("/stream"));
    char piece[32 * 1024] = "";

    for (int i = 0; i < 1000; i++)
        say(rig, piece, sizeof piece);
    assert_int_equal(rig->net.gone, 0);
    assert_true(pd_exchange_unsent(rig->exchange) <= PD_SEND_BYTES_MAX + 8u * 1024 * 1024);
    server_rig_await(&rig->net, &rig->net.gone, 1);
    close(fd);
}

static void test_nothing_is_taken(void **state)
{
    struct rig *rig = *state;
    int fd = dial(rig, GET("/stream"));

    fill(rig, 0);
    server_rig_await(&rig->net, &rig->net.gone, 1);
    assert_int_equal(rig->writable, 0);
    close(fd);
}

static void test_hang_up(void **state)
{
    struct rig *rig = *state;
    static const char ahead[16 * 1024] = "";
    int fd = dial(rig, GET("/stream"));

    close(fd);
    server_rig_await(&rig->net, &rig->net.gone, 1);
    fd = dial(rig, GET("/stream"));
    shutdown(fd, SHUT_WR); /* looks the same */
    server_rig_await(&rig->net, &rig->net.gone, 2);
    close(fd);
    fd = dial(rig, GET("/stream")); /* one that is not read from any more, then hangs up */
    for (int i = 0; i < 4; i++)
        (void)!send(fd, ahead, sizeof ahead, MSG_DONTWAIT | MSG_NOSIGNAL);
    pd_loop_for(&rig->net.loop, 5);
    assert_true(say(rig, "x", 1));
    close(fd);
    server_rig_await(&rig->net, &rig->net.gone, 3);
}

static void test_reset_while_sending(void **state)
{
    struct rig *rig = *state;
    const struct linger hard = {.l_onoff = 1};
    int fd = dial(rig, GET("/stream"));

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
    for (int i = 0; i < 100; i++)
        say(rig, "x", 1); /* fails; `gone` comes from the loop all the same */
    assert_int_equal(rig->net.gone, 0);
    server_rig_await(&rig->net, &rig->net.gone, 1);
}

static void test_abort(void **state)
{
    struct rig *rig = *state;
    char text[SERVER_RIG_TEXT_BYTES];
    int fd = dial(rig, GET("/stream"));

    say(rig, "half", 4);
    pd_exchange_abort(rig->exchange);
    server_rig_hear(&rig->net, fd, "", text);
    assert_non_null(strstr(text, "4\r\nhalf\r\n"));
    assert_null(strstr(text, "\r\n0\r\n"));
    assert_int_equal(rig->net.gone, 0);
    close(fd);
}

static void test_end_with_much_to_send(void **state)
{
    struct rig *rig = *state;
    char text[SERVER_RIG_TEXT_BYTES];
    int fd = dial(rig, GET("/stream"));
    size_t total = 0;

    fill(rig, 0);
    pd_exchange_end(PD_STEAL(rig->exchange));
    assert_int_equal(pd_server_writing(rig->net.server), 1);
    for (int i = 0; i < SERVER_RIG_WAIT_MS && pd_server_writing(rig->net.server) > 0; i++) {
        ssize_t n;
        while ((n = recv(fd, text, sizeof text, MSG_DONTWAIT)) > 0)
            total += (size_t)n;
        pd_loop_for(&rig->net.loop, 1);
    }
    assert_true(total > PD_SEND_HIGH_BYTES);
    assert_int_equal(pd_server_writing(rig->net.server), 0);
    assert_int_equal(pd_server_connections(rig->net.server), 1); /* kept alive */
    close(fd);
}

static void test_drain_and_close(void **state)
{
    struct rig *rig = *state;
    char text[SERVER_RIG_TEXT_BYTES];
    int one = dial(rig, GET("/stream"));
    int two;

    server_rig_hear(&rig->net, one, "\r\n\r\n", text);
    pd_server_drain(rig->net.server);
    pd_server_drain(rig->net.server);
    assert_int_equal(rig->drained, 1);
    server_rig_hear(&rig->net, one, "0\r\n\r\n", text);
    two = dial(rig, UPGRADE("/raw"));
    pd_server_close(PD_STEAL(rig->net.server), server_rig_on_closed, &rig->net);
    assert_int_equal(rig->net.gone, 1);
    close(one);
    close(two);
}

/* ---- tests: handed over ---- */

static void test_raw(void **state)
{
    struct rig *rig = *state;
    char text[SERVER_RIG_TEXT_BYTES];
    int fd = dial(rig, UPGRADE("/raw") "first");

    server_rig_hear(&rig->net, fd, "first", text);
    assert_int_equal(strncmp(text, "HTTP/1.1 101 Switching Protocols\r\n", 34), 0);
    assert_non_null(strstr(text, "Connection: Upgrade\r\n"));
    assert_non_null(strstr(text, "Upgrade: echo\r\n"));
    assert_null(strstr(text, "Transfer-Encoding"));
    assert_null(strstr(text, "Content-Length"));
    assert_int_equal(send(fd, "second", 6, MSG_NOSIGNAL), 6);
    server_rig_hear(&rig->net, fd, "second", text);
    assert_string_equal(text, "second");
    rig->end_on_data = true;
    assert_int_equal(send(fd, GET("/now"), strlen(GET("/now")), MSG_NOSIGNAL), strlen(GET("/now")));
    server_rig_hear(&rig->net, fd, "", text);
    assert_string_equal(text, GET("/now"));
    assert_int_equal(rig->net.requests, 1);
    assert_int_equal(rig->net.gone, 0);
    assert_int_equal(send(fd, "late", 4, MSG_NOSIGNAL), 4); /* thrown away */
    pd_loop_for(&rig->net.loop, 5);
    assert_int_equal(rig->raw_bytes, 5 + 6 + strlen(GET("/now")));
    close(fd);
}

static void test_raw_pause(void **state)
{
    struct rig *rig = *state;
    int fd = dial(rig, UPGRADE("/raw"));

    pd_exchange_pause(rig->exchange, true);
    assert_int_equal(send(fd, "wait", 4, MSG_NOSIGNAL), 4);
    pd_loop_for(&rig->net.loop, 20);
    assert_int_equal(rig->raw_bytes, 0);
    pd_exchange_pause(rig->exchange, false);
    for (int i = 0; i < SERVER_RIG_WAIT_MS && rig->raw_bytes < 4; i++)
        pd_loop_for(&rig->net.loop, 1);
    assert_int_equal(rig->raw_bytes, 4);
    pd_exchange_pause(rig->exchange, true);
    close(fd); /* seen all the same */
    server_rig_await(&rig->net, &rig->net.gone, 1);
}

static void test_who_asks_for_an_upgrade(void **state)
{
    static const struct {
        const char *request;
        bool asks;
    } cases[] = {
        {UPGRADE("/now"), true},
        {"GET /now HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: a/1, ECHO\r\n\r\n", true},
        {"GET /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUpgrade: echo\r\n\r\n", false},
        {"GET /now HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n\r\n", false},
        {"GET /now HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n", false},
        {"GET /now HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n", false},
        {"POST /now HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n", false},
        {"GET /now HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n"
         "Content-Length: 1\r\n\r\nx",
         false},
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        int fd = dial(rig, cases[i].request);
        if (rig->asked_upgrade != cases[i].asks)
            fail_msg("%s", cases[i].request);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_chunks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_http10, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_head, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slow_reader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_handler_that_does_not_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_is_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hang_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reset_while_sending, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_abort, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_end_with_much_to_send, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_drain_and_close, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_raw, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_raw_pause, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_asks_for_an_upgrade, set_up, tear_down),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("flow", tests, NULL, NULL);
}
