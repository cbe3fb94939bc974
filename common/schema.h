/* Validation and defaults by schema. A schema is an OpenAPI 3.0 Schema Object
 * as structural CRDs use it, so that the files in crds/ and the API's request
 * schemas are the one source of names, defaults and bounds:
 *
 *   type, nullable, default, enum
 *   properties, required, additionalProperties, propertyNames, minProperties,
 *     maxProperties, x-kubernetes-preserve-unknown-fields
 *   items, minItems, maxItems, x-kubernetes-list-type: set (no duplicates)
 *   minLength, maxLength (characters), pattern (POSIX extended; needs maxLength)
 *   minimum, maximum, exclusiveMinimum, exclusiveMaximum (booleans, or numbers
 *     as in OpenAPI 3.1)
 *   x-kubernetes-int-or-string
 *   format: "quantity" (256Mi, 500m) and "duration" (30s, 1h30m) are checked
 *     (quantity.h), others only inform; bounds of these two stand in
 *     x-kubernetes-validations, in exactly this form, which a Kubernetes API
 *     server enforces as well:
 *       duration(self) >= duration('1s')
 *       quantity(string(self)).compareTo(quantity('64Mi')) <= 0
 *   x-paddock-nul: true: strings may hold U+0000 (elsewhere that is a problem)
 *
 * Members that are null count as absent, unless nullable. A default is applied
 * to a member of an object that is there: nested defaults need `default: {}`. */
#ifndef PD_COMMON_SCHEMA_H
#define PD_COMMON_SCHEMA_H

#include "common/err.h"
#include "common/node.h"
#include "common/problems.h"

struct pd_schema;

/* Compile. `node` is copied. PD_INVALID names what it does not understand. */
int pd_schema_new(const struct pd_node *node, struct pd_schema **ret_schema, struct pd_err *err)
    __attribute__((warn_unused_result));
/* Likewise, from a YAML file built into the program (asset.h). */
int pd_schema_new_asset(const char *name, struct pd_schema **ret_schema, struct pd_err *err)
    __attribute__((warn_unused_result));
void pd_schema_free(struct pd_schema *schema);

/* Check `tree` and fill in defaults, in place; numbers without a fraction become
 * PD_NODE_INT where the type is integer, fractional quantities become strings.
 * Unknown members are problems (with the nearest known name suggested). Adds to
 * `problems`; returns 0 when it added none, else PD_INVALID. */
int pd_schema_apply(const struct pd_schema *schema, struct pd_node *tree,
                    struct pd_problems *problems) __attribute__((warn_unused_result));

/* The schema's own tree, for explain and OpenAPI. Borrowed. */
const struct pd_node *pd_schema_node(const struct pd_schema *schema);

#endif
