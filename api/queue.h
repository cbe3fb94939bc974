/* The queue of one pool: which runs wait, in whose turn, how long, and which run.
 *
 * A run waits in its key's line and in the order of arrival (api/fair.h). A queue is made
 * for the pool's first run and outlives the pool while runs of it are under way. The
 * dispatcher (api/dispatch_state.h) owns its queues; dispatch.c, queue.c and job.c alone
 * include this. */
#ifndef PD_API_QUEUE_H
#define PD_API_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/dispatch.h"
#include "api/fair.h"
#include "api/ring.h"
#include "common/store.h"
#include "common/time.h"

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

/* By its pool's name; NULL: the pool has none. */
struct pd_queue *pd_queue_find(struct pd_dispatch *dispatch, const char *pool);
/* The pool's, made when it has none yet. */
struct pd_queue *pd_queue_of(struct pd_dispatch *dispatch, struct pd_pool *pool);
/* Nothing waits or runs in it any more. Its pool, if it is there, must forget it
 * (api_data). */
void pd_queue_free(struct pd_dispatch *dispatch, struct pd_queue *queue);
/* Free it when its pool is gone, and the last of its jobs. */
void pd_queue_reap(struct pd_dispatch *dispatch, struct pd_queue *queue);

/* What a run with so many before it is expected to wait; 0 when the pool is gone. */
int64_t pd_queue_expected_wait_ms(struct pd_dispatch *dispatch, const struct pd_queue *queue,
                                  size_t before);
/* When it is worth coming back, in seconds; 0: never, the pool is gone. */
int pd_queue_retry_after(struct pd_dispatch *dispatch, const struct pd_queue *queue);
/* Tell the pool how many wait, and how long: the controller looks again. */
void pd_queue_tell_demand(struct pd_dispatch *dispatch, struct pd_queue *queue,
                          struct pd_pool *pool);

/* May one more run of this key wait? 0; another key's newest may have given way for it.
 * PD_UNAVAILABLE: it could not start within maxWait, or at all. PD_THROTTLED: the queue is
 * full, and this key has its share of it. */
int pd_queue_admit(struct pd_dispatch *dispatch, struct pd_queue *queue, const struct pd_pool *pool,
                   const char *key_id, struct pd_err *err);
/* Start what can be started. */
void pd_queue_pump(struct pd_dispatch *dispatch, struct pd_queue *queue);

/* Until the oldest has waited for maxWait, 0 or less: it has; INT64_MAX: none waits with a
 * deadline. */
int64_t pd_queue_left_ms(struct pd_dispatch *dispatch, const struct pd_queue *queue);
/* Fail those that have waited for maxWait. */
void pd_queue_expire(struct pd_dispatch *dispatch, struct pd_queue *queue);
/* Fail all that wait; waiting longer would not help them. */
void pd_queue_fail_all(struct pd_queue *queue, const struct pd_err *err);

/* Set its figures; class_of and arg as in pd_dispatch_collect. */
void pd_queue_collect(const struct pd_queue *queue, struct pd_metrics *metrics,
                      pd_key_class_cb class_of, void *arg);

#endif
