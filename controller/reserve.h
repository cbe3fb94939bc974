/* How many sandboxes should be kept so that nobody waits for one to start: Little's law.
 * A sandbox is bound from its being asked for until it has served: so many as are used
 * up a second, times what one takes to start, are always on their way; beside those that
 * a run is in.
 *
 *   (runs a second / runs that each serves) * start time + sandboxes in use
 *
 * Runs a second and sandboxes in use are moving averages over PD_RESERVE_WINDOW_MS; the
 * start time is the 90th percentile of the latest starts. */
#ifndef PD_CONTROLLER_RESERVE_H
#define PD_CONTROLLER_RESERVE_H

#include <stddef.h>
#include <stdint.h>

#include "common/time.h"

#define PD_RESERVE_SAMPLES_MAX 64 /* starts: the latest are kept */
#define PD_RESERVE_WINDOW_MS (5 * 60 * 1000)

struct pd_reserve {
    uint32_t starts_ms[PD_RESERVE_SAMPLES_MAX]; /* a ring */
    size_t n_starts;                            /* ever */
    int64_t start_p90_ms;                       /* of those kept */
    struct pd_time begun, looked;
    uint64_t arrived; /* at the last look */
    int busy;         /* since the last look */
    double rate;      /* runs a ms, not yet corrected for a short time of looking */
    double in_use;    /* likewise */
    int told;         /* what was said last; -1: nothing */
};

void pd_reserve_init(struct pd_reserve *reserve);
/* One was ready, so long after it was asked for. */
void pd_reserve_started(struct pd_reserve *reserve, int64_t took_ms);
/* So many runs have ever come, and so many sandboxes are in use from now on. */
void pd_reserve_look(struct pd_reserve *reserve, uint64_t arrived, int busy, struct pd_time now);

/* -1: not measured yet. */
int64_t pd_reserve_start_p90_ms(const struct pd_reserve *reserve);
/* runs_each: that one sandbox serves; 0: no end. -1: no start or no run was seen yet.
 * It changes only when the figure has clearly moved. */
int pd_reserve_recommended(struct pd_reserve *reserve, int runs_each);

#endif
