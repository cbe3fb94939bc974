#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/peak.h"

#define WINDOW_MS 16000
#define SLOT_MS (WINDOW_MS / PD_PEAK_SLOTS)

static struct pd_time at_ms(int64_t ms)
{
    return pd_time_add_ms((struct pd_time){0}, 1000000 + ms);
}

static struct pd_peak peak_of(int64_t window_ms)
{
    struct pd_peak peak = {0};

    pd_peak_set_window(&peak, window_ms, at_ms(0));
    return peak;
}

static void test_a_level_counts_for_the_window(void **state)
{
    struct pd_peak peak = peak_of(WINDOW_MS);

    (void)state;
    pd_peak_note(&peak, at_ms(0), 5);
    pd_peak_note(&peak, at_ms(10), 1);
    assert_int_equal(pd_peak_value(&peak, at_ms(10)), 5);
    assert_int_equal(pd_peak_value(&peak, at_ms(10 + WINDOW_MS)), 5);
    assert_int_equal(pd_peak_value(&peak, at_ms(10 + WINDOW_MS + SLOT_MS)), 1);
}

static void test_a_level_holds_until_the_next(void **state)
{
    struct pd_peak peak = peak_of(WINDOW_MS);

    (void)state;
    pd_peak_note(&peak, at_ms(0), 5);
    pd_peak_note(&peak, at_ms(100000), 2); /* it was 5 until just now */
    assert_int_equal(pd_peak_value(&peak, at_ms(100000)), 5);
    assert_int_equal(pd_peak_value(&peak, at_ms(100000 + WINDOW_MS)), 5);
    assert_int_equal(pd_peak_value(&peak, at_ms(100000 + WINDOW_MS + SLOT_MS)), 2);
}

static void test_next_drop_is_when_the_value_drops(void **state)
{
    struct pd_peak peak = peak_of(WINDOW_MS);
    struct pd_time drop;

    (void)state;
    pd_peak_note(&peak, at_ms(0), 3);
    assert_false(pd_time_is_set(pd_peak_next_drop(&peak, at_ms(0))));
    pd_peak_note(&peak, at_ms(1500), 9);
    pd_peak_note(&peak, at_ms(4200), 1);
    drop = pd_peak_next_drop(&peak, at_ms(4200));
    assert_int_equal(pd_peak_value(&peak, (struct pd_time){drop.ns - 1}), 9);
    assert_true(pd_peak_value(&peak, drop) < 9);
}

static void test_without_a_window_nothing_is_remembered(void **state)
{
    struct pd_peak peak = peak_of(0);

    (void)state;
    pd_peak_note(&peak, at_ms(0), 5);
    assert_int_equal(pd_peak_value(&peak, at_ms(0)), 0);
    assert_false(pd_time_is_set(pd_peak_next_drop(&peak, at_ms(0))));
}

static void test_another_window_keeps_the_peak(void **state)
{
    struct pd_peak peak = peak_of(WINDOW_MS);

    (void)state;
    pd_peak_note(&peak, at_ms(0), 7);
    pd_peak_note(&peak, at_ms(1), 1);
    pd_peak_set_window(&peak, WINDOW_MS * 2, at_ms(2));
    assert_int_equal(pd_peak_value(&peak, at_ms(2)), 7);
    assert_int_equal(pd_peak_value(&peak, at_ms(2 + WINDOW_MS * 2)), 7);
    assert_int_equal(pd_peak_value(&peak, at_ms(2 + WINDOW_MS * 2 + SLOT_MS * 2)), 1);
}

/* Against the rule itself: never less than the true peak of the window, never
 * more than that of a window longer by a slot. */
static void test_random_levels(void **state)
{
    static int level_at[60000];
    struct pd_peak peak = peak_of(WINDOW_MS);
    uint64_t random = 3;
    int level = 0;

    (void)state;
    for (int ms = 0; ms < 60000; ms++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        if ((random >> 33) % 2000 == 0) {
            level = (int)(random >> 50) % 20;
            pd_peak_note(&peak, at_ms(ms), level);
        }
        level_at[ms] = level;
        if (ms % 97 == 0) {
            int least = 0, most = 0;
            for (int past = ms; past >= 0 && past >= ms - WINDOW_MS - SLOT_MS; past--) {
                most = level_at[past] > most ? level_at[past] : most;
                if (past > ms - WINDOW_MS)
                    least = level_at[past] > least ? level_at[past] : least;
            }
            assert_in_range(pd_peak_value(&peak, at_ms(ms)), least, most);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_level_counts_for_the_window),
        cmocka_unit_test(test_a_level_holds_until_the_next),
        cmocka_unit_test(test_next_drop_is_when_the_value_drops),
        cmocka_unit_test(test_without_a_window_nothing_is_remembered),
        cmocka_unit_test(test_another_window_keeps_the_peak),
        cmocka_unit_test(test_random_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
