#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/uid.h"

static void check_form(const char *uid, char version)
{
    assert_int_equal(strlen(uid), PD_UID_BYTES - 1);
    for (size_t i = 0; i < PD_UID_BYTES - 1; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23)
            assert_int_equal(uid[i], '-');
        else
            assert_non_null(strchr("0123456789abcdef", uid[i]));
    }
    assert_int_equal(uid[14], version);
    assert_non_null(strchr("89ab", uid[19])); /* the variant of RFC 9562 */
}

static void test_random_ones_differ(void **state)
{
    char a[PD_UID_BYTES], b[PD_UID_BYTES];

    (void)state;
    check_form(pd_uid_random(a), '4');
    check_form(pd_uid_random(b), '4');
    assert_string_not_equal(a, b);
}

static void test_one_of_a_name_stays(void **state)
{
    char a[PD_UID_BYTES], b[PD_UID_BYTES];

    (void)state;
    check_form(pd_uid_of_name("python-abc", a), '8');
    assert_string_equal(a, pd_uid_of_name("python-abc", b));
    assert_string_not_equal(a, pd_uid_of_name("python-abd", b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_ones_differ),
        cmocka_unit_test(test_one_of_a_name_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
