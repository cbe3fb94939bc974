#include "controller/reserve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOOKED_LEAST_MS 10000.0 /* a burst right at the start is no rate yet */
#define NOTHING 0.05            /* of a sandbox */
#define CLEARLY 0.2             /* below a whole number, before it is left */

void pd_reserve_init(struct pd_reserve *reserve)
{
    *reserve = (struct pd_reserve){.told = -1};
}

static int by_size(const void *a, const void *b)
{
    uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;

    return (first > second) - (first < second);
}

void pd_reserve_started(struct pd_reserve *reserve, int64_t took_ms)
{
    uint32_t sorted[PD_RESERVE_SAMPLES_MAX];
    size_t count;

    reserve->starts_ms[reserve->n_starts++ % PD_RESERVE_SAMPLES_MAX] =
        took_ms < 0 ? 0 : took_ms < UINT32_MAX ? (uint32_t)took_ms : UINT32_MAX;
    count = reserve->n_starts < PD_RESERVE_SAMPLES_MAX ? reserve->n_starts : PD_RESERVE_SAMPLES_MAX;
    memcpy(sorted, reserve->starts_ms, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_size);
    reserve->start_p90_ms = sorted[(count * 9 + 9) / 10 - 1];
}

/* Each run adds 1/window to the rate, which decays: at a steady pace that is the pace. */
void pd_reserve_look(struct pd_reserve *reserve, uint64_t arrived, int busy, struct pd_time now)
{
    double kept, came;

    if (!pd_time_is_set(reserve->begun)) {
        reserve->begun = reserve->looked = now;
        reserve->arrived = 0;
    }
    kept = exp(-(double)pd_time_ms_between(reserve->looked, now) / PD_RESERVE_WINDOW_MS);
    came = arrived > reserve->arrived ? (double)(arrived - reserve->arrived) : 0;
    reserve->rate = reserve->rate * kept + came / PD_RESERVE_WINDOW_MS;
    reserve->in_use = reserve->in_use * kept + reserve->busy * (1 - kept);
    reserve->arrived = arrived > reserve->arrived ? arrived : reserve->arrived;
    reserve->busy = busy;
    reserve->looked = now;
}

int64_t pd_reserve_start_p90_ms(const struct pd_reserve *reserve)
{
    return reserve->n_starts > 0 ? reserve->start_p90_ms : -1;
}

/* What a moving average has seen of its window so far. */
static double seen(const struct pd_reserve *reserve)
{
    double ms = (double)pd_time_ms_between(reserve->begun, reserve->looked);

    return 1 - exp(-(ms > LOOKED_LEAST_MS ? ms : LOOKED_LEAST_MS) / PD_RESERVE_WINDOW_MS);
}

int pd_reserve_recommended(struct pd_reserve *reserve, int runs_each)
{
    double wanted;
    int whole;

    if (reserve->n_starts == 0 || reserve->arrived == 0)
        return -1;
    wanted = reserve->in_use;
    if (runs_each > 0)
        wanted += reserve->rate / runs_each * (double)reserve->start_p90_ms;
    wanted /= seen(reserve);
    whole = wanted < NOTHING ? 0 : wanted < 1e6 ? (int)ceil(wanted - NOTHING) : 1000000;
    if (whole != reserve->told - 1 || wanted < NOTHING || wanted < whole + NOTHING - CLEARLY)
        reserve->told = whole;
    return reserve->told;
}
