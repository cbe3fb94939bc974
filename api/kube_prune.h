/* Fields that a schema does not know: found, named and taken out. Pure. */
#ifndef PD_API_KUBE_PRUNE_H
#define PD_API_KUBE_PRUNE_H

#include <stddef.h>

#include "common/node.h"

#define PD_PRUNED_MAX 6
#define PD_PRUNED_BYTES 128

struct pd_pruned {
    char paths[PD_PRUNED_MAX][PD_PRUNED_BYTES]; /* "spec.minSice" */
    size_t count;                               /* of those named; more may have gone */
};

/* schema: an OpenAPI schema as structural CRDs have it. */
void pd_prune(const struct pd_node *schema, struct pd_node *tree, struct pd_pruned *ret);

#endif
