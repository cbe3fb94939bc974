/* Deadlines of connections.
 *
 * Thousands of connections each wait for something, nearly always in vain: so
 * setting and clearing a deadline is a few pointer writes, and one timer looks
 * at the heads of the queues a few times a second. That works because all
 * deadlines of one kind take equally long: each queue is in order by itself. */
#ifndef PD_API_DEADLINE_H
#define PD_API_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "api/ring.h"

#define PD_DEADLINE_KINDS_MAX 8

/* A zeroed one is not set. */
struct pd_deadline {
    struct pd_ring in_queue;
    uint64_t due_ms; /* on the loop's clock */
    unsigned kind;
};

struct pd_deadlines {
    uv_timer_t timer;
    struct pd_ring queues[PD_DEADLINE_KINDS_MAX];
    int64_t duration_ms[PD_DEADLINE_KINDS_MAX];
    unsigned kinds;
    uint64_t tick_ms;
    void (*expired)(void *arg, struct pd_deadline *deadline);
    void *arg;
};

/* duration_ms[0..kinds): how long each kind takes. `expired` fires from the
 * loop, late by less than a quarter of the shortest; the deadline is cleared
 * then. */
void pd_deadlines_init(struct pd_deadlines *set, uv_loop_t *loop, const int64_t *duration_ms,
                       unsigned kinds, void (*expired)(void *arg, struct pd_deadline *deadline),
                       void *arg);
/* Every deadline must have been cleared. */
void pd_deadlines_close(struct pd_deadlines *set, uv_close_cb closed);

/* From now on; takes the place of what was set. */
void pd_deadline_set(struct pd_deadlines *set, struct pd_deadline *deadline, unsigned kind);
void pd_deadline_clear(struct pd_deadline *deadline); /* fine when not set */
bool pd_deadline_is_set(const struct pd_deadline *deadline);
/* The one of a kind that is due first, NULL when none is set. */
struct pd_deadline *pd_deadline_first(struct pd_deadlines *set, unsigned kind);

#endif
