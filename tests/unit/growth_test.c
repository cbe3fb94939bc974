#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/err.h"
#include "controller/growth.h"

static struct pd_time at_ms(int64_t ms)
{
    return pd_time_add_ms((struct pd_time){0}, ms + 1);
}

static void test_batches_double(void **state)
{
    static const int batches[] = {1, 2, 4, 8, 16, 16};
    struct pd_growth growth = {0};

    (void)state;
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        int batch = pd_growth_allowance(&growth, at_ms(0), 0, 0);
        assert_int_equal(batch, batches[i]);
        assert_int_equal(pd_growth_allowance(&growth, at_ms(0), batch, 0), 0);
        for (int j = 0; j < batch; j++)
            pd_growth_created(&growth);
    }
}

static void test_the_first_failure_stops_growth(void **state)
{
    struct pd_growth growth = {.window = 8};
    int64_t pause_ms;

    (void)state;
    pd_growth_failed(&growth, PD_INTERNAL, "why", at_ms(0), 1);
    pause_ms = pd_time_ms_between(at_ms(0), growth.retry_at);
    assert_in_range(pause_ms, PD_GROWTH_PAUSE_MIN_MS * 3 / 4, PD_GROWTH_PAUSE_MIN_MS);
    assert_int_equal(pd_growth_allowance(&growth, at_ms(pause_ms - 1), 0, 0), 0);
    assert_int_equal(pd_growth_allowance(&growth, at_ms(pause_ms), 0, 0), 1);
    assert_int_equal(pd_growth_allowance(&growth, at_ms(pause_ms), 0, 1), 0);
    pd_growth_created(&growth);
    assert_int_equal(pd_growth_allowance(&growth, at_ms(pause_ms), 0, 1), 0);
    pd_growth_ready(&growth);
    assert_int_equal(pd_growth_allowance(&growth, at_ms(pause_ms), 0, 1), 1);
    assert_string_equal(growth.message, "");
}

static int64_t fail_again(struct pd_growth *growth, int kind, uint64_t seed)
{
    struct pd_time now = growth->retry_at;

    pd_growth_failed(growth, kind, "why", now, seed);
    return pd_time_ms_between(now, growth->retry_at);
}

static void test_pauses_double_up_to_a_maximum(void **state)
{
    struct pd_growth growth = {0};
    int64_t want_ms = PD_GROWTH_PAUSE_MIN_MS;

    (void)state;
    for (int i = 0; i < 12; i++) {
        int64_t pause_ms = fail_again(&growth, PD_INTERNAL, 42);
        assert_in_range(pause_ms, want_ms * 3 / 4, want_ms);
        want_ms = want_ms * 2 < PD_GROWTH_PAUSE_MAX_MS ? want_ms * 2 : PD_GROWTH_PAUSE_MAX_MS;
    }
    assert_int_equal(growth.failures, 12);
}

static void test_a_batch_that_fails_together_is_one_failure(void **state)
{
    struct pd_growth growth = {.window = 4};

    (void)state;
    for (int i = 0; i < 4; i++)
        pd_growth_failed(&growth, PD_INTERNAL, "why", at_ms(i), 1);
    assert_int_equal(growth.failures, 1);
}

static void test_want_of_capacity_waits_longer(void **state)
{
    struct pd_growth growth = {0};

    (void)state;
    assert_in_range(fail_again(&growth, PD_LIMIT, 1), PD_GROWTH_HELD_MIN_MS * 3 / 4,
                    PD_GROWTH_HELD_MIN_MS);
    assert_true(growth.held);
    pd_growth_created(&growth); /* it has capacity again */
    assert_false(growth.held);
    assert_int_equal(growth.failures, 1); /* but nothing is ready yet */
}

static void test_the_seed_alone_decides_the_spread(void **state)
{
    struct pd_growth a = {0}, b = {0}, c = {0};
    int different = 0;

    (void)state;
    for (int i = 0; i < 8; i++) {
        int64_t pause_ms = fail_again(&a, PD_INTERNAL, 1);
        assert_int_equal(fail_again(&b, PD_INTERNAL, 1), pause_ms);
        different += fail_again(&c, PD_INTERNAL, 2) != pause_ms;
    }
    assert_true(different > 4);
}

static void test_another_template_starts_afresh(void **state)
{
    struct pd_growth growth = {0};

    (void)state;
    pd_growth_begin(&growth, "a");
    pd_growth_failed(&growth, PD_LIMIT, "why", at_ms(0), 1);
    pd_growth_begin(&growth, "a");
    assert_int_equal(growth.failures, 1);
    pd_growth_begin(&growth, "b");
    assert_int_equal(growth.failures, 0);
    assert_int_equal(pd_growth_allowance(&growth, at_ms(0), 0, 0), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_double),
        cmocka_unit_test(test_the_first_failure_stops_growth),
        cmocka_unit_test(test_pauses_double_up_to_a_maximum),
        cmocka_unit_test(test_a_batch_that_fails_together_is_one_failure),
        cmocka_unit_test(test_want_of_capacity_waits_longer),
        cmocka_unit_test(test_the_seed_alone_decides_the_spread),
        cmocka_unit_test(test_another_template_starts_afresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
