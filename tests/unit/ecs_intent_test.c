#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "controller/ecs_intent.h"
#include "tests/lib/loop_until.h"

#define NOW 1800000000000

static const struct pd_db_schema *const schemas[] = {&pd_ecs_intents_schema, NULL};

struct env {
    uv_loop_t loop;
    char dir[64], path[96];
    struct pd_db *db;
    struct pd_ecs_intents *intents;
    bool written, closed;
    int kind;
};

static void open_all(struct env *env)
{
    const struct pd_db_config config = {.loop = &env->loop, .path = env->path, .schemas = schemas};

    assert_int_equal(pd_db_open(&config, &env->db, NULL), 0);
    assert_int_equal(pd_ecs_intents_open(env->db, "me", &env->intents, NULL), 0);
}

static void on_closed(void *arg)
{
    ((struct env *)arg)->closed = true;
}

static void close_all(struct env *env)
{
    pd_ecs_intents_free(env->intents);
    env->closed = false;
    pd_db_close(env->db, on_closed, env);
    assert_true(pd_loop_until(&env->loop, &env->closed, 20000));
}

static void reopen(struct env *env)
{
    close_all(env);
    open_all(env);
}

static int set_up(void **state)
{
    struct env *env = PD_NEW(struct env);

    assert_int_equal(uv_loop_init(&env->loop), 0);
    strcpy(env->dir, "/tmp/pd-intent-XXXXXX");
    assert_non_null(mkdtemp(env->dir));
    snprintf(env->path, sizeof env->path, "%s/paddock.db", env->dir);
    open_all(env);
    *state = env;
    return 0;
}

static int tear_down(void **state)
{
    struct env *env = *state;
    pd_autofree char *command = pd_asprintf("rm -rf '%s'", env->dir);

    close_all(env);
    assert_true(pd_loop_finish(&env->loop, 10000));
    free(env);
    return system(command);
}

static struct pd_node *request(const char *cluster, const char *definition, const char *group)
{
    struct pd_node *body = pd_node_map_new(), *network = pd_node_map_new();

    pd_node_set_string(body, "cluster", cluster);
    pd_node_set_string(body, "taskDefinition", definition);
    pd_node_add(pd_node_set(network, "securityGroups", pd_node_list_new()),
                pd_node_string_new(group));
    pd_node_set(pd_node_set(body, "networkConfiguration", pd_node_map_new()), "awsvpcConfiguration",
                network);
    return body;
}

static void on_written(void *arg, const struct pd_err *err)
{
    struct env *env = arg;

    env->written = true;
    env->kind = err ? err->kind : 0;
}

static struct pd_ecs_intent *write_one(struct env *env, const char *token, const char *hash,
                                       int count, int64_t wall_ms)
{
    struct pd_ecs_intent *intent = pd_ecs_intents_add(env->intents, token, "pool", hash, count,
                                                      wall_ms, request("c", "d:1", "sg"));

    env->written = false;
    assert_true(pd_ecs_intents_write(env->intents, intent, on_written, env));
    assert_false(env->written); /* never from within the call */
    assert_true(pd_loop_until(&env->loop, &env->written, 20000));
    assert_int_equal(env->kind, 0);
    return intent;
}

static struct pd_ecs_intent *find(struct env *env, const char *hash, const char *cluster,
                                  const char *definition, const char *group, int64_t wall_ms)
{
    pd_autonode struct pd_node *wanted = request(cluster, definition, group);

    return pd_ecs_intents_find(env->intents, "pool", hash, wanted, wall_ms);
}

/* A life ends without a word; the next one finds what it meant. */
static void test_over_a_restart(void **state)
{
    struct env *env = *state;
    struct pd_ecs_intent *found;

    write_one(env, "token-1", "h1", 3, NOW);
    assert_null(find(env, "h1", "c", "d:1", "sg", NOW)); /* it is under way */
    reopen(env);
    assert_int_equal(pd_ecs_intents_count(env->intents), 1);
    assert_null(find(env, "h2", "c", "d:1", "sg", NOW));
    assert_null(find(env, "h1", "x", "d:1", "sg", NOW));
    assert_null(find(env, "h1", "c", "d:2", "sg", NOW));
    assert_null(find(env, "h1", "c", "d:1", "sg-tighter", NOW));
    found = find(env, "h1", "c", "d:1", "sg", NOW + PD_ECS_INTENT_MS - 1);
    assert_non_null(found);
    assert_string_equal(found->token, "token-1");
    assert_int_equal(found->count, 3);
    assert_int_equal(found->state, PD_ECS_INTENT_OPEN);
    pd_ecs_intents_settle(env->intents, found);
    reopen(env);
    assert_int_equal(pd_ecs_intents_count(env->intents), 0);
}

static void test_old_ones_are_forgotten(void **state)
{
    struct env *env = *state;

    write_one(env, "token-1", "h1", 1, NOW);
    reopen(env);
    assert_null(find(env, "h1", "c", "d:1", "sg", NOW + PD_ECS_INTENT_MS));
    assert_int_equal(pd_ecs_intents_count(env->intents), 0);
    reopen(env);
    assert_int_equal(pd_ecs_intents_count(env->intents), 0);
}

static int two_of_the_first(void *arg, const char *token)
{
    (void)arg;
    return strcmp(token, "token-1") == 0 ? 2 : 0;
}

static void test_listed(void **state)
{
    struct env *env = *state;
    struct pd_ecs_intent *first = write_one(env, "token-1", "h1", 2, NOW);
    struct pd_ecs_intent *second = write_one(env, "token-2", "h1", 2, NOW);

    pd_ecs_intents_listed(env->intents, two_of_the_first, NULL, NOW);
    assert_int_equal(pd_ecs_intents_count(env->intents), 2); /* busy ones stay */
    first->state = second->state = PD_ECS_INTENT_ANSWERED;
    assert_null(find(env, "h1", "c", "d:1", "sg", NOW));
    pd_ecs_intents_listed(env->intents, two_of_the_first, NULL, NOW);
    assert_int_equal(pd_ecs_intents_count(env->intents), 1);
    pd_ecs_intents_listed(env->intents, two_of_the_first, NULL, NOW + PD_ECS_INTENT_MS);
    assert_int_equal(pd_ecs_intents_count(env->intents), 0);
}

static void change(struct env *env, const char *sql)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(env->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* Rows of another instance are not ours; one that was not written by us is none. */
static void test_strange_rows(void **state)
{
    struct env *env = *state;

    write_one(env, "token-1", "h1", 1, NOW);
    write_one(env, "token-2", "h1", 1, NOW);
    write_one(env, "token-3", "h1", 1, NOW);
    write_one(env, "token-4", "h1", 1, NOW);
    close_all(env);
    change(env, "UPDATE ecs_intents SET instance = 'you' WHERE token = 'token-1'");
    change(env, "UPDATE ecs_intents SET request = '{' WHERE token = 'token-2'");
    change(env, "UPDATE ecs_intents SET request = '[]' WHERE token = 'token-3'");
    change(env, "UPDATE ecs_intents SET count = 4000000000 WHERE token = 'token-4'");
    open_all(env);
    assert_int_equal(pd_ecs_intents_count(env->intents), 0);
}

static void test_bounded(void **state)
{
    struct env *env = *state;
    struct pd_ecs_intents *intents;

    assert_int_equal(pd_ecs_intents_open(NULL, "me", &intents, NULL), 0);
    for (int i = 0; i < PD_ECS_INTENTS_MAX + 10; i++) {
        char token[32];
        struct pd_ecs_intent *intent;
        snprintf(token, sizeof token, "t-%d", i);
        intent = pd_ecs_intents_add(intents, token, "p", "h", 1, NOW, request("c", "d", "g"));
        assert_false(pd_ecs_intents_write(intents, intent, on_written, env)); /* nowhere to */
        intent->state = PD_ECS_INTENT_ANSWERED;
    }
    assert_int_equal(pd_ecs_intents_count(intents), PD_ECS_INTENTS_MAX);
    pd_ecs_intents_free(intents);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_over_a_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old_ones_are_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_listed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_strange_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bounded, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
