#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/schema.h"
#include "common/time.h"
#include "common/yaml.h"
#include "tests/lib/fixtures.h"

static struct pd_node *yaml(const char *text)
{
    struct pd_node *node;
    struct pd_err err;

    if (pd_yaml_parse(text, strlen(text), &node, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return node;
}

static struct pd_schema *compile(const char *text)
{
    pd_autonode struct pd_node *node = yaml(text);
    struct pd_schema *schema;
    struct pd_err err;

    if (pd_schema_new(node, &schema, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return schema;
}

/* The tree as JSON afterwards, or its problems. */
static char *apply(const struct pd_schema *schema, struct pd_node *tree)
{
    struct pd_problems problems = {0};
    struct pd_buf out pd_autobuf;
    int rc = pd_schema_apply(schema, tree, &problems);

    pd_buf_init(&out, 65536);
    assert_int_equal(rc, problems.count ? PD_INVALID : 0);
    for (size_t i = 0; i < problems.count; i++) {
        char text[512];
        pd_problem_format(&problems.items[i], text, sizeof text);
        assert_int_equal(pd_buf_addf(&out, NULL, "%s%s", i ? "; " : "", text), 0);
    }
    if (rc == 0)
        assert_int_equal(pd_json_format(tree, &out, NULL), 0);
    return pd_buf_steal(&out);
}

struct row {
    const char *schema, *tree, *outcome;
};

static void check(const struct row *rows, size_t count)
{
    struct pd_schema *schema = NULL;

    for (size_t i = 0; i < count; i++) {
        pd_autonode struct pd_node *tree = yaml(rows[i].tree);
        pd_autofree char *outcome = NULL;
        if (rows[i].schema) { /* else the one above */
            pd_schema_free(schema);
            schema = compile(rows[i].schema);
        }
        outcome = apply(schema, tree);
        assert_string_equal(outcome, rows[i].outcome);
    }
    pd_schema_free(schema);
}

static void types(void **state)
{
    static const struct row rows[] = {
        {"type: string", "a", "\"a\""},
        {NULL, "3", "must be a string, got 3 (line 1)"},
        {NULL, "[]", "must be a string, got a list (line 1)"},
        {NULL, "~", "must be a string, got null (line 1)"},
        {"{type: string, nullable: true}", "~", "null"},
        {"type: integer", "3", "3"},
        {NULL, "3.0", "3"},
        {NULL, "3.5", "must be an integer, got 3.5 (line 1)"},
        {NULL, "1e308", "must be an integer, got 1e+308 (line 1)"},
        {NULL, "'3'", "must be an integer, got \"3\" (line 1)"},
        {NULL, "true", "must be an integer, got true (line 1)"},
        {"type: number", "3", "3"},
        {NULL, "3.5", "3.5"},
        {NULL, "'3'", "must be a number, got \"3\" (line 1)"},
        {"type: boolean", "true", "true"},
        {NULL, "yes", "must be true or false, got \"yes\" (line 1)"},
        {"{type: array, items: {type: integer}}", "[1, 2]", "[1,2]"},
        {NULL, "[1, a, b]",
         "[1]: must be an integer, got \"a\" (line 1); "
         "[2]: must be an integer, got \"b\" (line 1)"},
        {NULL, "{}", "must be a list, got a map (line 1)"},
        {"{x-kubernetes-int-or-string: true}", "3", "3"},
        {NULL, "a", "\"a\""},
        {NULL, "1.5", "must be a string or an integer, got 1.5 (line 1)"},
        {NULL, "true", "must be a string or an integer, got true (line 1)"},
        {"x-kubernetes-preserve-unknown-fields: true", "{a: [1]}", "{\"a\":[1]}"},
    };

    (void)state;
    check(rows, PD_COUNT(rows));
}

static void bounds(void **state)
{
    static const struct row rows[] = {
        {"{type: integer, minimum: 0, maximum: 5}", "-1", "must be >= 0, got -1 (line 1)"},
        {NULL, "0", "0"},
        {NULL, "5", "5"},
        {NULL, "6", "must be <= 5, got 6 (line 1)"},
        {NULL, "9223372036854775807", "must be <= 5, got 9223372036854775807 (line 1)"},
        {"{type: number, minimum: 0, exclusiveMinimum: true}", "0", "must be > 0, got 0 (line 1)"},
        {NULL, "1e-300", "1e-300"},
        {NULL, "-1e308", "must be > 0, got -1e+308 (line 1)"},
        {"{type: number, exclusiveMinimum: 0, exclusiveMaximum: 1.5}", "0",
         "must be > 0, got 0 (line 1)"},
        {NULL, "1.5", "must be < 1.5, got 1.5 (line 1)"},
        {"{type: string, minLength: 1, maxLength: 3}", "''", "must not be empty (line 1)"},
        {NULL, "\xc3\xa9\xc3\xa9\xc3\xa9", "\"\xc3\xa9\xc3\xa9\xc3\xa9\""},
        {NULL, "abcd", "must have at most 3 characters, has 4 (line 1)"},
        {"{type: string, minLength: 2}", "a", "must have at least 2 characters, has 1 (line 1)"},
        {"{type: string, maxLength: 9, pattern: '^[a-z]+$'}", "abc", "\"abc\""},
        {NULL, "aBc", "must match ^[a-z]+$, got \"aBc\" (line 1)"},
        {NULL, "\"a\\nb\"", "must match ^[a-z]+$, got \"a?b\" (line 1)"},
        {NULL, "\"a\\0b\"", "must not contain the character U+0000 (line 1)"},
        {"{type: string, x-paddock-nul: true}", "\"a\\0b\"", "\"a\\u0000b\""},
        {"{type: string, x-paddock-nul: true, maxLength: 9, pattern: '^[a-z]*$'}", "\"a\\0B\"",
         "must match ^[a-z]*$, got \"a?B\" (line 1)"},
        {"{type: string, enum: [a, b]}", "b", "\"b\""},
        {NULL, "c", "must be one of \"a\", \"b\", got \"c\" (line 1)"},
        {"{type: integer, enum: [1, 2]}", "2.0", "2"},
        {"{type: array, items: {type: string}, minItems: 1, maxItems: 2}", "[]",
         "must have at least 1 items, has 0 (line 1)"},
        {NULL, "[a, b, c]", "must have at most 2 items, has 3 (line 1)"},
        {"{type: array, items: {type: string}, maxItems: 9, x-kubernetes-list-type: set}",
         "[a, b, c]", "[\"a\",\"b\",\"c\"]"},
        {NULL, "[a, b, a, a]",
         "[2]: stands there twice: \"a\" (line 1); [3]: stands there twice: \"a\" (line 1)"},
    };

    (void)state;
    check(rows, PD_COUNT(rows));
}

static void amounts(void **state)
{
    static const struct row rows[] = {
        {"{type: string, format: duration, x-kubernetes-validations: "
         "[{rule: \"duration(self) >= duration('1s')\"}, "
         "{rule: \"duration(self) <= duration('1h')\"}]}",
         "90s", "\"90s\""},
        {NULL, "999ms", "must be >= 1s, got \"999ms\" (line 1)"},
        {NULL, "61m", "must be <= 1h, got \"61m\" (line 1)"},
        {NULL, "soon", "must be a duration such as 500ms, 30s or 1h30m, got \"soon\" (line 1)"},
        {NULL, "30", "must be a string, got 30 (line 1)"},
        {"{x-kubernetes-int-or-string: true, format: quantity, x-kubernetes-validations: "
         "[{rule: \"quantity(string(self)).compareTo(quantity('1Ki')) >= 0\"}, "
         "{rule: \"quantity(string(self)).compareTo(quantity('1Mi')) <= 0\"}]}",
         "2Ki", "\"2Ki\""},
        {NULL, "2048", "2048"},
        {NULL, "2048.5", "\"2048.5\""},
        {NULL, "1023", "must be >= 1Ki, got 1023 (line 1)"},
        {NULL, "1025Ki", "must be <= 1Mi, got \"1025Ki\" (line 1)"},
        {NULL, "-1", "must be a quantity such as 500m, 2 or 256Mi, got \"-1\" (line 1)"},
        {NULL, "x", "must be a quantity such as 500m, 2 or 256Mi, got \"x\" (line 1)"},
        {NULL, "1e308", "must be a quantity such as 500m, 2 or 256Mi, got \"1e+308\" (line 1)"},
    };

    (void)state;
    check(rows, PD_COUNT(rows));
}

#define OBJECT                                                                                     \
    "{type: object, required: [code], properties: {code: {type: string}, "                         \
    "timeout: {type: number, default: 3}, opts: {type: object, default: {}, properties: "          \
    "{deep: {type: integer, default: 1}, list: {type: array, items: {type: object, properties: "   \
    "{x: {type: integer}}}}}}}}"

static void objects(void **state)
{
    static const struct row rows[] = {
        {OBJECT, "{code: a}", "{\"code\":\"a\",\"timeout\":3,\"opts\":{\"deep\":1}}"},
        {NULL, "{timeout: 1}", "code: is required (line 1)"},
        {NULL, "{code: ~}", "code: is required (line 1)"},
        {NULL, "{code: a, timeout: ~, opts: ~}",
         "{\"code\":\"a\",\"timeout\":3,\"opts\":{\"deep\":1}}"},
        {NULL, "{code: a, opts: {deep: 5}}",
         "{\"code\":\"a\",\"opts\":{\"deep\":5},\"timeout\":3}"},
        {NULL, "{code: a, timout: 1}", "timout: is not known; did you mean timeout? (line 1)"},
        {NULL, "{code: a, Timeout: 1}", "Timeout: is not known; did you mean timeout? (line 1)"},
        {NULL, "{code: a, wholly: ~}", "wholly: is not known (line 1)"},
        {NULL, "{code: a, opts: {list: [{x: 1}, {x: a}, {y: 1}]}}",
         "opts.list[1].x: must be an integer, got \"a\" (line 1); "
         "opts.list[2].y: is not known (line 1)"},
        {NULL, "code: a\nopts:\n  deep: x\n", "opts.deep: must be an integer, got \"x\" (line 3)"},
        {NULL, "code: a\n\"\\n\\e[31m\": 1\n", "??[31m: is not known (line 2)"},
        {NULL, "[]", "must be a map, got a list (line 1)"},
        {"{type: object, propertyNames: {type: string, maxLength: 3, pattern: '^[A-Z]*$'}, "
         "additionalProperties: {type: string}, maxProperties: 2}",
         "{A: x, B: y}", "{\"A\":\"x\",\"B\":\"y\"}"},
        {NULL, "{a: x}", "a: must match ^[A-Z]*$, got \"a\" (line 1)"},
        {NULL, "{ABCD: x}", "ABCD: must have at most 3 characters, has 4 (line 1)"},
        {NULL, "{A: 1}", "A: must be a string, got 1 (line 1)"},
        {NULL, "{A: ~}", "A: must be a string, got null (line 1)"},
        {NULL, "{A: x, B: y, C: z}", "must have at most 2 members, has 3 (line 1)"},
        {"{type: object, properties: {a: {type: string}}, "
         "x-kubernetes-preserve-unknown-fields: true}",
         "{b: [1], a: x}", "{\"b\":[1],\"a\":\"x\"}"},
        {"{type: object, additionalProperties: false}", "{a: 1}", "a: is not known (line 1)"},
    };

    (void)state;
    check(rows, PD_COUNT(rows));
}

static void a_schema_that_is_not_understood_is_refused(void **state)
{
    static const struct {
        const char *schema, *error;
    } cases[] = {
        {"[]", "schema: must be a map (line 1)"},
        {"{}", "schema: a type is needed (line 1)"},
        {"type: text", "schema: type: value not understood (line 1)"},
        {"{type: string, minLenght: 1}", "schema: keyword minLenght is not known (line 1)"},
        {"{type: string, oneOf: []}", "schema: keyword oneOf is not known (line 1)"},
        {"{type: string, minLength: -1}", "schema: minLength: value not understood (line 1)"},
        {"{type: string, minLength: a}", "schema: minLength: value not understood (line 1)"},
        {"{type: string, pattern: 'a'}", "schema: a pattern needs a maxLength (line 1)"},
        {"{type: string, maxLength: 3, pattern: '('}",
         "schema: pattern: value not understood (line 1)"},
        {"type: array", "schema: an array needs items (line 1)"},
        {"{type: array, items: {}}", "items: schema: a type is needed (line 1)"},
        {"{type: array, items: {type: string}, x-kubernetes-list-type: set}",
         "schema: a set needs maxItems (line 1)"},
        {"{type: object, required: [a]}", "schema: required: no such property (line 1)"},
        {"{type: object, properties: []}", "schema: properties must be a map (line 1)"},
        {"{type: object, properties: {a: {type: b}}}",
         "a: schema: type: value not understood (line 1)"},
        {"{type: integer, minimum: a}", "schema: minimum: value not understood (line 1)"},
        {"{type: string, enum: []}", "schema: enum: value not understood (line 1)"},
        {"{type: string, x-kubernetes-validations: [{rule: self != ''}]}",
         "schema: x-kubernetes-validations: value not understood (line 1)"},
        {"{type: string, x-kubernetes-validations: [{rule: \"duration(self) >= duration('x')\"}]}",
         "schema: x-kubernetes-validations: value not understood (line 1)"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autonode struct pd_node *node = yaml(cases[i].schema);
        struct pd_schema *schema = NULL;
        struct pd_err err;
        assert_true(pd_schema_new(node, &schema, &err) < 0);
        assert_string_equal(err.msg, cases[i].error);
        assert_null(schema);
    }
}

static void no_more_problems_than_fit(void **state)
{
    struct pd_schema *schema = compile("{type: array, items: {type: string}}");
    pd_autonode struct pd_node *list = pd_node_list_new();
    struct pd_problems problems = {0};
    struct pd_err err;

    (void)state;
    for (int i = 0; i < 1000; i++)
        pd_node_add(list, pd_node_int_new(i));
    assert_int_equal(pd_schema_apply(schema, list, &problems), PD_INVALID);
    assert_int_equal(problems.count, PD_PROBLEMS_MAX);
    assert_int_equal(problems.dropped, 1000 - PD_PROBLEMS_MAX);
    assert_int_equal(pd_problems_err(&problems, &err), PD_INVALID);
    assert_non_null(strstr(err.msg, "[0]: must be a string, got 0; [1]: must be"));
    assert_non_null(strstr(err.msg, "; and 9"));
    assert_int_equal(pd_schema_apply(schema, list, &problems), PD_INVALID);
    pd_schema_free(schema);
}

/* ---- the schema of POST /execute ---- */

static char *execute_complaint(void *arg, const char *text, size_t len)
{
    pd_autonode struct pd_node *node = NULL;
    struct pd_problems problems = {0};
    struct pd_buf out pd_autobuf;
    struct pd_err err;

    pd_buf_init(&out, 65536);
    if (pd_json_parse(text, len, &node, &err) < 0)
        return pd_asprintf("%s\n", err.msg);
    (void)!pd_schema_apply(arg, node, &problems);
    for (size_t i = 0; i < problems.count; i++) {
        char line[512];
        pd_problem_format(&problems.items[i], line, sizeof line);
        assert_int_equal(pd_buf_addf(&out, NULL, "%s\n", line), 0);
    }
    return pd_buf_steal(&out);
}

static void bad_requests_are_told_what_is_wrong(void **state)
{
    struct pd_schema *schema;

    (void)state;
    assert_int_equal(pd_schema_new_asset("api/schemas/execute.yaml", &schema, NULL), 0);
    pd_fixtures_run("execute", execute_complaint, schema);
    pd_schema_free(schema);
}

static void a_small_request_is_checked_in_no_time(void **state)
{
    static const char body[] =
        "{\"code\":\"print(\\\"Hello World\\\")\",\"language\":\"python\",\"timeout\":30}";
    enum { ROUNDS = 2000 };
    struct pd_schema *schema;
    struct pd_time start;
    int64_t ns;

    (void)state;
    assert_int_equal(pd_schema_new_asset("api/schemas/execute.yaml", &schema, NULL), 0);
    start = pd_time_now();
    for (int i = 0; i < ROUNDS; i++) {
        pd_autonode struct pd_node *node = NULL;
        struct pd_problems problems;
        problems.count = problems.dropped = 0;
        assert_int_equal(pd_json_parse(body, sizeof body - 1, &node, NULL), 0);
        assert_int_equal(pd_schema_apply(schema, node, &problems), 0);
    }
    ns = (pd_time_now().ns - start.ns) / ROUNDS;
    print_message("%lld ns a request\n", (long long)ns);
    assert_true(ns < 1000000); /* a hundred times what it takes, for slow machines under ASan */
    pd_schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types),
        cmocka_unit_test(bounds),
        cmocka_unit_test(amounts),
        cmocka_unit_test(objects),
        cmocka_unit_test(a_schema_that_is_not_understood_is_refused),
        cmocka_unit_test(no_more_problems_than_fit),
        cmocka_unit_test(bad_requests_are_told_what_is_wrong),
        cmocka_unit_test(a_small_request_is_checked_in_no_time),
    };

    return cmocka_run_group_tests_name("schema", tests, NULL, NULL);
}
