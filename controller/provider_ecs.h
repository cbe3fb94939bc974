/* The ECS provider: sandboxes are Fargate tasks of one installation, in one region,
 * in one or more clusters. See docs/ecs.md. */
#ifndef PD_CONTROLLER_PROVIDER_ECS_H
#define PD_CONTROLLER_PROVIDER_ECS_H

#include <uv.h>

#include "common/err.h"
#include "controller/ecs_config.h"
#include "controller/provider.h"

/* The region and the endpoint are found by the AWS chain (aws_source.h). Asks
 * nothing of AWS before the first watch, and then only where a cluster is known.
 * PD_INVALID: no region, or a setting that cannot be. */
int pd_provider_ecs_new(uv_loop_t *loop, const struct pd_ecs_config *config,
                        struct pd_provider **ret_provider, struct pd_err *err)
    __attribute__((warn_unused_result));

#endif
