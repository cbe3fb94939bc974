/* Theory of operation.
 *
 * A job is in one of two places: waiting (in its key's line and in its pool's
 * order of arrival) or running (claimed a sandbox; the link's callbacks come to
 * it). pd_queue_pump moves jobs from the first to the second as long as the store
 * has a sandbox for the next one; it runs when a job is submitted, when one ends,
 * and when the store says that something changed in the pool.
 *
 * A sandbox may be there that serves another key (recycle.share is false), so
 * that the first in turn cannot have it while the next one can: pump asks once
 * for each key before it gives up.
 *
 * All jobs of a queue wait equally long at most, so the oldest is the first to
 * run out of time, and one timer for its deadline will do. */
#include "api/dispatch.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "api/dispatch_state.h"
#include "api/figures.h"
#include "api/job.h"
#include "api/queue.h"
#include "common/mem.h"

/* ---- keys ---- */

void pd_dispatch_set_limits(struct pd_dispatch *dispatch, pd_key_limits_cb limits_of, void *arg)
{
    dispatch->limits_of = limits_of;
    dispatch->limits_arg = arg;
}

struct pd_key_limits pd_dispatch_limits(struct pd_dispatch *dispatch, const char *key_id)
{
    if (dispatch->limits_of)
        return dispatch->limits_of(dispatch->limits_arg, key_id);
    return (struct pd_key_limits){.share = 1};
}

/* Few run at a time: counting them costs less than keeping count. */
static int running_of(const struct pd_dispatch *dispatch, const char *key_id)
{
    int count = 0;

    for (const struct pd_queue *queue = dispatch->queues; queue; queue = queue->next) {
        for (struct pd_ring *at = queue->running.next; at != &queue->running; at = at->next)
            count += strcmp(PD_CONTAINER_OF(at, struct pd_job, in_running)->key_id, key_id) == 0;
    }
    return count;
}

bool pd_dispatch_is_at_limit(struct pd_dispatch *dispatch, const struct pd_job *job)
{
    int limit = pd_dispatch_limits(dispatch, job->key_id).concurrency;
    int running;

    if (limit == 0)
        return false;
    running = running_of(dispatch, job->key_id);
    if (dispatch->on_use)
        dispatch->on_use(dispatch->use_arg, job->key_id, running, running >= limit);
    return running >= limit;
}

void pd_dispatch_on_use(struct pd_dispatch *dispatch, pd_key_use_cb on_use, void *arg)
{
    dispatch->on_use = on_use;
    dispatch->use_arg = arg;
}

struct pd_key_demand pd_dispatch_key_demand(const struct pd_dispatch *dispatch, const char *key_id)
{
    struct pd_key_demand demand = {.running = running_of(dispatch, key_id)};

    for (const struct pd_queue *queue = dispatch->queues; queue; queue = queue->next) {
        struct pd_fair_item *place = NULL;
        while ((place = pd_fair_next_key(&queue->waiting, place))) {
            const struct pd_job *job = PD_CONTAINER_OF(place, struct pd_job, place);
            if (strcmp(job->key_id, key_id) == 0)
                demand.waiting += (int)pd_fair_key_count(place);
        }
    }
    return demand;
}

void pd_dispatch_pump_others(struct pd_dispatch *dispatch, const struct pd_queue *but)
{
    for (struct pd_queue *queue = dispatch->queues; queue; queue = queue->next) {
        if (queue != but)
            pd_queue_pump(dispatch, queue);
    }
}

void pd_dispatch_pump(struct pd_dispatch *dispatch)
{
    pd_dispatch_pump_others(dispatch, NULL);
}

/* ---- deadlines ---- */

static void on_timer(uv_timer_t *timer)
{
    struct pd_dispatch *dispatch = timer->data;

    for (struct pd_queue *queue = dispatch->queues; queue; queue = queue->next)
        pd_queue_expire(dispatch, queue);
    pd_dispatch_arm_timer(dispatch);
}

void pd_dispatch_arm_timer(struct pd_dispatch *dispatch)
{
    int64_t least = INT64_MAX;

    for (struct pd_queue *queue = dispatch->queues; queue; queue = queue->next) {
        int64_t left = pd_queue_left_ms(dispatch, queue);
        least = left < least ? left : least;
    }
    if (least < INT64_MAX)
        uv_timer_start(&dispatch->timer, on_timer, least > 0 ? (uint64_t)least + 1 : 1, 0);
}

/* ---- the store ---- */

/* The store has changed something in a pool. */
static void on_store(void *arg, const char *name)
{
    struct pd_dispatch *dispatch = arg;
    struct pd_pool *pool = pd_store_pool(dispatch->store, name);
    struct pd_queue *queue = pool ? pool->api_data : pd_queue_find(dispatch, name);
    struct pd_err err;

    if (!queue)
        return;
    if (!pool || pool->deleting) {
        pd_err_set(&err, PD_UNAVAILABLE, "pool %s is being deleted", name);
        pd_queue_fail_all(queue, &err);
    }
    if (pool)
        pd_queue_pump(dispatch, queue);
    else
        pd_queue_reap(dispatch, queue);
}

/* ---- submitting ---- */

static struct pd_job *job_new(struct pd_dispatch *dispatch, struct pd_queue *queue,
                              const struct pd_job_request *request,
                              const struct pd_job_events *events, void *arg)
{
    struct pd_job *job = PD_NEW(struct pd_job);

    job->dispatch = dispatch;
    job->queue = queue;
    pd_strcpy(job->key_id, sizeof job->key_id, request->key_id);
    pd_strcpy(job->language, sizeof job->language, request->run->language);
    job->run = request->run;
    job->bytes = request->bytes;
    job->events = events;
    job->arg = arg;
    job->place.since = pd_time_now();
    job->place.patient = request->patient;
    job->limited = pd_dispatch_limits(dispatch, job->key_id).concurrency != 0;
    return job;
}

static bool is_idle_elsewhere(struct pd_dispatch *dispatch, const char *pool)
{
    struct pd_sandbox *sandbox;

    for (size_t i = 0; (sandbox = pd_store_sandbox_at(dispatch->store, pool, i)); i++) {
        if (sandbox->phase == PD_SANDBOX_WARM && !sandbox->recycle)
            return true;
    }
    return false;
}

static int enqueue(struct pd_dispatch *dispatch, struct pd_pool *pool, struct pd_job *job,
                   struct pd_err *err)
{
    int rc = job->place.patient ? 0 : pd_queue_admit(dispatch, job->queue, pool, job->key_id, err);

    if (rc < 0)
        return rc;
    if (dispatch->waiting_bytes + job->bytes > PD_DISPATCH_WAITING_BYTES_MAX)
        return pd_err_set(err, PD_UNAVAILABLE, "too many large runs are waiting");
    if (is_idle_elsewhere(dispatch, job->queue->pool))
        pool->demand.no_sandbox_for_key++;
    pd_job_wait(job);
    pd_queue_tell_demand(dispatch, job->queue, pool);
    if (!uv_is_active((uv_handle_t *)&dispatch->timer))
        pd_dispatch_arm_timer(dispatch);
    return 0;
}

int pd_dispatch_submit(struct pd_dispatch *dispatch, const struct pd_job_request *request,
                       const struct pd_job_events *events, void *arg, struct pd_job **ret_job,
                       int *ret_retry_after_s, struct pd_err *err)
{
    struct pd_pool *pool = pd_store_pool(dispatch->store, request->pool);
    struct pd_queue *queue;
    struct pd_job *job;
    int rc = PD_NOT_FOUND;

    *ret_retry_after_s = 0;
    if (!pool || dispatch->closing)
        return pd_err_set(err, PD_NOT_FOUND, "there is no pool %s", request->pool);
    if (pool->deleting)
        return pd_err_set(err, PD_UNAVAILABLE, "pool %s is being deleted", request->pool);
    queue = pd_queue_of(dispatch, pool);
    job = job_new(dispatch, queue, request, events, arg);
    if (queue->waiting.count == 0)
        rc = pd_job_try(job, err);
    if (rc == 0) {
        pool->demand.warm_hits++;
        pd_metrics_add(dispatch->metrics, PD_M_WARM_HITS, PD_LABELS(queue->pool), 1);
    } else if (rc == PD_NOT_FOUND)
        rc = enqueue(dispatch, pool, job, err);
    if (rc < 0) {
        pd_figures_refused(dispatch->metrics, queue->pool, rc);
        *ret_retry_after_s = rc == PD_INVALID ? 0 : pd_queue_retry_after(dispatch, queue);
        free(job);
        return rc;
    }
    pool->demand.runs++;
    dispatch->busy++;
    *ret_job = job;
    return 0;
}

/* ---- life ---- */

struct pd_dispatch *pd_dispatch_new(uv_loop_t *loop, struct pd_store *store,
                                    const struct pd_dispatch_links *links)
{
    struct pd_dispatch *dispatch = PD_NEW(struct pd_dispatch);

    assert(links->run && links->grant && links->cancel && links->send_stdin && links->stdin_eof &&
           links->signal && links->resize);
    dispatch->loop = loop;
    dispatch->store = store;
    dispatch->links = links;
    uv_timer_init(loop, &dispatch->timer);
    dispatch->timer.data = dispatch;
    pd_ring_init(&dispatch->announced);
    uv_timer_init(loop, &dispatch->soon);
    dispatch->soon.data = dispatch;
    pd_store_observe(store, on_store, dispatch);
    return dispatch;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct pd_dispatch *dispatch = handle->data;
    void (*closed)(void *arg) = dispatch->closed;
    void *arg = dispatch->closed_arg;

    if (++dispatch->closed_timers < 2)
        return;
    free(dispatch);
    closed(arg);
}

/* Stop what runs. Its end is still to come from the link; it frees the job. */
static void abandon_running(struct pd_dispatch *dispatch, struct pd_queue *queue)
{
    const struct pd_err err = {.kind = PD_CANCELED, .msg = "the service is stopping"};

    while (!pd_ring_is_empty(&queue->running)) {
        struct pd_job *job = PD_CONTAINER_OF(queue->running.next, struct pd_job, in_running);
        const struct pd_job_events *events = job->events;
        struct pd_link *link = job->link;
        pd_job_stop_running(job);
        job->events = NULL;
        job->dispatch = NULL;
        dispatch->busy--;
        if (events)
            events->failed(job->arg, &err, 0);
        if (link)
            dispatch->links->cancel(link);
        else
            free(job); /* it was held: nothing of it is under way */
    }
}

void pd_dispatch_close(struct pd_dispatch *dispatch, void (*closed)(void *arg), void *arg)
{
    const struct pd_err err = {.kind = PD_UNAVAILABLE, .msg = "the service is stopping"};

    assert(!dispatch->closing);
    dispatch->closing = true;
    dispatch->closed = closed;
    dispatch->closed_arg = arg;
    pd_store_unobserve(dispatch->store, on_store, dispatch);
    while (dispatch->queues) {
        struct pd_queue *queue = dispatch->queues;
        struct pd_pool *pool = pd_store_pool(dispatch->store, queue->pool);
        pd_queue_fail_all(queue, &err);
        abandon_running(dispatch, queue);
        if (pool)
            pool->api_data = NULL;
        pd_queue_free(dispatch, queue);
    }
    uv_close((uv_handle_t *)&dispatch->timer, on_timer_closed);
    uv_close((uv_handle_t *)&dispatch->soon, on_timer_closed);
}

size_t pd_dispatch_busy(const struct pd_dispatch *dispatch)
{
    return dispatch->busy;
}

void pd_dispatch_on_idle(struct pd_dispatch *dispatch, void (*idle)(void *arg), void *arg)
{
    dispatch->idle = idle;
    dispatch->idle_arg = arg;
}

bool pd_dispatch_is_healthy(struct pd_dispatch *dispatch, const char **ret_sentence)
{
    for (struct pd_queue *queue = dispatch->queues; queue; queue = queue->next) {
        if (queue->bad_in_a_row < PD_RUNS_BAD_MIN ||
            pd_time_ms_between(queue->bad_since, pd_time_now()) > PD_RUNS_BAD_FOR_MS)
            continue;
        snprintf(dispatch->sentence, sizeof dispatch->sentence,
                 "the last %u runs of pool %s were lost: %s", queue->bad_in_a_row, queue->pool,
                 queue->bad_reason);
        *ret_sentence = dispatch->sentence;
        return false;
    }
    return true;
}

/* ---- figures ---- */

void pd_dispatch_set_metrics(struct pd_dispatch *dispatch, struct pd_metrics *metrics)
{
    dispatch->metrics = metrics;
}

void pd_dispatch_collect(struct pd_dispatch *dispatch, struct pd_metrics *metrics,
                         pd_key_class_cb class_of, void *arg)
{
    struct pd_pool *pool;

    pd_metrics_clear(metrics, PD_M_QUEUE_OLDEST);
    pd_metrics_clear(metrics, PD_M_QUEUE_RUNS);
    pd_metrics_set(metrics, PD_M_RUNS_BUSY, NULL, (double)dispatch->busy);
    for (size_t i = 0; (pool = pd_store_pool_at(dispatch->store, i)); i++)
        pd_queue_collect(pd_queue_of(dispatch, pool), metrics, class_of, arg);
}
