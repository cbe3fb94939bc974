#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/request.h"
#include "common/asset.h"
#include "common/mem.h"
#include "tests/lib/request_rules.h"

static struct request_rules *rules;

static int set_up(void **state)
{
    (void)state;
    rules = request_rules_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    request_rules_free(rules);
    return 0;
}

/* What a body is refused with: 0 when it is not. */
static int refusal_of(const char *body, struct pd_refusal *refusal)
{
    struct pd_request *request = NULL;

    if (pd_request_parse(&rules->rules, body, strlen(body), &request, refusal) < 0) {
        assert_null(request);
        assert_true(*refusal->detail);
        return refusal->status;
    }
    pd_request_free(request);
    return 0;
}

static struct pd_request *parse(const char *body)
{
    struct pd_request *request = NULL;
    struct pd_refusal refusal;

    if (pd_request_parse(&rules->rules, body, strlen(body), &request, &refusal) < 0)
        fail_msg("%s: %s", body, refusal.detail);
    return request;
}

static void test_defaults(void **state)
{
    struct pd_request *request = parse("{\"code\":\"x\"}");

    (void)state;
    assert_string_equal(request->pool, "default");
    assert_string_equal(request->run.language, "python");
    assert_int_equal(request->run.timeout_ms, 30000);
    assert_int_equal(request->run.output_max_bytes, 1024 * 1024);
    assert_int_equal(request->run.args.count, 0);
    assert_int_equal(request->run.env.count, 0);
    assert_int_equal(request->run.n_files, 0);
    assert_int_equal(request->run.stdin_len, 0);
    assert_false(request->run.stdin_open);
    assert_false(request->run.tty);
    pd_request_free(request);
}

/* A null is as good as nothing, everywhere. */
static void test_nulls(void **state)
{
    struct pd_request *request = parse(
        "{\"code\":\"x\",\"language\":null,\"timeout\":null,\"pool\":null,\"stdin\":null,"
        "\"args\":null,\"env\":null,\"files\":null,\"artifacts\":null}");
    struct pd_refusal refusal;

    (void)state;
    assert_string_equal(request->pool, "default");
    assert_int_equal(request->run.stdin_len, 0);
    assert_int_equal(request->run.args.count + request->run.env.count + request->run.n_files, 0);
    pd_request_free(request);
    assert_int_equal(refusal_of("{\"code\":null}", &refusal), 422);
    assert_int_equal(refusal_of("{\"code\":\"x\",\"args\":[null]}", &refusal), 422);
    assert_int_equal(refusal_of("{\"code\":\"x\",\"env\":{\"A\":null}}", &refusal), 422);
    assert_int_equal(
        refusal_of("{\"code\":\"x\",\"files\":[{\"path\":\"a\",\"content\":null}]}", &refusal),
        422);
    assert_int_equal(refusal_of("{\"code\":\"x\",\"files\":[{\"path\":\"a\",\"content\":\"\","
                                "\"encoding\":null}]}",
                                &refusal),
                     0);
}

static void test_pool_by_language(void **state)
{
    static const struct {
        const char *body, *pool, *language;
    } cases[] = {
        {"{\"code\":\"x\",\"language\":\"py\"}", "default", "python"},
        {"{\"code\":\"x\",\"language\":\"js\"}", "both", "javascript"},
        {"{\"code\":\"x\",\"pool\":\"both\"}", "both", "python"},
        {"{\"code\":\"x\",\"pool\":\"both\",\"language\":\"javascript\"}", "both", "javascript"},
        {"{\"code\":\"x\",\"language\":\"ruby\"}", "any", "ruby"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_request *request = parse(cases[i].body);
        if (strcmp(request->pool, cases[i].pool) != 0 ||
            strcmp(request->run.language, cases[i].language) != 0)
            fail_msg("%s: %s in %s", cases[i].body, request->run.language, request->pool);
        pd_request_free(request);
    }
}

/* What sandboxes found in the image counts more than what nobody has said. */
static void test_pool_by_hello(void **state)
{
    struct pd_pool *any = pd_store_pool(rules->rules.store, "any");
    struct pd_refusal refusal;

    (void)state;
    any->hello.n_languages = 1;
    pd_strcpy(any->hello.languages[0].name, PD_LANGUAGE_NAME_MAX, "lua");
    assert_int_equal(refusal_of("{\"code\":\"x\",\"language\":\"ruby\"}", &refusal), 422);
    assert_non_null(strstr(refusal.detail, "lua"));
    assert_null(strstr(refusal.detail, "ruby,"));
    assert_int_equal(refusal_of("{\"code\":\"x\",\"language\":\"lua\"}", &refusal), 0);
    any->hello.n_languages = 0;
}

static void test_timeouts(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* 0: refused */
    } cases[] = {
        {"1", 1000},      {"0.5", 500},    {"0.0001", 1},
        {"1.0005", 1001}, {"300", 300000}, {"300.0001", 0},
        {"0", 0},         {"-1", 0},       {"-0.0", 0},
        {"1e308", 0},     {"1e-320", 1},   {"301", 0},
        {"9e18", 0},      {"null", 30000}, {"true", 0},
        {"\"30\"", 0},    {"[]", 0},       {"9223372036854775807", 0},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autofree char *body = pd_asprintf("{\"code\":\"x\",\"timeout\":%s}", cases[i].text);
        struct pd_refusal refusal;
        struct pd_request *request = NULL;
        int64_t ms = 0;
        if (pd_request_parse(&rules->rules, body, strlen(body), &request, &refusal) == 0)
            ms = request->run.timeout_ms;
        else
            assert_string_equal(refusal.problems.items[0].path, "timeout");
        if (ms != cases[i].ms)
            fail_msg("%s: %lld", cases[i].text, (long long)ms);
        pd_request_free(request);
    }
}

static void test_texts_arrive_whole(void **state)
{
    struct pd_request *request = parse(
        "{\"code\":\"a\\n\\u00e9\",\"stdin\":\"\\u0000x\",\"args\":[\"\",\"b c\"],"
        "\"env\":{\"A\":\"=\",\"_B\":\"\"},\"artifacts\":[\"*.png\",\"d/**\"],"
        "\"files\":[{\"path\":\"d/e.f\",\"content\":\"\\u0000\"},"
        "{\"path\":\"g\",\"content\":\"AAEC\",\"encoding\":\"base64\"}]}");

    (void)state;
    assert_int_equal(request->run.code_len, 4);
    assert_memory_equal(request->run.code, "a\n\xc3\xa9", 4);
    assert_int_equal(request->run.stdin_len, 2);
    assert_memory_equal(request->run.stdin_data, "\0x", 2);
    assert_int_equal(request->run.args.count, 2);
    assert_string_equal(request->run.args.items[1], "b c");
    assert_string_equal(request->run.env.items[0], "A==");
    assert_string_equal(request->run.env.items[1], "_B=");
    assert_string_equal(request->run.artifacts.items[1], "d/**");
    assert_int_equal(request->run.n_files, 2);
    assert_string_equal(request->run.files[0].path, "d/e.f");
    assert_int_equal(request->run.files[0].len, 1);
    assert_int_equal(request->run.files[1].len, 3);
    assert_memory_equal(request->run.files[1].data, "\0\1\2", 3);
    pd_request_free(request);
}

static void test_paths(void **state)
{
    static const struct {
        const char *path;
        bool fine;
    } cases[] = {
        {"a", true},      {"a/b/c.txt", true},  {".hidden", true},  {"...", true},
        {"a..b", true},   {"", false},          {"/", false},       {"/a", false},
        {"a/", false},    {"a//b", false},      {".", false},       {"..", false},
        {"a/..", false},  {"../a", false},      {"a/../b", false},  {"./a", false},
        {"a/./b", false}, {"a\\u0000b", false}, {"main.py", false},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autofree char *body = pd_asprintf(
            "{\"code\":\"x\",\"files\":[{\"path\":\"%s\",\"content\":\"\"}]}", cases[i].path);
        struct pd_refusal refusal;
        int status = refusal_of(body, &refusal);
        if (status != (cases[i].fine ? 0 : 422))
            fail_msg("%s: %d %s", cases[i].path, status, refusal.detail);
        if (status)
            assert_string_equal(refusal.problems.items[0].path, "files[0].path");
    }
}

static void test_limits_of_the_pool(void **state)
{
    char *body = pd_calloc(400 * 1024, 1);
    struct pd_refusal refusal;
    size_t head;

    (void)state;
    /* the pool "small": maxCode 1Ki, maxFiles 2Ki */
    head = (size_t)sprintf(body, "{\"pool\":\"small\",\"code\":\"");
    memset(body + head, 'x', 1024);
    strcpy(body + head + 1024, "\"}");
    assert_int_equal(refusal_of(body, &refusal), 0);
    memset(body + head, 'x', 1025);
    strcpy(body + head + 1025, "\"}");
    assert_int_equal(refusal_of(body, &refusal), 413);
    assert_string_equal(refusal.problems.items[0].path, "code");
    head = (size_t)sprintf(body,
                           "{\"pool\":\"small\",\"code\":\"x\",\"files\":[{\"path\":\"a\","
                           "\"content\":\"\"},{\"path\":\"b\",\"content\":\"");
    memset(body + head, 'x', 2049);
    strcpy(body + head + 2049, "\"}]}");
    assert_int_equal(refusal_of(body, &refusal), 413);
    assert_string_equal(refusal.problems.items[0].path, "files");
    head = (size_t)sprintf(body, "{\"code\":\"x\",\"args\":[\"");
    memset(body + head, 'x', PD_REQUEST_ARGUMENTS_BYTES_MAX);
    strcpy(body + head + PD_REQUEST_ARGUMENTS_BYTES_MAX, "\"]}");
    assert_int_equal(refusal_of(body, &refusal), 422);
    assert_string_equal(refusal.problems.items[0].path, "args");
    free(body);
}

static void test_all_problems_at_once(void **state)
{
    struct pd_refusal refusal;

    (void)state;
    assert_int_equal(refusal_of("{\"code\":\"x\",\"timeout\":999,\"artifacts\":[\"..\"],"
                                "\"files\":[{\"path\":\"..\",\"content\":\"\"}]}",
                                &refusal),
                     422);
    assert_int_equal(refusal.problems.count, 3);
}

static void test_no_pools(void **state)
{
    struct request_rules *none = request_rules_new_empty();
    struct pd_refusal refusal;
    struct pd_request *request = NULL;

    (void)state;
    assert_int_equal(pd_request_parse(&none->rules, "{\"code\":\"x\"}", 12, &request, &refusal),
                     PD_INVALID);
    assert_int_equal(refusal.status, 422);
    assert_true(pd_request_bytes_max(none->rules.store) > 0);
    request_rules_free(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_nulls),
        cmocka_unit_test(test_pool_by_language),
        cmocka_unit_test(test_pool_by_hello),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_texts_arrive_whole),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_limits_of_the_pool),
        cmocka_unit_test(test_all_problems_at_once),
        cmocka_unit_test(test_no_pools),
    };

    return cmocka_run_group_tests_name("request", tests, set_up, tear_down);
}
