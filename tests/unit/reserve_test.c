#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/mem.h"
#include "controller/reserve.h"

static struct pd_time at(int64_t ms)
{
    return pd_time_add_ms((struct pd_time){.ns = 1}, ms);
}

/* So many runs a second for so long, each in a sandbox for busy_ms of every second. */
static void steady(struct pd_reserve *reserve, int per_s, int busy, int seconds)
{
    uint64_t arrived = 0;

    for (int s = 0; s < seconds; s++) {
        arrived += (uint64_t)per_s;
        pd_reserve_look(reserve, arrived, busy, at(1000 * (int64_t)s));
    }
}

static void test_nothing_known(void **state)
{
    struct pd_reserve reserve;

    (void)state;
    pd_reserve_init(&reserve);
    assert_int_equal(pd_reserve_start_p90_ms(&reserve), -1);
    assert_int_equal(pd_reserve_recommended(&reserve, 1), -1);
    pd_reserve_look(&reserve, 5, 1, at(0));
    assert_int_equal(pd_reserve_recommended(&reserve, 1), -1); /* no start yet */
    pd_reserve_init(&reserve);
    pd_reserve_started(&reserve, 1000);
    pd_reserve_look(&reserve, 0, 0, at(0));
    assert_int_equal(pd_reserve_recommended(&reserve, 1), -1); /* no run yet */
    assert_int_equal(pd_reserve_start_p90_ms(&reserve), 1000);
}

static void test_littles_law(void **state)
{
    static const struct {
        const char *what;
        int per_s, busy, seconds, start_ms, runs_each, least, most;
    } cases[] = {
        {"a run a second, a minute's start, each its own", 1, 0, 1200, 60000, 1, 59, 63},
        {"and two are in use all the time", 1, 2, 1200, 60000, 1, 61, 65},
        {"the same after twenty seconds already", 1, 0, 20, 60000, 1, 57, 66},
        {"a task that serves a hundred", 1, 0, 1200, 60000, 100, 1, 1},
        {"one that serves for ever: those in use", 1, 3, 1200, 60000, 0, 3, 3},
        {"Docker: ten a second, half a second's start", 10, 0, 1200, 500, 1, 5, 6},
        {"hardly anything", 1, 0, 1200, 30, 1, 0, 1},
        {"more than there can be", 1000000, 0, 1200, 4000000, 1, 1000000, 1000000},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_reserve reserve;
        int got;
        pd_reserve_init(&reserve);
        pd_reserve_started(&reserve, cases[i].start_ms);
        steady(&reserve, cases[i].per_s, cases[i].busy, cases[i].seconds);
        got = pd_reserve_recommended(&reserve, cases[i].runs_each);
        if (got < cases[i].least || got > cases[i].most)
            fail_msg("%s: %d", cases[i].what, got);
    }
}

/* Nobody comes any more: half of it is forgotten in three and a half minutes, all of it
 * in time. */
static void test_decays(void **state)
{
    struct pd_reserve reserve;

    (void)state;
    pd_reserve_init(&reserve);
    pd_reserve_started(&reserve, 60000);
    steady(&reserve, 1, 0, 1200);
    pd_reserve_look(&reserve, 1200, 0, at(1200 * 1000 + 208 * 1000));
    assert_in_range(pd_reserve_recommended(&reserve, 1), 28, 33);
    pd_reserve_look(&reserve, 1200, 0, at(2 * 3600 * 1000));
    assert_int_equal(pd_reserve_recommended(&reserve, 1), 0);
}

/* A figure that stands at a boundary does not flap. */
static void test_does_not_flap(void **state)
{
    struct pd_reserve reserve;
    int first, changes = 0;

    (void)state;
    pd_reserve_init(&reserve);
    pd_reserve_started(&reserve, 3000);
    steady(&reserve, 1, 0, 3000);
    first = pd_reserve_recommended(&reserve, 1);
    for (int i = 0; i < 1000; i++) {
        int now;
        pd_reserve_look(&reserve, 3000 + (uint64_t)i, 0, at(3000 * 1000 + 1000 * (int64_t)i));
        now = pd_reserve_recommended(&reserve, 1);
        changes += now != first;
        first = now;
    }
    assert_true(changes <= 1);
}

static void test_p90(void **state)
{
    struct pd_reserve reserve;

    (void)state;
    pd_reserve_init(&reserve);
    for (int i = 1; i <= 10; i++)
        pd_reserve_started(&reserve, i * 100);
    assert_int_equal(pd_reserve_start_p90_ms(&reserve), 900);
    pd_reserve_started(&reserve, -5); /* clocks */
    pd_reserve_started(&reserve, INT64_MAX);
    for (int i = 0; i < PD_RESERVE_SAMPLES_MAX; i++)
        pd_reserve_started(&reserve, 7); /* those were long ago */
    assert_int_equal(pd_reserve_start_p90_ms(&reserve), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_known), cmocka_unit_test(test_littles_law),
        cmocka_unit_test(test_decays),        cmocka_unit_test(test_does_not_flap),
        cmocka_unit_test(test_p90),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
