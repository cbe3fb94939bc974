#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <string.h>

#include "api/client_frame.h"
#include "common/mem.h"

static int parse(const char *text, struct pd_client_frame *frame)
{
    struct pd_err err = {.msg = ""};
    int rc = pd_client_frame_parse(text, strlen(text), frame, &err);

    if (rc < 0)
        assert_true(*err.msg);
    return rc;
}

static void test_refusals(void **state)
{
    static const struct {
        const char *text;
        int rc;
    } cases[] = {
        {"", PD_INVALID},
        {"x", PD_INVALID},
        {"[]", PD_INVALID},
        {"{\"type\":\"cancel\"} x", PD_INVALID},
        {"{\"type\":\"cancel\",\"type\":\"run\"}", PD_INVALID},
        {"{}", PD_DENIED},
        {"{\"type\":7}", PD_DENIED},
        {"{\"type\":\"exit\"}", PD_DENIED},
        {"{\"type\":\"cancel\\u0000\"}", PD_DENIED},
        {"{\"type\":\"cancel\",\"why\":1}", PD_DENIED},
        {"{\"type\":\"stdin\"}", PD_DENIED},
        {"{\"type\":\"stdin\",\"data\":1}", PD_DENIED},
        {"{\"type\":\"stdin\",\"data\":\"x\",\"encoding\":\"hex\"}", PD_DENIED},
        {"{\"type\":\"stdin\",\"data\":\"x\",\"encoding\":\"base64\"}", PD_DENIED},
        {"{\"type\":\"signal\"}", PD_DENIED},
        {"{\"type\":\"signal\",\"signal\":2}", PD_DENIED},
        {"{\"type\":\"signal\",\"signal\":\"SEGV\"}", PD_DENIED},
        {"{\"type\":\"signal\",\"signal\":\"INT\\u0000\"}", PD_DENIED},
        {"{\"type\":\"resize\",\"rows\":1}", PD_DENIED},
        {"{\"type\":\"resize\",\"rows\":0,\"cols\":1}", PD_DENIED},
        {"{\"type\":\"resize\",\"rows\":1.5,\"cols\":1}", PD_DENIED},
        {"{\"type\":\"resize\",\"rows\":1,\"cols\":1001}", PD_DENIED},
        {"{\"type\":\"run\",\"tty\":1}", PD_DENIED},
        {"{\"type\":\"run\",\"rows\":\"1\"}", PD_DENIED},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_client_frame frame;
        if (parse(cases[i].text, &frame) != cases[i].rc)
            fail_msg("%s", cases[i].text);
    }
}

static void test_frames(void **state)
{
    struct pd_client_frame frame;

    (void)state;
    assert_int_equal(parse("{\"type\":\"run\",\"code\":\"x\",\"tty\":true,\"cols\":80,\"detach\":"
                           "true,\"stdin_credit\":true}",
                           &frame),
                     0);
    assert_int_equal(frame.type, PD_CLIENT_RUN);
    assert_true(frame.tty && frame.detach && frame.stdin_credit && !frame.stdin_open);
    assert_int_equal(frame.cols, 80);
    assert_int_equal(frame.rows, 0);
    assert_int_equal(pd_node_count(frame.request), 1); /* what POST /execute has, too */
    pd_client_frame_fini(&frame);
    assert_int_equal(parse("{\"type\":\"stdin\",\"data\":\"a\\u0000b\"}", &frame), 0);
    assert_int_equal(frame.data_len, 3);
    assert_memory_equal(frame.data, "a\0b", 3);
    pd_client_frame_fini(&frame);
    assert_int_equal(
        parse("{\"type\":\"stdin\",\"data\":\"AAH/\",\"encoding\":\"base64\"}", &frame), 0);
    assert_int_equal(frame.data_len, 3);
    assert_memory_equal(frame.data, "\0\1\xff", 3);
    pd_client_frame_fini(&frame);
    assert_int_equal(parse("{\"type\":\"signal\",\"signal\":\"SIGTERM\"}", &frame), 0);
    assert_int_equal(frame.signo, SIGTERM);
    assert_int_equal(parse("{\"type\":\"resize\",\"rows\":24,\"cols\":1000}", &frame), 0);
    assert_int_equal(frame.rows, 24);
    assert_int_equal(frame.cols, 1000);
    assert_int_equal(parse("{\"type\":\"stdin_eof\"}", &frame), 0);
    assert_int_equal(frame.type, PD_CLIENT_STDIN_EOF);
    assert_int_equal(parse("{\"type\":\"cancel\"}", &frame), 0);
    assert_int_equal(frame.type, PD_CLIENT_CANCEL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_frames),
    };

    return cmocka_run_group_tests_name("client_frame", tests, NULL, NULL);
}
