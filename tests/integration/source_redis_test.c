/* Pools in a real Redis, into a store: what is set, changed, wrong, removed, lost, and
 * another source's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/source_redis.h"
#include "common/mem.h"
#include "common/time.h"
#include "tests/lib/loop_until.h"
#include "tests/lib/redis_server.h"

#define WAIT_MS 60000
#define MANIFEST(size)                                                                             \
    "'{\"apiVersion\":\"paddock.dev/v1\",\"kind\":\"SandboxPool\",\"spec\":"                       \
    "{\"image\":\"python:3.11-slim\",\"minSize\":" size ",\"maxSize\":9}}'"
#define SET(name, text) "HSET paddock:pools " name " " text
#define SAY "PUBLISH paddock:pools:changed x"

struct world {
    uv_loop_t loop;
    struct pd_redis_server *server;
    struct pd_redis *redis;
    struct pd_store *store;
    struct pd_source_redis *source;
    bool closed;
};

static int set_up(void **state)
{
    struct world *world = PD_NEW(struct world);
    struct pd_redis_url url;
    struct pd_err err;

    uv_loop_init(&world->loop);
    world->server = pd_redis_server_new(NULL);
    assert_int_equal(pd_redis_url_parse(pd_redis_server_unix_url(world->server), &url, NULL), 0);
    world->redis = pd_redis_open(&(struct pd_redis_config){.loop = &world->loop, .url = &url});
    pd_redis_url_fini(&url);
    world->store = pd_store_new(&world->loop, NULL);
    const struct pd_source_redis_config config = {.loop = &world->loop,
                                                  .store = world->store,
                                                  .redis = world->redis,
                                                  .default_provider = PD_PROVIDER_DOCKER};
    assert_int_equal(pd_source_redis_open(&config, &world->source, &err), 0);
    *state = world;
    return 0;
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void wait_closed(struct world *world)
{
    assert_true(pd_loop_until(&world->loop, &world->closed, WAIT_MS));
    world->closed = false;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    pd_source_redis_close(world->source, on_closed, &world->closed);
    wait_closed(world);
    pd_redis_close(world->redis, on_closed, &world->closed);
    wait_closed(world);
    pd_store_close(world->store, on_closed, &world->closed);
    wait_closed(world);
    assert_true(pd_loop_finish(&world->loop, WAIT_MS));
    pd_redis_server_free(world->server);
    free(world);
    return 0;
}

static void tell(struct world *world, const char *words)
{
    if (!pd_redis_server_cli(world->server, words))
        fail_msg("redis-cli %s", words);
}

static const struct pd_pool *pool_of(struct world *world, const char *name)
{
    return pd_store_pool(world->store, name);
}

/* Turn the loop, having it read again and again, until the pool is as `is` wants it. */
static void wait_pool(struct world *world, const char *name, const char *what,
                      bool (*is)(const struct pd_pool *pool))
{
    struct pd_time since = pd_time_now();

    while (!is(pool_of(world, name))) {
        if (pd_time_ms_between(since, pd_time_now()) > WAIT_MS)
            fail_msg("%s is not %s", name, what);
        pd_loop_for(&world->loop, 20);
        pd_source_redis_reload(world->source);
    }
}

/* It has read the hash at least once more. */
static void settle(struct world *world)
{
    for (int i = 0; i < 5; i++) {
        pd_source_redis_reload(world->source);
        pd_loop_for(&world->loop, 60);
    }
}

static bool is_there(const struct pd_pool *pool)
{
    return pool && !pool->deleting && !pool->source_error[0];
}

static bool is_of_five(const struct pd_pool *pool)
{
    return is_there(pool) && pool->spec->min_size == 5;
}

static bool is_wrong(const struct pd_pool *pool)
{
    return pool && pool->source_error[0] && !pool->deleting;
}

static bool is_going(const struct pd_pool *pool)
{
    return pool && pool->deleting;
}

static void test_set_changed_removed(void **state)
{
    struct world *world = *state;

    tell(world, SET("python", MANIFEST("2")));
    wait_pool(world, "python", "there", is_there);
    assert_string_equal(pool_of(world, "python")->source, PD_SOURCE_REDIS);
    assert_int_equal(pool_of(world, "python")->generation, 1);
    tell(world, SET("python", MANIFEST("5")));
    wait_pool(world, "python", "changed", is_of_five);
    assert_int_equal(pool_of(world, "python")->generation, 2);
    tell(world, "HDEL paddock:pools python");
    wait_pool(world, "python", "going", is_going);
}

/* Without being asked to read: what is said on the channel is heard. */
static void test_said(void **state)
{
    struct world *world = *state;
    struct pd_time since = pd_time_now();

    tell(world, SET("a", MANIFEST("1")));
    wait_pool(world, "a", "there", is_there);
    tell(world, SET("b", MANIFEST("1")));
    while (!pool_of(world, "b")) { /* the subscription may begin after the first reading */
        assert_true(pd_time_ms_between(since, pd_time_now()) < WAIT_MS);
        tell(world, SAY);
        pd_loop_for(&world->loop, 50);
    }
}

static void test_mistakes(void **state)
{
    static const char *const wrong[] = {
        SET("python", "'{\"spec\": ['"),
        SET("python", MANIFEST("-1")),
        SET("python",
            "'{\"apiVersion\":\"paddock.dev/v1\",\"kind\":\"SandboxPool\","
            "\"metadata\":{\"name\":\"other\"},\"spec\":{\"image\":\"x\"}}'"),
        SET("python", "'a: 1\n---\nb: 2'"),
        SET("python", "''"),
    };
    struct world *world = *state;

    tell(world, SET("python", MANIFEST("5")));
    wait_pool(world, "python", "there", is_of_five);
    for (size_t i = 0; i < PD_COUNT(wrong); i++) {
        tell(world, wrong[i]);
        wait_pool(world, "python", "wrong", is_wrong);
        assert_int_equal(pool_of(world, "python")->spec->min_size, 5); /* the last good one */
        tell(world, SET("python", MANIFEST("5")));
        wait_pool(world, "python", "right again", is_of_five);
    }
    /* One that was never right is no pool, nor is a field that cannot be a name. */
    tell(world, SET("new", "'{'"));
    tell(world, SET("Not_A_Name", MANIFEST("1")));
    tell(world, SET("$(printf a%.0s $(seq 100))", MANIFEST("1")));
    settle(world);
    assert_null(pool_of(world, "new"));
    assert_null(pool_of(world, "Not_A_Name"));
    assert_true(is_of_five(pool_of(world, "python")));
}

static void test_lost_is_not_removed(void **state)
{
    struct world *world = *state;

    tell(world, SET("python", MANIFEST("5")));
    wait_pool(world, "python", "there", is_of_five);
    tell(world, "FLUSHALL");
    wait_pool(world, "python", "lost", is_wrong);
    tell(world, SET("python", MANIFEST("5")));
    wait_pool(world, "python", "found", is_of_five);
    tell(world, "HDEL paddock:pools python");
    wait_pool(world, "python", "going", is_going);
}

static void test_a_restart_without_data(void **state)
{
    struct world *world = *state;

    tell(world, SET("python", MANIFEST("5")));
    wait_pool(world, "python", "there", is_of_five);
    pd_redis_server_kill(world->server);
    pd_loop_for(&world->loop, 300);
    assert_false(pool_of(world, "python")->deleting);
    pd_redis_server_start(world->server);
    wait_pool(world, "python", "lost", is_wrong);
    tell(world, "DEL paddock:pools");
    tell(world, "SET paddock:pools text"); /* no hash at all */
    settle(world);
    assert_true(is_wrong(pool_of(world, "python")));
    assert_int_equal(pool_of(world, "python")->spec->min_size, 5);
}

static void test_a_pool_of_another(void **state)
{
    static const char text[] =
        "{apiVersion: paddock.dev/v1, kind: SandboxPool, metadata: "
        "{name: python}, spec: {image: mine, minSize: 1, maxSize: 2}}";
    struct world *world = *state;
    struct pd_pool_spec *spec = NULL;
    struct pd_schema *schema = NULL;
    struct pd_err err;

    assert_int_equal(pd_pool_schema_new(&schema, NULL), 0);
    assert_int_equal(pd_source_redis_parse(schema, "python", text, sizeof text - 1,
                                           PD_PROVIDER_DOCKER, &spec, &err),
                     0);
    assert_int_equal(pd_store_pool_put(world->store, spec, "file:pools.d/python.yaml", &err), 0);
    pd_pool_spec_unref(spec);
    pd_schema_free(schema);
    tell(world, SET("python", MANIFEST("5")));
    tell(world, SET("other", MANIFEST("5")));
    wait_pool(world, "other", "there", is_there);
    assert_int_equal(pool_of(world, "python")->spec->min_size, 1);
    tell(world, "HDEL paddock:pools python");
    tell(world, "HDEL paddock:pools other");
    wait_pool(world, "other", "going", is_going);
    assert_false(pool_of(world, "python")->deleting);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_set_changed_removed),
        TEST(test_said),
        TEST(test_mistakes),
        TEST(test_lost_is_not_removed),
        TEST(test_a_restart_without_data),
        TEST(test_a_pool_of_another),
    };

    if (pd_redis_server_lacks()) {
        printf("SKIP integration/source_redis: %s\n", pd_redis_server_lacks());
        return 0;
    }
    signal(SIGPIPE, SIG_IGN); /* as the service does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
