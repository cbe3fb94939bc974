#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/kube_patch.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"

static struct pd_node *parse(const char *text)
{
    struct pd_node *node;
    struct pd_err err = {.msg = ""};

    if (pd_json_parse(text, strlen(text), &node, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return node;
}

static void expect(const struct pd_node *node, const char *wanted, const char *what)
{
    pd_autonode struct pd_node *other = parse(wanted);
    pd_autobuf struct pd_buf text;

    pd_buf_init(&text, 65536);
    assert_int_equal(pd_json_format(node, &text, NULL), 0);
    if (!pd_node_equal(node, other))
        fail_msg("%s: got %s, wanted %s", what, text.data, wanted);
}

/* RFC 7386, appendix A, all of it. */
static void test_merge(void **state)
{
    static const char *const cases[][3] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", "null"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autonode struct pd_node *node = parse(cases[i][0]), *patch = parse(cases[i][1]);
        pd_patch_merge(&node, patch);
        expect(node, cases[i][2], cases[i][1]);
    }
}

/* RFC 6902, appendix A, and more. */
static void test_json(void **state)
{
    static const char *const cases[][3] = {
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]",
         "{\"baz\":\"qux\",\"foo\":\"bar\"}"},
        {"{\"foo\":[\"bar\",\"baz\"]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":\"qux\"}]",
         "{\"foo\":[\"bar\",\"qux\",\"baz\"]}"},
        {"{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"remove\",\"path\":\"/baz\"}]",
         "{\"foo\":\"bar\"}"},
        {"{\"foo\":[\"bar\",\"qux\",\"baz\"]}", "[{\"op\":\"remove\",\"path\":\"/foo/1\"}]",
         "{\"foo\":[\"bar\",\"baz\"]}"},
        {"{\"baz\":\"qux\",\"foo\":\"bar\"}",
         "[{\"op\":\"replace\",\"path\":\"/baz\",\"value\":\"boo\"}]",
         "{\"baz\":\"boo\",\"foo\":\"bar\"}"},
        {"{\"foo\":{\"bar\":\"baz\",\"waldo\":\"fred\"},\"qux\":{\"corge\":\"grault\"}}",
         "[{\"op\":\"move\",\"from\":\"/foo/waldo\",\"path\":\"/qux/thud\"}]",
         "{\"foo\":{\"bar\":\"baz\"},\"qux\":{\"corge\":\"grault\",\"thud\":\"fred\"}}"},
        {"{\"foo\":[\"all\",\"grass\",\"cows\",\"eat\"]}",
         "[{\"op\":\"move\",\"from\":\"/foo/1\",\"path\":\"/foo/3\"}]",
         "{\"foo\":[\"all\",\"cows\",\"eat\",\"grass\"]}"},
        {"{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}",
         "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"qux\"},"
         "{\"op\":\"test\",\"path\":\"/foo/1\",\"value\":2}]",
         "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}"},
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/child\",\"value\":{\"grand\":{}}}]",
         "{\"foo\":\"bar\",\"child\":{\"grand\":{}}}"},
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\",\"xyz\":123}]",
         "{\"foo\":\"bar\",\"baz\":\"qux\"}"},
        {"{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":10}]",
         "{\"/\":9,\"~1\":10}"},
        {"{\"foo\":[\"bar\"]}",
         "[{\"op\":\"add\",\"path\":\"/foo/-\",\"value\":[\"abc\",\"def\"]}]",
         "{\"foo\":[\"bar\",[\"abc\",\"def\"]]}"},
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"b\":2}}]", "{\"b\":2}"},
        {"{\"a\":{\"b\":[1]}}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/c\"}]",
         "{\"a\":{\"b\":[1]},\"c\":{\"b\":[1]}}"},
        {"{\"\":{\"\":1}}", "[{\"op\":\"remove\",\"path\":\"//\"}]", "{\"\":{}}"},
        {"{\"a\":[1,2]}", "[{\"op\":\"replace\",\"path\":\"/a/0\",\"value\":9}]", "{\"a\":[9,2]}"},
        {"{\"a\":1}", "[]", "{\"a\":1}"},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autonode struct pd_node *node = parse(cases[i][0]), *patch = parse(cases[i][1]);
        struct pd_err err = {.msg = ""};
        if (pd_patch_json(&node, patch, &err) < 0)
            fail_msg("%s: %s", cases[i][1], err.msg);
        expect(node, cases[i][2], cases[i][1]);
    }
}

static void test_json_refused(void **state)
{
    static const struct {
        const char *text, *patch;
        int kind;
    } cases[] = {
        {"{\"a\":1}", "{}", PD_INVALID},
        {"{\"a\":1}", "[1]", PD_INVALID},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b/c\",\"value\":1}]", PD_INVALID},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a\"}]", PD_INVALID},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]", PD_INVALID},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/~2\",\"value\":1}]", PD_INVALID},
        {"{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/b\"}]", PD_INVALID},
        {"{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"\"}]", PD_INVALID},
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/b\",\"value\":1}]", PD_INVALID},
        {"{\"a\":1}", "[{\"op\":\"eat\",\"path\":\"/a\"}]", PD_INVALID},
        {"{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/2\",\"value\":1}]", PD_INVALID},
        {"{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/01\",\"value\":1}]", PD_INVALID},
        {"{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/-\"}]", PD_INVALID},
        {"{\"a\":[1]}", "[{\"op\":\"replace\",\"path\":\"/a/1\",\"value\":1}]", PD_INVALID},
        {"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]", PD_INVALID},
        {"{\"a\":1}", "[{\"op\":\"move\",\"path\":\"/b\"}]", PD_INVALID},
        {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", PD_CONFLICT},
        {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/b\",\"value\":null}]", PD_CONFLICT},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autonode struct pd_node *node = parse(cases[i].text), *patch = parse(cases[i].patch);
        if (pd_patch_json(&node, patch, NULL) != cases[i].kind)
            fail_msg("%s", cases[i].patch);
        expect(node, cases[i].text, cases[i].patch);
    }
}

/* All or nothing. */
static void test_json_is_atomic(void **state)
{
    pd_autonode struct pd_node *node = parse("{\"a\":1}"),
                               *patch = parse(
                                   "[{\"op\":\"remove\",\"path\":\"/a\"},"
                                   "{\"op\":\"remove\",\"path\":\"/a\"}]");
    struct pd_err err;

    (void)state;
    assert_int_equal(pd_patch_json(&node, patch, &err), PD_INVALID);
    assert_non_null(strstr(err.msg, "operation 1"));
    expect(node, "{\"a\":1}", "unchanged");
}

/* A few bytes must not become millions. */
static void test_json_does_not_explode(void **state)
{
    pd_autonode struct pd_node *node = parse("{\"a\":[1,2,3,4,5,6,7,8]}");
    pd_autonode struct pd_node *wide = pd_node_list_new(), *deep = pd_node_list_new();

    (void)state;
    for (int i = 0; i < 40; i++)
        pd_node_add(wide, parse("{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/-\"}"));
    assert_int_equal(pd_patch_json(&node, wide, NULL), PD_LIMIT);
    for (int i = 0; i < 100; i++)
        pd_node_add(deep, parse("{\"op\":\"copy\",\"from\":\"\",\"path\":\"/a\"}"));
    assert_int_equal(pd_patch_json(&node, deep, NULL), PD_LIMIT);
    for (int i = 0; i < PD_PATCH_OPERATIONS_MAX; i++)
        pd_node_add(deep, parse("{\"op\":\"test\",\"path\":\"/a\",\"value\":1}"));
    assert_int_equal(pd_patch_json(&node, deep, NULL), PD_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_refused),
        cmocka_unit_test(test_json_is_atomic),
        cmocka_unit_test(test_json_does_not_explode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
