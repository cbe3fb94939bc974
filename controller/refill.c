#include "controller/refill.h"

#include <stdlib.h>
#include <string.h>

void pd_refill_left(struct pd_refill *refill, struct pd_time now)
{
    if (refill->n_gaps < PD_REFILL_GAPS_MAX)
        refill->gaps[refill->n_gaps++] = now;
}

void pd_refill_missing(struct pd_refill *refill, int missing)
{
    if (missing < 0)
        missing = 0;
    if ((size_t)missing < refill->n_gaps)
        refill->n_gaps = (size_t)missing;
}

static int by_size(const void *a, const void *b)
{
    uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;

    return (first > second) - (first < second);
}

/* The smallest that 99 in 100 of the samples do not exceed. */
static uint32_t p99(const struct pd_refill *refill)
{
    uint32_t sorted[PD_REFILL_SAMPLES_MAX];
    size_t count = refill->n_samples;

    if (count > PD_REFILL_SAMPLES_MAX)
        count = PD_REFILL_SAMPLES_MAX;
    memcpy(sorted, refill->samples_ms, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_size);
    return sorted[(count * 99 + 99) / 100 - 1];
}

void pd_refill_came(struct pd_refill *refill, struct pd_time now)
{
    int64_t took_ms;

    if (refill->n_gaps == 0)
        return;
    took_ms = pd_time_ms_between(refill->gaps[0], now);
    refill->n_gaps--;
    memmove(&refill->gaps[0], &refill->gaps[1], refill->n_gaps * sizeof refill->gaps[0]);
    refill->samples_ms[refill->n_samples++ % PD_REFILL_SAMPLES_MAX] =
        took_ms < UINT32_MAX ? (uint32_t)took_ms : UINT32_MAX;
    refill->p99_ms = p99(refill);
}

int64_t pd_refill_p99_ms(const struct pd_refill *refill)
{
    return refill->n_samples > 0 ? refill->p99_ms : -1;
}
