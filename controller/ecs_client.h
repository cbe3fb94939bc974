/* Calls of the ECS API (AWS JSON 1.1 over HTTPS, version 2014-11-13), signed,
 * within the published rates, repeated where that helps. */
#ifndef PD_CONTROLLER_ECS_CLIENT_H
#define PD_CONTROLLER_ECS_CLIENT_H

#include <uv.h>

#include "common/err.h"
#include "common/node.h"

#define PD_ECS_CALLS_MAX 2000 /* under way, waiting ones included */
#define PD_ECS_ANSWER_BYTES_MAX (4u * 1024 * 1024)
#define PD_ECS_BODY_BYTES_MAX (128u * 1024)
#define PD_ECS_ATTEMPTS_MAX 8
#define PD_ECS_TRIES_MAX 2 /* of a question whose answer is only good to have */
#define PD_ECS_PAUSE_MIN_MS 200 /* before the second attempt, at most; doubling, full jitter */
#define PD_ECS_PAUSE_MAX_MS 20000

enum pd_ecs_operation {
    PD_ECS_RUN_TASK,
    PD_ECS_STOP_TASK,
    PD_ECS_LIST_TASKS,
    PD_ECS_DESCRIBE_TASKS,
    PD_ECS_DESCRIBE_CLUSTERS,
    PD_ECS_REGISTER_TASK_DEFINITION,
    PD_ECS_DESCRIBE_TASK_DEFINITION,
};

struct pd_ecs_client;
struct pd_metrics;

struct pd_ecs_client_config {
    const char *region;
    const char *endpoint; /* "https://..." without a path */
    double rate_factor;   /* tests only: 1 */
    struct pd_metrics *metrics; /* counts attempts; NULL: nobody does */
};

/* The answer is borrowed for the call; NULL exactly when err is not. */
typedef void (*pd_ecs_cb)(void *arg, const struct pd_err *err, const struct pd_node *answer);

struct pd_ecs_client *pd_ecs_client_new(uv_loop_t *loop, const struct pd_ecs_client_config *config);
/* Calls under way end as PD_CANCELED, then `closed` fires once from the loop. */
void pd_ecs_client_close(struct pd_ecs_client *client, void (*closed)(void *arg), void *arg);

/* The body is formatted before the call returns and stays the caller's. launches:
 * how many tasks a RunTask asks for, else 0. 0: cb fires once, from the loop.
 * PD_LIMIT: too many calls, or a body that is too large; PD_CANCELED: closing.
 * A call whose outcome nobody knows (PD_TIMEOUT, PD_UNAVAILABLE) may have had its
 * effect. */
int pd_ecs_call(struct pd_ecs_client *client, enum pd_ecs_operation operation,
                const struct pd_node *body, int launches, pd_ecs_cb cb, void *arg,
                struct pd_err *err);

/* Likewise, for a question that is not worth waiting long for. */
int pd_ecs_try(struct pd_ecs_client *client, enum pd_ecs_operation operation,
               const struct pd_node *body, pd_ecs_cb cb, void *arg, struct pd_err *err);

/* Where the key to sign with came from, for people. */
const char *pd_ecs_client_origin(const struct pd_ecs_client *client);
/* How many requests have been sent, and how many of them were throttled. */
void pd_ecs_client_counts(const struct pd_ecs_client *client, uint64_t *ret_sent,
                          uint64_t *ret_throttled);

#endif
