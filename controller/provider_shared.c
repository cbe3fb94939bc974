#include "controller/provider_shared.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/buf.h"
#include "common/lease.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/strmap.h"
#include "controller/maker.h"
#include "controller/replica.h"

#define CENSUS_BYTES_MAX (4u * 1024 * 1024) /* of ids and pools in one list */

/* KEYS sandboxes, totals; ARGV replica, id. */
#define FREE_SCRIPT                                                                                \
    "local record = redis.call('HGET', KEYS[1], ARGV[2])\n"                                        \
    "if not record then return 0 end\n"                                                            \
    "local replica, pool = string.match(record, '^(%S+) (%S+)')\n"                                 \
    "if replica ~= ARGV[1] then return 0 end\n"                                                    \
    "local field = pool .. ' ' .. replica\n"                                                       \
    "redis.call('HDEL', KEYS[1], ARGV[2])\n"                                                       \
    "if redis.call('HINCRBY', KEYS[2], field, -1) <= 0 then\n"                                     \
    "  redis.call('HDEL', KEYS[2], field)\n"                                                       \
    "end\n"                                                                                        \
    "return 1\n"

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

/* KEYS wishes, sandboxes; ARGV replica. Withdraws this replica's wishes that nobody
 * has begun to carry out: their ids. */
#define WITHDRAW_SCRIPT                                                                            \
    "local withdrawn = {}\n"                                                                       \
    "local wishes = redis.call('HGETALL', KEYS[1])\n"                                              \
    "for i = 1, #wishes, 2 do\n"                                                                   \
    "  if string.match(wishes[i + 1], '^(%S+) ') == ARGV[1] and\n"                                 \
    "      redis.call('HEXISTS', KEYS[2], wishes[i]) == 0 then\n"                                  \
    "    redis.call('HDEL', KEYS[1], wishes[i])\n"                                                 \
    "    table.insert(withdrawn, wishes[i])\n"                                                     \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "return withdrawn\n"

/* A wish that waits for its answer. */
struct wish {
    LIST_ENTRY(wish) next;
    char id[PD_SANDBOX_ID_MAX];
    char pool[PD_POOL_NAME_MAX];
    char *text; /* as written in Redis */
    pd_provider_create_cb cb;
    void *arg;
};

/* An answer that must not come before the call has returned. */
struct later {
    STAILQ_ENTRY(later) next;
    pd_provider_done_cb cb;
    void *arg;
};

/* A question to the provider below. */
struct question {
    struct shared *shared;
    pd_provider_list_cb list;
    pd_provider_done_cb done;
    void *arg;
    char provider_id[PD_PROVIDER_ID_MAX];
};

/* Which sandbox a provider's id is. */
struct name {
    LIST_ENTRY(name) next;
    char provider_id[PD_PROVIDER_ID_MAX];
    char id[PD_SANDBOX_ID_MAX];
    char pool[PD_POOL_NAME_MAX];
};

struct shared {
    struct pd_provider base; /* what the controller sees */
    struct pd_provider_shared_config config;
    pd_provider_event_cb watcher;
    void *watcher_arg;
    bool below_is_up;
    struct pd_redis_script free_script, withdraw_script;
    char *prefix, *sandboxes_key, *totals_key, *wishes_key, *wish_channel; /* once up */
    struct pd_replica *replica;                                            /* likewise */
    struct pd_lease *lease;
    struct pd_maker *maker;
    struct pd_redis_subscription *made, *wished;
    LIST_HEAD(, wish) wishes;
    STAILQ_HEAD(, later) later;
    LIST_HEAD(, name) named; /* what we have, as far as known */
    struct pd_strmap names;  /* provider id to struct name */
    uv_timer_t timer;        /* for `later` */
    int open_parts;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

static struct shared *shared_of(const struct pd_provider *provider)
{
    return (struct shared *)(uintptr_t)provider;
}

/* ---- names ---- */

static void learn_name(struct shared *shared, const char *provider_id, const char *id,
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

/* ---- wishes ---- */

static struct wish *find_wish(struct shared *shared, const char *id)
{
    struct wish *wish;

    LIST_FOREACH(wish, &shared->wishes, next)
    if (strcmp(wish->id, id) == 0)
        return wish;
    return NULL;
}

static void fulfil(struct wish *wish, const struct pd_err *err, const char *provider_id)
{
    LIST_REMOVE(wish, next);
    wish->cb(wish->arg, err, provider_id);
    free(wish->text);
    free(wish);
}

/* "ID ok PROVIDER-ID" or "ID KIND why" */
static void on_made(void *arg, const void *data, size_t len)
{
    struct shared *shared = arg;
    char id[PD_SANDBOX_ID_MAX], word[PD_PROVIDER_ID_MAX];
    int rest = 0;
    struct wish *wish;
    struct pd_err err;

    (void)len;
    if (sscanf(data, "%79s %255s %n", id, word, &rest) != 2 || rest == 0 ||
        !(wish = find_wish(shared, id)))
        return;
    if (strcmp(word, "ok") == 0) {
        char provider_id[PD_PROVIDER_ID_MAX];
        pd_strcpy(provider_id, sizeof provider_id, (const char *)data + rest);
        learn_name(shared, provider_id, id, wish->pool);
        fulfil(wish, NULL, provider_id);
        return;
    }
    pd_err_set(&err, PD_UNAVAILABLE, "%s", (const char *)data + rest);
    err.kind = -(int)strtol(word, NULL, 10);
    if (err.kind >= 0 || err.kind < PD_INTERNAL)
        err.kind = PD_UNAVAILABLE;
    fulfil(wish, &err, NULL);
}

static void on_wished(void *arg, const void *data, size_t len)
{
    struct shared *shared = arg;

    (void)data, (void)len;
    pd_maker_look(shared->maker);
}

static void fail_wishes(struct shared *shared, const struct pd_err *err)
{
    struct wish *wish;

    while ((wish = LIST_FIRST(&shared->wishes)))
        fulfil(wish, err, NULL);
}

static int write_wish(struct shared *shared, const char *id, const char *text, struct pd_err *err)
{
    const struct pd_redis_arg set[] = {PD_REDIS_TEXT("HSET"), PD_REDIS_TEXT(shared->wishes_key),
                                       PD_REDIS_TEXT(id), PD_REDIS_TEXT(text)};
    const struct pd_redis_arg tell[] = {PD_REDIS_TEXT("PUBLISH"),
                                        PD_REDIS_TEXT(shared->wish_channel), PD_REDIS_TEXT(id)};
    int rc = pd_redis_command(shared->config.redis, set, PD_COUNT(set), NULL, NULL, err);

    return rc < 0 ? rc
                  : pd_redis_command(shared->config.redis, tell, PD_COUNT(tell), NULL, NULL, err);
}

/* Answers may have been missed; wishing twice makes one. */
static void on_made_begun(void *arg)
{
    struct shared *shared = arg;
    struct wish *wish;
    struct pd_err err;

    LIST_FOREACH(wish, &shared->wishes, next)
    if (write_wish(shared, wish->id, wish->text, &err) < 0)
        return; /* the connection's end fails them all */
}

static const struct pd_redis_subscriber made_subscriber = {.begun = on_made_begun,
                                                           .message = on_made};
static const struct pd_redis_subscriber wish_subscriber = {.message = on_wished};

static int shared_create(struct pd_provider *provider, const struct pd_pool_spec *spec,
                         const char *id, pd_provider_create_cb cb, void *arg, struct pd_err *err)
{
    struct shared *shared = shared_of(provider);
    struct wish *wish = find_wish(shared, id);
    struct pd_err canceled;
    char *text;
    int rc;

    if (!shared->replica)
        return pd_err_set(err, PD_UNAVAILABLE, "the engine is not known yet");
    text = pd_asprintf("%s %s %s", provider->instance, spec->name, spec->template_hash);
    rc = write_wish(shared, id, text, err);
    if (rc < 0) {
        free(text);
        return rc;
    }
    if (wish) { /* asked again: the first question is given up */
        pd_err_set(&canceled, PD_CANCELED, "asked again");
        fulfil(wish, &canceled, NULL);
    }
    wish = PD_NEW(struct wish);
    pd_strcpy(wish->id, sizeof wish->id, id);
    pd_strcpy(wish->pool, sizeof wish->pool, spec->name);
    wish->text = text;
    wish->cb = cb;
    wish->arg = arg;
    LIST_INSERT_HEAD(&shared->wishes, wish, next);
    return 0;
}

/* ---- what is answered at once ---- */

static void on_later(uv_timer_t *timer)
{
    struct shared *shared = timer->data;
    struct later *later;

    while ((later = STAILQ_FIRST(&shared->later))) {
        STAILQ_REMOVE_HEAD(&shared->later, next);
        later->cb(later->arg, NULL);
        free(later);
    }
}

/* The leader sees to it, each time. */
static int shared_ensure_ready(struct pd_provider *provider, const struct pd_pool_spec *spec,
                               pd_provider_done_cb cb, void *arg, struct pd_err *err)
{
    struct shared *shared = shared_of(provider);
    struct later *later;

    (void)spec;
    if (shared->closing)
        return pd_err_set(err, PD_CANCELED, "the provider is closing");
    later = PD_NEW(struct later);
    later->cb = cb;
    later->arg = arg;
    STAILQ_INSERT_TAIL(&shared->later, later, next);
    uv_timer_start(&shared->timer, on_later, 0, 0);
    return 0;
}

/* ---- what is ours, by the provider below ---- */

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

static int shared_destroy(struct pd_provider *provider, const char *provider_id,
                          pd_provider_done_cb cb, void *arg, struct pd_err *err)
{
    struct shared *shared = shared_of(provider);
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
        struct wish *wish = find_wish(shared, instances[i].id);
        learn_name(shared, instances[i].provider_id, instances[i].id, instances[i].pool);
        if (wish && instances[i].phase == PD_INSTANCE_RUNNING) /* its answer was missed */
            fulfil(wish, NULL, instances[i].provider_id);
    }
    if (!err && shared->replica && !shared->closing)
        sync_records(shared);
    question->list(question->arg, err, instances, count);
    free(question);
}

static int shared_list(struct pd_provider *provider, pd_provider_list_cb cb, void *arg,
                       struct pd_err *err)
{
    struct shared *shared = shared_of(provider);
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

static int shared_link(struct pd_provider *provider, const char *provider_id,
                       pd_provider_link_cb cb, void *arg, struct pd_err *err)
{
    struct pd_provider *below = shared_of(provider)->config.below;

    return below->ops->link(below, provider_id, cb, arg, err);
}

/* ---- among others ---- */

static void on_gained(void *arg)
{
    struct shared *shared = arg;

    pd_log(PD_LOG_INFO, "shared", "this replica leads", "lease", pd_lease_value(shared->lease),
           NULL);
    if (shared->maker)
        pd_maker_look(shared->maker);
}

static void on_lost(void *arg)
{
    struct shared *shared = arg;

    pd_log(PD_LOG_WARN, "shared", "this replica does not lead any more", "lease",
           pd_lease_value(shared->lease), NULL);
}

static const struct pd_lease_events lease_events = {.gained = on_gained, .lost = on_lost};

static void on_beaten(void *arg, bool changed)
{
    struct shared *shared = arg;
    struct pd_pool *pool;

    if (shared->maker) {
        pd_maker_look(shared->maker);
        pd_maker_collect(shared->maker);
    }
    for (size_t i = 0; changed && (pool = pd_store_pool_at(shared->config.store, i)); i++)
        pd_store_touch(shared->config.store, pool->spec->name);
}

static void join(struct shared *shared)
{
    const struct pd_provider_shared_config *config = &shared->config;
    const char *scope = config->scope(config->arg);
    const struct pd_replica_config replica = {
        .loop = config->loop,
        .redis = config->redis,
        .prefix = shared->prefix = pd_asprintf("paddock:%s", *scope ? scope : "none"),
        .id = shared->base.instance,
        .beaten = on_beaten,
        .arg = shared,
    };
    const struct pd_lease_config lease = {
        .loop = config->loop,
        .redis = config->redis,
        .prefix = shared->prefix,
        .holder = shared->base.instance,
        .events = &lease_events,
        .arg = shared,
    };
    struct pd_maker_config maker = {
        .loop = config->loop,
        .redis = config->redis,
        .store = config->store,
        .prefix = shared->prefix,
        .own = config->below,
        .guest = config->guest,
        .arg = config->arg,
    };
    pd_autofree char *made_channel =
        pd_asprintf("%s:made:%s", shared->prefix, shared->base.instance);
    struct pd_err err;

    shared->sandboxes_key = pd_asprintf("%s:sandboxes", shared->prefix);
    shared->totals_key = pd_asprintf("%s:totals", shared->prefix);
    shared->wishes_key = pd_asprintf("%s:wishes", shared->prefix);
    shared->wish_channel = pd_asprintf("%s:wish", shared->prefix);
    shared->replica = pd_replica_open(&replica);
    shared->lease = pd_lease_open(&lease);
    maker.lease = shared->lease;
    maker.replica = shared->replica;
    shared->maker = pd_maker_open(&maker);
    shared->open_parts += 3;
    if (pd_redis_subscribe(config->redis, made_channel, &made_subscriber, shared, &shared->made,
                           &err) < 0 ||
        pd_redis_subscribe(config->redis, shared->wish_channel, &wish_subscriber, shared,
                           &shared->wished, &err) < 0)
        pd_log(PD_LOG_ERROR, "shared", "channels not listened to", "err", err.msg, NULL);
}

/* Whatever was missed while Redis was away is seen in a list; what could not be
 * created then is wished for anew, without waiting out the pause after failures. */
static void on_redis_up(void *arg)
{
    struct shared *shared = arg;
    const struct pd_provider_event event = {.type = PD_PROVIDER_UP};

    if (shared->watcher && shared->replica && shared->below_is_up)
        shared->watcher(shared->watcher_arg, &event);
}

/* Nobody knows whether what was written is still there when Redis is back. */
static void on_redis_down(void *arg, const struct pd_err *err)
{
    fail_wishes(arg, err);
}

static void on_below(void *arg, const struct pd_provider_event *event)
{
    struct shared *shared = arg;

    if (event->type != PD_PROVIDER_CHANGED)
        shared->below_is_up = event->type == PD_PROVIDER_UP;
    if (event->type == PD_PROVIDER_UP && !shared->replica && !shared->closing)
        join(shared);
    if (shared->watcher)
        shared->watcher(shared->watcher_arg, event);
}

static void shared_watch(struct pd_provider *provider, pd_provider_event_cb cb, void *arg)
{
    struct shared *shared = shared_of(provider);

    shared->watcher = cb;
    shared->watcher_arg = arg;
    shared->config.below->ops->watch(shared->config.below, cb ? on_below : NULL, shared);
}

static void on_part_closed(void *arg);

/* Closing waits for it. */
static void on_withdrawn(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct shared *shared = arg;
    struct pd_err canceled;

    pd_err_set(&canceled, PD_CANCELED, "the replica stops");
    for (size_t i = 0; !err && i < reply->count; i++) {
        const struct pd_redis_reply *id = pd_redis_reply_string(reply, i);
        struct wish *wish = id ? find_wish(shared, id->text) : NULL;
        if (wish)
            fulfil(wish, &canceled, NULL);
    }
    on_part_closed(shared);
}

void pd_provider_shared_withdraw(struct pd_provider *provider)
{
    struct shared *shared = shared_of(provider);
    struct pd_err err;

    if (!shared->replica)
        return;
    const struct pd_redis_arg args[] = {PD_REDIS_TEXT(shared->wishes_key),
                                        PD_REDIS_TEXT(shared->sandboxes_key),
                                        PD_REDIS_TEXT(provider->instance)};
    if (pd_redis_eval(shared->config.redis, &shared->withdraw_script, 2, args, 3, on_withdrawn,
                      shared, &err) == 0)
        shared->open_parts++;
}

struct pd_share pd_provider_shared_share(const struct pd_provider *provider,
                                         const struct pd_pool_spec *spec)
{
    const struct shared *shared = shared_of(provider);

    if (!shared->replica)
        return (struct pd_share){spec->min_size, spec->max_size, spec->target_idle};
    return pd_replica_share(shared->replica, spec);
}

bool pd_provider_shared_leads(const struct pd_provider *provider)
{
    const struct shared *shared = shared_of(provider);

    return shared->lease && pd_lease_is_held(shared->lease);
}

/* ---- life ---- */

static void shared_free(struct shared *shared)
{
    struct name *name;

    while ((name = pd_strmap_any(&shared->names))) {
        pd_strmap_remove(&shared->names, name->provider_id);
        free(name);
    }
    pd_strmap_fini(&shared->names);
    free(shared->prefix);
    free(shared->sandboxes_key);
    free(shared->totals_key);
    free(shared->wishes_key);
    free(shared->wish_channel);
    free(shared);
}

static void on_part_closed(void *arg)
{
    struct shared *shared = arg;
    void (*closed)(void *arg) = shared->closed;
    void *closed_arg = shared->closed_arg;

    if (--shared->open_parts > 0)
        return;
    shared_free(shared);
    if (closed)
        closed(closed_arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct shared *shared = handle->data;
    struct pd_err err;

    pd_err_set(&err, PD_CANCELED, "the provider is closing");
    fail_wishes(shared, &err);
    on_later(&shared->timer);
    on_part_closed(shared);
}

static void leave(struct shared *shared)
{
    if (!shared->replica)
        return;
    if (shared->made)
        pd_redis_unsubscribe(shared->made);
    if (shared->wished)
        pd_redis_unsubscribe(shared->wished);
    pd_maker_close(shared->maker, on_part_closed, shared);
    pd_lease_close(shared->lease, on_part_closed, shared);
    pd_replica_close(shared->replica, on_part_closed, shared);
}

static void shared_close(struct pd_provider *provider, void (*closed)(void *arg), void *arg)
{
    struct shared *shared = shared_of(provider);

    shared->closing = true;
    shared->closed = closed;
    shared->closed_arg = arg;
    shared->watcher = NULL;
    pd_redis_unobserve(shared->config.redis, shared);
    uv_close((uv_handle_t *)&shared->timer, on_timer_closed);
    leave(shared);
    shared->config.below->ops->close(shared->config.below, on_part_closed, shared);
}

static const struct pd_provider_ops shared_ops = {
    .name = "docker",
    .ensure_ready = shared_ensure_ready,
    .create = shared_create,
    .list = shared_list,
    .destroy = shared_destroy,
    .watch = shared_watch,
    .link = shared_link,
    .close = shared_close,
};

struct pd_provider *pd_provider_shared_new(const struct pd_provider_shared_config *config)
{
    struct shared *shared = PD_NEW(struct shared);

    shared->base.ops = &shared_ops;
    shared->base.instance = config->below->instance;
    shared->config = *config;
    shared->free_script = pd_redis_script_of(FREE_SCRIPT);
    shared->withdraw_script = pd_redis_script_of(WITHDRAW_SCRIPT);
    LIST_INIT(&shared->wishes);
    LIST_INIT(&shared->named);
    STAILQ_INIT(&shared->later);
    uv_timer_init(config->loop, &shared->timer);
    shared->timer.data = shared;
    shared->open_parts = 2; /* the timer, the provider below */
    pd_redis_observe(config->redis,
                     &(struct pd_redis_observer){on_redis_up, on_redis_down, shared});
    return &shared->base;
}
