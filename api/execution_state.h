/* What execution.c and execution_*.c share of an execution; nobody
 * else's. */
#ifndef PD_API_EXECUTION_STATE_H
#define PD_API_EXECUTION_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/execution.h"
#include "api/ring.h"
#include "api/textstream.h"
#include "common/buf.h"
#include "common/strmap.h"
#include "common/time.h"

struct pd_executions {
    struct pd_dispatch *dispatch;
    struct pd_store *store;
    struct pd_strmap by_id;
    struct pd_ring live;
    struct pd_ring finished; /* oldest first */
    struct pd_ring plain;    /* plain.h: finished ones without a journal, oldest first */
    size_t n_live, n_finished, n_plain;
    size_t plain_bytes;
    size_t journal_bytes;
    uint64_t born; /* executions there have been */
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
    struct pd_plain *plain; /* what its journal will be made of; NULL: it has one */
    size_t plain_bytes;
    struct pd_outcome outcome;
    struct pd_text_stream text[2];
    size_t ungranted; /* output that the owner has not taken */

    struct pd_buf stdin_wait;
    bool stdin_eof;
    bool stdin_full;     /* the owner waits for room */
    bool started;        /* the program runs: control reaches it */
    uint16_t rows, cols; /* asked for before that, 0: no */

    struct pd_ring watches;
    struct pd_ring *told; /* where pd_execution_tell_more goes on, NULL: nobody is being told */
    bool tell_again;
    size_t n_watches;
    struct pd_watch *owner;

    uint64_t born;      /* of all->born */
    const char *broken; /* why its watches see no end of it; static */
    bool unlisted;      /* not in by_id */
    bool elsewhere;     /* at another replica; of such: */
    uint64_t told_seq; /* the last event that was there when it was found */
};

struct pd_watch {
    struct pd_ring in_execution;
    struct pd_execution *execution;
    uint64_t next_seq;
    const struct pd_watch_events *events;
    void *arg;
};

/* ---- execution.c ---- */

/* While there is more than the bounds allow: finished ones that nobody watches go,
 * oldest first; `spared` does not. */
void pd_executions_evict(struct pd_executions *all, const struct pd_execution *spared);
/* In no list, and not watched. */
void pd_execution_free(struct pd_execution *execution);
/* One that is done, and that nobody watches, goes. */
void pd_execution_evict(struct pd_execution *execution);
/* It is done: the observer is told, then the watches. */
void pd_execution_finish(struct pd_execution *execution, const struct pd_execution_end *end);

/* ---- plain.c ---- */

/* Make the journal of a plain run. */
void pd_plain_tell(struct pd_execution *execution);
void pd_plain_forget(struct pd_execution *execution);

/* ---- execution_run.c ---- */

/* Their `arg` is the execution. A held one waits for pd_execution_proceed. */
extern const struct pd_job_events pd_execution_job_events;
extern const struct pd_job_events pd_execution_held_job_events;

/* ---- execution_watch.c ---- */

/* Into the journal, whose bounds are kept, and tell the watches. `members`: of a JSON
 * object, without its braces; `output_bytes`: as in pd_journal_add. */
void pd_execution_add_event(struct pd_execution *execution, enum pd_entry_type type,
                            const struct pd_buf *members, size_t output_bytes);
/* Members that are less than 512 bytes. */
void pd_execution_add_eventf(struct pd_execution *execution, enum pd_entry_type type,
                             const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Its journal took before_bytes and has grown: keep the bounds, and tell the watches. */
void pd_execution_grew(struct pd_execution *execution, size_t before_bytes);
/* Tell the watches that there is more. */
void pd_execution_tell_more(struct pd_execution *execution);

#endif
