/* The journal of an execution, and those who watch it. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "api/execution_state.h"
#include "common/mem.h"

#define OUTPUT_BYTES_SCARCE (64u * 1024) /* of one execution, when all together have too much */

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
        pd_executions_evict(all, execution);
    if (all->journal_bytes > PD_EXECUTIONS_JOURNAL_BYTES_MAX)
        trim(execution, OUTPUT_BYTES_SCARCE, true);
}

/* Whoever is told may close its watch, and with it end the execution, of which all are
 * to be told in turn: so there is one walk at a time, and `told` is where it goes on. */
void pd_execution_tell_more(struct pd_execution *execution)
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

void pd_execution_grew(struct pd_execution *execution, size_t before_bytes)
{
    execution->all->journal_bytes += execution->journal.bytes - before_bytes;
    keep_bounds(execution);
    pd_execution_tell_more(execution);
}

void pd_execution_add_event(struct pd_execution *execution, enum pd_entry_type type,
                            const struct pd_buf *members, size_t output_bytes)
{
    struct pd_journal *journal = &execution->journal;
    int64_t time_us = (pd_time_now().ns - execution->accepted.ns) / 1000;
    size_t before = journal->bytes;

    pd_journal_add(journal, type, time_us, members->data ? members->data : "", members->len,
                   output_bytes);
    pd_execution_grew(execution, before);
}

void pd_execution_add_eventf(struct pd_execution *execution, enum pd_entry_type type,
                             const char *fmt, ...)
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
    pd_execution_add_event(execution, type, &members, 0);
}

/* ---- watching ---- */

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

struct pd_watch *pd_watch_open(struct pd_execution *execution, uint64_t from_seq, bool owner,
                               const struct pd_watch_events *events, void *arg)
{
    struct pd_watch *watch;
    uint64_t end;

    if (execution->plain)
        pd_plain_tell(execution);
    end = execution->journal.last_seq + 1;
    if (end <= execution->told_seq)
        end = execution->told_seq + 1;
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

const char *pd_watch_broken(const struct pd_watch *watch)
{
    return watch->execution->broken;
}

uint64_t pd_watch_next_seq(const struct pd_watch *watch)
{
    return watch->next_seq;
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
