/* What people are told of a pool: its status, and an event for every decision
 * that somebody would ask about. The reasons are listed in docs/pools.md. */
#include <math.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/pool_status.h"
#include "controller/state.h"

/* ---- sizes ---- */

static const char *why_larger(const struct pd_pool *pool, const struct pd_plan *plan)
{
    if (pool->status.observed_generation == 0)
        return "the pool is new";
    if (pool->status.observed_generation != pool->generation)
        return "the spec has changed";
    if (plan->wanted == pool->spec->min_size)
        return "minSize";
    return plan->status.queue_length > 0 ? "runs wait" : "more are in use";
}

static const char *why_smaller(const struct pd_pool *pool)
{
    return pool->status.observed_generation != pool->generation
               ? "the spec has changed"
               : "fewer were in use for scaleDownAfter";
}

static void tell_size(struct pd_controller *controller, const struct pd_pool *pool,
                      const struct pd_plan *plan)
{
    int before = pool->status.wanted;
    bool up = plan->wanted > before;

    if (plan->wanted == before || pool->deleting)
        return;
    pd_store_event(controller->store, PD_EVENT_NORMAL, pool->spec->name, NULL,
                   up ? "ScaledUp" : "ScaledDown", "from %d to %d sandboxes: %s%s", before,
                   plan->wanted, up ? why_larger(pool, plan) : why_smaller(pool),
                   up && plan->wanted == pool->spec->max_size ? "; that is maxSize" : "");
}

void pd_report_created(struct pd_controller *controller, const struct pd_pool *pool, int count,
                       const struct pd_plan *plan)
{
    bool replaces = strcmp(plan->status.progressing.reason, "Updating") == 0;

    pd_store_event(controller->store, PD_EVENT_NORMAL, pool->spec->name, NULL, "Creating",
                   "%d sandbox%s, %s %d", count, count == 1 ? "" : "es",
                   replaces ? "to replace earlier ones of" : "to have", plan->wanted);
}

/* ---- ends ---- */

struct end {
    enum pd_event_type type;
    const char *reason; /* NULL: not worth a word of its own */
};

static struct end end_of(enum pd_why why)
{
    static const struct end ends[] = {
        [PD_WHY_SPENT] = {PD_EVENT_NORMAL, "Recycled"},
        [PD_WHY_STUCK] = {PD_EVENT_WARNING, "Stuck"},
        [PD_WHY_EXCESS] = {PD_EVENT_NORMAL, "Removed"},
        [PD_WHY_OUTDATED] = {PD_EVENT_NORMAL, "Replaced"},
        [PD_WHY_OLD] = {PD_EVENT_NORMAL, "Recycled"},
        [PD_WHY_WORN] = {PD_EVENT_NORMAL, "Recycled"},
        [PD_WHY_OTHER_KEY] = {PD_EVENT_NORMAL, "MadeRoom"},
        [PD_WHY_POOL_GONE] = {PD_EVENT_NORMAL, NULL}, /* Draining has said it */
        [PD_WHY_OVERDUE] = {PD_EVENT_WARNING, "DrainDeadline"},
    };
    return ends[why];
}

/* One that was retired ends as spent; its own record says why it was. */
static enum pd_why first_why(const struct pd_sandbox *sandbox, enum pd_why why)
{
    for (int i = 0; why == PD_WHY_SPENT && i <= PD_WHY_OVERDUE; i++) {
        if (strcmp(sandbox->reason, pd_why_text((enum pd_why)i)) == 0)
            return (enum pd_why)i;
    }
    return why;
}

void pd_report_ordered(struct pd_controller *controller, const struct pd_sandbox *sandbox,
                       enum pd_why why)
{
    struct end end = end_of(first_why(sandbox, why));

    if (end.reason)
        pd_store_event(controller->store, end.type, sandbox->pool, sandbox->id, end.reason, "%s",
                       why == PD_WHY_SPENT && sandbox->reason[0] ? sandbox->reason
                                                                 : pd_why_text(why));
}

void pd_report_failure(struct pd_controller *controller, struct pd_pool *pool,
                       const struct pd_sandbox *sandbox, const char *reason, const char *message)
{
    pd_failures_note(&pd_pool_state_of(pool)->failures, reason, message, pd_wall_ms());
    pd_store_event(controller->store, PD_EVENT_WARNING, pool->spec->name,
                   sandbox ? sandbox->id : NULL, reason, "%s", message);
}

/* ---- conditions ---- */

static void log_condition(const struct pd_pool *pool, const char *name,
                          const struct pd_condition *now, const struct pd_condition *before)
{
    bool worse = strcmp(name, "Degraded") == 0 && now->status == 1;

    if (now->status == before->status && strcmp(now->reason, before->reason) == 0)
        return;
    pd_log(worse ? PD_LOG_WARN : PD_LOG_DEBUG, "controller", "pool condition", "pool",
           pool->spec->name, "condition", name, "status", now->status == 1 ? "true" : "false",
           "reason", now->reason, "message", now->message, NULL);
}

/* What failed has been told where it did. */
static bool is_told_elsewhere(const char *reason)
{
    return strcmp(reason, "CreateFailed") == 0 || strcmp(reason, "NoCapacity") == 0;
}

static void tell_degraded(struct pd_controller *controller, const struct pd_pool *pool,
                          const struct pd_condition *now)
{
    const struct pd_condition *before = &pool->status.degraded;

    if (now->status != 1 && before->status == 1)
        pd_store_event(controller->store, PD_EVENT_NORMAL, pool->spec->name, NULL, "Recovered",
                       "%s is over", before->reason);
    if (now->status == 1 && !is_told_elsewhere(now->reason) &&
        (strcmp(now->reason, before->reason) != 0 || strcmp(now->message, before->message) != 0))
        pd_store_event(controller->store, PD_EVENT_WARNING, pool->spec->name, NULL, now->reason,
                       "%s", now->message);
}

/* The reasons that growth stops for, with what is done about it. */
static const char *pause_text(const char *reason)
{
    static const struct {
        const char *reason, *text;
    } pauses[] = {
        {"Held", "waiting for capacity, members that start are kept"},
        {"BackingOff", "new sandboxes fail; one is tried at a time, after pauses that double"},
        {"UpdateStopped", "the new template fails; the sandboxes of the earlier one serve on"},
    };

    for (size_t i = 0; i < PD_COUNT(pauses); i++) {
        if (strcmp(pauses[i].reason, reason) == 0)
            return pauses[i].text;
    }
    return NULL;
}

static void tell_progress(struct pd_controller *controller, struct pd_pool *pool,
                          const struct pd_pool_status *status)
{
    struct pd_pool_state *state = pd_pool_state_of(pool);
    const char *reason = status->progressing.reason;
    const char *pause = pause_text(reason);
    bool outdated = status->updated < status->ready + status->claimed + status->starting;

    if (pause && strcmp(reason, pool->status.progressing.reason) != 0)
        pd_store_event(controller->store, PD_EVENT_WARNING, pool->spec->name, NULL, reason,
                       "%s: %s", pause, state->growth.message);
    if (outdated && !state->rolling && !pool->deleting) {
        state->rolling = true;
        pd_store_event(controller->store, PD_EVENT_NORMAL, pool->spec->name, NULL, "Updating",
                       "sandboxes of earlier templates are replaced by those of %s",
                       status->template_hash);
    } else if (!outdated && state->rolling) {
        state->rolling = false;
        pd_store_event(controller->store, PD_EVENT_NORMAL, pool->spec->name, NULL, "Updated",
                       "every sandbox is of template %s", status->template_hash);
    }
}

static void tell_deletion(struct pd_controller *controller, const struct pd_pool *pool)
{
    if (strcmp(pool->status.progressing.reason, "Draining") != 0)
        pd_store_event(controller->store, PD_EVENT_NORMAL, pool->spec->name, NULL, "Draining",
                       "the pool is being deleted; runs have %lld s to finish",
                       (long long)pd_drain_deadline_ms(pool->spec) / 1000);
}

/* ---- status ---- */

/* In ten-thousandths, so that not every run changes it. */
static double warm_hit_ratio(const struct pd_demand *demand)
{
    if (demand->runs == 0)
        return -1;
    return round((double)demand->warm_hits / (double)demand->runs * 1e4) / 1e4;
}

static int runs_each(const struct pd_pool_spec *spec)
{
    return spec->isolation == PD_ISOLATION_CONTAINER ? 1 : spec->recycle.after_runs;
}

void pd_report_plan(struct pd_controller *controller, struct pd_pool *pool, struct pd_plan *plan)
{
    struct pd_pool_state *state = pd_pool_state_of(pool);
    const struct pd_pool_status *old = &pool->status;
    struct pd_pool_status *status = &plan->status;

    status->warm_hit_ratio = warm_hit_ratio(&pool->demand);
    status->refill_p99_ms = pd_refill_p99_ms(&state->refill);
    status->start_p90_ms = pd_reserve_start_p90_ms(&state->reserve);
    status->recommended_min = pd_reserve_recommended(&state->reserve, runs_each(pool->spec));
    status->failures = state->failures;
    if (memcmp(old, status, sizeof *status) == 0)
        return;
    log_condition(pool, "Available", &status->available, &old->available);
    log_condition(pool, "Progressing", &status->progressing, &old->progressing);
    log_condition(pool, "Degraded", &status->degraded, &old->degraded);
    tell_size(controller, pool, plan);
    tell_degraded(controller, pool, &status->degraded);
    tell_progress(controller, pool, status);
    if (pool->deleting)
        tell_deletion(controller, pool);
    pd_store_pool_set_status(controller->store, pool, status);
}
