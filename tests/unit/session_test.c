#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "api/session.h"
#include "api/shared_sessions.h"
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

static void count_use(void *arg, const unsigned char *digest)
{
    (void)digest;
    ++*(int *)arg;
}

static void test_a_use_is_told_once_a_minute(void **state)
{
    char token[PD_TOKEN_BYTES];
    int told = 0;

    pd_sessions_on_use(*state, count_use, &told);
    pd_sessions_begin(*state, "key-a", start, token);
    for (int64_t ms = 0; ms < 2 * PD_SESSION_TOLD_MS; ms += 1000)
        assert_non_null(pd_sessions_find(*state, token, at_ms(ms)));
    assert_int_equal(told, 1);
    assert_non_null(pd_sessions_find(*state, token, at_ms(2 * PD_SESSION_TOLD_MS)));
    assert_int_equal(told, 2);
    pd_sessions_on_use(*state, NULL, NULL);
    assert_non_null(pd_sessions_find(*state, token, at_ms(4 * PD_SESSION_TOLD_MS)));
}

/* ---- what other replicas tell ---- */

static bool take(struct pd_sessions *sessions, const char *text)
{
    return pd_shared_sessions_take(sessions, text, strlen(text), start);
}

static char *message(const char *before, const char *token, const char *after)
{
    unsigned char digest[PD_DIGEST_BYTES];
    char *text = pd_strdup(before);

    pd_sessions_digest(token, digest);
    for (size_t i = 0; i < PD_DIGEST_BYTES; i++) {
        char *longer = pd_asprintf("%s%02x", text, digest[i]);
        free(text);
        text = longer;
    }
    char *whole = pd_asprintf("%s%s", text, after);
    free(text);
    return whole;
}

static void test_a_session_of_another_replica(void **state)
{
    pd_autofree char *put = message("put ", "token", " 5000 9000 key-a");
    pd_autofree char *longer = message("put ", "token", " 7000 8000 key-a");
    pd_autofree char *end = message("end ", "token", "");

    assert_true(take(*state, put));
    assert_string_equal(pd_sessions_find(*state, "token", at_ms(4999)), "key-a");
    assert_true(take(*state, end));
    assert_null(pd_sessions_find(*state, "token", at_ms(1)));
    assert_true(take(*state, end));
    assert_true(take(*state, put));
    assert_null(pd_sessions_find(*state, "token", at_ms(5000)));
    assert_true(take(*state, longer));
    assert_int_equal(pd_sessions_left_ms(*state, "token", at_ms(1000)), 6000);
    assert_non_null(pd_sessions_find(*state, "token", at_ms(6999)));
    assert_null(pd_sessions_find(*state, "token", at_ms(8000)));
    pd_sessions_drop_all(*state);
    assert_null(pd_sessions_find(*state, "token", at_ms(1)));
}

static void test_what_is_no_message(void **state)
{
    static const char *const tails[] = {"",          " ",           " 1",           " 1 2",
                                        " 1 2 ",     " -1 2 key",   " 1 x key",     " 1  key",
                                        "0 1 2 key", " 7200001 9 k", " 1 43200001 k", " 1 2x key",
                                        " 99999999999999999999 1 key"};
    pd_autofree char *long_key = pd_asprintf(" 1 2 %0*d", PD_KEY_ID_BYTES, 1);
    pd_autofree char *too_long = message("put ", "token", long_key);
    pd_autofree char *end_and_more = message("end ", "token", " more");

    for (size_t i = 0; i < PD_COUNT(tails); i++) {
        pd_autofree char *text = message("put ", "token", tails[i]);
        if (take(*state, text))
            fail_msg("'%s'", text);
    }
    assert_false(take(*state, too_long));
    assert_false(take(*state, end_and_more));
    assert_false(take(*state, ""));
    assert_false(take(*state, "put"));
    assert_false(take(*state, "end 00"));
    assert_false(take(*state, "PUT "));
    assert_false(pd_shared_sessions_take(*state, "end \0", 5, start));
    assert_null(pd_sessions_find(*state, "token", start));
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
        cmocka_unit_test_setup_teardown(test_a_use_is_told_once_a_minute, sessions_new,
                                        sessions_free),
        cmocka_unit_test_setup_teardown(test_a_session_of_another_replica, sessions_new,
                                        sessions_free),
        cmocka_unit_test_setup_teardown(test_what_is_no_message, sessions_new, sessions_free),
    };

    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
