#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/time.h"
#include "common/yaml.h"
#include "tests/lib/fixtures.h"

static struct pd_node *parse(const char *text)
{
    struct pd_node *node;
    struct pd_err err;

    if (pd_yaml_parse(text, strlen(text), &node, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return node;
}

static void values_resolve_as_the_core_schema_says(void **state)
{
    static const struct {
        const char *yaml, *json;
    } cases[] = {
        {"", "null"},
        {"# only a comment\n", "null"},
        {"[~, null, Null, NULL, ]", "[null,null,null,null]"},
        {"[true, True, TRUE, false, tRUE]", "[true,true,true,false,\"tRUE\"]"},
        {"[yes, no, on, off, y, n]", "[\"yes\",\"no\",\"on\",\"off\",\"y\",\"n\"]"},
        {"[0, -1, +2, 012, 0o17, 0x1F, 0b1]", "[0,-1,2,12,15,31,\"0b1\"]"},
        {"[1.5, 1., .5, 1e3, -2.5E-1, 1e, ., 1.2.3]",
         "[1.5,1.0,0.5,1000.0,-0.25,\"1e\",\".\",\"1.2.3\"]"},
        {"['1', \"true\", 'it''s', \"a\\tb\\x41\\u00e9\\0\"]",
         "[\"1\",\"true\",\"it's\",\"a\\tbA\xc3\xa9\\u0000\"]"},
        {"[!!str 1, !!int 2, !!float 3, ! 4, !!null '']", "[\"1\",2,3,\"4\",null]"},
        {"1: a\ntrue: b\n~: c\n", "{\"1\":\"a\",\"true\":\"b\",\"~\":\"c\"}"},
        {"a: &x {b: 1}\nc: *x\nd: [*x, *x]\n",
         "{\"a\":{\"b\":1},\"c\":{\"b\":1},\"d\":[{\"b\":1},{\"b\":1}]}"},
        {"a: &x 1\nb: &x 2\nc: *x\n", "{\"a\":1,\"b\":2,\"c\":2}"},
        {"a: |\n  one\n  two\nb: >\n  one\n  two\n",
         "{\"a\":\"one\\ntwo\\n\",\"b\":\"one two\\n\"}"},
        {"\xef\xbb\xbf"
         "a: 1\n",
         "{\"a\":1}"},
        {"%YAML 1.1\n---\na: 1\n...\n", "{\"a\":1}"},
        {"9223372036854775807", "9223372036854775807"},
        {"2021-01-01", "\"2021-01-01\""},
        {"12:30", "\"12:30\""},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_buf out pd_autobuf;
        pd_autonode struct pd_node *node = NULL;
        node = parse(cases[i].yaml);
        pd_buf_init(&out, 4096);
        assert_int_equal(pd_json_format(node, &out, NULL), 0);
        assert_string_equal(out.data, cases[i].json);
    }
}

static char *complaint(void *arg, const char *text, size_t len)
{
    struct pd_node *node = NULL;
    struct pd_err err;
    int rc = pd_yaml_parse(text, len, &node, &err);

    (void)arg;
    pd_node_free(node);
    return rc < 0 ? pd_asprintf("%s: %s\n", pd_err_kind_name(rc), err.msg) : pd_strdup("");
}

static void bad_texts_are_refused(void **state)
{
    (void)state;
    pd_fixtures_run("yaml", complaint, NULL);
}

static void marks_say_where(void **state)
{
    pd_autonode struct pd_node *node =
        parse("# x\na: 1\nb:\n  c: [1,\n      2]\nd: &e {f: 1}\ng: *e\n");

    (void)state;
    assert_int_equal(node->line, 2);
    assert_int_equal(pd_node_get(node, "a")->line, 2);
    assert_int_equal(pd_node_get(node, "a")->column, 4);
    assert_int_equal(pd_node_at(node, "b", "c", NULL)->line, 4);
    assert_int_equal(pd_node_at(node, "b", "c", NULL)->list.items[1]->line, 5);
    assert_int_equal(pd_node_get(node, "g")->line, 7);
}

static void what_is_written_reads_back(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "a",
        " a",
        "a ",
        "a: b",
        "a #b",
        "#",
        "- a",
        "-",
        "?",
        ":",
        "a:",
        "{",
        "}",
        "[a]",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a",
        "'a'",
        "\"a\"",
        "a'b",
        "a\"b",
        "a\\b",
        "a\nb",
        "a\n",
        "\n",
        "\n\na",
        "a\r\nb",
        "\t",
        "a\tb",
        "1",
        "1.0",
        "-1",
        "+1",
        ".5",
        "1e3",
        "0x1f",
        "0o7",
        "0b1",
        "1_000",
        "190:20:30",
        "2001-12-14t21:59:43.10-05:00",
        "~",
        "null",
        "Null",
        "true",
        "TRUE",
        "yes",
        "No",
        "ON",
        "y",
        ".inf",
        "-.INF",
        ".nan",
        "=",
        "<<",
        "---",
        "--- a",
        "...",
        "\xc3\xa9",
        "\xef\xbb\xbf",
        "\xef\xbf\xbf",
        "\xf0\x9f\x98\x80",
        "\xc2\x85",
        "\xe2\x80\xa8",
        "\x7f",
        "\x01",
        "a, b",
        "[",
        ",",
        "256Mi",
        "30s",
        "python:3.11-slim",
        "a  b",
    };
    pd_autonode struct pd_node *node = pd_node_list_new(), *map = pd_node_map_new();
    pd_autonode struct pd_node *again = NULL;
    struct pd_buf out pd_autobuf;

    (void)state;
    for (size_t i = 0; i < PD_COUNT(texts); i++) {
        pd_node_add(node, pd_node_string_new(texts[i]));
        pd_node_set_string(map, texts[i], texts[i]);
    }
    pd_node_add(node, PD_STEAL(map));
    pd_node_add(node, pd_node_string_new_len("a\0b", 3));
    pd_node_add(node, pd_node_list_new());
    pd_node_add(node, pd_node_map_new());
    pd_node_add(node, pd_node_null_new());
    pd_node_add(node, pd_node_number_new(1e300));
    pd_node_add(node, pd_node_number_new(3));
    pd_node_add(node, pd_node_int_new(INT64_MIN));
    pd_buf_init(&out, 65536);
    assert_int_equal(pd_yaml_format(node, &out, NULL), 0);
    again = parse(out.data);
    assert_true(pd_node_equal(node, again));
}

static void what_needs_no_quotes_has_none(void **state)
{
    pd_autonode struct pd_node *node =
        parse("{a: 256Mi, b: 'python:3.11-slim', c: '30s', d: '10'}");
    struct pd_buf out pd_autobuf;

    (void)state;
    pd_buf_init(&out, 4096);
    assert_int_equal(pd_yaml_format(node, &out, NULL), 0);
    assert_string_equal(out.data, "a: 256Mi\nb: python:3.11-slim\nc: 30s\nd: \"10\"\n");
}

static void invalid_utf8_is_written_as_replacement(void **state)
{
    pd_autonode struct pd_node *node = pd_node_string_new(
                                   "a\xff"
                                   "b"),
                               *again = NULL;
    struct pd_buf out pd_autobuf;

    (void)state;
    pd_buf_init(&out, 4096);
    assert_int_equal(pd_yaml_format(node, &out, NULL), 0);
    again = parse(out.data);
    assert_string_equal(pd_node_text(again, ""),
                        "a\xef\xbf\xbd"
                        "b");
}

static void every_document_of_a_stream(void **state)
{
    static const char text[] = "a: 1\n---\n---\n- 2\n...\n";
    pd_autonode struct pd_node *list = NULL, *none = NULL;

    (void)state;
    assert_int_equal(pd_yaml_parse_all(text, strlen(text), &list, NULL), 0);
    assert_int_equal(pd_node_count(list), 3);
    assert_int_equal(list->list.items[1]->kind, PD_NODE_NULL);
    assert_int_equal(list->list.items[2]->line, 4);
    assert_int_equal(pd_yaml_parse_all("", 0, &none, NULL), 0);
    assert_int_equal(pd_node_count(none), 0);
}

static void the_bound_holds_at_every_byte(void **state)
{
    pd_autonode struct pd_node *node = parse("{a: [1, 2.5, \"x\\ny\", null], b: {c: true, d: []}}");
    struct pd_buf whole pd_autobuf;

    (void)state;
    pd_buf_init(&whole, 4096);
    assert_int_equal(pd_yaml_format(node, &whole, NULL), 0);
    for (size_t max = 0; max < whole.len; max++) {
        struct pd_buf out pd_autobuf;
        struct pd_err err = {0};
        pd_buf_init(&out, max);
        assert_int_equal(pd_yaml_format(node, &out, &err), PD_LIMIT);
        assert_int_equal(err.kind, PD_LIMIT);
    }
}

static void too_much_is_refused(void **state)
{
    struct pd_buf text pd_autobuf;
    struct pd_node *node;
    struct pd_err err;

    (void)state;
    pd_buf_init(&text, 2 << 20);
    while (text.len <= PD_YAML_BYTES_MAX)
        assert_int_equal(pd_buf_add(&text, "- abcdefgh\n", 11, NULL), 0);
    assert_int_equal(pd_yaml_parse(text.data, text.len, &node, &err), PD_LIMIT);
    pd_buf_clear(&text);
    assert_int_equal(pd_buf_add(&text, "[", 1, NULL), 0);
    while (text.len < 220000)
        assert_int_equal(pd_buf_add(&text, "1,", 2, NULL), 0);
    assert_int_equal(pd_buf_add(&text, "1]", 2, NULL), 0);
    assert_int_equal(pd_yaml_parse(text.data, text.len, &node, &err), PD_LIMIT);
    assert_string_equal(err.msg, "more than 100000 values (line 1)");
}

/* One large text and many aliases of it: few values, but many bytes. */
static void aliases_pay_in_bytes_too(void **state)
{
    struct pd_buf text pd_autobuf;
    struct pd_node *node;
    struct pd_err err;

    (void)state;
    pd_buf_init(&text, 2 << 20);
    assert_int_equal(pd_buf_add(&text, "- &a ", 5, NULL), 0);
    while (text.len < 500000)
        assert_int_equal(pd_buf_add(&text, "abcdefgh", 8, NULL), 0);
    for (int i = 0; i < 50; i++)
        assert_int_equal(pd_buf_add(&text, "\n- *a", 5, NULL), 0);
    assert_int_equal(pd_yaml_parse(text.data, text.len, &node, &err), PD_LIMIT);
    assert_string_equal(err.msg, "more than 4194304 bytes, aliases expanded (line 9)");
}

/* Texts of the largest size, in shapes that parsers have been slow at. */
static void no_text_takes_long(void **state)
{
    static const char *const units[] = {"?\n",           "-\n",        "--- a\n",  "%TAG !a! b\n",
                                        "%TAG !%d! b\n", "- &a%d x\n", "k%d: 1\n", "\"a\" ",
                                        "x\n  ",         "{a,",        "[*a,",     "#\n"};

    (void)state;
    for (size_t i = 0; i < PD_COUNT(units); i++) {
        struct pd_time start = pd_time_now();
        struct pd_buf text pd_autobuf;
        struct pd_node *node = NULL;
        pd_buf_init(&text, PD_YAML_BYTES_MAX);
        for (int n = 0; text.len < PD_YAML_BYTES_MAX - 32; n++) {
            const char *number = strstr(units[i], "%d");
            if (number)
                assert_int_equal(pd_buf_addf(&text, NULL, "%.*s%d%s", (int)(number - units[i]),
                                             units[i], n, number + 2),
                                 0);
            else
                assert_int_equal(pd_buf_add(&text, units[i], strlen(units[i]), NULL), 0);
        }
        if (pd_yaml_parse(text.data, text.len, &node, NULL) == 0)
            pd_node_free(node);
        print_message("shape %zu: %lld ms\n", i,
                      (long long)pd_time_ms_between(start, pd_time_now()));
        assert_true(pd_time_ms_between(start, pd_time_now()) < 5000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_resolve_as_the_core_schema_says),
        cmocka_unit_test(bad_texts_are_refused),
        cmocka_unit_test(marks_say_where),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(what_needs_no_quotes_has_none),
        cmocka_unit_test(invalid_utf8_is_written_as_replacement),
        cmocka_unit_test(every_document_of_a_stream),
        cmocka_unit_test(the_bound_holds_at_every_byte),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(aliases_pay_in_bytes_too),
        cmocka_unit_test(no_text_takes_long),
    };

    return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
