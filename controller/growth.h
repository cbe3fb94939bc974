/* How fast a pool may grow: slow start and backoff. A pool begins with one
 * creation at a time; each that the provider accepts allows one more, so that
 * batches go 1, 2, 4, ...; the first failure stops growth, and until the next
 * attempt a pause is made that doubles with every failure in a row. */
#ifndef PD_CONTROLLER_GROWTH_H
#define PD_CONTROLLER_GROWTH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/pool.h"
#include "common/time.h"

#define PD_GROWTH_WINDOW_MAX 16
#define PD_GROWTH_PAUSE_MIN_MS 500
#define PD_GROWTH_PAUSE_MAX_MS 60000
#define PD_GROWTH_HELD_MIN_MS 5000 /* the provider has no capacity: asking again soon is no use */
#define PD_GROWTH_HELD_MAX_MS 300000

struct pd_growth {
    char
        template_hash[PD_TEMPLATE_HASH_BYTES]; /* what has been created so; another starts afresh */
    int window;                                /* creations that may be under way; 0 stands for 1 */
    int failures;                              /* in a row: of creating, or of becoming ready */
    bool held;               /* the last failure was for want of capacity (PD_LIMIT) */
    struct pd_time retry_at; /* nothing is created before; unset when nothing failed */
    char message[200];       /* the last failure, a sentence */
};

/* What has failed for another template says nothing about this one. */
void pd_growth_begin(struct pd_growth *growth, const char *template_hash);
/* The provider has made one: it has capacity. */
void pd_growth_created(struct pd_growth *growth);
/* One has become ready: whatever failed is over. */
void pd_growth_ready(struct pd_growth *growth);
/* One could not be made, or died or was given up before it was ready. `kind`
 * is an enum pd_err_kind. `seed` spreads the pauses of many pools. */
void pd_growth_failed(struct pd_growth *growth, int kind, const char *message, struct pd_time now,
                      uint64_t seed);

/* How many more creations may start now, when `creating` wait for the provider's
 * answer and `starting` for their agent's. After a failure one sandbox at a time
 * is tried, until one has become ready. */
int pd_growth_allowance(const struct pd_growth *growth, struct pd_time now, int creating,
                        int starting);

#endif
