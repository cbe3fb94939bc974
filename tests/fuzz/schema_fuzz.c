/* A stream of YAML documents: the first as a schema for the others, and each
 * held against the schema of POST /execute. A tree that was found right is right
 * when it is looked at again, and the same. */
#include <assert.h>
#include <stdint.h>

#include "common/mem.h"
#include "common/schema.h"
#include "common/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Patterns go to the C library's regcomp, which may take any time and memory:
 * they are ours alone. */
static void drop_patterns(struct pd_node *node)
{
    if (node->kind == PD_NODE_MAP)
        pd_node_remove(node, "pattern");
    for (size_t i = 0; i < pd_node_count(node); i++)
        drop_patterns(node->kind == PD_NODE_MAP ? node->map.members[i].value : node->list.items[i]);
}

static void apply_twice(const struct pd_schema *schema, const struct pd_node *tree)
{
    pd_autonode struct pd_node *once = pd_node_copy(tree), *twice = NULL;
    struct pd_problems problems = {0};
    int rc = pd_schema_apply(schema, once, &problems);
    struct pd_err err;

    assert((rc < 0) == (problems.count > 0));
    assert((pd_problems_err(&problems, &err) < 0) == (rc < 0));
    if (rc < 0)
        return;
    twice = pd_node_copy(once);
    rc = pd_schema_apply(schema, twice, &problems);
    assert(rc == 0 && pd_node_equal(once, twice));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pd_schema *execute; /* compiled once, for speed */
    pd_autonode struct pd_node *list = NULL;
    struct pd_schema *schema = NULL;
    int rc = execute ? 0 : pd_schema_new_asset("api/schemas/execute.yaml", &execute, NULL);

    assert(rc == 0);
    if (pd_yaml_parse_all((const char *)data, size, &list, NULL) < 0)
        return 0;
    for (size_t i = 0; i < list->list.count; i++)
        apply_twice(execute, list->list.items[i]);
    if (list->list.count > 1) {
        drop_patterns(list->list.items[0]);
        rc = pd_schema_new(list->list.items[0], &schema, NULL);
        for (size_t i = 1; rc == 0 && i < list->list.count; i++)
            apply_twice(schema, list->list.items[i]);
    }
    pd_schema_free(schema);
    return 0;
}
