/* Validation and defaults by schema. A schema is an OpenAPI 3.0 Schema Object
 * as structural CRDs use it (type, properties, required, default, enum,
 * minimum, maximum, exclusiveMinimum, minLength, maxLength, pattern, items,
 * minItems, maxItems, additionalProperties, nullable, format, oneOf only as
 * x-kubernetes-int-or-string), so that the files in crds/ and the API's request
 * schemas are the one source of names, defaults and bounds.
 *
 * Formats beyond OpenAPI's own: "quantity" (256Mi, 500m; quantity.h) and
 * "duration" (30s, 5m, 1h30m), with x-paddock-minimum / x-paddock-maximum in
 * the same notation. */
#ifndef PD_COMMON_SCHEMA_H
#define PD_COMMON_SCHEMA_H

#include <stddef.h>

#include "common/err.h"
#include "common/node.h"

#define PD_PROBLEMS_MAX 16
#define PD_PROBLEM_TEXT_MAX 320

/* What is wrong with a tree: up to PD_PROBLEMS_MAX entries, e.g.
 *   path "spec.minSize", text "must be >= 0, got -3", line 12. */
struct pd_problem {
    char path[128];
    char text[PD_PROBLEM_TEXT_MAX];
    int line; /* 0 where unknown */
};
struct pd_problems {
    struct pd_problem items[PD_PROBLEMS_MAX];
    size_t count;   /* kept */
    size_t dropped; /* found beyond those kept */
};

void pd_problems_add(struct pd_problems *problems, const char *path, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* "spec.minSize: must be >= 0, got -3 (line 12); ..." as one err of kind
 * PD_INVALID; 0 when there is no problem. */
int pd_problems_err(const struct pd_problems *problems, struct pd_err *err);

struct pd_schema;

/* Compile. `node` is copied. PD_INVALID names what it does not understand. */
int pd_schema_new(const struct pd_node *node, struct pd_schema **ret_schema, struct pd_err *err)
    __attribute__((warn_unused_result));
void pd_schema_free(struct pd_schema *schema);

/* Check `tree` and fill in defaults, in place. Unknown members are problems
 * (with the nearest known name suggested). Adds to `problems`; returns 0 when
 * it added none, else PD_INVALID. */
int pd_schema_apply(const struct pd_schema *schema, struct pd_node *tree,
                    struct pd_problems *problems) __attribute__((warn_unused_result));

/* The schema's own tree, for explain and OpenAPI. Borrowed. */
const struct pd_node *pd_schema_node(const struct pd_schema *schema);

#endif
