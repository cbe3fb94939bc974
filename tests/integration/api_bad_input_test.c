/* The HTTP API and clients that send what cannot be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "tests/lib/api_rig.h"

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
        node = reply_json(&reply);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_bodies), cmocka_unit_test(test_unknown_language_lists_choices),
        cmocka_unit_test(test_too_large),  cmocka_unit_test(test_too_large_while_sending),
        cmocka_unit_test(test_bad_heads),  cmocka_unit_test(test_refusal_keeps_connection),
        cmocka_unit_test(test_huge_head),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("api_bad_input", tests, rig_set_up, rig_close);
}
