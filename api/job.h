/* One job: a run that was submitted, from its place in the queue to its end. dispatch.c,
 * queue.c and job.c alone include this; what others may do with a job is in
 * api/dispatch.h. */
#ifndef PD_API_JOB_H
#define PD_API_JOB_H

#include <stdbool.h>

#include "api/dispatch.h"
#include "api/fair.h"
#include "api/ring.h"
#include "common/time.h"

struct pd_queue;

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

/* Neither waiting nor running. Counts as busy no more: may tell that the service is idle. */
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
/* Out of its queue's running ones; the sandbox is the caller's to release. */
void pd_job_stop_running(struct pd_job *job);

#endif
