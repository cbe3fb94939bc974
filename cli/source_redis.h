/* Pools declared in Redis: the hash `paddock:pools`, a field for each pool, its
 * name; the value a SandboxPool in YAML or JSON, whose metadata.name is the same
 * or left out. Read when connected, when anything is published on
 * `paddock:pools:changed`, every PD_SOURCE_REDIS_INTERVAL_MS, and on SIGHUP.
 *
 * A pool is deleted when its field is removed (HDEL), and by nothing else. What
 * tells a removal from a Redis that has lost its data is a field of our own in
 * the same hash, `_dataset`, a random id that is written when pools are first
 * seen: a pool that is missing was removed if the hash still has the id under
 * which that very server process (its run_id) showed the pool before. The hash
 * gone (DEL, FLUSHALL), an id that is gone or another one, a server that was
 * restarted since: then a missing pool stays as it is, and says so in its
 * source_error, until it is set again or paddock is restarted.
 *
 * A value with a problem changes nothing: what it said before stays in force,
 * the problem is logged once and kept in source_error. A pool of another source
 * stays that source's. */
#ifndef PD_CLI_SOURCE_REDIS_H
#define PD_CLI_SOURCE_REDIS_H

#include <stdio.h>
#include <uv.h>

#include "common/err.h"
#include "common/loop_redis.h"
#include "common/pool.h"
#include "common/store.h"

#define PD_SOURCE_REDIS "redis" /* as pools name their source */
#define PD_SOURCE_REDIS_KEY "paddock:pools"
#define PD_SOURCE_REDIS_CHANNEL "paddock:pools:changed"
#define PD_SOURCE_REDIS_DATASET "_dataset"
#define PD_SOURCE_REDIS_POOLS_MAX 4096
#define PD_SOURCE_REDIS_INTERVAL_MS 10000

struct pd_source_redis;

struct pd_source_redis_config {
    uv_loop_t *loop;
    struct pd_store *store;
    struct pd_redis *redis; /* outlives the source */
    enum pd_provider_kind default_provider;
};

int pd_source_redis_open(const struct pd_source_redis_config *config,
                         struct pd_source_redis **ret_source, struct pd_err *err);
void pd_source_redis_reload(struct pd_source_redis *source);
/* `closed` fires once from the loop. The pools stay in the store. */
void pd_source_redis_close(struct pd_source_redis *source, void (*closed)(void *arg), void *arg);

/* One field as a spec. PD_INVALID with a message that has path and line. */
int pd_source_redis_parse(const struct pd_schema *schema, const char *name, const char *text,
                          size_t len, enum pd_provider_kind default_provider,
                          struct pd_pool_spec **ret_spec, struct pd_err *err);

/* For `paddock check`: the fields of the hash at REDIS_URL, each given to `field`;
 * runs a loop of its own until that is done or has failed. */
int pd_source_redis_fetch(void (*field)(void *arg, const char *name, const char *text, size_t len),
                          void *arg, struct pd_err *err);

#endif
