/* pd_decide: what it never does, as properties over random histories
 * (tests/lib/pool_sim.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/time.h"
#include "controller/decide.h"
#include "tests/lib/decide_row.h"
#include "tests/lib/pool_sim.h"

#define HISTORIES 2000
#define STEPS 150

/* The plan for the world as it is; then the checks that hold for any plan. */
struct world {
    struct pool_sim sim;
    uint64_t seed;
    int step;
    struct pd_view_member members[POOL_SIM_MEMBERS_MAX];
    struct pd_view view;
    struct pd_plan plan;
    int64_t short_ms; /* how long fewer than minSize have served */
    bool calm;        /* nothing fails in this history */
};

static void show(const struct pd_pool_spec *spec, const struct pd_view *view,
                 const struct pd_plan *plan)
{
    char text[1024];

    print_error(
        "spec: min %d, max %d, idle %d, surge %d, unavailable %d, %s; view: ", spec->min_size,
        spec->max_size, spec->target_idle, spec->update.max_surge, spec->update.max_unavailable,
        spec->update.type == PD_UPDATE_RECREATE ? "recreate" : "rolling");
    for (size_t i = 0; i < view->n_members; i++)
        print_error("%s %c%s%s%s%s", view->members[i].id, "csWCT"[view->members[i].phase],
                    view -> members[i].spent ? "!" : "", view->members[i].bound ? "@" : "",
                    view->members[i].worn ? "#" : "",
                    strcmp(view->members[i].template_hash, spec->template_hash) ? "~, " : ", ");
    decide_plan_write(plan, text, sizeof text);
    print_error("queued %d, blocked %d, peak %d, needed %d; wanted %d, plan: %s\n", view->queued,
                view->blocked, view->peak_in_use, view->peak_needed, plan->wanted, text);
}

#define check(world, condition)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            show(&(world)->sim.spec, &(world)->view, &(world)->plan);                              \
        if (!(condition))                                                                          \
            fail_msg("seed %llu, step %d: not " #condition, (unsigned long long)(world)->seed,     \
                     (world)->step);                                                               \
    } while (0)

static const struct pd_view_member *member_of(const struct world *world, const char *id)
{
    for (size_t i = 0; i < world->view.n_members; i++) {
        if (strcmp(world->members[i].id, id) == 0)
            return &world->members[i];
    }
    return NULL;
}

static bool drain_is_overdue(const struct world *world)
{
    return world->sim.deleting && pd_time_ms_between(world->sim.drain_begun, world->sim.now) >=
                                      pd_drain_deadline_ms(&world->sim.spec);
}

static void check_claimed_are_safe(const struct world *world)
{
    for (size_t i = 0; i < world->plan.n_actions; i++) {
        const struct pd_action *action = &world->plan.actions[i];
        bool claimed = member_of(world, action->id)->phase == PD_SANDBOX_CLAIMED;
        check(world, claimed == (action->type != PD_ACTION_DESTROY));
        check(world, action->type != PD_ACTION_EVICT || drain_is_overdue(world));
    }
}

static void check_nobody_twice(const struct world *world)
{
    for (size_t i = 0; i < world->plan.n_actions; i++) {
        for (size_t j = 0; j < i; j++)
            check(world, strcmp(world->plan.actions[i].id, world->plan.actions[j].id) != 0);
    }
}

static void check_max_size(const struct world *world)
{
    int exist = (int)world->view.n_members;

    check(world, world->plan.create >= 0);
    check(world, world->plan.create == 0 || exist + world->plan.create <= world->sim.spec.max_size);
}

static void check_growth(const struct world *world)
{
    const struct pd_growth *growth = &world->sim.growth;
    int window = growth->window > 0 ? growth->window : 1;
    int creating = pool_sim_count(&world->sim, PD_SANDBOX_CREATING);
    bool pausing = growth->failures > 0 && pd_time_before(world->sim.now, growth->retry_at);

    for (size_t i = 0; i < world->plan.n_actions; i++)
        creating -= member_of(world, world->plan.actions[i].id)->phase == PD_SANDBOX_CREATING;
    check(world, world->plan.create == 0 || creating + world->plan.create <= window);
    check(world, world->plan.create == 0 || !pausing);
    check(world, world->plan.create <= 1 || growth->failures == 0);
}

/* What works is not given up for what does not. */
static void check_failing_costs_nothing(const struct world *world)
{
    if (world->sim.growth.failures == 0 || world->sim.deleting ||
        world->sim.spec.update.type == PD_UPDATE_RECREATE)
        return;
    for (size_t i = 0; i < world->plan.n_actions; i++) {
        const struct pd_action *action = &world->plan.actions[i];
        bool serves = member_of(world, action->id)->phase == PD_SANDBOX_WARM ||
                      member_of(world, action->id)->phase == PD_SANDBOX_CLAIMED;
        check(world, !serves || action->why == PD_WHY_SPENT || action->why == PD_WHY_EXCESS);
    }
}

static int warm_and_good(const struct world *world)
{
    int count = 0;

    for (size_t i = 0; i < world->view.n_members; i++) {
        const struct pd_view_member *member = &world->members[i];
        count += !member->spent &&
                 (member->phase == PD_SANDBOX_WARM || member->phase == PD_SANDBOX_CLAIMED);
    }
    return count;
}

/* Old and outdated members go only as far as enough serve. */
static void check_roll_keeps_serving(const struct world *world)
{
    const struct pd_pool_spec *spec = &world->sim.spec;
    bool can_surge = spec->update.max_surge > 0 && spec->max_size > world->plan.wanted;
    int missing = can_surge || spec->update.max_unavailable > 0 ? spec->update.max_unavailable : 1;
    int left = warm_and_good(world);
    bool rolls = false;

    for (size_t i = 0; i < world->plan.n_actions; i++) {
        const struct pd_action *action = &world->plan.actions[i];
        enum pd_sandbox_phase phase = member_of(world, action->id)->phase;
        bool served = phase == PD_SANDBOX_WARM || phase == PD_SANDBOX_CLAIMED;
        left -= served && action->why != PD_WHY_SPENT;
        rolls |= served && (action->why == PD_WHY_OUTDATED || action->why == PD_WHY_OLD ||
                            action->why == PD_WHY_WORN);
    }
    if (spec->update.type == PD_UPDATE_ROLLING && !world->sim.deleting)
        check(world, !rolls || left >= world->plan.wanted - missing);
}

static bool same_plan(const struct pd_plan *a, const struct pd_plan *b)
{
    if (a->create != b->create || a->n_actions != b->n_actions || a->wanted != b->wanted)
        return false;
    for (size_t i = 0; i < a->n_actions; i++) {
        if (a->actions[i].why != b->actions[i].why ||
            strcmp(a->actions[i].id, b->actions[i].id) != 0)
            return false;
    }
    return memcmp(&a->status, &b->status, sizeof a->status) == 0 && a->wake.ns == b->wake.ns;
}

static void check_order_is_irrelevant(struct world *world)
{
    struct pd_view_member shuffled[POOL_SIM_MEMBERS_MAX];
    struct pd_view view = world->view;
    struct pd_plan plan;

    memcpy(shuffled, world->members, sizeof shuffled);
    for (size_t i = view.n_members; i > 1; i--) {
        size_t j = (size_t)pool_sim_random(&world->sim, (int)i);
        struct pd_view_member swap = shuffled[i - 1];
        shuffled[i - 1] = shuffled[j];
        shuffled[j] = swap;
    }
    view.members = shuffled;
    pd_decide(&world->sim.spec, &view, world->sim.now, &plan);
    check(world, same_plan(&plan, &world->plan));
}

/* Creations that are not to be seen yet, but known of, are not made again. */
static void check_stale_view(struct world *world)
{
    struct pd_view_member seen[POOL_SIM_MEMBERS_MAX];
    struct pd_view view = world->view;
    struct pd_plan plan;

    view.n_members = 0;
    for (size_t i = 0; i < world->view.n_members; i++) {
        const struct pd_view_member *member = &world->members[i];
        bool fresh = member->phase == PD_SANDBOX_CREATING && !member->spent &&
                     strcmp(member->template_hash, world->sim.spec.template_hash) == 0;
        if (fresh)
            view.expected++;
        else
            seen[view.n_members++] = *member;
    }
    view.members = seen;
    pd_decide(&world->sim.spec, &view, world->sim.now, &plan);
    check(world, plan.create <= world->plan.create);
    check(world, world->sim.deleting || plan.drained == world->plan.drained);
}

/* Its own plan carried out, decide wants nothing more at this moment. */
static void check_converges(struct world *world)
{
    struct pool_sim after = world->sim;
    struct pd_view_member members[POOL_SIM_MEMBERS_MAX];
    struct pd_view view;
    struct pd_plan plan;

    pool_sim_apply(&after, &world->plan);
    view = pool_sim_view(&after, members);
    pd_decide(&after.spec, &view, after.now, &plan);
    if (plan.n_actions > 0 || plan.create > 0)
        show(&after.spec, &view, &plan);
    check(world, plan.n_actions == 0);
    check(world, plan.create == 0);
}

static void decide(struct world *world)
{
    world->view = pool_sim_view(&world->sim, world->members);
    pd_decide(&world->sim.spec, &world->view, world->sim.now, &world->plan);
}

static void check_plan(struct world *world)
{
    check_claimed_are_safe(world);
    check_nobody_twice(world);
    check_max_size(world);
    check_growth(world);
    check_failing_costs_nothing(world);
    check_roll_keeps_serving(world);
    check_order_is_irrelevant(world);
    check_stale_view(world);
    check_converges(world);
}

static void random_spec(struct world *world)
{
    struct pool_sim *sim = &world->sim;
    struct pd_pool_spec *spec = &sim->spec;

    spec->min_size = pool_sim_random(sim, 5);
    spec->max_size = spec->min_size + pool_sim_random(sim, 8);
    if (spec->max_size == 0)
        spec->max_size = 1;
    spec->target_idle = pool_sim_random(sim, 4);
    spec->update.max_surge = pool_sim_random(sim, 3);
    spec->update.max_unavailable = pool_sim_random(sim, 3);
    spec->update.type = pool_sim_random(sim, 8) ? PD_UPDATE_ROLLING : PD_UPDATE_RECREATE;
    spec->scale_down_after_ms = pool_sim_random(sim, 4) * 5000;
    spec->recycle.after_age_ms = pool_sim_random(sim, 2) * 20000;
}

static void new_template(struct world *world)
{
    struct pool_sim *sim = &world->sim;

    snprintf(sim->spec.template_hash, sizeof sim->spec.template_hash, "t%d", world->step);
    if (!world->calm && pool_sim_random(sim, 3) == 0)
        pd_strcpy(sim->bad_template, sizeof sim->bad_template, sim->spec.template_hash);
}

static void random_event(struct world *world)
{
    struct pool_sim *sim = &world->sim;
    int dice = pool_sim_random(sim, 100);

    if (dice < 35)
        pool_sim_claim(sim);
    else if (dice < 65)
        pool_sim_release(sim, pool_sim_random(sim, 10) != 0);
    else if (dice < 75)
        sim->queued = pool_sim_random(sim, 8);
    else if (dice < 80)
        sim->wait_ms = pool_sim_random(sim, 3000);
    else if (dice < 85)
        sim->blocked = pool_sim_random(sim, 3);
    else if (dice < 88)
        new_template(world);
    else if (dice < 91 && !world->calm)
        pool_sim_die(sim);
    else if (dice < 93)
        random_spec(world);
}

static void begin_world(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    world->seed = seed;
    pool_sim_init(&world->sim, seed);
    random_spec(world);
    world->calm = seed % 2 == 0;
    world->sim.fail_percent = world->calm ? 0 : pool_sim_random(&world->sim, 60);
}

static void live(struct world *world)
{
    decide(world);
    check_plan(world);
    pool_sim_apply(&world->sim, &world->plan);
    pool_sim_advance(&world->sim, 1 + pool_sim_random(&world->sim, 300));
}

/* Left alone, a pool becomes what its spec says, and stays so. */
static void check_settles(struct world *world)
{
    struct pool_sim *sim = &world->sim;
    const struct pd_pool_status *status = &world->plan.status;

    sim->queued = sim->blocked = sim->fail_percent = 0;
    sim->bad_template[0] = '\0';
    sim->spec.recycle.after_age_ms = 0;
    for (size_t i = 0; i < sim->count; i++)
        sim->members[i].fails = false;
    while (pool_sim_release(sim, true))
        continue;
    for (int i = 0; i < 2000; i++) {
        live(world);
        world->step++;
    }
    decide(world);
    check(world, world->plan.n_actions == 0 && world->plan.create == 0);
    check(world, status->ready == world->plan.wanted && status->replicas == status->ready);
    check(world, status->updated == status->replicas);
    check(world,
          status->ready == (sim->spec.min_size == 0                      ? 0
                            : sim->spec.min_size > sim->spec.target_idle ? sim->spec.min_size
                            : sim->spec.target_idle < sim->spec.max_size ? sim->spec.target_idle
                                                                         : sim->spec.max_size));
    check(world, status->progressing.status == 0 && status->available.status == 1);
}

/* ---- histories ---- */

static void test_random_histories(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < HISTORIES; seed++) {
        struct world world;

        begin_world(&world, seed);
        for (world.step = 0; world.step < STEPS; world.step++) {
            random_event(&world);
            live(&world);
        }
        if (seed % 10 == 0)
            check_settles(&world);
    }
}

/* When members die or are spent but nothing fails, fewer than minSize serve for
 * no longer than it takes to end some and to start others. */
static void test_min_size_is_back_within_a_start(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < HISTORIES / 4; seed++) {
        struct world world;
        int64_t bound_ms;

        begin_world(&world, seed * 2);
        random_spec(&world);
        world.sim.spec.update.type = PD_UPDATE_ROLLING;
        world.sim.spec.recycle.after_age_ms = 0;
        bound_ms = 5 * (world.sim.start_ms + world.sim.end_ms + 100); /* batches of 1, 2, 4 */
        for (world.step = 0; world.step < STEPS; world.step++) {
            int before = pool_sim_random(&world.sim, 4);
            if (before == 0)
                pool_sim_claim(&world.sim);
            else if (before == 1)
                pool_sim_release(&world.sim, world.step % 30 != 0);
            if (world.step % 60 == 59)
                pool_sim_die(&world.sim);
            decide(&world);
            check_plan(&world);
            world.short_ms =
                warm_and_good(&world) < world.sim.spec.min_size ? world.short_ms + 100 : 0;
            check(&world, world.short_ms <= bound_ms);
            pool_sim_apply(&world.sim, &world.plan);
            pool_sim_advance(&world.sim, 100);
        }
    }
}

/* A pool that is deleted drains: runs finish, in one history of two; those that
 * do not are ended at the deadline, and not before. Then nothing is left. */
static void test_deleted_pools_drain(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < HISTORIES / 4; seed++) {
        struct world world;
        bool finish = seed % 2;
        int claimed;

        begin_world(&world, seed);
        for (world.step = 0; world.step < 40; world.step++) {
            random_event(&world);
            live(&world);
        }
        world.sim.deleting = true;
        world.sim.drain_begun = world.sim.now;
        claimed = pool_sim_count(&world.sim, PD_SANDBOX_CLAIMED);
        while (pool_sim_count(&world.sim, PD_SANDBOX_CLAIMED) > 0) {
            bool overdue = drain_is_overdue(&world);
            live(&world);
            check(&world, !world.plan.drained && world.plan.create == 0);
            check(&world,
                  overdue || finish || pool_sim_count(&world.sim, PD_SANDBOX_CLAIMED) == claimed);
            check(&world, !overdue || pool_sim_count(&world.sim, PD_SANDBOX_CLAIMED) == 0);
            if (finish && pool_sim_random(&world.sim, 10) == 0)
                pool_sim_release(&world.sim, true);
        }
        for (int i = 0; i < 20; i++)
            live(&world);
        check(&world, world.plan.drained && world.sim.count == 0);
    }
}

/* A roll replaces every member, one history in two of them while all the pool
 * is busy all the time. */
static void test_rolls_finish_under_load(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < HISTORIES / 10; seed++) {
        struct world world;
        bool busy = seed % 4 < 2;

        begin_world(&world, seed * 2);
        world.sim.spec.recycle.after_age_ms = 0;
        for (int i = 0; i < 60; i++)
            live(&world);
        new_template(&world);
        for (int i = 0; i < 600; i++) {
            if (busy && pool_sim_random(&world.sim, 2))
                pool_sim_release(&world.sim, true);
            while (busy && pool_sim_claim(&world.sim))
                continue;
            live(&world);
        }
        decide(&world);
        for (size_t i = 0; i < world.sim.count; i++)
            check(&world, world.sim.members[i].view.phase == PD_SANDBOX_TERMINATING ||
                              strcmp(world.sim.members[i].template_hash,
                                     world.sim.spec.template_hash) == 0);
    }
}

/* A template that never starts costs no sandbox of the one before it. */
static void test_a_bad_template_stops_the_roll(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < HISTORIES / 10; seed++) {
        struct world world;
        int least;

        begin_world(&world, seed * 2);
        world.sim.spec.update.type = PD_UPDATE_ROLLING;
        world.sim.spec.recycle.after_age_ms = 0;
        for (int i = 0; i < 100; i++)
            live(&world);
        least =
            pool_sim_count(&world.sim, PD_SANDBOX_WARM) -
            (world.sim.spec.update.max_unavailable > 1 ? world.sim.spec.update.max_unavailable : 1);
        new_template(&world);
        pd_strcpy(world.sim.bad_template, sizeof world.sim.bad_template,
                  world.sim.spec.template_hash);
        for (int i = 0; i < 400; i++) {
            live(&world);
            check(&world, pool_sim_count(&world.sim, PD_SANDBOX_WARM) >= least);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_histories),
        cmocka_unit_test(test_min_size_is_back_within_a_start),
        cmocka_unit_test(test_deleted_pools_drain),
        cmocka_unit_test(test_rolls_finish_under_load),
        cmocka_unit_test(test_a_bad_template_stops_the_roll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
