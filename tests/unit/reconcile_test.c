/* The controller over a provider in simulated time (tests/lib/controller_world.h): what a pool
 * ordinarily goes through, and its lives. */
#include "tests/lib/controller_world.h"

/* ---- the ordinary ---- */

static void test_fills_a_pool(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    world.sim->faults[PROVIDER_SIM_CREATE].slow_ms = 100;
    advance(&world, 1000);
    assert_settled(&world, 3);
    assert_int_equal(world.sim->created, 3);
    assert_int_equal(status(&world)->available.status, 1);
    assert_string_equal(status(&world)->progressing.reason, "Settled");
    assert_string_equal(pd_store_pool(world.store, "p")->hello.languages[0].name, "python");
    close_world(&world);
}

static void test_a_quiet_pool_asks_nothing(void **state)
{
    struct world world;
    unsigned lists;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    lists = world.sim->calls[PROVIDER_SIM_LIST];
    assert_int_equal(lists, 1);
    advance(&world, 10 * 60 * 1000);
    assert_in_range(world.sim->calls[PROVIDER_SIM_LIST], lists + 3, lists + 4);
    assert_int_equal(world.sim->calls[PROVIDER_SIM_CREATE], 3);
    close_world(&world);
}

static void test_what_dies_is_replaced_at_once(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    provider_sim_kill(world.sim, 1);
    settle(&world);
    assert_int_equal(world.sim->calls[PROVIDER_SIM_CREATE], 4); /* no time has passed */
    assert_settled(&world, 3);
    close_world(&world);
}

static void test_a_death_nobody_told_of_is_found(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    world.sim->lose_event_percent = 100;
    provider_sim_kill(world.sim, 0);
    advance(&world, 5000); /* its link broke, and it cannot be linked again */
    assert_settled(&world, 3);
    close_world(&world);
}

static void test_grows_and_shrinks_with_demand(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    for (int i = 0; i < 5; i++) {
        assert_true(claim(&world, "k"));
        advance(&world, 1000);
    }
    assert_int_equal(status(&world)->claimed, 5);
    assert_int_equal(status(&world)->ready, 1);
    while (world.n_claims > 0)
        release(&world, 0, true);
    advance(&world, 59 * 1000);
    assert_int_equal(status(&world)->ready, 6);
    advance(&world, 10 * 1000);
    assert_settled(&world, 3);
    close_world(&world);
}

static void test_an_empty_pool_makes_one_for_a_queued_run(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    replace_spec(&world, "aaaa", 0, 2);
    advance(&world, 90 * 1000);
    assert_settled(&world, 0);
    pd_store_pool(world.store, "p")->demand.queued = 1;
    pd_store_touch(world.store, "p");
    settle(&world);
    assert_true(claim(&world, "k"));
    close_world(&world);
}

static void test_a_worn_one_serves_until_another_does(void **state)
{
    struct world world;
    struct pd_sandbox *worn;
    char id[PD_SANDBOX_ID_MAX];

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    worn = pd_store_sandbox_at(world.store, "p", 0);
    pd_strcpy(id, sizeof id, worn->id);
    worn->runs = 69; /* of 100: below what any sandbox wears at */
    pd_store_touch(world.store, "p");
    advance(&world, 5000);
    assert_non_null(pd_store_sandbox(world.store, id));
    worn->runs = 90; /* beyond it */
    pd_store_touch(world.store, "p");
    for (int i = 0; i < 500 && pd_store_sandbox(world.store, id); i++) {
        assert_in_range(status(&world)->ready, 3, 4); /* never fewer than before */
        advance(&world, 10);
    }
    advance(&world, 1000);
    assert_null(pd_store_sandbox(world.store, id));
    assert_settled(&world, 3);
    close_world(&world);
}

static void test_a_run_left_unusable_costs_its_sandbox(void **state)
{
    struct world world;
    char id[PD_SANDBOX_ID_MAX];

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    claim(&world, "k");
    pd_strcpy(id, sizeof id, world.claims[0]);
    release(&world, 0, false);
    advance(&world, 1000);
    assert_null(pd_store_sandbox(world.store, id));
    assert_settled(&world, 3);
    close_world(&world);
}

static void test_another_key_gets_a_sandbox_of_a_full_pool(void **state)
{
    struct world world;
    struct pd_demand *demand;

    (void)state;
    open_world(&world, 1);
    replace_spec(&world, "aaaa", 3, 3);
    advance(&world, 1000);
    for (int i = 0; i < 3; i++)
        assert_true(claim(&world, "ours"));
    while (world.n_claims > 0)
        release(&world, 0, true);
    assert_false(claim(&world, "theirs"));
    demand = &pd_store_pool(world.store, "p")->demand;
    demand->queued = 1;
    pd_store_touch(world.store, "p");
    advance(&world, 1000);
    assert_true(claim(&world, "theirs"));
    assert_int_equal(world.sim->created, 4);
    assert_in_range(world.sim->count_max, 3, 3);
    close_world(&world);
}

/* One key keeps every sandbox busy; another's run is passed over all the time. */
static void test_a_key_that_never_pauses_gives_way(void **state)
{
    struct world world;
    struct pd_demand *demand;
    bool served = false;

    (void)state;
    open_world(&world, 1);
    replace_spec(&world, "aaaa", 3, 3);
    advance(&world, 1000);
    while (claim(&world, "ours"))
        continue;
    demand = &pd_store_pool(world.store, "p")->demand;
    demand->queued = 2;
    for (int i = 0; i < 100 && !served; i++) {
        release(&world, (size_t)dice(&world, (int)world.n_claims), true);
        served = claim(&world, "theirs");
        if (!served && claim(&world, "ours"))
            demand->no_sandbox_for_key++;
        pd_store_touch(world.store, "p");
        advance(&world, 10);
    }
    assert_true(served);
    advance(&world, 1000);
    assert_in_range(world.sim->created, 4, 5); /* not one after another */
    close_world(&world);
}

static void test_weak_isolation_means_one_run(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    world.sim->isolation = PD_ISOLATION_CONTAINER;
    advance(&world, 1000);
    assert_string_equal(status(&world)->degraded.reason, "IsolationWeaker");
    claim(&world, "k");
    advance(&world, 1000);
    assert_int_equal(world.sim->created, 4); /* its successor is there before it ends */
    release(&world, 0, true);
    advance(&world, 1000);
    assert_int_equal(world.sim->count, 3);
    assert_settled(&world, 3);
    close_world(&world);
}

static void test_rolls_to_a_new_template(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    replace_spec(&world, "bbbb", 3, 6);
    advance(&world, 5000);
    assert_settled(&world, 3);
    assert_int_equal(status(&world)->updated, 3);
    assert_int_equal(status(&world)->observed_generation, 2);
    assert_int_equal(world.sim->created, 6);
    assert_in_range(world.sim->count_max, 4, 5);
    close_world(&world);
}

static void test_a_bad_template_stops_the_roll(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    world.sim->stillborn_percent = 100;
    replace_spec(&world, "bbbb", 3, 6);
    advance(&world, 60 * 1000);
    assert_int_equal(status(&world)->ready, 3);
    assert_int_equal(status(&world)->updated, 0);
    assert_string_equal(status(&world)->progressing.reason, "UpdateStopped");
    assert_in_range(world.sim->created, 4, 15); /* with growing pauses */
    world.sim->stillborn_percent = 0;
    advance(&world, 120 * 1000);
    assert_settled(&world, 3);
    assert_int_equal(status(&world)->updated, 3);
    close_world(&world);
}

static void test_a_deleted_pool_drains_and_goes(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    claim(&world, "k");
    pd_store_pool_delete(world.store, "p", "test", NULL);
    advance(&world, 5000);
    assert_int_equal(world.sim->count, 1);
    assert_non_null(pd_store_pool(world.store, "p"));
    release(&world, 0, true);
    advance(&world, 1000);
    assert_int_equal(world.sim->count, 0);
    assert_null(pd_store_pool(world.store, "p"));
    close_world(&world);
}

static void test_a_drain_has_a_deadline(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    claim(&world, "k");
    pd_store_pool_delete(world.store, "p", "test", NULL);
    advance(&world, 4 * 60 * 1000);
    assert_int_equal(world.sim->count, 1); /* a run may take five minutes */
    advance(&world, 2 * 60 * 1000);
    assert_int_equal(world.sim->count, 0);
    assert_null(pd_store_pool(world.store, "p"));
    assert_event(&world, "DrainDeadline");
    assert_event(&world, "Drained");
    close_world(&world);
}

/* ---- lives ---- */

static void test_the_next_life_adopts(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    crash(&world);
    start(&world);
    advance(&world, 1000); /* an epoch that is not newer yet is refused, the next is */
    assert_settled(&world, 3);
    assert_int_equal(world.sim->created, 3);
    assert_int_equal(world.sim->calls[PROVIDER_SIM_DESTROY], 0);
    close_world(&world);
}

static void test_what_served_an_unknown_key_is_not_adopted(void **state)
{
    struct world world;
    char id[PD_SANDBOX_ID_MAX];

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    claim(&world, "k");
    pd_strcpy(id, sizeof id, world.claims[0]);
    release(&world, 0, true);
    crash(&world);
    start(&world);
    advance(&world, 1000);
    assert_settled(&world, 3);
    assert_null(pd_store_sandbox(world.store, id));
    assert_int_equal(world.sim->created, 4);
    close_world(&world);
}

static void test_leftovers_are_collected(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    provider_sim_plant(world.sim, "p-dead", "p", "aaaa", PD_INSTANCE_DEAD, 0);
    provider_sim_plant(world.sim, "p-created", "p", "aaaa", PD_INSTANCE_CREATED, 0);
    provider_sim_plant(world.sim, "p-good", "p", "aaaa", PD_INSTANCE_RUNNING, 0);
    provider_sim_plant(world.sim, "p-old", "p", "0000", PD_INSTANCE_RUNNING, 0);
    provider_sim_plant(world.sim, "q-lost", "q", "aaaa", PD_INSTANCE_RUNNING, 0);
    settle(&world);
    assert_non_null(pd_strmap_get(&world.sim->by_id, "q-lost")); /* its pool may yet come */
    advance(&world, 10 * 1000);
    assert_settled(&world, 3);
    assert_non_null(pd_store_sandbox(world.store, "p-good"));
    assert_in_range(world.sim->count_max, 5, 7);
    close_world(&world);
}

static void test_a_clean_stop_leaves_nothing(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    world.sim->faults[PROVIDER_SIM_CREATE].slow_ms = 500;
    world.sim->faults[PROVIDER_SIM_DESTROY].slow_ms = 500;
    advance(&world, 700); /* some under way, some there */
    stop(&world, true);
    assert_int_equal(world.sim->count, 0);
    start(&world);
    advance(&world, 5000);
    assert_settled(&world, 3);
    close_world(&world);
}

/* Made by whoever read the wish late, and never announced. */
static void test_a_stop_looks_once_more(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    assert_settled(&world, 3);
    provider_sim_plant(world.sim, "p-late", "p", "aaaa", PD_INSTANCE_RUNNING, 0);
    stop(&world, true);
    assert_int_equal(world.sim->count, 0);
    start(&world);
    close_world(&world);
}

static void test_a_stop_right_after_a_start_leaves_nothing(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    assert_settled(&world, 3);
    crash(&world);
    start(&world); /* it has not even asked what there is */
    stop(&world, true);
    assert_int_equal(world.sim->count, 0);
    start(&world);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fills_a_pool),
        cmocka_unit_test(test_a_quiet_pool_asks_nothing),
        cmocka_unit_test(test_what_dies_is_replaced_at_once),
        cmocka_unit_test(test_a_death_nobody_told_of_is_found),
        cmocka_unit_test(test_grows_and_shrinks_with_demand),
        cmocka_unit_test(test_an_empty_pool_makes_one_for_a_queued_run),
        cmocka_unit_test(test_a_run_left_unusable_costs_its_sandbox),
        cmocka_unit_test(test_another_key_gets_a_sandbox_of_a_full_pool),
        cmocka_unit_test(test_a_key_that_never_pauses_gives_way),
        cmocka_unit_test(test_weak_isolation_means_one_run),
        cmocka_unit_test(test_rolls_to_a_new_template),
        cmocka_unit_test(test_a_bad_template_stops_the_roll),
        cmocka_unit_test(test_a_deleted_pool_drains_and_goes),
        cmocka_unit_test(test_a_drain_has_a_deadline),
        cmocka_unit_test(test_the_next_life_adopts),
        cmocka_unit_test(test_a_stop_right_after_a_start_leaves_nothing),
        cmocka_unit_test(test_a_stop_looks_once_more),
        cmocka_unit_test(test_a_worn_one_serves_until_another_does),
        cmocka_unit_test(test_what_served_an_unknown_key_is_not_adopted),
        cmocka_unit_test(test_leftovers_are_collected),
        cmocka_unit_test(test_a_clean_stop_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
