/* The objects of the Kubernetes-style API among replicas (docs/replicas.md): pools made
 * by the API, what the replica that leads has of every pool, everyone's sandboxes and
 * events, in Redis, in one order of resourceVersions. Every replica has all of it from
 * there, and shows that; kube_entry.h has the values.
 *
 *   paddock:E:objects           hash: "KIND/NAME", a value; _version: the last that was
 *                               given; _dataset: a random name, unlike after a loss;
 *                               _floor: removals up to this version are forgotten
 *   paddock:E:objects:order     sorted set: the same fields, by version; one that the
 *                               hash does not have is removed
 *   paddock:E:objects:changed   channel
 *
 * Versions are microseconds of Redis's clock, and more than any that the writer knows.
 * A pool of the API is written by whoever is asked, by compare-and-set of its version;
 * a status, and a pool of another source, by whoever leads, fenced by its lease;
 * a sandbox or an event by its owner. */
#ifndef PD_API_KUBE_SHARED_H
#define PD_API_KUBE_SHARED_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "api/kube_entry.h"
#include "api/kube_keep.h"
#include "api/kube_watch.h"
#include "common/loop_redis.h"
#include "common/store.h"

/* Who shares an engine; of the caller's, outlives the user. */
struct pd_kube_peers {
    struct pd_redis *redis;
    const char *instance; /* this replica */
    /* What the keys of the engine begin with; NULL: not known yet. */
    const char *(*prefix)(void *arg);
    /* The lease that this replica holds; NULL: it does not lead. */
    const char *(*lease)(void *arg);
    bool (*is_live)(void *arg, const char *instance);
    /* How many sandboxes of the pool other replicas have. */
    int (*others)(void *arg, const char *pool);
    void *arg;
};

#define PD_KUBE_SHARED_LOOK_MS 1000
#define PD_KUBE_SHARED_STATUS_MS 250        /* changes of a status within it count as one */
#define PD_KUBE_SHARED_EVENTS_MS 1000       /* likewise of sandboxes and events */
#define PD_KUBE_SHARED_TOMB_MS (600 * 1000) /* so long a removal is told */
#define PD_KUBE_SHARED_EVENT_AGE_MS (3600ll * 1000)
#define PD_KUBE_SHARED_FIELDS_MAX 65536 /* the rest is left out */

struct pd_kube_shared;

struct pd_kube_shared_config {
    uv_loop_t *loop;
    struct pd_store *store;
    struct pd_kube_keep *keep;   /* pools that are in the database go over to Redis */
    struct pd_kube_watch *watch; /* is fed; all of these outlive it */
    const struct pd_kube_peers *peers;
    enum pd_provider_kind default_provider;
};

int pd_kube_shared_open(const struct pd_kube_shared_config *config,
                        struct pd_kube_shared **ret_shared, struct pd_err *err);
/* What waits is told PD_CANCELED. `closed` fires once from the loop. */
void pd_kube_shared_close(struct pd_kube_shared *shared, void (*closed)(void *arg), void *arg);

/* Whether what is shown comes from Redis, and all of it is there: it was read a while ago. */
bool pd_kube_shared_is_settled(const struct pd_kube_shared *shared);

/* Read what has changed. 0: `done` fires once from the loop, err NULL when everything
 * that was written before the call is known. PD_UNAVAILABLE: it never fires. */
int pd_kube_shared_refresh(struct pd_kube_shared *shared,
                           void (*done)(void *arg, const struct pd_err *err), void *arg,
                           struct pd_err *err);

/* The pool of the API as it was read last: identity and version. PD_NOT_FOUND. */
int pd_kube_shared_pool(const struct pd_kube_shared *shared, const char *name,
                        struct pd_pool_identity *ret_identity, uint64_t *ret_version);
/* Whose the pool is; "" where there is none. */
const char *pd_kube_shared_source(const struct pd_kube_shared *shared, const char *name);

/* Write a pool of the API where Redis still has it in this version (0: where it has
 * none). 0: `done` fires once from the loop: version is the new one; PD_CONFLICT:
 * another was faster, nothing is written; any other error: it may or may not be
 * written. */
int pd_kube_shared_put(struct pd_kube_shared *shared, const struct pd_kube_entry *entry,
                       uint64_t expected,
                       void (*done)(void *arg, const struct pd_err *err, uint64_t version),
                       void *arg, struct pd_err *err);

#endif
