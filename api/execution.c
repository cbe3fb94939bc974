/* Theory of operation.
 *
 * What the job tells becomes an event in the journal, and every watch hears that
 * there is more. Output that the owner has not taken is output that the run gets
 * no credit for: so the journal's bound never has to bite into what the owner
 * still wants, and an owner who stops reading stops the program. Everybody else
 * reads from the same journal at leisure, and finds gaps where they were too slow.
 *
 * An execution that is done stays in `finished` until the bounds evict it. */
#include "api/execution.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "api/execution_state.h"
#include "api/trace.h"
#include "common/mem.h"
#include "common/time.h"

#define RUN_ID_HEX 16

/* ---- all of them ---- */

struct pd_executions *pd_executions_new(struct pd_dispatch *dispatch, struct pd_store *store)
{
    struct pd_executions *all = PD_NEW(struct pd_executions);

    all->dispatch = dispatch;
    all->store = store;
    pd_ring_init(&all->live);
    pd_ring_init(&all->finished);
    pd_ring_init(&all->plain);
    return all;
}

void pd_executions_observe(struct pd_executions *all, const struct pd_execution_observer *observer,
                           void *arg)
{
    assert(!all->observer);
    all->observer = observer;
    all->observer_arg = arg;
}

struct pd_execution *pd_executions_find(struct pd_executions *all, const char *id)
{
    return pd_strmap_get(&all->by_id, id);
}

size_t pd_executions_live(const struct pd_executions *all)
{
    return all->n_live;
}

size_t pd_executions_journal_bytes(const struct pd_executions *all)
{
    return all->journal_bytes;
}

static void release_run(struct pd_execution *execution)
{
    pd_request_free(PD_STEAL(execution->request));
    pd_outcome_fini(&execution->outcome);
    pd_outcome_init(&execution->outcome, 0, 0);
    pd_buf_fini(&execution->stdin_wait);
    execution->job = NULL;
}

void pd_execution_free(struct pd_execution *execution)
{
    assert(execution->n_watches == 0);
    execution->all->journal_bytes -= execution->journal.bytes;
    pd_journal_fini(&execution->journal);
    release_run(execution);
    pd_outcome_fini(&execution->outcome);
    free(execution);
}

void pd_execution_evict(struct pd_execution *execution)
{
    pd_ring_remove(&execution->in_list);
    if (execution->plain)
        pd_plain_forget(execution);
    else
        execution->all->n_finished--;
    if (!execution->unlisted)
        pd_strmap_remove(&execution->all->by_id, execution->id);
    pd_execution_free(execution);
}

void pd_executions_free(struct pd_executions *all)
{
    assert(pd_ring_is_empty(&all->live));
    while (!pd_ring_is_empty(&all->finished))
        pd_execution_evict(PD_CONTAINER_OF(all->finished.next, struct pd_execution, in_list));
    while (!pd_ring_is_empty(&all->plain))
        pd_execution_evict(PD_CONTAINER_OF(all->plain.next, struct pd_execution, in_list));
    pd_strmap_fini(&all->by_id);
    free(all);
}

static bool is_over_bounds(const struct pd_executions *all)
{
    return all->journal_bytes > PD_EXECUTIONS_JOURNAL_BYTES_MAX ||
           all->n_finished > PD_EXECUTIONS_FINISHED_MAX;
}

void pd_executions_evict(struct pd_executions *all, const struct pd_execution *spared)
{
    struct pd_ring *at = all->finished.next;

    while (is_over_bounds(all) && at != &all->finished) {
        struct pd_execution *execution = PD_CONTAINER_OF(at, struct pd_execution, in_list);
        at = at->next;
        if (execution != spared && execution->n_watches == 0)
            pd_execution_evict(execution);
    }
}

void pd_execution_finish(struct pd_execution *execution, const struct pd_execution_end *end)
{
    struct pd_executions *all = execution->all;

    if (all->observer && all->observer->done)
        all->observer->done(all->observer_arg, execution, end);
    execution->done = true;
    release_run(execution);
    pd_ring_remove(&execution->in_list);
    pd_ring_append(&all->finished, &execution->in_list);
    all->n_live--;
    all->n_finished++;
    pd_execution_tell_more(execution);
    pd_executions_evict(all, execution);
}

/* ---- submitting ---- */

static struct pd_execution *execution_new(struct pd_executions *all,
                                          const struct pd_execution_submit *submit)
{
    struct pd_execution *execution = PD_NEW(struct pd_execution);
    struct pd_request *request = submit->request;
    struct pd_pool *pool = pd_store_pool(all->store, request->pool);

    execution->all = all;
    execution->born = ++all->born;
    execution->request = request;
    execution->keep_outcome = submit->keep_outcome;
    execution->tag = submit->tag;
    execution->accepted = pd_time_now();
    pd_strcpy(execution->key_id, sizeof execution->key_id, submit->key_id);
    if (submit->id)
        pd_strcpy(execution->id, sizeof execution->id, submit->id);
    else
        pd_execution_make_id(execution->id);
    request->run.id = execution->id;
    pd_ring_init(&execution->watches);
    pd_buf_init(&execution->stdin_wait, PD_EXECUTION_STDIN_BYTES_MAX);
    pd_outcome_init(&execution->outcome,
                    submit->keep_outcome ? (size_t)request->run.output_max_bytes : 0,
                    pool ? (size_t)pool->spec->run.max_files_bytes : 0);
    return execution;
}

void pd_execution_make_id(char id[static PD_EXECUTION_ID_BYTES])
{
    /* The time comes first, so that rows of one time are side by side in an index. */
    int len = snprintf(id, PD_EXECUTION_ID_BYTES, "run_%011llx", (unsigned long long)pd_wall_ms());

    pd_random_hex(id + len, RUN_ID_HEX);
}

static void tell_accepted(struct pd_execution *execution)
{
    int64_t wait_ms;
    size_t position = pd_job_position(execution->job, &wait_ms);

    pd_execution_add_eventf(execution, PD_ENTRY_ACCEPTED, "\"id\":\"%s\"", execution->id);
    if (wait_ms > 0)
        pd_execution_add_eventf(execution, PD_ENTRY_QUEUED,
                                "\"position\":%zu,\"estimate\":%lld.%03lld", position,
                                (long long)(wait_ms / 1000), (long long)(wait_ms % 1000));
}

int pd_executions_submit(struct pd_executions *all, const struct pd_execution_submit *submit,
                         struct pd_execution **ret_execution, int *ret_retry_after_s,
                         struct pd_err *err)
{
    struct pd_execution *execution = execution_new(all, submit);
    const struct pd_job_request job = {
        .pool = submit->request->pool,
        .key_id = execution->key_id,
        .run = &submit->request->run,
        .bytes = submit->request->bytes,
        .patient = submit->patient,
    };
    int rc = 0;

    *ret_retry_after_s = 0;
    if (pd_strmap_get(&all->by_id, execution->id))
        rc = pd_err_set(err, PD_CONFLICT, "there is an execution %s already", execution->id);
    if (rc == 0)
        rc = pd_dispatch_submit(all->dispatch, &job,
                                submit->held ? &pd_execution_held_job_events
                                             : &pd_execution_job_events,
                                execution, &execution->job, ret_retry_after_s, err);
    if (rc < 0) {
        pd_execution_free(execution);
        return rc;
    }
    pd_strmap_add(&all->by_id, execution->id, execution);
    pd_ring_append(&all->live, &execution->in_list);
    all->n_live++;
    tell_accepted(execution);
    if (all->observer && all->observer->accepted)
        all->observer->accepted(all->observer_arg, execution);
    *ret_execution = execution;
    return 0;
}

/* ---- recalling ---- */

static int recall_events(struct pd_journal *journal, const char *text, size_t len,
                         struct pd_err *err)
{
    const char *end = text + len;
    int rc = 0;

    while (rc == 0 && text < end) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        size_t line = (size_t)((line_end ? line_end : end) - text);
        if (line > 0)
            rc = pd_journal_recall(journal, text, line, err);
        text += line + 1;
    }
    if (rc == 0 && journal->count == 0)
        rc = pd_err_set(err, PD_INVALID, "there are no events");
    return rc;
}

int pd_executions_recall(struct pd_executions *all, const char *id, const char *key_id,
                         const char *events, size_t len, struct pd_execution **ret_execution,
                         struct pd_err *err)
{
    struct pd_execution *execution = PD_NEW(struct pd_execution);
    int rc = recall_events(&execution->journal, events, len, err);

    assert(!pd_strmap_get(&all->by_id, id));
    execution->all = all;
    execution->born = ++all->born;
    execution->done = true;
    pd_strcpy(execution->id, sizeof execution->id, id);
    pd_strcpy(execution->key_id, sizeof execution->key_id, key_id);
    pd_ring_init(&execution->watches);
    all->journal_bytes += execution->journal.bytes;
    if (rc == 0) {
        pd_executions_evict(all, NULL);
        if (is_over_bounds(all))
            rc = pd_err_set(err, PD_LIMIT, "too many executions are being watched");
    }
    if (rc < 0) {
        pd_execution_free(execution);
        return rc;
    }
    pd_strmap_add(&all->by_id, execution->id, execution);
    pd_ring_append(all->finished.next, &execution->in_list); /* before the oldest */
    all->n_finished++;
    *ret_execution = execution;
    return 0;
}

bool pd_executions_forget(struct pd_executions *all, const char *id)
{
    struct pd_execution *execution = pd_executions_find(all, id);

    if (execution && (!execution->done || execution->n_watches > 0))
        return false;
    if (execution)
        pd_execution_evict(execution);
    return true;
}

/* ---- one of them ---- */

const struct pd_journal *pd_execution_journal(const struct pd_execution *execution)
{
    return &execution->journal;
}

size_t pd_execution_position(const struct pd_execution *execution, int64_t *ret_wait_ms)
{
    *ret_wait_ms = 0;
    return execution->job ? pd_job_position(execution->job, ret_wait_ms) : 0;
}

const char *pd_execution_id(const struct pd_execution *execution)
{
    return execution->id;
}

const char *pd_execution_key_id(const struct pd_execution *execution)
{
    return execution->key_id;
}

const struct pd_request *pd_execution_request(const struct pd_execution *execution)
{
    return execution->request;
}

const struct pd_outcome *pd_execution_outcome(const struct pd_execution *execution)
{
    return execution->keep_outcome && !execution->done ? &execution->outcome : NULL;
}

void *pd_execution_tag(const struct pd_execution *execution)
{
    return execution->tag;
}

bool pd_execution_is_done(const struct pd_execution *execution)
{
    return execution->done;
}

void pd_execution_proceed(struct pd_execution *execution)
{
    if (!execution->done)
        pd_job_proceed(execution->job);
}
