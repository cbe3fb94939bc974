/* What dispatch.c, queue.c and job.c share of the dispatcher; nobody else's. Lists,
 * counts and timers are kept by the functions declared here, in queue.h and in job.h. */
#ifndef PD_API_DISPATCH_STATE_H
#define PD_API_DISPATCH_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "api/dispatch.h"
#include "api/ring.h"

struct pd_job;
struct pd_queue;

struct pd_dispatch {
    uv_loop_t *loop;
    struct pd_store *store;
    const struct pd_dispatch_links *links;
    struct pd_metrics *metrics; /* NULL: nobody counts */
    struct pd_queue *queues;
    pd_key_limits_cb limits_of; /* NULL: keys have none */
    void *limits_arg;
    pd_key_use_cb on_use; /* NULL: nobody is told */
    void *use_arg;
    uv_timer_t soon; /* tells `about` */
    struct pd_ring announced;
    int closed_timers;
    uv_timer_t timer; /* the earliest deadline of a waiting job */
    size_t busy;
    size_t waiting_bytes;
    bool closing;
    char sentence[PD_REASON_MAX + PD_POOL_NAME_MAX + 64];
    void (*idle)(void *arg);
    void *idle_arg;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct pd_key_limits pd_dispatch_limits(struct pd_dispatch *dispatch, const char *key_id);
/* Has its key as many running as it may? */
bool pd_dispatch_is_at_limit(struct pd_dispatch *dispatch, const struct pd_job *job);
/* A key may have one more: in any queue but this one. */
void pd_dispatch_pump_others(struct pd_dispatch *dispatch, const struct pd_queue *queue);
/* A job waits that did not: its deadline may be the earliest. */
void pd_dispatch_arm_timer(struct pd_dispatch *dispatch);

#endif
