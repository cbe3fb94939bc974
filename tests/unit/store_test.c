/* The store: pools, their sources, versions and observers. */
#include "tests/lib/store_world.h"

/* ---- pools ---- */

static void test_pools_come_in_name_order(void **state)
{
    static const char *const names[] = {"m", "z", "a", "q"};
    static const char *const sorted[] = {"a", "m", "p", "q", "z"};
    struct world *world = *state;

    for (size_t i = 0; i < PD_COUNT(names); i++) {
        struct pd_pool_spec *spec = spec_new(names[i]);
        assert_int_equal(pd_store_pool_put(world->store, spec, "test", NULL), 0);
        pd_pool_spec_unref(spec);
    }
    for (size_t i = 0; i < PD_COUNT(sorted); i++)
        assert_string_equal(pd_store_pool_at(world->store, i)->spec->name, sorted[i]);
    assert_null(pd_store_pool_at(world->store, PD_COUNT(sorted)));
    pd_store_pool_forget(world->store, "p");
    assert_string_equal(pd_store_pool_at(world->store, 2)->spec->name, "q");
    assert_null(pd_store_pool(world->store, "p"));
}

static void test_a_pool_belongs_to_its_source(void **state)
{
    struct world *world = *state;
    struct pd_err err;

    assert_int_equal(pd_store_pool_put(world->store, world->spec, "another", &err), PD_CONFLICT);
    assert_non_null(strstr(err.msg, "test"));
    assert_int_equal(pd_store_pool_delete(world->store, "p", "another", &err), PD_CONFLICT);
    assert_int_equal(pd_store_pool_delete(world->store, "none", "test", &err), PD_NOT_FOUND);
    assert_int_equal(pd_store_pool_delete(world->store, "p", "test", &err), 0);
    assert_true(pd_store_pool(world->store, "p")->deleting);
}

static struct pd_pool_spec *spec_with_node(int min_size, const char *label)
{
    struct pd_pool_spec *spec = spec_new("n");
    struct pd_node *part = pd_node_map_new();

    spec->node = pd_node_map_new();
    pd_node_set_int(part, "minSize", min_size);
    pd_node_set(spec->node, "spec", part);
    part = pd_node_map_new();
    pd_node_set_string(part, "label", label);
    pd_node_set(spec->node, "metadata", part);
    spec->min_size = min_size;
    return spec;
}

static void put_node(struct world *world, int min_size, const char *label)
{
    struct pd_pool_spec *spec = spec_with_node(min_size, label);

    assert_int_equal(pd_store_pool_put(world->store, spec, "test", NULL), 0);
    pd_pool_spec_unref(spec);
}

static void test_generation_counts_changes_of_the_spec(void **state)
{
    struct world *world = *state;
    const struct pd_pool *pool;

    put_node(world, 1, "x");
    pool = pd_store_pool(world->store, "n");
    assert_int_equal(pool->generation, 1);
    put_node(world, 1, "x");
    assert_int_equal(pool->generation, 1);
    put_node(world, 1, "y"); /* metadata only */
    assert_int_equal(pool->generation, 1);
    put_node(world, 2, "y");
    assert_int_equal(pool->generation, 2);
    assert_int_equal(pool->spec->min_size, 2);
}

static void test_putting_a_pool_back_ends_its_deletion(void **state)
{
    struct world *world = *state;
    struct pd_pool *pool = pd_store_pool(world->store, "p");

    pd_store_pool_delete(world->store, "p", "test", NULL);
    pd_strcpy(pool->source_error, sizeof pool->source_error, "line 3");
    assert_int_equal(pd_store_pool_put(world->store, world->spec, "test", NULL), 0);
    assert_false(pool->deleting);
    assert_string_equal(pool->source_error, "");
    assert_int_equal(pool->generation, 1);
}

static void test_each_change_has_a_version(void **state)
{
    struct world *world = *state;
    struct pd_pool_status status;
    const struct pd_pool *pool;
    uint64_t version;

    put_node(world, 1, "x");
    pool = pd_store_pool(world->store, "n");
    version = pool->resource_version;
    assert_int_equal(version, pd_store_resource_version(world->store));
    assert_true(version >= UINT64_C(1700000000000000)); /* microseconds since 1970 */
    put_node(world, 1, "x");
    assert_int_equal(pool->resource_version, version); /* nothing has changed */
    put_node(world, 1, "y");
    assert_true(pool->resource_version > version);
    assert_int_equal(pool->generation, 1);
    version = pool->resource_version;
    memcpy(&status, &pool->status, sizeof status);
    pd_store_pool_set_status(world->store, pd_store_pool(world->store, "n"), &status);
    assert_int_equal(pool->resource_version, version);
    status.ready = 3;
    pd_store_pool_set_status(world->store, pd_store_pool(world->store, "n"), &status);
    assert_int_equal(pool->status.ready, 3);
    assert_int_equal(pool->generation, 1);
    assert_true(pool->resource_version > version);
    version = pool->resource_version;
    pd_store_pool_delete(world->store, "n", "test", NULL);
    assert_true(pool->resource_version > version);
    version = pool->resource_version;
    pd_store_pool_delete(world->store, "n", "test", NULL);
    assert_int_equal(pool->resource_version, version);
    pd_store_pool_forget(world->store, "n");
    assert_true(pd_store_resource_version(world->store) > version);
}

static void test_a_pool_has_an_identity(void **state)
{
    struct world *world = *state;
    const struct pd_pool *pool = pd_store_pool(world->store, "p");
    char uid[PD_UID_BYTES];

    assert_int_equal(strlen(pool->uid), PD_UID_BYTES - 1);
    assert_true(pool->created_wall_ms > 0);
    assert_int_equal(pool->deletion_wall_ms, 0);
    pd_strcpy(uid, sizeof uid, pool->uid);
    pd_store_pool_delete(world->store, "p", "test", NULL);
    assert_true(pool->deletion_wall_ms >= pool->created_wall_ms);
    pd_store_pool_put(world->store, world->spec, "test", NULL);
    assert_int_equal(pool->deletion_wall_ms, 0);
    assert_string_equal(pool->uid, uid); /* it had not gone yet */
    pd_store_pool_forget(world->store, "p");
    pd_store_pool_put(world->store, world->spec, "test", NULL);
    assert_string_not_equal(pd_store_pool(world->store, "p")->uid, uid);
}

static void test_a_kept_pool_comes_back_as_it_was(void **state)
{
    static const struct pd_pool_identity identity = {
        .uid = "9a8b", .generation = 7, .created_wall_ms = 1234, .deletion_wall_ms = 0};
    static const struct pd_pool_identity going = {
        .uid = "7c6d", .generation = 2, .created_wall_ms = 1234, .deletion_wall_ms = 5678};
    struct world *world = *state;
    struct pd_pool_spec *spec = spec_new("kept");
    const struct pd_pool *pool;
    struct pd_err err;

    assert_int_equal(pd_store_pool_restore(world->store, world->spec, "api", &identity, &err),
                     PD_CONFLICT);
    assert_non_null(strstr(err.msg, "test"));
    assert_int_equal(pd_store_pool_restore(world->store, spec, "api", &identity, &err), 0);
    pool = pd_store_pool(world->store, "kept");
    assert_string_equal(pool->uid, "9a8b");
    assert_int_equal(pool->generation, 7);
    assert_int_equal(pool->created_wall_ms, 1234);
    assert_false(pool->deleting);
    assert_int_equal(pool->resource_version, pd_store_resource_version(world->store));
    assert_int_equal(pd_store_pool_put(world->store, spec, "api", &err), 0); /* the same again */
    assert_int_equal(pool->generation, 7);
    pd_pool_spec_unref(spec);
    spec = spec_new("going");
    assert_int_equal(pd_store_pool_restore(world->store, spec, "api", &going, &err), 0);
    assert_true(pd_store_pool(world->store, "going")->deleting);
    pd_pool_spec_unref(spec);
}

static void test_a_conflict_names_who_else_declares_it(void **state)
{
    struct world *world = *state;
    struct pd_pool *pool = pd_store_pool(world->store, "p");
    uint64_t version;

    pd_store_pool_set_rival(world->store, "p", "file:/a.yaml", true);
    pd_store_pool_set_rival(world->store, "p", "redis", true);
    pd_store_pool_set_rival(world->store, "none", "redis", true);
    assert_non_null(strstr(pool->conflict, "file:/a.yaml"));
    assert_non_null(strstr(pool->conflict, "redis"));
    assert_non_null(strstr(pool->conflict, "belongs to test"));
    version = pool->resource_version;
    pd_store_pool_set_rival(world->store, "p", "redis", true);
    assert_int_equal(pool->resource_version, version);
    pd_store_pool_set_rival(world->store, "p", "file:/a.yaml", false);
    assert_null(strstr(pool->conflict, "file:/a.yaml"));
    assert_true(pool->resource_version > version);
    for (int i = 0; i < 2 * PD_POOL_RIVALS_MAX; i++) {
        char source[16];
        snprintf(source, sizeof source, "file:%d", i);
        pd_store_pool_set_rival(world->store, "p", source, true);
    }
    for (int i = 0; i < 2 * PD_POOL_RIVALS_MAX; i++) {
        char source[16];
        snprintf(source, sizeof source, "file:%d", i);
        pd_store_pool_set_rival(world->store, "p", source, false);
    }
    pd_store_pool_set_rival(world->store, "p", "redis", false);
    assert_string_equal(pool->conflict, "");
}

static void test_a_pool_handed_over_is_a_change(void **state)
{
    struct world *world = *state;
    struct pd_pool *pool = pd_store_pool(world->store, "p");
    uint64_t version = pool->resource_version;

    pd_store_pool_set_rival(world->store, "p", "redis", true);
    pd_store_pool_hand_over(world->store, pool, "file:/b.yaml");
    assert_string_equal(pool->source, "file:/b.yaml");
    assert_non_null(strstr(pool->conflict, "belongs to file:/b.yaml"));
    assert_true(pool->resource_version > version);
    version = pool->resource_version;
    pd_store_pool_hand_over(world->store, pool, "file:/b.yaml");
    assert_int_equal(pool->resource_version, version);
}

static void test_a_source_error_is_a_change(void **state)
{
    struct world *world = *state;
    struct pd_pool *pool = pd_store_pool(world->store, "p");
    uint64_t version = pool->resource_version;

    pd_store_pool_set_source_error(world->store, pool, "line 3: no");
    assert_string_equal(pool->source_error, "line 3: no");
    assert_true(pool->resource_version > version);
    version = pool->resource_version;
    pd_store_pool_set_source_error(world->store, pool, "line 3: no");
    assert_int_equal(pool->resource_version, version);
    pd_store_pool_put(world->store, world->spec, "test", NULL);
    assert_string_equal(pool->source_error, "");
}

/* ---- events ---- */

static void count_told(void *arg)
{
    ++*(int *)arg;
}

static void test_events_are_told_once_a_turn(void **state)
{
    struct world *world = *state;
    const struct pd_event *event;
    uint64_t version = pd_store_resource_version(world->store);
    int told = 0;

    pd_store_observe_events(world->store, count_told, &told);
    pd_store_event(world->store, PD_EVENT_WARNING, "p", "p-1", "Died", "exit %d", 9);
    pd_store_event(world->store, PD_EVENT_NORMAL, "gone", NULL, "Deleted", "nothing is left");
    assert_int_equal(told, 0);
    uv_run(&world->loop, UV_RUN_NOWAIT);
    uv_run(&world->loop, UV_RUN_NOWAIT);
    assert_int_equal(told, 1);
    event = pd_events_oldest(pd_store_events(world->store));
    assert_string_equal(event->pool_uid, pd_store_pool(world->store, "p")->uid);
    assert_string_equal(event->message, "exit 9");
    assert_string_equal(event->sandbox, "p-1");
    assert_true(event->resource_version > version);
    event = pd_events_newer(event);
    assert_string_equal(event->pool_uid, "");
    assert_string_equal(event->sandbox, "");
    pd_store_unobserve_events(world->store, count_told, &told);
    pd_store_event(world->store, PD_EVENT_NORMAL, "p", NULL, "X", "y");
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(told, 1);
}

/* ---- observers ---- */

struct notes {
    int count;
    char last[PD_POOL_NAME_MAX];
    struct pd_store *touch; /* touch the pool again from within */
    int touches;
};

static void take_note(void *arg, const char *pool)
{
    struct notes *notes = arg;

    notes->count++;
    pd_strcpy(notes->last, sizeof notes->last, pool);
    if (notes->touches-- > 0)
        pd_store_touch(notes->touch, pool);
}

static void test_many_changes_are_one_notification(void **state)
{
    struct world *world = *state;
    struct notes notes = {0};

    pd_store_observe(world->store, take_note, &notes);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    notes.count = 0;
    add_warm(world, "p-1");
    add_warm(world, "p-2");
    pd_store_touch(world->store, "p");
    assert_int_equal(notes.count, 0); /* never from within */
    uv_run(&world->loop, UV_RUN_NOWAIT);
    assert_int_equal(notes.count, 1);
    assert_string_equal(notes.last, "p");
    uv_run(&world->loop, UV_RUN_NOWAIT);
    assert_int_equal(notes.count, 1);
    pd_store_unobserve(world->store, take_note, &notes);
}

static void test_a_quiet_store_keeps_no_loop_alive(void **state)
{
    struct world *world = *state;

    pd_store_touch(world->store, "p");
    assert_true(uv_loop_alive(&world->loop));
    assert_int_equal(uv_run(&world->loop, UV_RUN_DEFAULT), 0);
    assert_false(uv_loop_alive(&world->loop));
}

static void test_an_observer_may_change_the_store(void **state)
{
    struct world *world = *state;
    struct notes notes = {.touch = world->store, .touches = 2};

    pd_store_observe(world->store, take_note, &notes);
    pd_store_touch(world->store, "p");
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(notes.count, 3);
    pd_store_unobserve(world->store, take_note, &notes);
    pd_store_touch(world->store, "p");
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(notes.count, 3);
}

static void test_a_forgotten_pool_is_told_of(void **state)
{
    struct world *world = *state;
    struct notes notes = {0};

    uv_run(&world->loop, UV_RUN_DEFAULT);
    pd_store_observe(world->store, take_note, &notes);
    pd_store_pool_forget(world->store, "p");
    pd_store_touch(world->store, "p");
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(notes.count, 1);
    pd_store_unobserve(world->store, take_note, &notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_pools_come_in_name_order),
        store_test(test_a_pool_belongs_to_its_source),
        store_test(test_generation_counts_changes_of_the_spec),
        store_test(test_putting_a_pool_back_ends_its_deletion),
        store_test(test_each_change_has_a_version),
        store_test(test_a_pool_has_an_identity),
        store_test(test_a_kept_pool_comes_back_as_it_was),
        store_test(test_a_conflict_names_who_else_declares_it),
        store_test(test_a_pool_handed_over_is_a_change),
        store_test(test_a_source_error_is_a_change),
        store_test(test_events_are_told_once_a_turn),
        store_test(test_many_changes_are_one_notification),
        store_test(test_a_quiet_store_keeps_no_loop_alive),
        store_test(test_an_observer_may_change_the_store),
        store_test(test_a_forgotten_pool_is_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
