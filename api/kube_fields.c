/* Theory of operation.
 *
 * A set of fields is a map: a member "f:name" for each field, whose value is the
 * set of the fields below it, empty for a field that is set as a whole. Objects
 * are turned into sets (set_of), sets are compared with sets, and a leaf of a set
 * is looked up in objects to see whether its value has changed. */
#include "api/kube_fields.h"

#include <stdio.h>
#include <string.h>

#include "api/kube_object.h"
#include "common/mem.h"

#define PREFIX "f:"
#define PREFIX_LEN 2
#define PATH_BYTES 160

/* ---- sets ---- */

static bool is_leaf(const struct pd_node *set)
{
    return pd_node_count(set) == 0;
}

static void set_member(struct pd_node *set, const char *name, struct pd_node *below)
{
    pd_autofree char *key = pd_asprintf(PREFIX "%s", name);

    pd_node_set(set, key, below);
}

static struct pd_node *set_of_value(const struct pd_node *value)
{
    struct pd_node *set = pd_node_map_new();

    for (size_t i = 0; value->kind == PD_NODE_MAP && i < value->map.count; i++) {
        const struct pd_member *member = &value->map.members[i];
        set_member(set, member->key, set_of_value(member->value));
    }
    return set;
}

/* Of an object: its spec, its labels and its annotations. */
static struct pd_node *set_of(const struct pd_node *object)
{
    static const char *const kept[] = {"labels", "annotations"};
    const struct pd_node *spec = pd_node_get(object, "spec");
    struct pd_node *set = pd_node_map_new(), *metadata = pd_node_map_new();

    for (size_t i = 0; i < PD_COUNT(kept); i++) {
        const struct pd_node *value = pd_node_at(object, "metadata", kept[i], NULL);
        if (pd_node_count(value) > 0)
            set_member(metadata, kept[i], set_of_value(value));
    }
    if (is_leaf(metadata))
        pd_node_free(metadata);
    else
        set_member(set, "metadata", metadata);
    if (pd_node_count(spec) > 0)
        set_member(set, "spec", set_of_value(spec));
    return set;
}

/* The value of a field in an object's tree, or NULL. */
static const struct pd_node *below(const struct pd_node *tree, const char *key)
{
    return strncmp(key, PREFIX, PREFIX_LEN) == 0 ? pd_node_get(tree, key + PREFIX_LEN) : NULL;
}

static bool same(const struct pd_node *a, const struct pd_node *b)
{
    return a && b ? pd_node_equal(a, b) : a == b;
}

/* Leaves of `set` whose values differ between the two trees. */
static struct pd_node *changed(const struct pd_node *set, const struct pd_node *before,
                               const struct pd_node *after)
{
    struct pd_node *result = pd_node_map_new();

    for (size_t i = 0; i < set->map.count; i++) {
        const struct pd_member *member = &set->map.members[i];
        const struct pd_node *in_before = below(before, member->key);
        const struct pd_node *in_after = below(after, member->key);
        struct pd_node *part;
        if (same(in_before, in_after))
            continue;
        part = is_leaf(member->value) ? pd_node_map_new()
                                      : changed(member->value, in_before, in_after);
        if (is_leaf(member->value) || !is_leaf(part))
            pd_node_set(result, member->key, part);
        else
            pd_node_free(part);
    }
    return result;
}

/* Take from `set` what is in `other`, too; a field taken takes what is below it. */
static void subtract(struct pd_node *set, const struct pd_node *other)
{
    for (size_t i = 0; i < set->map.count;) {
        struct pd_member *member = &set->map.members[i];
        const struct pd_node *in_other = pd_node_get(other, member->key);
        bool whole = in_other && (is_leaf(in_other) || is_leaf(member->value));
        if (in_other && !whole)
            subtract(member->value, in_other);
        if (whole || (in_other && is_leaf(member->value)))
            pd_node_remove(set, member->key);
        else
            i++;
    }
}

static void unite(struct pd_node *set, const struct pd_node *other)
{
    for (size_t i = 0; i < other->map.count; i++) {
        const struct pd_member *member = &other->map.members[i];
        struct pd_node *own = pd_node_get(set, member->key);
        if (own && !is_leaf(own))
            unite(own, member->value);
        else
            pd_node_set(set, member->key, pd_node_copy(member->value));
    }
}

/* Leaves that are no more in the object. */
static void drop_absent(struct pd_node *set, const struct pd_node *tree)
{
    for (size_t i = 0; i < set->map.count;) {
        struct pd_member *member = &set->map.members[i];
        const struct pd_node *value = below(tree, member->key);
        bool leaf = is_leaf(member->value);
        if (value && !leaf)
            drop_absent(member->value, value);
        if (!value || (!leaf && is_leaf(member->value)))
            pd_node_remove(set, member->key);
        else
            i++;
    }
}

/* Take the fields of a set out of an object's tree. */
static void remove_fields(struct pd_node *tree, const struct pd_node *set)
{
    for (size_t i = 0; tree && tree->kind == PD_NODE_MAP && i < set->map.count; i++) {
        const struct pd_member *member = &set->map.members[i];
        if (strncmp(member->key, PREFIX, PREFIX_LEN) != 0)
            continue;
        if (is_leaf(member->value))
            pd_node_remove(tree, member->key + PREFIX_LEN);
        else
            remove_fields(pd_node_get(tree, member->key + PREFIX_LEN), member->value);
    }
}

/* ".spec.minSize", the first leaf. */
static void first_path(const struct pd_node *set, char out[static PATH_BYTES])
{
    size_t len = 0;

    out[0] = '\0';
    while (!is_leaf(set) && len < PATH_BYTES - 1) {
        int n = snprintf(out + len, PATH_BYTES - len, ".%s", set->map.members[0].key + PREFIX_LEN);
        len += n > 0 ? (size_t)n : 0;
        set = set->map.members[0].value;
    }
}

/* ---- entries ---- */

static const char *text_of(const struct pd_node *entry, const char *key)
{
    const struct pd_node *node = pd_node_get(entry, key);

    return node && node->kind == PD_NODE_STRING ? node->string.text : "";
}

static struct pd_node *fields_of(const struct pd_node *entry)
{
    struct pd_node *fields = pd_node_get(entry, "fieldsV1");

    return fields && fields->kind == PD_NODE_MAP ? fields : NULL;
}

static bool is_by(const struct pd_node *entry, const char *manager, const char *operation)
{
    return strcmp(text_of(entry, "manager"), manager) == 0 &&
           strcmp(text_of(entry, "operation"), operation) == 0;
}

static struct pd_node *entry_by(const struct pd_node *managed, const char *manager,
                                const char *operation)
{
    for (size_t i = 0; i < pd_node_count(managed); i++) {
        if (is_by(managed->list.items[i], manager, operation))
            return managed->list.items[i];
    }
    return NULL;
}

static struct pd_node *entry_new(const struct pd_fields_writer *writer, const char *operation)
{
    struct pd_node *entry = pd_node_map_new();

    pd_node_set_string(entry, "manager", writer->manager);
    pd_node_set_string(entry, "operation", operation);
    pd_node_set_string(entry, "apiVersion", writer->api_version);
    pd_node_set(entry, "time", pd_kube_time(writer->wall_ms));
    pd_node_set_string(entry, "fieldsType", "FieldsV1");
    pd_node_set(entry, "fieldsV1", pd_node_map_new());
    return entry;
}

static void list_drop(struct pd_node *list, size_t index)
{
    pd_node_free(list->list.items[index]);
    list->list.count--;
    memmove(&list->list.items[index], &list->list.items[index + 1],
            (list->list.count - index) * sizeof(void *));
}

/* Nobody's fields are those of nobody; and there is an end to managers. */
static void tidy(struct pd_node *managed)
{
    for (size_t i = 0; i < managed->list.count;) {
        struct pd_node *fields = fields_of(managed->list.items[i]);
        if (!fields || is_leaf(fields))
            list_drop(managed, i);
        else
            i++;
    }
    while (managed->list.count > PD_FIELDS_MANAGERS_MAX)
        list_drop(managed, 0);
}

static struct pd_node *copy_or_empty(const struct pd_node *managed)
{
    return managed && managed->kind == PD_NODE_LIST ? pd_node_copy(managed) : pd_node_list_new();
}

bool pd_fields_are_valid(const struct pd_node *managed)
{
    if (!managed || managed->kind != PD_NODE_LIST || managed->list.count > PD_FIELDS_MANAGERS_MAX)
        return false;
    for (size_t i = 0; i < managed->list.count; i++) {
        const struct pd_node *entry = managed->list.items[i];
        if (!*text_of(entry, "manager") || !fields_of(entry) ||
            (strcmp(text_of(entry, "operation"), "Apply") != 0 &&
             strcmp(text_of(entry, "operation"), "Update") != 0))
            return false;
    }
    return true;
}

/* ---- update ---- */

struct pd_node *pd_fields_after_update(const struct pd_node *managed, const struct pd_node *before,
                                       const struct pd_node *after,
                                       const struct pd_fields_writer *writer)
{
    struct pd_node *result = copy_or_empty(managed);
    pd_autonode struct pd_node *all = set_of(after);
    pd_autonode struct pd_node *mine = changed(all, before, after);
    struct pd_node *entry;

    for (size_t i = 0; i < result->list.count; i++) {
        struct pd_node *fields = fields_of(result->list.items[i]);
        if (!fields)
            continue;
        subtract(fields, mine);
        drop_absent(fields, after);
    }
    if (!is_leaf(mine)) {
        entry = entry_by(result, writer->manager, "Update");
        if (!entry) {
            entry = entry_new(writer, "Update");
            pd_node_add(result, entry);
        }
        pd_node_set(entry, "time", pd_kube_time(writer->wall_ms));
        unite(fields_of(entry), mine);
    }
    tidy(result);
    return result;
}

/* ---- apply ---- */

static void merge(struct pd_node *tree, const struct pd_node *applied)
{
    for (size_t i = 0; i < applied->map.count; i++) {
        const struct pd_member *member = &applied->map.members[i];
        struct pd_node *own = pd_node_get(tree, member->key);
        if (own && own->kind == PD_NODE_MAP && member->value->kind == PD_NODE_MAP)
            merge(own, member->value);
        else
            pd_node_set(tree, member->key, pd_node_copy(member->value));
    }
}

struct pd_node *pd_fields_apply(const struct pd_node *managed, const struct pd_node *before,
                                const struct pd_node *applied, const char *manager)
{
    const struct pd_node *entry = entry_by(managed, manager, "Apply");
    struct pd_node *tree = before ? pd_node_copy(before) : pd_node_map_new();
    pd_autonode struct pd_node *now = set_of(applied);

    if (entry && fields_of(entry)) {
        pd_autonode struct pd_node *gone = pd_node_copy(fields_of(entry));
        subtract(gone, now);
        for (size_t i = 0; i < pd_node_count(managed); i++) {
            const struct pd_node *other = managed->list.items[i];
            if (other != entry && fields_of(other))
                subtract(gone, fields_of(other));
        }
        remove_fields(tree, gone);
    }
    merge(tree, applied);
    return tree;
}

/* Leaves in both sets. */
static struct pd_node *intersect(const struct pd_node *set, const struct pd_node *other)
{
    struct pd_node *result = pd_node_map_new();

    for (size_t i = 0; i < set->map.count; i++) {
        const struct pd_member *member = &set->map.members[i];
        const struct pd_node *in_other = pd_node_get(other, member->key);
        struct pd_node *part;
        if (!in_other)
            continue;
        part = is_leaf(member->value) || is_leaf(in_other) ? pd_node_map_new()
                                                           : intersect(member->value, in_other);
        if (is_leaf(part) && !is_leaf(member->value) && !is_leaf(in_other))
            pd_node_free(part);
        else
            pd_node_set(result, member->key, part);
    }
    return result;
}

/* What of this entry would be changed by the apply. */
static struct pd_node *contested(const struct pd_node *entry, const struct pd_node *mine,
                                 const struct pd_node *before, const struct pd_node *after)
{
    pd_autonode struct pd_node *both = intersect(fields_of(entry), mine);

    return changed(both, before, after);
}

static int conflict(const struct pd_node *entry, const struct pd_node *fields, struct pd_err *err)
{
    char path[PATH_BYTES];

    first_path(fields, path);
    return pd_err_set(err, PD_CONFLICT,
                      "Apply failed with 1 conflict: conflict with \"%.128s\": %s",
                      text_of(entry, "manager"), path);
}

int pd_fields_after_apply(const struct pd_node *managed, const struct pd_node *before,
                          const struct pd_node *applied, const struct pd_node *after, bool force,
                          const struct pd_fields_writer *writer, struct pd_node **ret_managed,
                          struct pd_err *err)
{
    pd_autonode struct pd_node *result = copy_or_empty(managed);
    struct pd_node *mine = set_of(applied), *entry = NULL;
    int rc = 0;

    for (size_t i = 0; i < result->list.count && rc == 0; i++) {
        struct pd_node *other = result->list.items[i];
        pd_autonode struct pd_node *fields = NULL;
        if (!fields_of(other))
            continue;
        if (is_by(other, writer->manager, "Apply")) {
            entry = other;
            continue;
        }
        fields = contested(other, mine, before, after);
        if (!is_leaf(fields) && !force)
            rc = conflict(other, fields, err);
        subtract(fields_of(other), fields);
        drop_absent(fields_of(other), after);
    }
    if (rc < 0) {
        pd_node_free(mine);
        return rc;
    }
    if (!entry) {
        entry = entry_new(writer, "Apply");
        pd_node_add(result, entry);
    }
    if (!pd_node_equal(fields_of(entry), mine) || (before && !pd_node_equal(before, after)))
        pd_node_set(entry, "time", pd_kube_time(writer->wall_ms));
    pd_node_set(entry, "fieldsV1", mine);
    tidy(result);
    *ret_managed = PD_STEAL(result);
    return 0;
}
