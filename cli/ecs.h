/* The ECS provider of a service, where it has one. */
#ifndef PD_CLI_ECS_H
#define PD_CLI_ECS_H

#include <stdbool.h>
#include <uv.h>

#include "common/err.h"
#include "controller/provider.h"

struct pd_db;
struct pd_metrics;

/* What a service has that the provider needs; all of it outlives the provider. */
struct pd_ecs_service {
    uv_loop_t *loop;
    const char *instance;
    const char *state_dir;
    struct pd_db *db;
    struct pd_metrics *metrics;
};

/* required: pools mean ECS unless they say otherwise (SANDBOX_PROVIDER=ecs).
 * Otherwise it is there for pools that ask for it, where an AWS region is known;
 * *ret_provider is NULL where none is. Tasks are labelled with PADDOCK_INSTANCE where
 * that is set (a state folder that does not outlive its container has no name to
 * find them again by), else with the service's. */
int pd_ecs_open(const struct pd_ecs_service *service, bool required,
                struct pd_provider **ret_provider, struct pd_err *err)
    __attribute__((warn_unused_result));

#endif
