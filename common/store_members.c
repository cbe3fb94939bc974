/* Sandboxes: their records and phases. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/store_inside.h"

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

struct pd_sandbox *pd_store_sandbox_add(struct pd_store *store, const char *id, const char *pool,
                                        const char *template_hash)
{
    struct pd_pool_record *record = pd_store_record(store, pool);
    struct pd_sandbox *sandbox = PD_NEW(struct pd_sandbox);

    assert(record);
    pd_strcpy(sandbox->id, sizeof sandbox->id, id);
    pd_strcpy(sandbox->pool, sizeof sandbox->pool, pool);
    pd_strcpy(sandbox->template_hash, sizeof sandbox->template_hash, template_hash);
    sandbox->phase = PD_SANDBOX_CREATING;
    sandbox->created = sandbox->phase_since = store->now();
    sandbox->created_wall_ms = pd_wall_ms();
    sandbox->resource_version = pd_store_next_version(store);
    pd_strmap_add(&store->sandboxes, sandbox->id, sandbox);
    if (record->n_members == record->cap_members) {
        record->cap_members = record->cap_members ? record->cap_members * 2 : 8;
        record->members = pd_realloc(record->members, record->cap_members, sizeof(void *));
    }
    record->members[record->n_members++] = sandbox;
    pd_store_mark(store, record);
    return sandbox;
}

struct pd_sandbox *pd_store_sandbox(struct pd_store *store, const char *id)
{
    return pd_strmap_get(&store->sandboxes, id);
}

struct pd_sandbox *pd_store_sandbox_at(struct pd_store *store, const char *pool, size_t i)
{
    struct pd_pool_record *record = pd_store_record(store, pool);

    return record && i < record->n_members ? record->members[i] : NULL;
}

size_t pd_store_sandbox_count(struct pd_store *store, const char *pool)
{
    struct pd_pool_record *record = pd_store_record(store, pool);

    return record ? record->n_members : 0;
}

static void change(struct pd_store *store, struct pd_sandbox *sandbox)
{
    sandbox->resource_version = pd_store_next_version(store);
    pd_store_mark(store, pd_store_record(store, sandbox->pool));
}

void pd_store_sandbox_move(struct pd_store *store, struct pd_sandbox *sandbox,
                           enum pd_sandbox_phase phase)
{
    assert(allowed_moves[sandbox->phase][phase]);
    pd_log(PD_LOG_DEBUG, "store", "sandbox moves", "pool", sandbox->pool, "id", sandbox->id, "from",
           pd_sandbox_phase_name(sandbox->phase), "to", pd_sandbox_phase_name(phase), NULL);
    sandbox->phase = phase;
    sandbox->phase_since = store->now();
    change(store, sandbox);
}

void pd_store_sandbox_retire(struct pd_store *store, struct pd_sandbox *sandbox, const char *reason)
{
    if (sandbox->reason[0] == '\0')
        pd_strcpy(sandbox->reason, sizeof sandbox->reason, reason);
    sandbox->recycle = true;
    change(store, sandbox);
}

/* ---- the dead ---- */

static void remember(struct pd_store *store, struct pd_pool_record *record,
                     const struct pd_sandbox *sandbox)
{
    struct pd_dead_sandbox *dead;

    if (!record->dead)
        record->dead = pd_calloc(PD_DEAD_SANDBOXES_MAX, sizeof *record->dead);
    dead = &record->dead[record->n_dead++ % PD_DEAD_SANDBOXES_MAX];
    *dead = (struct pd_dead_sandbox){
        .resource_version = pd_store_next_version(store),
        .created_wall_ms = sandbox->created_wall_ms,
        .died_wall_ms = pd_wall_ms(),
        .runs = sandbox->runs,
    };
    pd_strcpy(dead->id, sizeof dead->id, sandbox->id);
    pd_strcpy(dead->provider_id, sizeof dead->provider_id, sandbox->provider_id);
    pd_strcpy(dead->template_hash, sizeof dead->template_hash, sandbox->template_hash);
    pd_strcpy(dead->reason, sizeof dead->reason, sandbox->reason);
}

const struct pd_dead_sandbox *pd_store_dead_at(struct pd_store *store, const char *pool, size_t i)
{
    const struct pd_pool_record *record = pd_store_record(store, pool);

    if (!record || i >= record->n_dead || i >= PD_DEAD_SANDBOXES_MAX)
        return NULL;
    return &record->dead[(record->n_dead - 1 - i) % PD_DEAD_SANDBOXES_MAX];
}

void pd_store_sandbox_remove(struct pd_store *store, struct pd_sandbox *sandbox)
{
    struct pd_pool_record *record = pd_store_record(store, sandbox->pool);
    size_t at = 0;

    while (record->members[at] != sandbox)
        at++;
    record->n_members--;
    memmove(&record->members[at], &record->members[at + 1],
            (record->n_members - at) * sizeof(void *));
    pd_strmap_remove(&store->sandboxes, sandbox->id);
    remember(store, record, sandbox);
    pd_store_mark(store, record);
    free(sandbox);
}
