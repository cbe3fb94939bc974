/* What is made of what Redis has: objects for those who ask (kube_cache.h), and pools of
 * the API in the store. Of a pool two fields make one object, whose version is that of
 * the later one. */
#include <string.h>

#include "api/kube_shared_state.h"
#include "common/log.h"
#include "common/pool_status.h"

static enum pd_kube_kind_id kind_of(enum pd_kube_entry_kind kind)
{
    switch (kind) {
    case PD_ENTRY_SANDBOX:
        return PD_KUBE_SANDBOX;
    case PD_ENTRY_EVENT:
        return PD_KUBE_EVENT;
    default:
        return PD_KUBE_POOL;
    }
}

static struct pd_node *parse_object(const struct known *known)
{
    struct pd_kube_entry entry;
    struct pd_err err;

    /* It was understood when it came. */
    if (!known || pd_kube_entry_parse(known->field, strlen(known->field), known->text, known->len,
                                      &entry, &err) < 0)
        return NULL;
    return entry.object;
}

static void feed(struct pd_kube_shared *shared, enum pd_kube_kind_id kind, const char *name,
                 struct pd_node *node, uint64_t version)
{
    char text[PD_KUBE_VERSION_BYTES];

    if (node)
        pd_node_set_string(pd_node_get(node, "metadata"), "resourceVersion",
                           pd_kube_version(version, text));
    pd_kube_cache_feed(pd_kube_watch_cache(shared->config.watch, kind), name, node, version);
}

/* Of one of which the leader has said nothing yet. */
static struct pd_node *status_of_new(const struct known *pool)
{
    struct pd_pool blank = {
        .status = {
            .warm_hit_ratio = -1, .refill_p99_ms = -1, .start_p90_ms = -1, .recommended_min = -1}};

    pd_strcpy(blank.source, sizeof blank.source, pool->source);
    return pd_pool_status_encode(&blank);
}

/* gone: the field that is about to go, or NULL. */
static void feed_pool(struct pd_kube_shared *shared, const char *name, const struct known *gone,
                      uint64_t version)
{
    const struct known *pool = pd_kube_shared_find(shared, PD_ENTRY_API, name);
    const struct known *status = pd_kube_shared_find(shared, PD_ENTRY_STATUS, name);
    struct pd_node *object, *said;

    if (!pool || pool == gone)
        pool = pd_kube_shared_find(shared, PD_ENTRY_POOL, name);
    object = pool == gone ? NULL : parse_object(pool);
    if (object) {
        said = status == gone ? NULL : parse_object(status);
        pd_node_set(object, "status", said ? said : status_of_new(pool));
    }
    feed(shared, PD_KUBE_POOL, name, object, version);
}

static void feed_known(struct pd_kube_shared *shared, const struct known *known, bool is_gone,
                       uint64_t version)
{
    enum pd_kube_kind_id kind = kind_of(known->kind);

    if (kind == PD_KUBE_POOL)
        feed_pool(shared, known->name, is_gone ? known : NULL, version);
    else
        feed(shared, kind, known->name, is_gone ? NULL : parse_object(known), version);
}

/* ---- the store ---- */

/* Whoever else declares a pool that Redis has as the API's comes too late. */
static void adopt(struct pd_kube_shared *shared, const struct known *known)
{
    pd_autonode struct pd_node *object = parse_object(known);
    struct pd_kube_entry entry = {.object = object};
    struct pd_pool_spec *spec;
    struct pd_err err;

    if (pd_kube_entry_spec(&entry, shared->schema, shared->config.default_provider, &spec, &err) <
        0) {
        pd_log(PD_LOG_ERROR, "kube", "a pool that another replica made is not understood here",
               "pool", known->name, "err", err.msg, NULL);
        return;
    }
    pd_store_pool_mirror(shared->config.store, spec, PD_KUBE_SOURCE, &known->identity);
    pd_pool_spec_unref(spec);
}

static void take_away(struct pd_kube_shared *shared, const char *name)
{
    const struct pd_pool *pool = pd_store_pool(shared->config.store, name);
    struct pd_err err;

    if (pool && !pool->deleting && strcmp(pool->source, PD_KUBE_SOURCE) == 0 &&
        pd_store_pool_delete(shared->config.store, name, PD_KUBE_SOURCE, &err) < 0)
        pd_log(PD_LOG_ERROR, "kube", "pool not deleted", "pool", name, "err", err.msg, NULL);
}

/* Every replica reads paddock:pools for itself; who its pools are, the leader says. */
static void take_identity(struct pd_kube_shared *shared, const struct known *known)
{
    struct pd_pool *pool = pd_store_pool(shared->config.store, known->name);
    struct pd_pool_identity identity = known->identity;

    if (!pool || pool->deleting || pd_kube_shared_lease(shared) ||
        strncmp(pool->source, "file:", 5) == 0 || strcmp(pool->source, known->source) != 0)
        return;
    identity.deletion_wall_ms = 0;
    pd_store_pool_mirror(shared->config.store, pool->spec, pool->source, &identity);
}

/* ---- both ---- */

void pd_kube_shared_show(struct pd_kube_shared *shared, const struct known *known, bool is_gone,
                         uint64_t version)
{
    if (known->kind == PD_ENTRY_API && !is_gone)
        adopt(shared, known);
    else if (known->kind == PD_ENTRY_API)
        take_away(shared, known->name);
    else if (known->kind == PD_ENTRY_POOL && !is_gone)
        take_identity(shared, known);
    if (shared->on)
        feed_known(shared, known, is_gone, version);
}

static bool is_first_of_pool(const struct pd_kube_shared *shared, const struct known *known)
{
    return known->kind == PD_ENTRY_API || (known->kind == PD_ENTRY_POOL &&
                                           !pd_kube_shared_find(shared, PD_ENTRY_API, known->name));
}

void pd_kube_shared_show_all(struct pd_kube_shared *shared)
{
    shared->on = true;
    shared->on_ms = uv_now(shared->config.loop);
    pd_kube_watch_share(shared->config.watch);
    for (size_t i = 0; i < shared->n_known; i++) {
        const struct known *known = shared->known[i];
        uint64_t version = known->version;
        if (is_first_of_pool(shared, known)) {
            const struct known *status = pd_kube_shared_find(shared, PD_ENTRY_STATUS, known->name);
            if (status && status->version > version)
                version = status->version;
        }
        if (kind_of(known->kind) != PD_KUBE_POOL || is_first_of_pool(shared, known))
            feed_known(shared, known, false, version);
    }
    for (int kind = 0; kind < PD_KUBE_NAMESPACES; kind++)
        pd_kube_cache_feed_end(
            pd_kube_watch_cache(shared->config.watch, (enum pd_kube_kind_id)kind), shared->version,
            false);
}

void pd_kube_shared_show_end(struct pd_kube_shared *shared)
{
    for (int i = 0; i < PD_KUBE_NAMESPACES; i++) {
        enum pd_kube_kind_id kind = (enum pd_kube_kind_id)i;
        if (pd_kube_cache_feed_end(pd_kube_watch_cache(shared->config.watch, kind), shared->version,
                                   true))
            pd_kube_watch_fed(shared->config.watch, kind);
    }
}
