/* The HTTP API over real sockets, with clients that behave well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "tests/lib/api_rig.h"

/* ---- good runs ---- */

static void test_hello(void **state)
{
    pd_autonode struct pd_node *node =
        run_well(*state, "{\"code\":\"print Hello World\",\"language\":\"python\",\"timeout\":3}");

    assert_true(pd_node_bool(pd_node_get(node, "success"), false));
    assert_string_equal(text_at(node, "output"), "Hello World");
    assert_string_equal(text_at(node, "stdout"), "Hello World");
    assert_string_equal(text_at(node, "stderr"), "");
    assert_int_equal(pd_node_int(pd_node_get(node, "exit_code"), -1), 0);
    assert_string_equal(text_at(node, "status"), "exited");
    assert_string_equal(text_at(node, "start"), "zygote");
    assert_true(pd_node_bool(pd_node_get(node, "warm"), false));
    assert_true(pd_node_number(pd_node_get(node, "execution_time"), 0) > 0.001);
    assert_int_equal(pd_node_int(pd_node_at(node, "usage", "memory_peak", NULL), 0), 4096);
    assert_int_equal(pd_node_int(pd_node_at(node, "usage", "stages_us", "run", NULL), 0), 30);
    assert_int_equal(strncmp(text_at(node, "id"), "run_", 4), 0);
}

static void test_streams_in_order(void **state)
{
    pd_autonode struct pd_node *node = run_well(*state, "{\"code\":\"both\"}");

    assert_string_equal(text_at(node, "output"), "out1 err1 out2 err2 ");
    assert_string_equal(text_at(node, "stdout"), "out1 out2 ");
    assert_string_equal(text_at(node, "stderr"), "err1 err2 ");
}

static void test_everything_arrives(void **state)
{
    pd_autonode struct pd_node *node =
        run_well(*state,
                 "{\"code\":\"echo\",\"language\":\"sh\",\"timeout\":2.5,\"args\":[\"a b\",\"\"],"
                 "\"env\":{\"X\":\"1=2\"},\"stdin\":\"in\","
                 "\"files\":[{\"path\":\"d/f\",\"content\":\"aGk=\",\"encoding\":\"base64\"}]}");

    assert_string_equal(text_at(node, "output"),
                        "arg a b\narg \nenv X=1=2\nfile d/f hi\nstdin in\nlanguage bash\n"
                        "timeout 2500\n");
}

static void test_failing_programs_are_200(void **state)
{
    static const struct {
        const char *code, *status;
        int exit_code, signal;
    } cases[] = {
        {"exit 3", "exited", 3, 0},
        {"kill 11", "signaled", 139, 11},
        {"cause timed_out", "timed_out", 137, 9},
        {"cause memory_exceeded", "memory_exceeded", 137, 9},
        {"lose", "lost", 0, 0},
    };

    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autofree char *body = pd_asprintf("{\"code\":\"%s\"}", cases[i].code);
        pd_autonode struct pd_node *node = NULL;
        if (strcmp(cases[i].code, "lose") == 0)
            continue; /* takes the sandbox along: see test_lost */
        node = run_well(*state, body);
        assert_false(pd_node_bool(pd_node_get(node, "success"), true));
        assert_string_equal(text_at(node, "status"), cases[i].status);
        assert_int_equal(pd_node_int(pd_node_get(node, "exit_code"), -1), cases[i].exit_code);
        assert_int_equal(pd_node_int(pd_node_get(node, "signal"), 0), cases[i].signal);
    }
}

static void test_bytes_become_replacements(void **state)
{
    pd_autonode struct pd_node *node = run_well(*state, "{\"code\":\"bytes\"}");

    assert_string_equal(text_at(node, "output"), "a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbdz");
}

static void test_artifacts(void **state)
{
    pd_autonode struct pd_node *node =
        run_well(*state, "{\"code\":\"artifact\",\"artifacts\":[\"*\"]}");
    struct pd_node *list = pd_node_get(node, "artifacts");

    assert_int_equal(pd_node_count(list), 2);
    assert_string_equal(text_at(list->list.items[0], "path"), "a.txt");
    assert_string_equal(text_at(list->list.items[0], "content"), "aGVsbG8=");
    assert_string_equal(text_at(list->list.items[0], "encoding"), "base64");
    assert_int_equal(pd_node_int(pd_node_get(list->list.items[0], "size"), 0), 5);
    assert_string_equal(text_at(list->list.items[1], "error"), "permission denied");
}

static void test_large_output(void **state)
{
    pd_autonode struct pd_node *node = run_well(*state, "{\"code\":\"flood 3000000\"}");

    assert_int_equal(strlen(text_at(node, "output")), 3000000);
}

/* A client that does not read must not make the service buffer for ever, nor
 * hold up others. */
static void test_slow_reader(void **state)
{
    pd_autofree char *text = post_text("{\"code\":\"flood 4000000\"}", NULL);
    struct reply reply;
    int small = 128 * 1024;
    int fd = dial(*state);

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    send_text(fd, text);
    for (int i = 0; i < 5; i++)
        pd_node_free(run_well(*state, "{\"code\":\"print quick\"}"));
    assert_true(receive(fd, &reply));
    assert_int_equal(reply.status, 200);
    reply_fini(&reply);
    close(fd);
}

static void test_keep_alive_and_pipelining(void **state)
{
    pd_autofree char *first = post_text("{\"code\":\"print one\"}", NULL);
    pd_autofree char *second = post_text("{\"code\":\"print two\"}", NULL);
    pd_autofree char *three =
        pd_asprintf("%s%sGET /livez HTTP/1.1\r\nHost: x\r\n\r\n", first, second);
    struct reply reply;
    int fd = dial(*state);

    for (int round = 0; round < 20; round++) {
        static const char *const wanted[] = {"one", "two", "ok"};
        send_text(fd, three);
        for (size_t i = 0; i < 3; i++) {
            if (!receive(fd, &reply))
                fail_msg("round %d: no answer %zu", round, i);
            assert_int_equal(reply.status, 200);
            assert_non_null(strstr(reply.body, wanted[i]));
            reply_fini(&reply);
        }
    }
    close(fd);
}

static void test_one_byte_at_a_time(void **state)
{
    pd_autofree char *text = post_text("{\"code\":\"print slow\"}", NULL);
    struct reply reply;
    int fd = dial(*state);

    for (size_t i = 0; text[i]; i++)
        send_all(fd, text + i, 1);
    assert_true(receive(fd, &reply));
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "slow"));
    reply_fini(&reply);
    close(fd);
}

static void test_chunked_body(void **state)
{
    struct reply reply;
    int fd = dial(*state);

    for (int i = 0; i < 3; i++) {
        send_text(fd, "POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY
                      "\r\n"
                      "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "9;x=y\r\n{\"code\":\"\r\n");
        send_text(fd, "a\r\nprint abc\"\r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n");
        assert_true(receive(fd, &reply));
        assert_int_equal(reply.status, 200);
        assert_non_null(strstr(reply.body, "\"output\":\"abc\""));
        reply_fini(&reply);
    }
    close(fd);
}

static void test_expect_continue(void **state)
{
    static const char body[] = "{\"code\":\"print patient\"}";
    pd_autofree char *head =
        pd_asprintf("POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY
                    "\r\n"
                    "Content-Type: application/json\r\nExpect: 100-continue\r\n"
                    "Content-Length: %zu\r\n\r\n",
                    strlen(body));
    struct reply reply;
    int fd = dial(*state);

    send_text(fd, head);
    assert_true(receive(fd, &reply));
    assert_int_equal(reply.status, 100);
    reply_fini(&reply);
    send_text(fd, body);
    assert_true(receive(fd, &reply));
    assert_int_equal(reply.status, 200);
    reply_fini(&reply);
    close(fd);
}

static void test_http10_closes(void **state)
{
    struct reply reply;
    char byte;
    int fd = dial(*state);

    send_text(fd, "GET /livez HTTP/1.0\r\n\r\n");
    assert_true(receive(fd, &reply));
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.head, "Connection: close"));
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    reply_fini(&reply);
    close(fd);
}

static void test_head_has_no_body(void **state)
{
    struct reply reply;
    int fd = dial(*state);

    send_text(fd, "HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    for (char last[4] = ""; memcmp(last, "\r\n\r\n", 4) != 0;) {
        memmove(last, last + 1, 3);
        assert_int_equal(recv(fd, last + 3, 1, 0), 1);
    }
    assert_true(receive(fd, &reply));
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "{\"status\":\"ok\"}\n");
    reply_fini(&reply);
    close(fd);
}

/* ---- identity ---- */

static void test_keys(void **state)
{
    static const struct {
        const char *what, *header;
        int status;
    } cases[] = {
        {"none", "", 401},
        {"wrong", "X-API-Key: nonsense-nonsense\r\n", 401},
        {"a beginning", "X-API-Key: test-key\r\n", 401},
        {"empty", "X-API-Key: \r\n", 401},
        {"another scheme", "Authorization: Basic " KEY "\r\n", 401},
        {"header", "X-API-Key: " KEY "\r\n", 200},
        {"any case", "x-api-KEY: " KEY "\r\n", 200},
        {"bearer", "Authorization: Bearer " KEY "\r\n", 200},
        {"bearer, any case", "authorization: bearer " KEY "\r\n", 200},
    };

    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autofree char *text =
            pd_asprintf("GET /languages HTTP/1.1\r\nHost: x\r\n%s\r\n", cases[i].header);
        struct reply reply;
        exchange(*state, text, &reply);
        if (reply.status != cases[i].status)
            fail_msg("%s: %d", cases[i].what, reply.status);
        assert_true((reply.status == 401) == !!strstr(reply.head, "WWW-Authenticate: Bearer"));
        reply_fini(&reply);
    }
}

static void test_ids_go_through(void **state)
{
    struct reply reply;

    exchange(*state,
             "GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-Id: my-id.1\r\n"
             "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
             &reply);
    assert_non_null(strstr(reply.head, "X-Request-Id: my-id.1\r\n"));
    assert_non_null(strstr(reply.head, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    reply_fini(&reply);
    exchange(*state, "GET /nowhere HTTP/1.1\r\nHost: x\r\nX-Request-Id: bad id\r\n\r\n", &reply);
    assert_null(strstr(reply.head, "bad id"));
    assert_non_null(strstr(reply.head, "X-Request-Id: "));
    assert_non_null(strstr(reply.body, "\"request_id\":\""));
    reply_fini(&reply);
}

static void test_foreign_origin(void **state)
{
    pd_autofree char *foreign = post_text("{\"code\":\"print x\"}", "Origin: http://evil.test\r\n");
    /* A page's own service is the one that it addresses (Host). */
    pd_autofree char *own = post_text("{\"code\":\"print x\"}", "Origin: http://localhost\r\n");
    struct reply reply;

    exchange(*state, foreign, &reply);
    assert_int_equal(reply.status, 403);
    reply_fini(&reply);
    exchange(*state, own, &reply);
    assert_int_equal(reply.status, 200);
    reply_fini(&reply);
}

/* ---- probes ---- */

static void test_health(void **state)
{
    static const char *const paths[] = {"/livez", "/readyz", "/health"};
    struct rig *rig = *state;

    for (int healthy = 1; healthy >= 0; healthy--) {
        atomic_store(&rig->healthy, healthy);
        for (size_t i = 0; i < PD_COUNT(paths); i++) {
            pd_autofree char *text = pd_asprintf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i]);
            struct reply reply;
            exchange(rig, text, &reply);
            assert_int_equal(reply.status, healthy || i == 0 ? 200 : 503);
            if (reply.status == 503)
                assert_non_null(strstr(reply.body, "the engine does not answer"));
            reply_fini(&reply);
        }
    }
    atomic_store(&rig->healthy, true);
}

static void test_languages(void **state)
{
    struct reply reply;
    pd_autonode struct pd_node *node = NULL;
    struct pd_node *languages;

    exchange(*state, "GET /languages HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY "\r\n\r\n", &reply);
    assert_int_equal(reply.status, 200);
    node = reply_json(&reply);
    languages = pd_node_get(node, "languages");
    assert_int_equal(pd_node_count(languages), 3);
    assert_string_equal(text_at(languages->list.items[0], "name"), "python");
    assert_int_equal(pd_node_count(pd_node_get(node, "pools")), 2);
    reply_fini(&reply);
}

static void test_busy_port_names_holder(void **state)
{
    struct rig *rig = *state;
    struct pd_server *server;
    struct pd_err err = {.msg = ""};
    uv_loop_t loop;
    const struct pd_server_config config = {
        .loop = &loop,
        .address = "127.0.0.1",
        .port = rig->port,
        .limits = &test_limits,
    };
    pd_autofree char *me = pd_asprintf("(process %d)", getpid());

    uv_loop_init(&loop);
    assert_int_equal(pd_server_open(&config, &server, &err), PD_UNAVAILABLE);
    if (!strstr(err.msg, me))
        fail_msg("%s", err.msg);
    uv_loop_close(&loop);
}

/* Losing sandboxes: the last tests, since the rig does not make new ones. */
static void test_lost(void **state)
{
    struct reply reply;
    pd_autonode struct pd_node *node = run_well(*state, "{\"code\":\"lose\"}");

    assert_string_equal(text_at(node, "status"), "lost");
    execute(*state, "{\"code\":\"lose early\"}", &reply);
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.head, "Retry-After: "));
    reply_fini(&reply);
    exchange(*state, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.body, "were lost"));
    reply_fini(&reply);
}

/* What was accepted is finished, nothing else begun. The last test of all. */
static void test_drain(void **state)
{
    struct rig *rig = *state;
    pd_autofree char *slow = post_text("{\"code\":\"sleep 300\"}", NULL);
    struct reply reply;
    int fd = dial(rig);
    int idle = atomic_load(&rig->idle);

    send_text(fd, slow);
    wait_for(&rig->idle, idle - 1);
    uv_async_send(&rig->drain);
    do {
        exchange(rig, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
        reply_fini(&reply);
    } while (reply.status == 200);
    assert_int_equal(reply.status, 503);
    execute(rig, "{\"code\":\"print x\"}", &reply);
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.head, "Retry-After: "));
    reply_fini(&reply);
    assert_int_equal(atomic_load(&rig->drained), 0);
    assert_true(receive(fd, &reply));
    assert_int_equal(reply.status, 200);
    reply_fini(&reply);
    wait_for(&rig->drained, 1);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_streams_in_order),
        cmocka_unit_test(test_everything_arrives),
        cmocka_unit_test(test_failing_programs_are_200),
        cmocka_unit_test(test_bytes_become_replacements),
        cmocka_unit_test(test_artifacts),
        cmocka_unit_test(test_large_output),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_keep_alive_and_pipelining),
        cmocka_unit_test(test_one_byte_at_a_time),
        cmocka_unit_test(test_chunked_body),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_http10_closes),
        cmocka_unit_test(test_head_has_no_body),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_ids_go_through),
        cmocka_unit_test(test_foreign_origin),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_languages),
        cmocka_unit_test(test_busy_port_names_holder),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_drain),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("api", tests, rig_set_up, rig_close);
}
