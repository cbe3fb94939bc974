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
 *   roll         what is of an earlier template, too old, or near its last run
 *   create       what is missing, as fast as growth and maxSize allow
 *
 * Members that can serve or will be able to are `live`. Spent and terminating
 * ones are not live, but they exist: they count against maxSize until the
 * provider says that they are gone. Claimed members are never in reach of
 * pd_census_destroy(): it asserts that. */
#include "controller/decide.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "controller/census.h"
#include "controller/condition.h"

/* An idle sandbox is offered to the runs that wait well within this. */
#define REFUSED_AFTER_MS 50

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
        [PD_WHY_WORN] = "recycle.afterRuns is near",
        [PD_WHY_OTHER_KEY] = "it makes room for another key",
        [PD_WHY_POOL_GONE] = "its pool is being deleted",
        [PD_WHY_OVERDUE] = "its pool is being deleted, and the time for runs to finish is over",
    };
    return texts[why];
}

/* ---- sort out ---- */

static void sort_out_spent(struct pd_census *census)
{
    for (size_t i = 0; i < census->n; i++) {
        struct pd_census_entry *entry = &census->entries[i];
        if (entry->member->spent &&
            (entry->member->phase == PD_SANDBOX_WARM || pd_member_is_starting(entry->member)))
            pd_census_destroy(census, entry, PD_WHY_SPENT);
    }
}

/* A member that does not become ready is replaced, unless the cause is want of
 * capacity: then a new one would only wait at the end of the same line. */
static void sort_out_stuck(struct pd_census *census)
{
    int64_t deadline_ms = pd_start_deadline_ms(census->spec->provider);

    if (census->view->growth->held)
        return;
    for (size_t i = 0; i < census->n; i++) {
        struct pd_census_entry *entry = &census->entries[i];
        if (entry->live && pd_member_is_starting(entry->member) &&
            pd_census_is_past(census, entry->member->phase_since, deadline_ms)) {
            pd_census_destroy(census, entry, PD_WHY_STUCK);
            census->failing |= !pd_member_is_stale(census->spec, entry->member);
        }
    }
}

/* ---- size up ---- */

static int in_use(const struct pd_census *census)
{
    int claimed = 0;

    for (size_t i = 0; i < census->n; i++)
        claimed += census->entries[i].member->phase == PD_SANDBOX_CLAIMED;
    return claimed;
}

/* Queued runs count only as far as their wait exceeds the start of a sandbox:
 * the k-th of q waits about k/q of the whole, so that is q * (1 - start / wait)
 * of them. A run that has no sandbox to hope for counts at once. */
static int justified_by_queue(const struct pd_census *census)
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

static void size_up(struct pd_census *census)
{
    const struct pd_view *view = census->view;
    int queue = justified_by_queue(census);
    int busy = in_use(census);

    census->plan->needed = busy + queue;
    census->target = size_for(census->spec, max_of(view->peak_in_use, busy) + queue);
    census->plan->wanted = census->target;
}

/* ---- make room for another key ---- */

/* Idle ones that are bound to a key, though runs wait: they were offered to
 * those, at the latest a moment ago, so those must be runs of other keys. */
static int refused(struct pd_census *census)
{
    int count = 0;

    for (size_t i = 0; census->view->queued > 0 && i < census->n; i++) {
        const struct pd_census_entry *entry = &census->entries[i];
        count += pd_census_entry_is_idle(entry) && entry->member->bound && !entry->outdated &&
                 pd_census_is_past(census, entry->member->phase_since, REFUSED_AFTER_MS);
    }
    return count;
}

/* Runs that wait because the sandboxes there are serve other keys. */
static int waiting_for_room(struct pd_census *census)
{
    return min_of(max_of(census->view->blocked, refused(census)), census->view->queued);
}

/* Sandboxes that such runs can hope for. */
static int open_to_any_key(const struct pd_census *census)
{
    int count = census->creating + census->starting;

    for (size_t i = 0; i < census->n; i++) {
        const struct pd_census_entry *entry = &census->entries[i];
        count += pd_census_entry_is_idle(entry) && !entry->member->bound;
    }
    return count;
}

/* Sandboxes that belong to a key, busy or not, and will go on doing so. */
static int kept_by_keys(const struct pd_census *census)
{
    int count = 0;

    for (size_t i = 0; i < census->n; i++) {
        const struct pd_census_entry *entry = &census->entries[i];
        bool busy = entry->member->phase == PD_SANDBOX_CLAIMED;
        bool kept = busy || (pd_census_entry_is_idle(entry) && entry->member->bound);
        count += entry->live && kept && !entry->outdated;
    }
    return count;
}

static struct pd_census_entry *longest_idle_bound(struct pd_census *census)
{
    struct pd_census_entry *longest = NULL;

    for (size_t i = 0; i < census->n; i++) {
        struct pd_census_entry *entry = &census->entries[i];
        if (pd_census_entry_is_idle(entry) && entry->member->bound &&
            (!longest || pd_time_before(entry->member->phase_since, longest->member->phase_since)))
            longest = entry;
    }
    return longest;
}

static struct pd_census_entry *oldest_busy(struct pd_census *census)
{
    for (size_t i = 0; i < census->n; i++) {
        struct pd_census_entry *entry = &census->entries[i];
        if (entry->live && entry->member->phase == PD_SANDBOX_CLAIMED)
            return entry;
    }
    return NULL;
}

static int existing(const struct pd_census *census)
{
    return (int)census->n + census->view->expected;
}

/* One sandbox less that serves another key: an idle one, or a busy one after
 * its run, so that a key whose runs never pause does not keep the others out. */
static bool give_up_one(struct pd_census *census)
{
    struct pd_census_entry *idle = longest_idle_bound(census);
    struct pd_census_entry *busy = idle ? NULL : oldest_busy(census);
    size_t before = census->plan->n_actions;

    if (idle)
        pd_census_destroy(census, idle, PD_WHY_OTHER_KEY);
    else if (busy)
        pd_census_retire(census, busy, PD_WHY_OTHER_KEY);
    return census->plan->n_actions > before;
}

static void make_room(struct pd_census *census)
{
    const struct pd_pool_spec *spec = census->spec;
    int waiting = waiting_for_room(census);
    int missing = waiting - open_to_any_key(census);
    int more;

    if (waiting == 0)
        return;
    while (census->live + missing > spec->max_size && !census->failing && give_up_one(census))
        continue;
    more = min_of(kept_by_keys(census) + waiting, spec->max_size);
    census->target = max_of(census->target, more);
    census->plan->wanted = census->target;
    census->plan->needed = max_of(census->plan->needed, more - spec->target_idle);
}

/* ---- scale down ---- */

/* The best to do without: unready first, then outdated, then the newest. */
static struct pd_census_entry *most_dispensable(struct pd_census *census)
{
    struct pd_census_entry *best = NULL;
    int best_rank = -1;

    for (size_t i = 0; i < census->n; i++) {
        struct pd_census_entry *entry = &census->entries[i];
        int rank = pd_member_is_starting(entry->member) ? 2 : entry->outdated;
        if (!entry->live || entry->member->phase == PD_SANDBOX_CLAIMED || rank < best_rank)
            continue;
        best = entry;
        best_rank = rank;
    }
    return best;
}

static struct pd_census_entry *newest_claimed(struct pd_census *census)
{
    for (size_t i = census->n; i-- > 0;) {
        struct pd_census_entry *entry = &census->entries[i];
        if (entry->live && entry->member->phase == PD_SANDBOX_CLAIMED)
            return entry;
    }
    return NULL;
}

static bool recreates(const struct pd_census *census)
{
    return census->spec->update.type == PD_UPDATE_RECREATE;
}

/* How many more than the target an update may have. */
static int surge(const struct pd_census *census)
{
    return recreates(census) ? 0 : min_of(census->spec->update.max_surge, census->outdated);
}

/* What was needed within scaleDownAfter is kept, though it would not be created;
 * and while runs wait nothing is taken down that there is room for. */
static int to_keep(const struct pd_census *census)
{
    int peak = max_of(census->view->peak_needed, census->plan->needed);

    if (census->view->queued > 0)
        return census->spec->max_size;
    return min_of(max_of(census->target, size_for(census->spec, peak)) + surge(census),
                  census->spec->max_size);
}

static void scale_down(struct pd_census *census)
{
    size_t before;

    do {
        struct pd_census_entry *entry = most_dispensable(census);
        before = census->plan->n_actions;
        if (entry && census->live > to_keep(census))
            pd_census_destroy(census, entry, PD_WHY_EXCESS);
    } while (census->plan->n_actions > before);
    do {
        struct pd_census_entry *entry = newest_claimed(census);
        before = census->plan->n_actions;
        if (entry && census->live > census->spec->max_size)
            pd_census_retire(census, entry, PD_WHY_EXCESS);
    } while (census->plan->n_actions > before);
}

/* ---- roll ---- */

static enum pd_why why_outdated(const struct pd_census *census, const struct pd_census_entry *entry)
{
    if (pd_member_is_stale(census->spec, entry->member))
        return PD_WHY_OUTDATED;
    return entry->worn ? PD_WHY_WORN : PD_WHY_OLD;
}

/* How many members may be out of service for an update. Where maxSize leaves no
 * room to surge and none may be missing, one is nevertheless: an update that
 * cannot begin would never end. */
static int tolerated(const struct pd_census *census)
{
    const struct pd_pool_spec *spec = census->spec;
    bool can_surge = spec->update.max_surge > 0 && spec->max_size > census->target;

    return can_surge ? spec->update.max_unavailable : max_of(1, spec->update.max_unavailable);
}

static struct pd_census_entry *next_outdated(struct pd_census *census, enum pd_sandbox_phase phase,
                                             bool worn)
{
    for (size_t i = 0; i < census->n; i++) {
        struct pd_census_entry *entry = &census->entries[i];
        if (entry->live && entry->outdated && entry->worn == worn && entry->member->phase == phase)
            return entry;
    }
    return NULL;
}

/* Those that serve nobody yet can go without loss. */
static void roll_unready(struct pd_census *census)
{
    for (size_t i = 0; i < census->n; i++) {
        struct pd_census_entry *entry = &census->entries[i];
        if (entry->live && entry->outdated && pd_member_is_starting(entry->member))
            pd_census_destroy(census, entry, why_outdated(census, entry));
    }
}

/* All of an earlier template at once; what is busy goes when its run ends. */
static void roll_recreate(struct pd_census *census)
{
    for (size_t i = 0; i < census->n; i++) {
        struct pd_census_entry *entry = &census->entries[i];
        if (!entry->live || !pd_member_is_stale(census->spec, entry->member))
            continue;
        if (entry->member->phase == PD_SANDBOX_CLAIMED)
            pd_census_retire(census, entry, PD_WHY_OUTDATED);
        else
            pd_census_destroy(census, entry, PD_WHY_OUTDATED);
    }
}

static void roll_serving(struct pd_census *census, bool worn, int floor)
{
    while (census->outdated > 0 && census->serving > floor) {
        struct pd_census_entry *idle = next_outdated(census, PD_SANDBOX_WARM, worn);
        struct pd_census_entry *busy =
            idle ? NULL : next_outdated(census, PD_SANDBOX_CLAIMED, worn);
        size_t before = census->plan->n_actions;

        if (idle)
            pd_census_destroy(census, idle, why_outdated(census, idle));
        else if (busy)
            pd_census_retire(census, busy, why_outdated(census, busy));
        if (census->plan->n_actions == before)
            break;
    }
}

/* While new ones fail, the old ones are all there is: they stay. */
static void roll(struct pd_census *census)
{
    roll_unready(census);
    if (recreates(census))
        roll_recreate(census);
    if (census->failing)
        return;
    roll_serving(census, false, census->target - tolerated(census));
    /* A worn one is needed while runs wait, and where there is no room for another. */
    if (census->view->queued == 0)
        roll_serving(census, true, census->target);
}

/* ---- create ---- */

static bool waits_for_recreate(const struct pd_census *census)
{
    if (!recreates(census))
        return false;
    for (size_t i = 0; i < census->n; i++) {
        if (pd_member_is_stale(census->spec, census->entries[i].member))
            return true;
    }
    return false;
}

static void create(struct pd_census *census)
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
        pd_census_wake_at(census, growth->retry_at);
}

/* ---- delete ---- */

int64_t pd_drain_deadline_ms(const struct pd_pool_spec *spec)
{
    return spec->run.max_timeout_ms < PD_DRAIN_MS_MAX ? spec->run.max_timeout_ms : PD_DRAIN_MS_MAX;
}

static bool drain_is_overdue(struct pd_census *census)
{
    return in_use(census) > 0 &&
           pd_census_is_past(census, census->view->drain_begun, pd_drain_deadline_ms(census->spec));
}

static void drain(struct pd_census *census)
{
    bool overdue = drain_is_overdue(census);

    for (size_t i = 0; i < census->n; i++) {
        struct pd_census_entry *entry = &census->entries[i];
        if (entry->member->phase == PD_SANDBOX_CLAIMED && overdue)
            pd_census_evict(census, entry, PD_WHY_OVERDUE);
        else if (entry->member->phase == PD_SANDBOX_CLAIMED && !entry->member->spent)
            pd_census_retire(census, entry, PD_WHY_POOL_GONE);
        else if (entry->member->phase == PD_SANDBOX_WARM || pd_member_is_starting(entry->member))
            pd_census_destroy(census, entry, PD_WHY_POOL_GONE);
    }
    census->plan->drained = existing(census) == 0;
}

/* ---- status ---- */

static void count_status(const struct pd_census *census, struct pd_pool_status *status)
{
    for (size_t i = 0; i < census->n; i++) {
        const struct pd_view_member *member = census->entries[i].member;
        bool ends = member->phase == PD_SANDBOX_TERMINATING ||
                    (member->phase == PD_SANDBOX_WARM && member->spent);

        status->terminating += ends;
        status->ready += member->phase == PD_SANDBOX_WARM && !ends;
        status->claimed += member->phase == PD_SANDBOX_CLAIMED;
        status->starting += pd_member_is_starting(member);
        status->updated += !ends && !pd_member_is_stale(census->spec, member);
    }
    status->starting += census->view->expected;
    status->replicas = existing(census);
    status->observed_generation = census->view->generation;
    status->wanted = census->plan->wanted;
    status->queue_length = census->view->queued;
    pd_strcpy(status->template_hash, sizeof status->template_hash, census->spec->template_hash);
}

static void report(const struct pd_census *census)
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

static void plan_size(struct pd_census *census)
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
    struct pd_census census = {
        .spec = spec,
        .view = view,
        .now = now,
        .plan = ret_plan,
        .failing = view->growth->failures > 0,
    };

    memset(ret_plan, 0, sizeof *ret_plan); /* padding too: statuses are compared as bytes */
    pd_census_take(&census);
    if (view->deleting)
        drain(&census);
    else if (view->may_act)
        plan_size(&census);
    else
        size_up(&census);
    report(&census);
    pd_census_fini(&census);
}
