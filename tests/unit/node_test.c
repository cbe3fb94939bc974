#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/node.h"

static struct pd_node *json(const char *text)
{
    struct pd_node *node;
    struct pd_err err;

    if (pd_json_parse(text, strlen(text), &node, &err) < 0)
        fail_msg("%s", err.msg);
    return node;
}

static void equality_is_of_values(void **state)
{
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {"1", "1.0", true},
        {"1", "1.5", false},
        {"9007199254740993", "9007199254740992.0", false},
        {"9223372036854775807", "9223372036854775808.0", false},
        {"-0.0", "0", true},
        {"true", "1", false},
        {"null", "0", false},
        {"\"a\"", "\"a\"", true},
        {"\"a\\u0000b\"", "\"a\\u0000c\"", false},
        {"{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", true},
        {"{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}", false},
        {"{\"a\":1}", "{\"a\":1,\"b\":2}", false},
        {"[1,2]", "[2,1]", false},
        {"[1,2]", "[1,2]", true},
        {"[]", "{}", false},
        {"{\"a\":null}", "{}", false},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autonode struct pd_node *a = json(cases[i].a), *b = json(cases[i].b);
        print_message("%s ? %s\n", cases[i].a, cases[i].b);
        assert_int_equal(pd_node_equal(a, b), cases[i].equal);
        assert_int_equal(pd_node_equal(b, a), cases[i].equal);
    }
}

static void copies_are_equal_and_their_own(void **state)
{
    pd_autonode struct pd_node *node =
        json("{\"a\":[1,2.5,\"x\\u0000y\",null,true,{\"b\":{}}],\"c\":-1}");
    pd_autonode struct pd_node *copy = NULL;

    (void)state;
    node->line = 7;
    copy = pd_node_copy(node);
    assert_true(pd_node_equal(node, copy));
    assert_int_equal(copy->line, 7);
    pd_node_set_int(copy, "c", 5);
    assert_int_equal(pd_node_int(pd_node_get(node, "c"), 0), -1);
}

static void members_are_set_replaced_and_removed(void **state)
{
    pd_autonode struct pd_node *map = pd_node_map_new();
    char key[16];

    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%d", i);
        pd_node_set_int(map, key, i);
    }
    for (int i = 0; i < 100; i += 2) {
        snprintf(key, sizeof key, "k%d", i);
        pd_node_remove(map, key);
        pd_node_remove(map, key);
    }
    pd_node_set_string(map, "k1", "other");
    pd_node_set_bool(map, "new", true);
    pd_node_set_number(map, "half", 0.5);
    assert_int_equal(pd_node_count(map), 52);
    assert_null(pd_node_get(map, "k0"));
    assert_string_equal(pd_node_text(pd_node_get(map, "k1"), ""), "other");
    assert_int_equal(pd_node_int(pd_node_get(map, "k99"), 0), 99);
    assert_string_equal(map->map.members[0].key, "k1");
}

static void reads_fall_back(void **state)
{
    pd_autonode struct pd_node *node = json("{\"a\":{\"b\":{\"n\":3,\"s\":\"t\"}},\"z\":null}");

    (void)state;
    assert_int_equal(pd_node_int(pd_node_at(node, "a", "b", "n", NULL), 9), 3);
    assert_true(pd_node_number(pd_node_at(node, "a", "b", "n", NULL), 9) == 3.0);
    assert_null(pd_node_at(node, "a", "x", "n", NULL));
    assert_null(pd_node_at(node, "a", "b", "n", "deeper", NULL));
    assert_int_equal(pd_node_int(pd_node_get(node, "z"), 9), 9);
    assert_string_equal(pd_node_text(NULL, "f"), "f");
    assert_true(pd_node_bool(NULL, true));
    assert_int_equal(pd_node_count(NULL), 0);
    assert_null(pd_node_get(NULL, "x"));
    pd_node_free(NULL);
}

static void lists_grow(void **state)
{
    pd_autonode struct pd_node *list = pd_node_list_new();

    (void)state;
    for (int i = 0; i < 1000; i++)
        pd_node_add(list, pd_node_int_new(i));
    assert_int_equal(pd_node_count(list), 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(list->list.items[i]->integer, i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equality_is_of_values),
        cmocka_unit_test(copies_are_equal_and_their_own),
        cmocka_unit_test(members_are_set_replaced_and_removed),
        cmocka_unit_test(reads_fall_back),
        cmocka_unit_test(lists_grow),
    };

    return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
