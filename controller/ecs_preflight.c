#include "controller/ecs_preflight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "controller/ecs_reply.h"

/* No task and no definition has this name, so nothing comes of asking for it. */
#define NOBODY "paddock-preflight"
#define NO_TASK "00000000000000000000000000000000"

struct preflight {
    struct pd_ecs_client *client;
    char *cluster, *started_by;
    bool registers;
    size_t step;
    char denied[256];    /* "ecs:RunTask, ecs:StopTask" */
    struct pd_err first; /* what else is wrong */
    pd_ecs_preflight_cb cb;
    void *arg;
};

static const struct {
    enum pd_ecs_operation operation;
    const char *action;
    bool for_registering;
    bool must_succeed;
} steps[] = {
    {PD_ECS_LIST_TASKS, "ecs:ListTasks", false, true},
    {PD_ECS_DESCRIBE_TASKS, "ecs:DescribeTasks", false, false},
    {PD_ECS_RUN_TASK, "ecs:RunTask", false, false},
    {PD_ECS_STOP_TASK, "ecs:StopTask", false, false},
    {PD_ECS_DESCRIBE_TASK_DEFINITION, "ecs:DescribeTaskDefinition", true, false},
    {PD_ECS_REGISTER_TASK_DEFINITION, "ecs:RegisterTaskDefinition", true, false},
};

static struct pd_node *body_new(const struct preflight *preflight, enum pd_ecs_operation operation)
{
    struct pd_node *body = pd_node_map_new();

    switch (operation) {
    case PD_ECS_LIST_TASKS:
        pd_node_set_string(body, "startedBy", preflight->started_by);
        break;
    case PD_ECS_DESCRIBE_TASKS:
        pd_node_add(pd_node_set(body, "tasks", pd_node_list_new()), pd_node_string_new(NO_TASK));
        break;
    case PD_ECS_STOP_TASK:
        pd_node_set_string(body, "task", NO_TASK);
        break;
    case PD_ECS_RUN_TASK:
    case PD_ECS_DESCRIBE_TASK_DEFINITION:
        pd_node_set_string(body, "taskDefinition", NOBODY);
        break;
    case PD_ECS_REGISTER_TASK_DEFINITION: /* one without containers is refused */
        pd_node_set_string(body, "family", NOBODY);
        pd_node_set(body, "containerDefinitions", pd_node_list_new());
        return body;
    case PD_ECS_DESCRIBE_CLUSTERS:
        break;
    }
    if (operation != PD_ECS_DESCRIBE_TASK_DEFINITION)
        pd_node_set_string(body, "cluster", preflight->cluster);
    return body;
}

static void end(struct preflight *preflight)
{
    struct pd_err err = preflight->first;

    if (preflight->denied[0])
        pd_err_set(&err, PD_DENIED, "IAM does not allow %s: see docs/ecs.md for the policy",
                   preflight->denied);
    preflight->cb(preflight->arg, err.kind ? &err : NULL);
    free(preflight->cluster);
    free(preflight->started_by);
    free(preflight);
}

static int ask(struct preflight *preflight, struct pd_err *err);

static void note(struct preflight *preflight, const struct pd_err *err)
{
    size_t len = strlen(preflight->denied);

    if (err->kind == PD_DENIED && strstr(err->msg, "is not allowed"))
        snprintf(preflight->denied + len, sizeof preflight->denied - len, "%s%s", len ? ", " : "",
                 steps[preflight->step].action);
    else if (preflight->first.kind == 0 &&
             (steps[preflight->step].must_succeed || err->kind == PD_DENIED))
        preflight->first = *err;
}

static void on_answer(void *arg, const struct pd_err *err, const struct pd_node *answer)
{
    struct preflight *preflight = arg;
    struct pd_err refused;

    (void)answer;
    if (err)
        note(preflight, err);
    preflight->step++;
    while (preflight->step < PD_COUNT(steps) && steps[preflight->step].for_registering &&
           !preflight->registers)
        preflight->step++;
    /* Without credentials or a cluster the rest has nothing to say. */
    if (preflight->first.kind || preflight->step >= PD_COUNT(steps)) {
        end(preflight);
    } else if (ask(preflight, &refused) < 0) {
        preflight->first = refused;
        end(preflight);
    }
}

static int ask(struct preflight *preflight, struct pd_err *err)
{
    enum pd_ecs_operation operation = steps[preflight->step].operation;
    pd_autonode struct pd_node *body = body_new(preflight, operation);

    /* Where only a refusal counts, one that does not come is not waited for. */
    return steps[preflight->step].must_succeed
               ? pd_ecs_call(preflight->client, operation, body, 0, on_answer, preflight, err)
               : pd_ecs_try(preflight->client, operation, body, on_answer, preflight, err);
}

int pd_ecs_preflight(struct pd_ecs_client *client, const char *cluster, const char *started_by,
                     bool registers, pd_ecs_preflight_cb cb, void *arg, struct pd_err *err)
{
    struct preflight *preflight = PD_NEW(struct preflight);
    int rc;

    preflight->client = client;
    preflight->cluster = pd_strdup(cluster);
    preflight->started_by = pd_strdup(started_by);
    preflight->registers = registers;
    preflight->cb = cb;
    preflight->arg = arg;
    rc = ask(preflight, err);
    if (rc < 0) {
        free(preflight->cluster);
        free(preflight->started_by);
        free(preflight);
    }
    return rc;
}
