/* The store: what is desired (pools) and what exists (sandboxes), where the
 * controller and the API meet. Neither calls the other; each changes the store
 * and is told of the other's changes.
 *
 *   controller: puts pools, adds sandboxes, moves them through their phases,
 *               removes them when the provider no longer has them
 *   api:        claims a warm sandbox, releases it, says how much is waiting
 *
 * This is the view of one process: reads are synchronous. All of it lives on
 * one loop; observers are called from the loop after the change (never from
 * within the call that made it), once for any number of changes to one pool
 * since the last call. Records are owned by the store; pointers to them are
 * valid until the next turn of the loop unless removed by the caller. */
#ifndef PD_COMMON_STORE_H
#define PD_COMMON_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/err.h"
#include "common/events.h"
#include "common/link.h"
#include "common/pool.h"
#include "common/time.h"
#include "common/uid.h"

#define PD_SANDBOX_ID_MAX 80
#define PD_PROVIDER_ID_MAX 256
#define PD_KEY_ID_MAX 32
#define PD_REASON_MAX 160

struct pd_store;

/* ---- pools ---- */

struct pd_condition {
    int status; /* 1 true, 0 false, -1 unknown */
    char reason[48];  /* CamelCase, for programs */
    char message[256]; /* a sentence, for people */
    int64_t since_wall_ms; /* last change of status */
};

/* What went wrong lately; the same thing again is counted. */
struct pd_failure {
    int64_t wall_ms; /* the last time */
    int count;
    char reason[40];   /* CamelCase */
    char message[160]; /* a sentence */
};
#define PD_POOL_FAILURES_MAX 5
struct pd_failures {
    struct pd_failure items[PD_POOL_FAILURES_MAX]; /* newest first */
    size_t count;
};

struct pd_pool_status {
    int64_t observed_generation;
    int wanted;      /* how many there should be now */
    int replicas;    /* all that exist, creating and terminating ones included */
    int ready;       /* warm, unclaimed */
    int claimed;
    int starting;
    int terminating;
    int updated;     /* of the current template */
    char template_hash[PD_TEMPLATE_HASH_BYTES];
    int queue_length;
    double warm_hit_ratio; /* of the runs since start; -1: none yet */
    int64_t refill_p99_ms; /* from one's going until its successor is warm; -1: not measured yet */
    int64_t start_p90_ms;  /* from asking for one until its agent answers; -1: likewise */
    int recommended_min;   /* minSize with which nobody waits for a start; -1: likewise */
    struct pd_failures failures;
    struct pd_condition available, progressing, degraded;
};

/* How much the API has waiting and running, per pool; written by the API. */
struct pd_demand {
    int queued;
    int64_t oldest_wait_ms;   /* age of the oldest queued run */
    int64_t expected_wait_ms; /* estimate for a run that would be queued now, from recent runs */
    uint64_t warm_hits;       /* runs that met a warm sandbox at once, since start */
    uint64_t runs;            /* runs dispatched, since start */
    uint64_t no_sandbox_for_key; /* claims refused because idle ones serve other keys */
};

/* What other replicas have of a pool, added up; all 0 where there is none. */
struct pd_pool_elsewhere {
    int wanted, replicas, ready, claimed, starting, terminating, updated, queue_length;
};

struct pd_pool {
    char uid[PD_UID_BYTES];    /* its own for its whole life, kept ones over restarts too */
    uint64_t resource_version; /* of its last change: of spec, metadata, status or deletion */
    int64_t created_wall_ms;
    int64_t deletion_wall_ms;  /* when its deletion was asked for; 0: not */
    struct pd_pool_spec *spec; /* spec->node has labels and annotations too */
    char source[128];     /* who brought it: "file:conf/default.yaml", "api", ... */
    char source_error[256]; /* why the source's newest text is not in force, "" when it is */
    char conflict[256];   /* which other source declares it too, a sentence; "" for none */
    int64_t generation;   /* grows with each change of spec, from 1; not of metadata */
    bool deleting;        /* draining: no new claims */
    struct pd_pool_status status; /* written by the controller */
    struct pd_pool_elsewhere elsewhere; /* written by the controller's provider */
    struct pd_demand demand;      /* written by the API */
    struct pd_hello hello;        /* of the newest sandbox that became warm; n_languages 0: none yet */
    void *controller_data;        /* the controller's own */
    void *api_data;               /* the dispatcher's own */
};

/* ---- sandboxes ---- */

enum pd_sandbox_phase {
    PD_SANDBOX_CREATING,    /* the intent is recorded, the provider asked */
    PD_SANDBOX_STARTING,    /* the provider has it; no word from its agent yet */
    PD_SANDBOX_WARM,        /* agent ready, unclaimed */
    PD_SANDBOX_CLAIMED,     /* a run is (about to be) in it */
    PD_SANDBOX_TERMINATING, /* being destroyed; still counts against maxSize */
};
const char *pd_sandbox_phase_name(enum pd_sandbox_phase phase);

struct pd_sandbox {
    char id[PD_SANDBOX_ID_MAX];       /* also the provider's idempotency token and name */
    uint64_t resource_version;        /* of its last change */
    char pool[PD_POOL_NAME_MAX];
    char provider_id[PD_PROVIDER_ID_MAX]; /* "" while creating */
    char template_hash[PD_TEMPLATE_HASH_BYTES];
    enum pd_sandbox_phase phase;
    struct pd_time phase_since;
    struct pd_time created;
    int64_t created_wall_ms;
    uint32_t runs;                    /* runs ended */
    char key_id[PD_KEY_ID_MAX];       /* the API key it serves, "" until its first run */
    bool recycle;                     /* release or idleness must lead to its end, see reason */
    char reason[PD_REASON_MAX];       /* why it is (to be) destroyed */
    struct pd_link *link;             /* open while warm or claimed; the controller owns it */
    void *controller_data;            /* the controller's own */
};

/* One that is no more, remembered for a while. */
struct pd_dead_sandbox {
    char id[PD_SANDBOX_ID_MAX];
    uint64_t resource_version; /* of its removal */
    char provider_id[PD_PROVIDER_ID_MAX];
    char template_hash[PD_TEMPLATE_HASH_BYTES];
    int64_t created_wall_ms, died_wall_ms;
    uint32_t runs;
    char reason[PD_REASON_MAX];
};
#define PD_DEAD_SANDBOXES_MAX 64 /* of one pool; the oldest make room */

/* ---- life ---- */

/* fixed_now: a clock for tests, NULL for pd_time_now. */
struct pd_store *pd_store_new(uv_loop_t *loop, struct pd_time (*fixed_now)(void));
/* After every observer has been removed; `closed` fires once from the loop. */
void pd_store_close(struct pd_store *store, void (*closed)(void *arg), void *arg);

/* The resource version of the last change to anything in this store. Each change
 * gets the next greater number; counting begins at the wall clock's microseconds,
 * so that it does not go back over a restart. */
uint64_t pd_store_resource_version(const struct pd_store *store);

/* Called with the pool's name; the pool may be gone by then. At most
 * PD_STORE_OBSERVERS_MAX. */
#define PD_STORE_OBSERVERS_MAX 12
typedef void (*pd_store_observer_cb)(void *arg, const char *pool);
void pd_store_observe(struct pd_store *store, pd_store_observer_cb cb, void *arg);
void pd_store_unobserve(struct pd_store *store, pd_store_observer_cb cb, void *arg);
/* Tell observers about a pool though no record changed (a timer, a provider event). */
void pd_store_touch(struct pd_store *store, const char *pool);

/* ---- events ---- */

/* Say what was done to a pool, or to one of its sandboxes (else NULL), and why.
 * The pool may be gone. `reason` is CamelCase; the message is a sentence without
 * anything that differs from one time to the next, so that it can be counted. */
void pd_store_event(struct pd_store *store, enum pd_event_type type, const char *pool,
                    const char *sandbox, const char *reason, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
const struct pd_events *pd_store_events(const struct pd_store *store);

/* Called from the loop once after any number of new events. At most
 * PD_STORE_OBSERVERS_MAX. */
typedef void (*pd_store_events_cb)(void *arg);
void pd_store_observe_events(struct pd_store *store, pd_store_events_cb cb, void *arg);
void pd_store_unobserve_events(struct pd_store *store, pd_store_events_cb cb, void *arg);

/* ---- desired state ---- */

/* What a kept pool brings back with it. */
struct pd_pool_identity {
    char uid[PD_UID_BYTES];
    int64_t generation;
    int64_t created_wall_ms;
    int64_t deletion_wall_ms; /* not 0: it is being deleted */
};

/* Add or replace; takes its own reference to spec. An equal spec changes
 * nothing; one that differs in metadata only leaves the generation alone.
 * PD_CONFLICT, naming the owner, when another source brought it. Putting one
 * that is being deleted ends its deletion. */
int pd_store_pool_put(struct pd_store *store, struct pd_pool_spec *spec, const char *source,
                      struct pd_err *err);
/* Add one that was kept since an earlier life. PD_CONFLICT when there is one of
 * this name already, whoever brought it. */
int pd_store_pool_restore(struct pd_store *store, struct pd_pool_spec *spec, const char *source,
                          const struct pd_pool_identity *identity, struct pd_err *err);
/* Exactly as another replica has it: identity, generation, deletion and source, too.
 * One that is being deleted is not added. The caller sees to whose it is. */
void pd_store_pool_mirror(struct pd_store *store, struct pd_pool_spec *spec, const char *source,
                          const struct pd_pool_identity *identity);
/* The controller: what became of it. Nothing happens when that is known. */
void pd_store_pool_set_status(struct pd_store *store, struct pd_pool *pool,
                              const struct pd_pool_status *status);
/* Likewise of what others have of it. */
void pd_store_pool_set_elsewhere(struct pd_store *store, struct pd_pool *pool,
                                 const struct pd_pool_elsewhere *elsewhere);
/* A source: why its newest text is not in force; "" when it is. */
void pd_store_pool_set_source_error(struct pd_store *store, struct pd_pool *pool, const char *text);
/* A source that declares a pool which belongs to another says so, and takes it
 * back when it declares it no more. Up to PD_POOL_RIVALS_MAX are remembered. */
#define PD_POOL_RIVALS_MAX 4
void pd_store_pool_set_rival(struct pd_store *store, const char *name, const char *source,
                             bool declares);
/* For i = 0, 1, ..., PD_POOL_RIVALS_MAX - 1: a source or ""; then NULL. */
const char *pd_store_pool_rival_at(const struct pd_pool *pool, size_t i);
/* Mark for deletion; the controller removes it when drained. PD_NOT_FOUND,
 * PD_CONFLICT (another source's). */
int pd_store_pool_delete(struct pd_store *store, const char *name, const char *source,
                         struct pd_err *err);
/* The pool is this source's from now on: its owner has given it up. */
void pd_store_pool_hand_over(struct pd_store *store, struct pd_pool *pool, const char *source);
/* The controller: nothing of it exists any more. */
void pd_store_pool_forget(struct pd_store *store, const char *name);
struct pd_pool *pd_store_pool(struct pd_store *store, const char *name); /* or NULL */
/* In name order, for i = 0, 1, ...; NULL at the end. */
struct pd_pool *pd_store_pool_at(struct pd_store *store, size_t i);

/* ---- observed state ---- */

/* The controller: record an intent before the provider is asked. The id must be new. */
struct pd_sandbox *pd_store_sandbox_add(struct pd_store *store, const char *id, const char *pool,
                                        const char *template_hash);
struct pd_sandbox *pd_store_sandbox(struct pd_store *store, const char *id); /* or NULL */
/* Of one pool, oldest first, for i = 0, 1, ...; NULL at the end. */
struct pd_sandbox *pd_store_sandbox_at(struct pd_store *store, const char *pool, size_t i);
size_t pd_store_sandbox_count(struct pd_store *store, const char *pool);
/* Allowed moves are asserted: creating > starting > warm <> claimed, warm >
 * starting (its link was lost and is made anew), any > terminating. */
void pd_store_sandbox_move(struct pd_store *store, struct pd_sandbox *sandbox,
                           enum pd_sandbox_phase phase);
/* Mark it so that its next release or idleness leads to its end, and why. A
 * reason recorded earlier stays. */
void pd_store_sandbox_retire(struct pd_store *store, struct pd_sandbox *sandbox,
                             const char *reason);
/* It is no more; it stays visible among the dead. */
void pd_store_sandbox_remove(struct pd_store *store, struct pd_sandbox *sandbox);
/* Of one pool, the latest dead first, for i = 0, 1, ...; NULL at the end. */
const struct pd_dead_sandbox *pd_store_dead_at(struct pd_store *store, const char *pool, size_t i);

/* Whether no second run may ever enter it: the pool asks for isolation
 * `container`, or the sandbox can only do something weaker than the pool asks. */
bool pd_sandbox_serves_one_run(const struct pd_pool_spec *spec, const struct pd_sandbox *sandbox);

/* ---- claims ---- */

/* A warm sandbox of this pool for one run of this key and language, now
 * claimed; NULL when there is none. Prefers one with a spare for the language,
 * then one that serves this key already, then the least recently used. Never
 * one that serves another key unless spec.recycle.share, never one marked
 * recycle, never of a pool being deleted. */
struct pd_sandbox *pd_store_claim(struct pd_store *store, const char *pool, const char *language,
                                  const char *key_id);

/* The run is over. usable=false: the sandbox must go, `reason` says why;
 * otherwise it is warm again, or marked recycle where the spec's recycle or
 * isolation says so. Safe when the sandbox is gone already. */
void pd_store_release(struct pd_store *store, const char *sandbox_id, bool usable,
                      const char *reason);

#endif
