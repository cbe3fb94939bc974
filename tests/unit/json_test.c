#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/time.h"
#include "tests/lib/fixtures.h"

#define LITERAL(text) text, sizeof(text) - 1

static void good_texts_come_back(void **state)
{
    static const struct {
        const char *text, *compact;
    } cases[] = {
        {" { \"a\" : [ 1 , -2, 2.50, 1e3, true, false, null ] } ",
         "{\"a\":[1,-2,2.5,1000.0,true,false,null]}"},
        {"\"\\u00e9\\ud83d\\ude00\\n\\u0001\\\"\\\\/\"",
         "\"\xc3\xa9\xf0\x9f\x98\x80\\n\\u0001\\\"\\\\/\""},
        {"\"a\\u0000b\"", "\"a\\u0000b\""},
        {"{}", "{}"},
        {"[]", "[]"},
        {"3", "3"},
        {"\"\\u007f\"", "\"\\u007f\""},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"1e308", "1e+308"},
        {"0.1", "0.1"},
        {"123456789.123456789", "123456789.12345679"},
        {"5e-324", "4.94065645841247e-324"},
        {"{\"z\":1,\"a\":2}", "{\"z\":1,\"a\":2}"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autonode struct pd_node *node = NULL, *again = NULL;
        struct pd_buf out pd_autobuf;
        struct pd_err err;
        pd_buf_init(&out, 4096);
        if (pd_json_parse(cases[i].text, strlen(cases[i].text), &node, &err) < 0)
            fail_msg("%s: %s", cases[i].text, err.msg);
        assert_int_equal(pd_json_format(node, &out, NULL), 0);
        assert_string_equal(out.data, cases[i].compact);
        assert_int_equal(pd_json_parse(out.data, out.len, &again, NULL), 0);
        assert_true(pd_node_equal(node, again));
    }
}

static char *complaint(void *arg, const char *text, size_t len)
{
    struct pd_node *node = NULL;
    struct pd_err err;
    int rc = pd_json_parse(text, len, &node, &err);

    (void)arg;
    pd_node_free(node);
    return rc < 0 ? pd_asprintf("%s: %s\n", pd_err_kind_name(rc), err.msg) : pd_strdup("");
}

static void bad_texts_are_refused(void **state)
{
    (void)state;
    pd_fixtures_run("json", complaint, NULL);
}

static void a_number_of_values_is_refused_before_it_is_built(void **state)
{
    struct pd_buf text pd_autobuf;
    struct pd_time start = pd_time_now();
    struct pd_node *node = NULL;
    struct pd_err err;

    (void)state;
    pd_buf_init(&text, 16 << 20);
    assert_int_equal(pd_buf_add(&text, "[", 1, NULL), 0);
    while (text.len < text.max - 4)
        assert_int_equal(pd_buf_add(&text, "{},", 3, NULL), 0);
    assert_int_equal(pd_json_parse(text.data, text.len, &node, &err), PD_INVALID);
    assert_string_equal(err.msg, "line 1, column 150002: more than 100000 values");
    assert_true(pd_time_ms_between(start, pd_time_now()) < 5000);
}

/* The size of code that a pool may allow, in shapes that could be slow. */
static void a_large_string_is_no_trouble(void **state)
{
    static const char *const units[] = {"{[,:\\\"\\\\\\u0041abc", "\\n", "\\\\", "\\\"", "x"};

    (void)state;
    for (size_t i = 0; i < PD_COUNT(units); i++) {
        struct pd_buf text pd_autobuf;
        pd_autonode struct pd_node *node = NULL;
        struct pd_time start;
        pd_buf_init(&text, 16 << 20);
        assert_int_equal(pd_buf_add(&text, "\"", 1, NULL), 0);
        while (text.len < (15 << 20))
            assert_int_equal(pd_buf_add(&text, units[i], strlen(units[i]), NULL), 0);
        assert_int_equal(pd_buf_add(&text, "\"", 1, NULL), 0);
        start = pd_time_now();
        assert_int_equal(pd_json_parse(text.data, text.len, &node, NULL), 0);
        assert_int_equal(node->kind, PD_NODE_STRING);
        print_message("shape %zu: %lld ms\n", i,
                      (long long)pd_time_ms_between(start, pd_time_now()));
        assert_true(pd_time_ms_between(start, pd_time_now()) < 5000);
    }
}

static void bytes_that_are_not_text_become_replacements(void **state)
{
    struct pd_buf out pd_autobuf;

    (void)state;
    pd_buf_init(&out, 4096);
    assert_int_equal(pd_json_format_string(LITERAL("a\xff\xe2\x82z\0\xc3\xa9"), &out, NULL), 0);
    assert_string_equal(out.data, "\"a\xef\xbf\xbd\xef\xbf\xbdz\\u0000\xc3\xa9\"");
}

/* Every growth of the buffer fails in turn. */
static void the_bound_holds_at_every_byte(void **state)
{
    static const char text[] = "{\"a\":[1,2.5,\"x\\n\xc3\xa9\",null],\"b\":{\"c\":true}}";
    pd_autonode struct pd_node *node = NULL;

    (void)state;
    assert_int_equal(pd_json_parse(text, strlen(text), &node, NULL), 0);
    for (size_t max = 0; max < strlen(text); max++) {
        struct pd_buf out pd_autobuf;
        struct pd_err err = {0};
        pd_buf_init(&out, max);
        assert_int_equal(pd_json_format(node, &out, &err), PD_LIMIT);
        assert_int_equal(err.kind, PD_LIMIT);
        assert_true(out.len <= max);
    }
}

static void numbers_read_back_exactly(void **state)
{
    static const double numbers[] = {
        0.1, 1.0 / 3, 1e22, 1e23, 5e-324, 1.7976931348623157e308, -0.0, 123456789012345680.0};

    (void)state;
    for (size_t i = 0; i < PD_COUNT(numbers); i++) {
        char text[PD_JSON_NUMBER_BYTES];
        assert_true(strtod(pd_json_number(numbers[i], text), NULL) == numbers[i]);
        assert_non_null(strpbrk(text, ".e"));
    }
    assert_string_equal(pd_json_number(1e308 * 10, (char[PD_JSON_NUMBER_BYTES]){0}), "null");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_texts_come_back),
        cmocka_unit_test(bad_texts_are_refused),
        cmocka_unit_test(a_number_of_values_is_refused_before_it_is_built),
        cmocka_unit_test(a_large_string_is_no_trouble),
        cmocka_unit_test(bytes_that_are_not_text_become_replacements),
        cmocka_unit_test(the_bound_holds_at_every_byte),
        cmocka_unit_test(numbers_read_back_exactly),
    };

    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
