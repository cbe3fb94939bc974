#include "controller/peak.h"

#include <string.h>

#include "common/mem.h"

#define SLOTS (PD_PEAK_SLOTS + 1)

static int *slot_max(struct pd_peak *peak, int64_t slot)
{
    return &peak->max[slot % SLOTS];
}

/* Let time pass: the present level fills every slot up to this one. */
static void advance(struct pd_peak *peak, struct pd_time now)
{
    int64_t slot = now.ns / peak->slot_ns;

    if (slot - peak->slot > SLOTS)
        peak->slot = slot - SLOTS;
    while (peak->slot < slot)
        *slot_max(peak, ++peak->slot) = peak->level;
}

void pd_peak_set_window(struct pd_peak *peak, int64_t window_ms, struct pd_time now)
{
    int64_t slot_ns = window_ms * PD_NS_PER_MS / PD_PEAK_SLOTS;
    int level = peak->level;
    int value;

    if (slot_ns == peak->slot_ns)
        return;
    value = pd_peak_value(peak, now);
    *peak = (struct pd_peak){.slot_ns = slot_ns, .level = level};
    if (slot_ns == 0)
        return;
    peak->slot = now.ns / slot_ns;
    *slot_max(peak, peak->slot) = value > level ? value : level;
}

void pd_peak_note(struct pd_peak *peak, struct pd_time now, int level)
{
    if (peak->slot_ns > 0) {
        advance(peak, now);
        if (level > *slot_max(peak, peak->slot))
            *slot_max(peak, peak->slot) = level;
    }
    peak->level = level;
}

int pd_peak_value(const struct pd_peak *peak, struct pd_time now)
{
    struct pd_peak then = *peak;
    int value = peak->level;

    if (peak->slot_ns == 0)
        return 0;
    advance(&then, now);
    for (int i = 0; i < SLOTS; i++) {
        if (then.max[i] > value)
            value = then.max[i];
    }
    return value;
}

struct pd_time pd_peak_next_drop(const struct pd_peak *peak, struct pd_time now)
{
    struct pd_peak then = *peak;
    int value = pd_peak_value(peak, now);
    int64_t last = 0;

    if (peak->slot_ns == 0 || value == peak->level)
        return (struct pd_time){0};
    advance(&then, now);
    for (int64_t slot = then.slot - PD_PEAK_SLOTS; slot <= then.slot; slot++) {
        if (slot >= 0 && *slot_max(&then, slot) == value)
            last = slot;
    }
    return (struct pd_time){(last + SLOTS) * peak->slot_ns};
}
