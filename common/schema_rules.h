/* A schema as it is compiled: between schema.c, which makes it, and
 * schema_apply.c, which applies it. Nobody else looks inside. */
#ifndef PD_COMMON_SCHEMA_RULES_H
#define PD_COMMON_SCHEMA_RULES_H

#include <regex.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/schema.h"

enum pd_schema_type {
    PD_TYPE_ANY,
    PD_TYPE_OBJECT,
    PD_TYPE_ARRAY,
    PD_TYPE_STRING,
    PD_TYPE_INTEGER,
    PD_TYPE_NUMBER,
    PD_TYPE_BOOLEAN
};
enum pd_schema_format { PD_FORMAT_OTHER, PD_FORMAT_QUANTITY, PD_FORMAT_DURATION };

/* A bound that is given or not. */
struct pd_schema_limit {
    bool set;
    bool exclusive;
    double value;
    const char *text; /* as the schema writes it, for quantities and durations; borrowed */
};

struct pd_schema_property {
    const char *name; /* borrowed from the schema's tree */
    struct pd_schema *schema;
    bool required;
};

struct pd_schema {
    struct pd_node *owned;      /* root only: the whole tree, which the rest borrows from */
    const struct pd_node *node; /* this schema's own */
    enum pd_schema_type type;
    enum pd_schema_format format;
    bool nullable, int_or_string, preserve_unknown, is_set, nul;
    const struct pd_node *default_value;
    const struct pd_node *choices; /* enum */
    struct pd_schema_limit min, max;
    int64_t min_length, max_length; /* -1: none */
    int64_t min_items, max_items;
    int64_t min_properties, max_properties;
    bool has_pattern;
    regex_t pattern;
    const char *pattern_text;
    struct pd_schema_property *properties;
    size_t n_properties;
    struct pd_schema *items;
    struct pd_schema *additional; /* of members with names of their own; NULL: there may be none */
    struct pd_schema *names;      /* propertyNames */
};

/* Or NULL. */
struct pd_schema_property *pd_schema_property_find(const struct pd_schema *schema,
                                                   const char *name);

/* A duration in ms or a quantity in thousandths, as what the limits hold. */
int pd_schema_amount(enum pd_schema_format format, const char *text, double *ret,
                     struct pd_err *err);

#endif
