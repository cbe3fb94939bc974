#include "controller/ecs_reply.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"

const char *pd_ecs_text(const struct pd_node *map, const char *name)
{
    const struct pd_node *node = map && map->kind == PD_NODE_MAP ? pd_node_get(map, name) : NULL;

    return node && node->kind == PD_NODE_STRING ? node->string.text : "";
}

const struct pd_node *pd_ecs_item(const struct pd_node *map, const char *name, size_t i)
{
    const struct pd_node *list = map && map->kind == PD_NODE_MAP ? pd_node_get(map, name) : NULL;

    return list && list->kind == PD_NODE_LIST && i < list->list.count ? list->list.items[i] : NULL;
}

static enum pd_ecs_stage stage_of(const char *last, const char *desired)
{
    static const char *const going[] = {"DEACTIVATING", "STOPPING", "DEPROVISIONING"};

    if (strcmp(last, "STOPPED") == 0 || strcmp(last, "DELETED") == 0)
        return PD_ECS_STOPPED;
    for (size_t i = 0; i < PD_COUNT(going); i++) {
        if (strcmp(last, going[i]) == 0)
            return PD_ECS_GOING;
    }
    if (strcmp(last, "RUNNING") == 0)
        return strcmp(desired, "STOPPED") == 0 ? PD_ECS_LEAVING : PD_ECS_RUNNING;
    return strcmp(desired, "STOPPED") == 0 ? PD_ECS_GOING : PD_ECS_COMING;
}

/* attachments[].details[name = privateIPv4Address], else
 * containers[].networkInterfaces[].privateIpv4Address. */
static const char *address_of(const struct pd_node *node)
{
    const struct pd_node *attachment, *detail, *container;
    const char *address;

    for (size_t i = 0; (attachment = pd_ecs_item(node, "attachments", i)); i++) {
        for (size_t j = 0; (detail = pd_ecs_item(attachment, "details", j)); j++) {
            if (strcmp(pd_ecs_text(detail, "name"), "privateIPv4Address") == 0)
                return pd_ecs_text(detail, "value");
        }
    }
    for (size_t i = 0; (container = pd_ecs_item(node, "containers", i)); i++) {
        address = pd_ecs_text(pd_ecs_item(container, "networkInterfaces", 0), "privateIpv4Address");
        if (*address)
            return address;
    }
    return "";
}

static void read_tags(const struct pd_node *node, struct pd_ecs_task *task)
{
    const struct pd_node *tag;

    for (size_t i = 0; (tag = pd_ecs_item(node, "tags", i)); i++) {
        const char *key = pd_ecs_text(tag, "key"), *value = pd_ecs_text(tag, "value");
        if (strcmp(key, PD_ECS_TAG_INSTANCE) == 0)
            pd_strcpy(task->instance, sizeof task->instance, value);
        else if (strcmp(key, PD_ECS_TAG_POOL) == 0)
            pd_strcpy(task->pool, sizeof task->pool, value);
        else if (strcmp(key, PD_ECS_TAG_TEMPLATE_HASH) == 0)
            pd_strcpy(task->template_hash, sizeof task->template_hash, value);
        else if (strcmp(key, PD_ECS_TAG_BATCH) == 0)
            pd_strcpy(task->batch, sizeof task->batch, value);
    }
}

/* The task's, or what a container of it says (an image that cannot be pulled). */
static void read_reason(const struct pd_node *node, struct pd_ecs_task *task)
{
    const char *code = pd_ecs_text(node, "stopCode"), *reason = pd_ecs_text(node, "stoppedReason");
    const struct pd_node *container;
    const char *detail = "";

    for (size_t i = 0; (container = pd_ecs_item(node, "containers", i)) && !*detail; i++)
        detail = pd_ecs_text(container, "reason");
    if (*code || *reason)
        snprintf(task->reason, sizeof task->reason, "%.40s%s%.54s%s%.54s", code,
                 *code && *reason ? ": " : "", reason, *detail ? "; " : "", detail);
}

/* Seconds since 1970, with a fraction. */
static int64_t wall_ms(const struct pd_node *node)
{
    double seconds = 0;

    if (node && node->kind == PD_NODE_INT)
        seconds = (double)node->integer;
    else if (node && node->kind == PD_NODE_NUMBER)
        seconds = node->number;
    return seconds > 0 && seconds < 1e11 ? (int64_t)(seconds * 1000) : 0;
}

bool pd_ecs_task_read(const struct pd_node *node, struct pd_ecs_task *ret_task)
{
    const char *arn = pd_ecs_text(node, "taskArn");
    struct pd_ecs_task task = {.arn = ""};

    if (!*arn || strlen(arn) >= sizeof task.arn)
        return false;
    pd_strcpy(task.arn, sizeof task.arn, arn);
    pd_strcpy(task.status, sizeof task.status, pd_ecs_text(node, "lastStatus"));
    pd_strcpy(task.address, sizeof task.address, address_of(node));
    task.stage = stage_of(task.status, pd_ecs_text(node, "desiredStatus"));
    task.created_wall_ms = wall_ms(pd_node_get(node, "createdAt"));
    read_tags(node, &task);
    read_reason(node, &task);
    *ret_task = task;
    return true;
}
