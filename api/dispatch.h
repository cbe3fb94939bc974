/* The dispatcher: brings runs and sandboxes together.
 *
 * Each pool has a queue. A run that finds a warm sandbox starts at once; others
 * wait: keys take turns, within a key first come is first served. A queue is
 * bounded (spec.queue.maxLength); when it is full, the key that has most waiting
 * gives up its newest for one that has less. Who could not start within
 * spec.queue.maxWait is refused at once, with an honest estimate of when it is
 * worth coming back. */
#ifndef PD_API_DISPATCH_H
#define PD_API_DISPATCH_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/err.h"
#include "common/link.h"
#include "common/metrics.h"
#include "common/store.h"

#define PD_DISPATCH_WAITING_BYTES_MAX (256u * 1024 * 1024) /* of all pools' waiting runs */

/* What the dispatcher needs of links: the real ones, or a test's. Every member
 * is set. */
struct pd_dispatch_links {
    int (*run)(struct pd_link *link, const struct pd_run_request *request,
               const struct pd_run_events *events, void *arg, struct pd_err *err);
    void (*grant)(struct pd_link *link, size_t bytes);
    void (*cancel)(struct pd_link *link);
    int (*send_stdin)(struct pd_link *link, const void *data, size_t len, struct pd_err *err);
    void (*stdin_eof)(struct pd_link *link);
    void (*signal)(struct pd_link *link, int signo);
    void (*resize)(struct pd_link *link, uint16_t rows, uint16_t cols);
};
extern const struct pd_dispatch_links pd_dispatch_links_real;

/* How long a run took from its submission to where. */
struct pd_job_times {
    int64_t queue_us; /* to when a sandbox was found */
    int64_t run_us;   /* from there to its end */
    const char *sandbox; /* which; NULL: none; borrowed */
};

struct pd_job;

struct pd_job_events {
    /* A sandbox is there; the run begins when pd_job_proceed is called (now or later),
     * and not before. From the loop; again when that sandbox was lost meanwhile. NULL: it
     * begins at once. */
    void (*about)(void *arg, struct pd_job *job);
    /* The agent has started the program. May be NULL. */
    void (*started)(void *arg, enum pd_start start);
    void (*stage)(void *arg, const char *name); /* as in pd_run_events; may be NULL */
    /* Likewise; consume, then pd_job_grant. */
    void (*output)(void *arg, int stream, const void *data, size_t len);
    void (*artifact)(void *arg, const char *path, const void *data, size_t len, bool last,
                     const char *error);
    void (*stdin_room)(void *arg); /* as in pd_run_events; may be NULL */
    /* Exactly one of these, once, from the loop. The job is gone then. */
    void (*ended)(void *arg, const struct pd_run_result *result, const struct pd_job_times *times);
    /* Never begun: PD_TIMEOUT (maxWait), PD_THROTTLED (gave way to another key),
     * PD_UNAVAILABLE (lost before it started, pool deleted), PD_INVALID (the
     * agent cannot take it). retry_after_s: 0 where waiting would not help. */
    void (*failed)(void *arg, const struct pd_err *err, int retry_after_s);
};

struct pd_job_request {
    const char *pool;
    const char *key_id;
    const struct pd_run_request *run; /* borrowed until ended, failed or canceled */
    size_t bytes;                     /* of memory that it keeps while it waits */
    bool patient;                     /* it waits as long as it takes: maxWait and maxLength are
                                         not for it. Its submitter bounds how many there are */
};

struct pd_dispatch;

/* Observes the store from now on. `links` is static. */
struct pd_dispatch *pd_dispatch_new(uv_loop_t *loop, struct pd_store *store,
                                    const struct pd_dispatch_links *links);
/* Count runs there from now on (common/metrics.h); it outlives the dispatcher. */
void pd_dispatch_set_metrics(struct pd_dispatch *dispatch, struct pd_metrics *metrics);
/* Set the figures of queues. A key's class says what kind of key it is, not whose:
 * one of few words; that of NULL is the commonest. */
typedef const char *(*pd_key_class_cb)(void *arg, const char *key_id);
void pd_dispatch_collect(struct pd_dispatch *dispatch, struct pd_metrics *metrics,
                         pd_key_class_cb class_of, void *arg);
/* What a key may have, asked whenever it matters; without it: one share, no bound. */
struct pd_key_limits {
    int share;       /* turns in a row, 1.. */
    int concurrency; /* runs at a time, of all pools; 0: any number; PD_KEY_NONE_NOW */
};
#define PD_KEY_NONE_NOW (-1)
typedef struct pd_key_limits (*pd_key_limits_cb)(void *arg, const char *key_id);
void pd_dispatch_set_limits(struct pd_dispatch *dispatch, pd_key_limits_cb limits_of, void *arg);
/* Told of keys with a concurrency whenever one more run might begin: so many run, and that is
 * as many as may. Nothing may be changed from within. NULL: nobody. */
typedef void (*pd_key_use_cb)(void *arg, const char *key_id, int running, bool at_limit);
void pd_dispatch_on_use(struct pd_dispatch *dispatch, pd_key_use_cb on_use, void *arg);
/* Of all pools. */
struct pd_key_demand {
    int running, waiting;
};
struct pd_key_demand pd_dispatch_key_demand(const struct pd_dispatch *dispatch,
                                            const char *key_id);
/* A key may have more: start what can be started. */
void pd_dispatch_pump(struct pd_dispatch *dispatch);
/* Fails what waits, cancels and forgets what runs; `closed` fires once. */
void pd_dispatch_close(struct pd_dispatch *dispatch, void (*closed)(void *arg), void *arg);

/* 0: accepted, `ended` or `failed` fires once. PD_NOT_FOUND (no such pool),
 * PD_UNAVAILABLE (the pool goes, or nothing can start in time), PD_THROTTLED
 * (the queue is full and this key has its share of it): refused, and
 * *ret_retry_after_s says when to come back. `events` is static. */
int pd_dispatch_submit(struct pd_dispatch *dispatch, const struct pd_job_request *request,
                       const struct pd_job_events *events, void *arg, struct pd_job **ret_job,
                       int *ret_retry_after_s, struct pd_err *err);
/* After `about`. */
void pd_job_proceed(struct pd_job *job);
/* These act on a run that was sent to its sandbox, and do nothing before. */
void pd_job_grant(struct pd_job *job, size_t bytes);
int pd_job_stdin(struct pd_job *job, const void *data, size_t len, struct pd_err *err);
void pd_job_stdin_eof(struct pd_job *job);
void pd_job_signal(struct pd_job *job, int signo);
void pd_job_resize(struct pd_job *job, uint16_t rows, uint16_t cols);
/* Likewise; the run then ends as canceled, and `ended` tells. False: it has not begun. */
bool pd_job_stop(struct pd_job *job);
/* Nobody wants it any more: a waiting one leaves its place, a running one is
 * stopped and its sandbox goes back. No event fires afterwards. */
void pd_job_cancel(struct pd_job *job);

/* How many stand before it in its queue (0: it is the next, or has begun), and what
 * the wait is expected to be. */
size_t pd_job_position(const struct pd_job *job, int64_t *ret_wait_ms);

/* Waiting and running, of all pools. */
size_t pd_dispatch_busy(const struct pd_dispatch *dispatch);
/* Fires from the loop whenever busy falls to 0. */
void pd_dispatch_on_idle(struct pd_dispatch *dispatch, void (*idle)(void *arg), void *arg);

/* How runs fared lately, by what is ours to answer for: a program that fails is
 * a good run. False when the last PD_RUNS_BAD_MIN or more attempts of some
 * pool all came to nothing within PD_RUNS_BAD_FOR_MS; the sentence names it
 * (borrowed until the next call). */
#define PD_RUNS_BAD_MIN 3
#define PD_RUNS_BAD_FOR_MS 60000
bool pd_dispatch_is_healthy(struct pd_dispatch *dispatch, const char **ret_sentence);

#endif
