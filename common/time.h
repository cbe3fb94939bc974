/* Time. Monotonic time is a struct, so that seconds cannot be added to it by
 * mistake; wall-clock time is only for people and for records. */
#ifndef PD_COMMON_TIME_H
#define PD_COMMON_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CLOCK_MONOTONIC in nanoseconds; {0} means never. */
struct pd_time {
    int64_t ns;
};

#define PD_NS_PER_MS INT64_C(1000000)

struct pd_time pd_time_now(void);

static inline bool pd_time_is_set(struct pd_time t)
{
    return t.ns != 0;
}
static inline struct pd_time pd_time_add_ms(struct pd_time t, int64_t ms)
{
    return (struct pd_time){t.ns + ms * PD_NS_PER_MS};
}
/* b - a in milliseconds, towards zero. */
static inline int64_t pd_time_ms_between(struct pd_time a, struct pd_time b)
{
    return (b.ns - a.ns) / PD_NS_PER_MS;
}
static inline bool pd_time_before(struct pd_time a, struct pd_time b)
{
    return a.ns < b.ns;
}

/* CLOCK_REALTIME in milliseconds since 1970-01-01. */
int64_t pd_wall_ms(void);

#define PD_RFC3339_BYTES 32
/* "2026-01-31T12:00:00.123Z" (RFC 3339, UTC). Returns `out`. */
const char *pd_wall_format(int64_t wall_ms, char out[static PD_RFC3339_BYTES]);

#endif
