/* One of several replicas on one Redis and one engine: says that it is there,
 * once a second, and knows who else is and how much everyone owns. */
#ifndef PD_CONTROLLER_REPLICA_H
#define PD_CONTROLLER_REPLICA_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "common/buf.h"
#include "common/loop_redis.h"
#include "common/pool.h"
#include "controller/share.h"

#define PD_REPLICA_BEAT_MS 1000
#define PD_REPLICA_DEAD_MS 6000 /* after its last beat */
#define PD_REPLICA_ID_MAX 64
#define PD_REPLICAS_MAX 1024
#define PD_REPLICA_REPORT_BYTES_MAX (256u * 1024)

struct pd_replica;

/* What it does for the others. */
enum pd_replica_part {
    PD_REPLICA_ALL,   /* owns sandboxes, and leads where it is elected: `paddock serve` */
    PD_REPLICA_LEADS, /* owns none: `paddock controller`. Nothing is shared out to it */
    PD_REPLICA_OWNS,  /* never leads: `paddock api` */
};

struct pd_replica_config {
    uv_loop_t *loop;
    struct pd_redis *redis; /* outlives it */
    const char *prefix;     /* of its keys; copied */
    const char *id;         /* its instance name; copied */
    enum pd_replica_part part;
    void (*beaten)(void *arg, bool changed); /* heard from Redis; who is there or what they own
                                                differs from before */
    void (*back)(void *arg);                 /* Redis has taken a heartbeat again after it had
                                                refused one: it was full, of memory or disk */
    /* What it has, for the others to know: text, PD_REPLICA_REPORT_BYTES_MAX at most. */
    void (*report)(void *arg, struct pd_buf *out);
    /* Everyone's reports, a hash: replica, report. Not all need be alive. */
    void (*reports)(void *arg, const struct pd_redis_reply *reports);
    void *arg;
};

struct pd_replica *pd_replica_open(const struct pd_replica_config *config);
/* Ask Redis now. */
void pd_replica_beat(struct pd_replica *replica);
/* Of the pool, for this one. What Redis said last counts. */
struct pd_share pd_replica_share(const struct pd_replica *replica, const struct pd_pool_spec *spec);
/* Whether it was heard of lately. */
bool pd_replica_is_live(const struct pd_replica *replica, const char *id);
/* How many of the pool's sandboxes are others', the dead ones' that are not yet
 * forgotten included. */
int pd_replica_others(const struct pd_replica *replica, const char *pool);
/* Whether Redis said within PD_REPLICA_SIGHT_MS that somebody leads. */
#define PD_REPLICA_SIGHT_MS 3500
bool pd_replica_sees_leader(const struct pd_replica *replica);
/* The i-th of those that are dead and not yet forgotten, or NULL. */
const char *pd_replica_dead_at(const struct pd_replica *replica, size_t i);
/* Says goodbye, unless it still owns something. `closed` fires once from the loop. */
void pd_replica_close(struct pd_replica *replica, void (*closed)(void *arg), void *arg);

#endif
