#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/trace.h"
#include "common/mem.h"

#define PARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static void test_good_ones_are_kept(void **state)
{
    struct pd_trace trace;

    (void)state;
    pd_trace_init(&trace, "Abc-123._:+/=@", PARENT);
    assert_string_equal(trace.request_id, "Abc-123._:+/=@");
    assert_string_equal(trace.traceparent, PARENT);
    pd_trace_init(&trace, "x", NULL);
    assert_string_equal(trace.request_id, "x");
    pd_trace_init(&trace, NULL, PARENT);
    assert_string_equal(trace.traceparent, PARENT);
    assert_string_equal(trace.request_id, "0af7651916cd43dd8448eb211c80319c");
}

static void test_bad_ones_are_replaced(void **state)
{
    static const char *const ids[] = {
        "",
        "a b",
        "a\r\nSet-Cookie: x",
        "\xc3\xa9",
        "a\"",
        "0123456789012345678901234567890123456789012345678901234567890123456789"};
    static const char *const parents[] = {
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g"};
    struct pd_trace trace;

    (void)state;
    for (size_t i = 0; i < PD_COUNT(ids); i++) {
        pd_trace_init(&trace, ids[i], NULL);
        assert_int_equal(strlen(trace.request_id), 32);
        assert_int_equal(strspn(trace.request_id, "0123456789abcdef"), 32);
    }
    for (size_t i = 0; i < PD_COUNT(parents); i++) {
        pd_trace_init(&trace, NULL, parents[i]);
        assert_string_not_equal(trace.traceparent, parents[i]);
        assert_int_equal(strlen(trace.traceparent), PD_TRACEPARENT_BYTES - 1);
        assert_memory_equal(trace.traceparent + 3, trace.request_id, 32);
    }
}

static void test_new_ones_differ(void **state)
{
    struct pd_trace one, two;

    (void)state;
    pd_trace_init(&one, NULL, NULL);
    pd_trace_init(&two, NULL, NULL);
    assert_string_not_equal(one.request_id, two.request_id);
    assert_string_not_equal(one.traceparent, two.traceparent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_ones_are_kept),
        cmocka_unit_test(test_bad_ones_are_replaced),
        cmocka_unit_test(test_new_ones_differ),
    };

    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
