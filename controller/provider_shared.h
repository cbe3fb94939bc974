/* A provider as one of several replicas sees it (docs/replicas.md): what it links,
 * lists and destroys are its own sandboxes, by the provider below; what it wants
 * created it wishes for in Redis, and the replica that leads creates it. The one
 * that leads may be this one. */
#ifndef PD_CONTROLLER_PROVIDER_SHARED_H
#define PD_CONTROLLER_PROVIDER_SHARED_H

#include <uv.h>

#include "common/loop_redis.h"
#include "common/store.h"
#include "controller/provider.h"
#include "controller/replica.h"
#include "controller/share.h"

struct pd_provider_shared_config {
    uv_loop_t *loop;
    struct pd_redis *redis; /* outlives the provider */
    struct pd_store *store; /* likewise */
    enum pd_replica_part part;
    struct pd_provider *below; /* closed by our close */
    /* Which engine that is, once it is up: replicas on one engine share it. */
    const char *(*scope)(void *arg);
    /* The same provider for another instance's sandboxes; we close it. */
    int (*guest)(void *arg, const char *instance, struct pd_provider **ret_provider,
                 struct pd_err *err);
    void *arg;
};

struct pd_provider *pd_provider_shared_new(const struct pd_provider_shared_config *config);

/* This replica is about to stop: wishes that nobody has begun to carry out fail
 * with PD_CANCELED. */
void pd_provider_shared_withdraw(struct pd_provider *provider);

/* What this replica is to keep of a pool; its spec's sizes before it knows more. */
struct pd_share pd_provider_shared_share(const struct pd_provider *provider,
                                         const struct pd_pool_spec *spec);
/* Of the pool, how many sandboxes other replicas have. */
int pd_provider_shared_others(const struct pd_provider *provider, const char *pool);
/* Whether a replica was heard of lately. */
bool pd_provider_shared_is_live(const struct pd_provider *provider, const char *instance);
/* Whether it leads. */
bool pd_provider_shared_leads(const struct pd_provider *provider);
/* "TOKEN:HOLDER" as pd_lease_value; "" where it never led. */
const char *pd_provider_shared_lease(const struct pd_provider *provider);
/* What the keys of its engine begin with ("paddock:E"); NULL until that is known. */
const char *pd_provider_shared_prefix(const struct pd_provider *provider);
/* Whether what runs need can be had: one that owns sandboxes has one, or sees
 * somebody who creates them; one that only leads sees a leader. The sentence says
 * why not; static. */
bool pd_provider_shared_is_ready(const struct pd_provider *provider, const char **ret_sentence);

#endif
