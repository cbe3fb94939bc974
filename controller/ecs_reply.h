/* What ECS says of tasks, from its JSON (DescribeTasks, RunTask, ListTasks). AWS
 * is a peer like any other: nothing is taken to be there or to be of a kind. */
#ifndef PD_CONTROLLER_ECS_REPLY_H
#define PD_CONTROLLER_ECS_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/node.h"
#include "common/pool.h"
#include "common/store.h"

#define PD_ECS_ARN_MAX PD_PROVIDER_ID_MAX
#define PD_ECS_ADDRESS_MAX 48
#define PD_ECS_TOKEN_MAX 65 /* of a clientToken, with the NUL */
#define PD_ECS_STATUS_MAX 24

#define PD_ECS_TAG_INSTANCE "paddock.dev/instance"
#define PD_ECS_TAG_POOL "paddock.dev/pool"
#define PD_ECS_TAG_TEMPLATE_HASH "paddock.dev/template-hash"
#define PD_ECS_TAG_BATCH "paddock.dev/batch" /* the clientToken of the RunTask that made it */

/* Where a task is in its life (Amazon ECS task lifecycle). */
enum pd_ecs_stage {
    PD_ECS_COMING, /* PROVISIONING, PENDING, ACTIVATING, or anything unknown */
    PD_ECS_RUNNING,
    PD_ECS_LEAVING, /* RUNNING, but to be stopped: its capacity is reclaimed */
    PD_ECS_GOING,   /* DEACTIVATING, STOPPING, DEPROVISIONING */
    PD_ECS_STOPPED,
};

struct pd_ecs_task {
    char arn[PD_ECS_ARN_MAX];
    enum pd_ecs_stage stage;
    char status[PD_ECS_STATUS_MAX];   /* lastStatus as it stands */
    char address[PD_ECS_ADDRESS_MAX]; /* "" not known yet */
    char instance[PD_ECS_TOKEN_MAX];
    char pool[PD_POOL_NAME_MAX];
    char template_hash[PD_TEMPLATE_HASH_BYTES];
    char batch[PD_ECS_TOKEN_MAX];
    int64_t created_wall_ms;
    char reason[PD_REASON_MAX]; /* why it stops, or stopped */
};

/* false: no task (no ARN). */
bool pd_ecs_task_read(const struct pd_node *node, struct pd_ecs_task *ret_task);

/* A text member, "" where it is none. */
const char *pd_ecs_text(const struct pd_node *map, const char *name);
/* The i-th item of a list member, NULL beyond its end. */
const struct pd_node *pd_ecs_item(const struct pd_node *map, const char *name, size_t i);

#endif
