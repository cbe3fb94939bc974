/* Collections. What is in the store is listed by reference and sorted first;
 * objects are made only for the page that was asked for. */
#include <stdlib.h>
#include <string.h>

#include "api/kube_inside.h"
#include "api/kube_object.h"
#include "common/mem.h"
#include "common/time.h"

/* Something that can be made an object. */
struct ref {
    char key[PD_KUBE_NAME_BYTES]; /* what the list is in order of, and a page ends at */
    const struct pd_pool *pool;
    const struct pd_sandbox *sandbox;
    const struct pd_dead_sandbox *dead;
    const struct pd_event *event;
    const struct pd_kube_snapshot *shared; /* among replicas, instead of these */
};

struct refs {
    struct ref *items;
    size_t count, cap;
};

static struct ref *add(struct refs *refs, const char *key)
{
    struct ref *ref;

    if (refs->count == refs->cap) {
        refs->cap = refs->cap ? refs->cap * 2 : 64;
        refs->items = pd_realloc(refs->items, refs->cap, sizeof *refs->items);
    }
    ref = &refs->items[refs->count++];
    *ref = (struct ref){.pool = NULL};
    pd_strcpy(ref->key, sizeof ref->key, key);
    return ref;
}

static void add_members(struct pd_store *store, const struct pd_pool *pool, struct refs *refs)
{
    const char *name = pool->spec->name;
    const struct pd_sandbox *sandbox;
    const struct pd_dead_sandbox *dead;

    for (size_t i = 0; (sandbox = pd_store_sandbox_at(store, name, i)); i++) {
        struct ref *ref = add(refs, sandbox->id);
        ref->pool = pool;
        ref->sandbox = sandbox;
    }
    for (size_t i = 0; (dead = pd_store_dead_at(store, name, i)); i++) {
        struct ref *ref = add(refs, dead->id);
        ref->pool = pool;
        ref->dead = dead;
    }
}

static void add_events(const struct pd_store *store, struct refs *refs)
{
    const struct pd_event *event = pd_events_oldest(pd_store_events(store));

    for (; event; event = pd_events_newer(event)) {
        char key[PD_KUBE_NAME_BYTES];
        snprintf(key, sizeof key, "%020llu", (unsigned long long)event->resource_version);
        add(refs, key)->event = event;
    }
}

/* Among replicas: what Redis has told. */
static void add_shared(struct pd_kube *kube, const struct pd_kube_kind *kind, struct refs *refs)
{
    struct pd_kube_snapshot **all;
    size_t count = pd_kube_cache_all(pd_kube_watch_cache(kube->watch, kind->id), &all);

    for (size_t i = 0; i < count; i++) {
        char key[PD_KUBE_NAME_BYTES];
        if (kind->id == PD_KUBE_EVENT)
            snprintf(key, sizeof key, "%020llu", (unsigned long long)all[i]->version);
        else
            pd_strcpy(key, sizeof key,
                      pd_node_text(pd_node_at(all[i]->node, "metadata", "name", NULL), ""));
        add(refs, key)->shared = all[i];
        pd_kube_snapshot_unref(all[i]); /* the cache's stays while we are here */
    }
    free(all);
}

static bool is_shared(struct pd_kube *kube, const struct pd_kube_kind *kind)
{
    return kind->id < PD_KUBE_NAMESPACES &&
           pd_kube_cache_is_fed(pd_kube_watch_cache(kube->watch, kind->id));
}

static void gather(struct pd_kube *kube, const struct pd_kube_target *target, struct refs *refs)
{
    const struct pd_pool *pool;

    if (is_shared(kube, target->kind)) {
        add_shared(kube, target->kind, refs);
        return;
    }
    if (target->kind->id == PD_KUBE_EVENT) {
        add_events(kube->store, refs);
        return;
    }
    if (target->kind->id == PD_KUBE_NAMESPACES) {
        add(refs, PD_KUBE_NAMESPACE);
        return;
    }
    for (size_t i = 0; (pool = pd_store_pool_at(kube->store, i)); i++) {
        if (target->kind->id == PD_KUBE_SANDBOX)
            add_members(kube->store, pool, refs);
        else
            add(refs, pool->spec->name)->pool = pool;
    }
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct ref *)a)->key, ((const struct ref *)b)->key);
}

static struct pd_node *make(struct pd_kube *kube, const struct ref *ref)
{
    if (ref->shared)
        return pd_node_copy(ref->shared->node);
    if (ref->event)
        return pd_kube_event_object(ref->event);
    if (ref->sandbox)
        return pd_kube_sandbox_object(ref->pool, ref->sandbox);
    if (ref->dead)
        return pd_kube_dead_object(ref->pool, ref->dead);
    if (ref->pool)
        return pd_kube_pool_object(ref->pool,
                                   pd_kube_keep_managed(kube->keep, ref->pool->spec->name));
    return pd_kube_namespace_object();
}

struct pd_node *pd_kube_find(struct pd_kube *kube, const struct pd_kube_target *target)
{
    struct refs refs = {.items = NULL};
    struct pd_node *found = NULL;

    if (*target->namespace && strcmp(target->namespace, PD_KUBE_NAMESPACE) != 0)
        return NULL;
    if (is_shared(kube, target->kind)) {
        const struct pd_kube_snapshot *snapshot =
            pd_kube_cache_get(pd_kube_watch_cache(kube->watch, target->kind->id), target->name);
        return snapshot ? pd_node_copy(snapshot->node) : NULL;
    }
    if (target->kind->id == PD_KUBE_POOL) {
        const struct pd_pool *pool = pd_store_pool(kube->store, target->name);
        return pool ? pd_kube_pool_object(pool, pd_kube_keep_managed(kube->keep, target->name))
                    : NULL;
    }
    gather(kube, target, &refs);
    for (size_t i = 0; i < refs.count && !found; i++) {
        char name[PD_KUBE_NAME_BYTES];
        const char *key =
            refs.items[i].event ? pd_kube_event_name(refs.items[i].event, name) : refs.items[i].key;
        if (strcmp(key, target->name) == 0)
            found = make(kube, &refs.items[i]);
    }
    free(refs.items);
    return found;
}

/* ---- a page ---- */

struct page {
    struct pd_node **objects; /* owned */
    size_t count;
    const char *last; /* key of the last one, where more follow; else NULL */
    size_t remaining; /* told only without selectors */
};

static bool is_chosen(const struct pd_kube_request *request, const struct pd_node *object)
{
    return pd_kube_labels_match(&request->labels, object) &&
           pd_kube_fields_match(&request->fields, object);
}

static void fill(struct pd_kube *kube, const struct pd_kube_request *request,
                 const struct refs *refs, struct page *page)
{
    size_t i = 0;

    while (*request->token && i < refs->count && strcmp(refs->items[i].key, request->token) <= 0)
        i++;
    page->objects = pd_calloc(refs->count - i + 1, sizeof(void *));
    for (; i < refs->count; i++) {
        struct pd_node *object;
        if (request->limit > 0 && page->count == request->limit) {
            page->last = refs->items[i - 1].key;
            page->remaining = refs->count - i;
            return;
        }
        object = make(kube, &refs->items[i]);
        if (is_chosen(request, object))
            page->objects[page->count++] = object;
        else
            pd_node_free(object);
    }
}

static struct pd_node *list_metadata(const struct pd_kube *kube,
                                     const struct pd_kube_request *request, const struct page *page)
{
    char version[PD_KUBE_VERSION_BYTES];
    struct pd_node *metadata = pd_node_map_new();

    pd_node_set_string(metadata, "resourceVersion",
                       pd_kube_version(pd_kube_watch_version(kube->watch), version));
    if (page->last)
        pd_node_set_string(metadata, "continue", page->last);
    if (page->last && request->labels.count + request->fields.count == 0)
        pd_node_set_int(metadata, "remainingItemCount", (int64_t)page->remaining);
    return metadata;
}

static struct pd_node *plain_list(const struct pd_kube_kind *kind, struct page *page,
                                  struct pd_node *metadata)
{
    struct pd_node *node = pd_node_map_new(), *items = pd_node_list_new();

    pd_node_set_string(node, "kind", kind->list_kind);
    pd_node_set_string(node, "apiVersion", kind->api_version);
    pd_node_set(node, "metadata", metadata);
    for (size_t i = 0; i < page->count; i++)
        pd_node_add(items, PD_STEAL(page->objects[i]));
    pd_node_set(node, "items", items);
    return node;
}

void pd_kube_list(struct pd_kube *kube, struct pd_exchange *exchange,
                  const struct pd_kube_request *request)
{
    const struct pd_kube_target *target = &request->target;
    struct refs refs = {.items = NULL};
    struct page page = {.count = 0};
    struct pd_node *metadata;
    pd_autonode struct pd_node *answer = NULL;

    pd_kube_watch_prepare(kube->watch, target->kind);
    if (!*target->namespace || strcmp(target->namespace, PD_KUBE_NAMESPACE) == 0)
        gather(kube, target, &refs);
    if (refs.count > 0)
        qsort(refs.items, refs.count, sizeof *refs.items, by_key);
    fill(kube, request, &refs, &page);
    metadata = list_metadata(kube, request, &page);
    answer = request->table ? pd_kube_table(target->kind, page.objects, page.count, metadata, true,
                                            request->include, pd_wall_ms())
                            : plain_list(target->kind, &page, metadata);
    pd_kube_reply(exchange, 200, answer, NULL);
    for (size_t i = 0; i < page.count; i++)
        pd_node_free(page.objects[i]);
    free(page.objects);
    free(refs.items);
}
