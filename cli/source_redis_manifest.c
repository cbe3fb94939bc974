/* The text of one field as a pool's spec. */
#include <string.h>

#include "cli/source_redis.h"
#include "common/mem.h"
#include "common/yaml.h"

/* The field's name is the pool's, so that the manifest need not repeat it. */
static void set_name(struct pd_node *manifest, const char *name)
{
    struct pd_node *metadata;

    if (manifest->kind != PD_NODE_MAP || pd_pool_is_short_form(manifest))
        return;
    metadata = pd_node_get(manifest, "metadata");
    if (!metadata)
        metadata = pd_node_set(manifest, "metadata", pd_node_map_new());
    if (metadata->kind == PD_NODE_MAP && !pd_node_get(metadata, "name"))
        pd_node_set_string(metadata, "name", name);
}

static int parse_node(const struct pd_schema *schema, const char *name, struct pd_node *manifest,
                      enum pd_provider_kind default_provider, struct pd_pool_spec **ret_spec,
                      struct pd_err *err)
{
    struct pd_problems problems = {.count = 0};
    struct pd_pool_spec *spec;

    set_name(manifest, name);
    if (pd_pool_spec_parse(schema, manifest, default_provider, &spec, &problems) < 0)
        return pd_problems_err(&problems, err);
    if (strcmp(spec->name, name) != 0) {
        pd_err_set(err, PD_INVALID, "metadata.name: must be '%.64s', as the field, got '%s'", name,
                   spec->name);
        pd_pool_spec_unref(spec);
        return PD_INVALID;
    }
    *ret_spec = spec;
    return 0;
}

static int parse_text(const struct pd_schema *schema, const char *name, const char *text,
                      size_t len, enum pd_provider_kind default_provider,
                      struct pd_pool_spec **ret_spec, struct pd_err *err)
{
    pd_autonode struct pd_node *documents = NULL;

    if (len > PD_YAML_BYTES_MAX)
        return pd_err_set(err, PD_INVALID, "longer than %u KiB", PD_YAML_BYTES_MAX / 1024);
    if (pd_yaml_parse_all(text, len, &documents, err) < 0)
        return err->kind;
    if (documents->list.count != 1)
        return pd_err_set(err, PD_INVALID, "must be one manifest, got %zu", documents->list.count);
    return parse_node(schema, name, documents->list.items[0], default_provider, ret_spec, err);
}

int pd_source_redis_parse(const struct pd_schema *schema, const char *name, const char *text,
                          size_t len, enum pd_provider_kind default_provider,
                          struct pd_pool_spec **ret_spec, struct pd_err *err)
{
    struct pd_err why;

    if (parse_text(schema, name, text, len, default_provider, ret_spec, &why) == 0)
        return 0;
    return pd_err_set(err, PD_INVALID, PD_SOURCE_REDIS_KEY " '%.64s': %s", name, why.msg);
}
