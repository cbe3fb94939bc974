#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/head.h"
#include "common/mem.h"

#define H "Host: x\r\n"

static void test_refusals(void **state)
{
    static const struct {
        const char *text;
        int status; /* 0: fine */
    } cases[] = {
        {"GET / HTTP/1.1\r\n" H "\r\n", 0},
        {"\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", 0},
        {"GET / HTTP/1.0\r\n\r\n", 0},
        {"OPTIONS * HTTP/1.1\r\n" H "\r\n", 0},
        {"GET http://h:1/p HTTP/1.1\r\n" H "\r\n", 0},
        {"GET HTTP://h HTTP/1.1\r\n" H "\r\n", 0},
        {"M-SEARCH /x HTTP/1.1\r\n" H "\r\n", 0},
        {"GET / HTTP/1.1\r\n" H "Empty:\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\n" H "A: \xc3\xa9\t x\r\n\r\n", 0},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 000000000000000007\r\n\r\n", 0},
        {"POST / HTTP/1.1\r\n" H "transfer-encoding: Chunked\r\n\r\n", 0},
        {"\r\n\r\n", 400},
        {"GET\r\n\r\n", 400},
        {"GET /\r\n\r\n", 400},
        {"GET  / HTTP/1.1\r\n" H "\r\n", 400},
        {" GET / HTTP/1.1\r\n" H "\r\n", 400},
        {"GET / HTTP/1.1 \r\n" H "\r\n", 400},
        {"GET /a b HTTP/1.1\r\n" H "\r\n", 400},
        {"G(T / HTTP/1.1\r\n" H "\r\n", 400},
        {"GET x HTTP/1.1\r\n" H "\r\n", 400},
        {"GET * HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /%0 HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /%zz HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /%00 HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /\x7f HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n", 400},
        {"GET / http/1.1\r\n" H "\r\n", 400},
        {"GET / HTTP/1.2\r\n" H "\r\n", 505},
        {"GET / HTTP/2.0\r\n" H "\r\n", 505},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" H H "\r\n", 400},
        {"GET / HTTP/1.1\r\n" H " folded\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" H ": x\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" H "A\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" H "A: x\ny: z\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" H "A: x\ry\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" H "A: \x01\r\n\r\n", 400},
        {"GET / HTTP/1.1\n" H "\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: +1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 1 1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 0x1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 1,1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 9999999999999999999\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunkedx\r\n\r\n", 501},
        {"POST / HTTP/1.1\r\n" H "Expect: tea\r\n\r\n", 417},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_head head;
        const char *reason = NULL;
        int status = pd_head_parse(cases[i].text, strlen(cases[i].text), &head, &reason);
        if (status != cases[i].status || (status != 0) != (reason != NULL))
            fail_msg("%s: %d %s", cases[i].text, status, reason ? reason : "");
    }
}

static void parse(const char *text, struct pd_head *head)
{
    const char *reason = "";

    if (pd_head_parse(text, strlen(text), head, &reason) != 0)
        fail_msg("%s: %s", text, reason);
}

static void test_paths(void **state)
{
    static const struct {
        const char *target, *path;
    } cases[] = {
        {"/", "/"},
        {"/a/b?c=d", "/a/b"},
        {"/%41%2f%c3%a9", "/A/\xc3\xa9"},
        {"/a/../b", "/a/../b"},
        {"http://host/x?y", "/x"},
        {"http://host", "/"},
        {"http://host?y", "/"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autofree char *text = pd_asprintf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", cases[i].target);
        struct pd_head head;
        parse(text, &head);
        assert_string_equal(head.path, cases[i].path);
    }
}

static void test_long_path(void **state)
{
    char text[PD_HEAD_PATH_BYTES + 64];
    const char *reason;
    struct pd_head head;

    (void)state;
    for (int extra = 0; extra < 2; extra++) {
        snprintf(text, sizeof text, "GET /%0*d HTTP/1.0\r\n\r\n", PD_HEAD_PATH_BYTES - 2 + extra,
                 1);
        assert_int_equal(pd_head_parse(text, strlen(text), &head, &reason), extra ? 414 : 0);
        assert_int_equal(strlen(head.path), extra ? 0 : PD_HEAD_PATH_BYTES - 1);
    }
}

static void test_headers(void **state)
{
    struct pd_head head;
    const struct pd_header *header;

    (void)state;
    parse("POST /x HTTP/1.1\r\n" H
          "X-Key: \t a b \t\r\nTwice: 1\r\nTWICE: 2\r\n"
          "Content-Length: 42\r\nExpect: 100-Continue\r\n\r\n",
          &head);
    assert_int_equal(head.method, PD_METHOD_POST);
    assert_int_equal(head.n_headers, 6);
    assert_int_equal(head.content_length, 42);
    assert_true(head.expects_continue);
    header = pd_head_find(&head, "x-key");
    assert_int_equal(header->value_len, 3);
    assert_memory_equal(header->value, "a b", 3);
    assert_null(pd_head_find(&head, "twice"));
    assert_null(pd_head_find(&head, "x-ke"));
    assert_null(pd_head_find(&head, "x-keys"));
}

static void test_keep_alive(void **state)
{
    static const struct {
        const char *text;
        bool keep;
    } cases[] = {
        {"GET / HTTP/1.1\r\n" H "\r\n", true},
        {"GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" H "Connection: TE, Close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" H "Connection: closed\r\n\r\n", true},
        {"GET / HTTP/1.1\r\n" H "Connection: te\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_head head;
        parse(cases[i].text, &head);
        if (head.keep_alive != cases[i].keep)
            fail_msg("%s", cases[i].text);
    }
}

static void test_too_many_headers(void **state)
{
    char text[PD_HEAD_BYTES_MAX] = "GET / HTTP/1.1\r\n" H;
    const char *reason;
    struct pd_head head;

    (void)state;
    for (int i = 0; i < PD_HEADERS_MAX - 1; i++)
        strcat(text, "a:b\r\n");
    strcat(text, "\r\n");
    assert_int_equal(pd_head_parse(text, strlen(text), &head, &reason), 0);
    strcpy(text + strlen(text) - 2, "a:b\r\n\r\n");
    assert_int_equal(pd_head_parse(text, strlen(text), &head, &reason), 431);
}

/* The end is found wherever the pieces are cut, and nowhere else. */
static void test_end(void **state)
{
    static const char text[] = "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nrest\r\n\r\n";
    size_t end = (size_t)(strstr(text, "rest") - text);
    size_t from = 0;

    (void)state;
    for (size_t len = 0; len < sizeof text; len++)
        assert_int_equal(pd_head_end(text, len, &from), len < end ? 0 : end);
    for (size_t cut = 0; cut < sizeof text; cut++) {
        from = 0;
        pd_head_end(text, cut, &from);
        assert_int_equal(pd_head_end(text, sizeof text - 1, &from), end);
    }
}

static void test_query(void **state)
{
    static const struct {
        const char *target;
        const char *value; /* of "from"; NULL: none */
    } cases[] = {
        {"/", NULL},
        {"/?", NULL},
        {"/?from", ""},
        {"/?from=", ""},
        {"/?from=12", "12"},
        {"/p?a=b&from=12&from=13", "12"},
        {"/?fro=1&fromm=2", NULL},
        {"/?&&from=1+2%203%26", "1 2 3&"},
        {"/?%66rom=x", "x"},
        {"/?from=%", NULL},
        {"/?from=%00", NULL},
        {"/?from=0123456789", NULL}, /* does not fit */
        {"http://h?from=7", "7"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_head head;
        const char *reason = NULL;
        char text[128];
        char value[8];
        bool found;
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" H "\r\n", cases[i].target);
        assert_int_equal(pd_head_parse(text, strlen(text), &head, &reason), 0);
        found = pd_head_query(&head, "from", value, sizeof value);
        if (found != (cases[i].value != NULL) || (found && strcmp(value, cases[i].value) != 0))
            fail_msg("%s: %s", cases[i].target, found ? value : "none");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),   cmocka_unit_test(test_paths),
        cmocka_unit_test(test_long_path),  cmocka_unit_test(test_headers),
        cmocka_unit_test(test_keep_alive), cmocka_unit_test(test_too_many_headers),
        cmocka_unit_test(test_end),        cmocka_unit_test(test_query),
    };

    return cmocka_run_group_tests_name("head", tests, NULL, NULL);
}
