#include "common/time.h"

#include <stdio.h>
#include <time.h>

struct pd_time pd_time_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (struct pd_time){(int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec};
}

int64_t pd_wall_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

const char *pd_wall_format(int64_t wall_ms, char out[static PD_RFC3339_BYTES])
{
    int64_t ms = (wall_ms % 1000 + 1000) % 1000; /* before 1970 too */
    time_t seconds = (time_t)((wall_ms - ms) / 1000);
    struct tm tm;
    size_t used;

    gmtime_r(&seconds, &tm);
    used = strftime(out, PD_RFC3339_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + used, PD_RFC3339_BYTES - used, ".%03dZ", (int)ms);
    return out;
}
