/* A schema's tree becomes struct pd_schema nodes (schema_rules.h) by one table
 * of keywords: what it is called, how it is read, where it goes. What is not in
 * the table is refused, so that no rule is ever believed in and not enforced. */
#include "common/schema.h"

#include <string.h>

#include "common/mem.h"
#include "common/quantity.h"
#include "common/schema_rules.h"
#include "common/yaml.h"

#define SCHEMA_DEPTH_MAX 32
#define BOUND_BYTES 40

/* ---- compiling ---- */

struct keyword {
    const char *name;
    int (*read)(struct pd_schema *schema, const struct keyword *keyword,
                const struct pd_node *value, struct pd_err *err);
    size_t offset; /* in struct pd_schema, for those readers that are general */
};

static int compile(const struct pd_node *node, int depth, struct pd_schema **ret_schema,
                   struct pd_err *err);

static void *slot_of(struct pd_schema *schema, const struct keyword *keyword)
{
    return (char *)schema + keyword->offset;
}

static int bad_value(const struct keyword *keyword, const struct pd_node *value, struct pd_err *err)
{
    return pd_err_set(err, PD_INVALID, "schema: %s: value not understood (line %d)", keyword->name,
                      value->line);
}

static int read_nothing(struct pd_schema *schema, const struct keyword *keyword,
                        const struct pd_node *value, struct pd_err *err)
{
    (void)schema, (void)keyword, (void)value, (void)err;
    return 0;
}

static int read_flag(struct pd_schema *schema, const struct keyword *keyword,
                     const struct pd_node *value, struct pd_err *err)
{
    if (value->kind != PD_NODE_BOOL)
        return bad_value(keyword, value, err);
    *(bool *)slot_of(schema, keyword) = value->boolean;
    return 0;
}

static int read_count(struct pd_schema *schema, const struct keyword *keyword,
                      const struct pd_node *value, struct pd_err *err)
{
    if (value->kind != PD_NODE_INT || value->integer < 0)
        return bad_value(keyword, value, err);
    *(int64_t *)slot_of(schema, keyword) = value->integer;
    return 0;
}

static int read_limit(struct pd_schema *schema, const struct keyword *keyword,
                      const struct pd_node *value, struct pd_err *err)
{
    struct pd_schema_limit *limit = slot_of(schema, keyword);

    if (value->kind != PD_NODE_INT && value->kind != PD_NODE_NUMBER)
        return bad_value(keyword, value, err);
    limit->set = true;
    limit->value = pd_node_number(value, 0);
    return 0;
}

static int read_exclusive(struct pd_schema *schema, const struct keyword *keyword,
                          const struct pd_node *value, struct pd_err *err)
{
    struct pd_schema_limit *limit = slot_of(schema, keyword);

    if (value->kind != PD_NODE_BOOL) {
        limit->exclusive = true;
        return read_limit(schema, keyword, value, err);
    }
    limit->exclusive = value->boolean;
    return 0;
}

static int read_node(struct pd_schema *schema, const struct keyword *keyword,
                     const struct pd_node *value, struct pd_err *err)
{
    (void)err;
    *(const struct pd_node **)slot_of(schema, keyword) = value;
    return 0;
}

static int read_enum(struct pd_schema *schema, const struct keyword *keyword,
                     const struct pd_node *value, struct pd_err *err)
{
    if (value->kind != PD_NODE_LIST || value->list.count == 0)
        return bad_value(keyword, value, err);
    schema->choices = value;
    return 0;
}

static int read_schema(struct pd_schema *schema, const struct keyword *keyword,
                       const struct pd_node *value, struct pd_err *err)
{
    (void)schema, (void)keyword, (void)value, (void)err;
    return 0; /* compile_children does it, which knows the depth */
}

static int index_of(const struct pd_node *value, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (value->kind == PD_NODE_STRING && strcmp(value->string.text, names[i]) == 0)
            return (int)i;
    }
    return -1;
}

static const char *const type_names[] = {"any",     "object", "array",  "string",
                                         "integer", "number", "boolean"};

static int read_type(struct pd_schema *schema, const struct keyword *keyword,
                     const struct pd_node *value, struct pd_err *err)
{
    int type = index_of(value, type_names, PD_COUNT(type_names));

    if (type <= 0)
        return bad_value(keyword, value, err);
    schema->type = (enum pd_schema_type)type;
    return 0;
}

static int read_format(struct pd_schema *schema, const struct keyword *keyword,
                       const struct pd_node *value, struct pd_err *err)
{
    static const char *const names[] = {"", "quantity", "duration"};
    int format = index_of(value, names, PD_COUNT(names));

    (void)keyword, (void)err;
    schema->format = format < 0 ? PD_FORMAT_OTHER : (enum pd_schema_format)format;
    return 0;
}

static int read_list_type(struct pd_schema *schema, const struct keyword *keyword,
                          const struct pd_node *value, struct pd_err *err)
{
    static const char *const names[] = {"atomic", "set", "map"};
    int type = index_of(value, names, PD_COUNT(names));

    if (type < 0)
        return bad_value(keyword, value, err);
    schema->is_set = type == 1;
    return 0;
}

static int read_pattern(struct pd_schema *schema, const struct keyword *keyword,
                        const struct pd_node *value, struct pd_err *err)
{
    if (value->kind != PD_NODE_STRING || schema->has_pattern ||
        regcomp(&schema->pattern, value->string.text, REG_EXTENDED | REG_NOSUB) != 0)
        return bad_value(keyword, value, err);
    schema->has_pattern = true;
    schema->pattern_text = value->string.text;
    return 0;
}

/* The rules of x-kubernetes-validations that are bounds; see schema.h. */
static const struct {
    const char *before, *after;
    enum pd_schema_format format;
    bool is_min;
} bound_forms[] = {
    {"duration(self) >= duration('", "')", PD_FORMAT_DURATION, true},
    {"duration(self) <= duration('", "')", PD_FORMAT_DURATION, false},
    {"quantity(string(self)).compareTo(quantity('", "')) >= 0", PD_FORMAT_QUANTITY, true},
    {"quantity(string(self)).compareTo(quantity('", "')) <= 0", PD_FORMAT_QUANTITY, false},
};

static int read_bound(struct pd_schema *schema, const char *rule)
{
    for (size_t i = 0; i < PD_COUNT(bound_forms); i++) {
        size_t before = strlen(bound_forms[i].before);
        struct pd_schema_limit *limit = bound_forms[i].is_min ? &schema->min : &schema->max;
        const char *value = rule + before, *end;
        char text[BOUND_BYTES] = "";
        if (strncmp(rule, bound_forms[i].before, before) != 0)
            continue;
        end = strchr(value, '\'');
        if (!end || strcmp(end, bound_forms[i].after) != 0 || (size_t)(end - value) >= sizeof text)
            continue;
        memcpy(text, value, (size_t)(end - value));
        limit->set = true;
        limit->text = value; /* up to the quote */
        return pd_schema_amount(bound_forms[i].format, text, &limit->value, NULL);
    }
    return PD_INVALID;
}

static int read_rules(struct pd_schema *schema, const struct keyword *keyword,
                      const struct pd_node *value, struct pd_err *err)
{
    if (value->kind != PD_NODE_LIST)
        return bad_value(keyword, value, err);
    for (size_t i = 0; i < value->list.count; i++) {
        const struct pd_node *rule = pd_node_get(value->list.items[i], "rule");
        if (!rule || rule->kind != PD_NODE_STRING || read_bound(schema, rule->string.text) < 0)
            return bad_value(keyword, value->list.items[i], err);
    }
    return 0;
}

#define AT(member) offsetof(struct pd_schema, member)
static const struct keyword keywords[] = {
    {"type", read_type, 0},
    {"format", read_format, 0},
    {"nullable", read_flag, AT(nullable)},
    {"default", read_node, AT(default_value)},
    {"enum", read_enum, 0},
    {"minimum", read_limit, AT(min)},
    {"maximum", read_limit, AT(max)},
    {"exclusiveMinimum", read_exclusive, AT(min)},
    {"exclusiveMaximum", read_exclusive, AT(max)},
    {"minLength", read_count, AT(min_length)},
    {"maxLength", read_count, AT(max_length)},
    {"pattern", read_pattern, 0},
    {"minItems", read_count, AT(min_items)},
    {"maxItems", read_count, AT(max_items)},
    {"minProperties", read_count, AT(min_properties)},
    {"maxProperties", read_count, AT(max_properties)},
    {"items", read_schema, 0},
    {"properties", read_schema, 0},
    {"required", read_schema, 0},
    {"additionalProperties", read_schema, 0},
    {"propertyNames", read_schema, 0},
    {"x-kubernetes-int-or-string", read_flag, AT(int_or_string)},
    {"x-kubernetes-preserve-unknown-fields", read_flag, AT(preserve_unknown)},
    {"x-kubernetes-list-type", read_list_type, 0},
    {"x-kubernetes-validations", read_rules, 0},
    {"x-paddock-nul", read_flag, AT(nul)},
    {"title", read_nothing, 0},
    {"description", read_nothing, 0},
    {"example", read_nothing, 0},
    {"deprecated", read_nothing, 0},
    {"x-kubernetes-map-type", read_nothing, 0},
    {"x-kubernetes-list-map-keys", read_nothing, 0},
};

static int compile_keyword(struct pd_schema *schema, const struct pd_member *member,
                           struct pd_err *err)
{
    for (size_t i = 0; i < PD_COUNT(keywords); i++) {
        if (strcmp(keywords[i].name, member->key) == 0)
            return keywords[i].read(schema, &keywords[i], member->value, err);
    }
    return pd_err_set(err, PD_INVALID, "schema: keyword %s is not known (line %d)", member->key,
                      member->value->line);
}

static int compile_properties(struct pd_schema *schema, int depth, struct pd_err *err)
{
    const struct pd_node *map = pd_node_get(schema->node, "properties");
    size_t count = pd_node_count(map);

    if (map && map->kind != PD_NODE_MAP)
        return pd_err_set(err, PD_INVALID, "schema: properties must be a map (line %d)", map->line);
    schema->properties = pd_calloc(count, sizeof *schema->properties);
    for (; schema->n_properties < count; schema->n_properties++) {
        const struct pd_member *member = &map->map.members[schema->n_properties];
        struct pd_schema_property *property = &schema->properties[schema->n_properties];
        int rc = compile(member->value, depth, &property->schema, err);
        if (rc < 0)
            return pd_err_wrap(err, "%s", member->key);
        property->name = member->key;
    }
    return 0;
}

struct pd_schema_property *pd_schema_property_find(const struct pd_schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->n_properties; i++) {
        if (strcmp(schema->properties[i].name, name) == 0)
            return &schema->properties[i];
    }
    return NULL;
}

static int compile_required(struct pd_schema *schema, struct pd_err *err)
{
    const struct pd_node *list = pd_node_get(schema->node, "required");

    if (list && list->kind != PD_NODE_LIST)
        return pd_err_set(err, PD_INVALID, "schema: required must be a list (line %d)", list->line);
    for (size_t i = 0; i < pd_node_count(list); i++) {
        const struct pd_node *name = list->list.items[i];
        struct pd_schema_property *property = NULL;
        if (name->kind == PD_NODE_STRING)
            property = pd_schema_property_find(schema, name->string.text);
        if (!property)
            return pd_err_set(err, PD_INVALID, "schema: required: no such property (line %d)",
                              name->line);
        property->required = true;
    }
    return 0;
}

static int compile_child(const struct pd_schema *schema, const char *key, int depth,
                         struct pd_schema **ret_child, struct pd_err *err)
{
    const struct pd_node *node = pd_node_get(schema->node, key);

    if (!node || (node->kind == PD_NODE_BOOL && !node->boolean))
        return 0;
    if (compile(node, depth, ret_child, err) < 0)
        return pd_err_wrap(err, "%s", key);
    return 0;
}

static int compile_children(struct pd_schema *schema, int depth, struct pd_err *err)
{
    int rc = compile_properties(schema, depth, err);

    if (rc == 0)
        rc = compile_required(schema, err);
    if (rc == 0)
        rc = compile_child(schema, "items", depth, &schema->items, err);
    if (rc == 0)
        rc = compile_child(schema, "additionalProperties", depth, &schema->additional, err);
    if (rc == 0)
        rc = compile_child(schema, "propertyNames", depth, &schema->names, err);
    return rc;
}

/* Which keywords do not go together. */
static int compile_check(const struct pd_schema *schema, struct pd_err *err)
{
    int line = schema->node->line;

    if (schema->has_pattern && schema->max_length < 0)
        return pd_err_set(err, PD_INVALID, "schema: a pattern needs a maxLength (line %d)", line);
    if (schema->type == PD_TYPE_ANY && !schema->int_or_string && !schema->preserve_unknown)
        return pd_err_set(err, PD_INVALID, "schema: a type is needed (line %d)", line);
    if (schema->type == PD_TYPE_ARRAY && !schema->items)
        return pd_err_set(err, PD_INVALID, "schema: an array needs items (line %d)", line);
    if (schema->is_set && schema->max_items < 0)
        return pd_err_set(err, PD_INVALID, "schema: a set needs maxItems (line %d)", line);
    return 0;
}

static int compile_into(struct pd_schema *schema, int depth, struct pd_err *err)
{
    const struct pd_node *node = schema->node;
    int rc = 0;

    if (node->kind != PD_NODE_MAP)
        return pd_err_set(err, PD_INVALID, "schema: must be a map (line %d)", node->line);
    if (depth > SCHEMA_DEPTH_MAX)
        return pd_err_set(err, PD_LIMIT, "schema: deeper than %d levels", SCHEMA_DEPTH_MAX);
    for (size_t i = 0; i < node->map.count && rc == 0; i++)
        rc = compile_keyword(schema, &node->map.members[i], err);
    if (rc == 0)
        rc = compile_children(schema, depth + 1, err);
    if (rc == 0)
        rc = compile_check(schema, err);
    return rc;
}

static int compile(const struct pd_node *node, int depth, struct pd_schema **ret_schema,
                   struct pd_err *err)
{
    struct pd_schema *schema = PD_NEW(struct pd_schema);
    int rc;

    schema->node = node;
    schema->min_length = schema->max_length = -1;
    schema->min_items = schema->max_items = -1;
    schema->min_properties = schema->max_properties = -1;
    rc = compile_into(schema, depth, err);
    if (rc < 0)
        pd_schema_free(schema);
    else
        *ret_schema = schema;
    return rc;
}

int pd_schema_new(const struct pd_node *node, struct pd_schema **ret_schema, struct pd_err *err)
{
    struct pd_node *copy = pd_node_copy(node);
    struct pd_schema *schema;
    int rc = compile(copy, 0, &schema, err);

    if (rc < 0) {
        pd_node_free(copy);
        return rc;
    }
    schema->owned = copy;
    *ret_schema = schema;
    return 0;
}

int pd_schema_new_asset(const char *name, struct pd_schema **ret_schema, struct pd_err *err)
{
    pd_autonode struct pd_node *node = NULL;
    int rc = pd_yaml_parse_asset(name, &node, err);

    if (rc == 0)
        rc = pd_schema_new(node, ret_schema, err);
    return rc < 0 ? pd_err_wrap(err, "%s", name) : 0;
}

void pd_schema_free(struct pd_schema *schema)
{
    if (!schema)
        return;
    for (size_t i = 0; schema->properties && i < schema->n_properties; i++)
        pd_schema_free(schema->properties[i].schema);
    free(schema->properties);
    pd_schema_free(schema->items);
    pd_schema_free(schema->additional);
    pd_schema_free(schema->names);
    if (schema->has_pattern)
        regfree(&schema->pattern);
    pd_node_free(schema->owned);
    free(schema);
}

const struct pd_node *pd_schema_node(const struct pd_schema *schema)
{
    return schema->node;
}
