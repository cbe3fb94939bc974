/* The highest level over a sliding window of time, in constant space: what has
 * been needed lately, so that a pool does not shrink between two waves. A level
 * holds from when it is noted until the next is. The window is cut into slots;
 * a level counts for at least the window and at most a slot longer. */
#ifndef PD_CONTROLLER_PEAK_H
#define PD_CONTROLLER_PEAK_H

#include <stdint.h>

#include "common/time.h"

#define PD_PEAK_SLOTS 16

struct pd_peak {
    int64_t slot_ns;            /* width; 0: no window */
    int64_t slot;               /* number of the newest slot: its time divided by the width */
    int max[PD_PEAK_SLOTS + 1]; /* by slot number, modulo */
    int level;                  /* the present one */
};

/* How long a level is remembered; a changed window starts afresh from the old
 * peak. Cheap when it has not changed. */
void pd_peak_set_window(struct pd_peak *peak, int64_t window_ms, struct pd_time now);
/* Now the level is this. */
void pd_peak_note(struct pd_peak *peak, struct pd_time now, int level);

/* The highest level of the window that ends now; without a window nothing is
 * remembered, and it is 0. */
int pd_peak_value(const struct pd_peak *peak, struct pd_time now);

/* When the value next becomes smaller if nothing is noted; unset: never. */
struct pd_time pd_peak_next_drop(const struct pd_peak *peak, struct pd_time now);

#endif
