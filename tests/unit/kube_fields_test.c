#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/kube_fields.h"
#include "common/json.h"
#include "common/mem.h"

static struct pd_node *parse(const char *text)
{
    struct pd_node *node;

    assert_int_equal(pd_json_parse(text, strlen(text), &node, NULL), 0);
    return node;
}

static struct pd_fields_writer by(const char *manager)
{
    return (struct pd_fields_writer){.manager = manager, .api_version = "paddock.dev/v1"};
}

/* manager, operation and fields of one entry, as JSON. */
static void expect(const struct pd_node *managed, const char *manager, const char *fields)
{
    pd_autonode struct pd_node *wanted = fields ? parse(fields) : NULL;

    for (size_t i = 0; i < pd_node_count(managed); i++) {
        const struct pd_node *entry = managed->list.items[i];
        if (strcmp(pd_node_text(pd_node_get(entry, "manager"), ""), manager) != 0)
            continue;
        assert_non_null(wanted);
        if (!pd_node_equal(pd_node_get(entry, "fieldsV1"), wanted))
            fail_msg("%s does not have %s", manager, fields);
        return;
    }
    assert_null(wanted);
}

static void test_updates(void **state)
{
    pd_autonode struct pd_node *first = parse("{\"spec\":{\"a\":1,\"b\":{\"c\":2,\"d\":[1]}}}");
    pd_autonode struct pd_node *second =
        parse("{\"metadata\":{\"labels\":{\"x\":\"y\"}},\"spec\":{\"a\":1,\"b\":{\"d\":[1,2]}}}");
    pd_autonode struct pd_node *made = NULL, *changed = NULL, *same = NULL;
    struct pd_fields_writer one = by("one"), two = by("two");

    (void)state;
    made = pd_fields_after_update(NULL, NULL, first, &one);
    expect(made, "one", "{\"f:spec\":{\"f:a\":{},\"f:b\":{\"f:c\":{},\"f:d\":{}}}}");
    changed = pd_fields_after_update(made, first, second, &two);
    expect(changed, "one", "{\"f:spec\":{\"f:a\":{}}}");
    expect(changed, "two",
           "{\"f:metadata\":{\"f:labels\":{\"f:x\":{}}},\"f:spec\":{\"f:b\":{\"f:d\":{}}}}");
    same = pd_fields_after_update(changed, second, second, &one);
    assert_true(pd_node_equal(same, changed));
    assert_true(pd_fields_are_valid(changed));
}

/* What a manager applies no more is gone, unless somebody else has it too. */
static void test_apply_removes(void **state)
{
    pd_autonode struct pd_node *first = parse("{\"spec\":{\"a\":1,\"b\":2,\"c\":{\"d\":3}}}");
    pd_autonode struct pd_node *less = parse("{\"spec\":{\"a\":1}}");
    pd_autonode struct pd_node *shared = parse("{\"spec\":{\"b\":2}}");
    pd_autonode struct pd_node *m1 = NULL, *m2 = NULL, *m3 = NULL, *tree = NULL, *wanted = NULL;
    struct pd_fields_writer one = by("one"), two = by("two");

    (void)state;
    assert_int_equal(pd_fields_after_apply(NULL, NULL, first, first, false, &one, &m1, NULL), 0);
    assert_int_equal(pd_fields_after_apply(m1, first, shared, first, false, &two, &m2, NULL), 0);
    tree = pd_fields_apply(m2, first, less, "one");
    wanted = parse("{\"spec\":{\"a\":1,\"b\":2,\"c\":{}}}");
    assert_true(pd_node_equal(tree, wanted));
    assert_int_equal(pd_fields_after_apply(m2, first, less, tree, false, &one, &m3, NULL), 0);
    expect(m3, "one", "{\"f:spec\":{\"f:a\":{}}}");
    expect(m3, "two", "{\"f:spec\":{\"f:b\":{}}}");
}

static void test_apply_conflicts(void **state)
{
    pd_autonode struct pd_node *before = parse("{\"spec\":{\"a\":1,\"b\":2}}");
    pd_autonode struct pd_node *applied = parse("{\"spec\":{\"a\":9}}");
    pd_autonode struct pd_node *after = parse("{\"spec\":{\"a\":9,\"b\":2}}");
    pd_autonode struct pd_node *managed = NULL, *forced = NULL;
    struct pd_fields_writer one = by("one"), two = by("two");
    struct pd_node *none = NULL;
    struct pd_err err;

    (void)state;
    managed = pd_fields_after_update(NULL, NULL, before, &one);
    assert_int_equal(
        pd_fields_after_apply(managed, before, applied, after, false, &two, &none, &err),
        PD_CONFLICT);
    assert_non_null(strstr(err.msg, "conflict with \"one\": .spec.a"));
    assert_null(none);
    assert_int_equal(
        pd_fields_after_apply(managed, before, applied, after, true, &two, &forced, &err), 0);
    expect(forced, "one", "{\"f:spec\":{\"f:b\":{}}}");
    expect(forced, "two", "{\"f:spec\":{\"f:a\":{}}}");
}

/* Managers come and go; their number stays bounded. */
static void test_bounds(void **state)
{
    struct pd_node *managed = NULL, *object = parse("{\"spec\":{}}");

    (void)state;
    for (int i = 0; i < 3 * PD_FIELDS_MANAGERS_MAX; i++) {
        pd_autofree char *name = pd_asprintf("m%d", i);
        struct pd_fields_writer writer = by(name);
        struct pd_node *next = pd_node_copy(object), *more;
        pd_node_set_int(pd_node_get(next, "spec"), name, i);
        more = pd_fields_after_update(managed, object, next, &writer);
        pd_node_free(managed);
        pd_node_free(object);
        managed = more;
        object = next;
    }
    assert_int_equal(pd_node_count(managed), PD_FIELDS_MANAGERS_MAX);
    pd_node_free(managed);
    pd_node_free(object);
}

static void test_what_clients_send(void **state)
{
    static const char *const wrong[] = {
        "{}",
        "[1]",
        "[{}]",
        "[{\"manager\":\"a\",\"operation\":\"Eat\",\"fieldsV1\":{}}]",
        "[{\"manager\":\"a\",\"operation\":\"Apply\",\"fieldsV1\":[]}]",
        "[{\"manager\":7,\"operation\":\"Apply\",\"fieldsV1\":{}}]"};
    /* Fields without the prefix, and of odd shapes, hurt nobody. */
    pd_autonode struct pd_node *odd = parse(
        "[{\"manager\":\"a\",\"operation\":\"Apply\",\"fieldsV1\":"
        "{\"x\":{},\"f:spec\":{\".\":{},\"f:a\":{\"f:b\":{\"v:1\":{}}}}}}]");
    pd_autonode struct pd_node *object = parse("{\"spec\":{\"a\":1}}"), *managed = NULL,
                               *tree = NULL;
    struct pd_fields_writer writer = by("b");

    (void)state;
    for (size_t i = 0; i < PD_COUNT(wrong); i++) {
        pd_autonode struct pd_node *node = parse(wrong[i]);
        assert_false(pd_fields_are_valid(node));
    }
    assert_true(pd_fields_are_valid(odd));
    managed = pd_fields_after_update(odd, NULL, object, &writer);
    tree = pd_fields_apply(odd, object, object, "a");
    assert_true(pd_node_equal(tree, object));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_updates),           cmocka_unit_test(test_apply_removes),
        cmocka_unit_test(test_apply_conflicts),   cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_what_clients_send),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
