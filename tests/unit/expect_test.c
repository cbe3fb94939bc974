#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/expect.h"

static struct pd_time at_ms(int64_t ms)
{
    return pd_time_add_ms((struct pd_time){0}, ms);
}

static void test_pending_until_met(void **state)
{
    struct pd_expect *expect = pd_expect_new();

    (void)state;
    pd_expect_set(expect, "a", PD_EXPECT_APPEAR, at_ms(0));
    assert_true(pd_expect_is_pending(expect, "a", PD_EXPECT_APPEAR, at_ms(1)));
    assert_false(pd_expect_is_pending(expect, "a", PD_EXPECT_VANISH, at_ms(1)));
    assert_false(pd_expect_is_pending(expect, "b", PD_EXPECT_APPEAR, at_ms(1)));
    pd_expect_met(expect, "a", PD_EXPECT_VANISH); /* not what was expected */
    assert_true(pd_expect_is_pending(expect, "a", PD_EXPECT_APPEAR, at_ms(1)));
    pd_expect_met(expect, "a", PD_EXPECT_APPEAR);
    assert_false(pd_expect_is_pending(expect, "a", PD_EXPECT_APPEAR, at_ms(1)));
    assert_int_equal(pd_expect_count(expect), 0);
    pd_expect_free(expect);
}

static void test_the_newest_expectation_counts(void **state)
{
    struct pd_expect *expect = pd_expect_new();

    (void)state;
    pd_expect_set(expect, "a", PD_EXPECT_APPEAR, at_ms(0));
    pd_expect_set(expect, "a", PD_EXPECT_VANISH, at_ms(0));
    assert_false(pd_expect_is_pending(expect, "a", PD_EXPECT_APPEAR, at_ms(1)));
    assert_true(pd_expect_is_pending(expect, "a", PD_EXPECT_VANISH, at_ms(1)));
    assert_int_equal(pd_expect_count(expect), 1);
    pd_expect_free(expect);
}

static void test_expectations_expire(void **state)
{
    struct pd_expect *expect = pd_expect_new();

    (void)state;
    pd_expect_set(expect, "a", PD_EXPECT_APPEAR, at_ms(0));
    pd_expect_set(expect, "b", PD_EXPECT_APPEAR, at_ms(1000));
    pd_expect_set(expect, "a", PD_EXPECT_APPEAR, at_ms(2000)); /* anew: lives longer than b */
    assert_true(pd_expect_is_pending(expect, "b", PD_EXPECT_APPEAR, at_ms(PD_EXPECT_TTL_MS + 999)));
    assert_false(
        pd_expect_is_pending(expect, "b", PD_EXPECT_APPEAR, at_ms(PD_EXPECT_TTL_MS + 1000)));
    pd_expect_prune(expect, at_ms(PD_EXPECT_TTL_MS + 1000));
    assert_int_equal(pd_expect_count(expect), 1);
    assert_true(
        pd_expect_is_pending(expect, "a", PD_EXPECT_APPEAR, at_ms(PD_EXPECT_TTL_MS + 1000)));
    pd_expect_prune(expect, at_ms(PD_EXPECT_TTL_MS + 2000));
    assert_int_equal(pd_expect_count(expect), 0);
    pd_expect_free(expect);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pending_until_met),
        cmocka_unit_test(test_the_newest_expectation_counts),
        cmocka_unit_test(test_expectations_expire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
