/* The store of one process: hash indexes by pool name and sandbox id, and per
 * pool the list of its members, oldest first. A change marks its pool; marked
 * pools are told to the observers from an idle handle, which libuv runs at the
 * start of the next turn without waiting, and which runs only while pools are
 * marked: no latency, no system call, no spinning, and nothing keeps an
 * otherwise finished loop alive. */
#include "common/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/strmap.h"

struct pool_record {
    struct pd_pool pool;         /* first: a pd_pool is its record */
    struct pd_sandbox **members; /* oldest first */
    size_t n_members;
    size_t cap_members;
    bool marked;
};

struct observer {
    pd_store_observer_cb cb; /* NULL: free */
    void *arg;
};

struct name_list {
    char (*names)[PD_POOL_NAME_MAX];
    size_t count;
    size_t cap;
};

struct pd_store {
    uv_idle_t idle; /* active while `changed` has names */
    struct pd_time (*now)(void);
    struct observer observers[PD_STORE_OBSERVERS_MAX];
    struct pd_strmap pools;       /* name to pool_record */
    struct pd_strmap sandboxes;   /* id to pd_sandbox */
    struct pool_record **by_name; /* in name order */
    size_t cap_by_name;
    struct name_list changed; /* pools to tell observers about, each once */
    struct name_list telling; /* those being told; storage kept between turns */
    void (*closed)(void *arg);
    void *closed_arg;
};

const char *pd_sandbox_phase_name(enum pd_sandbox_phase phase)
{
    static const char *const names[] = {
        [PD_SANDBOX_CREATING] = "creating",
        [PD_SANDBOX_STARTING] = "starting",
        [PD_SANDBOX_WARM] = "warm",
        [PD_SANDBOX_CLAIMED] = "claimed",
        [PD_SANDBOX_TERMINATING] = "terminating",
    };
    return names[phase];
}

static const bool allowed_moves[][PD_SANDBOX_TERMINATING + 1] = {
    [PD_SANDBOX_CREATING] = {[PD_SANDBOX_STARTING] = true, [PD_SANDBOX_TERMINATING] = true},
    [PD_SANDBOX_STARTING] = {[PD_SANDBOX_WARM] = true, [PD_SANDBOX_TERMINATING] = true},
    [PD_SANDBOX_WARM] = {[PD_SANDBOX_CLAIMED] = true,
                         [PD_SANDBOX_STARTING] = true, /* its link was lost: link it anew */
                         [PD_SANDBOX_TERMINATING] = true},
    [PD_SANDBOX_CLAIMED] = {[PD_SANDBOX_WARM] = true, [PD_SANDBOX_TERMINATING] = true},
    [PD_SANDBOX_TERMINATING] = {[PD_SANDBOX_TERMINATING] = false},
};

/* ---- telling observers ---- */

static void name_list_add(struct name_list *list, const char *name)
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
        struct observer *observer = &store->observers[i];
        if (observer->cb)
            observer->cb(observer->arg, name);
    }
}

static void on_idle(uv_idle_t *idle)
{
    struct pd_store *store = idle->data;
    struct name_list telling = store->changed;

    store->changed = store->telling;
    store->telling = telling;
    uv_idle_stop(idle);
    for (size_t i = 0; i < telling.count; i++) {
        struct pool_record *record = pd_strmap_get(&store->pools, telling.names[i]);
        if (record)
            record->marked = false;
    }
    for (size_t i = 0; i < telling.count; i++)
        tell(store, telling.names[i]);
    store->telling.count = 0;
}

static void mark(struct pd_store *store, struct pool_record *record)
{
    if (record->marked)
        return;
    record->marked = true;
    name_list_add(&store->changed, record->pool.spec->name);
    uv_idle_start(&store->idle, on_idle);
}

void pd_store_observe(struct pd_store *store, pd_store_observer_cb cb, void *arg)
{
    size_t i = 0;

    while (i < PD_STORE_OBSERVERS_MAX && store->observers[i].cb)
        i++;
    assert(i < PD_STORE_OBSERVERS_MAX);
    store->observers[i] = (struct observer){.cb = cb, .arg = arg};
}

void pd_store_unobserve(struct pd_store *store, pd_store_observer_cb cb, void *arg)
{
    for (size_t i = 0; i < PD_STORE_OBSERVERS_MAX; i++) {
        struct observer *observer = &store->observers[i];
        if (observer->cb == cb && observer->arg == arg)
            *observer = (struct observer){0};
    }
}

void pd_store_touch(struct pd_store *store, const char *pool)
{
    struct pool_record *record = pd_strmap_get(&store->pools, pool);

    if (record)
        mark(store, record);
}

/* ---- life ---- */

struct pd_store *pd_store_new(uv_loop_t *loop, struct pd_time (*fixed_now)(void))
{
    struct pd_store *store = PD_NEW(struct pd_store);

    uv_idle_init(loop, &store->idle);
    store->idle.data = store;
    store->now = fixed_now ? fixed_now : pd_time_now;
    return store;
}

static void pool_record_free(struct pool_record *record)
{
    for (size_t i = 0; i < record->n_members; i++)
        free(record->members[i]);
    free(record->members);
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
    free(store);
    if (closed)
        closed(arg);
}

void pd_store_close(struct pd_store *store, void (*closed)(void *arg), void *arg)
{
    for (size_t i = 0; i < PD_STORE_OBSERVERS_MAX; i++)
        assert(!store->observers[i].cb);
    store->closed = closed;
    store->closed_arg = arg;
    uv_close((uv_handle_t *)&store->idle, on_idle_closed);
}

/* ---- desired state ---- */

static struct pool_record *record_of(struct pd_store *store, const char *pool)
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

static void pool_add(struct pd_store *store, struct pd_pool_spec *spec, const char *source)
{
    struct pool_record *record = PD_NEW(struct pool_record);
    size_t at = position_of(store, spec->name);
    size_t after = store->pools.count - at;

    record->pool.spec = pd_pool_spec_ref(spec);
    record->pool.generation = 1;
    pd_strcpy(record->pool.source, sizeof record->pool.source, source);
    if (store->pools.count == store->cap_by_name) {
        store->cap_by_name = store->cap_by_name ? store->cap_by_name * 2 : 16;
        store->by_name = pd_realloc(store->by_name, store->cap_by_name, sizeof(void *));
    }
    memmove(&store->by_name[at + 1], &store->by_name[at], after * sizeof(void *));
    store->by_name[at] = record;
    pd_strmap_add(&store->pools, record->pool.spec->name, record);
    mark(store, record);
}

/* The name in the index is the spec's own: the entry moves with the spec. */
static void pool_set_spec(struct pd_store *store, struct pool_record *record,
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

static int check_owner(const struct pool_record *record, const char *source, struct pd_err *err)
{
    if (strcmp(record->pool.source, source) == 0)
        return 0;
    return pd_err_set(err, PD_CONFLICT, "pool '%s' belongs to %s", record->pool.spec->name,
                      record->pool.source);
}

int pd_store_pool_put(struct pd_store *store, struct pd_pool_spec *spec, const char *source,
                      struct pd_err *err)
{
    struct pool_record *record = record_of(store, spec->name);
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
    record->pool.source_error[0] = '\0';
    mark(store, record);
    return 0;
}

int pd_store_pool_delete(struct pd_store *store, const char *name, const char *source,
                         struct pd_err *err)
{
    struct pool_record *record = record_of(store, name);

    if (!record)
        return pd_err_set(err, PD_NOT_FOUND, "no pool '%s'", name);
    if (check_owner(record, source, err) < 0)
        return PD_CONFLICT;
    if (!record->pool.deleting) {
        record->pool.deleting = true;
        mark(store, record);
    }
    return 0;
}

void pd_store_pool_forget(struct pd_store *store, const char *name)
{
    struct pool_record *record = record_of(store, name);
    size_t at;

    if (!record)
        return;
    assert(record->n_members == 0);
    mark(store, record);
    at = position_of(store, name);
    pd_strmap_remove(&store->pools, name);
    memmove(&store->by_name[at], &store->by_name[at + 1],
            (store->pools.count - at) * sizeof(void *));
    pool_record_free(record);
}

struct pd_pool *pd_store_pool(struct pd_store *store, const char *name)
{
    struct pool_record *record = record_of(store, name);

    return record ? &record->pool : NULL;
}

struct pd_pool *pd_store_pool_at(struct pd_store *store, size_t i)
{
    return i < store->pools.count ? &store->by_name[i]->pool : NULL;
}

/* ---- observed state ---- */

struct pd_sandbox *pd_store_sandbox_add(struct pd_store *store, const char *id, const char *pool,
                                        const char *template_hash)
{
    struct pool_record *record = record_of(store, pool);
    struct pd_sandbox *sandbox = PD_NEW(struct pd_sandbox);

    assert(record);
    pd_strcpy(sandbox->id, sizeof sandbox->id, id);
    pd_strcpy(sandbox->pool, sizeof sandbox->pool, pool);
    pd_strcpy(sandbox->template_hash, sizeof sandbox->template_hash, template_hash);
    sandbox->phase = PD_SANDBOX_CREATING;
    sandbox->created = sandbox->phase_since = store->now();
    sandbox->created_wall_ms = pd_wall_ms();
    pd_strmap_add(&store->sandboxes, sandbox->id, sandbox);
    if (record->n_members == record->cap_members) {
        record->cap_members = record->cap_members ? record->cap_members * 2 : 8;
        record->members = pd_realloc(record->members, record->cap_members, sizeof(void *));
    }
    record->members[record->n_members++] = sandbox;
    mark(store, record);
    return sandbox;
}

struct pd_sandbox *pd_store_sandbox(struct pd_store *store, const char *id)
{
    return pd_strmap_get(&store->sandboxes, id);
}

struct pd_sandbox *pd_store_sandbox_at(struct pd_store *store, const char *pool, size_t i)
{
    struct pool_record *record = record_of(store, pool);

    return record && i < record->n_members ? record->members[i] : NULL;
}

size_t pd_store_sandbox_count(struct pd_store *store, const char *pool)
{
    struct pool_record *record = record_of(store, pool);

    return record ? record->n_members : 0;
}

void pd_store_sandbox_move(struct pd_store *store, struct pd_sandbox *sandbox,
                           enum pd_sandbox_phase phase)
{
    assert(allowed_moves[sandbox->phase][phase]);
    pd_log(PD_LOG_DEBUG, "store", "sandbox moves", "pool", sandbox->pool, "id", sandbox->id, "from",
           pd_sandbox_phase_name(sandbox->phase), "to", pd_sandbox_phase_name(phase), NULL);
    sandbox->phase = phase;
    sandbox->phase_since = store->now();
    mark(store, record_of(store, sandbox->pool));
}

void pd_store_sandbox_remove(struct pd_store *store, struct pd_sandbox *sandbox)
{
    struct pool_record *record = record_of(store, sandbox->pool);
    size_t at = 0;

    while (record->members[at] != sandbox)
        at++;
    record->n_members--;
    memmove(&record->members[at], &record->members[at + 1],
            (record->n_members - at) * sizeof(void *));
    pd_strmap_remove(&store->sandboxes, sandbox->id);
    mark(store, record);
    free(sandbox);
}

/* ---- claims ---- */

static bool may_claim(const struct pd_pool_spec *spec, const struct pd_sandbox *sandbox,
                      const char *key_id)
{
    if (sandbox->phase != PD_SANDBOX_WARM || sandbox->recycle)
        return false;
    return spec->recycle.share || sandbox->key_id[0] == '\0' ||
           strcmp(sandbox->key_id, key_id) == 0;
}

/* Greater is better; equal ones are told apart by how long they rested. */
static int rank(const struct pd_sandbox *sandbox, const char *language, const char *key_id)
{
    bool spare = sandbox->link && pd_link_spares(sandbox->link, language) > 0;
    bool same_key = strcmp(sandbox->key_id, key_id) == 0;

    return (spare ? 2 : 0) + (same_key ? 1 : 0);
}

static struct pd_sandbox *best_member(const struct pool_record *record, const char *language,
                                      const char *key_id)
{
    struct pd_sandbox *best = NULL;
    int best_rank = -1;

    for (size_t i = 0; i < record->n_members; i++) {
        struct pd_sandbox *member = record->members[i];
        int member_rank;

        if (!may_claim(record->pool.spec, member, key_id))
            continue;
        member_rank = rank(member, language, key_id);
        if (member_rank < best_rank ||
            (member_rank == best_rank && !pd_time_before(member->phase_since, best->phase_since)))
            continue;
        best = member;
        best_rank = member_rank;
    }
    return best;
}

struct pd_sandbox *pd_store_claim(struct pd_store *store, const char *pool, const char *language,
                                  const char *key_id)
{
    struct pool_record *record = record_of(store, pool);
    struct pd_sandbox *best;

    if (!record || record->pool.deleting)
        return NULL;
    best = best_member(record, language, key_id);
    if (!best)
        return NULL;
    pd_strcpy(best->key_id, sizeof best->key_id, key_id);
    pd_store_sandbox_move(store, best, PD_SANDBOX_CLAIMED);
    return best;
}

bool pd_sandbox_serves_one_run(const struct pd_pool_spec *spec, const struct pd_sandbox *sandbox)
{
    const struct pd_hello *hello = sandbox->link ? pd_link_hello(sandbox->link) : NULL;

    return spec->isolation == PD_ISOLATION_CONTAINER ||
           (hello && hello->isolation > spec->isolation);
}

/* Why a sandbox must serve no further run, or NULL. */
static const char *why_spent(const struct pd_pool *pool, const struct pd_sandbox *sandbox,
                             struct pd_time now)
{
    const struct pd_pool_spec *spec = pool->spec;

    if (pool->deleting)
        return "its pool is being deleted";
    if (pd_sandbox_serves_one_run(spec, sandbox))
        return "its isolation allows one run";
    if (spec->recycle.after_runs > 0 && sandbox->runs >= (uint32_t)spec->recycle.after_runs)
        return "recycle.afterRuns is reached";
    if (spec->recycle.after_age_ms > 0 &&
        pd_time_ms_between(sandbox->created, now) >= spec->recycle.after_age_ms)
        return "recycle.afterAge is reached";
    return NULL;
}

void pd_store_release(struct pd_store *store, const char *sandbox_id, bool usable,
                      const char *reason)
{
    struct pd_sandbox *sandbox = pd_store_sandbox(store, sandbox_id);
    const char *why;

    if (!sandbox || sandbox->phase != PD_SANDBOX_CLAIMED)
        return;
    sandbox->runs++;
    why = usable ? why_spent(pd_store_pool(store, sandbox->pool), sandbox, store->now())
                 : (reason ? reason : "its run left it unusable");
    if (why && !sandbox->recycle) {
        sandbox->recycle = true;
        pd_strcpy(sandbox->reason, sizeof sandbox->reason, why);
    }
    pd_store_sandbox_move(store, sandbox, PD_SANDBOX_WARM);
}
