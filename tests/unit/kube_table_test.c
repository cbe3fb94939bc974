#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/kube_discovery.h"
#include "api/kube_table.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/schema.h"

static struct pd_node *parse(const char *text)
{
    struct pd_node *node;

    assert_int_equal(pd_json_parse(text, strlen(text), &node, NULL), 0);
    return node;
}

/* As k8s.io/apimachinery/pkg/util/duration.HumanDuration says it. */
static void test_ages(void **state)
{
    static const struct {
        int64_t s;
        const char *text;
    } cases[] = {
        {-5, "0s"},          {0, "0s"},
        {119, "119s"},       {120, "2m"},
        {125, "2m5s"},       {599, "9m59s"},
        {600, "10m"},        {3 * 3600 - 1, "179m"},
        {3 * 3600, "3h"},    {3660 * 3, "3h3m"},
        {8 * 3600, "8h"},    {47 * 3600, "47h"},
        {48 * 3600, "2d"},   {50 * 3600, "2d2h"},
        {8 * 86400, "8d"},   {700 * 86400, "700d"},
        {730 * 86400, "2y"}, {735 * 86400, "2y5d"},
    };
    char text[PD_KUBE_AGE_BYTES];

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++)
        assert_string_equal(pd_kube_age(cases[i].s * 1000, text), cases[i].text);
}

static void test_times(void **state)
{
    int64_t wall_ms;

    (void)state;
    assert_true(pd_kube_time_parse("2026-01-31T12:00:00Z", &wall_ms));
    assert_int_equal(wall_ms, INT64_C(1769860800000));
    assert_true(pd_kube_time_parse("2026-01-31T12:00:00.250Z", &wall_ms));
    assert_int_equal(wall_ms, INT64_C(1769860800250));
    assert_false(pd_kube_time_parse("2026-01-31", &wall_ms));
    assert_false(pd_kube_time_parse("2026-01-31T12:00:00", &wall_ms));
    assert_false(pd_kube_time_parse("", &wall_ms));
}

static void test_paths(void **state)
{
    pd_autonode struct pd_node *object =
        parse("{\"a\":{\"b\":[{\"type\":\"X\",\"v\":1},{\"type\":\"Y\",\"v\":2}]},\"c\":3}");

    (void)state;
    assert_int_equal(pd_node_int(pd_kube_path_find(object, ".c"), 0), 3);
    assert_int_equal(pd_node_int(pd_kube_path_find(object, ".a.b[?(@.type==\"Y\")].v"), 0), 2);
    assert_null(pd_kube_path_find(object, ".a.b[?(@.type==\"Z\")].v"));
    assert_null(pd_kube_path_find(object, ".a.x.y"));
    assert_null(pd_kube_path_find(object, ".a.b[0]"));
    assert_null(pd_kube_path_find(object, ".."));
    assert_null(pd_kube_path_find(object, ".c[?(@.type==\"Y\")]"));
}

static void test_table(void **state)
{
    struct pd_kube_kinds kinds;
    pd_autonode struct pd_node *object = parse(
        "{\"metadata\":{\"name\":\"py\",\"creationTimestamp\":\"2026-01-31T12:00:00Z\"},"
        "\"spec\":{\"provider\":\"docker\",\"minSize\":2},\"status\":{\"conditions\":"
        "[{\"type\":\"Available\",\"status\":\"True\"}]}}");
    pd_autonode struct pd_node *table = NULL;
    const struct pd_node *definitions, *cells;

    (void)state;
    assert_int_equal(pd_kube_kinds_load(&kinds, NULL), 0);
    table = pd_kube_table(&kinds.list[PD_KUBE_POOL], &object, 1, pd_node_map_new(), true,
                          PD_KUBE_INCLUDE_METADATA, INT64_C(1769860800000) + 61000);
    definitions = pd_node_get(table, "columnDefinitions");
    cells = pd_node_get(pd_node_get(table, "rows")->list.items[0], "cells");
    assert_int_equal(pd_node_count(definitions), pd_node_count(cells));
    for (size_t i = 0; i < pd_node_count(cells); i++) {
        const char *name = pd_node_text(pd_node_get(definitions->list.items[i], "name"), "");
        const struct pd_node *cell = cells->list.items[i];
        if (strcmp(name, "Name") == 0)
            assert_string_equal(pd_node_text(cell, ""), "py");
        else if (strcmp(name, "Min") == 0)
            assert_int_equal(pd_node_int(cell, 0), 2);
        else if (strcmp(name, "Available") == 0)
            assert_string_equal(pd_node_text(cell, ""), "True");
        else if (strcmp(name, "Age") == 0)
            assert_string_equal(pd_node_text(cell, ""), "61s");
        else if (strcmp(name, "Max") == 0)
            assert_int_equal(cell->kind, PD_NODE_NULL);
    }
    pd_kube_kinds_fini(&kinds);
}

/* Every $ref leads somewhere, every kind has its paths, PATCH knows
 * fieldValidation, and what discovery lists is in the CRDs. */
static void check_refs(const struct pd_node *node, const struct pd_node *schemas)
{
    static const char prefix[] = "#/components/schemas/";

    if (node->kind == PD_NODE_LIST) {
        for (size_t i = 0; i < node->list.count; i++)
            check_refs(node->list.items[i], schemas);
    } else if (node->kind == PD_NODE_MAP) {
        for (size_t i = 0; i < node->map.count; i++) {
            const struct pd_member *member = &node->map.members[i];
            if (strcmp(member->key, "$ref") == 0) {
                const char *ref = pd_node_text(member->value, "");
                assert_memory_equal(ref, prefix, sizeof prefix - 1);
                assert_non_null(pd_node_get(schemas, ref + sizeof prefix - 1));
            } else {
                check_refs(member->value, schemas);
            }
        }
    }
}

static void test_openapi(void **state)
{
    struct pd_kube_kinds kinds;
    pd_autonode struct pd_node *document = NULL;
    const struct pd_node *patch;
    bool validates = false;

    (void)state;
    assert_int_equal(pd_kube_kinds_load(&kinds, NULL), 0);
    document = pd_kube_discovery(&kinds, "/openapi/v3/apis/paddock.dev/v1");
    check_refs(document, pd_node_at(document, "components", "schemas", NULL));
    patch = pd_node_at(document, "paths",
                       "/apis/paddock.dev/v1/namespaces/{namespace}/sandboxpools/{name}", "patch",
                       NULL);
    for (size_t i = 0; i < pd_node_count(pd_node_get(patch, "parameters")); i++) {
        const struct pd_node *parameter = pd_node_get(patch, "parameters")->list.items[i];
        if (strcmp(pd_node_text(pd_node_get(parameter, "name"), ""), "fieldValidation") == 0)
            validates = true;
    }
    assert_true(validates);
    assert_null(pd_node_at(document, "paths",
                           "/apis/paddock.dev/v1/namespaces/{namespace}/sandboxes/{name}", "patch",
                           NULL));
    pd_kube_kinds_fini(&kinds);
}

static void test_discovery(void **state)
{
    static const char *const there[] = {"/version",
                                        "/api",
                                        "/api/",
                                        "/api/v1",
                                        "/apis",
                                        "/apis/paddock.dev",
                                        "/apis/paddock.dev/v1/",
                                        "/openapi/v3"};
    static const char *const absent[] = {
        "/", "", "/apis/other", "/apis/paddock.dev/v2", "/versio", "/openapi/v3/api/v1", "/api//"};
    struct pd_kube_kinds kinds;

    (void)state;
    assert_int_equal(pd_kube_kinds_load(&kinds, NULL), 0);
    for (size_t i = 0; i < PD_COUNT(there); i++) {
        pd_autonode struct pd_node *node = pd_kube_discovery(&kinds, there[i]);
        assert_non_null(node);
    }
    for (size_t i = 0; i < PD_COUNT(absent); i++)
        assert_null(pd_kube_discovery(&kinds, absent[i]));
    pd_kube_kinds_fini(&kinds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ages),    cmocka_unit_test(test_times),
        cmocka_unit_test(test_paths),   cmocka_unit_test(test_table),
        cmocka_unit_test(test_openapi), cmocka_unit_test(test_discovery),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
