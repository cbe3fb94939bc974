#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "cli/manifest_keep.h"
#include "cli/sources.h"
#include "common/mem.h"

/* A folder with default.yaml and pools.d, a loop and a store. */
struct world {
    uv_loop_t loop;
    struct pd_store *store;
    struct pd_sources *sources;
    struct pd_db *db; /* NULL: nothing lasts */
    uv_timer_t timer;
    char root[32], config[64], pools[64];
};

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void write_pool(const struct world *world, const char *file, const char *text)
{
    pd_autofree char *path = pd_asprintf("%s/%s", world->pools, file);
    write_text(path, text);
}

static void remove_pool(const struct world *world, const char *file)
{
    pd_autofree char *path = pd_asprintf("%s/%s", world->pools, file);
    assert_int_equal(unlink(path), 0);
}

static int set_up(void **state)
{
    struct world *world = PD_NEW(struct world);

    strcpy(world->root, "/tmp/pd-sources-XXXXXX");
    assert_non_null(mkdtemp(world->root));
    snprintf(world->config, sizeof world->config, "%s/default.yaml", world->root);
    snprintf(world->pools, sizeof world->pools, "%s/pools.d", world->root);
    assert_int_equal(mkdir(world->pools, 0700), 0);
    write_text(world->config,
               "sandbox: {min_size: 1, max_size: 2, default_image: \"python:3.11-slim\"}\n");
    assert_int_equal(uv_loop_init(&world->loop), 0);
    world->store = pd_store_new(&world->loop, NULL);
    *state = world;
    return 0;
}

static void count_down(void *arg)
{
    --*(int *)arg;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    pd_autofree char *command = pd_asprintf("rm -rf %s", world->root);
    int open = 1;

    if (world->db) {
        open++;
        pd_db_close(world->db, count_down, &open);
    }
    if (world->sources) {
        open++;
        pd_sources_close(world->sources, count_down, &open);
    }
    pd_store_close(world->store, count_down, &open);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(open, 0);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}

static int open_sources(struct world *world, struct pd_err *err)
{
    const struct pd_sources_config config = {
        .loop = &world->loop,
        .store = world->store,
        .config = world->config,
        .pools_dir = world->pools,
        .default_provider = PD_PROVIDER_DOCKER,
        .db = world->db,
    };
    return pd_sources_open(&config, &world->sources, err);
}

/* minSize of a pool that is in force, -1 for none. */
static int min_size(const struct world *world, const char *name)
{
    const struct pd_pool *pool = pd_store_pool(world->store, name);

    return pool && !pool->deleting ? pool->spec->min_size : -1;
}

#define POOL(name, size)                                                                           \
    "apiVersion: paddock.dev/v1\nkind: SandboxPool\nmetadata: {name: " name                        \
    "}\n"                                                                                          \
    "spec: {image: \"x:1\", minSize: " size ", maxSize: 5}\n"

static void test_reads_everything_at_start(void **state)
{
    struct world *world = *state;
    struct pd_err err;

    write_pool(world, "a.yaml", POOL("a", "0"));
    write_pool(world, "two.yml", POOL("b", "1") "---\n" POOL("c", "2"));
    write_pool(world, ".hidden.yaml", POOL("hidden", "1"));
    write_pool(world, "notes.txt", "no manifest");
    assert_int_equal(open_sources(world, &err), 0);
    assert_int_equal(min_size(world, "default"), 1);
    assert_int_equal(min_size(world, "a"), 0);
    assert_int_equal(min_size(world, "b"), 1);
    assert_int_equal(min_size(world, "c"), 2);
    assert_int_equal(min_size(world, "hidden"), -1);
    assert_non_null(strstr(pd_store_pool(world->store, "a")->source, "pools.d/a.yaml"));
}

static void test_config_must_be_right_at_start(void **state)
{
    struct world *world = *state;
    struct pd_err err;

    write_text(world->config, "sandbox:\n  min_size: 1\n  max_size: many\n");
    assert_int_equal(open_sources(world, &err), PD_INVALID);
    assert_non_null(strstr(err.msg, world->config));
    assert_non_null(strstr(err.msg, "max_size"));
    assert_non_null(strstr(err.msg, "line 3"));
    unlink(world->config);
    assert_int_equal(open_sources(world, &err), PD_NOT_FOUND);
}

static void test_bad_manifest_leaves_the_others(void **state)
{
    struct world *world = *state;
    struct pd_err err;

    write_pool(world, "a.yaml", "kind: [\n");
    write_pool(world, "b.yaml", POOL("b", "1"));
    assert_int_equal(open_sources(world, &err), 0);
    assert_int_equal(min_size(world, "b"), 1);
}

/* One change at a time to files that are in force, and what must follow. */
static void test_reload(void **state)
{
    struct world *world = *state;
    struct pd_err err;

    write_pool(world, "a.yaml", POOL("a", "1"));
    write_pool(world, "two.yaml", POOL("b", "1") "---\n" POOL("c", "1"));
    assert_int_equal(open_sources(world, &err), 0);

    write_pool(world, "a.yaml", POOL("a", "3"));
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "a"), 3);

    write_pool(world, "a.yaml", POOL("a", "nonsense"));
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "a"), 3);
    assert_non_null(strstr(pd_store_pool(world->store, "a")->source_error, "spec.minSize"));

    write_pool(world, "a.yaml", POOL("a", "2"));
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "a"), 2);
    assert_string_equal(pd_store_pool(world->store, "a")->source_error, "");

    /* One bad document keeps the whole file from being applied. */
    write_pool(world, "two.yaml", POOL("b", "4") "---\n" POOL("c", "bad"));
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "b"), 1);
    assert_int_equal(min_size(world, "c"), 1);

    write_pool(world, "two.yaml", POOL("b", "4"));
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "b"), 4);
    assert_int_equal(min_size(world, "c"), -1);

    remove_pool(world, "a.yaml");
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "a"), -1);
    assert_int_equal(min_size(world, "b"), 4);
    assert_int_equal(min_size(world, "default"), 1);
}

static void test_lost_folder_changes_nothing(void **state)
{
    struct world *world = *state;
    pd_autofree char *aside = pd_asprintf("%s/aside", world->root);
    struct pd_err err;

    write_pool(world, "a.yaml", POOL("a", "1"));
    assert_int_equal(open_sources(world, &err), 0);
    assert_int_equal(rename(world->pools, aside), 0);
    unlink(world->config);
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "a"), 1);
    assert_int_equal(min_size(world, "default"), 1);
}

static void test_pool_belongs_to_one_file(void **state)
{
    struct world *world = *state;
    struct pd_err err;

    write_pool(world, "a.yaml", POOL("a", "1"));
    write_pool(world, "b.yaml", POOL("a", "4"));
    assert_int_equal(open_sources(world, &err), 0);
    assert_int_equal(min_size(world, "a"), 1);
    remove_pool(world, "b.yaml");
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "a"), 1);
}

/* A pool whose manifest moves to another file goes on without a break. */
static void test_pool_moves_with_its_manifest(void **state)
{
    struct world *world = *state;
    struct pd_err err;

    write_pool(world, "m.yaml", POOL("a", "1"));
    write_pool(world, "two.yaml", POOL("b", "1") "---\n" POOL("c", "1"));
    assert_int_equal(open_sources(world, &err), 0);

    remove_pool(world, "m.yaml"); /* renamed */
    write_pool(world, "z.yaml", POOL("a", "1"));
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "a"), 1);
    assert_non_null(strstr(pd_store_pool(world->store, "a")->source, "z.yaml"));

    write_pool(world, "two.yaml", POOL("b", "1")); /* split, before and after in name order */
    write_pool(world, "b.yaml", POOL("c", "1"));
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "b"), 1);
    assert_int_equal(min_size(world, "c"), 1);
    write_pool(world, "b.yaml", "");
    write_pool(world, "zz.yaml", POOL("c", "1"));
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "c"), 1);
}

static void test_changes_are_seen(void **state)
{
    struct world *world = *state;
    struct pd_err err;

    assert_int_equal(open_sources(world, &err), 0);
    write_pool(world, "late.yaml", POOL("late", "2"));
    for (int i = 0; i < 200 && min_size(world, "late") < 0; i++)
        uv_run(&world->loop, UV_RUN_ONCE);
    assert_int_equal(min_size(world, "late"), 2);
}

/* Turn the loop until the pool is of this size, for ten seconds at most. */
static void wait_for_size(struct world *world, const char *name, int size)
{
    struct pd_time end = pd_time_add_ms(pd_time_now(), 10 * 1000);

    while (min_size(world, name) != size && pd_time_before(pd_time_now(), end))
        uv_run(&world->loop, UV_RUN_ONCE);
    assert_int_equal(min_size(world, name), size);
}

/* As many editors do: a new file takes the old one's place. */
static void test_a_rename_over_the_file_is_seen(void **state)
{
    struct world *world = *state;
    pd_autofree char *fresh = pd_asprintf("%s/.a.yaml.swp", world->pools);
    pd_autofree char *path = pd_asprintf("%s/a.yaml", world->pools);
    pd_autofree char *config = pd_asprintf("%s/new", world->root);
    struct pd_err err;

    write_text(path, POOL("a", "1"));
    assert_int_equal(open_sources(world, &err), 0);
    for (int size = 2; size < 5; size++) {
        pd_autofree char *text = pd_asprintf(
            "apiVersion: paddock.dev/v1\nkind: SandboxPool\nmetadata: {name: a}\n"
            "spec: {image: \"x:1\", minSize: %d, maxSize: 5}\n",
            size);
        write_text(fresh, text);
        assert_int_equal(rename(fresh, path), 0);
        wait_for_size(world, "a", size);
    }
    write_text(config, "sandbox:\n  min_size: 4\n  default_image: y\n");
    assert_int_equal(rename(config, world->config), 0);
    wait_for_size(world, "default", 4);
}

static void test_a_folder_made_later_is_seen(void **state)
{
    struct world *world = *state;
    struct pd_err err;

    assert_int_equal(rmdir(world->pools), 0);
    assert_int_equal(open_sources(world, &err), 0);
    assert_int_equal(mkdir(world->pools, 0755), 0);
    write_pool(world, "a.yaml", POOL("a", "1"));
    wait_for_size(world, "a", 1);
    write_pool(world, "a.yaml", POOL("a", "2")); /* and it is watched from then on */
    wait_for_size(world, "a", 2);
}

static void test_a_folder_put_in_its_place_is_seen(void **state)
{
    struct world *world = *state;
    pd_autofree char *aside = pd_asprintf("%s/aside", world->root);
    pd_autofree char *fresh = pd_asprintf("%s/fresh", world->root);
    pd_autofree char *path = pd_asprintf("%s/fresh/b.yaml", world->root);
    struct pd_err err;

    write_pool(world, "a.yaml", POOL("a", "1"));
    write_pool(world, "b.yaml", POOL("b", "1"));
    assert_int_equal(open_sources(world, &err), 0);
    assert_int_equal(mkdir(fresh, 0755), 0);
    write_text(path, POOL("b", "3"));
    assert_int_equal(rename(world->pools, aside), 0);
    assert_int_equal(rename(fresh, world->pools), 0);
    wait_for_size(world, "b", 3);
    assert_int_equal(min_size(world, "a"), -1);
    write_pool(world, "b.yaml", POOL("b", "4"));
    wait_for_size(world, "b", 4);
}

/* A mount that goes away leaves an empty folder of another device, or another
 * folder; neither deletes a pool, and when it comes back all is as before. */
static void test_a_lost_mount_deletes_nothing(void **state)
{
    struct world *world = *state;
    pd_autofree char *mount = pd_asprintf("mount -t tmpfs none %s 2>/dev/null", world->pools);
    pd_autofree char *unmount = pd_asprintf("umount -l %s", world->pools);
    pd_autofree char *below = pd_asprintf("%s/c.yaml", world->pools);
    struct pd_err err;

    if (system(mount) != 0) {
        printf("SKIP sources_test.lost_mount: a file system cannot be mounted here\n");
        skip();
    }
    write_pool(world, "a.yaml", POOL("a", "1"));
    assert_int_equal(open_sources(world, &err), 0);
    assert_int_equal(min_size(world, "a"), 1);
    assert_int_equal(system(unmount), 0);
    pd_sources_reload(world->sources);
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "a"), 1);
    write_text(below, POOL("c", "2")); /* what the mount had covered counts, absence does not */
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "c"), 2);
    assert_int_equal(min_size(world, "a"), 1);
    assert_int_equal(system(mount), 0);
    write_pool(world, "a.yaml", POOL("a", "3"));
    wait_for_size(world, "a", 3);
    assert_int_equal(min_size(world, "c"), 2);
    remove_pool(world, "a.yaml");
    assert_int_equal(system(unmount), 0);
}

/* ---- owners ---- */

static void test_a_conflict_is_said_of_the_pool(void **state)
{
    struct world *world = *state;
    struct pd_err err;
    struct pd_pool *pool;

    write_pool(world, "a.yaml", POOL("a", "1"));
    write_pool(world, "b.yaml", POOL("a", "4") "---\n" POOL("b", "2"));
    assert_int_equal(open_sources(world, &err), 0);
    pool = pd_store_pool(world->store, "a");
    assert_int_equal(min_size(world, "a"), 1);
    assert_non_null(strstr(pool->conflict, "b.yaml"));
    assert_non_null(strstr(pool->conflict, "belongs to file:"));
    assert_int_equal(min_size(world, "b"), 2); /* the rest of its file is in force */
    assert_string_equal(pd_store_pool(world->store, "b")->source_error, "");
    write_pool(world, "b.yaml", POOL("b", "3"));
    pd_sources_reload(world->sources);
    assert_string_equal(pool->conflict, "");
    assert_int_equal(min_size(world, "b"), 3);
    write_pool(world, "b.yaml", POOL("a", "4"));
    pd_sources_reload(world->sources);
    assert_string_not_equal(pool->conflict, "");
    remove_pool(world, "b.yaml");
    pd_sources_reload(world->sources);
    assert_string_equal(pool->conflict, "");
    assert_int_equal(min_size(world, "a"), 1);
}

static void test_what_another_source_gives_up_is_taken(void **state)
{
    struct world *world = *state;
    struct pd_pool_spec *spec;
    struct pd_err err;

    write_pool(world, "a.yaml", POOL("a", "1"));
    assert_int_equal(open_sources(world, &err), 0);
    spec = pd_pool_spec_ref(pd_store_pool(world->store, "a")->spec);
    remove_pool(world, "a.yaml");
    pd_sources_reload(world->sources);
    pd_store_pool_forget(world->store, "a");
    assert_int_equal(pd_store_pool_put(world->store, spec, "api", &err), 0);
    pd_pool_spec_unref(spec);
    write_pool(world, "a.yaml", POOL("a", "3"));
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "a"), 1);
    assert_non_null(strstr(pd_store_pool(world->store, "a")->conflict, "belongs to api"));
    assert_int_equal(pd_store_pool_delete(world->store, "a", "api", &err), 0);
    pd_store_pool_forget(world->store, "a"); /* it has drained */
    wait_for_size(world, "a", 3);
    assert_string_equal(pd_store_pool(world->store, "a")->conflict, "");
}

static void test_twice_in_one_file_is_a_mistake(void **state)
{
    struct world *world = *state;
    struct pd_err err;

    write_pool(world, "a.yaml", POOL("a", "1"));
    assert_int_equal(open_sources(world, &err), 0);
    write_pool(world, "a.yaml", POOL("a", "2") "---\n" POOL("a", "3"));
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "a"), 1);
    assert_non_null(strstr(pd_store_pool(world->store, "a")->source_error, "declared twice"));
}

static void on_tired(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

/* Neither other files in the folders nor reading them wakes anybody. */
static void test_other_files_are_not_seen(void **state)
{
    struct world *world = *state;
    pd_autofree char *other = pd_asprintf("%s/log", world->root);
    struct pd_err err;

    assert_int_equal(open_sources(world, &err), 0);
    write_text(other, "noise");
    write_pool(world, ".hidden.yaml", "noise");
    write_pool(world, "notes.txt", "noise");
    /* A reload would undo this. */
    assert_int_equal(pd_store_pool_delete(world->store, "default",
                                          pd_store_pool(world->store, "default")->source, &err),
                     0);
    uv_timer_init(&world->loop, &world->timer);
    uv_timer_start(&world->timer, on_tired, 500, 0);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&world->timer, NULL);
    assert_int_equal(min_size(world, "default"), -1);
}

/* ---- over a restart ---- */

static void open_db(struct world *world)
{
    static const struct pd_db_schema *const schemas[] = {&pd_manifest_keep_schema, NULL};
    pd_autofree char *path = pd_asprintf("%s/kept.db", world->root);
    const struct pd_db_config config = {.loop = &world->loop, .path = path, .schemas = schemas};
    struct pd_err err;

    assert_int_equal(pd_db_open(&config, &world->db, &err), 0);
}

static void restart_begins(struct world *world)
{
    int open = 3;

    pd_sources_close(PD_STEAL(world->sources), count_down, &open);
    pd_store_close(world->store, count_down, &open);
    pd_db_close(PD_STEAL(world->db), count_down, &open);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(open, 0);
    world->store = pd_store_new(&world->loop, NULL);
    open_db(world);
}

static const char *source_error(const struct world *world, const char *name)
{
    return pd_store_pool(world->store, name)->source_error;
}

static void test_what_a_broken_file_said_outlives_a_restart(void **state)
{
    struct world *world = *state;
    struct pd_err err;

    open_db(world);
    write_pool(world, "a.yaml", POOL("a", "2"));
    write_pool(world, "b.yaml", POOL("b", "3"));
    write_pool(world, "c.yaml", POOL("c", "1"));
    assert_int_equal(open_sources(world, &err), 0);
    write_pool(world, "c.yaml", POOL("c", "4")); /* the newest good one counts */
    pd_sources_reload(world->sources);
    restart_begins(world);

    write_pool(world, "a.yaml", "spec: [");
    remove_pool(world, "b.yaml");
    write_pool(world, "c.yaml", POOL("c", "-7"));
    write_pool(world, "new.yaml", "noise: [");
    assert_int_equal(open_sources(world, &err), 0);
    assert_int_equal(min_size(world, "a"), 2);
    assert_non_null(strstr(source_error(world, "a"), "line"));
    assert_int_equal(min_size(world, "b"), -1);
    assert_int_equal(min_size(world, "c"), 4);
    assert_non_null(strstr(source_error(world, "c"), "minSize"));

    /* What was removed is not remembered: broken, it stays unknown. And a second
     * restart does not forget the others. */
    restart_begins(world);
    write_pool(world, "b.yaml", "noise: [");
    assert_int_equal(open_sources(world, &err), 0);
    assert_int_equal(min_size(world, "a"), 2);
    assert_int_equal(min_size(world, "b"), -1);

    write_pool(world, "a.yaml", POOL("a", "5"));
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "a"), 5);
    assert_string_equal(source_error(world, "a"), "");
}

static void test_a_broken_config_file_does_not_stop_a_restart(void **state)
{
    struct world *world = *state;
    struct pd_err err;

    open_db(world);
    assert_int_equal(open_sources(world, &err), 0);
    restart_begins(world);
    write_text(world->config, "sandbox: {min_size: many}\n");
    assert_int_equal(open_sources(world, &err), 0);
    assert_int_equal(min_size(world, "default"), 1);
    assert_non_null(strstr(source_error(world, "default"), "min_size"));

    restart_begins(world);
    assert_int_equal(unlink(world->config), 0);
    assert_int_equal(open_sources(world, &err), PD_NOT_FOUND);
}

static void test_a_folder_lost_at_a_restart_deletes_nothing(void **state)
{
    struct world *world = *state;
    pd_autofree char *away = pd_asprintf("%s/away", world->root);
    struct pd_err err;

    open_db(world);
    write_pool(world, "a.yaml", POOL("a", "2"));
    write_pool(world, "b.yaml", POOL("b", "3"));
    assert_int_equal(open_sources(world, &err), 0);
    restart_begins(world);
    assert_int_equal(rename(world->pools, away), 0);
    assert_int_equal(open_sources(world, &err), 0);
    assert_int_equal(min_size(world, "a"), 2);
    assert_int_equal(min_size(world, "b"), 3);
    assert_non_null(strstr(source_error(world, "a"), "No such file"));

    assert_int_equal(rename(away, world->pools), 0);
    remove_pool(world, "b.yaml");
    pd_sources_reload(world->sources);
    assert_int_equal(min_size(world, "a"), 2);
    assert_string_equal(source_error(world, "a"), "");
    assert_int_equal(min_size(world, "b"), -1);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_reads_everything_at_start),
        IN_WORLD(test_config_must_be_right_at_start),
        IN_WORLD(test_bad_manifest_leaves_the_others),
        IN_WORLD(test_reload),
        IN_WORLD(test_lost_folder_changes_nothing),
        IN_WORLD(test_pool_belongs_to_one_file),
        IN_WORLD(test_pool_moves_with_its_manifest),
        IN_WORLD(test_a_rename_over_the_file_is_seen),
        IN_WORLD(test_a_folder_made_later_is_seen),
        IN_WORLD(test_a_folder_put_in_its_place_is_seen),
        IN_WORLD(test_a_lost_mount_deletes_nothing),
        IN_WORLD(test_a_conflict_is_said_of_the_pool),
        IN_WORLD(test_what_another_source_gives_up_is_taken),
        IN_WORLD(test_twice_in_one_file_is_a_mistake),
        IN_WORLD(test_changes_are_seen),
        IN_WORLD(test_other_files_are_not_seen),
        IN_WORLD(test_what_a_broken_file_said_outlives_a_restart),
        IN_WORLD(test_a_broken_config_file_does_not_stop_a_restart),
        IN_WORLD(test_a_folder_lost_at_a_restart_deletes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
