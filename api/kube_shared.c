/* Theory of operation. Redis is read every second, when it says that something has
 * changed, and when somebody asks. Until it has been read once, what is shown is what
 * this process knows by itself, in versions of its own; then, for good, what Redis has.
 * While Redis is away that stays as it was. */
#include "api/kube_shared.h"

#include <stdlib.h>
#include <string.h>

#include "api/kube_shared_script.h"
#include "api/kube_shared_state.h"
#include "common/log.h"

#define CLEAN_MS 10000
#define SETTLED_MS 5000 /* meanwhile others write again what Redis has lost */

struct known *pd_kube_shared_find(const struct pd_kube_shared *shared, enum pd_kube_entry_kind kind,
                                  const char *name)
{
    char field[PD_KUBE_FIELD_BYTES];

    pd_kube_entry_field(kind, name, field);
    return pd_strmap_get(&shared->by_field, field);
}

const char *pd_kube_shared_lease(const struct pd_kube_shared *shared)
{
    return shared->config.peers->lease(shared->config.peers->arg);
}

bool pd_kube_shared_is_settled(const struct pd_kube_shared *shared)
{
    return shared->on && uv_now(shared->config.loop) - shared->on_ms >= SETTLED_MS;
}

int pd_kube_shared_pool(const struct pd_kube_shared *shared, const char *name,
                        struct pd_pool_identity *ret_identity, uint64_t *ret_version)
{
    const struct known *known = pd_kube_shared_find(shared, PD_ENTRY_API, name);

    if (!known)
        return PD_NOT_FOUND;
    *ret_identity = known->identity;
    *ret_version = known->version;
    return 0;
}

const char *pd_kube_shared_source(const struct pd_kube_shared *shared, const char *name)
{
    const struct known *known = pd_kube_shared_find(shared, PD_ENTRY_API, name);

    if (!known)
        known = pd_kube_shared_find(shared, PD_ENTRY_POOL, name);
    return known ? known->source : "";
}

int pd_kube_shared_refresh(struct pd_kube_shared *shared,
                           void (*done)(void *arg, const struct pd_err *err), void *arg,
                           struct pd_err *err)
{
    struct waiter *waiter = PD_NEW(struct waiter);
    int rc;

    waiter->done = done;
    waiter->arg = arg;
    LIST_INSERT_HEAD(&shared->waiters, waiter, next);
    rc = shared->closing ? pd_err_set(err, PD_UNAVAILABLE, "paddock is stopping")
                         : pd_kube_shared_look(shared, err);
    if (rc < 0) {
        LIST_REMOVE(waiter, next);
        free(waiter);
    }
    return rc;
}

/* ---- when ---- */

static void on_message(void *arg, const void *data, size_t len)
{
    struct pd_err err;

    (void)data, (void)len;
    (void)pd_kube_shared_look(arg, &err);
}

static void on_begun(void *arg)
{
    on_message(arg, NULL, 0);
}

static const struct pd_redis_subscriber subscriber = {.begun = on_begun, .message = on_message};

/* Which engine it is has become known. */
void pd_kube_shared_join(struct pd_kube_shared *shared)
{
    const struct pd_kube_peers *peers = shared->config.peers;
    const char *prefix = peers->prefix(peers->arg);
    struct pd_err err;

    if (shared->hash_key || !prefix)
        return;
    shared->lease_key = pd_asprintf("%s:lease", prefix);
    shared->hash_key = pd_asprintf("%s:objects", prefix);
    shared->order_key = pd_asprintf("%s:objects:order", prefix);
    shared->channel = pd_asprintf("%s:objects:changed", prefix);
    if (pd_redis_subscribe(peers->redis, shared->channel, &subscriber, shared,
                           &shared->subscription, &err) < 0)
        pd_log(PD_LOG_WARN, "kube",
               "changes by other replicas are not listened for, only asked for", "err", err.msg,
               NULL);
}

static void on_look(uv_timer_t *timer)
{
    struct pd_kube_shared *shared = timer->data;
    uint64_t now_ms = uv_now(shared->config.loop);
    struct pd_err err;

    (void)pd_kube_shared_look(shared, &err);
    shared->pools_dirty = shared->members_dirty = true;
    pd_kube_shared_tell_soon(shared);
    if (now_ms - shared->cleaned_ms < CLEAN_MS || !shared->on)
        return;
    shared->cleaned_ms = now_ms;
    pd_kube_shared_clean(shared);
    pd_kube_shared_prune(shared);
}

static void on_tell(uv_timer_t *timer)
{
    pd_kube_shared_tell(timer->data);
}

void pd_kube_shared_tell_soon(struct pd_kube_shared *shared)
{
    if (!shared->closing && !uv_is_active((uv_handle_t *)&shared->tell_timer))
        uv_timer_start(&shared->tell_timer, on_tell, PD_KUBE_SHARED_STATUS_MS, 0);
}

static void on_pool(void *arg, const char *name)
{
    struct pd_kube_shared *shared = arg;

    (void)name;
    shared->pools_dirty = shared->members_dirty = true;
    pd_kube_shared_tell_soon(shared);
}

/* ---- life ---- */

static void start_timer(struct pd_kube_shared *shared, uv_timer_t *timer)
{
    uv_timer_init(shared->config.loop, timer);
    timer->data = shared;
    shared->open_timers++;
}

int pd_kube_shared_open(const struct pd_kube_shared_config *config,
                        struct pd_kube_shared **ret_shared, struct pd_err *err)
{
    struct pd_kube_shared *shared = PD_NEW(struct pd_kube_shared);

    shared->config = *config;
    if (pd_pool_schema_new(&shared->schema, err) < 0) {
        free(shared);
        return err->kind;
    }
    shared->read = pd_redis_script_of(pd_kube_shared_read_script);
    shared->write = pd_redis_script_of(pd_kube_shared_write_script);
    shared->put = pd_redis_script_of(pd_kube_shared_put_script);
    shared->restore = pd_redis_script_of(pd_kube_shared_restore_script);
    shared->prune = pd_redis_script_of(pd_kube_shared_prune_script);
    shared->opened_ms = shared->cleaned_ms = uv_now(config->loop);
    start_timer(shared, &shared->look_timer);
    start_timer(shared, &shared->tell_timer);
    uv_timer_start(&shared->look_timer, on_look, 100, PD_KUBE_SHARED_LOOK_MS);
    pd_store_observe(config->store, on_pool, shared);
    *ret_shared = shared;
    return 0;
}

static void free_when_idle(struct pd_kube_shared *shared)
{
    void (*closed)(void *arg) = shared->closed;
    void *arg = shared->closed_arg;

    if (shared->open_ops > 0 || shared->open_timers > 0)
        return;
    while (shared->n_known > 0)
        pd_kube_shared_drop(shared, shared->known[shared->n_known - 1]);
    free(shared->known);
    pd_strmap_fini(&shared->by_field);
    pd_schema_free(shared->schema);
    free(shared->lease_key);
    free(shared->hash_key);
    free(shared->order_key);
    free(shared->channel);
    free(shared);
    closed(arg);
}

bool pd_kube_shared_op_over(struct pd_kube_shared *shared)
{
    bool wanted = !shared->closing;

    shared->open_ops--;
    if (!wanted)
        free_when_idle(shared);
    return wanted;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct pd_kube_shared *shared = handle->data;

    shared->open_timers--;
    free_when_idle(shared);
}

void pd_kube_shared_close(struct pd_kube_shared *shared, void (*closed)(void *arg), void *arg)
{
    struct pd_err err;

    shared->closing = true;
    shared->closed = closed;
    shared->closed_arg = arg;
    pd_err_set(&err, PD_CANCELED, "paddock is stopping");
    pd_kube_shared_fail_waiters(shared, &err, true);
    pd_store_unobserve(shared->config.store, on_pool, shared);
    if (shared->subscription)
        pd_redis_unsubscribe(shared->subscription);
    uv_close((uv_handle_t *)&shared->look_timer, on_timer_closed);
    uv_close((uv_handle_t *)&shared->tell_timer, on_timer_closed);
}
