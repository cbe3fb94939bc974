/* What dead replicas left. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/maker_state.h"

/* KEYS lease, sandboxes, totals, wishes, seen, reports; ARGV lease, replica, ms. Unless it was
 * heard of meanwhile. */
const char pd_maker_forget_script[] = PD_MAKER_FENCE
    "local time = redis.call('TIME')\n"
    "local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)\n"
    "local seen = tonumber(redis.call('ZSCORE', KEYS[5], ARGV[2]) or '0')\n"
    "if ms - seen < tonumber(ARGV[3]) then return 0 end\n"
    "redis.call('HDEL', KEYS[6], ARGV[2])\n"
    "for _, key in ipairs({KEYS[2], KEYS[4]}) do\n"
    "  local all = redis.call('HGETALL', key)\n"
    "  for i = 1, #all, 2 do\n"
    "    if string.match(all[i + 1], '^(%S+) ') == ARGV[2] then\n"
    "      redis.call('HDEL', key, all[i])\n"
    "    end\n"
    "  end\n"
    "end\n"
    "for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do\n"
    "  if string.match(field, ' (%S+)$') == ARGV[2] then\n"
    "    redis.call('HDEL', KEYS[3], field)\n"
    "  end\n"
    "end\n"
    "return redis.call('ZREM', KEYS[5], ARGV[2])\n";

struct forgetting {
    struct pd_maker *maker;
    char id[PD_REPLICA_ID_MAX];
};

static void on_forgotten(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct forgetting *forgetting = arg;
    struct pd_maker *maker = forgetting->maker;
    struct guest *guest = pd_maker_find_guest(maker, forgetting->id);

    if (!err && reply->integer > 0)
        pd_log(PD_LOG_INFO, "maker", "nothing is left of a dead replica", "replica", forgetting->id,
               NULL);
    if (guest && err)
        guest->collecting = false;
    else if (guest)
        pd_maker_guest_close(guest);
    free(forgetting);
    maker->pending--;
    pd_maker_gone(maker);
}

static void forget(struct guest *guest)
{
    struct pd_maker *maker = guest->maker;
    char ms[16];
    const struct pd_redis_arg args[] = {
        PD_REDIS_TEXT(maker->lease_key),
        PD_REDIS_TEXT(maker->sandboxes_key),
        PD_REDIS_TEXT(maker->totals_key),
        PD_REDIS_TEXT(maker->wishes_key),
        PD_REDIS_TEXT(maker->seen_key),
        PD_REDIS_TEXT(maker->reports_key),
        PD_REDIS_TEXT(pd_lease_value(maker->config.lease)),
        PD_REDIS_TEXT(guest->id),
        {ms, (size_t)snprintf(ms, sizeof ms, "%d", PD_REPLICA_DEAD_MS)},
    };
    struct forgetting *forgetting = PD_NEW(struct forgetting);
    struct pd_err err;

    forgetting->maker = maker;
    pd_strcpy(forgetting->id, sizeof forgetting->id, guest->id);
    guest->collecting = pd_redis_eval(maker->config.redis, &maker->forget, 6, args, PD_COUNT(args),
                                      on_forgotten, forgetting, &err) == 0;
    maker->pending += guest->collecting;
    if (!guest->collecting)
        free(forgetting);
}

static void on_destroyed(void *arg, const struct pd_err *err)
{
    struct guest *guest = arg;

    if (err && err->kind != PD_CANCELED)
        pd_log(PD_LOG_WARN, "maker", "a dead replica's sandbox not destroyed, will try again",
               "replica", guest->id, "err", err->msg, NULL);
    if (--guest->busy == 0)
        guest->collecting = false; /* the next look sees what is left */
}

static void on_listed(void *arg, const struct pd_err *err, const struct pd_instance *instances,
                      size_t count)
{
    struct guest *guest = arg;
    struct pd_err why;

    if (err || !pd_maker_may_act(guest->maker)) {
        guest->collecting = false;
        return;
    }
    if (count == 0) {
        forget(guest);
        return;
    }
    pd_log(PD_LOG_INFO, "maker", "destroying what a dead replica left", "replica", guest->id,
           "sandboxes", PD_NUM(count), NULL);
    guest->busy++; /* so that the end is not met before all are asked for */
    for (size_t i = 0; i < count && pd_maker_may_act(guest->maker); i++)
        guest->busy += guest->provider->ops->destroy(guest->provider, instances[i].provider_id,
                                                     on_destroyed, guest, &why) == 0;
    if (--guest->busy == 0)
        guest->collecting = false;
}

static void collect(struct pd_maker *maker, const char *replica)
{
    struct guest *guest = pd_maker_guest_of(maker, replica);
    struct pd_err err;

    if (!guest || guest->collecting)
        return;
    guest->collecting = true;
    if (guest->provider->ops->list(guest->provider, on_listed, guest, &err) < 0)
        guest->collecting = false;
}

/* A leader that is new, or was out of touch, first lets everyone be heard. */
void pd_maker_collect(struct pd_maker *maker)
{
    struct pd_time since = pd_lease_since(maker->config.lease);
    const char *dead;

    pd_maker_look_at_held(maker);
    if (!pd_maker_may_act(maker) || pd_time_ms_between(since, pd_time_now()) < PD_REPLICA_DEAD_MS)
        return;
    for (size_t i = 0; (dead = pd_replica_dead_at(maker->config.replica, i)); i++)
        if (strcmp(dead, maker->config.own->instance) != 0)
            collect(maker, dead);
}
