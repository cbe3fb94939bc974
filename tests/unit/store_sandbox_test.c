/* The store: sandboxes, their moves, claims and releases. */
#include "tests/lib/store_world.h"

/* ---- sandboxes ---- */

static void test_members_are_listed_oldest_first(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 30; i++) {
        char id[16];
        snprintf(id, sizeof id, "p-%02d", i);
        pd_store_sandbox_add(world->store, id, "p", "aaaa");
    }
    pd_store_sandbox_remove(world->store, pd_store_sandbox(world->store, "p-10"));
    assert_int_equal(pd_store_sandbox_count(world->store, "p"), 29);
    assert_string_equal(pd_store_sandbox_at(world->store, "p", 0)->id, "p-00");
    assert_string_equal(pd_store_sandbox_at(world->store, "p", 10)->id, "p-11");
    assert_null(pd_store_sandbox_at(world->store, "p", 29));
    assert_null(pd_store_sandbox(world->store, "p-10"));
    assert_null(pd_store_sandbox_at(world->store, "none", 0));
    assert_int_equal(pd_store_sandbox_count(world->store, "none"), 0);
}

static void test_each_move_has_a_version(void **state)
{
    struct world *world = *state;
    struct pd_sandbox *sandbox = add_warm(world, "p-1");
    uint64_t version = sandbox->resource_version;

    assert_int_equal(version, pd_store_resource_version(world->store));
    pd_store_sandbox_retire(world->store, sandbox, "too old");
    assert_true(sandbox->resource_version > version);
    assert_true(sandbox->recycle);
    pd_store_sandbox_retire(world->store, sandbox, "another reason");
    assert_string_equal(sandbox->reason, "too old");
}

static void test_the_dead_are_remembered_for_a_while(void **state)
{
    struct world *world = *state;
    const struct pd_dead_sandbox *dead;
    uint64_t version;

    assert_null(pd_store_dead_at(world->store, "p", 0));
    assert_null(pd_store_dead_at(world->store, "none", 0));
    for (int i = 0; i < PD_DEAD_SANDBOXES_MAX + 10; i++) {
        char id[16];
        struct pd_sandbox *sandbox;
        snprintf(id, sizeof id, "p-%d", i);
        sandbox = add_warm(world, id);
        sandbox->runs = (uint32_t)i;
        pd_strcpy(sandbox->provider_id, sizeof sandbox->provider_id, "container");
        pd_store_sandbox_retire(world->store, sandbox, "too old");
        version = sandbox->resource_version;
        pd_store_sandbox_remove(world->store, sandbox);
        dead = pd_store_dead_at(world->store, "p", 0);
        assert_string_equal(dead->id, id);
        assert_true(dead->resource_version > version);
    }
    assert_int_equal(dead->runs, PD_DEAD_SANDBOXES_MAX + 9);
    assert_string_equal(dead->provider_id, "container");
    assert_string_equal(dead->reason, "too old");
    assert_true(dead->died_wall_ms >= dead->created_wall_ms);
    assert_string_equal(pd_store_dead_at(world->store, "p", PD_DEAD_SANDBOXES_MAX - 1)->id, "p-10");
    assert_null(pd_store_dead_at(world->store, "p", PD_DEAD_SANDBOXES_MAX));
}

/* ---- claims ---- */

static const char *claim(struct world *world, const char *key)
{
    struct pd_sandbox *sandbox = pd_store_claim(world->store, "p", "python", key);

    return sandbox ? sandbox->id : NULL;
}

static void test_only_warm_ones_are_claimed(void **state)
{
    struct world *world = *state;
    struct pd_sandbox *sandbox = pd_store_sandbox_add(world->store, "p-1", "p", "aaaa");

    assert_null(claim(world, "k"));
    pd_store_sandbox_move(world->store, sandbox, PD_SANDBOX_STARTING);
    assert_null(claim(world, "k"));
    pd_store_sandbox_move(world->store, sandbox, PD_SANDBOX_WARM);
    assert_string_equal(claim(world, "k"), "p-1");
    assert_int_equal(sandbox->phase, PD_SANDBOX_CLAIMED);
    assert_string_equal(sandbox->key_id, "k");
    assert_null(claim(world, "k"));
    assert_null(pd_store_claim(world->store, "none", "python", "k"));
}

static void test_a_sandbox_serves_one_key(void **state)
{
    struct world *world = *state;

    add_warm(world, "p-1");
    assert_string_equal(claim(world, "ours"), "p-1");
    pd_store_release(world->store, "p-1", true, NULL);
    assert_null(claim(world, "theirs"));
    assert_string_equal(claim(world, "ours"), "p-1");
}

static void test_shared_sandboxes_serve_any_key(void **state)
{
    struct world *world = *state;

    world->spec->recycle.share = true;
    add_warm(world, "p-1");
    assert_string_equal(claim(world, "ours"), "p-1");
    pd_store_release(world->store, "p-1", true, NULL);
    assert_string_equal(claim(world, "theirs"), "p-1");
}

static void test_its_own_key_then_the_longest_rested(void **state)
{
    struct world *world = *state;

    add_warm(world, "p-1");
    add_warm(world, "p-2");
    add_warm(world, "p-3");
    assert_string_equal(claim(world, "a"), "p-1");
    assert_string_equal(claim(world, "b"), "p-2");
    clock_now = pd_time_add_ms(clock_now, 5);
    pd_store_release(world->store, "p-2", true, NULL);
    clock_now = pd_time_add_ms(clock_now, 5);
    pd_store_release(world->store, "p-1", true, NULL);
    assert_string_equal(claim(world, "a"), "p-1"); /* not p-3, though it rested longer */
    assert_string_equal(claim(world, "a"), "p-3");
    assert_null(claim(world, "a"));
}

static void test_recycled_ones_are_not_claimed(void **state)
{
    struct world *world = *state;

    add_warm(world, "p-1")->recycle = true;
    assert_null(claim(world, "k"));
    add_warm(world, "p-2");
    pd_store_pool_delete(world->store, "p", "test", NULL);
    assert_null(claim(world, "k")); /* nor any of a pool being deleted */
}

struct release_row {
    const char *what;
    int runs_before; /* of afterRuns 3 */
    int64_t age_ms;  /* of afterAge 10 s */
    enum pd_isolation isolation;
    bool deleting, usable;
    bool recycle;
};

static const struct release_row release_rows[] = {
    {"as good as before", 0, 0, PD_ISOLATION_CELL, false, true, false},
    {"one run is left", 1, 0, PD_ISOLATION_CELL, false, true, false},
    {"afterRuns reached", 2, 0, PD_ISOLATION_CELL, false, true, true},
    {"afterAge not quite reached", 0, 9999, PD_ISOLATION_CELL, false, true, false},
    {"afterAge reached", 0, 10000, PD_ISOLATION_CELL, false, true, true},
    {"uid isolation lives on", 0, 0, PD_ISOLATION_UID, false, true, false},
    {"container isolation: one run", 0, 0, PD_ISOLATION_CONTAINER, false, true, true},
    {"the pool is going", 0, 0, PD_ISOLATION_CELL, true, true, true},
    {"unusable", 0, 0, PD_ISOLATION_CELL, false, false, true},
};

static void test_release(void **state)
{
    struct world *world = *state;

    for (size_t i = 0; i < PD_COUNT(release_rows); i++) {
        const struct release_row *row = &release_rows[i];
        struct pd_sandbox *sandbox = add_warm(world, "p-1");

        sandbox->created = clock_now;
        sandbox->runs = (uint32_t)row->runs_before;
        world->spec->isolation = row->isolation;
        assert_string_equal(claim(world, "k"), "p-1");
        pd_store_pool(world->store, "p")->deleting = row->deleting;
        clock_now = pd_time_add_ms(clock_now, row->age_ms);
        pd_store_release(world->store, "p-1", row->usable, "it broke");
        if (sandbox->recycle != row->recycle || (sandbox->reason[0] != '\0') != row->recycle)
            fail_msg("%s: recycle %d, reason '%s'", row->what, sandbox->recycle, sandbox->reason);
        if (!row->usable)
            assert_string_equal(sandbox->reason, "it broke");
        assert_int_equal(sandbox->phase, PD_SANDBOX_WARM);
        assert_int_equal(sandbox->runs, row->runs_before + 1);
        pd_store_pool(world->store, "p")->deleting = false;
        pd_store_sandbox_remove(world->store, sandbox);
    }
}

static void test_releasing_what_is_not_claimed_is_harmless(void **state)
{
    struct world *world = *state;
    struct pd_sandbox *sandbox = add_warm(world, "p-1");

    pd_store_release(world->store, "gone", true, NULL);
    pd_store_release(world->store, "p-1", false, "x");
    assert_false(sandbox->recycle);
    claim(world, "k");
    pd_store_sandbox_move(world->store, sandbox, PD_SANDBOX_TERMINATING);
    pd_store_release(world->store, "p-1", true, NULL);
    assert_int_equal(sandbox->phase, PD_SANDBOX_TERMINATING);
}

/* ---- cost ---- */

static void test_ten_thousand_sandboxes_are_cheap(void **state)
{
    struct world *world = *state;
    struct pd_time begun;
    int64_t took_ns;

    for (int i = 0; i < 1000; i++) {
        char name[16], id[32];
        struct pd_pool_spec *spec;
        snprintf(name, sizeof name, "pool%03d", i);
        spec = spec_new(name);
        spec->recycle.after_runs = 0;
        pd_store_pool_put(world->store, spec, "test", NULL);
        pd_pool_spec_unref(spec);
        for (int j = 0; j < 10; j++) {
            struct pd_sandbox *sandbox;
            snprintf(id, sizeof id, "%s-%d", name, j);
            sandbox = pd_store_sandbox_add(world->store, id, name, "aaaa");
            pd_store_sandbox_move(world->store, sandbox, PD_SANDBOX_STARTING);
            pd_store_sandbox_move(world->store, sandbox, PD_SANDBOX_WARM);
        }
    }
    begun = pd_time_now();
    for (int i = 0; i < 100000; i++) {
        char name[16];
        struct pd_sandbox *sandbox;
        snprintf(name, sizeof name, "pool%03d", i % 1000);
        sandbox = pd_store_claim(world->store, name, "python", "k");
        assert_non_null(sandbox);
        pd_store_release(world->store, sandbox->id, true, NULL);
    }
    took_ns = pd_time_now().ns - begun.ns;
    print_message("store: %.0f ns a claim and release\n", (double)took_ns / 100000);
    assert_true(took_ns / 100000 < 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_members_are_listed_oldest_first),
        store_test(test_each_move_has_a_version),
        store_test(test_the_dead_are_remembered_for_a_while),
        store_test(test_only_warm_ones_are_claimed),
        store_test(test_a_sandbox_serves_one_key),
        store_test(test_shared_sandboxes_serve_any_key),
        store_test(test_its_own_key_then_the_longest_rested),
        store_test(test_recycled_ones_are_not_claimed),
        store_test(test_release),
        store_test(test_releasing_what_is_not_claimed_is_harmless),
        store_test(test_ten_thousand_sandboxes_are_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
