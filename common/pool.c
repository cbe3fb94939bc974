#include "common/pool.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/pool_fields.h"
#include "common/quantity.h"
#include "common/yaml.h"

#define API_VERSION "paddock.dev/v1"
#define KIND "SandboxPool"
#define SHORT_FORM "sandbox" /* the member that tells it, and its only one */

/* ---- the schema ---- */

/* The CRD's one version. */
static struct pd_node *crd_schema(const struct pd_node *crd)
{
    const struct pd_node *versions = pd_node_at(crd, "spec", "versions", NULL);

    if (pd_node_count(versions) != 1 || versions->kind != PD_NODE_LIST)
        return NULL;
    return pd_node_at(versions->list.items[0], "schema", "openAPIV3Schema", NULL);
}

int pd_pool_schema_new(struct pd_schema **ret_schema, struct pd_err *err)
{
    pd_autonode struct pd_node *crd = NULL, *meta = NULL;
    struct pd_node *schema;
    int rc = pd_yaml_parse_asset("crds/sandboxpool.yaml", &crd, err);

    if (rc == 0)
        rc = pd_yaml_parse_asset("conf/schemas/objectmeta.yaml", &meta, err);
    if (rc < 0)
        return rc;
    schema = crd_schema(crd);
    if (!pd_node_get(schema, "properties"))
        return pd_err_set(err, PD_INTERNAL, "crds/sandboxpool.yaml has no schema");
    pd_node_set(pd_node_get(schema, "properties"), "metadata", PD_STEAL(meta));
    pd_node_add(pd_node_get(schema, "required"), pd_node_string_new("metadata"));
    return pd_schema_new(schema, ret_schema, err);
}

/* ---- the short form ---- */

/* A manifest under examination. */
struct form {
    bool is_short;
    struct pd_node *tree; /* a full manifest, whatever it came from */
    struct pd_problems *problems;
};

static const struct pd_pool_field *short_field(const char *name)
{
    const struct pd_pool_field *field;

    for (size_t i = 0; (field = pd_pool_field_at(i)); i++) {
        if (field->short_name && strcmp(field->short_name, name) == 0)
            return field;
    }
    return NULL;
}

static void report_unknown_short(const struct pd_member *member, struct pd_problems *problems)
{
    const char *names[8], *nearest;
    const struct pd_pool_field *field;
    char path[160], shown[PD_SHOWN_BYTES];
    size_t count = 0;

    for (size_t i = 0; (field = pd_pool_field_at(i)) && count < PD_COUNT(names); i++) {
        if (field->short_name)
            names[count++] = field->short_name;
    }
    nearest = pd_nearest(member->key, names, count);
    snprintf(path, sizeof path, SHORT_FORM ".%.100s",
             pd_shown(member->key, strlen(member->key), shown));
    pd_problems_add(problems, path, member->value->line,
                    nearest ? "is not known; did you mean %s?"
                            : "is not known here; a full SandboxPool can say more",
                    nearest);
}

/* The full manifest that a short one stands for, lines kept. */
static struct pd_node *expand(const struct pd_node *node, struct pd_problems *problems)
{
    const struct pd_node *sandbox = pd_node_get(node, SHORT_FORM);
    struct pd_node *tree = pd_node_map_new(), *spec;

    pd_node_set_string(tree, "apiVersion", API_VERSION);
    pd_node_set_string(tree, "kind", KIND);
    pd_node_set_string(pd_node_set(tree, "metadata", pd_node_map_new()), "name", "default");
    spec = pd_node_set(tree, "spec", pd_node_map_new());
    tree->line = node->line;
    spec->line = sandbox->line;
    for (size_t i = 0; i < node->map.count; i++) {
        if (strcmp(node->map.members[i].key, SHORT_FORM) != 0)
            pd_problems_add(problems, "", node->map.members[i].value->line,
                            "nothing may stand beside " SHORT_FORM);
    }
    if (sandbox->kind != PD_NODE_MAP) {
        pd_problems_add(problems, SHORT_FORM, sandbox->line, "must be a map");
        return tree;
    }
    for (size_t i = 0; i < sandbox->map.count; i++) {
        const struct pd_member *member = &sandbox->map.members[i];
        const struct pd_pool_field *field = short_field(member->key);
        if (field)
            pd_node_set(spec, field->path, pd_node_copy(member->value));
        else
            report_unknown_short(member, problems);
    }
    return tree;
}

/* How this form calls a field: "spec.minSize", "sandbox.min_size". */
static const char *label(const struct form *form, const struct pd_pool_field *field, char *out,
                         size_t out_bytes)
{
    if (form->is_short && field->short_name)
        snprintf(out, out_bytes, SHORT_FORM ".%s", field->short_name);
    else
        snprintf(out, out_bytes, "spec.%s", field->path);
    return out;
}

/* Problems from the `first` on speak of the expanded form; say what was written. */
static void relabel(const struct form *form, size_t first)
{
    const struct pd_pool_field *field;

    for (size_t i = first; form->is_short && i < form->problems->count; i++) {
        struct pd_problem *problem = &form->problems->items[i];
        for (size_t j = 0; (field = pd_pool_field_at(j)); j++) {
            if (field->short_name && strncmp(problem->path, "spec.", 5) == 0 &&
                strcmp(problem->path + 5, field->path) == 0)
                label(form, field, problem->path, sizeof problem->path);
        }
    }
}

/* ---- what no single field tells ---- */

static const struct pd_pool_field *field_find(const char *path)
{
    const struct pd_pool_field *field;

    for (size_t i = 0; (field = pd_pool_field_at(i)); i++) {
        if (strcmp(field->path, path) == 0)
            return field;
    }
    assert(false);
    return NULL;
}

/* Of the field, or where it was defaulted of the other one. */
static int line_of(const struct form *form, const struct pd_pool_field *field,
                   const struct pd_pool_field *other)
{
    const struct pd_node *spec = pd_node_get(form->tree, "spec");
    const struct pd_node *node = pd_pool_field_node(spec, field);

    if ((!node || node->line == 0) && other)
        node = pd_pool_field_node(spec, other);
    return node && node->line ? node->line : spec->line;
}

static void check_at_most(const struct form *form, const char *path, int64_t value,
                          const char *other_path, int64_t other_value)
{
    const struct pd_pool_field *field = field_find(path), *other = field_find(other_path);
    char name[96], other_name[96], shown[48], other_shown[48];

    if (value <= other_value)
        return;
    if (field->kind == PD_FIELD_DURATION) {
        pd_duration_format(value, shown, sizeof shown);
        pd_duration_format(other_value, other_shown, sizeof other_shown);
    } else {
        snprintf(shown, sizeof shown, "%lld", (long long)value);
        snprintf(other_shown, sizeof other_shown, "%lld", (long long)other_value);
    }
    pd_problems_add(form->problems, label(form, field, name, sizeof name),
                    line_of(form, field, other), "must be <= %s (%s), got %s",
                    label(form, other, other_name, sizeof other_name), other_shown, shown);
}

static void check_field(const struct form *form, const char *path, bool is_right, const char *text)
{
    const struct pd_pool_field *field = field_find(path);
    char name[96];

    if (!is_right)
        pd_problems_add(form->problems, label(form, field, name, sizeof name),
                        line_of(form, field, NULL), "%s", text);
}

static void spec_check(const struct form *form, const struct pd_pool_spec *spec)
{
    bool rolls = spec->update.type == PD_UPDATE_ROLLING;

    check_at_most(form, "minSize", spec->min_size, "maxSize", spec->max_size);
    check_at_most(form, "targetIdle", spec->target_idle, "maxSize", spec->max_size);
    check_at_most(form, "run.timeout", spec->run.timeout_ms, "run.maxTimeout",
                  spec->run.max_timeout_ms);
    check_field(form, "updateStrategy.maxUnavailable",
                !rolls || spec->update.max_surge > 0 || spec->update.max_unavailable > 0,
                "must be > 0 when updateStrategy.maxSurge is 0: nothing could be replaced");
    check_field(form, "runtime", spec->provider != PD_PROVIDER_ECS || !*spec->runtime,
                "must be empty with provider ecs, which chooses the runtime itself");
}

/* ---- parsing ---- */

static void check_identity(const struct form *form, const char *key, const char *wanted)
{
    struct pd_node *node = pd_node_get(form->tree, key);
    bool is_text = node && node->kind == PD_NODE_STRING;

    if (is_text && strcmp(node->string.text, wanted) == 0)
        return;
    pd_problems_add(form->problems, key, node ? node->line : form->tree->line, "must be %s",
                    wanted);
}

/* The defaults that depend on more than the schema knows. */
static void complete(struct pd_node *spec, enum pd_provider_kind default_provider)
{
    const char *provider = pd_provider_kind_name(default_provider);

    provider = pd_node_text(pd_node_get(spec, "provider"), provider);
    if (!pd_node_get(spec, "isolation"))
        pd_node_set_string(spec, "isolation", strcmp(provider, "ecs") == 0 ? "uid" : "cell");
    if (!pd_node_get(spec, "provider"))
        pd_node_set_string(spec, "provider", provider);
}

static struct pd_node *canonical(const struct pd_node *tree, const struct pd_pool_spec *spec)
{
    static const char *const kept[] = {"namespace", "labels", "annotations"};
    const struct pd_node *from = pd_node_get(tree, "metadata");
    struct pd_node *node = pd_node_map_new(), *metadata = pd_node_map_new();

    pd_node_set_string(node, "apiVersion", API_VERSION);
    pd_node_set_string(node, "kind", KIND);
    pd_node_set(node, "metadata", metadata);
    pd_node_set_string(metadata, "name", spec->name);
    for (size_t i = 0; i < PD_COUNT(kept); i++) {
        const struct pd_node *value = pd_node_get(from, kept[i]);
        if (value)
            pd_node_set(metadata, kept[i], pd_node_copy(value));
    }
    pd_node_set(node, "spec", pd_pool_fields_encode(spec));
    return node;
}

static int parse_form(const struct form *form, const struct pd_schema *schema,
                      enum pd_provider_kind default_provider, struct pd_pool_spec *spec)
{
    size_t first = form->problems->count, before = first + form->problems->dropped;

    if (form->tree->kind == PD_NODE_MAP) {
        check_identity(form, "apiVersion", API_VERSION);
        check_identity(form, "kind", KIND);
    }
    if (pd_schema_apply(schema, form->tree, form->problems) < 0 ||
        form->problems->count + form->problems->dropped > before) {
        relabel(form, first);
        return PD_INVALID;
    }
    complete(pd_node_get(form->tree, "spec"), default_provider);
    pd_strcpy(spec->name, sizeof spec->name,
              pd_node_text(pd_node_at(form->tree, "metadata", "name", NULL), ""));
    pd_pool_fields_decode(pd_node_get(form->tree, "spec"), spec);
    spec_check(form, spec);
    if (form->problems->count + form->problems->dropped > before)
        return PD_INVALID;
    pd_pool_fields_hash(spec);
    spec->node = canonical(form->tree, spec);
    return 0;
}

int pd_pool_spec_parse(const struct pd_schema *schema, const struct pd_node *node,
                       enum pd_provider_kind default_provider, struct pd_pool_spec **ret_spec,
                       struct pd_problems *problems)
{
    struct form form = {.problems = problems};
    struct pd_pool_spec *spec = PD_NEW(struct pd_pool_spec);
    size_t before = problems->count + problems->dropped;
    int rc;

    spec->refs = 1;
    form.is_short = pd_pool_is_short_form(node);
    form.tree = form.is_short ? expand(node, problems) : pd_node_copy(node);
    rc = parse_form(&form, schema, default_provider, spec);
    pd_node_free(form.tree);
    if (rc < 0 || problems->count + problems->dropped > before) {
        pd_pool_spec_unref(spec);
        return PD_INVALID;
    }
    *ret_spec = spec;
    return 0;
}

bool pd_pool_is_short_form(const struct pd_node *node)
{
    return pd_node_get(node, SHORT_FORM) && !pd_node_get(node, "kind");
}

struct pd_pool_spec *pd_pool_spec_ref(struct pd_pool_spec *spec)
{
    spec->refs++;
    return spec;
}

void pd_pool_spec_unref(struct pd_pool_spec *spec)
{
    if (!spec || --spec->refs > 0)
        return;
    pd_pool_fields_fini(spec);
    pd_node_free(spec->node);
    free(spec);
}

bool pd_pool_spec_has_language(const struct pd_pool_spec *spec, const char *name)
{
    for (size_t i = 0; i < spec->languages.count; i++) {
        if (strcmp(spec->languages.items[i], name) == 0)
            return true;
    }
    return spec->languages.count == 0;
}
