#include "cli/declared_record.h"

#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/node.h"
#include "common/problems.h"

int pd_declared_record_format(const struct pd_pool *pool, struct pd_buf *out, struct pd_err *err)
{
    pd_autonode struct pd_node *node = pd_node_map_new();

    pd_node_set(node, "manifest", pd_node_copy(pool->spec->node));
    pd_node_set_string(node, "source", pool->source);
    pd_node_set_string(node, "sourceError", pool->source_error);
    pd_node_set_string(node, "uid", pool->uid);
    pd_node_set_int(node, "generation", pool->generation);
    pd_node_set_int(node, "createdMs", pool->created_wall_ms);
    pd_node_set_int(node, "deletedMs", pool->deletion_wall_ms);
    return pd_json_format(node, out, err);
}

static int take_spec(const struct pd_schema *schema, enum pd_provider_kind default_provider,
                     const char *name, const struct pd_node *manifest,
                     struct pd_pool_spec **ret_spec, struct pd_err *err)
{
    struct pd_problems problems = {.count = 0};

    if (!manifest)
        return pd_err_set(err, PD_INVALID, "there is no manifest");
    if (pd_pool_spec_parse(schema, manifest, default_provider, ret_spec, &problems) < 0)
        return pd_problems_err(&problems, err);
    if (strcmp((*ret_spec)->name, name) == 0)
        return 0;
    pd_err_set(err, PD_INVALID, "the manifest is of '%s'", (*ret_spec)->name);
    pd_pool_spec_unref(*ret_spec);
    return PD_INVALID;
}

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

int pd_declared_record_parse(const struct pd_schema *schema, enum pd_provider_kind default_provider,
                             const char *name, const char *text, size_t len,
                             struct pd_declared_record *ret_record, struct pd_err *err)
{
    struct pd_declared_record record = {.spec = NULL};
    struct pd_pool_identity *identity = &record.identity;
    pd_autonode struct pd_node *node = NULL;

    if (len > PD_DECLARED_BYTES_MAX)
        return pd_err_set(err, PD_INVALID, "longer than %u KiB", PD_DECLARED_BYTES_MAX / 1024);
    if (pd_json_parse(text, len, &node, err) < 0)
        return err->kind;
    pd_strcpy(record.source, sizeof record.source, text_of(node, "source"));
    pd_strcpy(record.source_error, sizeof record.source_error, text_of(node, "sourceError"));
    pd_strcpy(identity->uid, sizeof identity->uid, text_of(node, "uid"));
    identity->generation = int_of(node, "generation");
    identity->created_wall_ms = int_of(node, "createdMs");
    identity->deletion_wall_ms = int_of(node, "deletedMs");
    if (!record.source[0] || strlen(identity->uid) != PD_UID_BYTES - 1 || identity->generation < 1)
        return pd_err_set(err, PD_INVALID, "source, uid or generation are missing");
    if (take_spec(schema, default_provider, name, pd_node_get(node, "manifest"), &record.spec,
                  err) < 0)
        return err->kind;
    *ret_record = record;
    return 0;
}

void pd_declared_record_fini(struct pd_declared_record *record)
{
    pd_pool_spec_unref(PD_STEAL(record->spec));
}
