#include "api/kube_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/kube_object.h"
#include "common/mem.h"
#include "common/strmap.h"
#include "common/time.h"

/* An object that was there at the last look. */
struct known {
    char name[PD_KUBE_NAME_BYTES];
    struct pd_kube_snapshot *snapshot;
    struct group *group;
    struct known *next, *prev; /* in its group */
    uint64_t seen;             /* at which look */
};

/* What belongs to one pool, and is looked at together. */
struct group {
    char pool[PD_POOL_NAME_MAX];
    struct known *members;
    bool marked;
    struct group *next_marked;
};

struct pd_kube_cache {
    enum pd_kube_kind_id kind;
    struct pd_store *store;
    struct pd_kube_keep *keep;
    bool on;
    bool fed;
    uint64_t fed_version; /* up to which it was told */
    uint64_t looks;
    struct pd_strmap known;  /* by name */
    struct pd_strmap groups; /* by pool */
    struct group *marked;
    struct pd_kube_change *fresh; /* of one look, before they are put in order */
    size_t n_fresh, cap_fresh;
    struct pd_kube_change ring[PD_KUBE_CHANGES_MAX];
    uint64_t end;   /* position behind the newest */
    uint64_t floor; /* changes up to this version are not all there */
};

/* ---- snapshots ---- */

struct pd_kube_snapshot *pd_kube_snapshot_ref(struct pd_kube_snapshot *snapshot)
{
    if (snapshot)
        snapshot->refs++;
    return snapshot;
}

void pd_kube_snapshot_unref(struct pd_kube_snapshot *snapshot)
{
    if (!snapshot || --snapshot->refs > 0)
        return;
    pd_node_free(snapshot->node);
    free(snapshot);
}

static struct pd_kube_snapshot *snapshot_new(struct pd_node *node, uint64_t version)
{
    struct pd_kube_snapshot *snapshot = PD_NEW(struct pd_kube_snapshot);

    snapshot->node = node;
    snapshot->version = version;
    snapshot->refs = 1;
    return snapshot;
}

/* ---- changes ---- */

static void change_fini(struct pd_kube_change *change)
{
    pd_kube_snapshot_unref(change->before);
    pd_kube_snapshot_unref(change->after);
    *change = (struct pd_kube_change){.version = 0};
}

/* Takes both references over. */
static void add_fresh(struct pd_kube_cache *cache, uint64_t version,
                      struct pd_kube_snapshot *before, struct pd_kube_snapshot *after)
{
    if (cache->n_fresh == cache->cap_fresh) {
        cache->cap_fresh = cache->cap_fresh ? cache->cap_fresh * 2 : 16;
        cache->fresh = pd_realloc(cache->fresh, cache->cap_fresh, sizeof *cache->fresh);
    }
    cache->fresh[cache->n_fresh++] = (struct pd_kube_change){version, before, after};
}

static int by_version(const void *a, const void *b)
{
    uint64_t version_a = ((const struct pd_kube_change *)a)->version;
    uint64_t version_b = ((const struct pd_kube_change *)b)->version;

    return version_a < version_b ? -1 : version_a > version_b;
}

static void commit_fresh(struct pd_kube_cache *cache)
{
    if (cache->n_fresh > 1)
        qsort(cache->fresh, cache->n_fresh, sizeof *cache->fresh, by_version);
    for (size_t i = 0; i < cache->n_fresh; i++) {
        struct pd_kube_change *slot = &cache->ring[cache->end % PD_KUBE_CHANGES_MAX];
        if (cache->end >= PD_KUBE_CHANGES_MAX)
            cache->floor = slot->version;
        change_fini(slot);
        *slot = cache->fresh[i];
        cache->end++;
    }
    cache->n_fresh = 0;
}

/* ---- one object ---- */

static struct known *known_add(struct pd_kube_cache *cache, struct group *group, const char *name)
{
    struct known *known = PD_NEW(struct known);

    pd_strcpy(known->name, sizeof known->name, name);
    known->group = group;
    known->next = group->members;
    if (known->next)
        known->next->prev = known;
    group->members = known;
    pd_strmap_add(&cache->known, known->name, known);
    return known;
}

static void known_remove(struct pd_kube_cache *cache, struct known *known)
{
    if (known->prev)
        known->prev->next = known->next;
    else
        known->group->members = known->next;
    if (known->next)
        known->next->prev = known->prev;
    pd_strmap_remove(&cache->known, known->name);
    pd_kube_snapshot_unref(known->snapshot);
    free(known);
}

/* It is there, in this version. True when that is news: then its object must be
 * given to `took`. */
static bool sight(struct pd_kube_cache *cache, struct group *group, const char *name,
                  uint64_t version, struct known **ret_known)
{
    struct known *known = pd_strmap_get(&cache->known, name);

    if (!known)
        known = known_add(cache, group, name);
    known->seen = cache->looks;
    *ret_known = known;
    return !known->snapshot || known->snapshot->version != version;
}

static void took(struct pd_kube_cache *cache, struct known *known, struct pd_node *node,
                 uint64_t version)
{
    struct pd_kube_snapshot *before = known->snapshot;

    known->snapshot = snapshot_new(node, version);
    add_fresh(cache, version, before, pd_kube_snapshot_ref(known->snapshot));
}

/* ---- one group ---- */

static void look_at_pool(struct pd_kube_cache *cache, struct group *group)
{
    const struct pd_pool *pool = pd_store_pool(cache->store, group->pool);
    struct known *known;

    if (pool && sight(cache, group, pool->spec->name, pool->resource_version, &known))
        took(cache, known,
             pd_kube_pool_object(pool, pd_kube_keep_managed(cache->keep, pool->spec->name)),
             pool->resource_version);
}

static void look_at_members(struct pd_kube_cache *cache, struct group *group)
{
    const struct pd_pool *pool = pd_store_pool(cache->store, group->pool);
    const struct pd_sandbox *sandbox;
    const struct pd_dead_sandbox *dead;
    struct known *known;

    if (!pool)
        return;
    for (size_t i = 0; (sandbox = pd_store_sandbox_at(cache->store, group->pool, i)); i++) {
        if (sight(cache, group, sandbox->id, sandbox->resource_version, &known))
            took(cache, known, pd_kube_sandbox_object(pool, sandbox), sandbox->resource_version);
    }
    for (size_t i = 0; (dead = pd_store_dead_at(cache->store, group->pool, i)); i++) {
        if (sight(cache, group, dead->id, dead->resource_version, &known))
            took(cache, known, pd_kube_dead_object(pool, dead), dead->resource_version);
    }
}

static void look_at_events(struct pd_kube_cache *cache, struct group *group)
{
    const struct pd_event *event = pd_events_oldest(pd_store_events(cache->store));
    char name[PD_KUBE_NAME_BYTES];
    struct known *known;

    for (; event; event = pd_events_newer(event)) {
        pd_kube_event_name(event, name);
        if (sight(cache, group, name, event->resource_version, &known))
            took(cache, known, pd_kube_event_object(event), event->resource_version);
    }
}

static void sweep(struct pd_kube_cache *cache, struct group *group)
{
    struct known *next;

    for (struct known *known = group->members; known; known = next) {
        next = known->next;
        if (known->seen == cache->looks)
            continue;
        add_fresh(cache, pd_store_resource_version(cache->store),
                  pd_kube_snapshot_ref(known->snapshot), NULL);
        known_remove(cache, known);
    }
}

static void look_at(struct pd_kube_cache *cache, struct group *group)
{
    cache->looks++;
    switch (cache->kind) {
    case PD_KUBE_POOL:
        look_at_pool(cache, group);
        break;
    case PD_KUBE_SANDBOX:
        look_at_members(cache, group);
        break;
    case PD_KUBE_EVENT:
        look_at_events(cache, group);
        break;
    case PD_KUBE_NAMESPACES:
    case PD_KUBE_KINDS:
        break;
    }
    sweep(cache, group);
}

/* ---- looking ---- */

void pd_kube_cache_mark(struct pd_kube_cache *cache, const char *pool)
{
    const char *name = cache->kind == PD_KUBE_EVENT ? "" : pool;
    struct group *group;

    if (!cache->on || cache->fed)
        return;
    group = pd_strmap_get(&cache->groups, name);
    if (!group) {
        group = PD_NEW(struct group);
        pd_strcpy(group->pool, sizeof group->pool, name);
        pd_strmap_add(&cache->groups, group->pool, group);
    }
    if (group->marked)
        return;
    group->marked = true;
    group->next_marked = cache->marked;
    cache->marked = group;
}

bool pd_kube_cache_look(struct pd_kube_cache *cache)
{
    struct group *group;
    bool changed;

    while ((group = cache->marked)) {
        cache->marked = group->next_marked;
        group->marked = false;
        look_at(cache, group);
        if (!group->members) {
            pd_strmap_remove(&cache->groups, group->pool);
            free(group);
        }
    }
    changed = cache->n_fresh > 0;
    commit_fresh(cache);
    return changed;
}

/* ---- on and off ---- */

struct pd_kube_cache *pd_kube_cache_new(enum pd_kube_kind_id kind, struct pd_store *store,
                                        struct pd_kube_keep *keep)
{
    struct pd_kube_cache *cache = PD_NEW(struct pd_kube_cache);

    cache->kind = kind;
    cache->store = store;
    cache->keep = keep;
    return cache;
}

bool pd_kube_cache_is_on(const struct pd_kube_cache *cache)
{
    return cache->on;
}

static void forget_changes(struct pd_kube_cache *cache)
{
    for (size_t i = 0; i < PD_KUBE_CHANGES_MAX; i++)
        change_fini(&cache->ring[i]);
    cache->end = 0;
    cache->floor = pd_kube_cache_version(cache);
}

void pd_kube_cache_turn_on(struct pd_kube_cache *cache)
{
    const struct pd_pool *pool;

    if (cache->on)
        return;
    cache->on = true;
    if (cache->kind == PD_KUBE_EVENT)
        pd_kube_cache_mark(cache, "");
    for (size_t i = 0; (pool = pd_store_pool_at(cache->store, i)); i++)
        pd_kube_cache_mark(cache, pool->spec->name);
    pd_kube_cache_look(cache);
    forget_changes(cache); /* what there is is no change */
}

void pd_kube_cache_turn_off(struct pd_kube_cache *cache)
{
    struct known *known;
    struct group *group;

    while ((known = pd_strmap_any(&cache->known)))
        known_remove(cache, known);
    while ((group = pd_strmap_any(&cache->groups))) {
        pd_strmap_remove(&cache->groups, group->pool);
        free(group);
    }
    cache->marked = NULL;
    forget_changes(cache);
    cache->on = cache->fed = false;
}

/* ---- being told ---- */

void pd_kube_cache_feed_begin(struct pd_kube_cache *cache)
{
    pd_kube_cache_turn_off(cache);
    cache->on = cache->fed = true;
}

static struct group *only_group(struct pd_kube_cache *cache)
{
    struct group *group = pd_strmap_get(&cache->groups, "");

    if (!group) {
        group = PD_NEW(struct group);
        pd_strmap_add(&cache->groups, group->pool, group);
    }
    return group;
}

void pd_kube_cache_feed(struct pd_kube_cache *cache, const char *name, struct pd_node *node,
                        uint64_t version)
{
    struct known *known = pd_strmap_get(&cache->known, name);

    if (!node && !known)
        return;
    if (!node) {
        add_fresh(cache, version, pd_kube_snapshot_ref(known->snapshot), NULL);
        known_remove(cache, known);
        return;
    }
    if (!known)
        known = known_add(cache, only_group(cache), name);
    took(cache, known, node, version);
}

bool pd_kube_cache_feed_end(struct pd_kube_cache *cache, uint64_t version, bool is_news)
{
    bool changed = cache->n_fresh > 0;

    cache->fed_version = version;
    commit_fresh(cache);
    if (!is_news)
        forget_changes(cache);
    return changed;
}

uint64_t pd_kube_cache_version(const struct pd_kube_cache *cache)
{
    return cache->fed ? cache->fed_version : pd_store_resource_version(cache->store);
}

const struct pd_kube_snapshot *pd_kube_cache_get(const struct pd_kube_cache *cache,
                                                 const char *name)
{
    const struct known *known = pd_strmap_get(&cache->known, name);

    return known ? known->snapshot : NULL;
}

bool pd_kube_cache_is_fed(const struct pd_kube_cache *cache)
{
    return cache->fed;
}

void pd_kube_cache_free(struct pd_kube_cache *cache)
{
    if (!cache)
        return;
    pd_kube_cache_turn_off(cache);
    pd_strmap_fini(&cache->known);
    pd_strmap_fini(&cache->groups);
    free(cache->fresh);
    free(cache);
}

/* ---- reading ---- */

uint64_t pd_kube_cache_oldest(const struct pd_kube_cache *cache)
{
    return cache->end > PD_KUBE_CHANGES_MAX ? cache->end - PD_KUBE_CHANGES_MAX : 0;
}

uint64_t pd_kube_cache_end(const struct pd_kube_cache *cache)
{
    return cache->end;
}

const struct pd_kube_change *pd_kube_cache_at(const struct pd_kube_cache *cache, uint64_t position)
{
    assert(position >= pd_kube_cache_oldest(cache) && position < cache->end);
    return &cache->ring[position % PD_KUBE_CHANGES_MAX];
}

/* Nothing may have happened for long, as far as is known here: what another replica has
 * given out since is of its time. */
static uint64_t newest_plausible(const struct pd_kube_cache *cache)
{
    uint64_t known = pd_kube_cache_version(cache), now_us = (uint64_t)pd_wall_ms() * 1000;

    if (!cache->fed)
        return known;
    return (known > now_us ? known : now_us) + PD_KUBE_AHEAD_US;
}

bool pd_kube_cache_find(const struct pd_kube_cache *cache, uint64_t version, uint64_t *ret_position)
{
    uint64_t position = cache->end;

    if (version < cache->floor || version > newest_plausible(cache))
        return false;
    while (position > pd_kube_cache_oldest(cache) &&
           pd_kube_cache_at(cache, position - 1)->version > version)
        position--;
    *ret_position = position;
    return true;
}

size_t pd_kube_cache_all(const struct pd_kube_cache *cache, struct pd_kube_snapshot ***ret_list)
{
    size_t count = 0;

    *ret_list = pd_calloc(cache->known.count + 1, sizeof **ret_list);
    for (size_t i = 0; i < cache->known.capacity; i++) {
        const struct pd_strmap_slot *slot = &cache->known.slots[i];
        if (slot->key && slot->value)
            (*ret_list)[count++] = pd_kube_snapshot_ref(((struct known *)slot->value)->snapshot);
    }
    return count;
}
