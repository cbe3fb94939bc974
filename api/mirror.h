/* Runs of other replicas: found, watched, looked at and canceled from here, and ours from
 * there, through channels of the Redis that all share (docs/live-output.md).
 *
 * Who wants to watch a run that is not here asks all replicas who has it, and then that one
 * to tell its events: they come as messages on a channel of our own, into a copy of the
 * journal that any number of viewers here read. A run that nobody elsewhere watches costs
 * nothing. Messages may be lost with a connection: events have numbers, the journal there is
 * the truth, and what is missing is asked for again. */
#ifndef PD_API_MIRROR_H
#define PD_API_MIRROR_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "api/execution.h"
#include "api/ledger.h"
#include "api/mirror_message.h"
#include "common/buf.h"
#include "common/loop_redis.h"

#define PD_MIRROR_CHANNEL "paddock:live" /* to all; and ":NAME", to one */
#define PD_MIRROR_ASK_MS 2000            /* that all have to answer */
#define PD_MIRROR_BEAT_MS 1000           /* between words to the one who tells */
#define PD_MIRROR_SILENT_MS 6000         /* of that one, then the run is looked for again */
#define PD_MIRROR_LEASE_MS 10000         /* of silence of the one who is told */
#define PD_MIRROR_AWAY_MS 60000          /* of Redis, or of whoever has it, then viewers go */
#define PD_MIRROR_TRUST_MS 8000          /* of hearing Redis before nobody's having it counts */
#define PD_MIRROR_WINDOW_BYTES (1024u * 1024)         /* told, and not yet taken */
#define PD_MIRROR_PIECE_BYTES (64u * 1024)            /* of one message, but for a longer event */
#define PD_MIRROR_EVENT_BYTES_MAX (24u * 1024 * 1024) /* a longer one is told as dropped */
#define PD_MIRROR_ASKS_MAX 1024                       /* questions without their answer */
#define PD_MIRROR_FOLLOWS_MAX 1024                    /* runs elsewhere that are watched here */
#define PD_MIRROR_TELLS_MAX 4096                      /* replicas that are told, times runs */

struct pd_mirror;

/* What others may do with what is here. key_id: whose it must be; NULL: anybody's. */
struct pd_mirror_local {
    /* PD_MIRROR_CANCELING, PD_MIRROR_ENDED or PD_MIRROR_NONE. */
    enum pd_mirror_word (*cancel)(void *arg, const char *run, const char *key_id);
    /* Its JSON object, where it goes on; false: it does not. */
    bool (*show)(void *arg, const char *run, const char *key_id, struct pd_buf *out);
};

struct pd_mirror_config {
    uv_loop_t *loop;
    struct pd_redis *redis;              /* outlives the mirror */
    struct pd_executions *executions;    /* likewise */
    struct pd_ledger *ledger;            /* likewise: what became of a run that nobody has */
    const struct pd_mirror_local *local; /* static */
    void *arg;
};

/* PD_LIMIT: too many subscriptions. */
int pd_mirror_open(const struct pd_mirror_config *config, struct pd_mirror **ret_mirror,
                   struct pd_err *err) __attribute__((warn_unused_result));
/* After every viewer is closed, and before the executions are. What is asked fails with
 * PD_CANCELED; `closed` fires once, from the loop. */
void pd_mirror_close(struct pd_mirror *mirror, void (*closed)(void *arg), void *arg);

/* One that is watched here already; NULL: none. */
struct pd_execution *pd_mirror_find(struct pd_mirror *mirror, const char *run);

/* execution: to be watched from within the call, or not at all; err: PD_NOT_FOUND: no replica
 * has it; PD_UNAVAILABLE: not all have answered. */
typedef void (*pd_mirror_follow_cb)(void *arg, const struct pd_err *err,
                                    struct pd_execution *execution);
/* text: borrowed, with `show` only. */
typedef void (*pd_mirror_cb)(void *arg, const struct pd_err *err, const char *text, size_t len);

/* 0: cb fires once, from the loop, never before this returns; negative: it never does.
 * PD_NOT_FOUND: it can be no run; PD_UNAVAILABLE: Redis is not in reach; PD_LIMIT. */
int pd_mirror_follow(struct pd_mirror *mirror, const char *run, pd_mirror_follow_cb cb, void *arg,
                     struct pd_err *err) __attribute__((warn_unused_result));
/* PD_CONFLICT: it had ended. */
int pd_mirror_cancel(struct pd_mirror *mirror, const char *run, const char *key_id, pd_mirror_cb cb,
                     void *arg, struct pd_err *err) __attribute__((warn_unused_result));
int pd_mirror_show(struct pd_mirror *mirror, const char *run, const char *key_id, pd_mirror_cb cb,
                   void *arg, struct pd_err *err) __attribute__((warn_unused_result));

/* Runs here that others are being told. */
size_t pd_mirror_telling(const struct pd_mirror *mirror);

#endif
