/* The walk of a schema and a tree together. The path to where it stands is a
 * chain of frames on the C stack, written out only when there is something to
 * report, so that a request in order costs a few comparisons. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/quantity.h"
#include "common/schema_rules.h"
#include "common/utf8.h"

#define NAMES_MAX 64 /* known names that a suggestion is looked for in */

/* ---- where we are, and saying what is wrong there ---- */

struct trail {
    const struct trail *up; /* NULL at the root */
    const char *key;        /* NULL: an item */
    size_t index;
    struct pd_problems *problems;
};

static size_t trail_format(const struct trail *trail, char *out, size_t out_bytes)
{
    char key[PD_SHOWN_BYTES];
    size_t used;

    if (!trail->up)
        return 0;
    used = trail_format(trail->up, out, out_bytes);
    if (trail->key)
        snprintf(out + used, out_bytes - used, "%s%s", used ? "." : "",
                 pd_shown(trail->key, strlen(trail->key), key));
    else
        snprintf(out + used, out_bytes - used, "[%zu]", trail->index);
    return used + strlen(out + used);
}

static void report(const struct trail *trail, const struct pd_node *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void report(const struct trail *trail, const struct pd_node *node, const char *fmt, ...)
{
    char path[sizeof trail->problems->items[0].path] = "", text[PD_PROBLEM_TEXT_MAX];
    va_list ap;

    if (trail->problems->count == PD_PROBLEMS_MAX) { /* as fast as having none */
        trail->problems->dropped++;
        return;
    }
    trail_format(trail, path, sizeof path);
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    pd_problems_add(trail->problems, path, node->line, "%s", text);
}

struct brief {
    char text[PD_SHOWN_BYTES + 16];
};

/* `3`, `"abc"`, `a list`: a value in a message. */
static const char *brief(const struct pd_node *node, struct brief *out)
{
    static const char *const kinds[] = {
        [PD_NODE_NULL] = "null", [PD_NODE_LIST] = "a list", [PD_NODE_MAP] = "a map"};
    char buffer[PD_SHOWN_BYTES];
    const char *text = NULL;

    if (node->kind == PD_NODE_STRING)
        snprintf(out->text, sizeof out->text, "\"%s\"",
                 pd_shown(node->string.text, node->string.len, buffer));
    else if (node->kind == PD_NODE_INT)
        snprintf(out->text, sizeof out->text, "%" PRId64, node->integer);
    else if (node->kind == PD_NODE_NUMBER)
        text = pd_json_number(node->number, buffer);
    else if (node->kind == PD_NODE_BOOL)
        text = node->boolean ? "true" : "false";
    else
        text = kinds[node->kind];
    if (text)
        pd_strcpy(out->text, sizeof out->text, text);
    return out->text;
}

/* ---- scalars ---- */

static void check_choices(const struct pd_schema *schema, const struct pd_node *node,
                          const struct trail *trail)
{
    char list[200] = "";
    struct brief one;
    size_t used = 0;

    for (size_t i = 0; i < schema->choices->list.count; i++) {
        const struct pd_node *choice = schema->choices->list.items[i];
        if (pd_node_equal(choice, node))
            return;
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", brief(choice, &one));
        used += strlen(list + used);
    }
    report(trail, node, "must be one of %s, got %s", list, brief(node, &one));
}

static bool is_below(const struct pd_schema_limit *min, double value)
{
    return min->set && (value < min->value || (min->exclusive && value == min->value));
}

static bool is_above(const struct pd_schema_limit *max, double value)
{
    return max->set && (value > max->value || (max->exclusive && value == max->value));
}

/* "2", "0.5", "64Mi": the limit as the schema writes it. */
static const char *limit_text(const struct pd_schema_limit *limit, struct brief *out)
{
    if (limit->text)
        snprintf(out->text, sizeof out->text, "%.*s", (int)strcspn(limit->text, "'"), limit->text);
    else
        snprintf(out->text, sizeof out->text, "%.15g", limit->value);
    return out->text;
}

static void check_limits(const struct pd_schema *schema, double value, const struct pd_node *node,
                         const struct trail *trail)
{
    struct brief limit, got;

    if (is_below(&schema->min, value))
        report(trail, node, "must be %s %s, got %s",
               schema->min.exclusive ? ">" : ">=", limit_text(&schema->min, &limit),
               brief(node, &got));
    else if (is_above(&schema->max, value))
        report(trail, node, "must be %s %s, got %s",
               schema->max.exclusive ? "<" : "<=", limit_text(&schema->max, &limit),
               brief(node, &got));
}

static void check_length(const struct pd_schema *schema, const struct pd_node *node,
                         const struct trail *trail)
{
    int64_t length = (int64_t)pd_utf8_count(node->string.text, node->string.len);

    if (schema->max_length >= 0 && length > schema->max_length)
        report(trail, node, "must have at most %" PRId64 " characters, has %" PRId64,
               schema->max_length, length);
    else if (length < schema->min_length && length == 0)
        report(trail, node, "must not be empty");
    else if (length < schema->min_length)
        report(trail, node, "must have at least %" PRId64 " characters, has %" PRId64,
               schema->min_length, length);
}

static void check_pattern(const struct pd_schema *schema, const struct pd_node *node,
                          const struct trail *trail)
{
    regmatch_t whole = {0, (regoff_t)node->string.len};
    struct brief got;

    if (regexec(&schema->pattern, node->string.text, 1, &whole, REG_STARTEND) != 0)
        report(trail, node, "must match %s, got %s", schema->pattern_text, brief(node, &got));
}

int pd_schema_amount(enum pd_schema_format format, const char *text, double *ret,
                     struct pd_err *err)
{
    int64_t amount;
    int rc = format == PD_FORMAT_DURATION ? pd_duration_parse(text, &amount, err)
                                          : pd_quantity_parse(text, &amount, err);

    if (rc == 0)
        *ret = (double)amount;
    return rc;
}

/* Of a duration or a quantity, whether written as a string or as a number. */
static void check_amount(const struct pd_schema *schema, const struct pd_node *node,
                         const struct trail *trail)
{
    struct brief text;
    struct pd_err err;
    double amount = 0;

    if (node->kind == PD_NODE_INT)
        snprintf(text.text, sizeof text.text, "%" PRId64, node->integer);
    else
        pd_strcpy(text.text, sizeof text.text, node->string.text);
    if (pd_schema_amount(schema->format, text.text, &amount, &err) < 0)
        report(trail, node, "%s", err.msg);
    else
        check_limits(schema, amount, node, trail);
}

static void check_string(const struct pd_schema *schema, const struct pd_node *node,
                         const struct trail *trail)
{
    size_t before = trail->problems->count + trail->problems->dropped;

    if (!schema->nul && memchr(node->string.text, '\0', node->string.len))
        report(trail, node, "must not contain the character U+0000");
    else if (schema->min_length > 0 || schema->max_length >= 0)
        check_length(schema, node, trail);
    if (trail->problems->count + trail->problems->dropped > before)
        return;
    if (schema->has_pattern)
        check_pattern(schema, node, trail);
    if (schema->format != PD_FORMAT_OTHER)
        check_amount(schema, node, trail);
}

static void check_number(const struct pd_schema *schema, const struct pd_node *node,
                         const struct trail *trail)
{
    if (schema->format != PD_FORMAT_OTHER)
        check_amount(schema, node, trail);
    else
        check_limits(schema, pd_node_number(node, 0), node, trail);
}

/* ---- lists and maps ---- */

static void apply(const struct pd_schema *schema, struct pd_node *node, const struct trail *trail);

static void check_count(size_t count, int64_t min, int64_t max, const char *what,
                        const struct pd_node *node, const struct trail *trail)
{
    if (max >= 0 && count > (size_t)max)
        report(trail, node, "must have at most %" PRId64 " %s, has %zu", max, what, count);
    else if (min >= 0 && count < (size_t)min)
        report(trail, node, "must have at least %" PRId64 " %s, has %zu", min, what, count);
}

static void check_set(const struct pd_node *list, const struct trail *trail)
{
    for (size_t i = 1; i < list->list.count; i++) {
        for (size_t j = 0; j < i; j++) {
            struct trail item = {trail, NULL, i, trail->problems};
            struct brief got;
            if (!pd_node_equal(list->list.items[i], list->list.items[j]))
                continue;
            report(&item, list->list.items[i], "stands there twice: %s",
                   brief(list->list.items[i], &got));
            break;
        }
    }
}

static void apply_list(const struct pd_schema *schema, struct pd_node *node,
                       const struct trail *trail)
{
    check_count(node->list.count, schema->min_items, schema->max_items, "items", node, trail);
    if (schema->max_items >= 0 && node->list.count > (size_t)schema->max_items)
        return;
    for (size_t i = 0; i < node->list.count; i++) {
        struct trail item = {trail, NULL, i, trail->problems};
        apply(schema->items, node->list.items[i], &item);
    }
    if (schema->is_set)
        check_set(node, trail);
}

static void report_unknown(const struct pd_schema *schema, const struct pd_member *member,
                           const struct trail *trail)
{
    const char *names[NAMES_MAX], *nearest;
    size_t count = 0;

    if (trail->problems->count == PD_PROBLEMS_MAX) {
        trail->problems->dropped++;
        return;
    }
    for (; count < schema->n_properties && count < NAMES_MAX; count++)
        names[count] = schema->properties[count].name;
    nearest = pd_nearest(member->key, names, count);
    if (nearest)
        report(trail, member->value, "is not known; did you mean %s?", nearest);
    else
        report(trail, member->value, "is not known");
}

static void check_name(const struct pd_schema *names, const char *key, const struct pd_node *value,
                       const struct trail *trail)
{
    struct pd_node name = {
        .kind = PD_NODE_STRING,
        .line = value->line,
        .string = {(char *)(uintptr_t)key, strlen(key)},
    };
    check_string(names, &name, trail);
}

static void apply_member(const struct pd_schema *schema, const struct pd_member *member,
                         const struct trail *up)
{
    struct trail trail = {up, member->key, 0, up->problems};
    const struct pd_schema_property *property = pd_schema_property_find(schema, member->key);

    if (property) {
        apply(property->schema, member->value, &trail);
        return;
    }
    if (schema->names)
        check_name(schema->names, member->key, member->value, &trail);
    if (schema->additional)
        apply(schema->additional, member->value, &trail);
    else if (!schema->preserve_unknown)
        report_unknown(schema, member, &trail);
}

/* A null where null has no meaning is as good as nothing. */
static bool means_absent(const struct pd_schema *schema, const struct pd_member *member)
{
    const struct pd_schema_property *property;

    if (member->value->kind != PD_NODE_NULL)
        return false;
    property = pd_schema_property_find(schema, member->key);
    return property && !property->schema->nullable;
}

static void drop_nulls(const struct pd_schema *schema, struct pd_node *map)
{
    size_t kept = 0;

    for (size_t i = 0; i < map->map.count; i++) {
        struct pd_member *member = &map->map.members[i];
        if (means_absent(schema, member)) {
            free(member->key);
            pd_node_free(member->value);
        } else {
            map->map.members[kept++] = *member;
        }
    }
    map->map.count = kept;
}

/* Defaults of the absent; problems for those that had to be there. */
static void complete(const struct pd_schema *schema, struct pd_node *map, const struct trail *up)
{
    for (size_t i = 0; i < schema->n_properties; i++) {
        const struct pd_schema_property *property = &schema->properties[i];
        struct trail trail = {up, property->name, 0, up->problems};
        const struct pd_node *value = property->schema->default_value;
        if ((!value && !property->required) || pd_node_get(map, property->name))
            continue;
        if (value) {
            struct pd_node *copy = pd_node_copy(value);
            copy->line = copy->column = 0;
            pd_node_append(map, property->name, copy);
        } else {
            report(&trail, map, "is required");
        }
    }
}

static void apply_map(const struct pd_schema *schema, struct pd_node *node,
                      const struct trail *trail)
{
    check_count(node->map.count, schema->min_properties, schema->max_properties, "members", node,
                trail);
    if (schema->max_properties >= 0 && node->map.count > (size_t)schema->max_properties)
        return;
    drop_nulls(schema, node);
    complete(schema, node, trail);
    for (size_t i = 0; i < node->map.count; i++)
        apply_member(schema, &node->map.members[i], trail);
}

/* ---- one value ---- */

static void report_type(const struct pd_schema *schema, const struct pd_node *node,
                        const struct trail *trail)
{
    static const char *const wanted[] = {
        [PD_TYPE_ANY] = "a string or an integer",
        [PD_TYPE_OBJECT] = "a map",
        [PD_TYPE_ARRAY] = "a list",
        [PD_TYPE_STRING] = "a string",
        [PD_TYPE_INTEGER] = "an integer",
        [PD_TYPE_NUMBER] = "a number",
        [PD_TYPE_BOOLEAN] = "true or false",
    };
    struct brief got;

    report(trail, node, "must be %s, got %s", wanted[schema->type], brief(node, &got));
}

static void to_integer(struct pd_node *node)
{
    double number = node->number;

    if (trunc(number) != number || fabs(number) > 0x1p53)
        return;
    node->kind = PD_NODE_INT;
    node->integer = (int64_t)number;
}

/* 0.5 of a quantity: as good as "0.5", which is how it can be kept. */
static void to_string(struct pd_node *node)
{
    char number[PD_JSON_NUMBER_BYTES];
    const char *text = pd_json_number(node->number, number);

    node->kind = PD_NODE_STRING;
    node->string.len = strlen(text);
    node->string.text = pd_strdup(text);
}

static bool type_fits(const struct pd_schema *schema, enum pd_node_kind kind)
{
    static const unsigned kinds[] = {
        [PD_TYPE_ANY] = ~0u,
        [PD_TYPE_OBJECT] = 1u << PD_NODE_MAP,
        [PD_TYPE_ARRAY] = 1u << PD_NODE_LIST,
        [PD_TYPE_STRING] = 1u << PD_NODE_STRING,
        [PD_TYPE_INTEGER] = 1u << PD_NODE_INT,
        [PD_TYPE_NUMBER] = 1u << PD_NODE_INT | 1u << PD_NODE_NUMBER,
        [PD_TYPE_BOOLEAN] = 1u << PD_NODE_BOOL,
    };
    unsigned fitting = kinds[schema->type];

    if (schema->int_or_string)
        fitting = 1u << PD_NODE_INT | 1u << PD_NODE_STRING;
    if (schema->nullable)
        fitting |= 1u << PD_NODE_NULL;
    return fitting >> kind & 1;
}

static void apply(const struct pd_schema *schema, struct pd_node *node, const struct trail *trail)
{
    if (node->kind == PD_NODE_NUMBER && (schema->type == PD_TYPE_INTEGER || schema->int_or_string))
        to_integer(node);
    if (node->kind == PD_NODE_NUMBER && schema->format == PD_FORMAT_QUANTITY)
        to_string(node);
    if (!type_fits(schema, node->kind)) {
        report_type(schema, node, trail);
        return;
    }
    if (schema->choices && node->kind != PD_NODE_NULL)
        check_choices(schema, node, trail);
    if (node->kind == PD_NODE_MAP && schema->type == PD_TYPE_OBJECT)
        apply_map(schema, node, trail);
    else if (node->kind == PD_NODE_LIST && schema->items)
        apply_list(schema, node, trail);
    else if (node->kind == PD_NODE_STRING)
        check_string(schema, node, trail);
    else if (node->kind == PD_NODE_INT || node->kind == PD_NODE_NUMBER)
        check_number(schema, node, trail);
}

int pd_schema_apply(const struct pd_schema *schema, struct pd_node *tree,
                    struct pd_problems *problems)
{
    struct trail root = {.problems = problems};
    size_t before = problems->count + problems->dropped;

    apply(schema, tree, &root);
    return problems->count + problems->dropped > before ? PD_INVALID : 0;
}
