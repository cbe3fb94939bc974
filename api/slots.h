/* Keys' concurrency: so many runs at a time, over all replicas where there is Redis.
 *
 * A replica has places of a key, which it asks Redis for when runs wait for them
 * (slot_script.h), and gives back when it has no use for them. A run that finds a place
 * begins at once; places are asked for again once a second, or PD_SLOTS_TICK_MS while
 * replicas want more than there are, which thus go round.
 *
 * While Redis does not answer, a replica has its part of the key's concurrency, one at least. */
#ifndef PD_API_SLOTS_H
#define PD_API_SLOTS_H

#include <uv.h>

#include "api/dispatch.h"
#include "api/keys.h"
#include "common/loop_redis.h"

#define PD_SLOTS_TICK_MS 250
#define PD_SLOTS_WAIT_MS 500  /* for an answer, before Redis counts as away */
#define PD_SLOTS_LIFE_MS 4000 /* that Redis counts what a replica has, without its asking */
#define PD_SLOTS_USE_MS 3000  /* that the replica goes by it */

struct pd_slots;

/* redis: NULL: this process is alone. All outlive the slots; it sees to the dispatcher's
 * limits, as far as they are of concurrency (pd_slots_limit). */
struct pd_slots *pd_slots_open(uv_loop_t *loop, const struct pd_keys *keys, struct pd_redis *redis,
                               struct pd_dispatch *dispatch);
/* Before the dispatcher is closed: nothing of it is asked any more, and nothing refused. NULL
 * is fine. */
void pd_slots_close(struct pd_slots *slots);

/* How many of the key may run here now, as in pd_key_limits. */
int pd_slots_limit(struct pd_slots *slots, const struct pd_key *key);

/* {places, whether others want more}; false: that is none, or no possible one. */
bool pd_slots_answer_parse(const struct pd_redis_reply *reply, int wanted, int *ret_places,
                           bool *ret_short);

#endif
