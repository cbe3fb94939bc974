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

void pd_store_sandbox_move(struct pd_store *store, struct pd_sandbox *sandbox,
                           enum pd_sandbox_phase phase)
{
    assert(allowed_moves[sandbox->phase][phase]);
    pd_log(PD_LOG_DEBUG, "store", "sandbox moves", "pool", sandbox->pool, "id", sandbox->id, "from",
           pd_sandbox_phase_name(sandbox->phase), "to", pd_sandbox_phase_name(phase), NULL);
    sandbox->phase = phase;
    sandbox->phase_since = store->now();
    pd_store_mark(store, pd_store_record(store, sandbox->pool));
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
    pd_store_mark(store, record);
    free(sandbox);
}
