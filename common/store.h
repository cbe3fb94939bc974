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
#include "common/link.h"
#include "common/pool.h"
#include "common/time.h"

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

struct pd_pool_status {
    int64_t observed_generation;
    int replicas;    /* all that exist, creating and terminating ones included */
    int ready;       /* warm, unclaimed */
    int claimed;
    int starting;
    int terminating;
    int updated;     /* of the current template */
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

struct pd_pool {
    struct pd_pool_spec *spec;
    char source[128];     /* who brought it: "file:conf/default.yaml", "api", ... */
    char source_error[256]; /* why the source's newest text is not in force, "" when it is */
    int64_t generation;   /* grows with each change of spec, from 1 */
    bool deleting;        /* draining: no new claims */
    struct pd_pool_status status; /* written by the controller */
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

/* ---- life ---- */

/* fixed_now: a clock for tests, NULL for pd_time_now. */
struct pd_store *pd_store_new(uv_loop_t *loop, struct pd_time (*fixed_now)(void));
/* After every observer has been removed; `closed` fires once from the loop. */
void pd_store_close(struct pd_store *store, void (*closed)(void *arg), void *arg);

/* Called with the pool's name; the pool may be gone by then. At most
 * PD_STORE_OBSERVERS_MAX. */
#define PD_STORE_OBSERVERS_MAX 8
typedef void (*pd_store_observer_cb)(void *arg, const char *pool);
void pd_store_observe(struct pd_store *store, pd_store_observer_cb cb, void *arg);
void pd_store_unobserve(struct pd_store *store, pd_store_observer_cb cb, void *arg);
/* Tell observers about a pool though no record changed (a timer, a provider event). */
void pd_store_touch(struct pd_store *store, const char *pool);

/* ---- desired state ---- */

/* Add or replace; takes its own reference to spec. An equal spec changes
 * nothing. PD_CONFLICT, naming the owner, when another source brought it. */
int pd_store_pool_put(struct pd_store *store, struct pd_pool_spec *spec, const char *source,
                      struct pd_err *err);
/* Mark for deletion; the controller removes it when drained. PD_NOT_FOUND,
 * PD_CONFLICT (another source's). */
int pd_store_pool_delete(struct pd_store *store, const char *name, const char *source,
                         struct pd_err *err);
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
void pd_store_sandbox_remove(struct pd_store *store, struct pd_sandbox *sandbox);

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
