/* What this replica has, by the provider below, and what Redis knows of it. */
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"
#include "controller/shared_state.h"

#define CENSUS_BYTES_MAX (4u * 1024 * 1024) /* of ids and pools in one list */

/* KEYS sandboxes, totals; ARGV replica, id. */
const char pd_shared_free_script[] =
    "local record = redis.call('HGET', KEYS[1], ARGV[2])\n"
    "if not record then return 0 end\n"
    "local replica, pool = string.match(record, '^(%S+) (%S+)')\n"
    "if replica ~= ARGV[1] then return 0 end\n"
    "local field = pool .. ' ' .. replica\n"
    "redis.call('HDEL', KEYS[1], ARGV[2])\n"
    "if redis.call('HINCRBY', KEYS[2], field, -1) <= 0 then\n"
    "  redis.call('HDEL', KEYS[2], field)\n"
    "end\n"
    "return 1\n";

/* KEYS sandboxes, totals, wishes; ARGV replica, "ID POOL\n"..., "ID -\n" for one that
 * is still wished for. Makes the records of this replica those of what it has, and
 * withdraws wishes that it has given up. */
#define SYNC_SCRIPT                                                                                \
    "local present = {}\n"                                                                         \
    "local wished = {}\n"                                                                          \
    "for id, pool in string.gmatch(ARGV[2], '(%S+) (%S+)') do\n"                                   \
    "  if pool == '-' then wished[id] = true else present[id] = pool end\n"                        \
    "end\n"                                                                                        \
    "local wishes = redis.call('HGETALL', KEYS[3])\n"                                              \
    "for i = 1, #wishes, 2 do\n"                                                                   \
    "  if string.match(wishes[i + 1], '^(%S+) ') == ARGV[1] and not wished[wishes[i]] then\n"      \
    "    redis.call('HDEL', KEYS[3], wishes[i])\n"                                                 \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "local all = redis.call('HGETALL', KEYS[1])\n"                                                 \
    "for i = 1, #all, 2 do\n"                                                                      \
    "  local replica, pool = string.match(all[i + 1], '^(%S+) (%S+)')\n"                           \
    "  if replica == ARGV[1] then\n"                                                               \
    "    if present[all[i]] then\n"                                                                \
    "      present[all[i]] = nil\n"                                                                \
    "    elseif not wished[all[i]] then\n"                                                         \
    "      redis.call('HDEL', KEYS[1], all[i])\n"                                                  \
    "      if redis.call('HINCRBY', KEYS[2], pool .. ' ' .. replica, -1) <= 0 then\n"              \
    "        redis.call('HDEL', KEYS[2], pool .. ' ' .. replica)\n"                                \
    "      end\n"                                                                                  \
    "    end\n"                                                                                    \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "local time = redis.call('TIME')\n"                                                            \
    "local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)\n"                 \
    "for id, pool in pairs(present) do\n"                                                          \
    "  redis.call('HSET', KEYS[1], id, string.format('%s %s %.0f', ARGV[1], pool, ms))\n"          \
    "  redis.call('HINCRBY', KEYS[2], pool .. ' ' .. ARGV[1], 1)\n"                                \
    "end\n"                                                                                        \
    "return 1\n"

/* A question to the provider below. */
struct question {
    struct shared *shared;
    pd_provider_list_cb list;
    pd_provider_done_cb done;
    void *arg;
    char provider_id[PD_PROVIDER_ID_MAX];
};

/* ---- names ---- */

void pd_shared_learn_name(struct shared *shared, const char *provider_id, const char *id,
                          const char *pool)
{
    struct name *name;

    if (!*provider_id || pd_strmap_get(&shared->names, provider_id))
        return;
    name = PD_NEW(struct name);
    pd_strcpy(name->provider_id, sizeof name->provider_id, provider_id);
    pd_strcpy(name->id, sizeof name->id, id);
    pd_strcpy(name->pool, sizeof name->pool, pool);
    LIST_INSERT_HEAD(&shared->named, name, next);
    pd_strmap_add(&shared->names, name->provider_id, name);
}

void pd_shared_forget_names(struct shared *shared)
{
    struct name *name;

    while ((name = pd_strmap_any(&shared->names))) {
        pd_strmap_remove(&shared->names, name->provider_id);
        free(name);
    }
}

/* ---- what is ours ---- */

static void ignore_reply(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    (void)arg, (void)reply;
    if (err)
        pd_log(PD_LOG_DEBUG, "shared", "Redis not told", "err", err->msg, NULL);
}

static void give_back(struct shared *shared, const char *provider_id)
{
    struct name *name = pd_strmap_remove(&shared->names, provider_id);
    struct pd_err err;

    if (!name)
        return;
    LIST_REMOVE(name, next);
    if (shared->replica) {
        const struct pd_redis_arg args[] = {
            PD_REDIS_TEXT(shared->sandboxes_key), PD_REDIS_TEXT(shared->totals_key),
            PD_REDIS_TEXT(shared->base.instance), PD_REDIS_TEXT(name->id)};
        if (pd_redis_eval(shared->config.redis, &shared->free_script, 2, args, 4, ignore_reply,
                          NULL, &err) == 0)
            pd_replica_beat(shared->replica); /* what may be had has changed */
    }
    free(name);
}

static void on_destroyed(void *arg, const struct pd_err *err)
{
    struct question *question = arg;

    if (!err)
        give_back(question->shared, question->provider_id);
    question->done(question->arg, err);
    free(question);
}

int pd_shared_destroy(struct pd_provider *provider, const char *provider_id, pd_provider_done_cb cb,
                      void *arg, struct pd_err *err)
{
    struct shared *shared = pd_shared_of(provider);
    struct question *question = PD_NEW(struct question);
    int rc;

    question->shared = shared;
    question->done = cb;
    question->arg = arg;
    pd_strcpy(question->provider_id, sizeof question->provider_id, provider_id);
    rc = shared->config.below->ops->destroy(shared->config.below, provider_id, on_destroyed,
                                            question, err);
    if (rc < 0)
        free(question);
    return rc;
}

static int take_census(struct shared *shared, struct pd_buf *census)
{
    struct name *name;
    struct wish *wish;

    LIST_FOREACH(name, &shared->named, next)
    if (pd_buf_addf(census, NULL, "%s %s\n", name->id, name->pool) < 0)
        return PD_LIMIT;
    LIST_FOREACH(wish, &shared->wishes, next)
    if (pd_buf_addf(census, NULL, "%s -\n", wish->id) < 0)
        return PD_LIMIT;
    return 0;
}

/* Once all that is there has its name. By EVAL, which is never sent a second time:
 * it must run before what is wished for afterwards. */
static void sync_records(struct shared *shared)
{
    struct pd_buf census pd_autobuf;
    struct pd_err err;

    pd_buf_init(&census, CENSUS_BYTES_MAX);
    if (take_census(shared, &census) < 0)
        return;
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT("EVAL"),
                                        PD_REDIS_TEXT(SYNC_SCRIPT),
                                        PD_REDIS_TEXT("3"),
                                        PD_REDIS_TEXT(shared->sandboxes_key),
                                        PD_REDIS_TEXT(shared->totals_key),
                                        PD_REDIS_TEXT(shared->wishes_key),
                                        PD_REDIS_TEXT(shared->base.instance),
                                        {census.data, census.len}};
    if (pd_redis_command(shared->config.redis, args, PD_COUNT(args), ignore_reply, NULL, &err) == 0)
        pd_replica_beat(shared->replica);
}

static void on_listed(void *arg, const struct pd_err *err, const struct pd_instance *instances,
                      size_t count)
{
    struct question *question = arg;
    struct shared *shared = question->shared;

    for (size_t i = 0; !err && i < count; i++) {
        struct wish *wish = pd_shared_find_wish(shared, instances[i].id);
        pd_shared_learn_name(shared, instances[i].provider_id, instances[i].id, instances[i].pool);
        if (wish && instances[i].phase == PD_INSTANCE_RUNNING) /* its answer was missed */
            pd_shared_fulfil(wish, NULL, instances[i].provider_id);
    }
    if (!err && shared->replica && !shared->closing)
        sync_records(shared);
    question->list(question->arg, err, instances, count);
    free(question);
}

int pd_shared_list(struct pd_provider *provider, pd_provider_list_cb cb, void *arg,
                   struct pd_err *err)
{
    struct shared *shared = pd_shared_of(provider);
    struct question *question = PD_NEW(struct question);
    int rc;

    question->shared = shared;
    question->list = cb;
    question->arg = arg;
    rc = shared->config.below->ops->list(shared->config.below, on_listed, question, err);
    if (rc < 0)
        free(question);
    return rc;
}
