/* The leader's hands: carries out all replicas' wishes for sandboxes, within each
 * pool's maxSize, and collects what dead replicas left (docs/replicas.md). Acts
 * only while the lease is held; what it cannot finish the next leader does. */
#ifndef PD_CONTROLLER_MAKER_H
#define PD_CONTROLLER_MAKER_H

#include <uv.h>

#include "common/lease.h"
#include "common/loop_redis.h"
#include "common/store.h"
#include "controller/provider.h"
#include "controller/replica.h"

#define PD_MAKER_JOBS_MAX 4096 /* wishes being carried out */

struct pd_maker;

struct pd_maker_config {
    uv_loop_t *loop;
    struct pd_redis *redis; /* these three outlive the maker */
    struct pd_lease *lease;
    struct pd_replica *replica;
    struct pd_store *store;
    const char *prefix;      /* of its keys; copied */
    struct pd_provider *own; /* for the sandboxes of this replica */
    /* A provider for those of another one; the maker closes it. */
    int (*guest)(void *arg, const char *instance, struct pd_provider **ret_provider,
                 struct pd_err *err);
    void *arg;
};

struct pd_maker *pd_maker_open(const struct pd_maker_config *config);
/* There are wishes, or the lease was gained: read them. */
void pd_maker_look(struct pd_maker *maker);
/* A second has passed: see who is dead. */
void pd_maker_collect(struct pd_maker *maker);
/* `closed` fires once from the loop. */
void pd_maker_close(struct pd_maker *maker, void (*closed)(void *arg), void *arg);

#endif
