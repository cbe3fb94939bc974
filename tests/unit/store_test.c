#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/store.h"

static struct pd_time clock_now;

static struct pd_time fixed_now(void)
{
    return clock_now;
}

static struct pd_pool_spec *spec_new(const char *name)
{
    struct pd_pool_spec *spec = PD_NEW(struct pd_pool_spec);

    pd_strcpy(spec->name, sizeof spec->name, name);
    pd_strcpy(spec->template_hash, sizeof spec->template_hash, "aaaa");
    spec->image = pd_strdup("image");
    spec->runtime = pd_strdup("");
    spec->max_size = 10;
    spec->recycle.after_runs = 3;
    spec->recycle.after_age_ms = 10000;
    spec->refs = 1;
    return spec;
}

struct world {
    uv_loop_t loop;
    struct pd_store *store;
    struct pd_pool_spec *spec; /* of the pool "p"; the store shares it */
};

static int open_world(void **state)
{
    struct world *world = PD_NEW(struct world);

    clock_now = (struct pd_time){1000 * PD_NS_PER_MS};
    uv_loop_init(&world->loop);
    world->store = pd_store_new(&world->loop, fixed_now);
    world->spec = spec_new("p");
    assert_int_equal(pd_store_pool_put(world->store, world->spec, "test", NULL), 0);
    *state = world;
    return 0;
}

static void count_closed(void *arg)
{
    ++*(int *)arg;
}

static int close_world(void **state)
{
    struct world *world = *state;
    int closed = 0;

    pd_store_close(world->store, count_closed, &closed);
    assert_int_equal(closed, 0);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(closed, 1);
    pd_pool_spec_unref(world->spec);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    free(world);
    return 0;
}

static struct pd_sandbox *add_warm(struct world *world, const char *id)
{
    struct pd_sandbox *sandbox = pd_store_sandbox_add(world->store, id, "p", "aaaa");

    clock_now = pd_time_add_ms(clock_now, 1);
    pd_store_sandbox_move(world->store, sandbox, PD_SANDBOX_STARTING);
    pd_store_sandbox_move(world->store, sandbox, PD_SANDBOX_WARM);
    return sandbox;
}

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

#define store_test(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

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
