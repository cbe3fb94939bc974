/* SandboxPool: the C field table against the CRD, both forms, the cross-field
 * rules, the canonical form and the template hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/pool.h"
#include "common/pool_fields.h"
#include "common/yaml.h"

static int set_up(void **state)
{
    struct pd_schema *schema;
    struct pd_err err = {0};

    if (pd_pool_schema_new(&schema, &err) < 0)
        fail_msg("%s", err.msg);
    *state = schema;
    return 0;
}

static int tear_down(void **state)
{
    pd_schema_free(*state);
    return 0;
}

static struct pd_node *yaml(const char *text)
{
    struct pd_node *node;
    struct pd_err err;

    if (pd_yaml_parse(text, strlen(text), &node, &err) < 0)
        fail_msg("%s", err.msg);
    return node;
}

static struct pd_pool_spec *parse(void **state, const char *text, struct pd_problems *problems)
{
    pd_autonode struct pd_node *node = yaml(text);
    struct pd_pool_spec *spec = NULL;

    *problems = (struct pd_problems){0};
    if (pd_pool_spec_parse(*state, node, PD_PROVIDER_DOCKER, &spec, problems) < 0)
        assert_true(problems->count > 0);
    return spec;
}

static struct pd_pool_spec *parse_good(void **state, const char *text)
{
    struct pd_problems problems;
    struct pd_pool_spec *spec = parse(state, text, &problems);
    struct pd_err err;

    if (!spec) {
        pd_problems_err(&problems, &err);
        fail_msg("%s", err.msg);
    }
    return spec;
}

#define HEAD "apiVersion: paddock.dev/v1\nkind: SandboxPool\nmetadata: {name: py}\n"
#define SPEC HEAD "spec:\n  image: python:3.11-slim\n"

/* ---- the schema and the table name the same fields ---- */

static bool is_leaf(const struct pd_node *schema)
{
    return !pd_node_get(schema, "properties");
}

static bool in_table(const char *path)
{
    for (size_t i = 0; pd_pool_field_at(i); i++) {
        if (strcmp(pd_pool_field_at(i)->path, path) == 0)
            return true;
    }
    return false;
}

static size_t each_leaf(const struct pd_node *schema, const char *prefix)
{
    const struct pd_node *properties = pd_node_get(schema, "properties");
    size_t count = 0;

    for (size_t i = 0; i < pd_node_count(properties); i++) {
        const struct pd_member *member = &properties->map.members[i];
        char path[128];
        snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "." : "", member->key);
        if (is_leaf(member->value) && !in_table(path))
            fail_msg("the CRD's spec.%s is in no row of the table", path);
        count += is_leaf(member->value) ? 1 : each_leaf(member->value, path);
    }
    return count;
}

static const struct pd_node *spec_schema(void **state)
{
    return pd_node_at(pd_schema_node(*state), "properties", "spec", NULL);
}

static void table_and_crd_name_the_same_fields(void **state)
{
    size_t rows = 0;

    while (pd_pool_field_at(rows))
        rows++;
    assert_int_equal(each_leaf(spec_schema(state), ""), rows);
}

static const struct pd_node *field_schema(void **state, const char *path)
{
    const struct pd_node *schema = spec_schema(state);
    pd_autofree char *copy = pd_strdup(path);
    char *rest = NULL;

    for (char *part = strtok_r(copy, ".", &rest); part; part = strtok_r(NULL, ".", &rest))
        schema = pd_node_at(schema, "properties", part, NULL);
    assert_non_null(schema);
    return schema;
}

static void every_enum_value_is_the_same_in_both(void **state)
{
    const struct pd_pool_field *field;

    for (size_t i = 0; (field = pd_pool_field_at(i)); i++) {
        const struct pd_node *choices = pd_node_get(field_schema(state, field->path), "enum");
        size_t count = 0;
        assert_int_equal(choices != NULL, field->kind == PD_FIELD_ENUM);
        while (choices && field->names[count]) {
            assert_true(count < pd_node_count(choices));
            assert_string_equal(field->names[count], pd_node_text(choices->list.items[count], ""));
            count++;
        }
        assert_int_equal(count, pd_node_count(choices));
    }
}

static void every_field_is_bounded_described_and_of_its_kind(void **state)
{
    static const char *const types[] = {
        [PD_FIELD_INT] = "integer", [PD_FIELD_BOOL] = "boolean",   [PD_FIELD_TEXT] = "string",
        [PD_FIELD_TEXTS] = "array", [PD_FIELD_ENUM] = "string",    [PD_FIELD_CPU] = NULL,
        [PD_FIELD_BYTES] = NULL,    [PD_FIELD_DURATION] = "string"};
    const struct pd_pool_field *field;

    for (size_t i = 0; (field = pd_pool_field_at(i)); i++) {
        const struct pd_node *schema = field_schema(state, field->path);
        const char *type = pd_node_text(pd_node_get(schema, "type"), "");
        assert_non_null(pd_node_get(schema, "description"));
        assert_string_equal(type, types[field->kind] ? types[field->kind] : "");
        if (field->kind == PD_FIELD_INT) {
            assert_true(pd_node_int(pd_node_get(schema, "minimum"), INT64_MIN) >= INT32_MIN);
            assert_true(pd_node_int(pd_node_get(schema, "maximum"), INT64_MAX) <= INT32_MAX);
        } else if (field->kind >= PD_FIELD_CPU) {
            assert_string_equal(pd_node_text(pd_node_get(schema, "format"), ""),
                                field->kind == PD_FIELD_DURATION ? "duration" : "quantity");
            assert_int_equal(pd_node_count(pd_node_get(schema, "x-kubernetes-validations")), 2);
        } else if (field->kind == PD_FIELD_TEXT) {
            assert_non_null(pd_node_get(schema, "maxLength"));
        } else if (field->kind == PD_FIELD_TEXTS) {
            assert_non_null(pd_node_get(schema, "maxItems"));
        }
    }
}

/* ---- values ---- */

static void defaults_are_those_of_the_design(void **state)
{
    struct pd_pool_spec *spec = parse_good(state, SPEC);

    assert_string_equal(spec->name, "py");
    assert_int_equal(spec->provider, PD_PROVIDER_DOCKER);
    assert_string_equal(spec->image, "python:3.11-slim");
    assert_int_equal(spec->languages.count, 0);
    assert_int_equal(spec->min_size, 3);
    assert_int_equal(spec->max_size, 10);
    assert_int_equal(spec->target_idle, 1);
    assert_int_equal(spec->resources.cpu_milli, 1000);
    assert_int_equal(spec->resources.memory_bytes, 256 << 20);
    assert_int_equal(spec->resources.pids, 64);
    assert_int_equal(spec->resources.disk_bytes, 64 << 20);
    assert_int_equal(spec->run.timeout_ms, 30000);
    assert_int_equal(spec->run.max_timeout_ms, 300000);
    assert_int_equal(spec->run.max_output_bytes, 1 << 20);
    assert_int_equal(spec->run.max_code_bytes, 1 << 20);
    assert_int_equal(spec->run.max_files_bytes, 16 << 20);
    assert_int_equal(spec->network, PD_NETWORK_NONE);
    assert_int_equal(spec->recycle.after_runs, 100);
    assert_int_equal(spec->recycle.after_age_ms, 3600000);
    assert_false(spec->recycle.share);
    assert_int_equal(spec->isolation, PD_ISOLATION_CELL);
    assert_string_equal(spec->runtime, "");
    assert_int_equal(spec->warm.spares, 1);
    assert_true(spec->warm.zygote);
    assert_int_equal(spec->warm.preload.count, 0);
    assert_int_equal(spec->queue.max_length, 1000);
    assert_int_equal(spec->queue.max_wait_ms, 30000);
    assert_int_equal(spec->scale_down_after_ms, 60000);
    assert_int_equal(spec->update.type, PD_UPDATE_ROLLING);
    assert_int_equal(spec->update.max_surge, 1);
    assert_int_equal(spec->update.max_unavailable, 0);
    assert_string_equal(spec->ecs.cluster, "");
    assert_int_equal(spec->ecs.capacity_providers.count, 1);
    assert_string_equal(spec->ecs.capacity_providers.items[0], "FARGATE");
    assert_string_equal(spec->ecs.platform_version, "LATEST");
    pd_pool_spec_unref(spec);
}

static void every_field_arrives(void **state)
{
    struct pd_pool_spec *spec = parse_good(
        state, HEAD
        "spec:\n  provider: ecs\n  image: a/b:c@sha256:00\n  languages: [python, bash]\n"
        "  minSize: 0\n  maxSize: 7\n  targetIdle: 2\n"
        "  resources: {cpu: 1500m, memory: 1G, pids: 99, disk: 2097152}\n"
        "  run: {timeout: 1m30s, maxTimeout: 2h, maxOutput: 2Ki, maxCode: 3Ki, maxFiles: 0}\n"
        "  network: egress\n  recycle: {afterRuns: 1, afterAge: 5s, share: true}\n"
        "  isolation: container\n  warm: {spares: 0, zygote: false, preload: [json]}\n"
        "  queue: {maxLength: 5, maxWait: 0s}\n  scaleDownAfter: 1500ms\n"
        "  updateStrategy: {type: Recreate, maxSurge: 0, maxUnavailable: 0}\n"
        "  ecs: {cluster: c, subnets: [s], securityGroups: [g], capacityProviders: "
        "[FARGATE_SPOT],\n"
        "    executionRoleArn: r, platformVersion: 1.4.0, agentImage: i, taskDefinition: t}\n");

    assert_int_equal(spec->provider, PD_PROVIDER_ECS);
    assert_true(pd_pool_spec_has_language(spec, "bash"));
    assert_false(pd_pool_spec_has_language(spec, "ruby"));
    assert_int_equal(spec->min_size, 0);
    assert_int_equal(spec->max_size, 7);
    assert_int_equal(spec->target_idle, 2);
    assert_int_equal(spec->resources.cpu_milli, 1500);
    assert_int_equal(spec->resources.memory_bytes, 1000000000);
    assert_int_equal(spec->resources.pids, 99);
    assert_int_equal(spec->resources.disk_bytes, 2097152);
    assert_int_equal(spec->run.timeout_ms, 90000);
    assert_int_equal(spec->run.max_timeout_ms, 7200000);
    assert_int_equal(spec->run.max_output_bytes, 2048);
    assert_int_equal(spec->run.max_code_bytes, 3072);
    assert_int_equal(spec->run.max_files_bytes, 0);
    assert_int_equal(spec->network, PD_NETWORK_EGRESS);
    assert_int_equal(spec->recycle.after_runs, 1);
    assert_int_equal(spec->recycle.after_age_ms, 5000);
    assert_true(spec->recycle.share);
    assert_int_equal(spec->isolation, PD_ISOLATION_CONTAINER);
    assert_int_equal(spec->warm.spares, 0);
    assert_false(spec->warm.zygote);
    assert_string_equal(spec->warm.preload.items[0], "json");
    assert_int_equal(spec->queue.max_length, 5);
    assert_int_equal(spec->queue.max_wait_ms, 0);
    assert_int_equal(spec->scale_down_after_ms, 1500);
    assert_int_equal(spec->update.type, PD_UPDATE_RECREATE);
    assert_int_equal(spec->update.max_surge, 0);
    assert_string_equal(spec->ecs.cluster, "c");
    assert_string_equal(spec->ecs.subnets.items[0], "s");
    assert_string_equal(spec->ecs.security_groups.items[0], "g");
    assert_string_equal(spec->ecs.capacity_providers.items[0], "FARGATE_SPOT");
    assert_string_equal(spec->ecs.execution_role_arn, "r");
    assert_string_equal(spec->ecs.platform_version, "1.4.0");
    assert_string_equal(spec->ecs.agent_image, "i");
    assert_string_equal(spec->ecs.task_definition, "t");
    pd_pool_spec_unref(spec);
}

static void the_short_form_is_a_pool_named_default(void **state)
{
    struct pd_pool_spec *spec = parse_good(
        state, "sandbox:\n  min_size: 2\n  max_size: 4\n  default_image: \"python:3.11-slim\"\n");

    assert_string_equal(spec->name, "default");
    assert_int_equal(spec->min_size, 2);
    assert_int_equal(spec->max_size, 4);
    assert_string_equal(spec->image, "python:3.11-slim");
    assert_int_equal(spec->languages.count, 0);
    assert_true(pd_pool_spec_has_language(spec, "anything"));
    pd_pool_spec_unref(spec);
}

static void the_provider_decides_the_isolation(void **state)
{
    static const struct {
        const char *what;
        const char *text;
        enum pd_provider_kind given;
        enum pd_provider_kind provider;
        enum pd_isolation isolation;
    } cases[] = {
        {"docker by default", SPEC, PD_PROVIDER_DOCKER, PD_PROVIDER_DOCKER, PD_ISOLATION_CELL},
        {"ecs by default", SPEC, PD_PROVIDER_ECS, PD_PROVIDER_ECS, PD_ISOLATION_UID},
        {"ecs by spec", SPEC "  provider: ecs\n", PD_PROVIDER_DOCKER, PD_PROVIDER_ECS,
         PD_ISOLATION_UID},
        {"docker by spec", SPEC "  provider: docker\n", PD_PROVIDER_ECS, PD_PROVIDER_DOCKER,
         PD_ISOLATION_CELL},
        {"isolation by spec", SPEC "  isolation: container\n", PD_PROVIDER_DOCKER,
         PD_PROVIDER_DOCKER, PD_ISOLATION_CONTAINER},
    };

    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autonode struct pd_node *node = yaml(cases[i].text);
        struct pd_problems problems = {0};
        struct pd_pool_spec *spec;
        print_message("%s\n", cases[i].what);
        assert_int_equal(pd_pool_spec_parse(*state, node, cases[i].given, &spec, &problems), 0);
        assert_int_equal(spec->provider, cases[i].provider);
        assert_int_equal(spec->isolation, cases[i].isolation);
        pd_pool_spec_unref(spec);
    }
}

/* ---- problems ---- */

static void what_is_wrong_is_said_with_path_and_line(void **state)
{
    static const struct {
        const char *text;
        const char *problem;
    } cases[] = {
        {SPEC "  minSize: -3\n", "spec.minSize: must be >= 0, got -3 (line 6)"},
        {SPEC "  minSize: 5\n  maxSize: 2\n",
         "spec.minSize: must be <= spec.maxSize (2), got 5 (line 6)"},
        {SPEC "  maxSize: 2\n", "spec.minSize: must be <= spec.maxSize (2), got 3 (line 6)"},
        {SPEC "  minSize: 0\n  maxSize: 0\n", "spec.maxSize: must be >= 1, got 0 (line 7)"},
        {SPEC "  targetIdle: 11\n",
         "spec.targetIdle: must be <= spec.maxSize (10), got 11 (line 6)"},
        {SPEC "  run: {timeout: 10m}\n",
         "spec.run.timeout: must be <= spec.run.maxTimeout (5m), got 10m (line 6)"},
        {SPEC "  run: {timeout: 0s}\n", "spec.run.timeout: must be >= 1ms, got \"0s\" (line 6)"},
        {SPEC "  run: {timeout: 30}\n", "spec.run.timeout: must be a string, got 30 (line 6)"},
        {SPEC "  resources: {memory: 256MB}\n",
         "spec.resources.memory: must be a quantity such as 500m, 2 or 256Mi, got \"256MB\" "
         "(line 6)"},
        {SPEC "  resources: {memory: 0}\n",
         "spec.resources.memory: must be >= 16Mi, got 0 (line 6)"},
        {SPEC "  minsize: 1\n", "spec.minsize: is not known; did you mean minSize? (line 6)"},
        {SPEC "  updateStrategy: {maxSurge: 0}\n",
         "spec.updateStrategy.maxUnavailable: must be > 0 when updateStrategy.maxSurge is 0: "
         "nothing could be replaced (line 5)"},
        {SPEC "  network: host\n",
         "spec.network: must be one of \"none\", \"egress\", got \"host\" (line 6)"},
        {SPEC "  languages: [a, b, a]\n", "spec.languages[2]: stands there twice: \"a\" (line 6)"},
        {SPEC "  provider: ecs\n  runtime: runsc\n",
         "spec.runtime: must be empty with provider ecs, which chooses the runtime itself "
         "(line 7)"},
        {HEAD "spec: {}\n", "spec.image: is required (line 4)"},
        {HEAD, "spec: is required (line 1)"},
        {"apiVersion: paddock.dev/v2\nkind: SandboxPool\nmetadata: {name: a}\nspec: {image: b}\n",
         "apiVersion: must be paddock.dev/v1 (line 1)"},
        {"apiVersion: paddock.dev/v1\nkind: Pod\nmetadata: {name: a}\nspec: {image: b}\n",
         "kind: must be SandboxPool (line 2)"},
        {"apiVersion: paddock.dev/v1\nkind: SandboxPool\nmetadata: {name: A_b}\nspec: {image: b}\n",
         "metadata.name: must match ^[a-z0-9]([a-z0-9-]*[a-z0-9])?$, got \"A_b\" (line 3)"},
        {"apiVersion: paddock.dev/v1\nkind: SandboxPool\nmetadata: {nam: b}\nspec: {image: b}\n",
         "metadata.name: is required (line 3)"},
        {"[]\n", "must be a map, got a list (line 1)"},
        {"", "must be a map, got null"},
        {"sandbox: {min_size: 5, max_size: 4, default_image: a}\n",
         "sandbox.min_size: must be <= sandbox.max_size (4), got 5 (line 1)"},
        {"sandbox:\n  min_size: x\n  default_image: a\n",
         "sandbox.min_size: must be an integer, got \"x\" (line 2)"},
        {"sandbox:\n  min_size: 1\n", "sandbox.default_image: is required (line 2)"},
        {"sandbox:\n  minSize: 1\n  default_image: a\n",
         "sandbox.minSize: is not known; did you mean min_size? (line 2)"},
        {"sandbox: 3\n", "sandbox: must be a map (line 1)"},
        {"sandbox: {default_image: a}\nmore: 1\n", "nothing may stand beside sandbox (line 2)"},
    };

    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        struct pd_problems problems;
        char text[512];
        assert_null(parse(state, cases[i].text, &problems));
        assert_string_equal(pd_problem_format(&problems.items[0], text, sizeof text),
                            cases[i].problem);
    }
}

static void a_full_list_of_problems_still_refuses(void **state)
{
    pd_autonode struct pd_node *node = yaml(HEAD "spec: {image: 3}\n");
    struct pd_problems problems = {.count = PD_PROBLEMS_MAX};
    struct pd_pool_spec *spec = NULL;

    assert_int_equal(pd_pool_spec_parse(*state, node, PD_PROVIDER_DOCKER, &spec, &problems),
                     PD_INVALID);
    assert_null(spec);
    assert_int_equal(problems.dropped, 1);
}

/* ---- canonical form and hash ---- */

static void the_canonical_form_parses_back_to_itself(void **state)
{
    struct pd_pool_spec *spec =
        parse_good(state, SPEC "  resources: {memory: 1024Mi, cpu: 2.5}\n  run: {timeout: 90s}\n");
    struct pd_buf text pd_autobuf;
    struct pd_pool_spec *again;

    pd_buf_init(&text, 65536);
    assert_int_equal(pd_yaml_format(spec->node, &text, NULL), 0);
    assert_non_null(strstr(text.data, "memory: 1Gi\n"));
    assert_non_null(strstr(text.data, "timeout: 1m30s\n"));
    again = parse_good(state, text.data);
    assert_true(pd_node_equal(again->node, spec->node));
    assert_string_equal(again->template_hash, spec->template_hash);
    pd_pool_spec_unref(again);
    pd_pool_spec_unref(spec);
}

static void labels_stay_and_status_goes(void **state)
{
    struct pd_pool_spec *spec = parse_good(
        state,
        "apiVersion: paddock.dev/v1\nkind: SandboxPool\n"
        "metadata: {name: a, uid: x, generation: 3, labels: {team: b}, managedFields: [1]}\n"
        "spec: {image: b}\nstatus: {replicas: 3}\n");

    assert_non_null(pd_node_at(spec->node, "metadata", "labels", "team", NULL));
    assert_null(pd_node_at(spec->node, "metadata", "uid", NULL));
    assert_null(pd_node_get(spec->node, "status"));
    pd_pool_spec_unref(spec);
}

static void the_hash_tells_templates_apart_and_nothing_else(void **state)
{
    static const struct {
        const char *what;
        const char *more;
        bool same;
    } cases[] = {
        {"sizes", "  minSize: 1\n  maxSize: 5\n  targetIdle: 0\n", true},
        {"queue and scaling", "  queue: {maxWait: 1s}\n  scaleDownAfter: 5s\n", true},
        {"limits of a run", "  run: {timeout: 1s}\n", true},
        {"recycling", "  recycle: {afterRuns: 1}\n", true},
        {"the same memory", "  resources: {memory: 268435456}\n", true},
        {"ecs on docker", "  ecs: {cluster: x}\n", true},
        {"memory", "  resources: {memory: 128Mi}\n", false},
        {"languages", "  languages: [python]\n", false},
        {"spares", "  warm: {spares: 2}\n", false},
        {"network", "  network: egress\n", false},
        {"isolation", "  isolation: container\n", false},
        {"provider", "  provider: ecs\n", false},
    };
    struct pd_pool_spec *base = parse_good(state, SPEC);

    assert_int_equal(strlen(base->template_hash), 16);
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        char text[512];
        struct pd_pool_spec *spec;
        snprintf(text, sizeof text, SPEC "%s", cases[i].more);
        spec = parse_good(state, text);
        print_message("%s\n", cases[i].what);
        assert_int_equal(strcmp(base->template_hash, spec->template_hash) == 0, cases[i].same);
        pd_pool_spec_unref(spec);
    }
    pd_pool_spec_unref(base);
}

static void a_spec_lives_as_long_as_it_is_referenced(void **state)
{
    struct pd_pool_spec *spec = parse_good(state, SPEC);

    assert_ptr_equal(pd_pool_spec_ref(spec), spec);
    pd_pool_spec_unref(spec);
    assert_string_equal(spec->image, "python:3.11-slim");
    pd_pool_spec_unref(spec);
    pd_pool_spec_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_and_crd_name_the_same_fields),
        cmocka_unit_test(every_enum_value_is_the_same_in_both),
        cmocka_unit_test(every_field_is_bounded_described_and_of_its_kind),
        cmocka_unit_test(defaults_are_those_of_the_design),
        cmocka_unit_test(every_field_arrives),
        cmocka_unit_test(the_short_form_is_a_pool_named_default),
        cmocka_unit_test(the_provider_decides_the_isolation),
        cmocka_unit_test(what_is_wrong_is_said_with_path_and_line),
        cmocka_unit_test(a_full_list_of_problems_still_refuses),
        cmocka_unit_test(the_canonical_form_parses_back_to_itself),
        cmocka_unit_test(labels_stay_and_status_goes),
        cmocka_unit_test(the_hash_tells_templates_apart_and_nothing_else),
        cmocka_unit_test(a_spec_lives_as_long_as_it_is_referenced),
    };

    return cmocka_run_group_tests_name("pool", tests, set_up, tear_down);
}
