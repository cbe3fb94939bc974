#include "common/pool_status.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"

/* ---- failures ---- */

void pd_failures_note(struct pd_failures *failures, const char *reason, const char *message,
                      int64_t wall_ms)
{
    struct pd_failure failure;
    size_t at = 0;

    memset(&failure, 0, sizeof failure); /* padding too: statuses are compared as bytes */
    failure.wall_ms = wall_ms;
    failure.count = 1;
    pd_strcpy(failure.reason, sizeof failure.reason, reason);
    pd_strcpy(failure.message, sizeof failure.message, message);
    while (at < failures->count && (strcmp(failures->items[at].reason, failure.reason) != 0 ||
                                    strcmp(failures->items[at].message, failure.message) != 0))
        at++;
    if (at < failures->count)
        failure.count += failures->items[at].count;
    else if (failures->count < PD_POOL_FAILURES_MAX)
        failures->count++;
    else
        at = PD_POOL_FAILURES_MAX - 1;
    memmove(&failures->items[1], &failures->items[0], at * sizeof failures->items[0]);
    memcpy(&failures->items[0], &failure, sizeof failure);
}

/* ---- encoding ---- */

/* As Kubernetes writes times: whole seconds. */
static void set_time(struct pd_node *map, const char *key, int64_t wall_ms)
{
    char text[PD_RFC3339_BYTES];

    pd_wall_format(wall_ms, text);
    memcpy(strrchr(text, '.'), "Z", 2);
    pd_node_set_string(map, key, text);
}

const char *pd_condition_status_name(int status)
{
    return status == 1 ? "True" : status == 0 ? "False" : "Unknown";
}

static void add_condition(struct pd_node *list, const char *type,
                          const struct pd_condition *condition, int64_t observed_generation)
{
    struct pd_node *node;

    if (condition->since_wall_ms == 0)
        return; /* nothing has been decided yet */
    node = pd_node_map_new();
    pd_node_set_string(node, "type", type);
    pd_node_set_string(node, "status", pd_condition_status_name(condition->status));
    pd_node_set_string(node, "reason", condition->reason);
    pd_node_set_string(node, "message", condition->message);
    set_time(node, "lastTransitionTime", condition->since_wall_ms);
    pd_node_set_int(node, "observedGeneration", observed_generation);
    pd_node_add(list, node);
}

static struct pd_node *encode_conditions(const struct pd_pool_status *status)
{
    struct pd_node *list = pd_node_list_new();

    add_condition(list, "Available", &status->available, status->observed_generation);
    add_condition(list, "Progressing", &status->progressing, status->observed_generation);
    add_condition(list, "Degraded", &status->degraded, status->observed_generation);
    return list;
}

static struct pd_node *encode_failures(const struct pd_failures *failures)
{
    struct pd_node *list = pd_node_list_new();

    for (size_t i = 0; i < failures->count; i++) {
        struct pd_node *node = pd_node_map_new();
        set_time(node, "time", failures->items[i].wall_ms);
        pd_node_set_string(node, "reason", failures->items[i].reason);
        pd_node_set_string(node, "message", failures->items[i].message);
        pd_node_set_int(node, "count", failures->items[i].count);
        pd_node_add(list, node);
    }
    return list;
}

static void encode_counts(const struct pd_pool_status *status, struct pd_node *node)
{
    pd_node_set_int(node, "observedGeneration", status->observed_generation);
    pd_node_set_int(node, "wantedReplicas", status->wanted);
    pd_node_set_int(node, "replicas", status->replicas);
    pd_node_set_int(node, "readyReplicas", status->ready);
    pd_node_set_int(node, "claimedReplicas", status->claimed);
    pd_node_set_int(node, "startingReplicas", status->starting);
    pd_node_set_int(node, "terminatingReplicas", status->terminating);
    pd_node_set_int(node, "updatedReplicas", status->updated);
    pd_node_set_int(node, "queueLength", status->queue_length);
}

struct pd_node *pd_pool_status_encode(const struct pd_pool *pool)
{
    const struct pd_pool_status *status = &pool->status;
    struct pd_node *node = pd_node_map_new();

    encode_counts(status, node);
    if (status->template_hash[0])
        pd_node_set_string(node, "templateHash", status->template_hash);
    if (status->warm_hit_ratio >= 0)
        pd_node_set_number(node, "warmHitRatio", round(status->warm_hit_ratio * 1e4) / 1e4);
    if (status->refill_p99_ms >= 0)
        pd_node_set_int(node, "refillP99Milliseconds", status->refill_p99_ms);
    if (status->start_p90_ms >= 0)
        pd_node_set_int(node, "startP90Milliseconds", status->start_p90_ms);
    if (status->recommended_min >= 0)
        pd_node_set_int(node, "recommendedMinSize", status->recommended_min);
    pd_node_set_string(node, "source", pool->source);
    if (pool->source_error[0])
        pd_node_set_string(node, "sourceError", pool->source_error);
    if (pool->conflict[0])
        pd_node_set_string(node, "conflict", pool->conflict);
    if (status->failures.count > 0)
        pd_node_set(node, "lastFailures", encode_failures(&status->failures));
    pd_node_set(node, "conditions", encode_conditions(status));
    return node;
}
