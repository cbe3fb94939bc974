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
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/problem.h"
#include "api/ring.h"
#include "api/textstream.h"
#include "api/trace.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/strmap.h"

#define RUN_ID_HEX 16
#define MEMBERS_BYTES_MAX (1024u * 1024) /* of an event; artifacts have their own */
#define STDIN_HIGH_BYTES (PD_EXECUTION_STDIN_BYTES_MAX / 2)
#define STDIN_PIECE_BYTES PD_RUN_STDIN_WINDOW_BYTES
#define OUTPUT_BYTES_SCARCE (64u * 1024) /* of one execution, when all together have too much */
#define EXIT_CODE_NEVER_RUN 255

struct pd_executions {
    struct pd_dispatch *dispatch;
    struct pd_store *store;
    struct pd_strmap by_id;
    struct pd_ring live;
    struct pd_ring finished; /* oldest first */
    size_t n_live, n_finished;
    size_t journal_bytes;
    const struct pd_execution_observer *observer;
    void *observer_arg;
};

struct pd_execution {
    struct pd_executions *all;
    struct pd_ring in_list;
    char id[PD_EXECUTION_ID_BYTES];
    char key_id[PD_KEY_ID_MAX];
    struct pd_request *request; /* NULL once it is done */
    struct pd_job *job;         /* likewise */
    bool done;
    bool keep_outcome;
    bool canceled;
    void *tag;
    struct pd_time accepted;
    struct pd_journal journal;
    struct pd_outcome outcome;
    struct pd_text_stream text[2];
    size_t ungranted; /* output that the owner has not taken */

    struct pd_buf stdin_wait;
    bool stdin_eof;
    bool stdin_full;     /* the owner waits for room */
    bool started;        /* the program runs: control reaches it */
    uint16_t rows, cols; /* asked for before that, 0: no */

    struct pd_ring watches;
    struct pd_ring *told; /* where tell_more goes on, NULL: nobody is being told */
    bool tell_again;
    size_t n_watches;
    struct pd_watch *owner;
};

struct pd_watch {
    struct pd_ring in_execution;
    struct pd_execution *execution;
    uint64_t next_seq;
    const struct pd_watch_events *events;
    void *arg;
};

/* ---- all of them ---- */

struct pd_executions *pd_executions_new(struct pd_dispatch *dispatch, struct pd_store *store)
{
    struct pd_executions *all = PD_NEW(struct pd_executions);

    all->dispatch = dispatch;
    all->store = store;
    pd_ring_init(&all->live);
    pd_ring_init(&all->finished);
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

static void execution_free(struct pd_execution *execution)
{
    assert(execution->n_watches == 0);
    execution->all->journal_bytes -= execution->journal.bytes;
    pd_journal_fini(&execution->journal);
    release_run(execution);
    pd_outcome_fini(&execution->outcome);
    free(execution);
}

static void evict(struct pd_execution *execution)
{
    pd_ring_remove(&execution->in_list);
    execution->all->n_finished--;
    pd_strmap_remove(&execution->all->by_id, execution->id);
    execution_free(execution);
}

void pd_executions_free(struct pd_executions *all)
{
    assert(pd_ring_is_empty(&all->live));
    while (!pd_ring_is_empty(&all->finished))
        evict(PD_CONTAINER_OF(all->finished.next, struct pd_execution, in_list));
    pd_strmap_fini(&all->by_id);
    free(all);
}

static bool is_over_bounds(const struct pd_executions *all)
{
    return all->journal_bytes > PD_EXECUTIONS_JOURNAL_BYTES_MAX ||
           all->n_finished > PD_EXECUTIONS_FINISHED_MAX;
}

/* Finished ones that nobody watches go first, oldest first; `spared` does not. */
static void evict_some(struct pd_executions *all, const struct pd_execution *spared)
{
    struct pd_ring *at = all->finished.next;

    while (is_over_bounds(all) && at != &all->finished) {
        struct pd_execution *execution = PD_CONTAINER_OF(at, struct pd_execution, in_list);
        at = at->next;
        if (execution != spared && execution->n_watches == 0)
            evict(execution);
    }
}

/* ---- the journal ---- */

static void trim(struct pd_execution *execution, size_t bytes, bool all)
{
    struct pd_journal *journal = &execution->journal;
    uint64_t keep_seq = execution->owner ? execution->owner->next_seq : UINT64_MAX;
    size_t before = journal->bytes;

    pd_journal_trim(journal, bytes, keep_seq, all);
    execution->all->journal_bytes += journal->bytes;
    execution->all->journal_bytes -= before;
}

static void keep_bounds(struct pd_execution *execution)
{
    struct pd_executions *all = execution->all;

    if (execution->journal.output_bytes > PD_EXECUTION_OUTPUT_BYTES_MAX)
        trim(execution, PD_EXECUTION_OUTPUT_BYTES_MAX / 4 * 3, false);
    if (all->journal_bytes > PD_EXECUTIONS_JOURNAL_BYTES_MAX)
        evict_some(all, execution);
    if (all->journal_bytes > PD_EXECUTIONS_JOURNAL_BYTES_MAX)
        trim(execution, OUTPUT_BYTES_SCARCE, true);
}

/* Whoever is told may close its watch, and with it end the execution, of which all are
 * to be told in turn: so there is one walk at a time, and `told` is where it goes on. */
static void tell_more(struct pd_execution *execution)
{
    execution->tell_again = true;
    if (execution->told)
        return;
    while (execution->tell_again) {
        execution->tell_again = false;
        execution->told = execution->watches.next;
        while (execution->told != &execution->watches) {
            struct pd_watch *watch =
                PD_CONTAINER_OF(execution->told, struct pd_watch, in_execution);
            execution->told = execution->told->next;
            watch->events->more(watch->arg);
        }
    }
    execution->told = NULL;
}

static void add_event(struct pd_execution *execution, enum pd_entry_type type,
                      const struct pd_buf *members, size_t output_bytes)
{
    struct pd_journal *journal = &execution->journal;
    int64_t time_us = (pd_time_now().ns - execution->accepted.ns) / 1000;
    size_t before = journal->bytes;

    pd_journal_add(journal, type, time_us, members->data ? members->data : "", members->len,
                   output_bytes);
    execution->all->journal_bytes += journal->bytes - before;
    keep_bounds(execution);
    tell_more(execution);
}

static void __attribute__((format(printf, 3, 4)))
add_eventf(struct pd_execution *execution, enum pd_entry_type type, const char *fmt, ...)
{
    pd_autobuf struct pd_buf members;
    char text[512];
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    assert(len >= 0 && len < (int)sizeof text);
    pd_buf_init(&members, sizeof text);
    (void)!pd_buf_add(&members, text, (size_t)len, NULL); /* fits */
    add_event(execution, type, &members, 0);
}

/* ---- what the run tells ---- */

static enum pd_entry_type type_of(int stream)
{
    return stream == 1 ? PD_ENTRY_STDOUT : PD_ENTRY_STDERR;
}

static void flush_text(struct pd_execution *execution)
{
    for (int stream = 1; stream <= 2; stream++) {
        pd_autobuf struct pd_buf members;
        size_t len;
        pd_buf_init(&members, MEMBERS_BYTES_MAX);
        len = pd_text_stream_flush(&execution->text[stream - 1], &members);
        if (len > 0)
            add_event(execution, type_of(stream), &members, len);
    }
}

static void push_stdin(struct pd_execution *execution);

static void on_about(void *arg, struct pd_job *job)
{
    struct pd_execution *execution = arg;
    struct pd_executions *all = execution->all;

    (void)job;
    assert(all->observer && all->observer->about);
    all->observer->about(all->observer_arg, execution);
}

static void on_started(void *arg, enum pd_start start)
{
    struct pd_execution *execution = arg;
    bool warm = start == PD_START_ZYGOTE || start == PD_START_SPARE;

    execution->started = true;
    if (execution->rows)
        pd_job_resize(execution->job, execution->rows, execution->cols);
    add_eventf(execution, PD_ENTRY_STARTED, "\"start\":\"%s\",\"warm\":%s", pd_start_name(start),
               warm ? "true" : "false");
    push_stdin(execution);
}

static void on_stage(void *arg, const char *name)
{
    struct pd_execution *execution = arg;

    flush_text(execution);
    if (execution->keep_outcome)
        pd_outcome_stage(&execution->outcome, name);
    add_eventf(execution, PD_ENTRY_STAGE, "\"name\":\"%.32s\"",
               strcmp(name, "run") == 0 ? "run" : "compile");
}

static void on_output(void *arg, int stream, const void *data, size_t len)
{
    struct pd_execution *execution = arg;
    pd_autobuf struct pd_buf members;
    size_t ready;

    if (execution->keep_outcome)
        pd_outcome_output(&execution->outcome, stream, data, len);
    if (execution->owner)
        execution->ungranted += len;
    else
        pd_job_grant(execution->job, len);
    pd_buf_init(&members, MEMBERS_BYTES_MAX);
    ready = pd_text_stream_put(&execution->text[stream - 1], data, len, &members);
    if (ready > 0)
        add_event(execution, type_of(stream), &members, ready);
}

static void on_artifact(void *arg, const char *path, const void *data, size_t len, bool last,
                        const char *error)
{
    struct pd_execution *execution = arg;
    struct pd_artifact *artifact;
    pd_autobuf struct pd_buf members = {.data = NULL}; /* freed on the early way out, too */

    pd_job_grant(execution->job, len);
    artifact = pd_outcome_artifact(&execution->outcome, path, data, len, last, error);
    if (!artifact)
        return;
    pd_buf_init(&members, artifact->data.len * 2 + MEMBERS_BYTES_MAX);
    if (pd_artifact_format(artifact, &members, NULL) == 0)
        add_event(execution, PD_ENTRY_ARTIFACT, &members, 0);
    if (!execution->keep_outcome)
        pd_buf_fini(&artifact->data);
}

/* ---- the end ---- */

static void finish(struct pd_execution *execution, const struct pd_execution_end *end)
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
    tell_more(execution);
    evict_some(all, execution);
}

static void tell_exit(struct pd_execution *execution, const struct pd_run_result *result,
                      const struct pd_job_times *times)
{
    pd_autobuf struct pd_buf members;

    flush_text(execution);
    pd_buf_init(&members, MEMBERS_BYTES_MAX);
    if (pd_outcome_format_exit(execution->id, result, times, execution->outcome.cut, &members,
                               NULL) == 0)
        add_event(execution, PD_ENTRY_EXIT, &members, 0);
}

static void on_ended(void *arg, const struct pd_run_result *result,
                     const struct pd_job_times *times)
{
    struct pd_execution *execution = arg;

    tell_exit(execution, result, times);
    finish(execution, &(struct pd_execution_end){.result = result, .times = times});
}

static void tell_error(struct pd_execution *execution, const struct pd_err *err, int retry_after_s)
{
    struct pd_problem_details details;
    pd_autobuf struct pd_buf members;
    pd_autobuf struct pd_buf object;

    pd_failure_details(err, retry_after_s, &details);
    pd_buf_init(&object, PD_PROBLEM_BYTES_MAX);
    pd_buf_init(&members, PD_PROBLEM_BYTES_MAX);
    if (pd_problem_details_format(&details, &object, NULL) < 0 ||
        pd_buf_addf(&members, NULL, "\"problem\":") < 0 ||
        pd_buf_add(&members, object.data, object.len - 1, NULL) < 0)
        return; /* cannot be: it has a bound of its own */
    add_event(execution, PD_ENTRY_ERROR, &members, 0);
}

static void on_failed(void *arg, const struct pd_err *err, int retry_after_s)
{
    struct pd_execution *execution = arg;

    tell_error(execution, err, retry_after_s);
    finish(execution, &(struct pd_execution_end){.err = err, .retry_after_s = retry_after_s});
}

/* It was given up before it began. */
static void finish_canceled(struct pd_execution *execution)
{
    const struct pd_run_result result = {
        .cause = PD_CAUSE_CANCELED,
        .exit_code = EXIT_CODE_NEVER_RUN,
        .start = PD_START_COLD,
        .usage.memory_method = "none",
        .message = "",
    };
    const struct pd_job_times times = {
        .queue_us = (pd_time_now().ns - execution->accepted.ns) / 1000,
    };

    on_ended(execution, &result, &times);
}

/* ---- submitting ---- */

static void on_stdin_room(void *arg)
{
    push_stdin(arg);
}

static const struct pd_job_events job_events = {
    .started = on_started,
    .stage = on_stage,
    .output = on_output,
    .artifact = on_artifact,
    .stdin_room = on_stdin_room,
    .ended = on_ended,
    .failed = on_failed,
};
static const struct pd_job_events held_job_events = {
    .about = on_about,
    .started = on_started,
    .stage = on_stage,
    .output = on_output,
    .artifact = on_artifact,
    .stdin_room = on_stdin_room,
    .ended = on_ended,
    .failed = on_failed,
};

static struct pd_execution *execution_new(struct pd_executions *all,
                                          const struct pd_execution_submit *submit)
{
    struct pd_execution *execution = PD_NEW(struct pd_execution);
    struct pd_request *request = submit->request;
    struct pd_pool *pool = pd_store_pool(all->store, request->pool);

    execution->all = all;
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
    pd_strcpy(id, PD_EXECUTION_ID_BYTES, "run_");
    pd_random_hex(id + 4, RUN_ID_HEX);
}

static void tell_accepted(struct pd_execution *execution)
{
    int64_t wait_ms;
    size_t position = pd_job_position(execution->job, &wait_ms);

    add_eventf(execution, PD_ENTRY_ACCEPTED, "\"id\":\"%s\"", execution->id);
    if (wait_ms > 0)
        add_eventf(execution, PD_ENTRY_QUEUED, "\"position\":%zu,\"estimate\":%lld.%03lld",
                   position, (long long)(wait_ms / 1000), (long long)(wait_ms % 1000));
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
        rc = pd_dispatch_submit(all->dispatch, &job, submit->held ? &held_job_events : &job_events,
                                execution, &execution->job, ret_retry_after_s, err);
    if (rc < 0) {
        execution_free(execution);
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

bool pd_executions_forget(struct pd_executions *all, const char *id)
{
    struct pd_execution *execution = pd_executions_find(all, id);

    if (execution && (!execution->done || execution->n_watches > 0))
        return false;
    if (execution)
        evict(execution);
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

/* ---- control ---- */

/* Hand on as much of the waiting stdin as the link takes. */
static void push_stdin(struct pd_execution *execution)
{
    struct pd_buf *wait = &execution->stdin_wait;

    if (!execution->started || execution->done)
        return;
    while (wait->len > 0) {
        size_t len = wait->len < STDIN_PIECE_BYTES ? wait->len : STDIN_PIECE_BYTES;
        if (pd_job_stdin(execution->job, wait->data, len, NULL) < 0)
            break; /* on_stdin_room follows */
        pd_buf_consume(wait, len);
    }
    if (execution->stdin_full && wait->len < STDIN_HIGH_BYTES) {
        execution->stdin_full = false;
        if (execution->owner && execution->owner->events->room)
            execution->owner->events->room(execution->owner->arg);
    }
    if (!execution->done && wait->len == 0 && execution->stdin_eof)
        pd_job_stdin_eof(execution->job); /* of which it may end */
}

int pd_execution_stdin(struct pd_execution *execution, const void *data, size_t len)
{
    if (execution->done || execution->stdin_eof)
        return 0;
    if (pd_buf_add(&execution->stdin_wait, data, len, NULL) < 0)
        return PD_LIMIT;
    push_stdin(execution);
    if (execution->stdin_wait.len < STDIN_HIGH_BYTES)
        return 0;
    execution->stdin_full = true;
    return PD_THROTTLED;
}

void pd_execution_stdin_eof(struct pd_execution *execution)
{
    if (execution->done || execution->stdin_eof)
        return;
    execution->stdin_eof = true;
    push_stdin(execution);
}

void pd_execution_signal(struct pd_execution *execution, int signo)
{
    if (!execution->done && execution->started)
        pd_job_signal(execution->job, signo);
}

void pd_execution_resize(struct pd_execution *execution, uint16_t rows, uint16_t cols)
{
    execution->rows = rows;
    execution->cols = cols;
    if (!execution->done && execution->started)
        pd_job_resize(execution->job, rows, cols);
}

void pd_execution_cancel(struct pd_execution *execution)
{
    if (execution->done || execution->canceled)
        return;
    execution->canceled = true;
    if (pd_job_stop(execution->job))
        return; /* its end follows */
    pd_job_cancel(execution->job);
    finish_canceled(execution);
}

static void grant_all(struct pd_execution *execution)
{
    size_t bytes = execution->ungranted;

    execution->ungranted = 0;
    if (bytes > 0 && !execution->done)
        pd_job_grant(execution->job, bytes);
}

void pd_execution_detach(struct pd_execution *execution)
{
    execution->owner = NULL;
    execution->stdin_full = false;
    grant_all(execution);
}

/* ---- watching ---- */

struct pd_watch *pd_watch_open(struct pd_execution *execution, uint64_t from_seq, bool owner,
                               const struct pd_watch_events *events, void *arg)
{
    struct pd_watch *watch;
    uint64_t end = execution->journal.last_seq + 1;

    assert(events->more && from_seq >= 1 && !(owner && execution->owner));
    if (execution->n_watches == PD_WATCHES_MAX)
        return NULL;
    watch = PD_NEW(struct pd_watch);
    watch->execution = execution;
    watch->next_seq = from_seq < end ? from_seq : end;
    watch->events = events;
    watch->arg = arg;
    pd_ring_append(&execution->watches, &watch->in_execution);
    execution->n_watches++;
    if (owner)
        execution->owner = watch;
    return watch;
}

struct pd_entry *pd_watch_next(struct pd_watch *watch)
{
    struct pd_execution *execution = watch->execution;
    struct pd_entry *event = pd_journal_at(&execution->journal, watch->next_seq);
    size_t bytes;

    if (!event)
        return NULL;
    pd_entry_ref(event);
    watch->next_seq = event->seq + 1;
    if (watch != execution->owner)
        return event;
    bytes = event->output_bytes < execution->ungranted ? event->output_bytes : execution->ungranted;
    execution->ungranted -= bytes;
    if (bytes > 0 && !execution->done)
        pd_job_grant(execution->job, bytes);
    return event;
}

bool pd_watch_is_over(const struct pd_watch *watch)
{
    return watch->execution->done && watch->next_seq > watch->execution->journal.last_seq;
}

struct pd_execution *pd_watch_execution(const struct pd_watch *watch)
{
    return watch->execution;
}

void pd_watch_close(struct pd_watch *watch)
{
    struct pd_execution *execution = watch->execution;
    bool was_owner = execution->owner == watch;

    if (execution->told == &watch->in_execution)
        execution->told = watch->in_execution.next;
    pd_ring_remove(&watch->in_execution);
    execution->n_watches--;
    free(watch);
    if (!was_owner)
        return;
    execution->owner = NULL;
    grant_all(execution);
    pd_execution_cancel(execution);
}
