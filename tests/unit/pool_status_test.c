#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/pool_status.h"
#include "common/yaml.h"

/* ---- failures ---- */

static void test_the_same_failure_is_counted(void **state)
{
    struct pd_failures failures = {.count = 0};

    (void)state;
    pd_failures_note(&failures, "Died", "exit 9", 1000);
    pd_failures_note(&failures, "NotCreated", "no such image", 2000);
    pd_failures_note(&failures, "Died", "exit 9", 3000);
    assert_int_equal(failures.count, 2);
    assert_string_equal(failures.items[0].reason, "Died");
    assert_int_equal(failures.items[0].count, 2);
    assert_int_equal(failures.items[0].wall_ms, 3000);
    assert_string_equal(failures.items[1].message, "no such image");
}

static void test_the_last_failures_are_kept(void **state)
{
    struct pd_failures failures = {.count = 0};
    char message[16];

    (void)state;
    for (int i = 0; i < 20; i++) {
        snprintf(message, sizeof message, "exit %d", i);
        pd_failures_note(&failures, "Died", message, i);
    }
    assert_int_equal(failures.count, PD_POOL_FAILURES_MAX);
    for (int i = 0; i < PD_POOL_FAILURES_MAX; i++) {
        assert_int_equal(failures.items[i].wall_ms, 19 - i);
        assert_int_equal(failures.items[i].count, 1);
    }
}

/* ---- encoding ---- */

static struct pd_pool pool_new(void)
{
    struct pd_pool pool = {.source = "file:/etc/p.yaml", .generation = 4};

    pool.status = (struct pd_pool_status){
        .observed_generation = 4,
        .wanted = 5,
        .replicas = 6,
        .ready = 1,
        .claimed = 2,
        .starting = 1,
        .terminating = 2,
        .updated = 3,
        .template_hash = "9f2c1a",
        .queue_length = 7,
        .warm_hit_ratio = 0.99876,
        .refill_p99_ms = 412,
        .start_p90_ms = 61000,
        .recommended_min = 9,
        .available = {.status = 1, .reason = "SandboxesReady", .since_wall_ms = 1769860800123},
        .progressing = {.status = -1, .since_wall_ms = 1769860800999},
        .degraded = {.status = 0, .reason = "AsExpected", .message = "m", .since_wall_ms = 1},
    };
    return pool;
}

static const char *text_at(const struct pd_node *node, const char *key)
{
    return pd_node_text(pd_node_get(node, key), "(absent)");
}

static void test_says_everything(void **state)
{
    static const struct {
        const char *key;
        int value;
    } numbers[] = {
        {"observedGeneration", 4},      {"wantedReplicas", 5},  {"replicas", 6},
        {"readyReplicas", 1},           {"claimedReplicas", 2}, {"startingReplicas", 1},
        {"terminatingReplicas", 2},     {"updatedReplicas", 3}, {"queueLength", 7},
        {"refillP99Milliseconds", 412}, {"startP90Milliseconds", 61000},
        {"recommendedMinSize", 9},
    };
    struct pd_pool pool = pool_new();
    pd_autonode struct pd_node *node = NULL;
    const struct pd_node *failure, *conditions;

    (void)state;
    pd_strcpy(pool.source_error, sizeof pool.source_error, "line 3");
    pd_strcpy(pool.conflict, sizeof pool.conflict, "redis too");
    pd_failures_note(&pool.status.failures, "Died", "exit 9", 1769860800000);
    node = pd_pool_status_encode(&pool);
    for (size_t i = 0; i < PD_COUNT(numbers); i++)
        assert_int_equal(pd_node_int(pd_node_get(node, numbers[i].key), -9), numbers[i].value);
    assert_string_equal(text_at(node, "templateHash"), "9f2c1a");
    assert_string_equal(text_at(node, "source"), "file:/etc/p.yaml");
    assert_string_equal(text_at(node, "sourceError"), "line 3");
    assert_string_equal(text_at(node, "conflict"), "redis too");
    assert_true(pd_node_number(pd_node_get(node, "warmHitRatio"), 0) == 0.9988);
    failure = pd_node_get(node, "lastFailures")->list.items[0];
    assert_string_equal(text_at(failure, "time"), "2026-01-31T12:00:00Z");
    assert_string_equal(text_at(failure, "reason"), "Died");
    assert_string_equal(text_at(failure, "message"), "exit 9");
    assert_int_equal(pd_node_int(pd_node_get(failure, "count"), 0), 1);
    conditions = pd_node_get(node, "conditions");
    assert_int_equal(pd_node_count(conditions), 3);
    assert_string_equal(text_at(conditions->list.items[0], "type"), "Available");
    assert_string_equal(text_at(conditions->list.items[0], "status"), "True");
    assert_string_equal(text_at(conditions->list.items[0], "lastTransitionTime"),
                        "2026-01-31T12:00:00Z");
    assert_string_equal(text_at(conditions->list.items[1], "status"), "Unknown");
    assert_string_equal(text_at(conditions->list.items[2], "status"), "False");
    assert_string_equal(text_at(conditions->list.items[2], "reason"), "AsExpected");
}

static void test_what_is_not_known_is_left_out(void **state)
{
    struct pd_pool pool = {.source = "api"};
    pd_autonode struct pd_node *node = NULL;

    (void)state;
    pool.status.warm_hit_ratio = -1;
    pool.status.refill_p99_ms = pool.status.start_p90_ms = pool.status.recommended_min = -1;
    node = pd_pool_status_encode(&pool);
    assert_null(pd_node_get(node, "warmHitRatio"));
    assert_null(pd_node_get(node, "refillP99Milliseconds"));
    assert_null(pd_node_get(node, "startP90Milliseconds"));
    assert_null(pd_node_get(node, "recommendedMinSize"));
    assert_null(pd_node_get(node, "templateHash"));
    assert_null(pd_node_get(node, "sourceError"));
    assert_null(pd_node_get(node, "conflict"));
    assert_null(pd_node_get(node, "lastFailures"));
    assert_int_equal(pd_node_count(pd_node_get(node, "conditions")), 0);
}

/* ---- the CRD ---- */

/* Every member of `node` is declared, all the way down. */
static void check_declared(const struct pd_node *schema, const struct pd_node *node)
{
    const struct pd_node *properties = pd_node_get(schema, "properties");

    if (node->kind == PD_NODE_LIST) {
        for (size_t i = 0; i < node->list.count; i++)
            check_declared(pd_node_get(schema, "items"), node->list.items[i]);
    }
    for (size_t i = 0; node->kind == PD_NODE_MAP && i < node->map.count; i++) {
        const struct pd_member *member = &node->map.members[i];
        if (!pd_node_get(properties, member->key))
            fail_msg("crds/sandboxpool.yaml does not have status member %s", member->key);
        check_declared(pd_node_get(properties, member->key), member->value);
    }
}

static void test_the_crd_declares_all_of_it_and_no_more(void **state)
{
    struct pd_pool pool = pool_new();
    pd_autonode struct pd_node *node = NULL, *crd = NULL;
    const struct pd_node *schema;
    struct pd_err err;

    (void)state;
    pd_strcpy(pool.source_error, sizeof pool.source_error, "x");
    pd_strcpy(pool.conflict, sizeof pool.conflict, "x");
    pd_failures_note(&pool.status.failures, "Died", "exit 9", 1);
    node = pd_pool_status_encode(&pool);
    assert_int_equal(pd_yaml_parse_asset("crds/sandboxpool.yaml", &crd, &err), 0);
    schema = pd_node_at(pd_node_at(crd, "spec", "versions", NULL)->list.items[0], "schema",
                        "openAPIV3Schema", "properties", "status", NULL);
    assert_non_null(schema);
    check_declared(schema, node);
    assert_int_equal(pd_node_count(pd_node_get(schema, "properties")), pd_node_count(node));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_failure_is_counted),
        cmocka_unit_test(test_the_last_failures_are_kept),
        cmocka_unit_test(test_says_everything),
        cmocka_unit_test(test_what_is_not_known_is_left_out),
        cmocka_unit_test(test_the_crd_declares_all_of_it_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
