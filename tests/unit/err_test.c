#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/mem.h"

static void every_kind_has_its_row(void **state)
{
    static const struct {
        int kind;
        const char *name;
        int http_status;
        bool retryable;
    } cases[] = {
        {0, "ok", 200, false},
        {PD_INVALID, "invalid", 422, false},
        {PD_DENIED, "denied", 403, false},
        {PD_NOT_FOUND, "not found", 404, false},
        {PD_CONFLICT, "conflict", 409, false},
        {PD_THROTTLED, "throttled", 429, true},
        {PD_UNAVAILABLE, "unavailable", 503, true},
        {PD_TIMEOUT, "timeout", 504, true},
        {PD_LIMIT, "limit", 413, false},
        {PD_CANCELED, "canceled", 503, false},
        {PD_INTERNAL, "internal", 500, true},
        {-99, "internal", 500, true}, /* what is no kind is our own fault */
        {7, "internal", 500, true},
        {INT32_MIN, "internal", 500, true},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        assert_string_equal(pd_err_kind_name(cases[i].kind), cases[i].name);
        assert_int_equal(pd_err_http_status(cases[i].kind), cases[i].http_status);
        assert_int_equal(pd_err_retryable(cases[i].kind), cases[i].retryable);
    }
}

static void wrapping_keeps_the_kind_and_says_where(void **state)
{
    struct pd_err err;

    (void)state;
    assert_int_equal(pd_err_os(&err, PD_NOT_FOUND, ENOENT, "open '%s'", "/x"), PD_NOT_FOUND);
    assert_int_equal(err.os, ENOENT);
    assert_int_equal(pd_err_wrap(&err, "load %s", "pool"), PD_NOT_FOUND);
    assert_string_equal(err.msg, "load pool: open '/x': No such file or directory");
    assert_int_equal(pd_err_set(&err, PD_LIMIT, "%d", 3), PD_LIMIT);
    assert_int_equal(err.os, 0);
    assert_string_equal(err.msg, "3");
}

static void nobody_need_listen(void **state)
{
    (void)state;
    assert_int_equal(pd_err_set(NULL, PD_LIMIT, "x"), PD_LIMIT);
    assert_int_equal(pd_err_os(NULL, PD_DENIED, EACCES, "x"), PD_DENIED);
    assert_int_equal(pd_err_wrap(NULL, "x"), PD_INTERNAL);
}

static void messages_are_cut(void **state)
{
    char text[2000];
    struct pd_err err;

    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    pd_err_set(&err, PD_INVALID, "%s", text);
    assert_int_equal(strlen(err.msg), PD_ERR_MSG_MAX - 1);
    pd_err_os(&err, PD_INVALID, ENOENT, "%s", text);
    assert_int_equal(strlen(err.msg), PD_ERR_MSG_MAX - 1);
    pd_err_wrap(&err, "%s", text);
    assert_int_equal(strlen(err.msg), PD_ERR_MSG_MAX - 1);
    pd_err_wrap(&err, "short");
    assert_int_equal(strncmp(err.msg, "short: xxx", 10), 0);
    assert_int_equal(strlen(err.msg), PD_ERR_MSG_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_has_its_row),
        cmocka_unit_test(wrapping_keeps_the_kind_and_says_where),
        cmocka_unit_test(nobody_need_listen),
        cmocka_unit_test(messages_are_cut),
    };

    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
