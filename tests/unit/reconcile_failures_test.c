/* The controller and what fails at the provider, at agents and links. */
#include "tests/lib/controller_world.h"

static void test_failing_creations_pause_longer_and_longer(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    world.sim->faults[PROVIDER_SIM_CREATE].fail_percent = 100;
    advance(&world, 60 * 1000);
    assert_in_range(world.sim->calls[PROVIDER_SIM_CREATE], 5, 9);
    assert_string_equal(status(&world)->degraded.reason, "CreateFailed");
    assert_int_equal(status(&world)->available.status, 0);
    world.sim->faults[PROVIDER_SIM_CREATE].fail_percent = 0;
    advance(&world, 61 * 1000);
    assert_settled(&world, 3);
    assert_string_equal(status(&world)->degraded.reason, "AsExpected");
    close_world(&world);
}

static void test_want_of_capacity_is_waited_for(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    world.sim->faults[PROVIDER_SIM_CREATE].fail_percent = 100;
    world.sim->faults[PROVIDER_SIM_CREATE].kind = PD_LIMIT;
    advance(&world, 60 * 1000);
    assert_in_range(world.sim->calls[PROVIDER_SIM_CREATE], 3, 5);
    assert_string_equal(status(&world)->progressing.reason, "Held");
    close_world(&world);
}

static void test_a_creation_that_worked_and_was_called_a_failure(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    world.sim->faults[PROVIDER_SIM_CREATE].late_percent = 100;
    advance(&world, 3000);
    world.sim->faults[PROVIDER_SIM_CREATE].late_percent = 0;
    advance(&world, 61 * 1000);
    assert_settled(&world, 3);
    assert_in_range(world.sim->count_max, 3, 6);
    close_world(&world);
}

/* Given up, looked for and not found; then whoever was slow makes it after all. */
static void test_a_creation_given_up_that_is_made_later(void **state)
{
    struct world world;
    struct pd_provider_event made = {.type = PD_PROVIDER_CHANGED};

    (void)state;
    open_world(&world, 1);
    world.sim->faults[PROVIDER_SIM_CREATE].fail_percent = 100;
    settle(&world);
    pd_strcpy(made.pool, sizeof made.pool, "p");
    pd_strcpy(made.id, sizeof made.id, pd_store_sandbox_at(world.store, "p", 0)->id);
    world.sim->faults[PROVIDER_SIM_CREATE].fail_percent = 0;
    for (int i = 0; i < 100 && pd_store_sandbox(world.store, made.id); i++)
        advance(&world, 1000);
    assert_null(pd_store_sandbox(world.store, made.id));
    advance(&world, 60 * 1000);
    assert_settled(&world, 3);
    provider_sim_plant(world.sim, made.id, "p", "aaaa", PD_INSTANCE_RUNNING, 0);
    world.sim->event_cb(world.sim->event_arg, &made);
    advance(&world, 70 * 1000); /* long before everything is listed anyway */
    assert_settled(&world, 3);
    close_world(&world);
}

static void test_silence_is_not_waited_for_for_ever(void **state)
{
    for (int op = PROVIDER_SIM_CREATE; op < PROVIDER_SIM_OPS; op++) {
        struct world world;

        (void)state;
        open_world(&world, 1);
        world.sim->faults[op].silent_percent = 100;
        advance(&world, 1000);
        if (op == PROVIDER_SIM_DESTROY)
            provider_sim_kill(world.sim, 0);
        advance(&world, 1000);
        world.sim->faults[op].silent_percent = 0;
        advance(&world, 10 * 60 * 1000);
        assert_settled(&world, 3);
        assert_in_range(world.sim->count_max, 3, 6);
        close_world(&world);
    }
}

static void test_failing_destructions_pause_too(void **state)
{
    struct world world;
    unsigned before;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    world.sim->faults[PROVIDER_SIM_DESTROY].fail_percent = 100;
    provider_sim_kill(world.sim, 0);
    before = world.sim->calls[PROVIDER_SIM_DESTROY];
    advance(&world, 60 * 1000);
    assert_in_range(world.sim->calls[PROVIDER_SIM_DESTROY] - before, 5, 10);
    assert_int_equal(status(&world)->ready, 3); /* there is room for another meanwhile */
    world.sim->faults[PROVIDER_SIM_DESTROY].fail_percent = 0;
    advance(&world, 31 * 1000);
    assert_settled(&world, 3);
    close_world(&world);
}

static void kill_all(struct world *world)
{
    for (size_t i = 0; i < world->sim->count; i++) {
        if (world->sim->instances[i]->instance.phase == PD_INSTANCE_RUNNING)
            provider_sim_kill(world->sim, i);
    }
}

static void test_what_dies_as_soon_as_it_is_ready_is_made_less_often(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    for (int i = 0; i < 600; i++) {
        advance(&world, 100);
        kill_all(&world);
    }
    assert_in_range(world.sim->created, 15, 45); /* of 1800 */
    assert_string_equal(status(&world)->degraded.reason, "CreateFailed");
    advance(&world, 70 * 1000);
    assert_settled(&world, 3);
    assert_string_equal(status(&world)->degraded.reason, "AsExpected");
    provider_sim_kill(world.sim, 0);
    settle(&world);
    assert_settled(&world, 3); /* forgiven: at once */
    close_world(&world);
}

static void test_what_dies_soon_after_it_is_ready_is_made_less_often_too(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    for (int i = 0; i < 75; i++) {
        advance(&world, 8000);
        kill_all(&world);
    }
    assert_in_range(world.sim->created, 15, 60); /* of 225 */
    assert_string_equal(status(&world)->failures.items[0].reason, "SandboxDied");
    advance(&world, 120 * 1000);
    assert_settled(&world, 3);
    close_world(&world);
}

static void test_mute_agents_are_replaced(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    world.sim->mute_percent = 100;
    advance(&world, 1000);
    assert_int_equal(status(&world)->starting, 3);
    world.sim->mute_percent = 0;
    advance(&world, pd_start_deadline_ms(PD_PROVIDER_DOCKER) - 900);
    assert_string_equal(status(&world)->degraded.reason, "CreateFailed");
    advance(&world, 5000);
    assert_settled(&world, 3);
    assert_int_equal(world.sim->created, 6);
    close_world(&world);
}

static void test_a_broken_link_is_made_anew(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    provider_sim_break_link(world.sim, 0);
    settle(&world);
    assert_int_equal(status(&world)->ready, 2); /* nobody may claim it meanwhile */
    advance(&world, 1000);
    assert_settled(&world, 3);
    assert_int_equal(world.sim->created, 3);
    close_world(&world);
}

static void test_a_broken_link_under_a_run_costs_the_sandbox(void **state)
{
    struct world world;
    const struct provider_sim_instance *instance;

    (void)state;
    open_world(&world, 1);
    advance(&world, 1000);
    claim(&world, "k");
    instance = pd_strmap_get(&world.sim->by_id, world.claims[0]);
    provider_sim_break_link(world.sim, instance->index);
    advance(&world, 1000);
    assert_null(pd_store_sandbox(world.store, world.claims[0]));
    release(&world, 0, false); /* of what is gone: no harm */
    advance(&world, 1000);
    assert_settled(&world, 3);
    close_world(&world);
}

static void test_an_engine_that_comes_back(void **state)
{
    for (int dead = 0; dead < 2; dead++) {
        struct world world;
        const char *sentence;

        (void)state;
        open_world(&world, 1);
        advance(&world, 1000);
        assert_true(pd_controller_is_healthy(world.controller, &sentence));
        provider_sim_set_down(world.sim, true, dead);
        advance(&world, 5 * 60 * 1000);
        assert_false(pd_controller_is_healthy(world.controller, &sentence));
        assert_non_null(strstr(sentence, "sim does not answer"));
        assert_string_equal(status(&world)->degraded.reason, "ProviderUnavailable");
        assert_int_equal(world.sim->created, 3);
        provider_sim_set_down(world.sim, false, false);
        advance(&world, 5000);
        assert_settled(&world, 3);
        assert_int_equal(world.sim->created, dead ? 6 : 3);
        assert_true(pd_controller_is_healthy(world.controller, &sentence));
        close_world(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failing_creations_pause_longer_and_longer),
        cmocka_unit_test(test_want_of_capacity_is_waited_for),
        cmocka_unit_test(test_a_creation_that_worked_and_was_called_a_failure),
        cmocka_unit_test(test_a_creation_given_up_that_is_made_later),
        cmocka_unit_test(test_silence_is_not_waited_for_for_ever),
        cmocka_unit_test(test_failing_destructions_pause_too),
        cmocka_unit_test(test_what_dies_as_soon_as_it_is_ready_is_made_less_often),
        cmocka_unit_test(test_what_dies_soon_after_it_is_ready_is_made_less_often_too),
        cmocka_unit_test(test_mute_agents_are_replaced),
        cmocka_unit_test(test_a_broken_link_is_made_anew),
        cmocka_unit_test(test_a_broken_link_under_a_run_costs_the_sandbox),
        cmocka_unit_test(test_an_engine_that_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
