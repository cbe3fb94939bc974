/* Theory of operation
 *
 * A plan is made in one pass over a census of the pool's members, oldest first.
 * Each step below may take members out of the census by ordering their end;
 * the steps after it see what will be left:
 *
 *   sort out     what is spent, and what never became ready
 *   size up      how many should there be?
 *   make room    for keys that no idle sandbox may serve
 *   scale down   what is beyond that
 *   roll         what is of an earlier template, or too old
 *   create       what is missing, as fast as growth and maxSize allow
 *
 * Members that can serve or will be able to are `live`. Spent and terminating
 * ones are not live, but they exist: they count against maxSize until the
 * provider says that they are gone. Claimed members are never in reach of
 * destroy(): it asserts that. */
#include "controller/decide.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "controller/condition.h"

/* Idle sandboxes reach the end of recycle.afterAge spread over the last tenth
 * of it, so that a pool that was made in one go is not replaced in one. */
#define AGE_SPREAD_DIVISOR 10

struct entry {
    const struct pd_view_member *member;
    bool live;
    bool outdated; /* of an earlier template, or too old */
};

struct census {
    const struct pd_pool_spec *spec;
    const struct pd_view *view;
    struct pd_time now;
    struct pd_plan *plan;
    struct entry *entries; /* oldest first */
    size_t n;
    int live;     /* can serve, or will; expected ones included */
    int serving;  /* live and warm or claimed */
    int creating; /* live and waiting for the provider; expected ones included */
    int starting; /* live and waiting for the agent */
    int outdated; /* live, but to be replaced */
    int target;   /* live members wanted now */
    bool failing; /* new sandboxes fail: the last one did, or a stuck one is given up now */
};

/* ---- small questions ---- */

static int min_of(int a, int b)
{
    return a < b ? a : b;
}

static int max_of(int a, int b)
{
    return a > b ? a : b;
}

static int clamp(int value, int low, int high)
{
    return max_of(low, min_of(value, high));
}

static bool is_starting(const struct pd_view_member *member)
{
    return member->phase == PD_SANDBOX_CREATING || member->phase == PD_SANDBOX_STARTING;
}

static bool is_idle(const struct entry *entry)
{
    return entry->live && entry->member->phase == PD_SANDBOX_WARM;
}

static bool is_stale(const struct pd_pool_spec *spec, const struct pd_view_member *member)
{
    return strcmp(member->template_hash, spec->template_hash) != 0;
}

int64_t pd_start_deadline_ms(enum pd_provider_kind provider)
{
    static const int64_t deadlines_ms[] = {
        [PD_PROVIDER_DOCKER] = 60 * 1000,
        [PD_PROVIDER_ECS] = 10 * 60 * 1000,
    };
    return deadlines_ms[provider];
}

const char *pd_why_text(enum pd_why why)
{
    static const char *const texts[] = {
        [PD_WHY_SPENT] = "it is spent",
        [PD_WHY_STUCK] = "it did not become ready in time",
        [PD_WHY_EXCESS] = "more sandboxes than wanted",
        [PD_WHY_OUTDATED] = "the pool's template has changed",
        [PD_WHY_OLD] = "recycle.afterAge is reached",
        [PD_WHY_OTHER_KEY] = "it makes room for another key",
        [PD_WHY_POOL_GONE] = "its pool is being deleted",
    };
    return texts[why];
}

/* ---- the plan's clock ---- */

static void wake_at(struct census *census, struct pd_time when)
{
    struct pd_plan *plan = census->plan;

    if (!pd_time_is_set(plan->wake) || pd_time_before(when, plan->wake))
        plan->wake = when;
}

/* Whether `since` lies `ms` back; if not yet, the plan wakes when it will. */
static bool is_past(struct census *census, struct pd_time since, int64_t ms)
{
    struct pd_time due = pd_time_add_ms(since, ms);

    if (pd_time_before(census->now, due)) {
        wake_at(census, due);
        return false;
    }
    return true;
}

/* ---- orders ---- */

static bool order(struct census *census, enum pd_action_type type, const struct entry *entry,
                  enum pd_why why)
{
    struct pd_plan *plan = census->plan;

    if (plan->n_actions == PD_PLAN_ACTIONS_MAX) {
        wake_at(census, census->now);
        return false;
    }
    plan->actions[plan->n_actions++] =
        (struct pd_action){.type = type, .why = why, .id = entry->member->id};
    return true;
}

/* Take an entry out of the census: it no longer counts on. */
static void discount(struct census *census, struct entry *entry)
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

static void destroy(struct census *census, struct entry *entry, enum pd_why why)
{
    assert(entry->member->phase != PD_SANDBOX_CLAIMED);
    if (order(census, PD_ACTION_DESTROY, entry, why))
        discount(census, entry);
}

static void retire(struct census *census, struct entry *entry, enum pd_why why)
{
    if (order(census, PD_ACTION_RETIRE, entry, why))
        discount(census, entry);
}

/* ---- the census ---- */

static int by_age(const void *a, const void *b)
{
    const struct pd_view_member *first = ((const struct entry *)a)->member;
    const struct pd_view_member *second = ((const struct entry *)b)->member;

    if (first->created.ns != second->created.ns)
        return first->created.ns < second->created.ns ? -1 : 1;
    return strcmp(first->id, second->id);
}

/* How much earlier than afterAge this one is due: 0 .. a tenth of it. */
static int64_t age_spread_ms(const struct pd_pool_spec *spec, const char *id)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    while (*id)
        hash = (hash ^ (unsigned char)*id++) * 16777619u;
    return spec->recycle.after_age_ms / AGE_SPREAD_DIVISOR * (hash % 1000) / 1000;
}

static bool is_old(struct census *census, const struct pd_view_member *member)
{
    const struct pd_pool_spec *spec = census->spec;

    return spec->recycle.after_age_ms > 0 && member->phase == PD_SANDBOX_WARM &&
           is_past(census, member->created,
                   spec->recycle.after_age_ms - age_spread_ms(spec, member->id));
}

static void count(struct census *census, struct entry *entry)
{
    const struct pd_view_member *member = entry->member;

    if (member->spent || member->phase == PD_SANDBOX_TERMINATING)
        return;
    entry->live = true;
    entry->outdated = is_stale(census->spec, member) || is_old(census, member);
    census->live++;
    census->outdated += entry->outdated;
    census->creating += member->phase == PD_SANDBOX_CREATING;
    census->starting += member->phase == PD_SANDBOX_STARTING;
    census->serving += member->phase == PD_SANDBOX_WARM || member->phase == PD_SANDBOX_CLAIMED;
}

static void take_census(struct census *census)
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

/* ---- sort out ---- */

static void sort_out_spent(struct census *census)
{
    for (size_t i = 0; i < census->n; i++) {
        struct entry *entry = &census->entries[i];
        if (entry->member->spent &&
            (entry->member->phase == PD_SANDBOX_WARM || is_starting(entry->member)))
            destroy(census, entry, PD_WHY_SPENT);
    }
}

/* A member that does not become ready is replaced, unless the cause is want of
 * capacity: then a new one would only wait at the end of the same line. */
static void sort_out_stuck(struct census *census)
{
    int64_t deadline_ms = pd_start_deadline_ms(census->spec->provider);

    if (census->view->growth->held)
        return;
    for (size_t i = 0; i < census->n; i++) {
        struct entry *entry = &census->entries[i];
        if (entry->live && is_starting(entry->member) &&
            is_past(census, entry->member->phase_since, deadline_ms)) {
            destroy(census, entry, PD_WHY_STUCK);
            census->failing |= !is_stale(census->spec, entry->member);
        }
    }
}

/* ---- size up ---- */

static int in_use(const struct census *census)
{
    int claimed = 0;

    for (size_t i = 0; i < census->n; i++)
        claimed += census->entries[i].member->phase == PD_SANDBOX_CLAIMED;
    return claimed;
}

/* Queued runs count only as far as their wait exceeds the start of a sandbox:
 * the k-th of q waits about k/q of the whole, so that is q * (1 - start / wait)
 * of them. A run that has no sandbox to hope for counts at once. */
static int justified_by_queue(const struct census *census)
{
    const struct pd_view *view = census->view;
    int64_t in_time;

    if (view->queued == 0)
        return 0;
    if (view->wait_ms <= view->start_ms)
        return in_use(census) == 0; /* somebody must serve it */
    in_time = view->queued * view->start_ms / view->wait_ms;
    return max_of(1, view->queued - (int)in_time);
}

/* What `demand` sandboxes in use call for. An unused pool that may be empty is. */
static int size_for(const struct pd_pool_spec *spec, int demand)
{
    bool unused = demand == 0 && spec->min_size == 0;

    return clamp(unused ? 0 : demand + spec->target_idle, spec->min_size, spec->max_size);
}

static void size_up(struct census *census)
{
    const struct pd_view *view = census->view;
    int queue = justified_by_queue(census);
    int busy = in_use(census);

    census->plan->needed = busy + queue;
    census->target = size_for(census->spec, max_of(view->peak_in_use, busy) + queue);
    census->plan->wanted = census->target;
}

/* ---- make room for another key ---- */

/* Runs that wait because the idle sandboxes serve other keys. */
static int waiting_for_room(const struct census *census)
{
    return min_of(census->view->blocked, census->view->queued);
}

/* Sandboxes that such runs can hope for. */
static int open_to_any_key(const struct census *census)
{
    int count = census->creating + census->starting;

    for (size_t i = 0; i < census->n; i++) {
        const struct entry *entry = &census->entries[i];
        count += is_idle(entry) && !entry->member->bound;
    }
    return count;
}

/* Sandboxes that belong to a key, busy or not, and will go on doing so. */
static int kept_by_keys(const struct census *census)
{
    int count = 0;

    for (size_t i = 0; i < census->n; i++) {
        const struct entry *entry = &census->entries[i];
        bool busy = entry->member->phase == PD_SANDBOX_CLAIMED;
        bool kept = busy || (is_idle(entry) && entry->member->bound);
        count += entry->live && kept && !entry->outdated;
    }
    return count;
}

static struct entry *longest_idle_bound(struct census *census)
{
    struct entry *longest = NULL;

    for (size_t i = 0; i < census->n; i++) {
        struct entry *entry = &census->entries[i];
        if (is_idle(entry) && entry->member->bound &&
            (!longest || pd_time_before(entry->member->phase_since, longest->member->phase_since)))
            longest = entry;
    }
    return longest;
}

static int existing(const struct census *census)
{
    return (int)census->n + census->view->expected;
}

static void make_room(struct census *census)
{
    const struct pd_pool_spec *spec = census->spec;
    int waiting = waiting_for_room(census);
    int missing = waiting - open_to_any_key(census);
    int more;

    if (waiting == 0)
        return;
    while (census->live + missing > spec->max_size && !census->failing) {
        struct entry *entry = longest_idle_bound(census);
        size_t before = census->plan->n_actions;
        if (entry)
            destroy(census, entry, PD_WHY_OTHER_KEY);
        if (census->plan->n_actions == before)
            break;
    }
    more = min_of(kept_by_keys(census) + waiting, spec->max_size);
    census->target = max_of(census->target, more);
    census->plan->wanted = census->target;
    census->plan->needed = max_of(census->plan->needed, more - spec->target_idle);
}

/* ---- scale down ---- */

/* The best to do without: unready first, then outdated, then the newest. */
static struct entry *most_dispensable(struct census *census)
{
    struct entry *best = NULL;
    int best_rank = -1;

    for (size_t i = 0; i < census->n; i++) {
        struct entry *entry = &census->entries[i];
        int rank = is_starting(entry->member) ? 2 : entry->outdated;
        if (!entry->live || entry->member->phase == PD_SANDBOX_CLAIMED || rank < best_rank)
            continue;
        best = entry;
        best_rank = rank;
    }
    return best;
}

static struct entry *newest_claimed(struct census *census)
{
    for (size_t i = census->n; i-- > 0;) {
        struct entry *entry = &census->entries[i];
        if (entry->live && entry->member->phase == PD_SANDBOX_CLAIMED)
            return entry;
    }
    return NULL;
}

static bool recreates(const struct census *census)
{
    return census->spec->update.type == PD_UPDATE_RECREATE;
}

/* How many more than the target an update may have. */
static int surge(const struct census *census)
{
    return recreates(census) ? 0 : min_of(census->spec->update.max_surge, census->outdated);
}

/* What was needed within scaleDownAfter is kept, though it would not be created;
 * and while runs wait for want of room, whatever there is room for. */
static int to_keep(const struct census *census)
{
    int peak = max_of(census->view->peak_needed, census->plan->needed);

    if (waiting_for_room(census) > 0)
        return census->spec->max_size;
    return min_of(max_of(census->target, size_for(census->spec, peak)) + surge(census),
                  census->spec->max_size);
}

static void scale_down(struct census *census)
{
    size_t before;

    do {
        struct entry *entry = most_dispensable(census);
        before = census->plan->n_actions;
        if (entry && census->live > to_keep(census))
            destroy(census, entry, PD_WHY_EXCESS);
    } while (census->plan->n_actions > before);
    do {
        struct entry *entry = newest_claimed(census);
        before = census->plan->n_actions;
        if (entry && census->live > census->spec->max_size)
            retire(census, entry, PD_WHY_EXCESS);
    } while (census->plan->n_actions > before);
}

/* ---- roll ---- */

static enum pd_why why_outdated(const struct census *census, const struct entry *entry)
{
    return is_stale(census->spec, entry->member) ? PD_WHY_OUTDATED : PD_WHY_OLD;
}

/* How many members may be out of service for an update. Where maxSize leaves no
 * room to surge and none may be missing, one is nevertheless: an update that
 * cannot begin would never end. */
static int tolerated(const struct census *census)
{
    const struct pd_pool_spec *spec = census->spec;
    bool can_surge = spec->update.max_surge > 0 && spec->max_size > census->target;

    return can_surge ? spec->update.max_unavailable : max_of(1, spec->update.max_unavailable);
}

static struct entry *next_outdated(struct census *census, enum pd_sandbox_phase phase)
{
    for (size_t i = 0; i < census->n; i++) {
        struct entry *entry = &census->entries[i];
        if (entry->live && entry->outdated && entry->member->phase == phase)
            return entry;
    }
    return NULL;
}

/* Those that serve nobody yet can go without loss. */
static void roll_unready(struct census *census)
{
    for (size_t i = 0; i < census->n; i++) {
        struct entry *entry = &census->entries[i];
        if (entry->live && entry->outdated && is_starting(entry->member))
            destroy(census, entry, why_outdated(census, entry));
    }
}

/* All of an earlier template at once; what is busy goes when its run ends. */
static void roll_recreate(struct census *census)
{
    for (size_t i = 0; i < census->n; i++) {
        struct entry *entry = &census->entries[i];
        if (!entry->live || !is_stale(census->spec, entry->member))
            continue;
        if (entry->member->phase == PD_SANDBOX_CLAIMED)
            retire(census, entry, PD_WHY_OUTDATED);
        else
            destroy(census, entry, PD_WHY_OUTDATED);
    }
}

/* While new ones fail, the old ones are all there is: they stay. */
static void roll(struct census *census)
{
    int floor = census->target - tolerated(census);

    roll_unready(census);
    if (recreates(census))
        roll_recreate(census);
    if (census->failing)
        return;
    while (census->outdated > 0 && census->serving > floor) {
        struct entry *idle = next_outdated(census, PD_SANDBOX_WARM);
        struct entry *busy = idle ? NULL : next_outdated(census, PD_SANDBOX_CLAIMED);
        size_t before = census->plan->n_actions;

        if (idle)
            destroy(census, idle, why_outdated(census, idle));
        else if (busy)
            retire(census, busy, why_outdated(census, busy));
        if (census->plan->n_actions == before)
            break;
    }
}

/* ---- create ---- */

static bool waits_for_recreate(const struct census *census)
{
    if (!recreates(census))
        return false;
    for (size_t i = 0; i < census->n; i++) {
        if (is_stale(census->spec, census->entries[i].member))
            return true;
    }
    return false;
}

static void create(struct census *census)
{
    const struct pd_growth *growth = census->view->growth;
    int current = census->live - census->outdated;
    int missing = min_of(census->target - current, census->target + surge(census) - census->live);
    int room = census->spec->max_size - existing(census);

    if (missing <= 0 || room <= 0 || waits_for_recreate(census))
        return;
    if (census->failing && growth->failures == 0)
        return; /* the failure is to be counted first */
    census->plan->create =
        min_of(min_of(missing, room),
               pd_growth_allowance(growth, census->now, census->creating, census->starting));
    if (growth->failures > 0 && pd_time_before(census->now, growth->retry_at))
        wake_at(census, growth->retry_at);
}

/* ---- delete ---- */

static void drain(struct census *census)
{
    for (size_t i = 0; i < census->n; i++) {
        struct entry *entry = &census->entries[i];
        if (entry->member->phase == PD_SANDBOX_CLAIMED && !entry->member->spent)
            retire(census, entry, PD_WHY_POOL_GONE);
        else if (entry->member->phase == PD_SANDBOX_WARM || is_starting(entry->member))
            destroy(census, entry, PD_WHY_POOL_GONE);
    }
    census->plan->drained = existing(census) == 0;
}

/* ---- status ---- */

static void count_status(const struct census *census, struct pd_pool_status *status)
{
    for (size_t i = 0; i < census->n; i++) {
        const struct pd_view_member *member = census->entries[i].member;
        bool ends = member->phase == PD_SANDBOX_TERMINATING ||
                    (member->phase == PD_SANDBOX_WARM && member->spent);

        status->terminating += ends;
        status->ready += member->phase == PD_SANDBOX_WARM && !ends;
        status->claimed += member->phase == PD_SANDBOX_CLAIMED;
        status->starting += is_starting(member);
        status->updated += !ends && !is_stale(census->spec, member);
    }
    status->starting += census->view->expected;
    status->replicas = existing(census);
    status->observed_generation = census->view->generation;
}

static void report(const struct census *census)
{
    struct pd_plan *plan = census->plan;
    struct pd_findings findings = {.wanted = plan->wanted};

    count_status(census, &plan->status);
    findings.serving = plan->status.ready + plan->status.claimed;
    findings.tolerated = census->outdated > 0 ? tolerated(census) : 0;
    findings.outdated =
        plan->status.ready + plan->status.claimed + plan->status.starting - plan->status.updated;
    findings.changing = plan->create > 0 || plan->n_actions > 0 || plan->status.starting > 0 ||
                        plan->status.terminating > 0 || census->live < plan->wanted;
    pd_conditions_set(census->spec, census->view, &findings, &plan->status);
}

/* ---- decide ---- */

static void plan_size(struct census *census)
{
    sort_out_spent(census);
    sort_out_stuck(census);
    size_up(census);
    make_room(census);
    scale_down(census);
    roll(census);
    create(census);
}

void pd_decide(const struct pd_pool_spec *spec, const struct pd_view *view, struct pd_time now,
               struct pd_plan *ret_plan)
{
    struct census census = {
        .spec = spec,
        .view = view,
        .now = now,
        .plan = ret_plan,
        .failing = view->growth->failures > 0,
    };

    memset(ret_plan, 0, sizeof *ret_plan); /* padding too: statuses are compared as bytes */
    take_census(&census);
    if (view->deleting)
        drain(&census);
    else if (view->may_act)
        plan_size(&census);
    else
        size_up(&census);
    report(&census);
    free(census.entries);
}
