#include "controller/provider_shared.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/shared_state.h"

struct shared *pd_shared_of(const struct pd_provider *provider)
{
    return (struct shared *)(uintptr_t)provider;
}

static int shared_link(struct pd_provider *provider, const char *provider_id,
                       pd_provider_link_cb cb, void *arg, struct pd_err *err)
{
    struct pd_provider *below = pd_shared_of(provider)->config.below;

    return below->ops->link(below, provider_id, cb, arg, err);
}

/* ---- among others ---- */

static void on_wished(void *arg, const void *data, size_t len)
{
    struct shared *shared = arg;

    (void)data, (void)len;
    if (shared->maker)
        pd_maker_look(shared->maker);
}

static const struct pd_redis_subscriber wish_subscriber = {.message = on_wished};

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

    if (shared->withdrawing && !LIST_EMPTY(&shared->wishes))
        pd_provider_shared_withdraw(&shared->base);
    if (shared->maker) {
        pd_maker_look(shared->maker);
        pd_maker_collect(shared->maker);
    }
    for (size_t i = 0; changed && (pool = pd_store_pool_at(shared->config.store, i)); i++)
        pd_store_touch(shared->config.store, pool->spec->name);
}

/* Whatever was missed while Redis was away, or took no writes, is seen in a list; what could not be
 * created then is wished for anew, without waiting out the pause after failures. */
static void on_redis_up(void *arg)
{
    struct shared *shared = arg;
    const struct pd_provider_event event = {.type = PD_PROVIDER_UP};

    pd_shared_made_subscriber.begun(shared); /* what is still wished for is written again */
    if (shared->watcher && shared->replica && shared->below_is_up)
        shared->watcher(shared->watcher_arg, &event);
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
        .part = config->part,
        .beaten = on_beaten,
        .back = on_redis_up,
        .report = pd_shared_report,
        .reports = pd_shared_take_reports,
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
    shared->lease_key = pd_asprintf("%s:lease", shared->prefix);
    shared->wishes_key = pd_asprintf("%s:wishes", shared->prefix);
    shared->wish_channel = pd_asprintf("%s:wish", shared->prefix);
    shared->replica = pd_replica_open(&replica);
    shared->open_parts++;
    if (config->part != PD_REPLICA_OWNS) {
        shared->lease = maker.lease = pd_lease_open(&lease);
        maker.replica = shared->replica;
        shared->maker = pd_maker_open(&maker);
        shared->open_parts += 2;
    }
    if (pd_redis_subscribe(config->redis, made_channel, &pd_shared_made_subscriber, shared,
                           &shared->made, &err) < 0 ||
        pd_redis_subscribe(config->redis, shared->wish_channel, &wish_subscriber, shared,
                           &shared->wished, &err) < 0)
        pd_log(PD_LOG_ERROR, "shared", "channels not listened to", "err", err.msg, NULL);
}

/* Nobody knows whether what was written is still there when Redis is back. */
static void on_redis_down(void *arg, const struct pd_err *err)
{
    pd_shared_fail_wishes(arg, err);
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
    struct shared *shared = pd_shared_of(provider);

    shared->watcher = cb;
    shared->watcher_arg = arg;
    shared->config.below->ops->watch(shared->config.below, cb ? on_below : NULL, shared);
}

struct pd_share pd_provider_shared_share(const struct pd_provider *provider,
                                         const struct pd_pool_spec *spec)
{
    const struct shared *shared = pd_shared_of(provider);

    if (!shared->replica)
        return (struct pd_share){spec->min_size, spec->max_size, spec->target_idle};
    return pd_replica_share(shared->replica, spec);
}

int pd_provider_shared_others(const struct pd_provider *provider, const char *pool)
{
    const struct shared *shared = pd_shared_of(provider);

    return shared->replica ? pd_replica_others(shared->replica, pool) : 0;
}

bool pd_provider_shared_is_live(const struct pd_provider *provider, const char *instance)
{
    const struct shared *shared = pd_shared_of(provider);

    return shared->replica && pd_replica_is_live(shared->replica, instance);
}

bool pd_provider_shared_leads(const struct pd_provider *provider)
{
    const struct shared *shared = pd_shared_of(provider);

    return shared->lease && pd_lease_is_held(shared->lease);
}

const char *pd_provider_shared_lease(const struct pd_provider *provider)
{
    const struct shared *shared = pd_shared_of(provider);

    return shared->lease ? pd_lease_value(shared->lease) : "";
}

const char *pd_provider_shared_prefix(const struct pd_provider *provider)
{
    return pd_shared_of(provider)->prefix;
}

bool pd_provider_shared_is_ready(const struct pd_provider *provider, const char **ret_sentence)
{
    const struct shared *shared = pd_shared_of(provider);
    bool leads_only = shared->config.part == PD_REPLICA_LEADS;

    *ret_sentence = "a replica leads";
    if (shared->replica && pd_replica_sees_leader(shared->replica))
        return true;
    if (!leads_only && !LIST_EMPTY(&shared->named))
        return true;
    *ret_sentence = !shared->replica ? "which engine this is, is not known yet"
                    : !pd_redis_is_up(shared->config.redis)
                        ? (leads_only ? "Redis is not in reach: this process cannot lead"
                                      : "Redis is not in reach, and there is no sandbox here")
                    : leads_only ? "nobody leads yet"
                                 : "no leader is in sight (paddock controller, or serve, on the "
                                   "same Redis and engine), and there is no sandbox here";
    return false;
}

/* ---- life ---- */

static void shared_free(struct shared *shared)
{
    pd_shared_forget_names(shared);
    pd_strmap_fini(&shared->names);
    free(shared->prefix);
    free(shared->sandboxes_key);
    free(shared->totals_key);
    free(shared->wishes_key);
    free(shared->lease_key);
    free(shared->wish_channel);
    free(shared);
}

void pd_shared_part_closed(void *arg)
{
    struct shared *shared = arg;
    void (*closed)(void *arg) = shared->closed;
    void *closed_arg = shared->closed_arg;

    if (--shared->open_parts == 1) { /* the provider below is left: the others used it */
        shared->config.below->ops->close(shared->config.below, pd_shared_part_closed, shared);
        return;
    }
    if (shared->open_parts > 0)
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
    pd_shared_fail_wishes(shared, &err);
    pd_shared_answer_later(&shared->timer);
    pd_shared_part_closed(shared);
}

static void leave_the_others(struct shared *shared)
{
    if (shared->lease)
        pd_lease_close(shared->lease, pd_shared_part_closed, shared);
    pd_replica_close(shared->replica, pd_shared_part_closed, shared);
}

/* The lease is needed until the maker has told everyone. */
static void on_maker_closed(void *arg)
{
    struct shared *shared = arg;

    shared->maker = NULL;
    leave_the_others(shared);
    pd_shared_part_closed(shared);
}

static void leave(struct shared *shared)
{
    if (!shared->replica)
        return;
    if (shared->made)
        pd_redis_unsubscribe(shared->made);
    if (shared->wished)
        pd_redis_unsubscribe(shared->wished);
    if (shared->maker)
        pd_maker_close(shared->maker, on_maker_closed, shared);
    else
        leave_the_others(shared);
}

static void shared_close(struct pd_provider *provider, void (*closed)(void *arg), void *arg)
{
    struct shared *shared = pd_shared_of(provider);

    shared->closing = true;
    shared->closed = closed;
    shared->closed_arg = arg;
    shared->watcher = NULL;
    pd_redis_unobserve(shared->config.redis, shared);
    uv_close((uv_handle_t *)&shared->timer, on_timer_closed);
    leave(shared);
}

static const struct pd_provider_ops shared_ops = {
    .name = "docker",
    .ensure_ready = pd_shared_ensure_ready,
    .create = pd_shared_create,
    .list = pd_shared_list,
    .destroy = pd_shared_destroy,
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
    shared->free_script = pd_redis_script_of(pd_shared_free_script);
    shared->withdraw_script = pd_redis_script_of(pd_shared_withdraw_script);
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
