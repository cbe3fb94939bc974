/* What keeps code inside its task stands in the definition, or it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/problems.h"
#include "controller/ecs_definition.h"
#include "controller/ecs_reply.h"
#include "tests/lib/manifest.h"

#define MANIFEST(extra)                                                                            \
    "apiVersion: paddock.dev/v1\nkind: SandboxPool\nmetadata: {name: py}\n"                        \
    "spec: {provider: ecs, image: 'python:3.11-slim'" extra "}\n"

static int define(const char *text, struct pd_node **ret_body, struct pd_err *err)
{
    struct pd_pool_spec *spec = pd_test_pool(text, PD_PROVIDER_DOCKER);
    const struct pd_ecs_template template = {
        .spec = spec, .agent_image = "agent:1", .execution_role_arn = "", .owner_key = "04ab"};
    int rc = pd_ecs_definition(&template, ret_body, err);

    pd_pool_spec_unref(spec);
    return rc;
}

static bool drops(const struct pd_node *container, const char *capability)
{
    const struct pd_node *capabilities =
        pd_node_at(container, "linuxParameters", "capabilities", NULL);
    const struct pd_node *item;

    for (size_t i = 0; (item = pd_ecs_item(capabilities, "drop", i)); i++) {
        if (strcmp(item->string.text, capability) == 0)
            return true;
    }
    return false;
}

static void test_confinement(void **state)
{
    static const char *const kept[] = {"SETUID", "SETGID", "CHOWN", "DAC_OVERRIDE", "KILL"};
    static const char *const taken[] = {"NET_RAW", "SYS_CHROOT",  "MKNOD",
                                        "SETPCAP", "AUDIT_WRITE", "SETFCAP",
                                        "FSETID",  "FOWNER",      "NET_BIND_SERVICE"};
    pd_autonode struct pd_node *body = NULL;
    const struct pd_node *init, *sandbox;

    (void)state;
    assert_int_equal(define(MANIFEST(""), &body, NULL), 0);
    init = pd_ecs_item(body, "containerDefinitions", 0);
    sandbox = pd_ecs_item(body, "containerDefinitions", 1);
    assert_null(pd_node_get(body, "taskRoleArn"));
    assert_string_equal(pd_ecs_text(body, "networkMode"), "awsvpc");
    assert_true(pd_node_bool(pd_node_get(sandbox, "readonlyRootFilesystem"), false));
    assert_true(pd_node_bool(pd_node_get(init, "readonlyRootFilesystem"), false));
    assert_null(pd_node_get(sandbox, "logConfiguration"));
    assert_true(
        pd_node_bool(pd_node_get(pd_ecs_item(sandbox, "mountPoints", 0), "readOnly"), false));
    assert_true(drops(init, "ALL"));
    for (size_t i = 0; i < PD_COUNT(kept); i++)
        assert_false(drops(sandbox, kept[i]));
    for (size_t i = 0; i < PD_COUNT(taken); i++)
        assert_true(drops(sandbox, taken[i]));
    assert_string_equal(pd_ecs_text(pd_ecs_item(sandbox, "dependsOn", 0), "condition"), "SUCCESS");
}

/* Without users of their own for runs the agent gives up what it starts with. */
static void test_one_run_per_task(void **state)
{
    pd_autonode struct pd_node *body = NULL;
    const struct pd_node *sandbox;

    (void)state;
    assert_int_equal(define(MANIFEST(", isolation: container"), &body, NULL), 0);
    sandbox = pd_ecs_item(body, "containerDefinitions", 1);
    assert_false(drops(sandbox, "ALL"));
    assert_true(drops(sandbox, "SETPCAP"));
    assert_string_equal(pd_ecs_text(pd_ecs_item(sandbox, "environment", 1), "name"),
                        "PADDOCK_PLAIN_USER");
}

static void test_refused(void **state)
{
    pd_autonode struct pd_node *body = NULL;
    struct pd_err err;

    (void)state;
    assert_int_equal(define(MANIFEST(", network: egress"), &body, &err), PD_INVALID);
    assert_int_equal(define(MANIFEST(", resources: {cpu: '17'}"), &body, &err), PD_INVALID);
    assert_null(body);
}

static void test_same_content_same_family(void **state)
{
    pd_autonode struct pd_node *one = NULL, *again = NULL, *other = NULL;

    (void)state;
    assert_int_equal(define(MANIFEST(", minSize: 1"), &one, NULL), 0);
    assert_int_equal(define(MANIFEST(", minSize: 2"), &again, NULL), 0);
    assert_int_equal(define(MANIFEST(", resources: {memory: 1Gi}"), &other, NULL), 0);
    assert_true(pd_node_equal(one, again));
    assert_string_not_equal(pd_ecs_text(one, "family"), pd_ecs_text(other, "family"));
    assert_true(strncmp(pd_ecs_text(one, "family"), "paddock-py-", 11) == 0);
}

static void test_sizes(void **state)
{
    static const struct {
        int64_t cpu_milli, mib;
        int cpu, memory;
    } cases[] = {
        {250, 256, 256, 512},       {250, 480, 256, 512},           {250, 481, 256, 1024},
        {250, 2016, 256, 2048},     {250, 2017, 512, 3072},         {251, 256, 512, 1024},
        {1000, 256, 1024, 2048},    {2000, 4096, 2048, 5120},       {4000, 30688, 4096, 30720},
        {4000, 30689, 8192, 32768}, {16000, 122848, 16384, 122880}, {16000, 122849, 0, 0},
        {16001, 256, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        int cpu = 0, memory = 0;
        int rc = pd_ecs_size(cases[i].cpu_milli, cases[i].mib * 1024 * 1024, &cpu, &memory, NULL);
        if (cpu != cases[i].cpu || memory != cases[i].memory || (rc < 0) != (cases[i].cpu == 0))
            fail_msg("%d milli, %d MiB: %d, %d", (int)cases[i].cpu_milli, (int)cases[i].mib, cpu,
                     memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_confinement), cmocka_unit_test(test_one_run_per_task),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_same_content_same_family),
        cmocka_unit_test(test_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
