/* Patches: JSON Merge Patch (RFC 7386) and JSON Patch (RFC 6902, with pointers
 * of RFC 6901). Pure. */
#ifndef PD_API_KUBE_PATCH_H
#define PD_API_KUBE_PATCH_H

#include "common/err.h"
#include "common/node.h"

#define PD_PATCH_OPERATIONS_MAX 1000
#define PD_PATCH_COPIED_MAX 100000 /* nodes that one patch may multiply */
#define PD_PATCH_DEPTH_MAX 64

/* Change *node as the patch says; members that are null are removed. */
void pd_patch_merge(struct pd_node **node, const struct pd_node *patch);

/* Change *node, all operations or none. PD_INVALID: it is no such patch, or names
 * a place that is not there. PD_CONFLICT: a test did not hold. PD_LIMIT. */
int pd_patch_json(struct pd_node **node, const struct pd_node *patch, struct pd_err *err)
    __attribute__((warn_unused_result));

#endif
