/* Leadership: a lease in Redis, held by one of those who want it, with a fencing
 * token that only grows. Whoever holds it renews it; who dies or stalls loses it
 * when it expires.
 *
 * `held` means: by our own monotonic clock, counted from before the last
 * renewal was sent, at least PD_LEASE_MARGIN_MS are left. It ends by itself, so
 * asking before each act is enough; scripts compare pd_lease_value with the
 * lease's key and refuse who does not hold it any more. */
#ifndef PD_COMMON_LEASE_H
#define PD_COMMON_LEASE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/loop_redis.h"
#include "common/time.h"

#define PD_LEASE_TTL_MS 3000
#define PD_LEASE_RENEW_MS 700
#define PD_LEASE_MARGIN_MS 500
#define PD_LEASE_HOLDER_MAX 80
#define PD_LEASE_VALUE_MAX (PD_LEASE_HOLDER_MAX + 24)

struct pd_lease;

struct pd_lease_events {
    void (*gained)(void *arg);
    void (*lost)(void *arg); /* after gained */
};

struct pd_lease_config {
    uv_loop_t *loop;
    struct pd_redis *redis;               /* outlives the lease */
    const char *prefix;                   /* keys PREFIX:lease and PREFIX:fence; copied */
    const char *holder;                   /* who we are, unlike anybody else; no ':'; copied */
    int ttl_ms;                           /* 0: PD_LEASE_TTL_MS, else more than twice the margin */
    struct pd_time (*fixed_now)(void);    /* tests; NULL: pd_time_now */
    const struct pd_lease_events *events; /* static */
    void *arg;
};

/* Wants it from now on. */
struct pd_lease *pd_lease_open(const struct pd_lease_config *config);
bool pd_lease_is_held(const struct pd_lease *lease);
/* "TOKEN:HOLDER" of the lease that we hold, or held last; "" before. */
const char *pd_lease_value(const struct pd_lease *lease);
/* Since when it is held; unset when it is not. */
struct pd_time pd_lease_since(const struct pd_lease *lease);
/* Who holds it, as last seen; "" when nobody does or that is not known. */
const char *pd_lease_holder(const struct pd_lease *lease);
/* Gives it up, so that another may have it at once. `closed` fires once from the
 * loop; no event fires after the call. */
void pd_lease_close(struct pd_lease *lease, void (*closed)(void *arg), void *arg);

#endif
