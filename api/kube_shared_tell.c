/* What this replica has to tell. Theory of operation: what the store has is compared
 * with what Redis had last, and what differs is written: nothing is remembered of what
 * was sent, and a write that was lost is made again. Of something whose version in the
 * store has been told, nothing is compared. */
#include <stdlib.h>
#include <string.h>

#include "api/kube_object.h"
#include "api/kube_shared_state.h"
#include "common/log.h"

#define SETTLED_MS 5000  /* one that leads so long has heard of every pool */
#define ADOPTED_MS 30000 /* after its start a replica has found what it had */

/* Whether the store's version of it is told already. */
static bool is_told(const struct known *known, uint64_t local_version)
{
    return known && !known->lost && known->local_version == local_version;
}

/* Takes the entry over. */
static void tell(struct pd_kube_shared *shared, struct batch *batch, struct pd_kube_entry *entry,
                 uint64_t local_version)
{
    struct known *known = pd_kube_shared_find(shared, entry->kind, entry->name);
    char field[PD_KUBE_FIELD_BYTES];
    pd_autobuf struct pd_buf text;
    struct pd_err err;
    size_t len;

    pd_buf_init(&text, PD_KUBE_ENTRY_BYTES_MAX);
    pd_kube_entry_field(entry->kind, entry->name, field);
    if (pd_kube_entry_format(entry, &text, &err) < 0) {
        pd_log(PD_LOG_ERROR, "kube", "an object is too large for the other replicas", "field",
               field, "err", err.msg, NULL);
    } else if (known && known->len == text.len && memcmp(known->text, text.data, text.len) == 0) {
        known->local_version = local_version;
    } else {
        len = text.len;
        pd_kube_shared_batch_add(batch, field, pd_buf_steal(&text), len);
    }
    pd_kube_entry_fini(entry);
}

static void tell_gone(struct batch *batch, const struct known *known)
{
    if (known)
        pd_kube_shared_batch_add(batch, known->field, NULL, 0);
}

/* ---- pools, by the one that leads ---- */

static void tell_pool(struct pd_kube_shared *shared, struct batch *batch,
                      const struct pd_pool *pool)
{
    const char *name = pool->spec->name;
    struct pd_kube_entry entry;

    if (!is_told(pd_kube_shared_find(shared, PD_ENTRY_STATUS, name), pool->resource_version)) {
        pd_kube_entry_of_status(pool, &entry);
        tell(shared, batch, &entry, pool->resource_version);
    }
    if (strcmp(pool->source, PD_KUBE_SOURCE) == 0) {
        tell_gone(batch, pd_kube_shared_find(shared, PD_ENTRY_POOL, name));
        return;
    }
    if (!is_told(pd_kube_shared_find(shared, PD_ENTRY_POOL, name), pool->resource_version)) {
        pd_kube_entry_of_pool(pool, NULL, &entry);
        tell(shared, batch, &entry, pool->resource_version);
    }
}

/* A pool of the API that was deleted, and of which nothing is left anywhere. */
static bool is_drained(const struct pd_kube_shared *shared, const struct known *known)
{
    const struct pd_kube_peers *peers = shared->config.peers;

    return known->kind == PD_ENTRY_API && known->identity.deletion_wall_ms != 0 &&
           peers->others(peers->arg, known->name) == 0;
}

static bool is_over(const struct pd_kube_shared *shared, const struct known *known)
{
    if (known->kind > PD_ENTRY_STATUS || known->lost ||
        pd_store_pool(shared->config.store, known->name))
        return false;
    if (known->kind == PD_ENTRY_STATUS)
        return !pd_kube_shared_find(shared, PD_ENTRY_API, known->name);
    return known->kind == PD_ENTRY_POOL || is_drained(shared, known);
}

static bool is_settled(struct pd_kube_shared *shared)
{
    const char *lease = pd_kube_shared_lease(shared);
    uint64_t now_ms = uv_now(shared->config.loop);

    if (strcmp(shared->led_lease, lease) != 0) {
        pd_strcpy(shared->led_lease, sizeof shared->led_lease, lease);
        shared->led_since_ms = now_ms;
    }
    return now_ms - shared->led_since_ms >= SETTLED_MS;
}

static void tell_pools(struct pd_kube_shared *shared)
{
    const struct pd_pool *pool;
    struct batch batch;

    if (!pd_kube_shared_lease(shared))
        return;
    shared->pools_dirty = false;
    pd_kube_shared_batch(shared, &batch, true);
    for (size_t i = 0; (pool = pd_store_pool_at(shared->config.store, i)); i++) {
        if (batch.n_fields + 2 > PD_KUBE_SHARED_BATCH_MAX || pd_kube_shared_batch_is_full(&batch))
            break;
        tell_pool(shared, &batch, pool);
    }
    if (is_settled(shared))
        for (size_t i = 0; i < shared->n_known && !pd_kube_shared_batch_is_full(&batch); i++)
            if (is_over(shared, shared->known[i]))
                tell_gone(&batch, shared->known[i]);
    pd_kube_shared_batch_send(shared, &batch);
}

/* ---- sandboxes and events ---- */

static void tell_member(struct pd_kube_shared *shared, struct batch *batch,
                        const struct pd_pool *pool, const struct pd_sandbox *sandbox,
                        const struct pd_dead_sandbox *dead)
{
    const char *id = sandbox ? sandbox->id : dead->id;
    uint64_t version = sandbox ? sandbox->resource_version : dead->resource_version;
    struct known *known = pd_kube_shared_find(shared, PD_ENTRY_SANDBOX, id);
    struct pd_kube_entry entry;

    if (known)
        known->pass = shared->pass;
    if (is_told(known, version) || pd_kube_shared_batch_is_full(batch))
        return;
    pd_kube_entry_of_member(
        PD_ENTRY_SANDBOX, id, pool->spec->name, shared->config.peers->instance,
        sandbox ? pd_kube_sandbox_object(pool, sandbox) : pd_kube_dead_object(pool, dead), &entry);
    tell(shared, batch, &entry, version);
}

static void tell_members(struct pd_kube_shared *shared, struct batch *batch)
{
    struct pd_store *store = shared->config.store;
    const struct pd_dead_sandbox *dead;
    const struct pd_sandbox *sandbox;
    const struct pd_pool *pool;

    shared->pass++;
    for (size_t i = 0; (pool = pd_store_pool_at(store, i)); i++) {
        const char *name = pool->spec->name;
        for (size_t j = 0; (sandbox = pd_store_sandbox_at(store, name, j)); j++)
            tell_member(shared, batch, pool, sandbox, NULL);
        for (size_t j = 0; (dead = pd_store_dead_at(store, name, j)); j++)
            tell_member(shared, batch, pool, NULL, dead);
    }
    if (uv_now(shared->config.loop) - shared->opened_ms < ADOPTED_MS)
        return;
    for (size_t i = 0; i < shared->n_known && !pd_kube_shared_batch_is_full(batch); i++) {
        const struct known *known = shared->known[i];
        if (known->kind == PD_ENTRY_SANDBOX && known->pass != shared->pass &&
            strcmp(known->owner, shared->config.peers->instance) == 0)
            tell_gone(batch, known);
    }
}

static void tell_events(struct pd_kube_shared *shared, struct batch *batch)
{
    const struct pd_event *event = pd_events_newest(pd_store_events(shared->config.store));
    struct pd_kube_entry entry;
    char name[PD_KUBE_NAME_BYTES];

    for (; event && !pd_kube_shared_batch_is_full(batch); event = pd_events_older(event)) {
        pd_kube_event_name(event, name);
        if (is_told(pd_kube_shared_find(shared, PD_ENTRY_EVENT, name), event->resource_version))
            continue;
        if (pd_wall_ms() - event->last_wall_ms > PD_KUBE_SHARED_EVENT_AGE_MS)
            return;
        pd_kube_entry_of_member(PD_ENTRY_EVENT, name, event->pool, shared->config.peers->instance,
                                pd_kube_event_object(event), &entry);
        tell(shared, batch, &entry, event->resource_version);
    }
}

static void tell_own(struct pd_kube_shared *shared)
{
    uint64_t now_ms = uv_now(shared->config.loop);
    struct batch batch;

    if (now_ms - shared->members_ms < PD_KUBE_SHARED_EVENTS_MS)
        return;
    shared->members_ms = now_ms;
    shared->members_dirty = false;
    pd_kube_shared_batch(shared, &batch, false);
    tell_events(shared, &batch);
    tell_members(shared, &batch);
    pd_kube_shared_batch_send(shared, &batch);
}

/* ---- pools that were kept in the database ---- */

struct import {
    struct pd_kube_shared *shared;
    char name[PD_POOL_NAME_MAX];
};

static void on_imported(void *arg, const struct pd_err *err, uint64_t version)
{
    struct import *import = arg;

    (void)version;
    import->shared->importing = false;
    if (!err)
        pd_log(PD_LOG_INFO, "kube", "a pool of the API is in Redis from now on", "pool",
               import->name, NULL);
    free(import);
}

static void import_pool(struct pd_kube_shared *shared, const struct pd_pool *pool)
{
    struct import *import = PD_NEW(struct import);
    struct pd_kube_entry entry;
    struct pd_err err;

    import->shared = shared;
    pd_strcpy(import->name, sizeof import->name, pool->spec->name);
    pd_kube_entry_of_pool(pool, pd_kube_keep_managed(shared->config.keep, pool->spec->name),
                          &entry);
    shared->importing = pd_kube_shared_put(shared, &entry, 0, on_imported, import, &err) == 0;
    if (!shared->importing)
        free(import);
    pd_kube_entry_fini(&entry);
}

/* One at a time; what Redis has then is forgotten here. */
static void import_next(struct pd_kube_shared *shared)
{
    const struct pd_pool *pool;

    for (size_t i = 0; !shared->importing && (pool = pd_store_pool_at(shared->config.store, i));
         i++) {
        const char *name = pool->spec->name;
        if (!pd_kube_keep_has(shared->config.keep, name))
            continue;
        if (pd_kube_shared_find(shared, PD_ENTRY_API, name))
            pd_kube_keep_forget(shared->config.keep, name);
        else if (!pd_kube_shared_find(shared, PD_ENTRY_POOL, name))
            import_pool(shared, pool);
    }
}

/* ---- all of it ---- */

void pd_kube_shared_tell(struct pd_kube_shared *shared)
{
    if (!shared->on || shared->closing || !shared->hash_key)
        return;
    import_next(shared);
    if (!shared->writing && shared->pools_dirty)
        tell_pools(shared);
    if (!shared->writing && shared->members_dirty)
        tell_own(shared);
}

/* ---- what nobody else takes away ---- */

static int newest_first(const void *a, const void *b)
{
    uint64_t version_a = (*(struct known *const *)a)->version;
    uint64_t version_b = (*(struct known *const *)b)->version;

    return version_a > version_b ? -1 : version_a < version_b;
}

/* Too old, or one too many of its pool or of all. */
static void clean_events(struct pd_kube_shared *shared, struct batch *batch)
{
    int64_t oldest_us = (pd_wall_ms() - PD_KUBE_SHARED_EVENT_AGE_MS) * 1000;
    const struct known **events = pd_calloc(shared->n_known + 1, sizeof(void *));
    size_t count = 0, *counts;
    struct pd_strmap pools = {.count = 0};

    for (size_t i = 0; i < shared->n_known; i++)
        if (shared->known[i]->kind == PD_ENTRY_EVENT)
            events[count++] = shared->known[i];
    if (count > 0)
        qsort(events, count, sizeof(void *), newest_first);
    counts = pd_calloc(count + 1, sizeof *counts);
    for (size_t i = 0; i < count && !pd_kube_shared_batch_is_full(batch); i++) {
        size_t *of_pool = pd_strmap_get(&pools, events[i]->pool);
        if (!of_pool) {
            of_pool = &counts[i];
            pd_strmap_add(&pools, events[i]->pool, of_pool);
        }
        if (++*of_pool > PD_EVENTS_OF_POOL_MAX || i >= PD_EVENTS_MAX ||
            (int64_t)events[i]->version < oldest_us)
            tell_gone(batch, events[i]);
    }
    pd_strmap_fini(&pools);
    free(counts);
    free(events);
}

void pd_kube_shared_clean(struct pd_kube_shared *shared)
{
    const struct pd_kube_peers *peers = shared->config.peers;
    struct batch batch;

    if (shared->writing || !shared->on || !pd_kube_shared_lease(shared) || !is_settled(shared))
        return;
    pd_kube_shared_batch(shared, &batch, true);
    clean_events(shared, &batch);
    for (size_t i = 0; i < shared->n_known && !pd_kube_shared_batch_is_full(&batch); i++) {
        const struct known *known = shared->known[i];
        if (known->kind == PD_ENTRY_SANDBOX && !peers->is_live(peers->arg, known->owner))
            tell_gone(&batch, known);
    }
    pd_kube_shared_batch_send(shared, &batch);
}
