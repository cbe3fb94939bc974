/* What an installation says of ECS for all its pools: the environment's ECS_* (docs/ecs.md). */
#ifndef PD_CONTROLLER_ECS_CONFIG_H
#define PD_CONTROLLER_ECS_CONFIG_H

#include <stdbool.h>

#include "common/err.h"
#include "controller/aws_source.h"

struct pd_db;
struct pd_ecs;
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

/* Where AWS is asked: as the AWS chain says (aws_source.h), else the region that a cluster's ARN
 * names. False: nowhere. */
bool pd_ecs_config_region(const struct pd_ecs_config *config, char out[static PD_AWS_REGION_MAX]);

/* Copy it into the provider, and open what is kept: keys, intents. PD_INVALID: a setting that
 * cannot be; else what pd_ecs_keys_open and pd_ecs_intents_open say. What is half done is the
 * caller's to free, as after success. */
int pd_ecs_configure(struct pd_ecs *ecs, const struct pd_ecs_config *config, struct pd_err *err)
    __attribute__((warn_unused_result));

#endif
