/* One job, from its place in the queue to its end. */
#include "api/job.h"

#include <assert.h>

#include "api/dispatch_state.h"
#include "api/figures.h"
#include "api/queue.h"
#include "common/log.h"
#include "common/mem.h"

#define STARTS_MAX 2     /* sandboxes that one job may lose before it began */
#define AVERAGE_WEIGHT 8 /* of the past, in the moving average of run times */

const struct pd_dispatch_links pd_dispatch_links_real = {
    .run = pd_link_run,
    .grant = pd_run_grant,
    .cancel = pd_run_cancel,
    .send_stdin = pd_run_stdin,
    .stdin_eof = pd_run_stdin_eof,
    .signal = pd_run_signal,
    .resize = pd_run_resize,
};

/* ---- jobs ---- */

void pd_job_free(struct pd_job *job)
{
    struct pd_dispatch *dispatch = job->dispatch;

    free(job);
    assert(dispatch->busy > 0);
    if (--dispatch->busy == 0 && dispatch->idle && !dispatch->closing)
        dispatch->idle(dispatch->idle_arg);
}

void pd_job_wait(struct pd_job *job)
{
    pd_fair_add(&job->queue->waiting, &job->place, job->key_id,
                pd_dispatch_limits(job->dispatch, job->key_id).share);
    job->dispatch->waiting_bytes += job->bytes;
}

void pd_job_leave(struct pd_job *job)
{
    pd_fair_remove(&job->queue->waiting, &job->place);
    job->dispatch->waiting_bytes -= job->bytes;
}

static void job_take_turn(struct pd_job *job)
{
    if (!pd_fair_waits(&job->place))
        return;
    pd_fair_take(&job->queue->waiting, &job->place);
    job->dispatch->waiting_bytes -= job->bytes;
}

void pd_job_fail(struct pd_job *job, const struct pd_err *err, int retry_after_s)
{
    pd_figures_refused(job->dispatch->metrics, job->queue->pool, err->kind);
    if (job->events)
        job->events->failed(job->arg, err, retry_after_s);
    pd_job_free(job);
}

static void note_outcome(struct pd_queue *queue, bool good, const char *reason)
{
    if (good) {
        queue->bad_in_a_row = 0;
        return;
    }
    queue->bad_in_a_row++;
    queue->bad_since = pd_time_now();
    pd_strcpy(queue->bad_reason, sizeof queue->bad_reason, reason);
}

/* ---- running ---- */

static void note_duration(struct pd_queue *queue, const struct pd_job *job)
{
    int64_t us = (pd_time_now().ns - job->claimed.ns) / 1000;

    queue->average_us =
        queue->average_us ? (queue->average_us * (AVERAGE_WEIGHT - 1) + us) / AVERAGE_WEIGHT : us;
}

void pd_job_stop_running(struct pd_job *job)
{
    pd_ring_remove(&job->in_running);
    if (job->in_announced.next)
        pd_ring_remove(&job->in_announced);
    job->queue->n_running--;
    job->link = NULL;
}

/* Its sandbox died under it before the program was started: another may do. */
static void job_lost_early(struct pd_job *job, const char *reason)
{
    struct pd_dispatch *dispatch = job->dispatch;
    struct pd_err err;
    struct pd_pool *pool = pd_store_pool(dispatch->store, job->queue->pool);

    if (job->events && (job->place.patient || job->starts < STARTS_MAX) && pool &&
        !pool->deleting) {
        pd_job_wait(job);
        pd_queue_tell_demand(dispatch, job->queue, pool);
        pd_dispatch_arm_timer(dispatch);
        return;
    }
    pd_err_set(&err, PD_UNAVAILABLE, "the sandbox was lost before the program started: %s",
               reason && *reason ? reason : "unknown");
    pd_job_fail(job, &err, pd_queue_retry_after(dispatch, job->queue));
}

static void on_started(void *arg, enum pd_start start)
{
    struct pd_job *job = arg;

    job->began = true;
    if (job->events && job->events->started)
        job->events->started(job->arg, start);
}

static void on_stdin_room(void *arg)
{
    struct pd_job *job = arg;

    if (job->events && job->events->stdin_room)
        job->events->stdin_room(job->arg);
}

static void on_output(void *arg, int stream, const void *data, size_t len)
{
    struct pd_job *job = arg;

    if (job->events)
        job->events->output(job->arg, stream, data, len);
    else if (job->dispatch)
        pd_job_grant(job, len);
}

static void on_stage(void *arg, const char *name)
{
    struct pd_job *job = arg;

    if (job->events && job->events->stage)
        job->events->stage(job->arg, name);
}

static void on_artifact(void *arg, const char *path, const void *data, size_t len, bool last,
                        const char *error)
{
    struct pd_job *job = arg;

    if (job->events && job->events->artifact)
        job->events->artifact(job->arg, path, data, len, last, error);
}

static struct pd_job_times job_times(const struct pd_job *job)
{
    return (struct pd_job_times){
        .queue_us = (job->claimed.ns - job->place.since.ns) / 1000,
        .run_us = (pd_time_now().ns - job->claimed.ns) / 1000,
        .sandbox = job->sandbox_id,
    };
}

static void job_ended(struct pd_job *job, const struct pd_run_result *result,
                      const struct pd_job_times *times)
{
    if (job->events)
        job->events->ended(job->arg, result, times);
    pd_job_free(job);
}

static void on_ended(void *arg, const struct pd_run_result *result)
{
    struct pd_job *job = arg;
    struct pd_dispatch *dispatch = job->dispatch;
    struct pd_queue *queue = job->queue;
    bool lost = result->cause == PD_CAUSE_LOST;
    struct pd_job_times times;

    if (!dispatch) {
        free(job); /* the dispatcher is closed and has forgotten it */
        return;
    }
    /* Of one that was canceled the request is gone, and its id with it. */
    pd_log(PD_LOG_DEBUG, "dispatch", "run over", "run", job->events ? job->run->id : "", "id",
           job->sandbox_id, "cause", pd_cause_name(result->cause), NULL);
    pd_job_stop_running(job);
    note_duration(queue, job);
    note_outcome(queue, !lost, result->message ? result->message : "");
    pd_store_release(dispatch->store, job->sandbox_id, !lost, lost ? result->message : NULL);
    if (lost && !job->began) {
        job_lost_early(job, result->message);
        pd_queue_pump(dispatch, queue);
        pd_queue_reap(dispatch, queue);
        return;
    }
    times = job_times(job);
    pd_figures_ended(dispatch->metrics, queue->pool, job->language, result, &times);
    /* The next run first: its sandbox should not wait while this answer is made. */
    pd_queue_pump(dispatch, queue);
    if (job->limited)
        pd_dispatch_pump_others(dispatch, queue);
    pd_queue_reap(dispatch, queue);
    job_ended(job, result, &times);
}

static const struct pd_run_events run_events = {
    .started = on_started,
    .stage = on_stage,
    .output = on_output,
    .artifact = on_artifact,
    .stdin_room = on_stdin_room,
    .ended = on_ended,
};

static int job_send(struct pd_job *job, struct pd_link *link, struct pd_err *err)
{
    struct pd_dispatch *dispatch = job->dispatch;
    int rc = link ? dispatch->links->run(link, job->run, &run_events, job, err)
                  : pd_err_set(err, PD_UNAVAILABLE, "sandbox %s has no link", job->sandbox_id);

    if (rc == 0)
        pd_log(PD_LOG_DEBUG, "dispatch", "run sent", "run", job->run->id, "id", job->sandbox_id,
               NULL);
    if (rc == 0)
        job->link = link;
    else
        pd_store_release(dispatch->store, job->sandbox_id, rc == PD_INVALID,
                         rc == PD_INVALID ? NULL : err->msg);
    return rc;
}

/* From the loop: what its owner does then may start, end or cancel any job. */
static void on_soon(uv_timer_t *timer)
{
    struct pd_dispatch *dispatch = timer->data;

    while (!pd_ring_is_empty(&dispatch->announced)) {
        struct pd_job *job = PD_CONTAINER_OF(dispatch->announced.next, struct pd_job, in_announced);
        pd_ring_remove(&job->in_announced);
        job->events->about(job->arg, job);
    }
}

static void announce(struct pd_job *job)
{
    pd_ring_append(&job->dispatch->announced, &job->in_announced);
    uv_timer_start(&job->dispatch->soon, on_soon, 0, 0);
}

/* Start a job that does not wait any more in a sandbox that is claimed for it.
 * 0, or negative: the job is the caller's still, the sandbox is not. */
static int job_start(struct pd_job *job, struct pd_sandbox *sandbox, struct pd_err *err)
{
    int rc = 0;

    pd_strcpy(job->sandbox_id, sizeof job->sandbox_id, sandbox->id);
    job->claimed = pd_time_now();
    job->began = false;
    job->starts++;
    job->held = job->events && job->events->about;
    if (!job->held)
        rc = job_send(job, sandbox->link, err);
    if (rc < 0)
        return rc;
    pd_ring_append(&job->queue->running, &job->in_running);
    job->queue->n_running++;
    if (job->held)
        announce(job);
    return 0;
}

void pd_job_proceed(struct pd_job *job)
{
    struct pd_dispatch *dispatch = job->dispatch;
    struct pd_sandbox *sandbox = pd_store_sandbox(dispatch->store, job->sandbox_id);
    struct pd_queue *queue = job->queue;
    struct pd_err err;
    int rc;

    assert(job->held);
    job->held = false;
    rc = job_send(job, sandbox ? sandbox->link : NULL, &err);
    if (rc == 0)
        return;
    pd_job_stop_running(job);
    if (rc == PD_INVALID) {
        pd_job_fail(job, &err, 0);
    } else {
        note_outcome(queue, false, err.msg);
        job_lost_early(job, err.msg);
    }
    pd_queue_pump(dispatch, queue);
    pd_queue_reap(dispatch, queue);
}

int pd_job_try(struct pd_job *job, struct pd_err *err)
{
    struct pd_dispatch *dispatch = job->dispatch;
    bool waits = pd_fair_waits(&job->place);
    struct pd_sandbox *sandbox;

    if (pd_dispatch_is_at_limit(dispatch, job))
        return PD_NOT_FOUND;
    while ((sandbox = pd_store_claim(dispatch->store, job->queue->pool, job->run->language,
                                     job->key_id))) {
        int rc;
        job_take_turn(job);
        rc = job_start(job, sandbox, err);
        if (rc == 0 || rc == PD_INVALID)
            return rc;
        note_outcome(job->queue, false, err->msg);
        pd_log(PD_LOG_WARN, "dispatch", "a claimed sandbox could not run", "pool", job->queue->pool,
               "id", job->sandbox_id, "err", err->msg, NULL);
        if (job->starts >= STARTS_MAX && !job->place.patient)
            return PD_UNAVAILABLE;
    }
    if (waits && !pd_fair_waits(&job->place))
        pd_job_wait(job);
    return PD_NOT_FOUND;
}

void pd_job_grant(struct pd_job *job, size_t bytes)
{
    if (job->link)
        job->dispatch->links->grant(job->link, bytes);
}

int pd_job_stdin(struct pd_job *job, const void *data, size_t len, struct pd_err *err)
{
    return job->link ? job->dispatch->links->send_stdin(job->link, data, len, err) : 0;
}

void pd_job_stdin_eof(struct pd_job *job)
{
    if (job->link)
        job->dispatch->links->stdin_eof(job->link);
}

void pd_job_signal(struct pd_job *job, int signo)
{
    if (job->link)
        job->dispatch->links->signal(job->link, signo);
}

void pd_job_resize(struct pd_job *job, uint16_t rows, uint16_t cols)
{
    if (job->link)
        job->dispatch->links->resize(job->link, rows, cols);
}

bool pd_job_stop(struct pd_job *job)
{
    if (job->link)
        job->dispatch->links->cancel(job->link);
    return job->link != NULL;
}

size_t pd_job_position(const struct pd_job *job, int64_t *ret_wait_ms)
{
    const struct pd_ring *order = &job->queue->waiting.order;
    size_t position = 0;

    *ret_wait_ms = 0;
    if (!pd_fair_waits(&job->place))
        return 0;
    for (const struct pd_ring *at = order->next; at != order && at != &job->place.in_order;
         at = at->next)
        position++;
    *ret_wait_ms = pd_queue_expected_wait_ms(job->dispatch, job->queue, position);
    return position;
}

/* It has a sandbox, where nothing has begun. */
static void job_let_go(struct pd_job *job)
{
    struct pd_dispatch *dispatch = job->dispatch;
    struct pd_queue *queue = job->queue;

    job->held = false;
    pd_job_stop_running(job);
    pd_store_release(dispatch->store, job->sandbox_id, true, NULL);
    pd_job_free(job);
    pd_queue_pump(dispatch, queue);
    pd_queue_reap(dispatch, queue);
}

void pd_job_cancel(struct pd_job *job)
{
    struct pd_pool *pool;

    job->events = NULL;
    if (job->held) {
        job_let_go(job);
        return;
    }
    if (job->link) {
        job->dispatch->links->cancel(job->link); /* `ended` follows, and frees it */
        return;
    }
    pd_figures_refused(job->dispatch->metrics, job->queue->pool, PD_CANCELED);
    pool = pd_store_pool(job->dispatch->store, job->queue->pool);
    pd_job_leave(job);
    if (pool)
        pd_queue_tell_demand(job->dispatch, job->queue, pool);
    pd_job_free(job);
}
