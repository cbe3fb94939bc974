/* Whatever call fails, and wherever the service is killed, the next life finds
 * everything, becomes what is wanted, and leaks nothing.
 *
 * What calls there are is not listed here but made from the headers
 * (tests/lib/fault_points.py): every member of struct pd_provider_ops, every
 * function of the store. One life without faults counts how often each is called;
 * then, for every call and a spread of its occurrences, that life is lived again
 * in a process of its own with one fault:
 *
 *   kill     the service dies just before the call
 *   refuse   the call is refused
 *   fail     the provider answers with a failure, and has done nothing
 *   late     the provider answers with a failure, and has done it
 *   silent   the provider does it and never answers
 *   die      the provider does it, and the service dies before it hears so
 *
 *   fault_points [--all] [CALL [FAULT]]    --all: every single occurrence */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/controller_world.h"

#define OCCURRENCES_MAX 16 /* of one call and fault, evenly spread, without --all */

enum fault { KILL, REFUSE, FAIL, LATE, SILENT, DIE, FAULTS };

static const char *const fault_names[] = {
    [KILL] = "kill", [REFUSE] = "refuse", [FAIL] = "fail",
    [LATE] = "late", [SILENT] = "silent", [DIE] = "die",
};

struct fault_call {
    const char *name;
    bool can_refuse;
    bool is_answered; /* by a provider, later */
};

/* ---- fault points ---- */

#define CALLS_MAX 128

static struct {
    const char *call; /* where the fault is to be; NULL: only count */
    enum fault fault;
    unsigned occurrence; /* counted down to it, from 1 */
    bool struck;
    jmp_buf dead;
    struct world *world;
    struct pd_provider provider; /* what the controller sees */
    const char *names[CALLS_MAX];
    unsigned counts[CALLS_MAX];
} faults;

static struct pd_provider *fault_real(struct pd_provider *provider)
{
    assert_ptr_equal(provider, &faults.provider);
    return &faults.world->sim->provider;
}

static void count(const char *name)
{
    size_t i = 0;

    while (i < CALLS_MAX && faults.names[i] && strcmp(faults.names[i], name) != 0)
        i++;
    assert_true(i < CALLS_MAX);
    faults.names[i] = name;
    faults.counts[i]++;
}

static unsigned count_of(const char *name)
{
    for (size_t i = 0; i < CALLS_MAX && faults.names[i]; i++) {
        if (strcmp(faults.names[i], name) == 0)
            return faults.counts[i];
    }
    return 0;
}

static void die(void *arg)
{
    (void)arg;
    longjmp(faults.dead, 1);
}

/* Whether the fault is due in this call. */
static bool strikes(const char *name)
{
    count(name);
    if (!faults.call || faults.struck || strcmp(faults.call, name) != 0 || --faults.occurrence > 0)
        return false;
    faults.struck = true;
    return true;
}

static bool fault_point_refuses(const char *name)
{
    static const enum provider_sim_verdict verdicts[] = {
        [FAIL] = PROVIDER_SIM_FAIL,
        [LATE] = PROVIDER_SIM_LATE,
        [SILENT] = PROVIDER_SIM_SILENT,
        [DIE] = PROVIDER_SIM_DIE,
    };

    if (!strikes(name))
        return false;
    if (faults.fault == KILL)
        die(NULL);
    if (faults.fault == REFUSE)
        return true;
    faults.world->sim->next_verdict = verdicts[faults.fault];
    return false;
}

static void fault_point(const char *name)
{
    if (strikes(name) && faults.fault == KILL)
        die(NULL);
}

#include "fault_calls.h"

/* ---- a life ---- */

/* As a source does it: what is refused is tried again. */
static void declare(struct world *world, const char *hash, int min, int max)
{
    struct pd_pool_spec *spec = spec_new("p", hash);
    struct pd_err err;

    spec->min_size = min;
    spec->max_size = max;
    pd_pool_spec_unref(world->spec);
    world->spec = spec;
    if (pd_store_pool_put(world->store, spec, "test", &err) < 0)
        assert_int_equal(pd_store_pool_put(world->store, spec, "test", &err), 0);
}

static void undeclare(struct world *world)
{
    struct pd_err err;

    if (pd_store_pool_delete(world->store, "p", "test", &err) == PD_UNAVAILABLE)
        pd_store_pool_delete(world->store, "p", "test", &err);
}

static void begin(struct world *world)
{
    struct pd_controller_config config = {
        .loop = &world->loop,
        .languages = &world->languages,
        .docker = &faults.provider,
        .fixed_now = fixed_now,
    };
    struct pd_pool_spec *spec = world->spec;

    world->store = config.store = pd_store_new(&world->loop, fixed_now);
    declare(world, spec->template_hash, spec->min_size, spec->max_size);
    world->controller = pd_controller_new(&config);
}

static void step_fill(struct world *world)
{
    world->sim->faults[PROVIDER_SIM_CREATE].slow_ms = 100;
    advance(world, 2000);
}

static void step_use(struct world *world)
{
    claim(world, "ours");
    claim(world, "theirs");
    claim(world, "ours");
    advance(world, 500);
}

static void step_spoil(struct world *world)
{
    if (world->n_claims > 0)
        release(world, 0, false);
    advance(world, 500);
}

static void step_kill(struct world *world)
{
    if (world->sim->count > 0)
        provider_sim_kill(world->sim, 0);
    advance(world, 1000);
}

static void step_vanish_unseen(struct world *world)
{
    world->sim->lose_event_percent = 100;
    if (world->sim->count > 0)
        provider_sim_vanish(world->sim, 0);
    world->sim->lose_event_percent = 0;
    advance(world, 5000);
}

static void step_break_link(struct world *world)
{
    if (world->sim->count > 0)
        provider_sim_break_link(world->sim, world->sim->count - 1);
    advance(world, 1000);
}

static void step_engine_restarts(struct world *world)
{
    provider_sim_set_down(world->sim, true, false);
    advance(world, 2000);
    provider_sim_set_down(world->sim, false, false);
    advance(world, 2000);
}

static void step_roll(struct world *world)
{
    declare(world, "bbbb", 3, 6);
    advance(world, 3000);
    while (world->n_claims > 0)
        release(world, 0, true);
    advance(world, 3000);
}

static void step_scale(struct world *world)
{
    declare(world, "bbbb", 5, 6);
    advance(world, 2000);
    declare(world, "bbbb", 2, 4);
    advance(world, 2000);
}

static void step_delete(struct world *world)
{
    claim(world, "ours");
    undeclare(world);
    advance(world, 1000);
    while (world->n_claims > 0)
        release(world, 0, true);
    advance(world, 1000);
    declare(world, "bbbb", 2, 4);
    advance(world, 2000);
}

static void step_restart(struct world *world)
{
    stop(world, false);
    begin(world);
    advance(world, 2000);
}

static void step_clean_stop(struct world *world)
{
    stop(world, true);
    begin(world);
    advance(world, 2000);
}

typedef void (*step_fn)(struct world *world);

static const step_fn steps[] = {
    step_fill,       step_use,  step_spoil,   step_kill,       step_vanish_unseen,
    step_break_link, step_roll, step_use,     step_scale,      step_engine_restarts,
    step_delete,     step_use,  step_restart, step_clean_stop,
};

static struct world *world_new(void)
{
    struct world *world = PD_NEW(struct world);

    uv_loop_init(&world->loop);
    world->languages.count = 1;
    world->languages.items[0] =
        (struct pd_language){.name = "python", .file = (char *)"main.py", .spare = (char *)""};
    return world;
}

/* The next process: nothing of the former is left but what the provider has. */
static void revive(void)
{
    struct world *old = faults.world;
    struct world *world = world_new();

    world->sim = old->sim;
    world->spec = old->spec;
    provider_sim_orphan(world->sim, &world->loop);
    if (world->sim->down)
        world->sim->down = false;
    faults.world = world;
    begin(world);
}

/* What is wanted is there, known and warm, and then nothing more is done. */
static void check_converged(struct world *world)
{
    unsigned calls;

    declare(world, "cccc", 2, 5);
    advance(world, 20 * 60 * 1000);
    assert_settled(world, 2);
    assert_int_equal(status(world)->updated, 2);
    assert_int_equal(pd_store_sandbox_count(world->store, "p"), 2);
    calls = world->sim->calls[PROVIDER_SIM_CREATE] + world->sim->calls[PROVIDER_SIM_DESTROY];
    advance(world, 10 * 60 * 1000);
    assert_int_equal(calls, world->sim->calls[PROVIDER_SIM_CREATE] +
                                world->sim->calls[PROVIDER_SIM_DESTROY]);
}

static void live(void)
{
    volatile size_t step = 0;

    pd_log_level_set(getenv("PD_TEST_LOG") ? PD_LOG_DEBUG : PD_LOG_ERROR);
    clock_now = (struct pd_time){1000000 * PD_NS_PER_MS};
    faults.world = world_new();
    faults.world->sim = provider_sim_new(&faults.world->loop, fixed_now, 1);
    faults.world->sim->on_die = die;
    faults.world->spec = spec_new("p", "aaaa");
    faults.provider = (struct pd_provider){.ops = &faulty_ops, .instance = "faulty"};
    if (setjmp(faults.dead) == 0)
        begin(faults.world);
    else
        revive();
    for (; step < PD_COUNT(steps); step++) {
        if (setjmp(faults.dead) == 0)
            steps[step](faults.world);
        else
            revive();
    }
    if (setjmp(faults.dead) != 0)
        revive();
    while (faults.world->n_claims > 0)
        release(faults.world, 0, true);
    check_converged(faults.world);
}

/* ---- trials ---- */

static bool strike(const struct fault_call *call, enum fault fault, unsigned occurrence)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        faults.call = call->name;
        faults.fault = fault;
        faults.occurrence = occurrence;
        live();
        assert_true(faults.struck);
        fflush(NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    print_error("%s, %s, occurrence %u: it does not end well (status %d)\n", call->name,
                fault_names[fault], occurrence, status);
    return false;
}

static bool applies(const struct fault_call *call, enum fault fault)
{
    return fault == KILL || (fault == REFUSE ? call->can_refuse : call->is_answered);
}

struct tally {
    unsigned trials, failures;
};

static void try_call(const struct fault_call *call, enum fault fault, bool all, struct tally *tally)
{
    unsigned total = count_of(call->name);
    unsigned samples = all || total < OCCURRENCES_MAX ? total : OCCURRENCES_MAX;

    for (unsigned i = 0; i < samples; i++) {
        unsigned occurrence =
            samples > 1 ? 1 + (unsigned)((uint64_t)i * (total - 1) / (samples - 1)) : 1;
        tally->trials++;
        tally->failures += !strike(call, fault, occurrence);
    }
}

int main(int argc, char **argv)
{
    bool all = argc > 1 && strcmp(argv[1], "--all") == 0;
    const char *only_call = argc > 1 + all ? argv[1 + all] : NULL;
    const char *only_fault = argc > 2 + all ? argv[2 + all] : NULL;
    struct tally tally = {0};
    size_t reached = 0;

    live(); /* counts */
    for (size_t i = 0; i < PD_COUNT(fault_calls); i++) {
        const struct fault_call *call = &fault_calls[i];
        reached += count_of(call->name) > 0;
        if (only_call && strcmp(only_call, call->name) != 0)
            continue;
        for (enum fault fault = 0; fault < FAULTS; fault++) {
            if (applies(call, fault) &&
                (!only_fault || strcmp(only_fault, fault_names[fault]) == 0))
                try_call(call, fault, all, &tally);
        }
    }
    print_message("fault points: %zu calls of %zu reached, %u lives, %u of them ended badly\n",
                  reached, PD_COUNT(fault_calls), tally.trials, tally.failures);
    return tally.failures > 0 || tally.trials == 0 ? 1 : 0;
}
