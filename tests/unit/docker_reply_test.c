#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"
#include "controller/docker_reply.h"

#define LABELS(instance, pool, id)                                                                 \
    "{\"paddock.dev/instance\":\"" instance "\",\"paddock.dev/pool\":\"" pool                      \
    "\",\"paddock.dev/sandbox\":\"" id "\",\"paddock.dev/template-hash\":\"abc\",\"x\":\"y\"}"
#define CONTAINER(cid, state, labels)                                                              \
    "{\"Id\":\"" cid "\",\"State\":\"" state                                                       \
    "\",\"Status\":\"Exited (137)\",\"Created\":1700000000,"                                       \
    "\"Names\":[\"/a\",\"],\\\"[\"],\"Labels\":" labels "}"

static int parse(const char *text, struct pd_instance **ret, size_t *count)
{
    char *exact = malloc(strlen(text) ? strlen(text) : 1);
    int rc;

    memcpy(exact, text, strlen(text));
    rc = pd_docker_instances_parse(exact, strlen(text), "me", ret, count, NULL);
    free(exact);
    return rc;
}

static void test_list(void **state)
{
    static const char text[] =
        " [" CONTAINER("c1", "running", LABELS("me", "py", "s1")) " , "
        CONTAINER("c2", "exited", LABELS("me", "py", "s2")) ","
        CONTAINER("c3", "created", LABELS("me", "js", "s3")) ","
        CONTAINER("c4", "running", LABELS("other", "py", "s4")) ","
        CONTAINER("c5", "running", LABELS("me", "", "s5")) ","
        CONTAINER("c6", "running", LABELS("me", "py", "")) ","
        CONTAINER("c7", "running", "null") ","
        CONTAINER("", "running", LABELS("me", "py", "s8")) ","
        CONTAINER("c9", "removing", LABELS("me", "py", "s9")) ", 7, null, \"x\"]\n";
    struct pd_instance *instances;
    size_t count;

    (void)state;
    assert_int_equal(parse(text, &instances, &count), 0);
    assert_int_equal(count, 4);
    assert_string_equal(instances[0].id, "s1");
    assert_string_equal(instances[0].provider_id, "c1");
    assert_string_equal(instances[0].template_hash, "abc");
    assert_int_equal(instances[0].phase, PD_INSTANCE_RUNNING);
    assert_int_equal(instances[0].created_wall_ms, INT64_C(1700000000000));
    assert_string_equal(instances[0].reason, "");
    assert_int_equal(instances[1].phase, PD_INSTANCE_DEAD);
    assert_string_equal(instances[1].reason, "Exited (137)");
    assert_int_equal(instances[2].phase, PD_INSTANCE_CREATED);
    assert_int_equal(instances[3].phase, PD_INSTANCE_DEAD);
    free(instances);
}

static void test_what_is_no_list(void **state)
{
    static const char *const bad[] = {"",     " ",     "null",  "{}",   "{\"message\":\"x\"}",
                                      "[",    "[1",    "[1,",   "[1,]", "[,]",
                                      "[}",   "[1] x", "[[]",   "[\"]", "[{]}",
                                      "[1]]", "[\"\\", "<html>"};
    struct pd_instance *instances = NULL;
    size_t count = 7;

    (void)state;
    for (size_t i = 0; i < PD_COUNT(bad); i++) {
        if (parse(bad[i], &instances, &count) != PD_UNAVAILABLE)
            fail_msg("%s", bad[i]);
        assert_null(instances);
        assert_int_equal(count, 7);
    }
    assert_int_equal(parse("[]", &instances, &count), 0);
    assert_int_equal(count, 0);
    free(instances);
    assert_int_equal(parse(" [ ] ", &instances, &count), 0);
    free(instances);
}

/* More than one JSON text may hold: containers are parsed one by one. */
static void test_ten_thousand(void **state)
{
    struct pd_instance *instances;
    pd_autobuf struct pd_buf text;
    size_t count;

    (void)state;
    pd_buf_init(&text, 64 << 20);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(pd_buf_addf(&text, NULL,
                                     "%c" CONTAINER("c%d", "running", LABELS("me", "py", "s%d")),
                                     i ? ',' : '[', i, i),
                         0);
    assert_int_equal(pd_buf_add(&text, "]", 1, NULL), 0);
    assert_int_equal(pd_docker_instances_parse(text.data, text.len, "me", &instances, &count, NULL),
                     0);
    assert_int_equal(count, 10000);
    assert_string_equal(instances[9999].id, "s9999");
    free(instances);
}

static bool event(const char *type, const char *action, const char *labels,
                  struct pd_provider_event *ret)
{
    pd_autofree char *text = pd_asprintf(
        "{\"Type\":\"%s\",\"Action\":\"%s\",\"Actor\":{\"Attributes\":%s}}", type, action, labels);
    pd_autonode struct pd_node *node = NULL;

    assert_int_equal(pd_json_parse(text, strlen(text), &node, NULL), 0);
    return pd_docker_event_parse(node, "me", ret);
}

static void test_events(void **state)
{
    static const char mine[] = LABELS("me", "py", "s1");
    struct pd_provider_event got;

    (void)state;
    assert_true(event("container", "die", mine, &got));
    assert_int_equal(got.type, PD_PROVIDER_CHANGED);
    assert_string_equal(got.pool, "py");
    assert_string_equal(got.id, "s1");
    assert_true(got.dead);
    assert_true(event("container", "destroy", mine, &got));
    assert_true(got.dead);
    assert_true(event("container", "start", mine, &got));
    assert_false(got.dead);
    assert_string_equal(got.reason, "");
    assert_true(event("container", "oom", mine, &got));
    assert_false(got.dead);
    assert_non_null(strstr(got.reason, "memory"));
    assert_false(event("network", "destroy", mine, &got));
    assert_false(event("container", "attach", mine, &got));
    assert_false(event("container", "exec_die", mine, &got));
    assert_false(event("container", "die", LABELS("other", "py", "s1"), &got));
    assert_false(event("container", "die", "{}", &got));
    assert_false(event("container", "die", "[]", &got));
}

static void test_event_of_other_shapes(void **state)
{
    static const char *const shapes[] = {"null",
                                         "[]",
                                         "7",
                                         "\"x\"",
                                         "{}",
                                         "{\"Actor\":7}",
                                         "{\"Type\":1,\"Action\":{},\"Actor\":{\"Attributes\":1}}"};
    struct pd_provider_event got;

    (void)state;
    for (size_t i = 0; i < PD_COUNT(shapes); i++) {
        pd_autonode struct pd_node *node = NULL;
        assert_int_equal(pd_json_parse(shapes[i], strlen(shapes[i]), &node, NULL), 0);
        assert_false(pd_docker_event_parse(node, "me", &got));
    }
}

static void test_versions(void **state)
{
    static const struct {
        const char *newest, *oldest;
        int rc;
        const char *chosen;
    } cases[] = {
        {"1.41", "1.12", 0, "1.41"},         {"1.50", "1.24", 0, "1.41"},
        {"1.52", "1.44", 0, "1.44"},         {"1.41", "", 0, "1.41"},
        {"1.40", "1.12", PD_INVALID, ""},    {"", "1.12", PD_UNAVAILABLE, ""},
        {"2.0", "1.12", PD_UNAVAILABLE, ""}, {"1.41/../x", "1.12", PD_UNAVAILABLE, ""},
        {"1.x", "", PD_UNAVAILABLE, ""},
    };

    (void)state;
    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autonode struct pd_node *node = pd_node_map_new();
        char chosen[8] = "";
        pd_node_set_string(node, "ApiVersion", cases[i].newest);
        pd_node_set_string(node, "MinAPIVersion", cases[i].oldest);
        assert_int_equal(pd_docker_version_choose(node, chosen, sizeof chosen, NULL), cases[i].rc);
        assert_string_equal(chosen, cases[i].chosen);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_what_is_no_list),
        cmocka_unit_test(test_ten_thousand),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_event_of_other_shapes),
        cmocka_unit_test(test_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
