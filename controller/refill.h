/* How long a pool takes to fill a gap: from a sandbox's going until the one that
 * takes its place is warm. The latest measurements are kept, for a percentile. */
#ifndef PD_CONTROLLER_REFILL_H
#define PD_CONTROLLER_REFILL_H

#include <stddef.h>
#include <stdint.h>

#include "common/time.h"

#define PD_REFILL_GAPS_MAX 64     /* more at once are not measured */
#define PD_REFILL_SAMPLES_MAX 128 /* the latest are kept */

struct pd_refill {
    struct pd_time gaps[PD_REFILL_GAPS_MAX]; /* when each opened, oldest first */
    size_t n_gaps;
    uint32_t samples_ms[PD_REFILL_SAMPLES_MAX]; /* a ring */
    size_t n_samples;                           /* ever taken */
    int64_t p99_ms;                             /* of those kept */
};

/* One that served is gone. */
void pd_refill_left(struct pd_refill *refill, struct pd_time now);
/* So many are missing at present; gaps beyond that need not be filled. */
void pd_refill_missing(struct pd_refill *refill, int missing);
/* One has become warm: it fills the oldest gap. */
void pd_refill_came(struct pd_refill *refill, struct pd_time now);
/* -1: nothing was measured yet. */
int64_t pd_refill_p99_ms(const struct pd_refill *refill);

#endif
