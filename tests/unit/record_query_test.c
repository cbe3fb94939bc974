#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/head.h"
#include "api/record_query.h"
#include "common/mem.h"

static bool get(const void *source, const char *name, char *out, size_t out_bytes)
{
    const char *text = source;
    const struct pd_head head = {.query = text, .query_len = strlen(text)};

    return pd_head_query(&head, name, out, out_bytes);
}

static void test_queries(void **state)
{
    static const char *const bad[] = {
        "limit=0", "limit=501", "limit=x", "limit=5x", "from=yesterday", "to=2026-01-31",
        "cursor=none", "cursor=-1.a", "cursor=1.", "from=nan", "to=1e400",
        /* longer than anything that it could find: nothing is not everything */
        "status=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "pool=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    struct pd_records_query query = {.limit = 7};
    struct pd_err err;

    (void)state;
    for (size_t i = 0; i < PD_COUNT(bad); i++) {
        err.msg[0] = '\0';
        if (pd_records_query_parse(get, bad[i], &query, &err) != PD_INVALID)
            fail_msg("taken: %s", bad[i]);
        assert_non_null(strchr(err.msg, ':'));
        assert_int_equal(query.limit, 7); /* untouched */
    }
    assert_int_equal(pd_records_query_parse(get, "", &query, &err), 0);
    assert_int_equal(query.limit, PD_RECORDS_PAGE_DEFAULT);
    assert_string_equal(query.status, "");
    assert_int_equal(
        pd_records_query_parse(get,
                               "status=done&pool=p&language=python&key=k&limit=500&cursor=12.run_a"
                               "&from=1.5&to=2026-01-31T12:00:00.25Z",
                               &query, &err),
        0);
    assert_string_equal(query.status, "done");
    assert_string_equal(query.pool, "p");
    assert_string_equal(query.language, "python");
    assert_string_equal(query.key_id, "k");
    assert_int_equal(query.limit, 500);
    assert_int_equal(query.cursor_ms, 12);
    assert_string_equal(query.cursor_id, "run_a");
    assert_int_equal(query.from_wall_ms, 1500);
    assert_int_equal(query.to_wall_ms, INT64_C(1769860800000));
}

static void test_idempotency_keys(void **state)
{
    static const struct {
        const char *sent, *key; /* NULL: refused */
    } cases[] = {
        {"abc", "abc"},   {"\"abc\"", "abc"}, {"\"a\\\"b\"", "a\"b"}, {"\"a\\\\b\"", "a\\b"},
        {"\"", "\""},     {"a b", "a b"},     {"", NULL},             {"\"\"", NULL},
        {"a\tb", NULL},   {"\x7f", NULL},     {"\xc3\xa4", NULL},
    };
    char key[PD_IDEMPOTENCY_KEY_BYTES];
    char longest[PD_IDEMPOTENCY_KEY_BYTES + 1];

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        bool taken = pd_idempotency_key_parse(cases[i].sent, key);
        assert_int_equal(taken, cases[i].key != NULL);
        if (taken)
            assert_string_equal(key, cases[i].key);
    }
    memset(longest, 'k', sizeof longest);
    longest[PD_IDEMPOTENCY_KEY_BYTES] = '\0';
    assert_false(pd_idempotency_key_parse(longest, key));
    longest[PD_IDEMPOTENCY_KEY_BYTES - 1] = '\0';
    assert_true(pd_idempotency_key_parse(longest, key));
    assert_int_equal(strlen(key), 255);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_idempotency_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
