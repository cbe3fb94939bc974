#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/refill.h"

static struct pd_time at_ms(int64_t ms)
{
    return (struct pd_time){ms * PD_NS_PER_MS};
}

static void test_from_gap_to_warm(void **state)
{
    struct pd_refill refill = {.n_gaps = 0};

    (void)state;
    assert_int_equal(pd_refill_p99_ms(&refill), -1);
    pd_refill_came(&refill, at_ms(5)); /* the first of a pool fills no gap */
    assert_int_equal(pd_refill_p99_ms(&refill), -1);
    pd_refill_left(&refill, at_ms(1000));
    pd_refill_left(&refill, at_ms(1100));
    pd_refill_came(&refill, at_ms(1400));
    assert_int_equal(pd_refill_p99_ms(&refill), 400);
    pd_refill_came(&refill, at_ms(1450));
    assert_int_equal(pd_refill_p99_ms(&refill), 400);
    pd_refill_came(&refill, at_ms(9000));
    assert_int_equal(pd_refill_p99_ms(&refill), 400);
}

static void test_what_need_not_be_filled_is_not_measured(void **state)
{
    struct pd_refill refill = {.n_gaps = 0};

    (void)state;
    for (int i = 0; i < 3; i++)
        pd_refill_left(&refill, at_ms(1000 + i));
    pd_refill_missing(&refill, 1); /* the pool has become smaller */
    pd_refill_came(&refill, at_ms(1500));
    pd_refill_came(&refill, at_ms(90000));
    assert_int_equal(pd_refill_p99_ms(&refill), 500);
    pd_refill_left(&refill, at_ms(100000));
    pd_refill_missing(&refill, -2);
    pd_refill_came(&refill, at_ms(200000));
    assert_int_equal(pd_refill_p99_ms(&refill), 500);
}

static void test_one_in_a_hundred_may_be_slow(void **state)
{
    struct pd_refill refill = {.n_gaps = 0};

    (void)state;
    for (int i = 0; i < 100; i++) {
        pd_refill_left(&refill, at_ms(1000));
        pd_refill_came(&refill, at_ms(i == 50 ? 61000 : 1010));
    }
    assert_int_equal(pd_refill_p99_ms(&refill), 10);
    pd_refill_left(&refill, at_ms(1000));
    pd_refill_came(&refill, at_ms(31000)); /* two of 101 */
    assert_int_equal(pd_refill_p99_ms(&refill), 30000);
    for (int i = 0; i < PD_REFILL_SAMPLES_MAX; i++) {
        pd_refill_left(&refill, at_ms(1000));
        pd_refill_came(&refill, at_ms(1020));
    }
    assert_int_equal(pd_refill_p99_ms(&refill), 20); /* the slow ones are long ago */
}

static void test_gaps_are_bounded(void **state)
{
    struct pd_refill refill = {.n_gaps = 0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        pd_refill_left(&refill, at_ms(1000));
    assert_int_equal(refill.n_gaps, PD_REFILL_GAPS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_gap_to_warm),
        cmocka_unit_test(test_what_need_not_be_filled_is_not_measured),
        cmocka_unit_test(test_one_in_a_hundred_may_be_slow),
        cmocka_unit_test(test_gaps_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
