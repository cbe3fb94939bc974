/* Whether ECS would let us do what we need, asked without doing any of it: calls
 * that are allowed to fail for what they ask, but not for who asks. */
#ifndef PD_CONTROLLER_ECS_PREFLIGHT_H
#define PD_CONTROLLER_ECS_PREFLIGHT_H

#include "common/err.h"
#include "controller/ecs_client.h"

/* err: NULL when all is well; PD_DENIED names every IAM action that is missing;
 * else what is wrong with credentials or cluster. */
typedef void (*pd_ecs_preflight_cb)(void *arg, const struct pd_err *err);

/* registers: task definitions will be made too. cb fires once, from the loop. */
int pd_ecs_preflight(struct pd_ecs_client *client, const char *cluster, const char *started_by,
                     bool registers, pd_ecs_preflight_cb cb, void *arg, struct pd_err *err);

#endif
