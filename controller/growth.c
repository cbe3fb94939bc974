#include "controller/growth.h"

#include <string.h>

#include "common/err.h"
#include "common/mem.h"

void pd_growth_begin(struct pd_growth *growth, const char *template_hash)
{
    if (strcmp(growth->template_hash, template_hash) == 0)
        return;
    *growth = (struct pd_growth){.window = 1};
    pd_strcpy(growth->template_hash, sizeof growth->template_hash, template_hash);
}

void pd_growth_created(struct pd_growth *growth)
{
    int window = growth->window > 0 ? growth->window : 1;

    growth->held = false;
    if (growth->failures == 0)
        growth->window = window < PD_GROWTH_WINDOW_MAX ? window + 1 : window;
}

void pd_growth_ready(struct pd_growth *growth)
{
    growth->failures = 0;
    growth->held = false;
    growth->retry_at = (struct pd_time){0};
    growth->message[0] = '\0';
}

/* splitmix64: well-mixed bits from any seed. */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Between three quarters and all of min * 2^(failures - 1), at most max. */
static int64_t pause_ms(const struct pd_growth *growth, uint64_t seed)
{
    int64_t max = growth->held ? PD_GROWTH_HELD_MAX_MS : PD_GROWTH_PAUSE_MAX_MS;
    int64_t pause = growth->held ? PD_GROWTH_HELD_MIN_MS : PD_GROWTH_PAUSE_MIN_MS;

    for (int i = 1; i < growth->failures && pause < max; i++)
        pause *= 2;
    if (pause > max)
        pause = max;
    return pause - (int64_t)(mix(seed + (uint64_t)growth->failures) % (uint64_t)(pause / 4));
}

void pd_growth_failed(struct pd_growth *growth, int kind, const char *message, struct pd_time now,
                      uint64_t seed)
{
    /* A batch that fails together is one failure. */
    if (growth->failures == 0 || !pd_time_before(now, growth->retry_at))
        growth->failures++;
    growth->held = kind == PD_LIMIT;
    growth->window = 1;
    growth->retry_at = pd_time_add_ms(now, pause_ms(growth, seed));
    pd_strcpy(growth->message, sizeof growth->message, message);
}

int pd_growth_allowance(const struct pd_growth *growth, struct pd_time now, int creating,
                        int starting)
{
    int window = growth->window > 0 ? growth->window : 1;
    int under_way = growth->failures > 0 ? creating + starting : creating;

    if (growth->failures > 0 && pd_time_before(now, growth->retry_at))
        return 0;
    return under_way < window ? window - under_way : 0;
}
