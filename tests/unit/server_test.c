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

#define WAIT_MS 5000
#define BIG_BYTES (24u << 20) /* more than two sockets hold */
#define HOLDS_MAX 8

/* A server whose handler knows four paths:
 *   /now   replies at once
 *   /hold  replies when the test says so
 *   /big   replies with BIG_BYTES
 *   /echo  replies with the body */
struct rig {
    uv_loop_t loop;
    struct pd_server *server;
    struct pd_exchange *holds[HOLDS_MAX];
    size_t n_holds;
    int gone;
    int requests;
    bool closed;
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

static void on_gone(void *arg)
{
    struct rig *rig = arg;

    rig->gone++;
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

    rig->requests++;
    if (strcmp(path, "/hold") == 0) {
        assert_true(rig->n_holds < HOLDS_MAX);
        rig->holds[rig->n_holds++] = exchange;
        pd_exchange_on_gone(exchange, on_gone, rig);
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
    struct pd_err err = {.msg = ""};
    const struct pd_server_config config = {
        .loop = &rig->loop,
        .address = "127.0.0.1",
        .limits = &limits,
        .on_request = on_request,
        .arg = rig,
    };

    uv_loop_init(&rig->loop);
    if (pd_server_open(&config, &rig->server, &err) < 0)
        fail_msg("%s", err.msg);
    *state = rig;
    return 0;
}

static void on_closed(void *arg)
{
    struct rig *rig = arg;

    rig->closed = true;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;

    if (rig->server)
        pd_server_close(rig->server, on_closed, rig);
    assert_true(pd_loop_until(&rig->loop, &rig->closed, WAIT_MS));
    assert_true(pd_loop_finish(&rig->loop, WAIT_MS));
    free(rig);
    return 0;
}

static int dial(struct rig *rig)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)pd_server_port(rig->server)),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
    };
    size_t before = pd_server_connections(rig->server);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    for (int i = 0; i < 100 && pd_server_connections(rig->server) == before; i++)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    return fd;
}

static void ask(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (int)strlen(text));
}

/* What arrives first, while the loop turns: "" at the end, NULL for nothing. */
static const char *hear(struct rig *rig, int fd, char out[static 512])
{
    for (int i = 0; i < WAIT_MS; i++) {
        ssize_t n = recv(fd, out, 511, MSG_DONTWAIT);
        if (n >= 0) {
            out[n] = '\0';
            return out;
        }
        if (errno != EAGAIN)
            return "";
        pd_loop_for(&rig->loop, 1);
    }
    return NULL;
}

static void test_the_idle_one_makes_room(void **state)
{
    struct rig *rig = *state;
    char text[512];
    int fds[4];

    for (int i = 0; i < 4; i++)
        fds[i] = dial(rig);
    ask(fds[3], "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_non_null(strstr(hear(rig, fds[3], text), "200 OK"));
    assert_string_equal(hear(rig, fds[0], text), "");
    ask(fds[1], "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_non_null(strstr(hear(rig, fds[1], text), "200 OK"));
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

static void test_busy_ones_do_not(void **state)
{
    struct rig *rig = *state;
    char text[512];
    int fds[4];

    for (int i = 0; i < 3; i++) {
        fds[i] = dial(rig);
        ask(fds[i], "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    while (rig->n_holds < 3)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    fds[3] = dial(rig);
    assert_non_null(strstr(hear(rig, fds[3], text), "503"));
    assert_int_equal(rig->gone, 0);
    reply(rig->holds[1], "late", 4);
    assert_non_null(strstr(hear(rig, fds[1], text), "late"));
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    while (rig->gone < 2)
        uv_run(&rig->loop, UV_RUN_ONCE);
}

static void test_closing_tells_who_waits(void **state)
{
    struct rig *rig = *state;
    char text[512];
    int fd = dial(rig);

    ask(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    while (rig->n_holds < 1)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    pd_server_close(PD_STEAL(rig->server), on_closed, rig);
    assert_int_equal(rig->gone, 1);
    assert_string_equal(hear(rig, fd, text), "");
    close(fd);
}

/* An answer that nobody reads: sent as far as it goes, then given up. */
static void test_unread_answer(void **state)
{
    struct rig *rig = *state;
    int fd = dial(rig);

    ask(fd, "GET /big HTTP/1.1\r\nHost: x\r\n\r\nGET /now HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 1000 && pd_server_writing(rig->server) == 0; i++)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    assert_int_equal(pd_server_writing(rig->server), 1);
    assert_int_equal(rig->requests, 1); /* the second must wait */
    for (int i = 0; i < WAIT_MS && pd_server_connections(rig->server) > 0; i++)
        pd_loop_for(&rig->loop, 1);
    assert_int_equal(pd_server_connections(rig->server), 0);
    assert_int_equal(pd_server_writing(rig->server), 0);
    assert_int_equal(rig->gone, 0);
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
        char text[2048] = "";
        size_t used = 0;
        int fd = dial(rig);
        assert_int_equal(send(fd, two, cut, MSG_NOSIGNAL), (int)cut);
        pd_loop_for(&rig->loop, 1);
        ask(fd, two + cut);
        while (!strstr(text, "\r\n\r\nabc") || !strstr(text, "\r\n\r\ndef")) {
            const char *piece = hear(rig, fd, text + used);
            if (!piece || !*piece)
                fail_msg("cut at %zu: %s", cut, text);
            used = strlen(text);
            assert_true(used < sizeof text - 512);
        }
        close(fd);
        for (int i = 0; i < 100 && pd_server_connections(rig->server) > 0; i++)
            pd_loop_for(&rig->loop, 1);
    }
}

static void test_half_closed_after_asking(void **state)
{
    struct rig *rig = *state;
    int fd = dial(rig);

    ask(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    while (rig->n_holds < 1)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < WAIT_MS && rig->gone == 0; i++)
        pd_loop_for(&rig->loop, 1);
    assert_int_equal(rig->gone, 1);
    close(fd);
}

static void test_addresses(void **state)
{
    struct rig *rig = *state;
    struct pd_server *server;
    struct pd_err err;
    struct pd_server_config config = {.loop = &rig->loop, .limits = &limits};

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
        cmocka_unit_test_setup_teardown(test_half_closed_after_asking, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses, set_up, tear_down),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
