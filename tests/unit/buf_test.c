#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/mem.h"

static void content_is_terminated_and_counted(void **state)
{
    struct pd_buf buf pd_autobuf;

    (void)state;
    pd_buf_init(&buf, 100);
    assert_null(buf.data);
    assert_int_equal(pd_buf_add(&buf, "ab\0c", 4, NULL), 0);
    assert_int_equal(pd_buf_addf(&buf, NULL, "%d-%s", 42, "x"), 0);
    assert_int_equal(buf.len, 8);
    assert_memory_equal(buf.data, "ab\0c42-x", 9);
    assert_int_equal(pd_buf_add(&buf, NULL, 0, NULL), 0);
    assert_int_equal(buf.len, 8);
}

/* At every size around the bound, by every way to add: exactly what fits. */
static void the_bound_is_exact_and_a_refusal_changes_nothing(void **state)
{
    char text[64];

    (void)state;
    memset(text, 'x', sizeof text);
    for (size_t max = 0; max < 40; max++) {
        for (size_t len = 0; len < 40; len++) {
            struct pd_buf buf pd_autobuf;
            struct pd_err err = {0};
            int wanted = len <= max ? 0 : PD_LIMIT;
            pd_buf_init(&buf, max);
            assert_int_equal(pd_buf_add(&buf, text, len, &err), wanted);
            assert_int_equal(err.kind, wanted);
            assert_int_equal(buf.len, wanted ? 0 : len);
            pd_buf_clear(&buf);
            assert_int_equal(pd_buf_addf(&buf, &err, "%.*s", (int)len, text), wanted);
            assert_int_equal(buf.len, wanted ? 0 : len);
            assert_true(buf.cap <= max + 1);
        }
    }
}

static void a_length_that_would_wrap_is_refused(void **state)
{
    struct pd_buf buf pd_autobuf;

    (void)state;
    pd_buf_init(&buf, 100);
    assert_int_equal(pd_buf_add(&buf, "abc", 3, NULL), 0);
    assert_null(pd_buf_reserve(&buf, SIZE_MAX, NULL));
    assert_null(pd_buf_reserve(&buf, SIZE_MAX - 2, NULL));
    assert_null(pd_buf_reserve(&buf, 98, NULL));
    assert_non_null(pd_buf_reserve(&buf, 97, NULL));
    assert_int_equal(buf.len, 3);
    assert_string_equal(buf.data, "abc");
}

static void growing_keeps_the_content(void **state)
{
    struct pd_buf buf pd_autobuf;

    (void)state;
    pd_buf_init(&buf, 100000);
    for (int i = 0; i < 20000; i++)
        assert_int_equal(pd_buf_addf(&buf, NULL, "%05d", i), 0);
    assert_int_equal(buf.len, 100000);
    assert_memory_equal(buf.data + 5 * 12345, "12345", 5);
    assert_int_equal(pd_buf_add(&buf, "x", 1, NULL), PD_LIMIT);
}

static void consuming_takes_from_the_front(void **state)
{
    struct pd_buf buf pd_autobuf;

    (void)state;
    pd_buf_init(&buf, 100);
    pd_buf_consume(&buf, 5);
    assert_int_equal(pd_buf_add(&buf, "abcdef", 6, NULL), 0);
    pd_buf_consume(&buf, 0);
    pd_buf_consume(&buf, 4);
    assert_string_equal(buf.data, "ef");
    assert_int_equal(buf.len, 2);
    pd_buf_consume(&buf, 100);
    assert_int_equal(buf.len, 0);
    assert_string_equal(buf.data, "");
}

static void what_is_stolen_is_the_callers(void **state)
{
    struct pd_buf buf pd_autobuf;
    pd_autofree char *text = NULL, *empty = NULL;

    (void)state;
    pd_buf_init(&buf, 100);
    assert_int_equal(pd_buf_add(&buf, "abc", 3, NULL), 0);
    text = pd_buf_steal(&buf);
    empty = pd_buf_steal(&buf);
    assert_string_equal(text, "abc");
    assert_string_equal(empty, "");
    assert_int_equal(pd_buf_add(&buf, "def", 3, NULL), 0); /* still of use */
    assert_string_equal(buf.data, "def");
    assert_int_equal(buf.max, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_is_terminated_and_counted),
        cmocka_unit_test(the_bound_is_exact_and_a_refusal_changes_nothing),
        cmocka_unit_test(a_length_that_would_wrap_is_refused),
        cmocka_unit_test(growing_keeps_the_content),
        cmocka_unit_test(consuming_takes_from_the_front),
        cmocka_unit_test(what_is_stolen_is_the_callers),
    };

    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
