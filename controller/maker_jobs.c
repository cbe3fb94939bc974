/* Wishes become jobs, and jobs sandboxes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/maker_state.h"

#define HELD_MS 5000   /* a wish that there is no room for */
#define BEHIND_MS 2000 /* a wish for a pool as the one that leads does not know it (yet) */

/* KEYS lease, sandboxes, totals, wishes, seen; ARGV lease, id, replica, pool, maxSize,
 * ms. 0: full; -1: nobody wishes for it any more. */
const char pd_maker_reserve_script[] = PD_MAKER_FENCE
    "if redis.call('HEXISTS', KEYS[4], ARGV[2]) == 0 then return -1 end\n"
    "local time = redis.call('TIME')\n"
    "local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)\n"
    "local seen = tonumber(redis.call('ZSCORE', KEYS[5], ARGV[3]) or '0')\n"
    "if ms - seen >= tonumber(ARGV[6]) then return -1 end\n"
    "if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return 1 end\n"
    "local total = 0\n"
    "local all = redis.call('HGETALL', KEYS[3])\n"
    "for i = 1, #all, 2 do\n"
    "  if string.match(all[i], '^(%S+) ') == ARGV[4] then\n"
    "    total = total + tonumber(all[i + 1])\n"
    "  end\n"
    "end\n"
    "if total >= tonumber(ARGV[5]) then return 0 end\n"
    "redis.call('HSET', KEYS[2], ARGV[2],\n"
    "  string.format('%s %s %.0f', ARGV[3], ARGV[4], ms))\n"
    "redis.call('HINCRBY', KEYS[3], ARGV[4] .. ' ' .. ARGV[3], 1)\n"
    "return 1\n";

/* KEYS lease, sandboxes, totals, wishes; ARGV lease, id, channel, message, keep,
 * the kind of an error.
 * The wish is over; one that failed gives its place back. 0: what was made for it has no
 * record any more, nobody wants it. */
const char pd_maker_settle_script[] = PD_MAKER_FENCE
    "redis.call('HDEL', KEYS[4], ARGV[2])\n"
    "local record = redis.call('HGET', KEYS[2], ARGV[2])\n"
    "if ARGV[5] == '0' and record then\n"
    "  local replica, pool = string.match(record, '^(%S+) (%S+)')\n"
    "  local field = pool .. ' ' .. replica\n"
    "  redis.call('HDEL', KEYS[2], ARGV[2])\n"
    "  if redis.call('HINCRBY', KEYS[3], field, -1) <= 0 then\n"
    "    redis.call('HDEL', KEYS[3], field)\n"
    "  end\n"
    "end\n"
    "if ARGV[5] == '1' and not record then\n"
    "  redis.call('PUBLISH', ARGV[3], ARGV[2] .. ' ' .. ARGV[6] .. ' it was given up')\n"
    "  return 0\n"
    "end\n"
    "redis.call('PUBLISH', ARGV[3], ARGV[4])\n"
    "return 1\n";

static void job_free(struct job *job)
{
    struct pd_maker *maker = job->maker;

    LIST_REMOVE(job, next);
    pd_strmap_remove(&maker->by_id, job->id);
    maker->n_jobs--;
    pd_pool_spec_unref(job->spec);
    free(job);
    pd_maker_gone(maker);
}

struct settling {
    struct pd_maker *maker;
    char replica[PD_REPLICA_ID_MAX];
    char provider_id[PD_PROVIDER_ID_MAX]; /* "" for what came to nothing */
    bool creating;                        /* counted as such by the maker */
};

/* The wisher knows, and what was not wanted is gone. */
static void settled(struct settling *settling)
{
    struct pd_maker *maker = settling->maker;

    if (settling->creating)
        pd_maker_made(maker);
    free(settling);
    maker->pending--;
    pd_maker_gone(maker);
}

static void on_unwanted_gone(void *arg, const struct pd_err *err)
{
    struct settling *settling = arg;

    if (err && err->kind != PD_CANCELED)
        pd_log(PD_LOG_WARN, "maker", "a sandbox that was given up is not destroyed", "err",
               err->msg, NULL);
    settled(settling);
}

/* Nobody knows of it any more: its wisher gave it up while Redis was away, or Redis has
 * lost it. */
static void destroy_unwanted(struct settling *settling)
{
    struct pd_provider *provider = pd_maker_provider_of(settling->maker, settling->replica);
    struct pd_err err;

    pd_log(PD_LOG_INFO, "maker", "a sandbox that was given up meanwhile is destroyed", "replica",
           settling->replica, "provider_id", settling->provider_id, NULL);
    if (!provider)
        settled(settling);
    else if (provider->ops->destroy(provider, settling->provider_id, on_unwanted_gone, settling,
                                    &err) < 0)
        on_unwanted_gone(settling, &err);
}

static void on_settled(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct settling *settling = arg;

    if (err)
        pd_log(PD_LOG_DEBUG, "maker", "wish not settled", "err", err->msg, NULL);
    if (!err && reply->integer == 0 && settling->provider_id[0])
        destroy_unwanted(settling);
    else
        settled(settling);
}

/* err: what it came to nothing for; NULL: it is there. */
static void settle(struct job *job, const struct pd_err *err, const char *provider_id)
{
    struct pd_maker *maker = job->maker;
    pd_autofree char *channel = pd_asprintf("%s%s", maker->made_prefix, job->replica);
    pd_autofree char *message = err ? pd_asprintf("%s %d %.300s", job->id, -err->kind, err->msg)
                                    : pd_asprintf("%s ok %s", job->id, provider_id);
    pd_autofree char *gone = pd_asprintf("%d", -PD_CANCELED);
    const char *lease = pd_lease_value(maker->config.lease);
    const struct pd_redis_arg args[] = {
        PD_REDIS_TEXT(maker->lease_key),
        PD_REDIS_TEXT(maker->sandboxes_key),
        PD_REDIS_TEXT(maker->totals_key),
        PD_REDIS_TEXT(maker->wishes_key),
        PD_REDIS_TEXT(lease),
        PD_REDIS_TEXT(job->id),
        PD_REDIS_TEXT(channel),
        PD_REDIS_TEXT(message),
        PD_REDIS_TEXT(err ? "0" : "1"),
        PD_REDIS_TEXT(gone),
    };
    struct settling *settling = PD_NEW(struct settling);
    struct pd_err ignored;

    settling->maker = maker;
    pd_strcpy(settling->replica, sizeof settling->replica, job->replica);
    pd_strcpy(settling->provider_id, sizeof settling->provider_id, err ? "" : provider_id);

    settling->creating = job->creating;
    maker->pending++;
    if (pd_redis_eval(maker->config.redis, &maker->settle, 4, args, PD_COUNT(args), on_settled,
                      settling, &ignored) < 0)
        settled(settling);
    job_free(job);
}

static void on_created(void *arg, const struct pd_err *err, const char *provider_id)
{
    struct job *job = arg;
    struct pd_maker *maker = job->maker;

    if (!err || err->kind != PD_CANCELED) {
        settle(job, err, provider_id);
        return;
    }
    job->maker->pending++; /* we are closing; the wish stays */
    job_free(job);
    pd_maker_made(maker);
    maker->pending--;
    pd_maker_gone(maker);
}

static void on_ready(void *arg, const struct pd_err *err)
{
    struct job *job = arg;
    struct pd_provider *provider;
    struct pd_err why;

    if (!pd_maker_may_act(job->maker)) {
        job_free(job);
        return;
    }
    provider = err ? NULL : pd_maker_provider_of(job->maker, job->replica);
    if (err)
        settle(job, err, NULL);
    else if (!provider)
        job_free(job);
    else if (provider->ops->create(provider, job->spec, job->id, on_created, job, &why) < 0)
        settle(job, &why, NULL);
    else
        job->maker->creating += job->creating = true;
}

/* Another replica may be about to give its place up. */
static void hold(struct job *job)
{
    struct pd_time now = pd_time_now();
    struct pd_err err;

    if (!pd_time_is_set(job->held_since))
        job->held_since = now;
    job->held = pd_time_ms_between(job->held_since, now) < HELD_MS;
    if (job->held)
        return;
    pd_err_set(&err, PD_LIMIT, "all replicas together have maxSize sandboxes of the pool");
    settle(job, &err, NULL);
}

static void on_reserved(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct job *job = arg;
    struct pd_provider *provider = job->maker->config.own;
    struct pd_err why;

    job->maker->pending--;
    if (err || reply->integer < 0 || !pd_maker_may_act(job->maker)) {
        job_free(job);
    } else if (reply->integer == 0) {
        hold(job);
    } else if (provider->ops->ensure_ready(provider, job->spec, on_ready, job, &why) < 0) {
        settle(job, &why, NULL);
    }
}

static void reserve(struct job *job)
{
    struct pd_maker *maker = job->maker;
    char max[16], ms[16];
    const struct pd_redis_arg args[] = {
        PD_REDIS_TEXT(maker->lease_key),
        PD_REDIS_TEXT(maker->sandboxes_key),
        PD_REDIS_TEXT(maker->totals_key),
        PD_REDIS_TEXT(maker->wishes_key),
        PD_REDIS_TEXT(maker->seen_key),
        PD_REDIS_TEXT(pd_lease_value(maker->config.lease)),
        PD_REDIS_TEXT(job->id),
        PD_REDIS_TEXT(job->replica),
        PD_REDIS_TEXT(job->pool),
        {max, (size_t)snprintf(max, sizeof max, "%d", job->spec->max_size)},
        {ms, (size_t)snprintf(ms, sizeof ms, "%d", PD_REPLICA_DEAD_MS)},
    };
    struct pd_err err;

    job->held = false;
    if (pd_redis_eval(maker->config.redis, &maker->reserve, 5, args, PD_COUNT(args), on_reserved,
                      job, &err) < 0)
        job_free(job);
    else
        maker->pending++;
}

/* The wisher may have heard of the pool, or of its change, before the one that leads;
 * then a moment is waited. */
static void look_for_spec(struct job *job)
{
    const struct pd_pool *pool = pd_store_pool(job->maker->config.store, job->pool);
    bool is_there = pool && !pool->deleting;
    struct pd_time now = pd_time_now();
    struct pd_err err;

    job->behind = false;
    if (is_there && strcmp(pool->spec->template_hash, job->hash) == 0) {
        job->spec = pd_pool_spec_ref(pool->spec);
        job->held_since = (struct pd_time){0};
        reserve(job);
        return;
    }
    if (!pd_time_is_set(job->held_since))
        job->held_since = now;
    job->behind = !(pool && pool->deleting) && pd_time_ms_between(job->held_since, now) < BEHIND_MS;
    if (job->behind)
        return;
    pd_err_set(&err, PD_UNAVAILABLE, "the replica that leads has %s",
               is_there ? "another spec of the pool" : "no such pool");
    settle(job, &err, NULL);
}

static void begin(struct pd_maker *maker, const char *id, const char *replica,
                  const char *pool_name, const char *hash)
{
    struct job *job;

    if (maker->n_jobs >= PD_MAKER_JOBS_MAX || pd_strmap_get(&maker->by_id, id))
        return;
    job = PD_NEW(struct job);
    job->maker = maker;
    pd_strcpy(job->id, sizeof job->id, id);
    pd_strcpy(job->replica, sizeof job->replica, replica);
    pd_strcpy(job->pool, sizeof job->pool, pool_name);
    LIST_INSERT_HEAD(&maker->jobs, job, next);
    pd_strmap_add(&maker->by_id, job->id, job);
    maker->n_jobs++;
    pd_strcpy(job->hash, sizeof job->hash, hash);
    look_for_spec(job);
}

/* "REPLICA POOL HASH" */
static void take_wish(struct pd_maker *maker, const struct pd_redis_reply *id,
                      const struct pd_redis_reply *wish)
{
    char replica[PD_REPLICA_ID_MAX], pool[PD_POOL_NAME_MAX], hash[PD_TEMPLATE_HASH_BYTES];

    if (id && wish && id->len < PD_SANDBOX_ID_MAX &&
        sscanf(wish->text, "%63s %63s %16s", replica, pool, hash) == 3)
        begin(maker, id->text, replica, pool, hash);
}

static void on_wishes(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_maker *maker = arg;

    maker->looking = false;
    for (size_t i = 0; !err && pd_maker_may_act(maker) && i + 1 < reply->count; i += 2)
        take_wish(maker, pd_redis_reply_string(reply, i), pd_redis_reply_string(reply, i + 1));
    maker->pending--;
    if (maker->again)
        pd_maker_look(maker);
    pd_maker_gone(maker);
}

void pd_maker_look(struct pd_maker *maker)
{
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT("HGETALL"), PD_REDIS_TEXT(maker->wishes_key)};
    struct pd_err err;

    maker->again = maker->looking;
    if (maker->looking || !pd_maker_may_act(maker))
        return;
    maker->looking = pd_redis_command(maker->config.redis, args, 2, on_wishes, maker, &err) == 0;
    maker->pending += maker->looking;
}

/* ---- those that there was no room for ---- */

void pd_maker_look_at_held(struct pd_maker *maker)
{
    struct job *job = LIST_FIRST(&maker->jobs), *next;

    for (; job; job = next) {
        next = LIST_NEXT(job, next);
        if (!job->held && !job->behind)
            continue;
        if (!pd_maker_may_act(maker))
            job_free(job);
        else if (job->held)
            reserve(job);
        else
            look_for_spec(job);
    }
}

void pd_maker_on_pool(void *arg, const char *name)
{
    struct pd_maker *maker = arg;
    struct job *job = LIST_FIRST(&maker->jobs), *next;

    for (; job; job = next) {
        next = LIST_NEXT(job, next);
        if (job->behind && strcmp(job->pool, name) == 0 && pd_maker_may_act(maker))
            look_for_spec(job);
    }
}
