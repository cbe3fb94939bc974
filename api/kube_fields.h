/* Who set which field: ObjectMeta.managedFields, and server-side apply, which
 * rests on it (kubernetes.io/docs/reference/using-api/server-side-apply). Sets of
 * fields have the form of FieldsV1; a list counts as one field. Pure. */
#ifndef PD_API_KUBE_FIELDS_H
#define PD_API_KUBE_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/node.h"

#define PD_FIELDS_MANAGERS_MAX 32 /* of one object; the ones that wrote longest ago go */

struct pd_fields_writer {
    const char *manager;
    const char *api_version;
    int64_t wall_ms;
};

/* After `before` (NULL: it is new) became `after`: what changed belongs to the
 * writer, by an Update. `managed` is a list, or NULL. The caller frees. */
struct pd_node *pd_fields_after_update(const struct pd_node *managed, const struct pd_node *before,
                                       const struct pd_node *after,
                                       const struct pd_fields_writer *writer);

/* What `before` (NULL: nothing) becomes when this manager applies `applied`: what
 * it applied before and no longer does, and nobody else has, is gone; the rest
 * is merged. The caller frees. */
struct pd_node *pd_fields_apply(const struct pd_node *managed, const struct pd_node *before,
                                const struct pd_node *applied, const char *manager);

/* And who has what then. `after` is what came of it. Without `force`, fields of
 * other managers that differ between before and after are PD_CONFLICT: the
 * message names the first few, and their managers. */
int pd_fields_after_apply(const struct pd_node *managed, const struct pd_node *before,
                          const struct pd_node *applied, const struct pd_node *after, bool force,
                          const struct pd_fields_writer *writer, struct pd_node **ret_managed,
                          struct pd_err *err);

/* Whether a client's list has the right form. */
bool pd_fields_are_valid(const struct pd_node *managed);

#endif
