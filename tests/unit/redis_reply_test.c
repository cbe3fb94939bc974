#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/mem.h"
#include "common/redis_reply.h"

static int read_one(const char *text, struct pd_redis_reply **ret_reply, struct pd_err *err)
{
    struct pd_redis_reader *reader = pd_redis_reader_new();
    int rc;

    pd_redis_reader_feed(reader, text, strlen(text));
    rc = pd_redis_reader_next(reader, ret_reply, err);
    pd_redis_reader_free(reader);
    return rc;
}

static void test_types(void **state)
{
    struct pd_redis_reply *reply;

    (void)state;
    assert_int_equal(
        read_one("*5\r\n+OK\r\n$3\r\na\nb\r\n:-7\r\n$-1\r\n$2\r\n42\r\n", &reply, NULL), 1);
    assert_int_equal(reply->type, PD_REDIS_ARRAY);
    assert_true(pd_redis_reply_is(pd_redis_reply_string(reply, 0), "OK"));
    assert_int_equal(pd_redis_reply_string(reply, 1)->len, 3);
    assert_int_equal(pd_redis_reply_integer(reply, 2, 0), -7);
    assert_null(pd_redis_reply_string(reply, 3));
    assert_int_equal(reply->items[3]->type, PD_REDIS_NIL);
    assert_int_equal(pd_redis_reply_integer(reply, 4, 0), 42);
    assert_int_equal(pd_redis_reply_integer(reply, 1, 5), 5);
    assert_int_equal(pd_redis_reply_integer(reply, 5, 5), 5);
    pd_redis_reply_free(reply);
}

static void test_errors_have_kinds(void **state)
{
    static const struct {
        const char *text;
        int kind;
    } cases[] = {
        {"-WRONGPASS x\r\n", PD_DENIED},          {"-NOAUTH x\r\n", PD_DENIED},
        {"-OOM command\r\n", PD_LIMIT},           {"-LOADING x\r\n", PD_UNAVAILABLE},
        {"-READONLY x\r\n", PD_UNAVAILABLE},      {"-FENCED 7\r\n", PD_CONFLICT},
        {"-NOSCRIPT x\r\n", PD_NOT_FOUND},        {"-ERR what\r\n", PD_INVALID},
        {"-ERR invalid password\r\n", PD_DENIED},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_redis_reply *reply;
        struct pd_err err;
        assert_int_equal(read_one(cases[i].text, &reply, NULL), 1);
        assert_int_equal(pd_redis_reply_err(reply, &err), cases[i].kind);
        pd_redis_reply_free(reply);
    }
}

static void test_what_is_no_redis(void **state)
{
    static const char *const said[] = {"HTTP/1.1 400 Bad Request\r\n", "SSH-2.0-x\r\n", "*x\r\n",
                                       "$-2\r\n",
                                       ("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"
                                       "*1\r\n*1\r\n")};
    struct pd_redis_reply *reply;

    (void)state;
    for (size_t i = 0; i < PD_COUNT(said); i++)
        assert_int_equal(read_one(said[i], &reply, NULL), PD_UNAVAILABLE);
}

static void test_bounds(void **state)
{
    struct pd_redis_reader *reader = pd_redis_reader_new();
    char *megabyte = pd_calloc(1, 1 << 20);
    struct pd_redis_reply *reply;
    struct pd_err err;
    int rc = 0;

    (void)state;
    assert_int_equal(read_one("*524289\r\n", &reply, NULL), PD_LIMIT);
    assert_int_equal(read_one("*2\r\n*524287\r\n", &reply, NULL), 0);
    assert_int_equal(read_one("*2\r\n*524287\r\n*1\r\n", &reply, NULL), 0);
    pd_redis_reader_feed(reader, "$900000000\r\n", 12);
    for (int i = 0; i < 64 && rc == 0; i++) {
        rc = pd_redis_reader_next(reader, &reply, &err);
        pd_redis_reader_feed(reader, megabyte, 1 << 20);
        if (rc < 0)
            assert_in_range(i, 32, 34);
    }
    assert_int_equal(rc, PD_LIMIT);
    pd_redis_reader_free(reader);
    free(megabyte);
}

/* Many whole answers in one feed are as many, however large they are together. */
static void test_bound_is_of_one_answer(void **state)
{
    struct pd_redis_reader *reader = pd_redis_reader_new();
    char *text = pd_calloc(1, (1 << 20) + 64);
    struct pd_redis_reply *reply;

    (void)state;
    strcpy(text, "$1048576\r\n");
    memset(text + 10, 'x', 1 << 20);
    strcpy(text + 10 + (1 << 20), "\r\n");
    for (int i = 0; i < 40; i++)
        pd_redis_reader_feed(reader, text, (1 << 20) + 12);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(pd_redis_reader_next(reader, &reply, NULL), 1);
        pd_redis_reply_free(reply);
    }
    assert_int_equal(pd_redis_reader_next(reader, &reply, NULL), 0);
    pd_redis_reader_free(reader);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_errors_have_kinds),
        cmocka_unit_test(test_what_is_no_redis),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_bound_is_of_one_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
