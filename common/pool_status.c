#include "common/pool_status.h"

#include <math.h>
#include <stdio.h>
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

/* Whether the replicas together have what minSize asks for; by itself none may. */
static struct pd_condition available(const struct pd_pool *pool)
{
    struct pd_condition condition = pool->status.available;
    int serve = pool->status.ready + pool->status.claimed + pool->elsewhere.ready +
                pool->elsewhere.claimed;

    if (pool->elsewhere.replicas == 0 || pool->deleting || condition.since_wall_ms == 0)
        return condition;
    condition.status = serve > 0 && serve >= pool->spec->min_size;
    pd_strcpy(condition.reason, sizeof condition.reason,
              condition.status ? "SandboxesReady" : "TooFewSandboxes");
    snprintf(condition.message, sizeof condition.message,
             "%d of all replicas together are ready or in use, minSize is %d", serve,
             pool->spec->min_size);
    return condition;
}

static struct pd_node *encode_conditions(const struct pd_pool *pool)
{
    const struct pd_pool_status *status = &pool->status;
    struct pd_condition together = available(pool);
    struct pd_node *list = pd_node_list_new();

    add_condition(list, "Available", &together, status->observed_generation);
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

/* Of all replicas together. */
static void encode_counts(const struct pd_pool *pool, struct pd_node *node)
{
    const struct pd_pool_status *status = &pool->status;
    const struct pd_pool_elsewhere *others = &pool->elsewhere;

    pd_node_set_int(node, "observedGeneration", status->observed_generation);
    pd_node_set_int(node, "wantedReplicas", status->wanted + others->wanted);
    pd_node_set_int(node, "replicas", status->replicas + others->replicas);
    pd_node_set_int(node, "readyReplicas", status->ready + others->ready);
    pd_node_set_int(node, "claimedReplicas", status->claimed + others->claimed);
    pd_node_set_int(node, "startingReplicas", status->starting + others->starting);
    pd_node_set_int(node, "terminatingReplicas", status->terminating + others->terminating);
    pd_node_set_int(node, "updatedReplicas", status->updated + others->updated);
    pd_node_set_int(node, "queueLength", status->queue_length + others->queue_length);
}

struct pd_node *pd_pool_status_encode(const struct pd_pool *pool)
{
    const struct pd_pool_status *status = &pool->status;
    struct pd_node *node = pd_node_map_new();

    encode_counts(pool, node);
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
    pd_node_set(node, "conditions", encode_conditions(pool));
    return node;
}
