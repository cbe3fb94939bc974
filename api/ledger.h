/* Where accepted executions and records are written down: the seam between those
 * who accept, run and show executions (book.h, async.h) and what keeps them.
 *
 *   ledger_records.h  SQLite in the state folder: one process, alone
 *   ledger_redis.h    Redis: any number of replicas, and any of them answers
 *
 * An execution in the ledger has one owner, who alone begins and finishes it. With
 * SQLite that is this process. In Redis it is a replica, by a token of its own:
 * what a dead or paused one owned goes to others, and it is told so (PD_CONFLICT)
 * when it comes back and wants to begin or finish it.
 *
 * Everything that calls back does so from the loop, exactly once for a call that
 * returned 0; `err` NULL is success. Types and meanings are those of records.h,
 * where this does not say otherwise. */
#ifndef PD_API_LEDGER_H
#define PD_API_LEDGER_H

#include <stdbool.h>
#include <stddef.h>

#include "api/records.h"
#include "common/err.h"

struct pd_ledger;
struct pd_book_wait;

/* What the book is told; all fire from the loop, or from within `start`. */
struct pd_ledger_events {
    /* It is ours from now on: of before this start, or of a replica that is gone. */
    void (*taken)(void *arg, const struct pd_unfinished *item);
    /* Whether the book has it. */
    bool (*has)(void *arg, const char *id);
    /* Somebody wants one of ours to end, and that is durable; perhaps more than once. */
    void (*canceled)(void *arg, const char *id);
    /* Nothing of what the book has is ours any more (we were taken for dead). */
    void (*disowned)(void *arg);
    /* How many more it could run now. */
    size_t (*room)(void *arg);
};

struct pd_ledger_ops {
    /* Take up what is not done. Blocks, where it does: for the start only. `events` is
     * static. */
    int (*start)(struct pd_ledger *ledger, const struct pd_ledger_events *events, void *arg,
                 struct pd_err *err);
    /* No event fires afterwards; what was asked is still answered. */
    void (*stop)(struct pd_ledger *ledger);

    /* A run that nobody accepted has ended: not kept at all costs. */
    void (*add)(struct pd_ledger *ledger, const struct pd_record *record);
    /* PD_UNAVAILABLE also where what it would be written to does not last. */
    int (*accept)(struct pd_ledger *ledger, const struct pd_accept *items, size_t count,
                  pd_accept_cb cb, void *arg, struct pd_err *err);
    /* PD_CONFLICT: another owns it now, or it has its outcome; PD_NOT_FOUND; PD_CANCELED:
     * it is to end, and must not begin. Anything else: ask again. */
    int (*begin)(struct pd_ledger *ledger, const char *id, pd_records_cb cb, void *arg,
                 struct pd_err *err);
    /* However long it takes. PD_CONFLICT: another told its outcome. */
    void (*finish)(struct pd_ledger *ledger, const struct pd_record *record, pd_records_cb cb,
                   void *arg);
    /* Whoever has it: its owner is told. key_id: only where it is this key's; NULL:
     * anybody's. PD_NOT_FOUND: there is none that is not done. */
    int (*cancel)(struct pd_ledger *ledger, const char *id, const char *key_id, pd_records_cb cb,
                  void *arg, struct pd_err *err);
    int (*forget)(struct pd_ledger *ledger, const char *id, pd_records_cb cb, void *arg,
                  struct pd_err *err);
    /* Wait for the outcome of one that another owns. False: none can be. */
    bool (*await)(struct pd_ledger *ledger, const char *id, struct pd_book_wait *wait);

    int (*body)(struct pd_ledger *ledger, const char *id, pd_records_text_cb cb, void *arg,
                struct pd_err *err);
    int (*get)(struct pd_ledger *ledger, const char *id, const char *key_id, pd_records_text_cb cb,
               void *arg, struct pd_err *err);
    /* "KEY-ID\n", then the events, as of pd_records_events. */
    int (*events)(struct pd_ledger *ledger, const char *id, const char *key_id,
                  pd_records_text_cb cb, void *arg, struct pd_err *err);
    int (*list)(struct pd_ledger *ledger, const struct pd_records_query *query,
                pd_records_text_cb cb, void *arg, struct pd_err *err);
    int (*prune)(struct pd_ledger *ledger, pd_prune_cb cb, void *arg, struct pd_err *err);

    /* Among how many replicas the keys' limits are divided, as last known; 1: alone. */
    size_t (*replicas)(const struct pd_ledger *ledger);

    /* After the book is closed. Frees it; `closed` fires once from the loop. */
    void (*close)(struct pd_ledger *ledger, void (*closed)(void *arg), void *arg);
};

/* First in every implementation's own. */
struct pd_ledger {
    const struct pd_ledger_ops *ops;
};

#endif
