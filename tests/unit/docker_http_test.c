#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "controller/docker_http.h"

#define OK_HEAD "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
#define RAW "Content-Type: application/vnd.docker.raw-stream\r\n"

static const struct {
    const char *what, *text;
    int rc, status;
    bool stream;
} cases[] = {
    {"upgraded", OK_HEAD, 0, 101, true},
    {"HTTP/1.0", "HTTP/1.0 101 X\r\n\r\n", 0, 101, true},
    {"no reason", "HTTP/1.1 101\r\n\r\n", 0, 101, true},
    {"hijacked without upgrade", "HTTP/1.1 200 OK\r\n" RAW "\r\n", 0, 200, true},
    {"multiplexed type, any case",
     "HTTP/1.1 200 OK\r\ncontent-TYPE:\tAPPLICATION/vnd.docker.multiplexed-stream\r\n\r\n", 0, 200,
     true},
    {"200 of another type", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", 0, 200, false},
    {"200 chunked", "HTTP/1.1 200 OK\r\n" RAW "Transfer-Encoding: chunked\r\n\r\n", 0, 200, false},
    {"not found", "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", 0, 404, false},
    {"empty value", "HTTP/1.1 101 X\r\nA:\r\n\r\n", 0, 101, true},
    {"another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n", PD_INVALID, 0, false},
    {"HTTP/2", "HTTP/2 101 X\r\n\r\n", PD_INVALID, 0, false},
    {"no status", "HTTP/1.1 OK\r\n\r\n", PD_INVALID, 0, false},
    {"status of two digits", "HTTP/1.1 20 OK\r\n\r\n", PD_INVALID, 0, false},
    {"status of four digits", "HTTP/1.1 1011 OK\r\n\r\n", PD_INVALID, 0, false},
    {"status 000", "HTTP/1.1 000 OK\r\n\r\n", PD_INVALID, 0, false},
    {"status 999", "HTTP/1.1 999 OK\r\n\r\n", PD_INVALID, 0, false},
    {"field without colon", "HTTP/1.1 101 X\r\nnonsense\r\n\r\n", PD_INVALID, 0, false},
    {"field without name", "HTTP/1.1 101 X\r\n: x\r\n\r\n", PD_INVALID, 0, false},
    {"blank before the colon", "HTTP/1.1 101 X\r\nA : x\r\n\r\n", PD_INVALID, 0, false},
    {"folded line", "HTTP/1.1 101 X\r\nA: x\r\n y: z\r\n\r\n", PD_INVALID, 0, false},
    {"bare CR", "HTTP/1.1 101 X\r\nA: x\ry\r\n\r\n", PD_INVALID, 0, false},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_docker_head head = {.status = -1};
        struct pd_err err;
        const char *end = strstr(cases[i].text, "\r\n\r\n");
        int rc = pd_docker_head_parse(cases[i].text, strlen(cases[i].text), &head, &err);
        if (rc != cases[i].rc)
            fail_msg("%s: %d", cases[i].what, rc);
        if (rc < 0) {
            assert_int_equal(err.kind, PD_INVALID);
            assert_int_equal(head.status, -1); /* untouched */
            continue;
        }
        if (head.status != cases[i].status || pd_docker_head_is_stream(&head) != cases[i].stream)
            fail_msg("%s: %d", cases[i].what, head.status);
        assert_int_equal(head.len, (size_t)(end - cases[i].text) + 4);
    }
}

static void test_every_beginning_asks_for_more(void **state)
{
    (void)state;
    for (size_t len = 0; len < strlen(OK_HEAD); len++) {
        char *exact = malloc(len + 1); /* so that reading beyond is seen */
        struct pd_docker_head head = {.len = 99};
        memcpy(exact, OK_HEAD, len);
        exact = realloc(exact, len ? len : 1);
        assert_int_equal(pd_docker_head_parse(exact, len, &head, NULL), 0);
        assert_int_equal(head.len, 0);
        free(exact);
    }
}

static void test_what_follows_is_left(void **state)
{
    struct pd_docker_head head;

    (void)state;
    assert_int_equal(pd_docker_head_parse(OK_HEAD "\r\n\r\n\1", strlen(OK_HEAD) + 5, &head, NULL),
                     0);
    assert_int_equal(head.len, strlen(OK_HEAD));
}

static void test_endless_head_is_refused(void **state)
{
    char *text = pd_calloc(PD_DOCKER_HEAD_BYTES_MAX * 2, 1);
    struct pd_docker_head head;
    struct pd_err err;

    (void)state;
    memset(text, 'a', PD_DOCKER_HEAD_BYTES_MAX * 2);
    memcpy(text, "HTTP/1.1 101 X\r\n", 16);
    assert_int_equal(pd_docker_head_parse(text, PD_DOCKER_HEAD_BYTES_MAX - 1, &head, &err), 0);
    assert_int_equal(head.len, 0);
    assert_int_equal(pd_docker_head_parse(text, PD_DOCKER_HEAD_BYTES_MAX, &head, &err), PD_LIMIT);
    memcpy(text + PD_DOCKER_HEAD_BYTES_MAX, ":\r\n\r\n", 5); /* too late */
    assert_int_equal(pd_docker_head_parse(text, PD_DOCKER_HEAD_BYTES_MAX * 2, &head, &err),
                     PD_LIMIT);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_every_beginning_asks_for_more),
        cmocka_unit_test(test_what_follows_is_left),
        cmocka_unit_test(test_endless_head_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
