#include "controller/share.h"

static int part(int whole, struct pd_place place)
{
    return whole / place.count + (place.index < whole % place.count ? 1 : 0);
}

static int at_most(int value, int limit)
{
    return value < limit ? value : limit;
}

static int at_least(int value, int limit)
{
    return value > limit ? value : limit;
}

int pd_share_floor(const struct pd_share *pool, struct pd_place place)
{
    int wanted = at_least(part(pool->min_size, place), pool->target_idle > 0 ? 1 : 0);

    return at_most(wanted, part(pool->max_size, place));
}

struct pd_share pd_share_of(const struct pd_share *pool, struct pd_place place, int own, int others)
{
    struct pd_share share = {
        .min_size = at_most(part(pool->min_size, place), part(pool->max_size, place)),
        .max_size = at_least(pool->max_size - others, pd_share_floor(pool, place)),
        .target_idle = part(pool->target_idle, place),
    };

    if (own + others > pool->max_size)
        share.max_size = part(pool->max_size, place);
    if (share.target_idle == 0 && pool->target_idle > 0 && share.max_size > 0)
        share.target_idle = 1;
    return share;
}
