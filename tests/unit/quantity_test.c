#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/quantity.h"

#define BAD INT64_MIN

struct value {
    const char *text;
    int64_t value; /* BAD: refused */
};

static void check(int (*parse)(const char *, int64_t *, struct pd_err *), const struct value *cases,
                  size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t got = BAD;
        int rc = parse(cases[i].text, &got, NULL);
        print_message("%s\n", cases[i].text);
        assert_int_equal(rc, cases[i].value == BAD ? PD_INVALID : 0);
        assert_int_equal(got, cases[i].value);
    }
}

static void quantities(void **state)
{
    static const struct value cases[] = {
        {"0", 0},       {"1", 1000},
        {"500m", 500},  {"1.5", 1500},
        {".5", 500},    {"2.", 2000},
        {"0.0001", 1},  {"1k", 1000000},
        {"", BAD},      {"m", BAD},
        {"-1", BAD},    {"+1", BAD},
        {"1 ", BAD},    {" 1", BAD},
        {"1.2.3", BAD}, {"1e3", BAD},
        {"0x10", BAD},  {"inf", BAD},
        {"nan", BAD},   {"1Mib", BAD},
        {"1K", BAD},    {"999999999999999999P", BAD},
        {".", BAD},     {"99999999999999999999999999999999999999999", BAD},
    };
    (void)state;
    check(pd_quantity_parse, cases, PD_COUNT(cases));
}

static void bytes(void **state)
{
    static const struct value cases[] = {
        {"256Mi", 256 << 20},
        {"1Gi", 1 << 30},
        {"1.5Gi", 3 << 29},
        {"1M", 1000000},
        {"1", 1},
        {"1m", 1},
        {"1.0000001Ki", 1025},
        {"8Pi", INT64_C(1) << 53},
        {"8.1Pi", BAD},
        {"9007199254740992", INT64_C(1) << 53},
        {"9007199254740993", BAD},
        {"", BAD},
    };
    (void)state;
    check(pd_quantity_parse_bytes, cases, PD_COUNT(cases));
}

static void durations(void **state)
{
    static const struct value cases[] = {
        {"30s", 30000},
        {"5m", 300000},
        {"1h30m", 5400000},
        {"500ms", 500},
        {"1.5h", 5400000},
        {"1us", 1},
        {"1500us", 2},
        {"0", 0},
        {"0s", 0},
        {"1h1m1s1ms", 3661001},
        {"", BAD},
        {"30", BAD},
        {"s", BAD},
        {"-1s", BAD},
        {"1d", BAD},
        {"1 s", BAD},
        {"1s ", BAD},
        {"1S", BAD},
        {"2501999793h", BAD},
        {"9007199254740992ms", INT64_C(1) << 53},
        {"9007199254740993ms", BAD},
        {"999999999999999999h999999999999999999h", BAD},
    };
    (void)state;
    check(pd_duration_parse, cases, PD_COUNT(cases));
}

static void formats_read_back(void **state)
{
    static const struct {
        int64_t value;
        const char *milli, *bytes, *duration;
    } cases[] = {
        {0, "0", "0", "0s"},
        {1, "1m", "1", "1ms"},
        {1000, "1", "1000", "1s"},
        {1024, "1024m", "1Ki", "1s24ms"},
        {90000, "90", "90000", "1m30s"},
        {5400000, "5400", "5400000", "1h30m"},
        {1 << 30, "1073741824m", "1Gi", "298h15m41s824ms"},
        {INT64_C(1) << 53, "9007199254740992m", "8Pi", "2501999792h59m0s992ms"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        char text[48];
        int64_t back;
        assert_string_equal(pd_quantity_format(cases[i].value, text, sizeof text), cases[i].milli);
        assert_int_equal(pd_quantity_parse(text, &back, NULL), 0);
        assert_int_equal(back, cases[i].value);
        assert_string_equal(pd_quantity_format_bytes(cases[i].value, text, sizeof text),
                            cases[i].bytes);
        assert_int_equal(pd_quantity_parse_bytes(text, &back, NULL), 0);
        assert_int_equal(back, cases[i].value);
        if (i + 1 < PD_COUNT(cases))
            assert_string_equal(pd_duration_format(cases[i].value, text, sizeof text),
                                cases[i].duration);
        pd_duration_format(cases[i].value, text, sizeof text);
        assert_int_equal(pd_duration_parse(text, &back, NULL), 0);
        assert_int_equal(back, cases[i].value);
    }
}

static void messages_quote_what_was_given_and_no_more(void **state)
{
    static const char longest[] =
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct pd_err err;
    int64_t value;

    (void)state;
    assert_int_equal(pd_quantity_parse("256MB", &value, &err), PD_INVALID);
    assert_string_equal(err.msg, "must be a quantity such as 500m, 2 or 256Mi, got \"256MB\"");
    assert_int_equal(pd_duration_parse("soon", &value, &err), PD_INVALID);
    assert_string_equal(err.msg, "must be a duration such as 500ms, 30s or 1h30m, got \"soon\"");
    assert_int_equal(pd_duration_parse(longest, &value, &err), PD_INVALID);
    assert_true(strlen(err.msg) < 110);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantities),
        cmocka_unit_test(bytes),
        cmocka_unit_test(durations),
        cmocka_unit_test(formats_read_back),
        cmocka_unit_test(messages_quote_what_was_given_and_no_more),
    };

    return cmocka_run_group_tests_name("quantity", tests, NULL, NULL);
}
