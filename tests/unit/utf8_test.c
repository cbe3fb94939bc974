#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/utf8.h"

#define R PD_UTF8_REPLACEMENT

/* The examples of The Unicode Standard, tables 3-8 to 3-11, among them. */
static const struct {
    const char *what, *text, *clean;
} cases[] = {
    {"ASCII", "abc", "abc"},
    {"two, three and four bytes", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
     "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
    {"the last of all", "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
    {"beyond the last", "\xf4\x90\x80\x80", R R R R},
    {"not the shortest form", "\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", R R R R R R R R "A"},
    {"surrogates", "\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", R R R R R R R R "A"},
    {"other ill-formed", "\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", R R R R R "A" R R "B"},
    {"truncated", "\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", R R R R "A"},
    {"cut at the end", "a\xf0\x9f\x98", "a" R},
    {"lone continuation", "\x80", R},
};

static void ill_formed_parts_become_replacements(void **state)
{
    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_buf out pd_autobuf;
        pd_buf_init(&out, 256);
        assert_int_equal(pd_utf8_clean(cases[i].text, strlen(cases[i].text), &out, NULL), 0);
        print_message("%s\n", cases[i].what);
        assert_string_equal(out.data, cases[i].clean);
        assert_int_equal(pd_utf8_is_valid(cases[i].text, strlen(cases[i].text)),
                         strcmp(cases[i].text, cases[i].clean) == 0);
        assert_int_equal(pd_utf8_count(cases[i].text, strlen(cases[i].text)),
                         pd_utf8_count(cases[i].clean, strlen(cases[i].clean)));
    }
}

/* However a text is cut, keeping back what is incomplete gives the same. */
static void a_stream_never_splits_a_character(void **state)
{
    static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xff\xe2\x82z";
    struct pd_buf whole pd_autobuf;

    (void)state;
    pd_buf_init(&whole, 256);
    assert_int_equal(pd_utf8_clean(text, sizeof text - 1, &whole, NULL), 0);
    for (size_t cut = 0; cut < sizeof text; cut++) {
        struct pd_buf parts pd_autobuf;
        size_t kept = pd_utf8_incomplete(text, cut);
        pd_buf_init(&parts, 256);
        assert_true(kept <= 3 && kept <= cut);
        assert_int_equal(pd_utf8_clean(text, cut - kept, &parts, NULL), 0);
        assert_int_equal(
            pd_utf8_clean(text + cut - kept, sizeof text - 1 - cut + kept, &parts, NULL), 0);
        assert_string_equal(parts.data, whole.data);
    }
}

static void what_can_never_complete_is_not_kept_back(void **state)
{
    (void)state;
    assert_int_equal(pd_utf8_incomplete("\xe2\x82", 2), 2);
    assert_int_equal(pd_utf8_incomplete("\xf0\x9f\x98", 3), 3);
    assert_int_equal(pd_utf8_incomplete("\xe0\x80", 2), 0);
    assert_int_equal(pd_utf8_incomplete("\xff", 1), 0);
    assert_int_equal(pd_utf8_incomplete("\x80\x80\x80\x80", 4), 0);
    assert_int_equal(pd_utf8_incomplete("", 0), 0);
    assert_int_equal(pd_utf8_incomplete("\xc3\xa9", 2), 0);
}

static void the_bound_holds(void **state)
{
    struct pd_buf out pd_autobuf;

    (void)state;
    pd_buf_init(&out, 5);
    assert_int_equal(pd_utf8_clean("\xff\xff", 2, &out, NULL), PD_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ill_formed_parts_become_replacements),
        cmocka_unit_test(a_stream_never_splits_a_character),
        cmocka_unit_test(what_can_never_complete_is_not_kept_back),
        cmocka_unit_test(the_bound_holds),
    };

    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
