/* The ECS provider: sandboxes are Fargate tasks of one installation, in one region,
 * in one or more clusters. See docs/ecs.md. */
#ifndef PD_CONTROLLER_PROVIDER_ECS_H
#define PD_CONTROLLER_PROVIDER_ECS_H

#include <uv.h>

#include "common/err.h"
#include "controller/provider.h"

struct pd_db;
struct pd_metrics;

#define PD_ECS_SUBNETS_MAX 16
#define PD_ECS_SECURITY_GROUPS_MAX 5

/* What pools do not say themselves (spec.ecs). Everything is copied. */
struct pd_ecs_config {
    const char *instance;           /* whose tasks these are: [A-Za-z0-9_-], at most 64 */
    const char *state_dir;          /* for keys and pins; NULL: nothing is kept */
    const char *cluster;            /* ECS_CLUSTER; "" */
    const char *subnets;            /* ECS_SUBNET_IDS, by commas or blanks; "" */
    const char *security_groups;    /* ECS_SECURITY_GROUP_IDS, likewise */
    const char *agent_image;        /* ECS_AGENT_IMAGE; "" */
    const char *execution_role_arn; /* ECS_EXECUTION_ROLE_ARN; "" */
    bool public_address;            /* ECS_ASSIGN_PUBLIC_IP: in subnets without a NAT */
    double rate_factor;             /* tests only; 0: as published */
    struct pd_db *db;               /* for intents (ecs_intent.h); NULL: in memory. Outlives it */
    struct pd_metrics *metrics;     /* counts calls; NULL: nobody does */
};

/* From the environment; the texts are the environment's, instance and state_dir
 * the caller's. */
struct pd_ecs_config pd_ecs_config_from_env(void);

/* The region and the endpoint are found by the AWS chain (aws_source.h). Asks
 * nothing of AWS before the first watch, and then only where a cluster is known.
 * PD_INVALID: no region, or a setting that cannot be. */
int pd_provider_ecs_new(uv_loop_t *loop, const struct pd_ecs_config *config,
                        struct pd_provider **ret_provider, struct pd_err *err)
    __attribute__((warn_unused_result));

#endif
