#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/session.h"
#include "common/mem.h"

static const struct pd_time start = {INT64_C(1000000000000)};

static struct pd_time at_ms(int64_t ms)
{
    return pd_time_add_ms(start, ms);
}

static int sessions_new(void **state)
{
    *state = pd_sessions_new();
    return 0;
}

static int sessions_free(void **state)
{
    pd_sessions_free(*state);
    return 0;
}

static void test_a_link_is_good_once(void **state)
{
    char link[PD_TOKEN_BYTES], key_id[PD_KEY_ID_BYTES] = "untouched";

    pd_sessions_offer(*state, "key-a", start, link);
    assert_int_equal(strlen(link), 64);
    assert_false(pd_sessions_redeem(*state, "", at_ms(1), key_id));
    link[5] ^= 1;
    assert_false(pd_sessions_redeem(*state, link, at_ms(1), key_id));
    assert_string_equal(key_id, "untouched");
    link[5] ^= 1;
    assert_true(pd_sessions_redeem(*state, link, at_ms(2), key_id));
    assert_string_equal(key_id, "key-a");
    assert_false(pd_sessions_redeem(*state, link, at_ms(3), key_id));
}

static void test_a_link_grows_old(void **state)
{
    char link[PD_TOKEN_BYTES], key_id[PD_KEY_ID_BYTES];

    pd_sessions_offer(*state, "key-a", start, link);
    assert_false(pd_sessions_redeem(*state, link, at_ms(PD_LINK_LIFE_MS), key_id));
    pd_sessions_offer(*state, "key-a", start, link);
    assert_true(pd_sessions_redeem(*state, link, at_ms(PD_LINK_LIFE_MS - 1), key_id));
}

static void test_links_are_bounded(void **state)
{
    char links[PD_LINKS_MAX + 1][PD_TOKEN_BYTES], key_id[PD_KEY_ID_BYTES];

    for (int i = 0; i <= PD_LINKS_MAX; i++)
        pd_sessions_offer(*state, "key-a", at_ms(i), links[i]);
    assert_false(pd_sessions_redeem(*state, links[0], at_ms(50), key_id));
    for (int i = 1; i <= PD_LINKS_MAX; i++)
        assert_true(pd_sessions_redeem(*state, links[i], at_ms(50), key_id));
}

static void test_a_session_is_found_until_it_ends(void **state)
{
    char a[PD_TOKEN_BYTES], b[PD_TOKEN_BYTES];

    pd_sessions_begin(*state, "key-a", start, a);
    pd_sessions_begin(*state, "key-b", start, b);
    assert_string_not_equal(a, b);
    assert_string_equal(pd_sessions_find(*state, a, at_ms(1)), "key-a");
    assert_string_equal(pd_sessions_find(*state, b, at_ms(1)), "key-b");
    pd_sessions_end(*state, a);
    assert_null(pd_sessions_find(*state, a, at_ms(2)));
    assert_int_equal(pd_sessions_left_ms(*state, a, at_ms(2)), 0);
    assert_string_equal(pd_sessions_find(*state, b, at_ms(2)), "key-b");
    pd_sessions_end(*state, "nobody's");
    assert_null(pd_sessions_find(*state, "", at_ms(2)));
}

static void test_a_session_that_is_idle_ends(void **state)
{
    char token[PD_TOKEN_BYTES];

    pd_sessions_begin(*state, "key-a", start, token);
    assert_non_null(pd_sessions_find(*state, token, at_ms(PD_SESSION_IDLE_MS - 1)));
    assert_int_equal(pd_sessions_left_ms(*state, token, at_ms(PD_SESSION_IDLE_MS - 1)),
                     PD_SESSION_IDLE_MS);
    assert_non_null(pd_sessions_find(*state, token, at_ms(2 * PD_SESSION_IDLE_MS - 2)));
    assert_null(pd_sessions_find(*state, token, at_ms(3 * PD_SESSION_IDLE_MS - 2)));
}

static void test_a_session_in_use_ends_too(void **state)
{
    char token[PD_TOKEN_BYTES];
    int64_t now = 0;

    pd_sessions_begin(*state, "key-a", start, token);
    for (; now < PD_SESSION_LIFE_MS; now += PD_SESSION_IDLE_MS / 2)
        assert_non_null(pd_sessions_find(*state, token, at_ms(now)));
    assert_int_equal(pd_sessions_left_ms(*state, token, at_ms(PD_SESSION_LIFE_MS - 5)), 5);
    assert_null(pd_sessions_find(*state, token, at_ms(PD_SESSION_LIFE_MS)));
}

static void test_sessions_are_bounded(void **state)
{
    static char tokens[PD_SESSIONS_MAX + 1][PD_TOKEN_BYTES];

    for (int i = 0; i < PD_SESSIONS_MAX; i++)
        pd_sessions_begin(*state, "key-a", at_ms(i), tokens[i]);
    assert_non_null(pd_sessions_find(*state, tokens[0], at_ms(1000)));
    pd_sessions_begin(*state, "key-a", at_ms(1001), tokens[PD_SESSIONS_MAX]);
    assert_non_null(pd_sessions_find(*state, tokens[0], at_ms(1002)));
    assert_null(pd_sessions_find(*state, tokens[1], at_ms(1002))); /* idle longest */
    for (int i = 2; i <= PD_SESSIONS_MAX; i++)
        assert_non_null(pd_sessions_find(*state, tokens[i], at_ms(1002)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_link_is_good_once, sessions_new, sessions_free),
        cmocka_unit_test_setup_teardown(test_a_link_grows_old, sessions_new, sessions_free),
        cmocka_unit_test_setup_teardown(test_links_are_bounded, sessions_new, sessions_free),
        cmocka_unit_test_setup_teardown(test_a_session_is_found_until_it_ends, sessions_new,
                                        sessions_free),
        cmocka_unit_test_setup_teardown(test_a_session_that_is_idle_ends, sessions_new,
                                        sessions_free),
        cmocka_unit_test_setup_teardown(test_a_session_in_use_ends_too, sessions_new,
                                        sessions_free),
        cmocka_unit_test_setup_teardown(test_sessions_are_bounded, sessions_new, sessions_free),
    };

    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
