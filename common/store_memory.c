/* The store of one process: hash indexes by pool name and sandbox id, and per
 * pool the list of its members, oldest first. A change marks its pool; marked
 * pools are told to the observers from an idle handle, which libuv runs at the
 * start of the next turn without waiting, and which runs only while pools are
 * marked: no latency, no system call, no spinning, and nothing keeps an
 * otherwise finished loop alive. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/store_inside.h"

/* ---- telling observers ---- */

static void name_list_add(struct pd_name_list *list, const char *name)
{
    if (list->count == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 16;
        list->names = pd_realloc(list->names, list->cap, sizeof *list->names);
    }
    pd_strcpy(list->names[list->count++], PD_POOL_NAME_MAX, name);
}

static void tell(struct pd_store *store, const char *name)
{
    for (size_t i = 0; i < PD_STORE_OBSERVERS_MAX; i++) {
        struct pd_store_observer *observer = &store->observers[i];
        if (observer->cb)
            observer->cb(observer->arg, name);
    }
}

static void on_idle(uv_idle_t *idle)
{
    struct pd_store *store = idle->data;
    struct pd_name_list telling = store->changed;

    store->changed = store->telling;
    store->telling = telling;
    uv_idle_stop(idle);
    for (size_t i = 0; i < telling.count; i++) {
        struct pd_pool_record *record = pd_strmap_get(&store->pools, telling.names[i]);
        if (record)
            record->marked = false;
    }
    for (size_t i = 0; i < telling.count; i++)
        tell(store, telling.names[i]);
    store->telling.count = 0;
    pd_store_tell_events(store);
}

void pd_store_wake(struct pd_store *store)
{
    uv_idle_start(&store->idle, on_idle);
}

void pd_store_mark(struct pd_store *store, struct pd_pool_record *record)
{
    if (record->marked)
        return;
    record->marked = true;
    name_list_add(&store->changed, record->pool.spec->name);
    pd_store_wake(store);
}

uint64_t pd_store_next_version(struct pd_store *store)
{
    return ++store->resource_version;
}

uint64_t pd_store_resource_version(const struct pd_store *store)
{
    return store->resource_version;
}

/* The pool itself has changed. */
static void change(struct pd_store *store, struct pd_pool_record *record)
{
    record->pool.resource_version = pd_store_next_version(store);
    pd_store_mark(store, record);
}

void pd_store_observe(struct pd_store *store, pd_store_observer_cb cb, void *arg)
{
    size_t i = 0;

    while (i < PD_STORE_OBSERVERS_MAX && store->observers[i].cb)
        i++;
    assert(i < PD_STORE_OBSERVERS_MAX);
    store->observers[i] = (struct pd_store_observer){.cb = cb, .arg = arg};
}

void pd_store_unobserve(struct pd_store *store, pd_store_observer_cb cb, void *arg)
{
    for (size_t i = 0; i < PD_STORE_OBSERVERS_MAX; i++) {
        struct pd_store_observer *observer = &store->observers[i];
        if (observer->cb == cb && observer->arg == arg)
            *observer = (struct pd_store_observer){0};
    }
}

void pd_store_touch(struct pd_store *store, const char *pool)
{
    struct pd_pool_record *record = pd_strmap_get(&store->pools, pool);

    if (record)
        pd_store_mark(store, record);
}

/* ---- life ---- */

struct pd_store *pd_store_new(uv_loop_t *loop, struct pd_time (*fixed_now)(void))
{
    struct pd_store *store = PD_NEW(struct pd_store);

    uv_idle_init(loop, &store->idle);
    store->idle.data = store;
    store->now = fixed_now ? fixed_now : pd_time_now;
    store->resource_version = (uint64_t)pd_wall_ms() * 1000;
    store->events = pd_events_new();
    return store;
}

static void pool_record_free(struct pd_pool_record *record)
{
    for (size_t i = 0; i < record->n_members; i++)
        free(record->members[i]);
    free(record->members);
    free(record->dead);
    pd_pool_spec_unref(record->pool.spec);
    free(record);
}

static void on_idle_closed(uv_handle_t *handle)
{
    struct pd_store *store = handle->data;
    void (*closed)(void *arg) = store->closed;
    void *arg = store->closed_arg;

    for (size_t i = 0; i < store->pools.count; i++)
        pool_record_free(store->by_name[i]);
    pd_strmap_fini(&store->pools);
    pd_strmap_fini(&store->sandboxes);
    free(store->by_name);
    free(store->changed.names);
    free(store->telling.names);
    pd_events_free(store->events);
    free(store);
    if (closed)
        closed(arg);
}

void pd_store_close(struct pd_store *store, void (*closed)(void *arg), void *arg)
{
    for (size_t i = 0; i < PD_STORE_OBSERVERS_MAX; i++)
        assert(!store->observers[i].cb && !store->events_observers[i].cb);
    store->closed = closed;
    store->closed_arg = arg;
    uv_close((uv_handle_t *)&store->idle, on_idle_closed);
}

/* ---- desired state ---- */

struct pd_pool_record *pd_store_record(struct pd_store *store, const char *pool)
{
    return pd_strmap_get(&store->pools, pool);
}

/* Where `name` stands, or would stand, in name order. */
static size_t position_of(const struct pd_store *store, const char *name)
{
    size_t low = 0;
    size_t high = store->pools.count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(store->by_name[middle]->pool.spec->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct pd_pool *pool_add(struct pd_store *store, struct pd_pool_spec *spec,
                                const char *source)
{
    struct pd_pool_record *record = PD_NEW(struct pd_pool_record);
    size_t at = position_of(store, spec->name);
    size_t after = store->pools.count - at;

    record->pool.spec = pd_pool_spec_ref(spec);
    record->pool.generation = 1;
    record->pool.created_wall_ms = pd_wall_ms();
    record->pool.status.warm_hit_ratio = -1;
    record->pool.status.refill_p99_ms = -1;
    record->pool.status.start_p90_ms = -1;
    record->pool.status.recommended_min = -1;
    pd_uid_random(record->pool.uid);
    pd_strcpy(record->pool.source, sizeof record->pool.source, source);
    if (store->pools.count == store->cap_by_name) {
        store->cap_by_name = store->cap_by_name ? store->cap_by_name * 2 : 16;
        store->by_name = pd_realloc(store->by_name, store->cap_by_name, sizeof(void *));
    }
    memmove(&store->by_name[at + 1], &store->by_name[at], after * sizeof(void *));
    store->by_name[at] = record;
    pd_strmap_add(&store->pools, record->pool.spec->name, record);
    change(store, record);
    return &record->pool;
}

/* The name in the index is the spec's own: the entry moves with the spec. */
static void pool_set_spec(struct pd_store *store, struct pd_pool_record *record,
                          struct pd_pool_spec *spec)
{
    struct pd_pool_spec *old = record->pool.spec;

    pd_strmap_remove(&store->pools, old->name);
    record->pool.spec = pd_pool_spec_ref(spec);
    pd_strmap_add(&store->pools, spec->name, record);
    pd_pool_spec_unref(old);
}

static bool same_part(const struct pd_pool_spec *a, const struct pd_pool_spec *b, const char *part)
{
    const struct pd_node *in_a = pd_node_get(a->node, part);
    const struct pd_node *in_b = pd_node_get(b->node, part);

    return in_a && in_b ? pd_node_equal(in_a, in_b) : in_a == in_b;
}

static int check_owner(const struct pd_pool_record *record, const char *source, struct pd_err *err)
{
    if (strcmp(record->pool.source, source) == 0)
        return 0;
    return pd_err_set(err, PD_CONFLICT, "pool '%s' belongs to %s", record->pool.spec->name,
                      record->pool.source);
}

int pd_store_pool_put(struct pd_store *store, struct pd_pool_spec *spec, const char *source,
                      struct pd_err *err)
{
    struct pd_pool_record *record = pd_store_record(store, spec->name);
    bool same_spec, same;

    if (!record) {
        pool_add(store, spec, source);
        return 0;
    }
    if (check_owner(record, source, err) < 0)
        return PD_CONFLICT;
    same_spec = record->pool.spec == spec || (spec->node && record->pool.spec->node &&
                                              same_part(record->pool.spec, spec, "spec"));
    same =
        same_spec && (record->pool.spec == spec || same_part(record->pool.spec, spec, "metadata"));
    if (same && !record->pool.deleting && record->pool.source_error[0] == '\0')
        return 0;
    if (!same)
        pool_set_spec(store, record, spec);
    if (!same_spec)
        record->pool.generation++;
    record->pool.deleting = false;
    record->pool.deletion_wall_ms = 0;
    record->pool.source_error[0] = '\0';
    change(store, record);
    return 0;
}

static bool is_mirrored(const struct pd_pool *pool, const struct pd_pool_spec *spec,
                        const char *source, const struct pd_pool_identity *identity)
{
    return pd_node_equal(pool->spec->node, spec->node) && strcmp(pool->source, source) == 0 &&
           strcmp(pool->uid, identity->uid) == 0 && pool->generation == identity->generation &&
           pool->created_wall_ms == identity->created_wall_ms &&
           pool->deletion_wall_ms == identity->deletion_wall_ms;
}

static void take_identity(struct pd_pool *pool, const struct pd_pool_identity *identity)
{
    pd_strcpy(pool->uid, sizeof pool->uid, identity->uid);
    pool->generation = identity->generation;
    pool->created_wall_ms = identity->created_wall_ms;
    pool->deletion_wall_ms = identity->deletion_wall_ms;
    pool->deleting = identity->deletion_wall_ms != 0;
}

int pd_store_pool_restore(struct pd_store *store, struct pd_pool_spec *spec, const char *source,
                          const struct pd_pool_identity *identity, struct pd_err *err)
{
    const struct pd_pool_record *record = pd_store_record(store, spec->name);

    if (record)
        return pd_err_set(err, PD_CONFLICT, "pool '%s' belongs to %s", spec->name,
                          record->pool.source);
    take_identity(pool_add(store, spec, source), identity);
    return 0;
}

void pd_store_pool_mirror(struct pd_store *store, struct pd_pool_spec *spec, const char *source,
                          const struct pd_pool_identity *identity)
{
    struct pd_pool_record *record = pd_store_record(store, spec->name);

    if (!record && identity->deletion_wall_ms != 0)
        return;
    if (!record) {
        take_identity(pool_add(store, spec, source), identity);
        return;
    }
    if (is_mirrored(&record->pool, spec, source, identity))
        return;
    if (!pd_node_equal(record->pool.spec->node, spec->node))
        pool_set_spec(store, record, spec);
    take_identity(&record->pool, identity);
    pd_strcpy(record->pool.source, sizeof record->pool.source, source);
    change(store, record);
}

int pd_store_pool_delete(struct pd_store *store, const char *name, const char *source,
                         struct pd_err *err)
{
    struct pd_pool_record *record = pd_store_record(store, name);

    if (!record)
        return pd_err_set(err, PD_NOT_FOUND, "no pool '%s'", name);
    if (check_owner(record, source, err) < 0)
        return PD_CONFLICT;
    if (!record->pool.deleting) {
        record->pool.deleting = true;
        record->pool.deletion_wall_ms = pd_wall_ms();
        change(store, record);
    }
    return 0;
}

/* ---- what is said of a pool ---- */

static struct pd_pool_record *record_of_pool(struct pd_pool *pool)
{
    return PD_CONTAINER_OF(pool, struct pd_pool_record, pool);
}

void pd_store_pool_set_status(struct pd_store *store, struct pd_pool *pool,
                              const struct pd_pool_status *status)
{
    if (memcmp(&pool->status, status, sizeof *status) == 0)
        return;
    memcpy(&pool->status, status, sizeof *status); /* padding too */
    change(store, record_of_pool(pool));
}

void pd_store_pool_set_elsewhere(struct pd_store *store, struct pd_pool *pool,
                                 const struct pd_pool_elsewhere *elsewhere)
{
    if (memcmp(&pool->elsewhere, elsewhere, sizeof *elsewhere) == 0)
        return;
    pool->elsewhere = *elsewhere;
    change(store, record_of_pool(pool));
}

void pd_store_pool_set_source_error(struct pd_store *store, struct pd_pool *pool, const char *text)
{
    if (strcmp(pool->source_error, text) == 0)
        return;
    pd_strcpy(pool->source_error, sizeof pool->source_error, text);
    change(store, record_of_pool(pool));
}

static void say_conflict(struct pd_store *store, struct pd_pool_record *record)
{
    char text[sizeof record->pool.conflict] = "";
    size_t used = 0;

    for (size_t i = 0; i < PD_POOL_RIVALS_MAX && used < sizeof text; i++) {
        if (record->rivals[i][0] == '\0')
            continue;
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used > 0 ? ", " : "",
                                 record->rivals[i]);
    }
    if (used > 0 && used < sizeof text)
        snprintf(text + used, sizeof text - used, ": declared there too, but it belongs to %s",
                 record->pool.source);
    if (strcmp(record->pool.conflict, text) == 0)
        return;
    pd_strcpy(record->pool.conflict, sizeof record->pool.conflict, text);
    change(store, record);
}

void pd_store_pool_hand_over(struct pd_store *store, struct pd_pool *pool, const char *source)
{
    if (strcmp(pool->source, source) == 0)
        return;
    pd_strcpy(pool->source, sizeof pool->source, source);
    say_conflict(store, record_of_pool(pool));
    change(store, record_of_pool(pool));
}

const char *pd_store_pool_rival_at(const struct pd_pool *pool, size_t i)
{
    return i < PD_POOL_RIVALS_MAX ? ((const struct pd_pool_record *)(const void *)pool)->rivals[i]
                                  : NULL;
}

void pd_store_pool_set_rival(struct pd_store *store, const char *name, const char *source,
                             bool declares)
{
    struct pd_pool_record *record = pd_store_record(store, name);
    char *place = NULL;

    if (!record)
        return;
    for (size_t i = 0; i < PD_POOL_RIVALS_MAX; i++) {
        char *rival = record->rivals[i];
        if (strcmp(rival, source) == 0) {
            place = rival;
            break;
        }
        if (rival[0] == '\0' && !place)
            place = rival;
    }
    if (!place)
        return;
    pd_strcpy(place, sizeof record->rivals[0], declares ? source : "");
    say_conflict(store, record);
}

void pd_store_pool_forget(struct pd_store *store, const char *name)
{
    struct pd_pool_record *record = pd_store_record(store, name);
    size_t at;

    if (!record)
        return;
    assert(record->n_members == 0);
    change(store, record);
    at = position_of(store, name);
    pd_strmap_remove(&store->pools, name);
    memmove(&store->by_name[at], &store->by_name[at + 1],
            (store->pools.count - at) * sizeof(void *));
    pool_record_free(record);
}

struct pd_pool *pd_store_pool(struct pd_store *store, const char *name)
{
    struct pd_pool_record *record = pd_store_record(store, name);

    return record ? &record->pool : NULL;
}

struct pd_pool *pd_store_pool_at(struct pd_store *store, size_t i)
{
    return i < store->pools.count ? &store->by_name[i]->pool : NULL;
}
