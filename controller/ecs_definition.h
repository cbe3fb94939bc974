/* The task definition that a pool's sandboxes are made from (ECS,
 * RegisterTaskDefinition). Pure. This is where promise 1 is written down for ECS:
 * what keeps code inside its task is set here.
 *
 * Not to be had on Fargate, and therefore absent: a seccomp or AppArmor profile of
 * ours, no-new-privileges, a limit of processes (the agent sets one for each run's
 * own user), an address-less network. */
#ifndef PD_CONTROLLER_ECS_DEFINITION_H
#define PD_CONTROLLER_ECS_DEFINITION_H

#include "common/err.h"
#include "common/node.h"
#include "common/pool.h"

#define PD_ECS_FAMILY_MAX 128
#define PD_ECS_STOP_TIMEOUT_S                                                                      \
    120                           /* Fargate's most: what a reclaimed task has to finish its run   \
                                   */
#define PD_ECS_INIT_MEMORY_MIB 32 /* of the container that brings the agent */

struct pd_ecs_template {
    const struct pd_pool_spec *spec;
    const char *agent_image;        /* spec.ecs.agentImage, or the installation's */
    const char *execution_role_arn; /* likewise; "": none */
    const char *owner_key;          /* hexadecimal, of our public key; no secret */
};

/* Fargate's size for a container of that much: the smallest that is not less.
 * PD_INVALID: there is none. */
int pd_ecs_size(int64_t cpu_milli, int64_t memory_bytes, int *ret_cpu, int *ret_memory_mib,
                struct pd_err *err);

/* The body; the caller frees. Its family names its content by a hash, so that it is
 * registered once however many pools and lives have it. PD_INVALID: what cannot be
 * had on Fargate. */
int pd_ecs_definition(const struct pd_ecs_template *template, struct pd_node **ret_body,
                      struct pd_err *err) __attribute__((warn_unused_result));

#endif
