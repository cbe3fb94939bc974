/* Live executions: runs that can be watched and spoken to while they go on.
 *
 * An execution has a journal (api/journal.h) of what happened. Viewers watch it
 * from any event on; they pull, so a slow one holds up nobody: what it has not
 * fetched before it was trimmed is told to it as `dropped`. One viewer may be
 * its owner: the run then is stopped, by credit, while its owner takes nothing,
 * and canceled when its owner goes, unless it was detached before.
 *
 * What the journals of all executions take is bounded. Finished executions stay
 * to be replayed; they are evicted oldest first. */
#ifndef PD_API_EXECUTION_H
#define PD_API_EXECUTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/dispatch.h"
#include "api/journal.h"
#include "api/outcome.h"
#include "api/request.h"

#define PD_EXECUTION_ID_BYTES 64
#define PD_EXECUTION_OUTPUT_BYTES_MAX (4u * 1024 * 1024)    /* of output events, of one */
#define PD_EXECUTIONS_JOURNAL_BYTES_MAX (64u * 1024 * 1024) /* of all events, of all */
#define PD_EXECUTIONS_FINISHED_MAX 1000
#define PD_EXECUTION_STDIN_BYTES_MAX (256u * 1024) /* that the program has not taken yet */
#define PD_WATCHES_MAX 4096                        /* of one execution */

struct pd_executions;
struct pd_execution;
struct pd_watch;

/* How it ended. */
struct pd_execution_end {
    const struct pd_run_result *result; /* NULL: it never began, `err` says why */
    const struct pd_job_times *times;   /* with result */
    const struct pd_err *err;
    int retry_after_s;
};

/* Who keeps books. Every member may be NULL. */
struct pd_execution_observer {
    /* It is queued or running; from within pd_executions_submit, which returns 0. */
    void (*accepted)(void *arg, struct pd_execution *execution);
    /* A sandbox is there: nothing begins before pd_execution_proceed. Only where it was
     * submitted as `held`; again if that sandbox is lost before the program starts. */
    void (*about)(void *arg, struct pd_execution *execution);
    /* It has ended; `end` is borrowed for the call, in which the request, the outcome
     * and the journal are still there. */
    void (*done)(void *arg, struct pd_execution *execution, const struct pd_execution_end *end);
};

struct pd_execution_submit {
    const char *id; /* NULL: one is made */
    const char *key_id;
    struct pd_request *request; /* taken over, also when it is refused */
    bool held;                  /* see `about` */
    bool patient;               /* as in pd_job_request */
    bool keep_outcome;          /* collect what POST /execute answers with (pd_execution_outcome) */
    void *tag;                  /* the submitter's, see pd_execution_tag */
};

struct pd_executions *pd_executions_new(struct pd_dispatch *dispatch, struct pd_store *store);
/* After the dispatcher is closed, and every watch. */
void pd_executions_free(struct pd_executions *executions);
/* One observer; `observer` is static. */
void pd_executions_observe(struct pd_executions *executions,
                           const struct pd_execution_observer *observer, void *arg);

/* "run_" and 16 random hexadecimal digits. */
void pd_execution_make_id(char id[static PD_EXECUTION_ID_BYTES]);

/* 0, or as pd_dispatch_submit refuses; PD_CONFLICT: the id is taken. An owner opens its
 * watch before the loop turns. *ret_execution is borrowed: it is there until
 * it is evicted, which needs a turn of the loop after its end. */
int pd_executions_submit(struct pd_executions *executions, const struct pd_execution_submit *submit,
                         struct pd_execution **ret_execution, int *ret_retry_after_s,
                         struct pd_err *err);
/* One that was forgotten, from its events (JSON texts, one a line), done, for viewers to
 * replay; of those that are done it is the first to go when nobody watches. It must not be
 * there. PD_INVALID: they are no events, or none; PD_LIMIT: those that are watched take all
 * the room. *ret_execution: as of pd_executions_submit. */
int pd_executions_recall(struct pd_executions *executions, const char *id, const char *key_id,
                         const char *events, size_t len, struct pd_execution **ret_execution,
                         struct pd_err *err);
struct pd_execution *pd_executions_find(struct pd_executions *executions, const char *id);
/* Forget one that is done, so that its id can be used again; false while it is watched. */
bool pd_executions_forget(struct pd_executions *executions, const char *id);
size_t pd_executions_live(const struct pd_executions *executions);          /* not done */
size_t pd_executions_journal_bytes(const struct pd_executions *executions); /* of all */

/* ---- one of them ---- */

const char *pd_execution_id(const struct pd_execution *execution);
const char *pd_execution_key_id(const struct pd_execution *execution);
const struct pd_request *
pd_execution_request(const struct pd_execution *execution); /* until done */
const struct pd_outcome *
pd_execution_outcome(const struct pd_execution *execution); /* until done */
const struct pd_journal *pd_execution_journal(const struct pd_execution *execution);
/* How many stand before it, and what the wait is expected to be; 0 once it has a sandbox. */
size_t pd_execution_position(const struct pd_execution *execution, int64_t *ret_wait_ms);
void *pd_execution_tag(const struct pd_execution *execution);
bool pd_execution_is_done(const struct pd_execution *execution);

/* After `about`. */
void pd_execution_proceed(struct pd_execution *execution);

/* Control; no effect once it is done. What comes before the program runs is kept for it. */
/* 0; PD_THROTTLED: taken, but enough waits: the owner's `room` tells when there is space
 * again; PD_LIMIT: it did not wait, and this was not taken. */
int pd_execution_stdin(struct pd_execution *execution, const void *data, size_t len);
/* How much would be taken now; `room` tells when the program has taken some of what waits. */
size_t pd_execution_stdin_room(struct pd_execution *execution);
void pd_execution_stdin_eof(struct pd_execution *execution);
void pd_execution_signal(struct pd_execution *execution, int signo);
void pd_execution_resize(struct pd_execution *execution, uint16_t rows, uint16_t cols);
void pd_execution_cancel(struct pd_execution *execution);
/* It goes on without its owner, who is an onlooker from now on. */
void pd_execution_detach(struct pd_execution *execution);

/* It goes on elsewhere, or later, under the same id: its watches are broken, and what becomes
 * of it here is told to nobody but the observer. why: a sentence, static. */
void pd_execution_withdraw(struct pd_execution *execution, const char *why);

/* ---- of another replica ---- */

/* One that goes on at another replica, for viewers here: it has no job, is not found by its
 * id, and is freed by who made it. last_seq: the last event there is, there. */
struct pd_execution *pd_executions_mirror(struct pd_executions *executions, const char *id,
                                          const char *key_id, uint64_t last_seq);
/* Its next event (pd_journal_follow); `exit` and `error` are its end. */
int pd_execution_follow(struct pd_execution *execution, const char *json, size_t len,
                        size_t output_bytes, struct pd_err *err)
    __attribute__((warn_unused_result));
/* Not watched, and not from within a call that tells the watches. */
void pd_execution_mirror_free(struct pd_execution *execution);
bool pd_execution_is_elsewhere(const struct pd_execution *execution);
/* Its last event's number; a plain run's events are made for it. */
uint64_t pd_execution_last_seq(struct pd_execution *execution);
size_t pd_execution_watches(const struct pd_execution *execution);
/* Different for each journal of this process: another try of a run has another. */
uint64_t pd_execution_born(const struct pd_execution *execution);

/* ---- watching ---- */

struct pd_watch_events {
    /* There is something for pd_watch_next. May come from within a call that acts on the
     * execution; the callee may close this watch, but no other. */
    void (*more)(void *arg);
    void (*room)(void *arg); /* owner: stdin has room again; may be NULL */
};

/* From event from_seq (1: from the start) on; a number that is not there yet: from the
 * next one on. NULL when it has PD_WATCHES_MAX. `events` is static. */
struct pd_watch *pd_watch_open(struct pd_execution *execution, uint64_t from_seq, bool owner,
                               const struct pd_watch_events *events, void *arg);
/* The next event, a reference for the caller (pd_entry_unref); NULL when there is none
 * yet, or ever (pd_watch_is_over). To the owner, taking one is credit for the run. */
struct pd_entry *pd_watch_next(struct pd_watch *watch);
/* The execution is done, and all of it was taken. */
bool pd_watch_is_over(const struct pd_watch *watch);
/* Why nobody here will see how it ends, though it may go on: a sentence, static; NULL: it is
 * seen. `more` has told. */
const char *pd_watch_broken(const struct pd_watch *watch);
/* The number that comes next. */
uint64_t pd_watch_next_seq(const struct pd_watch *watch);
struct pd_execution *pd_watch_execution(const struct pd_watch *watch);
/* An owner's run is canceled, unless it was detached. */
void pd_watch_close(struct pd_watch *watch);

#endif
