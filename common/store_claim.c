/* Claims: which sandbox a run gets, and what becomes of it afterwards. */
#include <string.h>

#include "common/mem.h"
#include "common/store_inside.h"

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

static struct pd_sandbox *best_member(const struct pd_pool_record *record, const char *language,
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
    struct pd_pool_record *record = pd_store_record(store, pool);
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
