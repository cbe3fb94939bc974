#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/problems.h"
#include "common/utf8.h"

static void the_nearest_name(void **state)
{
    static const char *const names[] = {"minSize", "maxSize", "image", "run", "x"};
    static const struct {
        const char *given, *nearest;
    } cases[] = {
        {"minsize", "minSize"},
        {"minSzie", "minSize"},
        {"mxSize", "maxSize"},
        {"imagee", "image"},
        {"iamge", "image"},
        {"rnu", "run"},
        {"ru", "run"},
        {"banana", NULL},
        {"y", NULL},
        {"", NULL},
        {"replicas", NULL},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        const char *nearest = pd_nearest(cases[i].given, names, PD_COUNT(names));
        print_message("%s\n", cases[i].given);
        assert_int_equal(nearest != NULL, cases[i].nearest != NULL);
        if (nearest)
            assert_string_equal(nearest, cases[i].nearest);
    }
}

static void what_is_shown_is_short_and_harmless(void **state)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"abc", "abc"},
        {"", ""},
        {"a\nb\x1b[31m\x7f", "a?b?[31m?"},
        {"\xff\xe2\x82", "??"},
        {"\xc3\xa9", "\xc3\xa9"},
        {"0123456789012345678901234567890123456789", "0123456789012345678901234567890123456789"},
        {"0123456789012345678901234567890123456789x",
         "0123456789012345678901234567890123456789..."},
    };
    char out[PD_SHOWN_BYTES], wide[600];

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++)
        assert_string_equal(pd_shown(cases[i].text, strlen(cases[i].text), out), cases[i].shown);
    for (size_t i = 0; i < sizeof wide; i += 4)
        memcpy(wide + i, "\xf0\x9f\x98\x80", 4);
    pd_shown(wide, sizeof wide, out);
    assert_true(pd_utf8_is_valid(out, strlen(out)));
    assert_int_equal(strlen(out), 40 * 4 + 3);
}

static void long_texts_are_cut(void **state)
{
    struct pd_problems problems = {0};
    char text[4096];
    struct pd_err err;

    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < PD_PROBLEMS_MAX + 3; i++)
        pd_problems_add(&problems, text, i, "%s", text);
    assert_int_equal(problems.count, PD_PROBLEMS_MAX);
    assert_int_equal(problems.dropped, 3);
    assert_int_equal(pd_problems_err(&problems, &err), PD_INVALID);
    assert_true(strlen(err.msg) < sizeof err.msg);
    assert_non_null(strstr(err.msg, "; and 18 more"));
}

static void no_problem_is_no_error(void **state)
{
    struct pd_problems problems = {0};
    struct pd_err err = {.kind = 5};

    (void)state;
    assert_int_equal(pd_problems_err(&problems, &err), 0);
    assert_int_equal(err.kind, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearest_name),
        cmocka_unit_test(what_is_shown_is_short_and_harmless),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(no_problem_is_no_error),
    };

    return cmocka_run_group_tests_name("problems", tests, NULL, NULL);
}
