/* One pool: look at everything, decide, act. */
#include <stdlib.h>
#include <string.h>

#include "common/fnv.h"
#include "common/log.h"
#include "common/mem.h"
#include "controller/decide.h"
#include "controller/state.h"

/* What a sandbox takes to start, before one has been measured. */
static const int64_t start_guess_ms[] = {
    [PD_PROVIDER_DOCKER] = 500,
    [PD_PROVIDER_ECS] = 60 * 1000,
};

/* An image may be large and its registry slow. */
#define PREPARE_TIMEOUT_MS (15 * 60 * 1000)

/* How long a run that was passed over is taken to wait still. */
#define REFUSAL_COUNTS_MS 200

/* A sandbox is worn when a tenth of recycle.afterRuns is left of it, or up to two more:
 * they are used in turns, and would all be worn with the same run. */
#define WORN_DIVISOR 10
#define WORN_SPREAD 3

struct pd_pool_state *pd_pool_state_of(struct pd_pool *pool)
{
    struct pd_pool_state *state = pool->controller_data;

    if (state)
        return state;
    state = PD_NEW(struct pd_pool_state);
    state->start_ms = start_guess_ms[pool->spec->provider];
    pd_reserve_init(&state->reserve);
    pool->controller_data = state;
    return state;
}

/* ---- view ---- */

static bool is_last_run(const struct pd_pool_spec *spec, const struct pd_sandbox *sandbox)
{
    return pd_sandbox_serves_one_run(spec, sandbox) ||
           (spec->recycle.after_runs > 0 &&
            sandbox->runs + 1 >= (uint32_t)spec->recycle.after_runs);
}

/* Its replacement is made while it still serves, so that runs at full rate do
 * not meet a pool that has lost a sandbox. */
static bool is_worn(const struct pd_pool_spec *spec, const struct pd_sandbox *sandbox)
{
    int tenth = spec->recycle.after_runs / WORN_DIVISOR;
    uint32_t hash = pd_fnv_add(PD_FNV_BEGIN, sandbox->id, strlen(sandbox->id));
    int ahead = tenth + (int)((int64_t)tenth * (WORN_SPREAD - 1) * (hash % 1000) / 1000);
    return tenth > 0 && sandbox->runs >= (uint32_t)(spec->recycle.after_runs - ahead);
}

static struct pd_view_member view_member(const struct pd_pool_spec *spec,
                                         const struct pd_sandbox *sandbox)
{
    bool claimed = sandbox->phase == PD_SANDBOX_CLAIMED;

    return (struct pd_view_member){
        .id = sandbox->id,
        .template_hash = sandbox->template_hash,
        .phase = sandbox->phase,
        .phase_since = sandbox->phase_since,
        .created = sandbox->created,
        .spent = sandbox->recycle || (claimed && is_last_run(spec, sandbox)),
        .worn = is_worn(spec, sandbox),
        .bound = sandbox->key_id[0] != '\0' && !spec->recycle.share,
    };
}

static struct pd_view_member *view_members(struct pd_store *store, const struct pd_pool *pool,
                                           size_t count)
{
    struct pd_view_member *members = pd_calloc(count, sizeof *members);

    for (size_t i = 0; i < count; i++)
        members[i] = view_member(pool->spec, pd_store_sandbox_at(store, pool->spec->name, i));
    return members;
}

/* Whether, a moment ago, a run was passed over because what was free served
 * other keys. While it waits it is passed over again and again. */
static bool note_refusals(struct pd_controller *controller, struct pd_pool *pool,
                          struct pd_time now)
{
    struct pd_pool_state *state = pd_pool_state_of(pool);
    struct pd_time until = pd_time_add_ms(state->refused_at, REFUSAL_COUNTS_MS);

    if (pool->demand.no_sandbox_for_key != state->refused_seen)
        until = pd_time_add_ms(state->refused_at = now, REFUSAL_COUNTS_MS);
    state->refused_seen = pool->demand.no_sandbox_for_key;
    if (!pd_time_is_set(state->refused_at) || !pd_time_before(now, until))
        return false;
    pd_controller_enqueue_at(controller, pool->spec->name, until);
    return true;
}

static int count_claimed(struct pd_store *store, const char *pool)
{
    struct pd_sandbox *sandbox;
    int claimed = 0;

    for (size_t i = 0; (sandbox = pd_store_sandbox_at(store, pool, i)); i++)
        claimed += sandbox->phase == PD_SANDBOX_CLAIMED;
    return claimed;
}

static const char *provider_error(const struct pd_provider_state *at)
{
    return at->provider ? at->error : "its provider is not configured";
}

static const char *isolation_error(const struct pd_pool *pool)
{
    return pool->hello.n_languages > 0 && pool->hello.isolation > pool->spec->isolation
               ? pool->hello.isolation_reason
               : "";
}

static struct pd_view view_of(struct pd_controller *controller, struct pd_pool *pool,
                              struct pd_time now)
{
    struct pd_pool_state *state = pd_pool_state_of(pool);
    const struct pd_provider_state *at = &controller->providers[pool->spec->provider];
    const struct pd_demand *demand = &pool->demand;
    bool waited_longer = demand->oldest_wait_ms > demand->expected_wait_ms;
    size_t count = pd_store_sandbox_count(controller->store, pool->spec->name);

    return (struct pd_view){
        .members = view_members(controller->store, pool, count),
        .n_members = count,
        .expected = 0, /* this store shows every intent at once */
        .deleting = pool->deleting,
        .drain_begun = state->drain_begun,
        .may_act = at->up && at->listed && !controller->closing,
        .peak_in_use = pd_peak_value(&state->in_use, now),
        .peak_needed = pd_peak_value(&state->needed, now),
        .queued = demand->queued,
        .blocked = note_refusals(controller, pool, now),
        .wait_ms = waited_longer ? demand->oldest_wait_ms : demand->expected_wait_ms,
        .start_ms = state->start_ms,
        .growth = &state->growth,
        .generation = pool->generation,
        .wall_ms = pd_wall_ms(),
        .previous = &pool->status,
        .provider_error = provider_error(at),
        .isolation_error = isolation_error(pool),
        .source_error = pool->source_error,
        .conflict = pool->conflict,
    };
}

/* ---- act: prepare and create ---- */

static void prepare_failed(struct pd_controller *controller, struct pd_pool *pool,
                           const struct pd_err *err)
{
    pd_log(PD_LOG_WARN, "controller", "pool not prepared, will try again", "pool", pool->spec->name,
           "err", err->msg, NULL);
    pd_growth_failed(&pd_pool_state_of(pool)->growth, err->kind, err->msg, controller->now(),
                     (uint64_t)(uintptr_t)pool);
    pd_report_failure(controller, pool, NULL, "NotPrepared", err->msg);
}

static void on_prepared(void *arg, const struct pd_err *err)
{
    struct pd_op *op = arg;
    struct pd_controller *controller = op->controller;
    struct pd_pool *pool = controller ? pd_store_pool(controller->store, op->id) : NULL;
    struct pd_pool_state *state = pool ? pd_pool_state_of(pool) : NULL;

    if (state && state->preparing && op->serial == state->prepare_serial) {
        state->preparing = false;
        if (!err)
            pd_strcpy(state->ready_hash, sizeof state->ready_hash, op->hash);
        else if (strcmp(op->hash, pool->spec->template_hash) == 0)
            prepare_failed(controller, pool, err);
        pd_controller_enqueue(controller, op->id);
    }
    pd_op_free(op);
}

static void prepare(struct pd_controller *controller, struct pd_pool *pool)
{
    struct pd_pool_state *state = pd_pool_state_of(pool);
    struct pd_provider_state *at = &controller->providers[pool->spec->provider];
    struct pd_op *op = pd_op_new(at, PD_OP_NONE, pool->spec->name);
    struct pd_err err = {0};

    pd_strcpy(op->hash, sizeof op->hash, pool->spec->template_hash);
    op->serial = ++state->prepare_serial;
    state->preparing = true;
    state->prepare_until = pd_time_add_ms(controller->now(), PREPARE_TIMEOUT_MS);
    if (at->provider->ops->ensure_ready(at->provider, pool->spec, on_prepared, op, &err) < 0)
        on_prepared(op, &err);
}

/* No answer in time: it is asked again, after the pause of a failure. */
static void give_up_preparing(struct pd_controller *controller, struct pd_pool *pool)
{
    struct pd_pool_state *state = pd_pool_state_of(pool);
    struct pd_err err;

    if (!state->preparing)
        return;
    if (pd_time_before(controller->now(), state->prepare_until)) {
        pd_controller_enqueue_at(controller, pool->spec->name, state->prepare_until);
        return;
    }
    state->preparing = false;
    pd_err_set(&err, PD_TIMEOUT, "the provider did not get the template ready in time");
    prepare_failed(controller, pool, &err);
}

static void create(struct pd_controller *controller, struct pd_pool *pool,
                   const struct pd_plan *plan)
{
    struct pd_pool_state *state = pd_pool_state_of(pool);
    int count = plan->create;

    if (count == 0 || state->preparing)
        return;
    if (strcmp(state->ready_hash, pool->spec->template_hash) != 0) {
        prepare(controller, pool);
        return;
    }
    pd_report_created(controller, pool, count, plan);
    for (int i = 0; i < count; i++)
        pd_life_begin(controller, pool);
}

/* ---- act: destroy and retire ---- */

static void act(struct pd_controller *controller, struct pd_pool *pool,
                const struct pd_action *action)
{
    struct pd_sandbox *sandbox = pd_store_sandbox(controller->store, action->id);
    const char *reason = pd_why_text(action->why);

    if (action->type == PD_ACTION_RETIRE) {
        pd_store_sandbox_retire(controller->store, sandbox, reason);
        return;
    }
    if (action->why == PD_WHY_STUCK &&
        strcmp(sandbox->template_hash, pool->spec->template_hash) == 0)
        pd_growth_failed(&pd_pool_state_of(pool)->growth, PD_TIMEOUT, reason, controller->now(),
                         (uint64_t)(uintptr_t)pool);
    pd_report_ordered(controller, sandbox, action->why);
    pd_life_end(sandbox, reason);
}

/* ---- reconcile ---- */

static void step_members(struct pd_controller *controller, const char *pool)
{
    for (size_t i = pd_store_sandbox_count(controller->store, pool); i-- > 0;)
        pd_life_step(pd_store_sandbox_at(controller->store, pool, i));
}

static void wake_for_plan(struct pd_controller *controller, const char *pool,
                          const struct pd_pool_state *state, const struct pd_plan *plan,
                          struct pd_time now)
{
    struct pd_time wakes[] = {
        plan->wake,
        pd_peak_next_drop(&state->in_use, now),
        pd_peak_next_drop(&state->needed, now),
    };

    for (size_t i = 0; i < PD_COUNT(wakes); i++) {
        if (pd_time_is_set(wakes[i]))
            pd_controller_enqueue_at(controller, pool, wakes[i]);
    }
}

static void forget(struct pd_controller *controller, struct pd_pool *pool)
{
    pd_log(PD_LOG_INFO, "controller", "pool gone", "pool", pool->spec->name, NULL);
    pd_store_event(controller->store, PD_EVENT_NORMAL, pool->spec->name, NULL, "Drained",
                   "nothing of the pool is left");
    free(pool->controller_data);
    pool->controller_data = NULL;
    pd_store_pool_forget(controller->store, pool->spec->name);
}

static void carry_out(struct pd_controller *controller, struct pd_pool *pool,
                      const struct pd_plan *plan)
{
    for (size_t i = 0; i < plan->n_actions; i++)
        act(controller, pool, &plan->actions[i]);
    create(controller, pool, plan);
}

/* A drain begins when it was asked for, in an earlier life too. */
static void note_deletion(struct pd_pool *pool, struct pd_time now)
{
    struct pd_pool_state *state = pd_pool_state_of(pool);
    int64_t ago_ms = pd_wall_ms() - pool->deletion_wall_ms;

    if (!pool->deleting)
        state->drain_begun = (struct pd_time){0};
    else if (!pd_time_is_set(state->drain_begun))
        state->drain_begun = pd_time_add_ms(now, ago_ms > 0 ? -ago_ms : 0);
}

/* What this controller is to keep of the pool. The copy borrows what it points to. */
static struct pd_pool_spec spec_of(const struct pd_controller *controller,
                                   const struct pd_pool *pool)
{
    struct pd_pool_spec spec = *pool->spec;
    struct pd_share share;

    if (!controller->share)
        return spec;
    share = controller->share(controller->share_arg, pool->spec);
    spec.min_size = share.min_size;
    spec.max_size = share.max_size;
    spec.target_idle = share.target_idle;
    return spec;
}

/* Whether it is gone at the provider, for every replica. A change of what others have
 * puts the pool in line again. */
static bool is_gone(const struct pd_controller *controller, const char *name,
                    const struct pd_plan *plan)
{
    return plan->drained &&
           (!controller->others || controller->others(controller->share_arg, name) == 0);
}

void pd_reconcile_pool(struct pd_controller *controller, const char *name)
{
    struct pd_pool *pool = pd_store_pool(controller->store, name);
    struct pd_time now = controller->now();
    struct pd_pool_state *state;
    struct pd_pool_spec spec;
    struct pd_view view;
    struct pd_plan plan;
    int claimed;

    if (!pool)
        return;
    step_members(controller, name);
    if (controller->closing)
        return;
    state = pd_pool_state_of(pool);
    pd_growth_begin(&state->growth, pool->spec->template_hash);
    pd_peak_set_window(&state->in_use, pool->spec->scale_down_after_ms, now);
    pd_peak_set_window(&state->needed, pool->spec->scale_down_after_ms, now);
    claimed = count_claimed(controller->store, name);
    pd_peak_note(&state->in_use, now, claimed);
    pd_reserve_look(&state->reserve, pool->demand.runs + (uint64_t)pool->demand.queued, claimed,
                    now);
    note_deletion(pool, now);
    give_up_preparing(controller, pool);
    view = view_of(controller, pool, now);
    spec = spec_of(controller, pool);
    pd_decide(&spec, &view, now, &plan);
    pd_refill_missing(&state->refill, plan.wanted - plan.status.ready - plan.status.claimed);
    pd_peak_note(&state->needed, now, plan.needed);
    carry_out(controller, pool, &plan);
    wake_for_plan(controller, name, state, &plan, now);
    free((void *)(uintptr_t)view.members);
    if (is_gone(controller, name, &plan))
        forget(controller, pool);
    else
        pd_report_plan(controller, pool, &plan);
}
