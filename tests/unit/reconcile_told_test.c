/* What the controller tells people: events and conditions. */
#include "tests/lib/controller_world.h"

static void test_ordinary_decisions_are_told(void **state)
{
    struct world world;
    const struct pd_event *event;

    (void)state;
    open_world(&world, 1);
    world.sim->faults[PROVIDER_SIM_CREATE].slow_ms = 100;
    advance(&world, 1000);
    assert_string_equal(event_of(&world, "ScaledUp")->message,
                        "from 0 to 3 sandboxes: the pool is new");
    assert_event(&world, "Creating");
    for (int i = 0; i < 3; i++)
        assert_true(claim(&world, "k"));
    advance(&world, 1000);
    assert_string_equal(event_of(&world, "ScaledUp")->message,
                        "from 3 to 4 sandboxes: more are in use");
    while (world.n_claims > 0)
        release(&world, 0, true);
    advance(&world, 120 * 1000);
    assert_string_equal(event_of(&world, "ScaledDown")->message,
                        "from 4 to 3 sandboxes: fewer were in use for scaleDownAfter");
    assert_event(&world, "Removed");
    replace_spec(&world, "bbbb", 3, 6);
    advance(&world, 60 * 1000);
    assert_event(&world, "Updating");
    assert_event(&world, "Replaced");
    assert_string_equal(event_of(&world, "Updated")->message, "every sandbox is of template bbbb");
    replace_spec(&world, "bbbb", 4, 6);
    advance(&world, 1000);
    assert_string_equal(event_of(&world, "ScaledUp")->message,
                        "from 3 to 4 sandboxes: the spec has changed");
    for (event = pd_events_oldest(pd_store_events(world.store)); event;
         event = pd_events_newer(event)) {
        if (event->type != PD_EVENT_NORMAL)
            fail_msg("%s: %s", event->reason, event->message);
    }
    assert_int_equal(status(&world)->failures.count, 0);
    close_world(&world);
}

static void test_deaths_and_ends_are_told(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    advance(&world, 10000);
    provider_sim_kill(world.sim, 0);
    advance(&world, 1000);
    assert_string_equal(event_of(&world, "SandboxDied")->message, "it was killed");
    assert_string_equal(status(&world)->failures.items[0].reason, "SandboxDied");
    assert_string_equal(pd_store_dead_at(world.store, "p", 0)->reason, "it was killed");
    assert_true(status(&world)->refill_p99_ms >= 0);
    assert_true(status(&world)->start_p90_ms >= 0);
    assert_int_equal(status(&world)->recommended_min, -1); /* nobody has come */
    claim(&world, "k");
    release(&world, 0, false);
    advance(&world, 1000);
    assert_string_equal(event_of(&world, "Recycled")->message, "its run was lost");
    advance(&world, 2 * 3600 * 1000);
    assert_string_equal(event_of(&world, "Recycled")->message, "recycle.afterAge is reached");
    close_world(&world);
}

static void test_failures_are_told_and_counted(void **state)
{
    struct world world;
    uint32_t told;

    (void)state;
    open_world(&world, 1);
    world.sim->faults[PROVIDER_SIM_CREATE].fail_percent = 100;
    advance(&world, 120 * 1000);
    assert_string_equal(event_of(&world, "NotCreated")->message, "it failed");
    assert_event(&world, "BackingOff");
    told = event_of(&world, "NotCreated")->count;
    assert_in_range(told, 3, 30);
    assert_int_equal(status(&world)->failures.count, 1);
    assert_int_equal(status(&world)->failures.items[0].count, told);
    world.sim->faults[PROVIDER_SIM_CREATE].kind = PD_LIMIT;
    advance(&world, 120 * 1000);
    assert_event(&world, "NoCapacity");
    assert_event(&world, "Held");
    world.sim->faults[PROVIDER_SIM_CREATE].fail_percent = 0;
    advance(&world, 400 * 1000);
    assert_settled(&world, 3);
    assert_event(&world, "Recovered");
    assert_true(pd_events_count(pd_store_events(world.store)) < 20);
    close_world(&world);
}

static void test_a_stopped_roll_is_told(void **state)
{
    struct world world;
    char ids[3][PD_SANDBOX_ID_MAX];

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    for (size_t i = 0; i < 3; i++)
        pd_strcpy(ids[i], sizeof ids[i], world.sim->instances[i]->instance.id);
    world.sim->mute_percent = 100;
    replace_spec(&world, "bbbb", 3, 6);
    advance(&world, 5 * 60 * 1000);
    assert_event(&world, "UpdateStopped");
    assert_string_equal(status(&world)->progressing.reason, "UpdateStopped");
    assert_int_equal(status(&world)->ready, 3);
    assert_true(event_of(&world, "Stuck") || event_of(&world, "NeverReady"));
    assert_null(event_of(&world, "Updated"));
    replace_spec(&world, "aaaa", 3, 6); /* rollback is an apply */
    advance(&world, 60 * 1000);
    assert_settled(&world, 3);
    for (size_t i = 0; i < 3; i++)
        assert_non_null(pd_store_sandbox(world.store, ids[i])); /* it cost none that served */
    close_world(&world);
}

static void test_an_engine_in_trouble_is_told(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    provider_sim_set_down(world.sim, true, false);
    advance(&world, 10 * 1000);
    assert_event(&world, "ProviderUnavailable");
    provider_sim_set_down(world.sim, false, false);
    advance(&world, 10 * 1000);
    assert_string_equal(event_of(&world, "Recovered")->message, "ProviderUnavailable is over");
    close_world(&world);
}

static void test_trouble_with_sources_is_told(void **state)
{
    struct world world;
    struct pd_pool *pool;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    pool = pd_store_pool(world.store, "p");
    pd_store_pool_set_rival(world.store, "p", "redis", true);
    advance(&world, 1000);
    assert_string_equal(status(&world)->degraded.reason, "SourceConflict");
    assert_non_null(strstr(event_of(&world, "SourceConflict")->message, "redis"));
    pd_store_pool_set_source_error(world.store, pool, "line 3");
    advance(&world, 1000);
    assert_string_equal(status(&world)->degraded.reason, "SourceRejected");
    assert_non_null(strstr(event_of(&world, "SourceRejected")->message, "line 3"));
    pd_store_pool_set_source_error(world.store, pool, "");
    pd_store_pool_set_rival(world.store, "p", "redis", false);
    advance(&world, 1000);
    assert_string_equal(status(&world)->degraded.reason, "AsExpected");
    assert_event(&world, "Recovered");
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ordinary_decisions_are_told),
        cmocka_unit_test(test_deaths_and_ends_are_told),
        cmocka_unit_test(test_failures_are_told_and_counted),
        cmocka_unit_test(test_a_stopped_roll_is_told),
        cmocka_unit_test(test_an_engine_in_trouble_is_told),
        cmocka_unit_test(test_trouble_with_sources_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
