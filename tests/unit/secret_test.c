#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/secret.h"

static void equality(void **state)
{
    static const struct {
        const char *secret, *candidate;
        bool equal;
    } cases[] = {
        {"abc", "abc", true}, {"abc", "abd", false}, {"abc", "ab", false}, {"abc", "abcabc", false},
        {"abc", "", false},   {"", "", false},       {"", "a", false},     {"aa", "aaaa", false},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autosecret struct pd_secret secret =
            pd_secret_new(cases[i].secret, strlen(cases[i].secret));
        assert_int_equal(pd_secret_equals(&secret, cases[i].candidate, strlen(cases[i].candidate)),
                         cases[i].equal);
    }
}

static void copies_live_on_and_frees_are_idempotent(void **state)
{
    struct pd_secret secret = pd_secret_new("a\0b", 3);
    pd_autosecret struct pd_secret copy = pd_secret_copy(&secret);

    (void)state;
    pd_secret_free(&secret);
    pd_secret_free(&secret);
    assert_null(secret.bytes);
    assert_int_equal(secret.len, 0);
    assert_true(pd_secret_equals(&copy, "a\0b", 3));
    assert_false(pd_secret_equals(&copy, "a\0c", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equality),
        cmocka_unit_test(copies_live_on_and_frees_are_idempotent),
    };

    return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
