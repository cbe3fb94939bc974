#include "api/deadline.h"

#include <assert.h>
#include <stddef.h>

#include "common/mem.h"

#define TICK_MAX_MS 250

struct pd_deadline *pd_deadline_first(struct pd_deadlines *set, unsigned kind)
{
    struct pd_ring *queue = &set->queues[kind];

    return pd_ring_is_empty(queue) ? NULL
                                   : PD_CONTAINER_OF(queue->next, struct pd_deadline, in_queue);
}

static bool is_empty(const struct pd_deadlines *set)
{
    for (unsigned i = 0; i < set->kinds; i++) {
        if (!pd_ring_is_empty(&set->queues[i]))
            return false;
    }
    return true;
}

static void on_tick(uv_timer_t *timer)
{
    struct pd_deadlines *set = timer->data;
    uint64_t now = uv_now(timer->loop);
    struct pd_deadline *due;

    for (unsigned i = 0; i < set->kinds; i++) {
        while ((due = pd_deadline_first(set, i)) && due->due_ms <= now) {
            pd_deadline_clear(due);
            set->expired(set->arg, due);
        }
    }
    if (is_empty(set))
        uv_timer_stop(timer);
}

void pd_deadlines_init(struct pd_deadlines *set, uv_loop_t *loop, const int64_t *duration_ms,
                       unsigned kinds, void (*expired)(void *arg, struct pd_deadline *deadline),
                       void *arg)
{
    assert(kinds <= PD_DEADLINE_KINDS_MAX);
    *set = (struct pd_deadlines){.kinds = kinds, .expired = expired, .arg = arg};
    set->tick_ms = TICK_MAX_MS;
    for (unsigned i = 0; i < kinds; i++) {
        pd_ring_init(&set->queues[i]);
        set->duration_ms[i] = duration_ms[i];
        if ((uint64_t)duration_ms[i] / 4 < set->tick_ms)
            set->tick_ms = (uint64_t)duration_ms[i] / 4 + 1;
    }
    uv_timer_init(loop, &set->timer);
    set->timer.data = set;
}

void pd_deadlines_close(struct pd_deadlines *set, uv_close_cb closed)
{
    assert(is_empty(set));
    uv_close((uv_handle_t *)&set->timer, closed);
}

void pd_deadline_set(struct pd_deadlines *set, struct pd_deadline *deadline, unsigned kind)
{
    assert(kind < set->kinds);
    pd_deadline_clear(deadline);
    deadline->kind = kind;
    deadline->due_ms = uv_now(set->timer.loop) + (uint64_t)set->duration_ms[kind];
    pd_ring_append(&set->queues[kind], &deadline->in_queue);
    if (!uv_is_active((uv_handle_t *)&set->timer))
        uv_timer_start(&set->timer, on_tick, set->tick_ms, set->tick_ms);
}

void pd_deadline_clear(struct pd_deadline *deadline)
{
    if (pd_deadline_is_set(deadline))
        pd_ring_remove(&deadline->in_queue);
}

bool pd_deadline_is_set(const struct pd_deadline *deadline)
{
    return deadline->in_queue.next != NULL;
}
