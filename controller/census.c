#include "controller/census.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/fnv.h"
#include "common/mem.h"

/* Idle sandboxes reach the end of recycle.afterAge spread over the last tenth
 * of it, so that a pool that was made in one go is not replaced in one. */
#define AGE_SPREAD_DIVISOR 10

bool pd_member_is_starting(const struct pd_view_member *member)
{
    return member->phase == PD_SANDBOX_CREATING || member->phase == PD_SANDBOX_STARTING;
}

bool pd_census_entry_is_idle(const struct pd_census_entry *entry)
{
    return entry->live && entry->member->phase == PD_SANDBOX_WARM;
}

bool pd_member_is_stale(const struct pd_pool_spec *spec, const struct pd_view_member *member)
{
    return strcmp(member->template_hash, spec->template_hash) != 0;
}

/* ---- the plan's clock ---- */

void pd_census_wake_at(struct pd_census *census, struct pd_time when)
{
    struct pd_plan *plan = census->plan;

    if (!pd_time_is_set(plan->wake) || pd_time_before(when, plan->wake))
        plan->wake = when;
}

bool pd_census_is_past(struct pd_census *census, struct pd_time since, int64_t ms)
{
    struct pd_time due = pd_time_add_ms(since, ms);

    if (pd_time_before(census->now, due)) {
        pd_census_wake_at(census, due);
        return false;
    }
    return true;
}

/* ---- orders ---- */

static bool order(struct pd_census *census, enum pd_action_type type,
                  const struct pd_census_entry *entry, enum pd_why why)
{
    struct pd_plan *plan = census->plan;

    if (plan->n_actions == PD_PLAN_ACTIONS_MAX) {
        pd_census_wake_at(census, census->now);
        return false;
    }
    plan->actions[plan->n_actions++] =
        (struct pd_action){.type = type, .why = why, .id = entry->member->id};
    return true;
}

/* Take an entry out of the census: it no longer counts on. */
static void discount(struct pd_census *census, struct pd_census_entry *entry)
{
    if (!entry->live)
        return;
    entry->live = false;
    census->live--;
    if (entry->outdated)
        census->outdated--;
    if (entry->member->phase == PD_SANDBOX_CREATING)
        census->creating--;
    else if (entry->member->phase == PD_SANDBOX_STARTING)
        census->starting--;
    else
        census->serving--;
}

void pd_census_destroy(struct pd_census *census, struct pd_census_entry *entry, enum pd_why why)
{
    assert(entry->member->phase != PD_SANDBOX_CLAIMED);
    if (order(census, PD_ACTION_DESTROY, entry, why))
        discount(census, entry);
}

void pd_census_retire(struct pd_census *census, struct pd_census_entry *entry, enum pd_why why)
{
    if (order(census, PD_ACTION_RETIRE, entry, why))
        discount(census, entry);
}

void pd_census_evict(struct pd_census *census, struct pd_census_entry *entry, enum pd_why why)
{
    assert(census->view->deleting);
    if (order(census, PD_ACTION_EVICT, entry, why))
        discount(census, entry);
}

/* ---- counting ---- */

static int by_age(const void *a, const void *b)
{
    const struct pd_view_member *first = ((const struct pd_census_entry *)a)->member;
    const struct pd_view_member *second = ((const struct pd_census_entry *)b)->member;

    if (first->created.ns != second->created.ns)
        return first->created.ns < second->created.ns ? -1 : 1;
    return strcmp(first->id, second->id);
}

/* How much earlier than afterAge this one is due: 0 .. a tenth of it. */
static int64_t age_spread_ms(const struct pd_pool_spec *spec, const char *id)
{
    uint32_t hash = pd_fnv_add(PD_FNV_BEGIN, id, strlen(id));

    return spec->recycle.after_age_ms / AGE_SPREAD_DIVISOR * (hash % 1000) / 1000;
}

static bool is_old(struct pd_census *census, const struct pd_view_member *member)
{
    const struct pd_pool_spec *spec = census->spec;

    return spec->recycle.after_age_ms > 0 && member->phase == PD_SANDBOX_WARM &&
           pd_census_is_past(census, member->created,
                             spec->recycle.after_age_ms - age_spread_ms(spec, member->id));
}

static void count(struct pd_census *census, struct pd_census_entry *entry)
{
    const struct pd_view_member *member = entry->member;
    bool due;

    if (member->spent || member->phase == PD_SANDBOX_TERMINATING)
        return;
    entry->live = true;
    due = pd_member_is_stale(census->spec, member) || is_old(census, member);
    entry->worn = !due && member->worn && !pd_member_is_starting(member);
    entry->outdated = due || entry->worn;
    census->live++;
    census->outdated += entry->outdated;
    census->creating += member->phase == PD_SANDBOX_CREATING;
    census->starting += member->phase == PD_SANDBOX_STARTING;
    census->serving += member->phase == PD_SANDBOX_WARM || member->phase == PD_SANDBOX_CLAIMED;
}

void pd_census_take(struct pd_census *census)
{
    const struct pd_view *view = census->view;

    census->n = view->n_members;
    census->entries = pd_calloc(census->n, sizeof *census->entries);
    for (size_t i = 0; i < census->n; i++)
        census->entries[i].member = &view->members[i];
    qsort(census->entries, census->n, sizeof *census->entries, by_age);
    for (size_t i = 0; i < census->n; i++)
        count(census, &census->entries[i]);
    census->live += view->expected;
    census->creating += view->expected;
}

void pd_census_fini(struct pd_census *census)
{
    free(census->entries);
}
