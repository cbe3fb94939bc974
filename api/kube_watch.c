/* Theory of operation.
 *
 * The store says which pools have changed. Their names are marked in the caches
 * that are on, and a timer looks at them a little later, so that many changes
 * to one object cost one. Each watcher has a position in its cache's changes and
 * pulls from there: after a look, and when its socket has room again. What
 * happens to an object is told as its selectors see it: one that begins to match
 * is ADDED, one that no longer does DELETED.
 *
 * A watcher whose position is gone has been too slow and is told so (410). */
#include "api/kube_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/kube_answer.h"
#include "api/kube_cache.h"
#include "api/kube_object.h"
#include "api/ring.h"
#include "api/server.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/time.h"

#define TICK_MS 1000
#define WATCHED PD_KUBE_NAMESPACES /* how many kinds can be watched: those before */

struct watcher {
    struct pd_kube_watch *watch;
    struct pd_ring in_list;
    struct pd_exchange *exchange;
    struct pd_kube_cache *cache;
    struct pd_kube_request request;    /* selectors and all */
    struct pd_kube_snapshot **initial; /* still to be told; owned */
    size_t n_initial, at_initial;
    bool mark_initial; /* a bookmark says where they end */
    uint64_t position;
    uint64_t since;        /* changes up to this version are known to it */
    uint64_t sent_version; /* of the newest object or bookmark that was sent */
    bool columns_sent;
    bool blocked;                  /* its socket is full */
    uint64_t ends_ms, bookmark_ms; /* on the loop's clock */
};

struct pd_kube_watch {
    uv_loop_t *loop;
    struct pd_store *store;
    struct pd_kube_cache *caches[WATCHED];
    uint64_t used_ms[WATCHED];
    struct pd_ring watchers;
    size_t count;
    uv_timer_t gather, tick;
    unsigned open_timers;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- a watcher's end ---- */

static void watcher_free(struct watcher *watcher)
{
    pd_ring_remove(&watcher->in_list);
    watcher->watch->count--;
    for (size_t i = watcher->at_initial; i < watcher->n_initial; i++)
        pd_kube_snapshot_unref(watcher->initial[i]);
    free(watcher->initial);
    pd_kube_request_fini(&watcher->request);
    free(watcher);
}

static void on_gone(void *arg)
{
    watcher_free(arg);
}

static void end(struct watcher *watcher)
{
    struct pd_exchange *exchange = watcher->exchange;

    watcher_free(watcher);
    pd_exchange_end(exchange);
}

/* ---- telling ---- */

/* One line; the object is taken over. False: the watch is over. */
static bool tell(struct watcher *watcher, const char *type, struct pd_node *object)
{
    pd_autonode struct pd_node *node = pd_node_map_new();
    struct pd_buf line;
    bool fits;

    pd_node_append(node, "type", pd_node_string_new(type));
    pd_node_append(node, "object", object);
    pd_buf_init(&line, PD_SEND_PIECE_MAX);
    fits = pd_json_format(node, &line, NULL) == 0 && pd_buf_add(&line, "\n", 1, NULL) == 0;
    if (fits)
        watcher->blocked = !pd_exchange_send(watcher->exchange, line.data, line.len);
    pd_buf_fini(&line);
    if (!fits) {
        pd_log(PD_LOG_WARN, "kube", "an object is too large for a watch, which is ended", NULL);
        end(watcher);
    }
    return fits;
}

static void fail(struct watcher *watcher, const char *message)
{
    const struct pd_kube_refusal refusal = {.status = 410};

    if (tell(watcher, "ERROR", pd_kube_status_node(&refusal, message)))
        end(watcher);
}

static struct pd_node *version_metadata(uint64_t version)
{
    char text[PD_KUBE_VERSION_BYTES];
    struct pd_node *metadata = pd_node_map_new();

    pd_node_set_string(metadata, "resourceVersion", pd_kube_version(version, text));
    return metadata;
}

static struct pd_node *as_table(struct watcher *watcher, struct pd_node *object, uint64_t version)
{
    bool columns = !watcher->columns_sent;

    watcher->columns_sent = true;
    return pd_kube_table(watcher->request.target.kind, &object, object ? 1 : 0,
                         version_metadata(version), columns, watcher->request.include,
                         pd_wall_ms());
}

static bool tell_object(struct watcher *watcher, const char *type,
                        const struct pd_kube_snapshot *snapshot, uint64_t version)
{
    pd_autonode struct pd_node *dated = NULL;
    struct pd_node *object = snapshot->node;

    watcher->sent_version = version;
    if (version != snapshot->version) { /* it went, which is later than its last change */
        char text[PD_KUBE_VERSION_BYTES];
        dated = object = pd_node_copy(snapshot->node);
        pd_node_set_string(pd_node_get(dated, "metadata"), "resourceVersion",
                           pd_kube_version(version, text));
    }
    return tell(watcher, type,
                watcher->request.table ? as_table(watcher, object, version) : pd_node_copy(object));
}

static bool tell_bookmark(struct watcher *watcher, uint64_t version, bool ends_initial)
{
    struct pd_node *object, *metadata;

    watcher->sent_version = version;
    if (watcher->request.table)
        return tell(watcher, "BOOKMARK", as_table(watcher, NULL, version));
    object = pd_node_map_new();
    metadata = version_metadata(version);
    pd_node_set_string(object, "kind", watcher->request.target.kind->kind);
    pd_node_set_string(object, "apiVersion", watcher->request.target.kind->api_version);
    pd_node_set(metadata, "creationTimestamp", pd_node_null_new());
    if (ends_initial) {
        struct pd_node *annotations = pd_node_map_new();
        pd_node_set_string(annotations, "k8s.io/initial-events-end", "true");
        pd_node_set(metadata, "annotations", annotations);
    }
    pd_node_set(object, "metadata", metadata);
    return tell(watcher, "BOOKMARK", object);
}

/* ---- pulling ---- */

static bool matches(const struct watcher *watcher, const struct pd_kube_snapshot *snapshot)
{
    const struct pd_kube_target *target = &watcher->request.target;

    return snapshot && (!*target->namespace || strcmp(target->namespace, PD_KUBE_NAMESPACE) == 0) &&
           pd_kube_labels_match(&watcher->request.labels, snapshot->node) &&
           pd_kube_fields_match(&watcher->request.fields, snapshot->node);
}

static bool pull_initial(struct watcher *watcher)
{
    while (watcher->at_initial < watcher->n_initial && !watcher->blocked) {
        struct pd_kube_snapshot *snapshot = watcher->initial[watcher->at_initial++];
        bool alive = !matches(watcher, snapshot) ||
                     tell_object(watcher, "ADDED", snapshot, snapshot->version);
        pd_kube_snapshot_unref(snapshot);
        if (!alive)
            return false;
    }
    if (watcher->at_initial < watcher->n_initial || watcher->blocked || !watcher->mark_initial)
        return true;
    watcher->mark_initial = false;
    return tell_bookmark(watcher, pd_kube_watch_version(watcher->watch), true);
}

static bool pull_change(struct watcher *watcher, const struct pd_kube_change *change)
{
    bool before = matches(watcher, change->before), after = matches(watcher, change->after);

    if (change->version <= watcher->since) /* another replica has told it already */
        return true;
    if (after)
        return tell_object(watcher, before ? "MODIFIED" : "ADDED", change->after, change->version);
    return !before || tell_object(watcher, "DELETED", change->before, change->version);
}

/* As much as the socket takes. */
static void pull(struct watcher *watcher)
{
    if (!pull_initial(watcher) || watcher->at_initial < watcher->n_initial)
        return;
    while (!watcher->blocked && watcher->position < pd_kube_cache_end(watcher->cache)) {
        if (watcher->position < pd_kube_cache_oldest(watcher->cache)) {
            fail(watcher, "too slow: changes were missed; list again");
            return;
        }
        if (!pull_change(watcher, pd_kube_cache_at(watcher->cache, watcher->position++)))
            return;
    }
}

static void on_writable(void *arg)
{
    struct watcher *watcher = arg;

    watcher->blocked = false;
    pull(watcher);
}

static void pull_all(struct pd_kube_watch *watch, const struct pd_kube_cache *cache)
{
    struct pd_ring *next;

    for (struct pd_ring *at = watch->watchers.next; at != &watch->watchers; at = next) {
        struct watcher *watcher = PD_CONTAINER_OF(at, struct watcher, in_list);
        next = at->next;
        if (watcher->cache == cache && !watcher->blocked)
            pull(watcher);
    }
}

/* ---- looking ---- */

static void look(struct pd_kube_watch *watch)
{
    for (size_t i = 0; i < WATCHED; i++) {
        if (pd_kube_cache_look(watch->caches[i]))
            pull_all(watch, watch->caches[i]);
    }
}

static void on_gather(uv_timer_t *timer)
{
    look(timer->data);
}

static void gather_soon(struct pd_kube_watch *watch)
{
    if (!uv_is_active((uv_handle_t *)&watch->gather))
        uv_timer_start(&watch->gather, on_gather, PD_KUBE_WATCH_GATHER_MS, 0);
}

static void on_pool(void *arg, const char *pool)
{
    struct pd_kube_watch *watch = arg;

    if (!pd_kube_cache_is_on(watch->caches[PD_KUBE_POOL]) &&
        !pd_kube_cache_is_on(watch->caches[PD_KUBE_SANDBOX]))
        return;
    pd_kube_cache_mark(watch->caches[PD_KUBE_POOL], pool);
    pd_kube_cache_mark(watch->caches[PD_KUBE_SANDBOX], pool);
    gather_soon(watch);
}

static void on_events(void *arg)
{
    struct pd_kube_watch *watch = arg;

    if (!pd_kube_cache_is_on(watch->caches[PD_KUBE_EVENT]))
        return;
    pd_kube_cache_mark(watch->caches[PD_KUBE_EVENT], "");
    gather_soon(watch);
}

/* ---- time ---- */

static void look_at_clock(struct watcher *watcher, uint64_t now_ms)
{
    uint64_t version = pd_kube_watch_version(watcher->watch);
    bool over = now_ms >= watcher->ends_ms;
    bool all_told = !watcher->blocked && watcher->at_initial == watcher->n_initial &&
                    watcher->position == pd_kube_cache_end(watcher->cache);

    if (watcher->request.bookmarks && all_told && version > watcher->sent_version &&
        (over || now_ms >= watcher->bookmark_ms)) {
        watcher->bookmark_ms = now_ms + PD_KUBE_WATCH_BOOKMARK_MS;
        if (!tell_bookmark(watcher, version, false))
            return;
    }
    if (over)
        end(watcher);
}

static void turn_off_idle(struct pd_kube_watch *watch, uint64_t now_ms)
{
    for (struct pd_ring *at = watch->watchers.next; at != &watch->watchers; at = at->next) {
        const struct watcher *watcher = PD_CONTAINER_OF(at, struct watcher, in_list);
        watch->used_ms[watcher->request.target.kind->id] = now_ms;
    }
    for (size_t i = 0; i < WATCHED; i++) {
        if (pd_kube_cache_is_on(watch->caches[i]) && !pd_kube_cache_is_fed(watch->caches[i]) &&
            now_ms - watch->used_ms[i] >= PD_KUBE_WATCH_IDLE_MS)
            pd_kube_cache_turn_off(watch->caches[i]);
    }
}

/* Whether time matters to anybody. */
static bool any_on(const struct pd_kube_watch *watch)
{
    for (size_t i = 0; i < WATCHED; i++) {
        if (pd_kube_cache_is_on(watch->caches[i]) && !pd_kube_cache_is_fed(watch->caches[i]))
            return true;
    }
    return watch->count > 0;
}

static void on_tick(uv_timer_t *timer)
{
    struct pd_kube_watch *watch = timer->data;
    uint64_t now_ms = uv_now(watch->loop);
    struct pd_ring *next;

    look(watch); /* a bookmark must not overtake a change */
    for (struct pd_ring *at = watch->watchers.next; at != &watch->watchers; at = next) {
        next = at->next;
        look_at_clock(PD_CONTAINER_OF(at, struct watcher, in_list), now_ms);
    }
    turn_off_idle(watch, now_ms);
    if (!any_on(watch))
        uv_timer_stop(&watch->tick);
}

/* ---- among replicas ---- */

void pd_kube_watch_share(struct pd_kube_watch *watch)
{
    while (!pd_ring_is_empty(&watch->watchers))
        fail(PD_CONTAINER_OF(watch->watchers.next, struct watcher, in_list),
             "versions are those of all replicas from now on: list again");
    for (size_t i = 0; i < WATCHED; i++)
        pd_kube_cache_feed_begin(watch->caches[i]);
}

struct pd_kube_cache *pd_kube_watch_cache(struct pd_kube_watch *watch, enum pd_kube_kind_id kind)
{
    return watch->caches[kind];
}

void pd_kube_watch_fed(struct pd_kube_watch *watch, enum pd_kube_kind_id kind)
{
    pull_all(watch, watch->caches[kind]);
}

uint64_t pd_kube_watch_version(const struct pd_kube_watch *watch)
{
    return pd_kube_cache_version(watch->caches[PD_KUBE_POOL]);
}

/* ---- beginning ---- */

void pd_kube_watch_prepare(struct pd_kube_watch *watch, const struct pd_kube_kind *kind)
{
    if (kind->id >= WATCHED)
        return;
    watch->used_ms[kind->id] = uv_now(watch->loop);
    pd_kube_cache_turn_on(watch->caches[kind->id]);
    if (!uv_is_active((uv_handle_t *)&watch->tick))
        uv_timer_start(&watch->tick, on_tick, TICK_MS, TICK_MS);
    look(watch);
}

static uint64_t duration_ms(const struct pd_kube_request *request)
{
    int seconds = request->timeout_s > 0
                      ? request->timeout_s
                      : PD_KUBE_WATCH_DEFAULT_S + (int)(random() % PD_KUBE_WATCH_DEFAULT_S);

    return (uint64_t)seconds * 1000;
}

static void on_drain(void *arg)
{
    end(arg);
}

static struct watcher *watcher_new(struct pd_kube_watch *watch, struct pd_exchange *exchange,
                                   struct pd_kube_request *request)
{
    struct watcher *watcher = PD_NEW(struct watcher);

    watcher->watch = watch;
    watcher->exchange = exchange;
    watcher->cache = watch->caches[request->target.kind->id];
    watcher->request = *request;
    request->labels.count = request->fields.count = 0; /* taken over */
    watcher->position = pd_kube_cache_end(watcher->cache);
    watcher->ends_ms = uv_now(watch->loop) + duration_ms(&watcher->request);
    watcher->bookmark_ms = uv_now(watch->loop) + PD_KUBE_WATCH_BOOKMARK_MS;
    pd_ring_append(&watch->watchers, &watcher->in_list);
    watch->count++;
    pd_exchange_on_gone(exchange, on_gone, watcher);
    pd_exchange_begin(exchange, 200, "application/json", NULL);
    pd_exchange_on_writable(exchange, on_writable, watcher);
    pd_exchange_on_drain(exchange, on_drain, watcher);
    return watcher;
}

/* Where to begin: false when that is not there any more. */
static bool find_start(struct watcher *watcher)
{
    const char *since = watcher->request.since;
    char *rest;
    uint64_t version = strtoull(since, &rest, 10);

    if (!*since || strcmp(since, "0") == 0 || watcher->request.initial_events) {
        watcher->n_initial = pd_kube_cache_all(watcher->cache, &watcher->initial);
        watcher->mark_initial = watcher->request.initial_events;
        return true;
    }
    watcher->since = watcher->sent_version = version;
    return !*rest && pd_kube_cache_find(watcher->cache, version, &watcher->position);
}

void pd_kube_watch_begin(struct pd_kube_watch *watch, struct pd_exchange *exchange,
                         struct pd_kube_request *request)
{
    const struct pd_kube_kind *kind = request->target.kind;
    struct watcher *watcher;

    if (kind->id >= WATCHED) {
        pd_kube_refuse(exchange, &(struct pd_kube_refusal){.status = 405, .kind = kind},
                       "%s cannot be watched", kind->plural);
        return;
    }
    if (watch->count >= PD_KUBE_WATCHERS_MAX) {
        pd_kube_refuse(exchange, &(struct pd_kube_refusal){.status = 429, .kind = kind},
                       "there are %d watches already", PD_KUBE_WATCHERS_MAX);
        return;
    }
    pd_kube_watch_prepare(watch, kind);
    watcher = watcher_new(watch, exchange, request);
    if (find_start(watcher))
        pull(watcher);
    else
        fail(watcher, "too old resource version: list again");
}

/* ---- life ---- */

struct pd_kube_watch *pd_kube_watch_new(uv_loop_t *loop, struct pd_store *store,
                                        struct pd_kube_keep *keep)
{
    struct pd_kube_watch *watch = PD_NEW(struct pd_kube_watch);

    watch->loop = loop;
    watch->store = store;
    for (size_t i = 0; i < WATCHED; i++)
        watch->caches[i] = pd_kube_cache_new((enum pd_kube_kind_id)i, store, keep);
    pd_ring_init(&watch->watchers);
    uv_timer_init(loop, &watch->gather);
    uv_timer_init(loop, &watch->tick);
    watch->gather.data = watch->tick.data = watch;
    pd_store_observe(store, on_pool, watch);
    pd_store_observe_events(store, on_events, watch);
    return watch;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct pd_kube_watch *watch = handle->data;
    void (*closed)(void *arg) = watch->closed;
    void *arg = watch->closed_arg;

    if (--watch->open_timers > 0)
        return;
    for (size_t i = 0; i < WATCHED; i++)
        pd_kube_cache_free(watch->caches[i]);
    free(watch);
    closed(arg);
}

void pd_kube_watch_close(struct pd_kube_watch *watch, void (*closed)(void *arg), void *arg)
{
    while (!pd_ring_is_empty(&watch->watchers))
        end(PD_CONTAINER_OF(watch->watchers.next, struct watcher, in_list));
    pd_store_unobserve(watch->store, on_pool, watch);
    pd_store_unobserve_events(watch->store, on_events, watch);
    watch->closed = closed;
    watch->closed_arg = arg;
    watch->open_timers = 2;
    uv_close((uv_handle_t *)&watch->gather, on_timer_closed);
    uv_close((uv_handle_t *)&watch->tick, on_timer_closed);
}
