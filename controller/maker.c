/* Theory of operation. A wish becomes a job: a place is reserved for it in Redis
 * (fenced), the provider made ready for its template, the sandbox created with
 * the wish's id as its name, the wisher told. Each step can be repeated by this
 * or the next leader without another result. A job whose lease has run out is
 * dropped: the wish is still there.
 *
 * For each other replica there is a guest, its provider. A dead one's is listed
 * and emptied until nothing is left; then Redis forgets the replica. */
#include "controller/maker.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/strmap.h"

#define HELD_MS 5000 /* a wish that there is no room for */

#define FENCE                                                                                      \
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then\n"                                              \
    "  return redis.error_reply('FENCED another replica leads')\n"                                 \
    "end\n"

/* KEYS lease, sandboxes, totals, wishes, seen; ARGV lease, id, replica, pool, maxSize,
 * ms. 0: full; -1: nobody wishes for it any more. */
#define RESERVE_SCRIPT                                                                             \
    FENCE                                                                                          \
    "if redis.call('HEXISTS', KEYS[4], ARGV[2]) == 0 then return -1 end\n"                         \
    "local time = redis.call('TIME')\n"                                                            \
    "local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)\n"                 \
    "local seen = tonumber(redis.call('ZSCORE', KEYS[5], ARGV[3]) or '0')\n"                       \
    "if ms - seen >= tonumber(ARGV[6]) then return -1 end\n"                                       \
    "if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return 1 end\n"                          \
    "local total = 0\n"                                                                            \
    "local all = redis.call('HGETALL', KEYS[3])\n"                                                 \
    "for i = 1, #all, 2 do\n"                                                                      \
    "  if string.match(all[i], '^(%S+) ') == ARGV[4] then\n"                                       \
    "    total = total + tonumber(all[i + 1])\n"                                                   \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "if total >= tonumber(ARGV[5]) then return 0 end\n"                                            \
    "redis.call('HSET', KEYS[2], ARGV[2],\n"                                                       \
    "  string.format('%s %s %.0f', ARGV[3], ARGV[4], ms))\n"                                       \
    "redis.call('HINCRBY', KEYS[3], ARGV[4] .. ' ' .. ARGV[3], 1)\n"                               \
    "return 1\n"

/* KEYS lease, sandboxes, totals, wishes; ARGV lease, id, channel, message, keep.
 * The wish is over; one that failed gives its place back. */
#define SETTLE_SCRIPT                                                                              \
    FENCE                                                                                          \
    "redis.call('HDEL', KEYS[4], ARGV[2])\n"                                                       \
    "local record = redis.call('HGET', KEYS[2], ARGV[2])\n"                                        \
    "if ARGV[5] == '0' and record then\n"                                                          \
    "  local replica, pool = string.match(record, '^(%S+) (%S+)')\n"                               \
    "  local field = pool .. ' ' .. replica\n"                                                     \
    "  redis.call('HDEL', KEYS[2], ARGV[2])\n"                                                     \
    "  if redis.call('HINCRBY', KEYS[3], field, -1) <= 0 then\n"                                   \
    "    redis.call('HDEL', KEYS[3], field)\n"                                                     \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "redis.call('PUBLISH', ARGV[3], ARGV[4])\n"                                                    \
    "return 1\n"

/* KEYS lease, sandboxes, totals, wishes, seen; ARGV lease, replica, ms. Unless it was
 * heard of meanwhile. */
#define FORGET_SCRIPT                                                                              \
    FENCE                                                                                          \
    "local time = redis.call('TIME')\n"                                                            \
    "local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)\n"                 \
    "local seen = tonumber(redis.call('ZSCORE', KEYS[5], ARGV[2]) or '0')\n"                       \
    "if ms - seen < tonumber(ARGV[3]) then return 0 end\n"                                         \
    "for _, key in ipairs({KEYS[2], KEYS[4]}) do\n"                                                \
    "  local all = redis.call('HGETALL', key)\n"                                                   \
    "  for i = 1, #all, 2 do\n"                                                                    \
    "    if string.match(all[i + 1], '^(%S+) ') == ARGV[2] then\n"                                 \
    "      redis.call('HDEL', key, all[i])\n"                                                      \
    "    end\n"                                                                                    \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do\n"                                    \
    "  if string.match(field, ' (%S+)$') == ARGV[2] then\n"                                        \
    "    redis.call('HDEL', KEYS[3], field)\n"                                                     \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "return redis.call('ZREM', KEYS[5], ARGV[2])\n"

struct guest {
    SLIST_ENTRY(guest) next;
    struct pd_maker *maker;
    char id[PD_REPLICA_ID_MAX];
    struct pd_provider *provider;
    int busy;        /* destroys under way */
    bool collecting; /* a list is under way, or what follows it */
};

struct job {
    LIST_ENTRY(job) next;
    struct pd_maker *maker;
    char id[PD_SANDBOX_ID_MAX];
    char replica[PD_REPLICA_ID_MAX];
    char pool[PD_POOL_NAME_MAX];
    char hash[PD_TEMPLATE_HASH_BYTES];
    struct pd_pool_spec *spec;
    bool held; /* there was no room; asked again each second */
    struct pd_time held_since;
};

struct pd_maker {
    struct pd_maker_config config;
    struct pd_redis_script reserve, settle, forget;
    char *lease_key, *sandboxes_key, *totals_key, *wishes_key, *seen_key, *made_prefix;
    LIST_HEAD(, job) jobs;
    size_t n_jobs;
    struct pd_strmap by_id;
    SLIST_HEAD(, guest) guests;
    bool looking, again;
    int pending;    /* answers of Redis's and guests that close */
    uv_timer_t end; /* for `closed`, when nothing is pending */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- life ---- */

static void maker_gone(struct pd_maker *maker)
{
    void (*closed)(void *arg) = maker->closed;
    void *arg = maker->closed_arg;

    if (!maker->closing || maker->pending > 0 || maker->n_jobs > 0)
        return;
    pd_strmap_fini(&maker->by_id);
    free(maker->lease_key);
    free(maker->sandboxes_key);
    free(maker->totals_key);
    free(maker->wishes_key);
    free(maker->seen_key);
    free(maker->made_prefix);
    free(maker);
    closed(arg);
}

static bool may_act(const struct pd_maker *maker)
{
    return !maker->closing && pd_lease_is_held(maker->config.lease);
}

/* ---- guests ---- */

static struct guest *find_guest(struct pd_maker *maker, const char *id)
{
    struct guest *guest;

    SLIST_FOREACH(guest, &maker->guests, next)
    if (strcmp(guest->id, id) == 0)
        return guest;
    return NULL;
}

static struct guest *guest_of(struct pd_maker *maker, const char *id)
{
    struct guest *guest = find_guest(maker, id);
    struct pd_err err;

    if (guest)
        return guest;
    guest = PD_NEW(struct guest);
    guest->maker = maker;
    pd_strcpy(guest->id, sizeof guest->id, id);
    if (maker->config.guest(maker->config.arg, id, &guest->provider, &err) < 0) {
        pd_log(PD_LOG_ERROR, "maker", "no provider for a replica", "replica", id, "err", err.msg,
               NULL);
        free(guest);
        return NULL;
    }
    SLIST_INSERT_HEAD(&maker->guests, guest, next);
    return guest;
}

static void on_guest_closed(void *arg)
{
    struct guest *guest = arg;
    struct pd_maker *maker = guest->maker;

    free(guest);
    maker->pending--;
    maker_gone(maker);
}

static void guest_close(struct guest *guest)
{
    struct pd_maker *maker = guest->maker;

    SLIST_REMOVE(&maker->guests, guest, guest, next);
    maker->pending++;
    guest->provider->ops->close(guest->provider, on_guest_closed, guest);
}

static struct pd_provider *provider_of(struct pd_maker *maker, const char *replica)
{
    struct guest *guest;

    if (strcmp(replica, maker->config.own->instance) == 0)
        return maker->config.own;
    guest = guest_of(maker, replica);
    return guest ? guest->provider : NULL;
}

/* ---- jobs ---- */

static void job_free(struct job *job)
{
    struct pd_maker *maker = job->maker;

    LIST_REMOVE(job, next);
    pd_strmap_remove(&maker->by_id, job->id);
    maker->n_jobs--;
    pd_pool_spec_unref(job->spec);
    free(job);
    maker_gone(maker);
}

static void on_settled(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct pd_maker *maker = arg;

    (void)reply;
    if (err)
        pd_log(PD_LOG_DEBUG, "maker", "wish not settled", "err", err->msg, NULL);
    maker->pending--;
    maker_gone(maker);
}

/* err: what it came to nothing for; NULL: it is there. */
static void settle(struct job *job, const struct pd_err *err, const char *provider_id)
{
    struct pd_maker *maker = job->maker;
    pd_autofree char *channel = pd_asprintf("%s%s", maker->made_prefix, job->replica);
    pd_autofree char *message = err ? pd_asprintf("%s %d %.300s", job->id, -err->kind, err->msg)
                                    : pd_asprintf("%s ok %s", job->id, provider_id);
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
    };
    struct pd_err ignored;

    if (!maker->closing && pd_redis_eval(maker->config.redis, &maker->settle, 4, args,
                                         PD_COUNT(args), on_settled, maker, &ignored) == 0)
        maker->pending++;
    job_free(job);
}

static void on_created(void *arg, const struct pd_err *err, const char *provider_id)
{
    struct job *job = arg;

    if (err && err->kind == PD_CANCELED)
        job_free(job); /* we are closing; the wish stays */
    else
        settle(job, err, provider_id);
}

static void on_ready(void *arg, const struct pd_err *err)
{
    struct job *job = arg;
    struct pd_provider *provider;
    struct pd_err why;

    if (!may_act(job->maker)) {
        job_free(job);
        return;
    }
    provider = err ? NULL : provider_of(job->maker, job->replica);
    if (err)
        settle(job, err, NULL);
    else if (!provider)
        job_free(job);
    else if (provider->ops->create(provider, job->spec, job->id, on_created, job, &why) < 0)
        settle(job, &why, NULL);
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
    if (err || reply->integer < 0 || !may_act(job->maker)) {
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

static void begin(struct pd_maker *maker, const char *id, const char *replica,
                  const char *pool_name, const char *hash)
{
    struct pd_pool *pool = pd_store_pool(maker->config.store, pool_name);
    struct job *job;
    struct pd_err err;

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
    if (pool && !pool->deleting && strcmp(pool->spec->template_hash, hash) == 0) {
        job->spec = pd_pool_spec_ref(pool->spec);
        reserve(job);
        return;
    }
    pd_err_set(&err, PD_UNAVAILABLE, "the replica that leads has %s",
               pool && !pool->deleting ? "another spec of the pool" : "no such pool");
    settle(job, &err, NULL);
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
    for (size_t i = 0; !err && may_act(maker) && i + 1 < reply->count; i += 2)
        take_wish(maker, pd_redis_reply_string(reply, i), pd_redis_reply_string(reply, i + 1));
    maker->pending--;
    if (maker->again)
        pd_maker_look(maker);
    maker_gone(maker);
}

void pd_maker_look(struct pd_maker *maker)
{
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT("HGETALL"), PD_REDIS_TEXT(maker->wishes_key)};
    struct pd_err err;

    maker->again = maker->looking;
    if (maker->looking || !may_act(maker))
        return;
    maker->looking = pd_redis_command(maker->config.redis, args, 2, on_wishes, maker, &err) == 0;
    maker->pending += maker->looking;
}

/* ---- the dead ---- */

struct forgetting {
    struct pd_maker *maker;
    char id[PD_REPLICA_ID_MAX];
};

static void on_forgotten(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct forgetting *forgetting = arg;
    struct pd_maker *maker = forgetting->maker;
    struct guest *guest = find_guest(maker, forgetting->id);

    if (!err && reply->integer > 0)
        pd_log(PD_LOG_INFO, "maker", "nothing is left of a dead replica", "replica", forgetting->id,
               NULL);
    if (guest && err)
        guest->collecting = false;
    else if (guest)
        guest_close(guest);
    free(forgetting);
    maker->pending--;
    maker_gone(maker);
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
        PD_REDIS_TEXT(pd_lease_value(maker->config.lease)),
        PD_REDIS_TEXT(guest->id),
        {ms, (size_t)snprintf(ms, sizeof ms, "%d", PD_REPLICA_DEAD_MS)},
    };
    struct forgetting *forgetting = PD_NEW(struct forgetting);
    struct pd_err err;

    forgetting->maker = maker;
    pd_strcpy(forgetting->id, sizeof forgetting->id, guest->id);
    guest->collecting = pd_redis_eval(maker->config.redis, &maker->forget, 5, args, PD_COUNT(args),
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

    if (err || !may_act(guest->maker)) {
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
    for (size_t i = 0; i < count && may_act(guest->maker); i++)
        guest->busy += guest->provider->ops->destroy(guest->provider, instances[i].provider_id,
                                                     on_destroyed, guest, &why) == 0;
    if (--guest->busy == 0)
        guest->collecting = false;
}

static void collect(struct pd_maker *maker, const char *replica)
{
    struct guest *guest = guest_of(maker, replica);
    struct pd_err err;

    if (!guest || guest->collecting)
        return;
    guest->collecting = true;
    if (guest->provider->ops->list(guest->provider, on_listed, guest, &err) < 0)
        guest->collecting = false;
}

static void look_at_held(struct pd_maker *maker)
{
    struct job *job = LIST_FIRST(&maker->jobs), *next;

    for (; job; job = next) {
        next = LIST_NEXT(job, next);
        if (job->held && may_act(maker))
            reserve(job);
        else if (job->held)
            job_free(job);
    }
}

/* A leader that is new, or was out of touch, first lets everyone be heard. */
void pd_maker_collect(struct pd_maker *maker)
{
    struct pd_time since = pd_lease_since(maker->config.lease);
    const char *dead;

    look_at_held(maker);
    if (!may_act(maker) || pd_time_ms_between(since, pd_time_now()) < PD_REPLICA_DEAD_MS)
        return;
    for (size_t i = 0; (dead = pd_replica_dead_at(maker->config.replica, i)); i++)
        if (strcmp(dead, maker->config.own->instance) != 0)
            collect(maker, dead);
}

struct pd_maker *pd_maker_open(const struct pd_maker_config *config)
{
    struct pd_maker *maker = PD_NEW(struct pd_maker);

    maker->config = *config;
    maker->reserve = pd_redis_script_of(RESERVE_SCRIPT);
    maker->settle = pd_redis_script_of(SETTLE_SCRIPT);
    maker->forget = pd_redis_script_of(FORGET_SCRIPT);
    maker->lease_key = pd_asprintf("%s:lease", config->prefix);
    maker->sandboxes_key = pd_asprintf("%s:sandboxes", config->prefix);
    maker->totals_key = pd_asprintf("%s:totals", config->prefix);
    maker->wishes_key = pd_asprintf("%s:wishes", config->prefix);
    maker->seen_key = pd_asprintf("%s:seen", config->prefix);
    maker->made_prefix = pd_asprintf("%s:made:", config->prefix);
    LIST_INIT(&maker->jobs);
    SLIST_INIT(&maker->guests);
    uv_timer_init(config->loop, &maker->end);
    maker->end.data = maker;
    maker->pending = 1; /* that timer */
    return maker;
}

static void on_end_closed(uv_handle_t *handle)
{
    struct pd_maker *maker = handle->data;

    maker->pending--;
    maker_gone(maker);
}

void pd_maker_close(struct pd_maker *maker, void (*closed)(void *arg), void *arg)
{
    if (maker->closing)
        return;
    maker->closing = true;
    maker->closed = closed;
    maker->closed_arg = arg;
    look_at_held(maker);
    while (!SLIST_EMPTY(&maker->guests))
        guest_close(SLIST_FIRST(&maker->guests));
    uv_close((uv_handle_t *)&maker->end, on_end_closed);
}
