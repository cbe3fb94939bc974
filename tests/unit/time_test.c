#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/time.h"

static void wall_time_is_rfc3339(void **state)
{
    static const struct {
        int64_t wall_ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {1769860800123, "2026-01-31T12:00:00.123Z"},
        {4102444799999, "2099-12-31T23:59:59.999Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-86400001, "1969-12-30T23:59:59.999Z"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        char text[PD_RFC3339_BYTES];
        assert_string_equal(pd_wall_format(cases[i].wall_ms, text), cases[i].text);
    }
}

static void monotonic_time_goes_on(void **state)
{
    struct pd_time a = pd_time_now(), b = pd_time_now();
    struct pd_time later = pd_time_add_ms(a, 1500);

    (void)state;
    assert_true(pd_time_is_set(a));
    assert_false(pd_time_is_set((struct pd_time){0}));
    assert_false(pd_time_before(b, a));
    assert_true(pd_time_before(a, later));
    assert_int_equal(pd_time_ms_between(a, later), 1500);
    assert_int_equal(pd_time_ms_between(later, a), -1500);
    assert_int_equal(pd_time_ms_between(a, (struct pd_time){a.ns + 1999999}), 1);
}

static void the_wall_clock_is_this_century(void **state)
{
    (void)state;
    assert_true(pd_wall_ms() > 1700000000000);
    assert_true(pd_wall_ms() < 4102444800000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wall_time_is_rfc3339),
        cmocka_unit_test(monotonic_time_goes_on),
        cmocka_unit_test(the_wall_clock_is_this_century),
    };

    return cmocka_run_group_tests_name("time", tests, NULL, NULL);
}
