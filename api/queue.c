#include "api/queue.h"

#include <string.h>

#include "api/dispatch_state.h"
#include "api/job.h"
#include "api/problem.h"
#include "common/mem.h"

#define DEFAULT_RUN_MS 1000 /* taken for granted until a run has ended */

struct pd_queue *pd_queue_find(struct pd_dispatch *dispatch, const char *pool)
{
    for (struct pd_queue *queue = dispatch->queues; queue; queue = queue->next) {
        if (strcmp(queue->pool, pool) == 0)
            return queue;
    }
    return NULL;
}

/* The pool's record keeps it at hand; the list survives the record. */
struct pd_queue *pd_queue_of(struct pd_dispatch *dispatch, struct pd_pool *pool)
{
    struct pd_queue *queue = pool->api_data;

    if (!queue)
        queue = pd_queue_find(dispatch, pool->spec->name);
    if (!queue) {
        queue = PD_NEW(struct pd_queue);
        pd_strcpy(queue->pool, sizeof queue->pool, pool->spec->name);
        pd_fair_init(&queue->waiting);
        pd_ring_init(&queue->running);
        queue->next = dispatch->queues;
        dispatch->queues = queue;
    }
    pool->api_data = queue;
    return queue;
}

void pd_queue_free(struct pd_dispatch *dispatch, struct pd_queue *queue)
{
    struct pd_queue **at = &dispatch->queues;

    while (*at != queue)
        at = &(*at)->next;
    *at = queue->next;
    free(queue);
}

/* A queue outlives its pool while runs of it are under way. */
void pd_queue_reap(struct pd_dispatch *dispatch, struct pd_queue *queue)
{
    if (queue->n_running == 0 && queue->waiting.count == 0 &&
        !pd_store_pool(dispatch->store, queue->pool))
        pd_queue_free(dispatch, queue);
}

/* ---- how long it takes ---- */

static int64_t average_ms(const struct pd_queue *queue)
{
    return queue->average_us ? queue->average_us / 1000 + 1 : DEFAULT_RUN_MS;
}

/* How long a run with so many before it would wait, with the sandboxes that there are now; at
 * least one is taken to come. */
static int64_t expected_wait_ms(const struct pd_queue *queue, const struct pd_pool *pool,
                                size_t before)
{
    int64_t sandboxes = pool->status.ready + pool->status.claimed;

    if (sandboxes < (int64_t)queue->n_running)
        sandboxes = (int64_t)queue->n_running;
    if (sandboxes < 1)
        sandboxes = 1;
    return ((int64_t)before + 1) * average_ms(queue) / sandboxes;
}

int64_t pd_queue_expected_wait_ms(struct pd_dispatch *dispatch, const struct pd_queue *queue,
                                  size_t before)
{
    struct pd_pool *pool = pd_store_pool(dispatch->store, queue->pool);

    return pool ? expected_wait_ms(queue, pool, before) : 0;
}

int pd_queue_retry_after(struct pd_dispatch *dispatch, const struct pd_queue *queue)
{
    struct pd_pool *pool = pd_store_pool(dispatch->store, queue->pool);

    return pool ? pd_retry_after_s(expected_wait_ms(queue, pool, queue->waiting.count)) : 0;
}

void pd_queue_tell_demand(struct pd_dispatch *dispatch, struct pd_queue *queue,
                          struct pd_pool *pool)
{
    struct pd_fair_item *oldest = pd_fair_oldest(&queue->waiting);

    pool->demand.queued = (int)queue->waiting.count;
    pool->demand.oldest_wait_ms = oldest ? pd_time_ms_between(oldest->since, pd_time_now()) : 0;
    pool->demand.expected_wait_ms = expected_wait_ms(queue, pool, queue->waiting.count);
    pd_store_touch(dispatch->store, queue->pool);
}

static int64_t max_wait_ms(struct pd_dispatch *dispatch, const struct pd_queue *queue)
{
    struct pd_pool *pool = pd_store_pool(dispatch->store, queue->pool);

    return pool ? pool->spec->queue.max_wait_ms : 0;
}

static int64_t left_ms(const struct pd_fair_item *place, int64_t wait_ms)
{
    return wait_ms - pd_time_ms_between(place->since, pd_time_now());
}

int64_t pd_queue_left_ms(struct pd_dispatch *dispatch, const struct pd_queue *queue)
{
    const struct pd_fair_item *oldest = pd_fair_oldest(&queue->waiting);

    return oldest ? left_ms(oldest, max_wait_ms(dispatch, queue)) : INT64_MAX;
}

/* ---- whose turn ---- */

static struct pd_job *job_at(struct pd_fair_item *place)
{
    return PD_CONTAINER_OF(place, struct pd_job, place);
}

/* Start one job: the first of the first key in turn that can have a sandbox.
 * Returns false when none can. (A job that fails tells
 * its owner, who may change the queue: so the walk ends there, too.) */
static bool pump_one(struct pd_dispatch *dispatch, struct pd_queue *queue)
{
    struct pd_fair_item *place = NULL;
    struct pd_err err;

    while ((place = pd_fair_next_key(&queue->waiting, place))) {
        struct pd_job *job = job_at(place);
        int starts = job->starts;
        int rc = pd_job_try(job, &err);
        if (rc == PD_NOT_FOUND && job->starts == starts)
            continue;
        if (rc < 0 && rc != PD_NOT_FOUND)
            pd_job_fail(job, &err, rc == PD_INVALID ? 0 : pd_queue_retry_after(dispatch, queue));
        return true;
    }
    return false;
}

void pd_queue_pump(struct pd_dispatch *dispatch, struct pd_queue *queue)
{
    struct pd_pool *pool = pd_store_pool(dispatch->store, queue->pool);
    size_t before = queue->waiting.count;

    if (queue->pumping || queue->waiting.count == 0 || !pool)
        return;
    queue->pumping = true;
    while (pump_one(dispatch, queue))
        continue;
    queue->pumping = false;
    if (queue->waiting.count != before)
        pd_queue_tell_demand(dispatch, queue, pool);
}

/* ---- giving up ---- */

static void fail_waiting(struct pd_job *job, const struct pd_err *err, int retry_after_s)
{
    pd_job_leave(job);
    pd_job_fail(job, err, retry_after_s);
}

void pd_queue_expire(struct pd_dispatch *dispatch, struct pd_queue *queue)
{
    int64_t wait_ms = max_wait_ms(dispatch, queue);
    size_t before = queue->waiting.count;
    struct pd_fair_item *oldest;
    struct pd_pool *pool;
    struct pd_err err;

    while ((oldest = pd_fair_oldest(&queue->waiting)) && left_ms(oldest, wait_ms) <= 0) {
        pd_err_set(&err, PD_TIMEOUT, "no sandbox of pool %s became free within %lld s", queue->pool,
                   (long long)wait_ms / 1000);
        fail_waiting(job_at(oldest), &err, pd_queue_retry_after(dispatch, queue));
    }
    pool = pd_store_pool(dispatch->store, queue->pool);
    if (pool && queue->waiting.count != before)
        pd_queue_tell_demand(dispatch, queue, pool);
}

void pd_queue_fail_all(struct pd_queue *queue, const struct pd_err *err)
{
    struct pd_fair_item *oldest;

    while ((oldest = pd_fair_oldest(&queue->waiting)) ||
           (oldest = pd_fair_any_patient(&queue->waiting)))
        fail_waiting(job_at(oldest), err, 0);
}

/* ---- admission ---- */

/* Make room in a full queue for a key that has less than the others, or refuse. */
static int make_room(struct pd_dispatch *dispatch, struct pd_queue *queue, const char *key_id,
                     struct pd_err *err)
{
    struct pd_fair_item *victim = pd_fair_victim(&queue->waiting, key_id);
    struct pd_err given;

    if (!victim)
        return pd_err_set(err, PD_THROTTLED, "the queue of pool %s is full: %zu runs wait",
                          queue->pool, queue->waiting.count);
    pd_err_set(&given, PD_THROTTLED, "the queue of pool %s is full, and this key has most in it",
               queue->pool);
    fail_waiting(job_at(victim), &given, pd_queue_retry_after(dispatch, queue));
    return 0;
}

int pd_queue_admit(struct pd_dispatch *dispatch, struct pd_queue *queue, const struct pd_pool *pool,
                   const char *key_id, struct pd_err *err)
{
    const struct pd_pool_spec *spec = pool->spec;
    size_t waiting = queue->waiting.count - queue->waiting.n_patient;
    int64_t best =
        ((int64_t)waiting + 1) * average_ms(queue) / (spec->max_size > 0 ? spec->max_size : 1);

    if (spec->max_size <= 0)
        return pd_err_set(err, PD_UNAVAILABLE, "pool %s may have no sandboxes: maxSize is 0",
                          queue->pool);
    if (queue->average_us && best > spec->queue.max_wait_ms)
        return pd_err_set(err, PD_UNAVAILABLE,
                          "pool %s is busy: a run sent now could not start within %lld s",
                          queue->pool, (long long)spec->queue.max_wait_ms / 1000);
    if (waiting >= (size_t)spec->queue.max_length)
        return make_room(dispatch, queue, key_id, err);
    return 0;
}

/* ---- figures ---- */

void pd_queue_collect(const struct pd_queue *queue, struct pd_metrics *metrics,
                      pd_key_class_cb class_of, void *arg)
{
    struct pd_fair_item *oldest = pd_fair_oldest(&queue->waiting);
    int64_t wait_ms = oldest ? pd_time_ms_between(oldest->since, pd_time_now()) : 0;
    struct pd_fair_item *place = NULL;

    pd_metrics_add(metrics, PD_M_QUEUE_OLDEST, PD_LABELS(queue->pool), (double)wait_ms / 1e3);
    pd_metrics_add(metrics, PD_M_QUEUE_RUNS, PD_LABELS(queue->pool, class_of(arg, NULL)), 0);
    while ((place = pd_fair_next_key(&queue->waiting, place)))
        pd_metrics_add(metrics, PD_M_QUEUE_RUNS,
                       PD_LABELS(queue->pool, class_of(arg, job_at(place)->key_id)),
                       (double)pd_fair_key_count(place));
}
