/* The ledger that replicas share, in Redis (docs/executions.md, docs/replicas.md).
 *
 * An execution is a hash, written by a script before it is accepted, with its owner:
 * a replica by a token that is new at each of its starts. Replicas show that they
 * live by a heartbeat; what a dead one owned, the others take, each execution one of
 * them, by a script that changes the owner. Every later script compares the owner, so
 * a replica that was only paused can neither begin nor finish what is another's now.
 *
 * What is done stays in Redis for a while, for any replica to answer for it, and is
 * copied to the records (SQLite) of the replica that ended it. */
#ifndef PD_API_LEDGER_REDIS_H
#define PD_API_LEDGER_REDIS_H

#include <stdbool.h>
#include <uv.h>

#include "api/ledger.h"
#include "common/loop_redis.h"

#define PD_LEDGER_BEAT_MS 1000
#define PD_LEDGER_DEAD_MS 6000  /* without a heartbeat */
#define PD_LEDGER_TRUST_MS 8000 /* that Redis took our own before we call others dead */
#define PD_LEDGER_UNSENT_BYTES_MAX (128u * 1024 * 1024) /* of outcomes that wait for Redis */
/* Of one result with its events: it is one command, and one reply with all else. */
#define PD_LEDGER_RESULT_BYTES_MAX (PD_REDIS_REPLY_BYTES_MAX - 1024 * 1024)
#define PD_LEDGER_WAITS_MAX 4096 /* executions of others that somebody waits for */

/* What must be so of Redis before it is trusted with what was accepted. */
enum pd_ledger_durability {
    PD_LEDGER_AOF,     /* appendonly, and noeviction */
    PD_LEDGER_FSYNC,   /* and appendfsync always */
    PD_LEDGER_RELAXED, /* anything: what was accepted may be lost with Redis */
};

struct pd_ledger_redis_config {
    uv_loop_t *loop;
    struct pd_redis *redis;     /* outlives the ledger */
    struct pd_records *records; /* likewise; this replica's own */
    struct pd_store *store;     /* likewise: the pools that are known here */
    const char *instance;       /* of the state folder; copied */
    enum pd_ledger_durability durability;
    int64_t age_ms;     /* how long what is done is kept in Redis */
    int64_t size_bytes; /* of results and events there; beyond it the oldest go */
};

struct pd_ledger *pd_ledger_redis_new(const struct pd_ledger_redis_config *config);

#endif
