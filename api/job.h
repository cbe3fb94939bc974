/* What job.c and dispatch.c share: a job, the queue of one pool, the dispatcher.
 * job.c has what becomes of one job, dispatch.c who may wait and whose turn it
 * is. Nothing else includes this. */
#ifndef PD_API_JOB_H
#define PD_API_JOB_H

#include <stdbool.h>

#include "api/dispatch.h"
#include "api/fair.h"
#include "api/ring.h"
#include "common/time.h"

struct pd_job {
    struct pd_dispatch *dispatch;
    struct pd_queue *queue;
    struct pd_fair_item place; /* while waiting */
    struct pd_ring in_running; /* while running */
    char key_id[PD_KEY_ID_MAX];
    char language[PD_LANGUAGE_NAME_MAX]; /* outlives `run` */
    const struct pd_run_request *run;
    size_t bytes;
    const struct pd_job_events *events; /* NULL: canceled, nobody listens */
    void *arg;
    struct pd_time claimed;
    char sandbox_id[PD_SANDBOX_ID_MAX];
    struct pd_link *link;        /* while running */
    bool limited;                /* its key may only have so many at a time */
    bool began;                  /* the agent has started it */
    bool held;                   /* has a sandbox, and waits for pd_job_proceed */
    struct pd_ring in_announced; /* held, and `about` is still to be told */
    int starts;
};

struct pd_queue {
    struct pd_queue *next;
    char pool[PD_POOL_NAME_MAX];
    struct pd_fair waiting;
    struct pd_ring running;
    size_t n_running;
    int64_t average_us; /* of what one run keeps a sandbox busy; 0: none has ended yet */
    unsigned bad_in_a_row;
    struct pd_time bad_since;
    char bad_reason[PD_REASON_MAX];
    bool pumping;
};

struct pd_dispatch {
    uv_loop_t *loop;
    struct pd_store *store;
    const struct pd_dispatch_links *links;
    struct pd_metrics *metrics; /* NULL: nobody counts */
    struct pd_queue *queues;
    pd_key_limits_cb limits_of; /* NULL: keys have none */
    void *limits_arg;
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

/* ---- job.c ---- */

void pd_job_free(struct pd_job *job);
/* Into its queue, at the place that its age gives it; and out of it. */
void pd_job_wait(struct pd_job *job);
void pd_job_leave(struct pd_job *job);
/* It never began: tell, and forget it. Not waiting, not running any more. */
void pd_job_fail(struct pd_job *job, const struct pd_err *err, int retry_after_s);
/* Start a job, waiting or not, in a sandbox that can be had now. 0; PD_NOT_FOUND
 * when there is none (a waiting job goes on waiting); otherwise it cannot be
 * run: it does not wait any more, and is the caller's to fail. */
int pd_job_try(struct pd_job *job, struct pd_err *err);
void pd_job_stop_running(struct pd_job *job);

/* ---- dispatch.c ---- */

struct pd_key_limits pd_dispatch_limits(struct pd_dispatch *dispatch, const char *key_id);
/* Has its key as many running as it may? */
bool pd_dispatch_is_at_limit(struct pd_dispatch *dispatch, const struct pd_job *job);
/* A key may have one more: in any queue but this one. */
void pd_dispatch_pump_others(struct pd_dispatch *dispatch, const struct pd_queue *queue);
/* Start what can be started. */
void pd_queue_pump(struct pd_dispatch *dispatch, struct pd_queue *queue);
/* Free it when its pool is gone, and the last of its jobs. */
void pd_queue_reap(struct pd_dispatch *dispatch, struct pd_queue *queue);
void pd_queue_tell_demand(struct pd_dispatch *dispatch, struct pd_queue *queue,
                          struct pd_pool *pool);
/* With so many before it. */
int64_t pd_queue_expected_wait_ms(struct pd_dispatch *dispatch, const struct pd_queue *queue,
                                  size_t before);
int pd_queue_retry_after(struct pd_dispatch *dispatch, const struct pd_queue *queue);
void pd_dispatch_arm_timer(struct pd_dispatch *dispatch);

#endif
