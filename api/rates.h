/* Keys' rates: one bucket for each key, over all replicas where there is Redis, else of
 * this process (lease.h has the arithmetic, rate_script.h what is in Redis).
 *
 * A run is let in or refused at once as long as tokens of the key are held here, or the
 * bucket is known to be empty. Else Redis is asked, and the run waits for its answer:
 * PD_RATES_WAIT_MS at most, then the replica's own part decides. */
#ifndef PD_API_RATES_H
#define PD_API_RATES_H

#include <stddef.h>
#include <uv.h>

#include "api/keys.h"
#include "api/lease.h"
#include "api/ring.h"
#include "common/loop_redis.h"
#include "common/metrics.h"

#define PD_RATES_WAIT_MS 500

struct pd_rates;

/* redis: NULL: this process is alone. Both outlive the rates. */
struct pd_rates *pd_rates_open(uv_loop_t *loop, const struct pd_keys *keys, struct pd_redis *redis);
/* Before Redis is closed, when nobody waits. NULL is fine. */
void pd_rates_close(struct pd_rates *rates);
/* Set the figures of questions to Redis. */
void pd_rates_collect(const struct pd_rates *rates, struct pd_metrics *metrics);

/* Take one run of the key's rate. PD_LEASE_ASK: wait, and take again then. ret_rate: what is
 * left; its limit is 0 where the key has no rate (the answer is PD_LEASE_YES then). */
enum pd_lease_verdict pd_rates_take(struct pd_rates *rates, const char *key_id,
                                    struct pd_rate *ret_rate);
/* So many more were let in. */
void pd_rates_take_more(struct pd_rates *rates, const char *key_id, int count);

/* Somebody who waits: the caller's, until `ready` has fired or it is forgotten. */
struct pd_rates_waiter {
    struct pd_ring in_lease;
    void *entry; /* rates.c's own */
    void (*ready)(struct pd_rates_waiter *waiter);
};
/* After PD_LEASE_ASK; `ready` fires once, from the loop, and never from within. */
void pd_rates_wait(struct pd_rates *rates, const char *key_id, struct pd_rates_waiter *waiter);
void pd_rates_forget(struct pd_rates_waiter *waiter);

#endif
