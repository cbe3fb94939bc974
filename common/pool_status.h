/* A pool's status as it is shown: the `status` of crds/sandboxpool.yaml. */
#ifndef PD_COMMON_POOL_STATUS_H
#define PD_COMMON_POOL_STATUS_H

#include "common/node.h"
#include "common/store.h"

/* Note that this went wrong, the newest first; the same as one of those listed is
 * counted. What is longest ago makes room. */
void pd_failures_note(struct pd_failures *failures, const char *reason, const char *message,
                      int64_t wall_ms);

/* Which source the pool came from and, where there is something to say, why its
 * newest text is not in force and who else declares it, are part of it. What is
 * not known yet is left out. The caller owns the result. */
struct pd_node *pd_pool_status_encode(const struct pd_pool *pool);

/* "True", "False", "Unknown" */
const char *pd_condition_status_name(int status);

#endif
