/* What a client of the Kubernetes-style API may send: a path, a selector, an
 * object and a patch, parted by NULs. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "api/kube_fields.h"
#include "api/kube_patch.h"
#include "api/kube_prune.h"
#include "api/kube_request.h"
#include "api/kube_selector.h"
#include "common/json.h"
#include "common/mem.h"

#define PARTS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_selectors(const char *text, const struct pd_node *object)
{
    struct pd_kube_selector selector;

    if (pd_kube_labels_parse(text, &selector, NULL) == 0)
        (void)pd_kube_labels_match(&selector, object);
    pd_kube_selector_fini(&selector);
    if (pd_kube_fields_parse(text, &selector, NULL) == 0)
        (void)pd_kube_fields_match(&selector, object);
    pd_kube_selector_fini(&selector);
    (void)pd_kube_wants_table(text);
    (void)pd_kube_path_find(object, text);
}

static void fuzz_patches(const struct pd_kube_kinds *kinds, const struct pd_node *object,
                         const struct pd_node *patch)
{
    pd_autonode struct pd_node *merged = pd_node_copy(object), *changed = pd_node_copy(object);
    pd_autonode struct pd_node *pruned_tree = pd_node_copy(object);
    struct pd_pruned pruned;

    pd_patch_merge(&merged, patch);
    if (pd_patch_json(&changed, patch, NULL) < 0)
        assert(pd_node_equal(changed, object));
    pd_prune(kinds->list[PD_KUBE_POOL].schema, pruned_tree, &pruned);
    pd_prune(kinds->list[PD_KUBE_POOL].schema, pruned_tree, &pruned);
    assert(pruned.count == 0);
}

static void fuzz_fields(const struct pd_node *object, const struct pd_node *other)
{
    const struct pd_node *said = pd_node_get(other, "managedFields");
    const struct pd_node *managed = pd_fields_are_valid(said) ? said : NULL;
    const struct pd_fields_writer writer = {"fuzz", "paddock.dev/v1", 0};
    pd_autonode struct pd_node *updated = NULL, *applied = NULL, *after = NULL;

    if (object->kind != PD_NODE_MAP || other->kind != PD_NODE_MAP)
        return;
    updated = pd_fields_after_update(managed, object, other, &writer);
    assert(updated->list.count == 0 || pd_fields_are_valid(updated) || managed);
    applied = pd_fields_apply(updated, object, other, "fuzz");
    if (pd_fields_after_apply(updated, object, other, applied, true, &writer, &after, NULL) < 0)
        assert(!after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pd_kube_kinds kinds;
    struct pd_kube_target target;
    pd_autofree char *text = pd_calloc(size + 1, 1);
    pd_autonode struct pd_node *object = NULL, *patch = NULL;
    const char *parts[PARTS] = {"", "", "", ""};
    size_t at = 0;

    if (!kinds.metadata && pd_kube_kinds_load(&kinds, NULL) < 0)
        abort();
    memcpy(text, data, size);
    for (size_t i = 0; i < PARTS && at < size; i++) {
        parts[i] = text + at;
        at += strlen(text + at) + 1;
    }
    (void)pd_kube_target_parse(&kinds, parts[0], &target);
    if (pd_json_parse(parts[2], strlen(parts[2]), &object, NULL) < 0)
        object = pd_node_map_new();
    fuzz_selectors(parts[1], object);
    if (pd_json_parse(parts[3], strlen(parts[3]), &patch, NULL) < 0)
        return 0;
    fuzz_patches(&kinds, object, patch);
    fuzz_fields(object, patch);
    return 0;
}
