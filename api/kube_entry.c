#include "api/kube_entry.h"

#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/pool_status.h"
#include "common/problems.h"

static const char *const prefixes[PD_ENTRY_KINDS] = {
    [PD_ENTRY_API] = "api",         [PD_ENTRY_POOL] = "pool",   [PD_ENTRY_STATUS] = "status",
    [PD_ENTRY_SANDBOX] = "sandbox", [PD_ENTRY_EVENT] = "event",
};

/* ---- fields ---- */

void pd_kube_entry_field(enum pd_kube_entry_kind kind, const char *name,
                         char out[static PD_KUBE_FIELD_BYTES])
{
    snprintf(out, PD_KUBE_FIELD_BYTES, "%s/%s", prefixes[kind], name);
}

static bool is_of_pool(enum pd_kube_entry_kind kind)
{
    return kind == PD_ENTRY_API || kind == PD_ENTRY_POOL || kind == PD_ENTRY_STATUS;
}

int pd_kube_entry_field_parse(const char *field, size_t len, struct pd_kube_entry *ret_entry,
                              struct pd_err *err)
{
    const char *slash = memchr(field, '/', len);
    size_t prefix = slash ? (size_t)(slash - field) : 0;
    size_t name = slash ? len - prefix - 1 : 0;

    if (name == 0 || memchr(field, '\0', len))
        return pd_err_set(err, PD_INVALID, "no KIND/NAME");
    for (int i = 0; i < PD_ENTRY_KINDS; i++) {
        size_t max = is_of_pool((enum pd_kube_entry_kind)i) ? PD_POOL_NAME_MAX : PD_KUBE_NAME_BYTES;
        if (strlen(prefixes[i]) != prefix || memcmp(prefixes[i], field, prefix) != 0)
            continue;
        if (name >= max)
            return pd_err_set(err, PD_INVALID, "a name of %zu bytes", name);
        *ret_entry = (struct pd_kube_entry){.kind = (enum pd_kube_entry_kind)i};
        memcpy(ret_entry->name, slash + 1, name);
        return 0;
    }
    return pd_err_set(err, PD_INVALID, "unknown kind");
}

/* ---- reading ---- */

/* Redis says anything: a member of another kind is one that is missing. */
static const char *text_of(const struct pd_node *node, const char *name)
{
    const struct pd_node *member = pd_node_get(node, name);

    return member && member->kind == PD_NODE_STRING ? member->string.text : "";
}

static int64_t int_of(const struct pd_node *node, const char *name)
{
    const struct pd_node *member = pd_node_get(node, name);

    return member && member->kind == PD_NODE_INT ? member->integer : 0;
}

static int check_object(const struct pd_kube_entry *entry, struct pd_err *err)
{
    const struct pd_node *metadata;

    if (!entry->object || entry->object->kind != PD_NODE_MAP)
        return pd_err_set(err, PD_INVALID, "there is no object");
    if (entry->kind == PD_ENTRY_STATUS)
        return 0;
    metadata = pd_node_get(entry->object, "metadata");
    if (!metadata || metadata->kind != PD_NODE_MAP ||
        strcmp(text_of(metadata, "name"), entry->name) != 0)
        return pd_err_set(err, PD_INVALID, "the object is not of that name");
    return 0;
}

static int check(const struct pd_kube_entry *entry, struct pd_err *err)
{
    const struct pd_pool_identity *identity = &entry->identity;

    if (check_object(entry, err) < 0)
        return PD_INVALID;
    if (entry->kind != PD_ENTRY_API && entry->kind != PD_ENTRY_POOL)
        return 0;
    if (!entry->source[0] || strlen(identity->uid) != PD_UID_BYTES - 1 ||
        identity->generation < 1 || identity->created_wall_ms < 0 || identity->deletion_wall_ms < 0)
        return pd_err_set(err, PD_INVALID, "source, uid or generation are missing");
    return 0;
}

int pd_kube_entry_parse(const char *field, size_t field_len, const char *text, size_t len,
                        struct pd_kube_entry *ret_entry, struct pd_err *err)
{
    pd_autonode struct pd_node *node = NULL;
    struct pd_kube_entry entry;
    const struct pd_node *object;

    if (pd_kube_entry_field_parse(field, field_len, &entry, err) < 0)
        return PD_INVALID;
    if (len > PD_KUBE_ENTRY_BYTES_MAX)
        return pd_err_set(err, PD_INVALID, "longer than %u KiB", PD_KUBE_ENTRY_BYTES_MAX / 1024);
    if (pd_json_parse(text, len, &node, err) < 0)
        return PD_INVALID;
    pd_strcpy(entry.pool, sizeof entry.pool, text_of(node, "pool"));
    pd_strcpy(entry.owner, sizeof entry.owner, text_of(node, "owner"));
    pd_strcpy(entry.source, sizeof entry.source, text_of(node, "source"));
    pd_strcpy(entry.identity.uid, sizeof entry.identity.uid, text_of(node, "uid"));
    entry.identity.generation = int_of(node, "generation");
    entry.identity.created_wall_ms = int_of(node, "createdMs");
    entry.identity.deletion_wall_ms = int_of(node, "deletedMs");
    object = pd_node_get(node, "object");
    entry.object = object ? pd_node_copy(object) : NULL;
    if (check(&entry, err) < 0) {
        pd_kube_entry_fini(&entry);
        return PD_INVALID;
    }
    *ret_entry = entry;
    return 0;
}

void pd_kube_entry_fini(struct pd_kube_entry *entry)
{
    pd_node_free(PD_STEAL(entry->object));
}

int pd_kube_entry_spec(const struct pd_kube_entry *entry, const struct pd_schema *schema,
                       enum pd_provider_kind default_provider, struct pd_pool_spec **ret_spec,
                       struct pd_err *err)
{
    static const char *const kept[] = {"name", "labels", "annotations"};
    pd_autonode struct pd_node *manifest = pd_node_copy(entry->object);
    const struct pd_node *from = pd_node_get(entry->object, "metadata");
    struct pd_node *metadata = pd_node_map_new();
    struct pd_problems problems = {.count = 0};

    for (size_t i = 0; i < PD_COUNT(kept); i++) {
        const struct pd_node *value = pd_node_get(from, kept[i]);
        if (value)
            pd_node_set(metadata, kept[i], pd_node_copy(value));
    }
    pd_node_set_string(metadata, "namespace", "default");
    pd_node_set(manifest, "metadata", metadata);
    if (pd_pool_is_short_form(manifest))
        return pd_err_set(err, PD_INVALID, "a pool is no `sandbox:`");
    if (pd_pool_spec_parse(schema, manifest, default_provider, ret_spec, &problems) < 0)
        return pd_problems_err(&problems, err);
    return 0;
}

/* ---- writing ---- */

int pd_kube_entry_format(const struct pd_kube_entry *entry, struct pd_buf *out, struct pd_err *err)
{
    pd_autonode struct pd_node *node = pd_node_map_new();

    pd_node_set(node, "object", pd_node_copy(entry->object));
    if (entry->pool[0])
        pd_node_set_string(node, "pool", entry->pool);
    if (entry->owner[0])
        pd_node_set_string(node, "owner", entry->owner);
    if (entry->kind == PD_ENTRY_API || entry->kind == PD_ENTRY_POOL) {
        pd_node_set_string(node, "source", entry->source);
        pd_node_set_string(node, "uid", entry->identity.uid);
        pd_node_set_int(node, "generation", entry->identity.generation);
        pd_node_set_int(node, "createdMs", entry->identity.created_wall_ms);
        pd_node_set_int(node, "deletedMs", entry->identity.deletion_wall_ms);
    }
    return pd_json_format(node, out, err);
}

void pd_kube_entry_of_pool(const struct pd_pool *pool, const struct pd_node *managed_fields,
                           struct pd_kube_entry *ret_entry)
{
    bool is_ours = strcmp(pool->source, "api") == 0;
    struct pd_kube_entry entry = {.kind = is_ours ? PD_ENTRY_API : PD_ENTRY_POOL};

    pd_strcpy(entry.name, sizeof entry.name, pool->spec->name);
    pd_strcpy(entry.source, sizeof entry.source, pool->source);
    pd_strcpy(entry.identity.uid, sizeof entry.identity.uid, pool->uid);
    entry.identity.generation = pool->generation;
    entry.identity.created_wall_ms = pool->created_wall_ms;
    entry.identity.deletion_wall_ms = pool->deletion_wall_ms;
    entry.object = pd_kube_pool_object(pool, managed_fields);
    pd_node_remove(pd_node_get(entry.object, "metadata"), "resourceVersion");
    pd_node_remove(entry.object, "status");
    *ret_entry = entry;
}

void pd_kube_entry_of_status(const struct pd_pool *pool, struct pd_kube_entry *ret_entry)
{
    struct pd_kube_entry entry = {.kind = PD_ENTRY_STATUS};

    pd_strcpy(entry.name, sizeof entry.name, pool->spec->name);
    entry.object = pd_pool_status_encode(pool);
    *ret_entry = entry;
}

void pd_kube_entry_of_member(enum pd_kube_entry_kind kind, const char *name, const char *pool,
                             const char *owner, struct pd_node *object,
                             struct pd_kube_entry *ret_entry)
{
    struct pd_kube_entry entry = {.kind = kind, .object = object};

    pd_strcpy(entry.name, sizeof entry.name, name);
    pd_strcpy(entry.pool, sizeof entry.pool, pool);
    pd_strcpy(entry.owner, sizeof entry.owner, owner);
    pd_node_remove(pd_node_get(object, "metadata"), "resourceVersion");
    *ret_entry = entry;
}
