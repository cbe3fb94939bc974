/* The HTTP API over real sockets, with clients that behave well and badly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "tests/lib/api_rig.h"

static struct pd_node *parse(const struct reply *reply)
{
    struct pd_node *node = NULL;
    struct pd_err err;

    if (pd_json_parse(reply->body, reply->body_len, &node, &err) < 0)
        fail_msg("not JSON (%s): %.300s", err.msg, reply->body);
    return node;
}

/* Execute and expect 200; the caller frees. */
static struct pd_node *run(const struct rig *rig, const char *body)
{
    struct reply reply;
    struct pd_node *node;

    execute(rig, body, &reply);
    if (reply.status != 200)
        fail_msg("%d: %s", reply.status, reply.body);
    node = parse(&reply);
    reply_fini(&reply);
    return node;
}

static const char *text_at(const struct pd_node *node, const char *key)
{
    return pd_node_text(pd_node_get(node, key), "(absent)");
}

/* ---- good runs ---- */

static void test_hello(void **state)
{
    pd_autonode struct pd_node *node =
        run(*state, "{\"code\":\"print Hello World\",\"language\":\"python\",\"timeout\":3}");

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
    pd_autonode struct pd_node *node = run(*state, "{\"code\":\"both\"}");

    assert_string_equal(text_at(node, "output"), "out1 err1 out2 err2 ");
    assert_string_equal(text_at(node, "stdout"), "out1 out2 ");
    assert_string_equal(text_at(node, "stderr"), "err1 err2 ");
}

static void test_everything_arrives(void **state)
{
    pd_autonode struct pd_node *node =
        run(*state,
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
        node = run(*state, body);
        assert_false(pd_node_bool(pd_node_get(node, "success"), true));
        assert_string_equal(text_at(node, "status"), cases[i].status);
        assert_int_equal(pd_node_int(pd_node_get(node, "exit_code"), -1), cases[i].exit_code);
        assert_int_equal(pd_node_int(pd_node_get(node, "signal"), 0), cases[i].signal);
    }
}

static void test_bytes_become_replacements(void **state)
{
    pd_autonode struct pd_node *node = run(*state, "{\"code\":\"bytes\"}");

    assert_string_equal(text_at(node, "output"), "a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbdz");
}

static void test_artifacts(void **state)
{
    pd_autonode struct pd_node *node = run(*state, "{\"code\":\"artifact\",\"artifacts\":[\"*\"]}");
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
    pd_autonode struct pd_node *node = run(*state, "{\"code\":\"flood 3000000\"}");

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
        pd_node_free(run(*state, "{\"code\":\"print quick\"}"));
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

/* ---- bad input ---- */

static void test_bad_bodies(void **state)
{
    static const struct {
        const char *what, *body;
        int status;
        const char *path; /* of the field, "" for none */
    } cases[] = {
        {"nothing", "", 400, ""},
        {"no JSON", "print(1)", 400, ""},
        {"half of it", "{\"code\":\"print", 400, ""},
        {"trailing text", "{\"code\":\"print x\"} x", 400, ""},
        {"no UTF-8", "{\"code\":\"\xff\"}", 400, ""},
        {"an array", "[]", 422, ""},
        {"no code", "{}", 422, "code"},
        {"empty code", "{\"code\":\"\"}", 422, "code"},
        {"code of another type", "{\"code\":7}", 422, "code"},
        {"NUL in code", "{\"code\":\"a\\u0000b\"}", 422, "code"},
        {"an unknown field", "{\"code\":\"x\",\"colour\":1}", 422, "colour"},
        {"an unknown language", "{\"code\":\"x\",\"language\":\"cobol\"}", 422, "language"},
        {"a language that no pool has", "{\"code\":\"x\",\"language\":\"java\"}", 422, "language"},
        {"an unknown pool", "{\"code\":\"x\",\"pool\":\"nope\"}", 422, "pool"},
        {"a pool without the language", "{\"code\":\"x\",\"pool\":\"node\"}", 422, "language"},
        {"timeout 0", "{\"code\":\"x\",\"timeout\":0}", 422, "timeout"},
        {"timeout -1", "{\"code\":\"x\",\"timeout\":-1}", 422, "timeout"},
        {"timeout 1e308", "{\"code\":\"x\",\"timeout\":1e308}", 422, "timeout"},
        {"timeout 1e400", "{\"code\":\"x\",\"timeout\":1e400}", 400, ""},
        {"timeout NaN", "{\"code\":\"x\",\"timeout\":NaN}", 400, ""},
        {"timeout above the maximum", "{\"code\":\"x\",\"timeout\":10.001}", 422, "timeout"},
        {"timeout as text", "{\"code\":\"x\",\"timeout\":\"1\"}", 422, "timeout"},
        {"args of numbers", "{\"code\":\"x\",\"args\":[1]}", 422, "args[0]"},
        {"NUL in args", "{\"code\":\"x\",\"args\":[\"a\\u0000\"]}", 422, "args[0]"},
        {"a bad name in env", "{\"code\":\"x\",\"env\":{\"A=B\":\"\"}}", 422, NULL},
        {"NUL in env", "{\"code\":\"x\",\"env\":{\"A\":\"\\u0000\"}}", 422, "env.A"},
        {"a path upwards", "{\"code\":\"x\",\"files\":[{\"path\":\"a/../../b\",\"content\":\"\"}]}",
         422, "files[0].path"},
        {"an absolute path", "{\"code\":\"x\",\"files\":[{\"path\":\"/etc/x\",\"content\":\"\"}]}",
         422, "files[0].path"},
        {"an empty part", "{\"code\":\"x\",\"files\":[{\"path\":\"a//b\",\"content\":\"\"}]}", 422,
         "files[0].path"},
        {"a folder", "{\"code\":\"x\",\"files\":[{\"path\":\"a/\",\"content\":\"\"}]}", 422,
         "files[0].path"},
        {"the program's own file",
         "{\"code\":\"x\",\"files\":[{\"path\":\"main.py\",\"content\":\"\"}]}", 422,
         "files[0].path"},
        {"a file twice",
         "{\"code\":\"x\",\"files\":[{\"path\":\"a\",\"content\":\"\"},{\"path\":\"a\","
         "\"content\":\"\"}]}",
         422, "files[1].path"},
        {"a file as a folder",
         "{\"code\":\"x\",\"files\":[{\"path\":\"a\",\"content\":\"\"},{\"path\":\"a/b\","
         "\"content\":\"\"}]}",
         422, "files[1].path"},
        {"no base64",
         "{\"code\":\"x\",\"files\":[{\"path\":\"a\",\"content\":\"a?==\",\"encoding\":\"base64\"}]"
         "}",
         422, "files[0].content"},
        {"a pattern upwards", "{\"code\":\"x\",\"artifacts\":[\"../*\"]}", 422, "artifacts[0]"},
        {"what the agent cannot take", "{\"code\":\"invalid\"}", 422, ""},
    };

    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct reply reply;
        pd_autonode struct pd_node *node = NULL;
        struct pd_node *errors;
        execute(*state, cases[i].body, &reply);
        if (reply.status != cases[i].status)
            fail_msg("%s: %d %s", cases[i].what, reply.status, reply.body);
        assert_non_null(strstr(reply.head, "Content-Type: application/problem+json"));
        node = parse(&reply);
        errors = pd_node_get(node, "errors");
        if (cases[i].path && *cases[i].path &&
            (pd_node_count(errors) == 0 ||
             strcmp(text_at(errors->list.items[0], "path"), cases[i].path) != 0))
            fail_msg("%s: %s", cases[i].what, reply.body);
        reply_fini(&reply);
    }
}

static void test_unknown_language_lists_choices(void **state)
{
    struct reply reply;

    execute(*state, "{\"code\":\"x\",\"language\":\"cobol\"}", &reply);
    assert_non_null(strstr(reply.body, "python"));
    assert_non_null(strstr(reply.body, "javascript"));
    assert_null(strstr(reply.body, "java,"));
    reply_fini(&reply);
}

static char *code_of(size_t bytes)
{
    char *body = pd_calloc(bytes + 16, 1);

    strcpy(body, "{\"code\":\"");
    memset(body + 9, 'x', bytes);
    strcpy(body + 9 + bytes, "\"}");
    return body;
}

static void test_too_large(void **state)
{
    pd_autofree char *code = code_of(64 * 1024 + 1);
    pd_autofree char *head = pd_asprintf(
        "POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY
        "\r\n"
        "Content-Type: application/json\r\nContent-Length: 900000000000\r\n\r\n{\"code\":\"x");
    struct reply reply;

    execute(*state, code, &reply);
    assert_int_equal(reply.status, 413);
    assert_non_null(strstr(reply.body, "\"path\":\"code\""));
    reply_fini(&reply);
    exchange(*state, head, &reply);
    assert_int_equal(reply.status, 413);
    reply_fini(&reply);
}

/* The answer must arrive though the client is still sending. */
static void test_too_large_while_sending(void **state)
{
    static char block[65536];
    struct reply reply;
    int fd = dial(*state);

    send_text(fd, "POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY
                  "\r\n"
                  "Content-Type: application/json\r\nContent-Length: 80000000\r\n\r\n");
    for (int i = 0; i < 80; i++)
        send_all(fd, block, sizeof block);
    assert_true(receive(fd, &reply));
    assert_int_equal(reply.status, 413);
    reply_fini(&reply);
    close(fd);
}

static void test_bad_heads(void **state)
{
#define AUTH "Host: x\r\nX-API-Key: " KEY "\r\n"
    static const struct {
        const char *what, *text;
        int status;
        const char *header;
    } cases[] = {
        {"nowhere", "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404, ""},
        {"a long path", NULL, 414, ""},
        {"the wrong method", "GET /execute HTTP/1.1\r\n" AUTH "\r\n", 405, "Allow: POST, OPTIONS"},
        {"another", "DELETE /livez HTTP/1.1\r\nHost: x\r\n\r\n", 405, "Allow: GET, HEAD, OPTIONS"},
        {"a method that nobody knows", "BREW /execute HTTP/1.1\r\nHost: x\r\n\r\n", 405,
         "Allow: POST, OPTIONS"},
        {"the like nowhere", "BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", 404, ""},
        {"options", "OPTIONS /execute HTTP/1.1\r\nHost: x\r\n\r\n", 204, "Allow: POST, OPTIONS"},
        {"no HTTP", "\x16\x03\x01\x02hello\r\n\r\n", 400, ""},
        {"another type",
         "POST /execute HTTP/1.1\r\n" AUTH
         "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
         415, ""},
        {"no type", "POST /execute HTTP/1.1\r\n" AUTH "Content-Length: 2\r\n\r\n{}", 415, ""},
        {"a charset",
         "POST /execute HTTP/1.1\r\n" AUTH "Content-Type: application/json; charset=latin1\r\n"
         "Content-Length: 2\r\n\r\n{}",
         415, ""},
        {"no body", "POST /execute HTTP/1.1\r\n" AUTH "Content-Type: application/json\r\n\r\n{}",
         400, ""},
        {"chunks",
         "POST /execute HTTP/1.1\r\n" AUTH "Content-Type: application/json\r\n"
         "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
         422, ""},
        {"both framings",
         "POST /execute HTTP/1.1\r\n" AUTH "Content-Type: application/json\r\n"
         "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
         400, ""},
        {"a negative length",
         "POST /execute HTTP/1.1\r\n" AUTH "Content-Type: application/json\r\n"
         "Content-Length: -1\r\n\r\n{}",
         400, ""},
        {"a length with a sign",
         "POST /execute HTTP/1.1\r\n" AUTH "Content-Type: application/json\r\n"
         "Content-Length: +2\r\n\r\n{}",
         400, ""},
        {"two lengths",
         "POST /execute HTTP/1.1\r\n" AUTH "Content-Type: application/json\r\n"
         "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
         400, ""},
        {"another coding",
         "POST /execute HTTP/1.1\r\n" AUTH "Content-Type: application/json\r\n"
         "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
         501, ""},
        {"bad chunks",
         "POST /execute HTTP/1.1\r\n" AUTH "Content-Type: application/json\r\n"
         "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
         400, ""},
        {"no Host", "GET /livez HTTP/1.1\r\n\r\n", 400, ""},
        {"two Hosts", "GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, ""},
        {"a folded header", "GET /livez HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400, ""},
        {"a space before the colon", "GET /livez HTTP/1.1\r\nHost : a\r\n\r\n", 400, ""},
        {"bare LF", "GET /livez HTTP/1.1\nHost: a\r\n\r\n", 400, ""},
        {"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, ""},
        {"an expectation", "GET /livez HTTP/1.1\r\nHost: a\r\nExpect: cake\r\n\r\n", 417, ""},
        {"%00", "GET /livez%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
        {"an encoded path", "GET /%6civez HTTP/1.1\r\nHost: a\r\n\r\n", 200, ""},
        {"an absolute target", "GET http://a/livez?x HTTP/1.1\r\nHost: a\r\n\r\n", 200, ""},
        {"h2c",
         "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
         "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
         200, ""},
        {"a WebSocket",
         "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
         200, ""},
    };

    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autofree char *long_path = NULL;
        const char *text = cases[i].text;
        struct reply reply;
        if (!text) {
            long_path = pd_asprintf("GET /%0*d HTTP/1.1\r\nHost: x\r\n\r\n", 2000, 1);
            text = long_path;
        }
        exchange(*state, text, &reply);
        if (reply.status != cases[i].status || !strstr(reply.head, cases[i].header))
            fail_msg("%s: %s%s", cases[i].what, reply.head, reply.body);
        reply_fini(&reply);
    }
}

/* After an early refusal with a small body the connection still serves. */
static void test_refusal_keeps_connection(void **state)
{
    pd_autofree char *good = post_text("{\"code\":\"print after\"}", NULL);
    struct reply reply;
    int fd = dial(*state);

    for (int i = 0; i < 10; i++) {
        send_text(fd, "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345");
        assert_true(receive(fd, &reply));
        assert_int_equal(reply.status, 401);
        reply_fini(&reply);
        send_text(fd, good);
        assert_true(receive(fd, &reply));
        assert_int_equal(reply.status, 200);
        reply_fini(&reply);
    }
    close(fd);
}

static void test_huge_head(void **state)
{
    char *value = pd_calloc(200001, 1);
    struct reply reply;
    int fd = dial(*state);

    memset(value, 'a', 200000);
    send_text(fd, "GET /livez HTTP/1.1\r\nHost: x\r\nX-Large: ");
    send_text(fd, value);
    send_text(fd, "\r\n\r\n");
    assert_true(receive(fd, &reply));
    assert_int_equal(reply.status, 431);
    reply_fini(&reply);
    close(fd);
    free(value);
    exchange(*state, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 200);
    reply_fini(&reply);
}

/* ---- bad times ---- */

static void test_body_never_ends(void **state)
{
    static const char head[] = "POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY
                               "\r\n"
                               "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    struct reply reply;
    int fd = dial(*state);

    send_text(fd, head);
    assert_true(receive(fd, &reply));
    assert_int_equal(reply.status, 408);
    assert_non_null(strstr(reply.head, "Connection: close"));
    reply_fini(&reply);
    close(fd);
}

/* A byte now and then keeps the body idle clock happy, but not the total. */
static void test_body_drips(void **state)
{
    struct reply reply = {.status = 0};
    struct pollfd poll_fd;
    int fd = dial(*state);

    send_text(fd, "POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY
                  "\r\n"
                  "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n");
    poll_fd = (struct pollfd){.fd = fd, .events = POLLIN};
    for (int i = 0; i < 100 && poll(&poll_fd, 1, 100) == 0; i++)
        send_text(fd, " ");
    assert_true(receive(fd, &reply));
    assert_int_equal(reply.status, 408);
    reply_fini(&reply);
    close(fd);
}

static void test_silent_connection_is_closed(void **state)
{
    struct reply reply;
    char byte;
    int silent = dial(*state);
    int half = dial(*state);

    send_text(half, "GET /liv");
    assert_int_equal(recv(silent, &byte, 1, 0), 0);
    assert_true(receive(half, &reply));
    assert_int_equal(reply.status, 408);
    reply_fini(&reply);
    close(silent);
    close(half);
}

static void raise_files(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

enum { MANY = 10000 };

/* In a process of their own, since descriptors are counted by process. After
 * fork(2) from a program with threads: system calls only. */
static void be_silent(const struct sockaddr_in *address, int ready, int until)
{
    char byte = 0;

    for (int i = 0; i < MANY; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
            _exit(1);
    }
    (void)!write(ready, &byte, 1);
    (void)!read(until, &byte, 1);
    _exit(0);
}

static void test_ten_thousand_silent(void **state)
{
    struct rig *rig = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)rig->port)};
    struct rlimit limit;
    int ready[2], until[2];
    char byte;
    pid_t child;

    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < MANY + 2048) {
        printf("SKIP integration/api_test ten_thousand_silent: at most %llu open files\n",
               (unsigned long long)limit.rlim_cur);
        skip();
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(pipe2(ready, O_CLOEXEC) | pipe2(until, O_CLOEXEC), 0);
    child = fork();
    if (child == 0) {
        close(ready[0]);
        close(until[1]);
        be_silent(&address, ready[1], until[0]);
    }
    close(ready[1]);
    close(until[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    for (int i = 0; i < 50; i++)
        pd_node_free(run(rig, "{\"code\":\"print still here\"}"));
    close(until[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ready[0]);
    pd_node_free(run(rig, "{\"code\":\"print still here\"}"));
}

static void test_hang_up_frees_the_sandbox(void **state)
{
    struct rig *rig = *state;
    pd_autofree char *text = post_text("{\"code\":\"hold\"}", NULL);
    int before = atomic_load(&rig->cancels);
    int fd = dial(rig);

    send_text(fd, text);
    wait_for(&rig->idle, SANDBOXES - 1);
    close(fd);
    wait_for(&rig->idle, SANDBOXES);
    assert_int_equal(atomic_load(&rig->cancels), before + 1);
}

/* Likewise for one that has sent its next request already. */
static void test_hang_up_of_a_pipeliner(void **state)
{
    struct rig *rig = *state;
    pd_autofree char *text = post_text("{\"code\":\"hold\"}", NULL);
    int before = atomic_load(&rig->cancels);
    int fd = dial(rig);

    send_text(fd, text);
    wait_for(&rig->idle, SANDBOXES - 1);
    for (int i = 0; i < 100; i++)
        send_text(fd, text);
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    close(fd);
    wait_for(&rig->cancels, before + 1);
    wait_for(&rig->idle, SANDBOXES);
}

static void test_hang_up_while_waiting(void **state)
{
    struct rig *rig = *state;
    pd_autofree char *hold = post_text("{\"code\":\"hold\"}", NULL);
    int fds[SANDBOXES + 2];

    for (size_t i = 0; i < PD_COUNT(fds); i++) {
        fds[i] = dial(rig);
        send_text(fds[i], hold);
    }
    wait_for(&rig->idle, 0);
    for (size_t i = PD_COUNT(fds); i-- > 0;)
        close(fds[i]);
    wait_for(&rig->idle, SANDBOXES);
}

/* Bodies that are on their way count together: 413 is for one, 503 for many. */
static void test_many_large_bodies(void **state)
{
    static char block[1 << 20];
    struct reply reply;
    int refused = 0;
    int fds[4];

    memset(block, ' ', sizeof block);
    for (size_t i = 0; i < PD_COUNT(fds); i++) {
        fds[i] = dial(*state);
        send_text(fds[i], "POST /execute HTTP/1.1\r\nHost: x\r\nX-API-Key: " KEY
                          "\r\n"
                          "Content-Type: application/json\r\nContent-Length: 1100000\r\n\r\n");
        send_all(fds[i], block, sizeof block);
    }
    for (size_t i = 0; i < PD_COUNT(fds); i++) {
        assert_true(receive(fds[i], &reply));
        assert_true(reply.status == 503 || reply.status == 408);
        refused += reply.status == 503 && strstr(reply.head, "Retry-After: ");
        reply_fini(&reply);
        close(fds[i]);
    }
    assert_int_equal(refused, 1);
    pd_node_free(run(*state, "{\"code\":\"print again\"}"));
}

static void test_full_queue(void **state)
{
    struct rig *rig = *state;
    pd_autofree char *hold = post_text("{\"code\":\"hold\"}", NULL);
    struct reply reply;
    int fds[SANDBOXES + 4];

    for (size_t i = 0; i < PD_COUNT(fds); i++) {
        fds[i] = dial(rig);
        send_text(fds[i], hold);
    }
    wait_for(&rig->idle, 0);
    execute(rig, "{\"code\":\"print x\"}", &reply);
    assert_true(reply.status == 429 || reply.status == 503);
    assert_non_null(strstr(reply.head, "Retry-After: "));
    reply_fini(&reply);
    for (size_t i = 0; i < PD_COUNT(fds); i++)
        close(fds[i]);
    wait_for(&rig->idle, SANDBOXES);
}

static void test_no_sandbox_in_time(void **state)
{
    struct reply reply;

    execute(*state, "{\"code\":\"print x\",\"language\":\"js\"}", &reply);
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.head, "Retry-After: "));
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
    node = parse(&reply);
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
    pd_autonode struct pd_node *node = run(*state, "{\"code\":\"lose\"}");

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
        cmocka_unit_test(test_bad_bodies),
        cmocka_unit_test(test_unknown_language_lists_choices),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_too_large_while_sending),
        cmocka_unit_test(test_bad_heads),
        cmocka_unit_test(test_refusal_keeps_connection),
        cmocka_unit_test(test_huge_head),
        cmocka_unit_test(test_body_never_ends),
        cmocka_unit_test(test_body_drips),
        cmocka_unit_test(test_silent_connection_is_closed),
        cmocka_unit_test(test_ten_thousand_silent),
        cmocka_unit_test(test_hang_up_frees_the_sandbox),
        cmocka_unit_test(test_hang_up_of_a_pipeliner),
        cmocka_unit_test(test_hang_up_while_waiting),
        cmocka_unit_test(test_many_large_bodies),
        cmocka_unit_test(test_full_queue),
        cmocka_unit_test(test_no_sandbox_in_time),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_languages),
        cmocka_unit_test(test_busy_port_names_holder),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_drain),
    };

    raise_files();
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("api", tests, rig_set_up, rig_close);
}
