#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/server.h"
#include "common/mem.h"
#include "tests/lib/loop_until.h"
#include "tests/lib/server_rig.h"

#define BIG_BYTES (24u << 20) /* more than two sockets hold */
#define HOLDS_MAX 8

/* A server whose handler knows five paths:
 *   /now   replies at once
 *   /hold  replies when the test says so
 *   /big   replies with BIG_BYTES
 *   /echo  replies with the body
 *   /later is put off until the test says so, twice, then replies with the body */
struct rig {
    struct server_rig net;
    struct pd_exchange *holds[HOLDS_MAX];
    int n_holds;
    int puts_off;
};

static const struct pd_server_limits limits = {
    .connections_max = 3,
    .bodies_bytes = 1u << 20,
    .head_ms = 10000,
    .idle_ms = 10000,
    .body_idle_ms = 10000,
    .body_total_ms = 10000,
    .write_ms = 200,
    .linger_ms = 100,
};

static void reply(struct pd_exchange *exchange, const char *text, size_t len)
{
    struct pd_buf body;

    pd_buf_init(&body, BIG_BYTES);
    assert_int_equal(pd_buf_add(&body, text, len, NULL), 0);
    pd_exchange_reply(exchange, 200, "text/plain", NULL, &body);
}

static void on_body(void *arg, struct pd_exchange *exchange, const char *body, size_t len)
{
    (void)arg;
    reply(exchange, body, len);
}

static void on_request(void *arg, struct pd_exchange *exchange)
{
    struct rig *rig = arg;
    const char *path = pd_exchange_path(exchange);

    rig->net.requests++;
    if (strcmp(path, "/hold") == 0) {
        assert_true(rig->n_holds < HOLDS_MAX);
        rig->holds[rig->n_holds++] = exchange;
        pd_exchange_on_gone(exchange, server_rig_on_gone, &rig->net);
    } else if (strcmp(path, "/later") == 0 && rig->puts_off++ < 2) {
        pd_exchange_add_headers(exchange, "X-Not: this\r\n");
        rig->holds[0] = exchange;
        pd_exchange_put_off(exchange, server_rig_on_gone, &rig->net);
    } else if (strcmp(path, "/later") == 0) {
        char text[8];
        assert_true(pd_exchange_header(exchange, "x-some", text, sizeof text));
        assert_string_equal(text, "one");
        pd_exchange_want_body(exchange, 1000, on_body, rig);
    } else if (strcmp(path, "/big") == 0) {
        pd_autofree char *text = pd_calloc(BIG_BYTES, 1);
        reply(exchange, text, BIG_BYTES);
    } else if (strcmp(path, "/echo") == 0) {
        pd_exchange_want_body(exchange, 1000, on_body, rig);
    } else {
        reply(exchange, "now", 3);
    }
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

static void test_the_idle_one_makes_room(void **state)
{
    struct rig *rig = *state;
    char text[SERVER_RIG_TEXT_BYTES];
    int fds[4];

    for (int i = 0; i < 4; i++)
        fds[i] = server_rig_dial(&rig->net);
    server_rig_ask(fds[3], "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
    server_rig_hear(&rig->net, fds[3], "200 OK", text);
    assert_string_equal(server_rig_hear(&rig->net, fds[0], "", text), "");
    server_rig_ask(fds[1], "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
    server_rig_hear(&rig->net, fds[1], "200 OK", text);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

static void test_busy_ones_do_not(void **state)
{
    struct rig *rig = *state;
    char text[SERVER_RIG_TEXT_BYTES];
    int fds[4];

    for (int i = 0; i < 3; i++) {
        fds[i] = server_rig_dial(&rig->net);
        server_rig_ask(fds[i], "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    server_rig_await(&rig->net, &rig->n_holds, 3);
    fds[3] = server_rig_dial(&rig->net);
    server_rig_hear(&rig->net, fds[3], "503", text);
    assert_int_equal(rig->net.gone, 0);
    reply(rig->holds[1], "late", 4);
    server_rig_hear(&rig->net, fds[1], "late", text);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    server_rig_await(&rig->net, &rig->net.gone, 2);
}

static void test_closing_tells_who_waits(void **state)
{
    struct rig *rig = *state;
    char text[SERVER_RIG_TEXT_BYTES];
    int fd = server_rig_dial(&rig->net);

    server_rig_ask(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    server_rig_await(&rig->net, &rig->n_holds, 1);
    pd_server_close(PD_STEAL(rig->net.server), server_rig_on_closed, &rig->net);
    assert_int_equal(rig->net.gone, 1);
    assert_string_equal(server_rig_hear(&rig->net, fd, "", text), "");
    close(fd);
}

/* An answer that nobody reads: sent as far as it goes, then given up. */
static void test_unread_answer(void **state)
{
    struct rig *rig = *state;
    int fd = server_rig_dial(&rig->net);

    server_rig_ask(fd, "GET /big HTTP/1.1\r\nHost: x\r\n\r\nGET /now HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 1000 && pd_server_writing(rig->net.server) == 0; i++)
        uv_run(&rig->net.loop, UV_RUN_NOWAIT);
    assert_int_equal(pd_server_writing(rig->net.server), 1);
    assert_int_equal(rig->net.requests, 1); /* the second must wait */
    for (int i = 0; i < SERVER_RIG_WAIT_MS && pd_server_connections(rig->net.server) > 0; i++)
        pd_loop_for(&rig->net.loop, 1);
    assert_int_equal(pd_server_connections(rig->net.server), 0);
    assert_int_equal(pd_server_writing(rig->net.server), 0);
    assert_int_equal(rig->net.gone, 0);
    close(fd);
}

/* Requests sent ahead, in every way of cutting them into two packets. */
static void test_cut_anywhere(void **state)
{
    static const char two[] =
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        "\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n";
    struct rig *rig = *state;

    for (size_t cut = 1; cut < sizeof two - 1; cut++) {
        char text[SERVER_RIG_TEXT_BYTES];
        int fd = server_rig_dial(&rig->net);
        assert_int_equal(send(fd, two, cut, MSG_NOSIGNAL), (int)cut);
        pd_loop_for(&rig->net.loop, 1);
        server_rig_ask(fd, two + cut);
        server_rig_hear(&rig->net, fd, "\r\n\r\ndef", text);
        if (!strstr(text, "\r\n\r\nabc"))
            fail_msg("cut at %zu: %s", cut, text);
        close(fd);
        for (int i = 0; i < 100 && pd_server_connections(rig->net.server) > 0; i++)
            pd_loop_for(&rig->net.loop, 1);
    }
}

/* It is as if the request came later, with all that came with it and after it. */
static void test_put_off(void **state)
{
    static const char two[] =
        "POST /later HTTP/1.1\r\nHost: x\r\nX-Some: one\r\nContent-Length: 3\r\n\r\nabc"
        "GET /now HTTP/1.1\r\nHost: x\r\n\r\n";
    struct rig *rig = *state;

    for (size_t cut = 1; cut < sizeof two - 1; cut += 3) {
        char text[SERVER_RIG_TEXT_BYTES];
        int fd = server_rig_dial(&rig->net);
        rig->puts_off = 0;
        assert_int_equal(send(fd, two, cut, MSG_NOSIGNAL), (int)cut);
        pd_loop_for(&rig->net.loop, 1);
        server_rig_ask(fd, two + cut);
        for (int i = 1; i <= 2; i++) {
            server_rig_await(&rig->net, &rig->puts_off, i);
            pd_loop_for(&rig->net.loop, 1);
            pd_exchange_go_on(rig->holds[0]);
        }
        server_rig_hear(&rig->net, fd, "\r\n\r\nnow", text);
        assert_non_null(strstr(text, "\r\n\r\nabc"));
        assert_null(strstr(text, "X-Not"));
        close(fd);
        for (int i = 0; i < 100 && pd_server_connections(rig->net.server) > 0; i++)
            pd_loop_for(&rig->net.loop, 1);
    }
    assert_int_equal(rig->net.gone, 0);
}

/* Nobody answers one that hung up meanwhile. */
static void test_put_off_and_gone(void **state)
{
    struct rig *rig = *state;
    int fd = server_rig_dial(&rig->net);

    server_rig_ask(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    server_rig_await(&rig->net, &rig->puts_off, 1);
    close(fd);
    server_rig_await(&rig->net, &rig->net.gone, 1);
}

static void test_half_closed_after_asking(void **state)
{
    struct rig *rig = *state;
    int fd = server_rig_dial(&rig->net);

    server_rig_ask(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    server_rig_await(&rig->net, &rig->n_holds, 1);
    shutdown(fd, SHUT_WR);
    server_rig_await(&rig->net, &rig->net.gone, 1);
    close(fd);
}

static void test_addresses(void **state)
{
    struct rig *rig = *state;
    struct pd_server *server;
    struct pd_err err;
    struct pd_server_config config = {.loop = &rig->net.loop, .limits = &limits};

    config.address = "localhost";
    assert_int_equal(pd_server_open(&config, &server, &err), PD_INVALID);
    config.address = "192.0.2.1"; /* TEST-NET-1: nobody's */
    assert_int_equal(pd_server_open(&config, &server, &err), PD_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_idle_one_makes_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_busy_ones_do_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_closing_tells_who_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unread_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_put_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_put_off_and_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_half_closed_after_asking, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses, set_up, tear_down),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
