#include "tests/lib/pool_sim.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/mem.h"

void pool_sim_init(struct pool_sim *sim, uint64_t seed)
{
    memset(sim, 0, sizeof *sim);
    sim->random = seed * 2 + 1;
    sim->now = (struct pd_time){1000 * PD_NS_PER_MS};
    sim->start_ms = 500;
    sim->end_ms = 200;
    sim->spec = (struct pd_pool_spec){
        .name = "sim",
        .min_size = 3,
        .max_size = 10,
        .target_idle = 1,
        .scale_down_after_ms = 60000,
        .run = {.max_timeout_ms = 60000},
        .update = {.max_surge = 1},
        .template_hash = "aaaa",
    };
}

int pool_sim_random(struct pool_sim *sim, int n)
{
    sim->random = sim->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((sim->random >> 33) % (uint64_t)n);
}

int pool_sim_count(const struct pool_sim *sim, enum pd_sandbox_phase phase)
{
    int count = 0;

    for (size_t i = 0; i < sim->count; i++)
        count += sim->members[i].view.phase == phase;
    return count;
}

struct pd_view pool_sim_view(struct pool_sim *sim, struct pd_view_member *members)
{
    pd_growth_begin(&sim->growth, sim->spec.template_hash);
    pd_peak_set_window(&sim->in_use, sim->spec.scale_down_after_ms, sim->now);
    pd_peak_set_window(&sim->needed, sim->spec.scale_down_after_ms, sim->now);
    pd_peak_note(&sim->in_use, sim->now, pool_sim_count(sim, PD_SANDBOX_CLAIMED));
    for (size_t i = 0; i < sim->count; i++) {
        sim->members[i].view.id = sim->members[i].id;
        sim->members[i].view.template_hash = sim->members[i].template_hash;
        members[i] = sim->members[i].view;
    }
    return (struct pd_view){
        .members = members,
        .n_members = sim->count,
        .deleting = sim->deleting,
        .drain_begun = sim->drain_begun,
        .may_act = true,
        .peak_in_use = pd_peak_value(&sim->in_use, sim->now),
        .peak_needed = pd_peak_value(&sim->needed, sim->now),
        .queued = sim->queued,
        .blocked = sim->blocked,
        .wait_ms = sim->wait_ms,
        .start_ms = sim->start_ms,
        .growth = &sim->growth,
        .previous = &sim->previous,
        .provider_error = "",
        .isolation_error = "",
        .source_error = "",
        .conflict = "",
    };
}

static void set_phase(struct pool_sim *sim, struct pool_sim_member *member,
                      enum pd_sandbox_phase phase, int64_t longest_ms)
{
    member->view.phase = phase;
    member->view.phase_since = sim->now;
    member->due = pd_time_add_ms(sim->now, 1 + pool_sim_random(sim, (int)longest_ms));
}

static void create_one(struct pool_sim *sim)
{
    struct pool_sim_member *member = &sim->members[sim->count++];

    assert(sim->count <= POOL_SIM_MEMBERS_MAX);
    memset(member, 0, sizeof *member);
    snprintf(member->id, sizeof member->id, "m%05u", sim->ids++);
    pd_strcpy(member->template_hash, sizeof member->template_hash, sim->spec.template_hash);
    member->view.created = sim->now;
    member->fails = pool_sim_random(sim, 100) < sim->fail_percent ||
                    strcmp(member->template_hash, sim->bad_template) == 0;
    set_phase(sim, member, PD_SANDBOX_CREATING, sim->start_ms / 2);
}

static struct pool_sim_member *find(struct pool_sim *sim, const char *id)
{
    for (size_t i = 0; i < sim->count; i++) {
        if (strcmp(sim->members[i].id, id) == 0)
            return &sim->members[i];
    }
    return NULL;
}

void pool_sim_apply(struct pool_sim *sim, const struct pd_plan *plan)
{
    for (size_t i = 0; i < plan->n_actions; i++) {
        struct pool_sim_member *member = find(sim, plan->actions[i].id);
        if (plan->actions[i].type == PD_ACTION_RETIRE)
            member->view.spent = true;
        else
            set_phase(sim, member, PD_SANDBOX_TERMINATING, sim->end_ms);
        if (plan->actions[i].why == PD_WHY_STUCK)
            pd_growth_failed(&sim->growth, PD_TIMEOUT, "stuck", sim->now, 1);
    }
    for (int i = 0; i < plan->create; i++)
        create_one(sim);
    pd_peak_note(&sim->needed, sim->now, plan->needed);
    sim->previous = plan->status;
}

static void finish(struct pool_sim *sim, size_t i)
{
    struct pool_sim_member *member = &sim->members[i];

    if (member->view.phase == PD_SANDBOX_CREATING && member->fails &&
        pool_sim_random(sim, 2) == 0) {
        pd_growth_failed(&sim->growth, PD_INTERNAL, "not created", sim->now, 1);
        set_phase(sim, member, PD_SANDBOX_TERMINATING, sim->end_ms);
    } else if (member->view.phase == PD_SANDBOX_CREATING) {
        pd_growth_created(&sim->growth);
        set_phase(sim, member, PD_SANDBOX_STARTING, sim->start_ms / 2);
    } else if (member->view.phase == PD_SANDBOX_STARTING && member->fails) {
        pd_growth_failed(&sim->growth, PD_INTERNAL, "never ready", sim->now, 1);
        set_phase(sim, member, PD_SANDBOX_TERMINATING, sim->end_ms);
    } else if (member->view.phase == PD_SANDBOX_STARTING) {
        pd_growth_ready(&sim->growth);
        set_phase(sim, member, PD_SANDBOX_WARM, 1);
    } else if (member->view.phase == PD_SANDBOX_TERMINATING) {
        sim->members[i] = sim->members[--sim->count];
    }
}

void pool_sim_advance(struct pool_sim *sim, int64_t ms)
{
    sim->now = pd_time_add_ms(sim->now, ms);
    for (size_t i = sim->count; i-- > 0;) {
        struct pool_sim_member *member = &sim->members[i];
        bool moves =
            member->view.phase != PD_SANDBOX_WARM && member->view.phase != PD_SANDBOX_CLAIMED;
        if (moves && !pd_time_before(sim->now, member->due))
            finish(sim, i);
    }
}

/* A random member in this phase, or NULL. */
static struct pool_sim_member *pick(struct pool_sim *sim, enum pd_sandbox_phase phase)
{
    int count = pool_sim_count(sim, phase);
    int at = count > 0 ? pool_sim_random(sim, count) : -1;

    for (size_t i = 0; i < sim->count; i++) {
        if (sim->members[i].view.phase == phase && at-- == 0)
            return &sim->members[i];
    }
    return NULL;
}

bool pool_sim_claim(struct pool_sim *sim)
{
    struct pool_sim_member *member = pick(sim, PD_SANDBOX_WARM);

    if (!member || member->view.spent)
        return false;
    set_phase(sim, member, PD_SANDBOX_CLAIMED, 1);
    member->view.bound = true;
    return true;
}

bool pool_sim_release(struct pool_sim *sim, bool usable)
{
    struct pool_sim_member *member = pick(sim, PD_SANDBOX_CLAIMED);

    if (!member)
        return false;
    set_phase(sim, member, PD_SANDBOX_WARM, 1);
    member->view.spent |= !usable;
    member->view.worn |= pool_sim_random(sim, 16) == 0;
    return true;
}

void pool_sim_die(struct pool_sim *sim)
{
    struct pool_sim_member *member =
        pick(sim, pool_sim_random(sim, 2) ? PD_SANDBOX_WARM : PD_SANDBOX_CLAIMED);

    if (member)
        set_phase(sim, member, PD_SANDBOX_TERMINATING, sim->end_ms);
}
