/* The ECS provider of a service, where it has one. */
#ifndef PD_CLI_ECS_H
#define PD_CLI_ECS_H

#include <stdbool.h>
#include <uv.h>

#include "common/err.h"
#include "controller/provider.h"

/* required: pools mean ECS unless they say otherwise (SANDBOX_PROVIDER=ecs).
 * Otherwise it is there for pools that ask for it, where an AWS region is known;
 * *ret_provider is NULL where none is. Tasks are labelled with PADDOCK_INSTANCE where
 * that is set (a state folder that does not outlive its container has no name to
 * find them again by), else with `instance`. */
int pd_ecs_open(uv_loop_t *loop, bool required, const char *instance, const char *state_dir,
                struct pd_provider **ret_provider, struct pd_err *err)
    __attribute__((warn_unused_result));

#endif
