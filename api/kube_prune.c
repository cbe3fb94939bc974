#include "api/kube_prune.h"

#include <stdio.h>
#include <string.h>

#include "common/problems.h"

static void note(struct pd_pruned *pruned, const char *path, const char *key)
{
    char shown[PD_SHOWN_BYTES];

    if (pruned->count < PD_PRUNED_MAX)
        snprintf(pruned->paths[pruned->count++], PD_PRUNED_BYTES, "%s%s%.60s", path,
                 *path ? "." : "", pd_shown(key, strlen(key), shown));
}

static void prune(const struct pd_node *schema, struct pd_node *tree, const char *path,
                  struct pd_pruned *pruned);

static void prune_members(const struct pd_node *schema, struct pd_node *map, const char *path,
                          struct pd_pruned *pruned)
{
    const struct pd_node *properties = pd_node_get(schema, "properties");
    const struct pd_node *more = pd_node_get(schema, "additionalProperties");

    if (!properties && !more)
        return; /* an object of which nothing is said: the rules check it */
    for (size_t i = 0; i < map->map.count;) {
        struct pd_member *member = &map->map.members[i];
        const struct pd_node *known = pd_node_get(properties, member->key);
        char below[PD_PRUNED_BYTES];
        if (!known && (!more || more->kind != PD_NODE_MAP)) {
            note(pruned, path, member->key);
            pd_node_remove(map, member->key);
            continue;
        }
        snprintf(below, sizeof below, "%.60s%s%.60s", path, *path ? "." : "", member->key);
        prune(known ? known : more, member->value, below, pruned);
        i++;
    }
}

static void prune(const struct pd_node *schema, struct pd_node *tree, const char *path,
                  struct pd_pruned *pruned)
{
    const struct pd_node *items = pd_node_get(schema, "items");

    if (pd_node_get(schema, "x-kubernetes-preserve-unknown-fields"))
        return;
    if (tree->kind == PD_NODE_MAP) {
        prune_members(schema, tree, path, pruned);
    } else if (tree->kind == PD_NODE_LIST && items) {
        for (size_t i = 0; i < tree->list.count; i++) {
            char below[PD_PRUNED_BYTES];
            snprintf(below, sizeof below, "%.100s[%zu]", path, i);
            prune(items, tree->list.items[i], below, pruned);
        }
    }
}

void pd_prune(const struct pd_node *schema, struct pd_node *tree, struct pd_pruned *ret)
{
    ret->count = 0;
    prune(schema, tree, "", ret);
}
