/* The controller through random histories: faults, kills, sources that change their minds. */
#include "tests/lib/controller_world.h"

#define HISTORIES 300
#define STEPS 60

static void random_faults(struct world *world)
{
    for (int op = 0; op < PROVIDER_SIM_OPS; op++) {
        bool gentle = op == PROVIDER_SIM_ENSURE;
        world->sim->faults[op] = (struct provider_sim_fault){
            .slow_ms = dice(world, 2000),
            .fail_percent = dice(world, 30),
            .late_percent = gentle ? 0 : dice(world, 20),
            .silent_percent = gentle ? 0 : dice(world, 5),
            .refuse_percent = dice(world, 10),
            .kind = (const int[]){0, PD_UNAVAILABLE, PD_LIMIT}[dice(world, 3)],
        };
    }
    world->sim->lose_event_percent = dice(world, 50);
    world->sim->mute_percent = dice(world, 10);
    world->sim->stillborn_percent = dice(world, 10);
}

static void harm(struct world *world, int what, size_t at)
{
    note_harm(world, (int)at);
    if (what == 0)
        provider_sim_kill(world->sim, at);
    else if (what == 1)
        provider_sim_vanish(world->sim, at);
    else
        provider_sim_break_link(world->sim, at);
}

static void random_event(struct world *world)
{
    int what = dice(world, 100);
    size_t any = world->sim->count > 0 ? (size_t)dice(world, (int)world->sim->count) : 0;

    if (what < 30) {
        claim(world, dice(world, 2) ? "ours" : "theirs");
    } else if (what < 60 && world->n_claims > 0) {
        release(world, (size_t)dice(world, (int)world->n_claims), dice(world, 8) != 0);
    } else if (what < 72 && world->sim->count > 0) {
        harm(world, what < 65 ? 0 : what < 68 ? 1 : 2, any);
    } else if (what < 75) {
        note_harm(world, -1);
        provider_sim_set_down(world->sim, !world->sim->down, dice(world, 3) == 0);
    } else if (what < 80) {
        replace_spec(world, dice(world, 2) ? "aaaa" : "bbbb", dice(world, 4), 4 + dice(world, 3));
    }
}

static void calm_down(struct world *world)
{
    memset(world->sim->faults, 0, sizeof world->sim->faults);
    world->sim->lose_event_percent = world->sim->mute_percent = 0;
    world->sim->stillborn_percent = 0;
    if (world->sim->down)
        provider_sim_set_down(world->sim, false, false);
    while (world->n_claims > 0)
        release(world, 0, true);
    replace_spec(world, "cccc", 2, 5);
    advance(world, 20 * 60 * 1000);
}

static void assert_within(struct world *world, size_t max)
{
    size_t records = pd_store_sandbox_count(world->store, "p");

    assert_true(records <= max);
}

static void test_random_histories_end_well(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < HISTORIES; seed++) {
        struct world world;

        open_world(&world, seed);
        random_faults(&world);
        for (int step = 0; step < STEPS; step++) {
            random_event(&world);
            advance(&world, dice(&world, 3000));
            assert_within(&world, 7 + world.n_claims);
            assert_claims_kept(&world);
        }
        calm_down(&world);
        if (world.sim->count != 2 || status(&world)->ready != 2)
            print_error("seed %llu\n", (unsigned long long)seed);
        assert_settled(&world, 2);
        assert_int_equal(status(&world)->updated, 2);
        close_world(&world);
    }
}

/* Whenever it is killed, the next life finds everything and leaks nothing. */
static void test_killed_at_any_instant_nothing_leaks(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < HISTORIES; seed++) {
        struct world world;

        open_world(&world, seed);
        random_faults(&world);
        world.sim->faults[PROVIDER_SIM_CREATE].silent_percent = 0;
        for (int life = 0; life < 4; life++) {
            for (int step = 0; step < 10; step++) {
                random_event(&world);
                advance(&world, dice(&world, 700));
            }
            crash(&world);
            start(&world);
        }
        calm_down(&world);
        if (world.sim->count != 2 || status(&world)->ready != 2)
            print_error("seed %llu\n", (unsigned long long)seed);
        assert_settled(&world, 2);
        close_world(&world);
    }
}

/* Without crashes, maxSize holds at the provider itself, at every instant. */
static void test_max_size_holds_at_the_provider(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < HISTORIES; seed++) {
        struct world world;

        open_world(&world, seed);
        random_faults(&world);
        for (int step = 0; step < STEPS; step++) {
            int what = dice(&world, 10);
            if (what < 4)
                claim(&world, dice(&world, 2) ? "ours" : "theirs");
            else if (what < 7 && world.n_claims > 0)
                release(&world, (size_t)dice(&world, (int)world.n_claims), dice(&world, 4) != 0);
            else if (what < 8 && world.sim->count > 0)
                provider_sim_kill(world.sim, 0);
            else if (what < 9)
                replace_spec(&world, dice(&world, 2) ? "aaaa" : "bbbb", 3, 6);
            advance(&world, dice(&world, 2000));
        }
        if (world.sim->count_max > 6)
            print_error("seed %llu\n", (unsigned long long)seed);
        assert_in_range(world.sim->count_max, 0, 6);
        close_world(&world);
    }
}

/* ---- two sources ---- */

struct source {
    const char *name;
    char hash[8];
    int min, max;
    bool declares;
};

static void source_put(struct world *world, struct source *source)
{
    struct pd_pool_spec *spec = spec_new("p", source->hash);
    struct pd_err err;
    bool lost;

    spec->min_size = source->min;
    spec->max_size = source->max;
    lost = pd_store_pool_put(world->store, spec, source->name, &err) < 0;
    pd_store_pool_set_rival(world->store, "p", source->name, lost);
    pd_pool_spec_unref(spec);
}

static void source_act(struct world *world, struct source *source)
{
    struct pd_err err;

    if (source->declares && dice(world, 3) == 0) {
        source->declares = false;
        pd_store_pool_set_rival(world->store, "p", source->name, false);
        pd_store_pool_delete(world->store, "p", source->name, &err);
        return;
    }
    source->declares = true;
    snprintf(source->hash, sizeof source->hash, "%s%d", source->name, dice(world, 3));
    source->min = dice(world, 4);
    source->max = source->min + 1 + dice(world, 3);
    source_put(world, source);
}

/* Whose the pool is, its spec is in force; a conflict is said while there is one. */
static void check_owner(struct world *world, const struct source *sources)
{
    const struct pd_pool *pool = pd_store_pool(world->store, "p");

    for (size_t i = 0; pool && !pool->deleting && i < 2; i++) {
        const struct source *source = &sources[i];
        const struct source *other = &sources[1 - i];
        if (strcmp(pool->source, source->name) != 0)
            continue;
        assert_true(source->declares);
        assert_string_equal(pool->spec->template_hash, source->hash);
        assert_int_equal(pool->spec->min_size, source->min);
        assert_int_equal(pool->conflict[0] != '\0', other->declares);
    }
}

/* Two sources want the pool, each in its way, and both change their minds. The
 * first to come has it until it gives it up; then the other one does. */
static void test_two_sources_share_no_pool(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < HISTORIES; seed++) {
        struct source sources[] = {{.name = "A"}, {.name = "B"}};
        struct world world;

        open_world(&world, seed);
        random_faults(&world);
        pd_store_pool_delete(world.store, "p", "test", NULL);
        for (int step = 0; step < STEPS; step++) {
            source_act(&world, &sources[dice(&world, 2)]);
            if (dice(&world, 2))
                claim(&world, "k");
            else if (world.n_claims > 0)
                release(&world, 0, true);
            advance(&world, dice(&world, 4000));
            if (!pd_store_pool(world.store, "p")) /* as sources do when it has gone */
                for (size_t i = 0; i < 2; i++)
                    if (sources[i].declares)
                        source_put(&world, &sources[i]);
            check_owner(&world, sources);
        }
        while (world.n_claims > 0)
            release(&world, 0, true);
        memset(world.sim->faults, 0, sizeof world.sim->faults);
        for (size_t i = 0; i < 2; i++) {
            sources[i].declares = false;
            pd_store_pool_delete(world.store, "p", sources[i].name, NULL);
        }
        pd_store_pool_delete(world.store, "p", "test", NULL);
        advance(&world, 20 * 60 * 1000);
        assert_null(pd_store_pool(world.store, "p"));
        assert_int_equal(world.sim->count, 0);
        close_world(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_histories_end_well),
        cmocka_unit_test(test_killed_at_any_instant_nothing_leaks),
        cmocka_unit_test(test_max_size_holds_at_the_provider),
        cmocka_unit_test(test_two_sources_share_no_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
