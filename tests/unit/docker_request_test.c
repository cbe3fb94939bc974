/* Every field that keeps code inside its sandbox, for each isolation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"
#include "controller/docker_reply.h"
#include "controller/docker_request.h"
#include "tests/lib/engine_test.h"

static struct pd_node *body_of(struct pd_pool_spec *spec, bool cgroup_v2, const char *apparmor,
                               const struct pd_strings *volumes)
{
    struct pd_docker_sandbox sandbox = {
        .spec = spec,
        .id = "py-1",
        .instance = "me",
        .volume = "paddock-agent-1",
        .seccomp = "{\"x\":\"y\"}",
        .apparmor = apparmor,
        .cgroup_v2 = cgroup_v2,
        .image_volumes = volumes,
    };
    struct pd_node *body = NULL;
    struct pd_err err;

    if (pd_docker_create_body(&sandbox, &body, &err) < 0)
        fail_msg("%s", err.msg);
    return body;
}

#define UID "59284" /* of py-1 */

static void test_users_differ(void **state)
{
    unsigned seen[64];
    char id[16];
    size_t same = 0;

    (void)state;
    for (unsigned i = 0; i < PD_COUNT(seen); i++) {
        snprintf(id, sizeof id, "py-%u", i);
        seen[i] = pd_docker_agent_uid(id);
        assert_in_range(seen[i], PD_DOCKER_AGENT_UID, PD_DOCKER_AGENT_UID + PD_DOCKER_AGENT_UIDS - 1);
        for (unsigned j = 0; j < i; j++)
            same += seen[i] == seen[j];
    }
    assert_in_range(same, 0, 3);
}

/* A member, found by its path, as JSON. */
static void assert_json(const struct pd_node *node, const char *path, const char *want)
{
    pd_autofree char *copy = pd_strdup(path);
    pd_autobuf struct pd_buf text;
    char *rest = copy, *key;

    pd_buf_init(&text, 1 << 20);
    while ((key = strsep(&rest, "|"))) {
        node = pd_node_get(node, key);
        if (!node) {
            if (want)
                fail_msg("%s is absent", path);
            return;
        }
    }
    assert_int_equal(pd_json_format(node, &text, NULL), 0);
    if (!want)
        fail_msg("%s is there: %s", path, text.data);
    if (strcmp(text.data, want) != 0)
        fail_msg("%s: want %s, got %s", path, want, text.data);
}

static const enum pd_isolation isolations[] = {PD_ISOLATION_CELL, PD_ISOLATION_UID,
                                               PD_ISOLATION_CONTAINER};

static void test_what_all_have(void **state)
{
    (void)state;
    for (size_t i = 0; i < PD_COUNT(isolations); i++) {
        struct pd_pool_spec *spec = pd_test_spec("py", isolations[i]);
        pd_autonode struct pd_node *body = body_of(spec, false, NULL, NULL);

        assert_json(body, "Entrypoint", "[\"/paddock/agent\"]");
        assert_json(body, "Cmd", "[]");
        assert_json(body, "Env", NULL); /* the image's, PATH above all */
        assert_json(body, "WorkingDir", "\"/workspace\"");
        assert_json(body, "Hostname", "\"py-1\"");
        assert_json(body, "OpenStdin", "true");
        assert_json(body, "StdinOnce", "false");
        assert_json(body, "Tty", "false");
        assert_json(body, "StopTimeout", "0");
        assert_json(body, "Healthcheck", "{\"Test\":[\"NONE\"]}");
        assert_json(body, "NetworkDisabled", "true");
        assert_json(body, "Labels",
                    "{\"paddock.dev/instance\":\"me\",\"paddock.dev/pool\":\"py\","
                    "\"paddock.dev/template-hash\":\"0123456789abcdef\","
                    "\"paddock.dev/sandbox\":\"py-1\"}");
        assert_json(body, "HostConfig|NetworkMode", "\"none\"");
        assert_json(body, "HostConfig|ReadonlyRootfs", "true");
        assert_json(body, "HostConfig|Privileged", "false");
        assert_json(body, "HostConfig|CapDrop", "[\"ALL\"]");
        assert_json(body, "HostConfig|SecurityOpt",
                    "[\"no-new-privileges\",\"seccomp={\\\"x\\\":\\\"y\\\"}\"]");
        assert_json(body, "HostConfig|Memory", "67108864");
        assert_json(body, "HostConfig|MemorySwap", "67108864");
        assert_json(body, "HostConfig|NanoCpus", "1000000000");
        assert_json(body, "HostConfig|PidsLimit", "128");
        assert_json(body, "HostConfig|ShmSize", "16777216");
        assert_json(body, "HostConfig|LogConfig", "{\"Type\":\"none\"}");
        assert_json(body, "HostConfig|IpcMode", "\"private\"");
        assert_json(body, "HostConfig|Init", "false");
        assert_json(body, "HostConfig|AutoRemove", "false");
        assert_json(body, "HostConfig|Runtime", NULL);
        assert_json(body, "HostConfig|PidMode", NULL);
        assert_json(body, "HostConfig|UsernsMode", NULL);
        assert_json(body, "HostConfig|Devices", NULL);
        assert_json(body, "HostConfig|Binds", NULL);
        assert_json(body, "HostConfig|CgroupnsMode", NULL);
        assert_json(body, "HostConfig|Ulimits",
                    "[{\"Name\":\"nofile\",\"Soft\":4096,\"Hard\":4096},"
                    "{\"Name\":\"core\",\"Soft\":1,\"Hard\":1}]");
        assert_json(body, "HostConfig|OomScoreAdj", "400");
        assert_json(body, "HostConfig|Mounts",
                    "[{\"Type\":\"volume\",\"Source\":\"paddock-agent-1\",\"Target\":\"/paddock\","
                    "\"ReadOnly\":true,\"VolumeOptions\":{\"NoCopy\":true}}]");
        pd_pool_spec_unref(spec);
    }
}

static void assert_tmpfs(const struct pd_node *body, const char *path, const char *part)
{
    const char *options =
        pd_docker_text(pd_docker_map(pd_docker_map(body, "HostConfig"), "Tmpfs"), path);

    if (!strstr(options, part))
        fail_msg("%s: '%s' is not in '%s'", path, part, options);
}

static void test_tmpfs(void **state)
{
    static const char *const paths[] = {"/workspace", "/tmp", "/var/tmp", "/run/paddock"};
    struct pd_pool_spec *spec = pd_test_spec("py", PD_ISOLATION_CELL);
    pd_autonode struct pd_node *body = body_of(spec, false, NULL, NULL);

    (void)state;
    for (size_t i = 0; i < PD_COUNT(paths); i++) {
        assert_tmpfs(body, paths[i], "nosuid,nodev,");
        assert_tmpfs(body, paths[i], "nr_inodes=");
        assert_tmpfs(body, paths[i], "uid=" UID ",gid=" UID);
        assert_tmpfs(body, paths[i], i < 3 ? "size=16777216" : "size=1048576");
        assert_tmpfs(body, paths[i], i < 2 ? ",exec," : ",noexec,");
        assert_tmpfs(body, paths[i], i == 0 || i == 3 ? "mode=0700" : "mode=1777");
    }
    pd_pool_spec_unref(spec);
}

static void test_cell(void **state)
{
    struct pd_pool_spec *spec = pd_test_spec("py", PD_ISOLATION_CELL);
    pd_autonode struct pd_node *body = body_of(spec, false, NULL, NULL);

    (void)state;
    assert_json(body, "User", "\"" UID ":" UID "\"");
    assert_json(body, "HostConfig|CapAdd", "[]");
    assert_json(body, "HostConfig|MaskedPaths", "[]");
    assert_json(body, "HostConfig|ReadonlyPaths", "[]");
    pd_pool_spec_unref(spec);
}

static void test_uid(void **state)
{
    struct pd_pool_spec *spec = pd_test_spec("py", PD_ISOLATION_UID);
    pd_autonode struct pd_node *body = body_of(spec, false, NULL, NULL);

    (void)state;
    assert_json(body, "User", "\"0:0\"");
    assert_json(body, "HostConfig|CapAdd",
                "[\"SETUID\",\"SETGID\",\"CHOWN\",\"DAC_OVERRIDE\",\"KILL\"]");
    assert_json(body, "HostConfig|MaskedPaths", NULL);
    assert_json(body, "HostConfig|ReadonlyPaths", NULL);
    pd_pool_spec_unref(spec);
}

static void test_container(void **state)
{
    struct pd_pool_spec *spec = pd_test_spec("py", PD_ISOLATION_CONTAINER);
    pd_autonode struct pd_node *body = body_of(spec, false, NULL, NULL);

    (void)state;
    assert_json(body, "User", "\"" UID ":" UID "\"");
    assert_json(body, "HostConfig|CapAdd", "[]");
    assert_json(body, "HostConfig|MaskedPaths", NULL);
    assert_json(body, "HostConfig|ReadonlyPaths", NULL);
    pd_pool_spec_unref(spec);
}

static void test_host_that_has_more(void **state)
{
    struct pd_pool_spec *spec = pd_test_spec("py", PD_ISOLATION_CELL);
    pd_autonode struct pd_node *body = NULL;

    (void)state;
    free(spec->runtime);
    spec->runtime = pd_strdup("runsc");
    body = body_of(spec, true, "paddock-sandbox", NULL);
    assert_json(body, "HostConfig|Runtime", "\"runsc\"");
    assert_json(body, "HostConfig|CgroupnsMode", "\"private\"");
    assert_json(body, "HostConfig|SecurityOpt",
                "[\"no-new-privileges\",\"seccomp={\\\"x\\\":\\\"y\\\"}\","
                "\"apparmor=paddock-sandbox\"]");
    pd_pool_spec_unref(spec);
}

/* An image's VOLUMEs do not become writable folders on the host's disk. */
static void test_image_volumes(void **state)
{
    char *paths[] = {"/data", "/tmp", "/paddock", "/var/lib/x"};
    struct pd_strings volumes = {paths, PD_COUNT(paths)};
    struct pd_pool_spec *spec = pd_test_spec("py", PD_ISOLATION_CELL);
    pd_autonode struct pd_node *body = body_of(spec, false, NULL, &volumes);
    const struct pd_node *mounts = pd_docker_list(pd_docker_map(body, "HostConfig"), "Mounts");

    (void)state;
    assert_int_equal(mounts->list.count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_json(mounts->list.items[i], "ReadOnly", "true");
    assert_json(mounts->list.items[1], "Target", "\"/data\"");
    assert_json(mounts->list.items[1], "Source", NULL);
    assert_json(mounts->list.items[2], "Target", "\"/var/lib/x\"");
    pd_pool_spec_unref(spec);
}

static void test_privileges_are_safe(void **state)
{
    struct pd_docker_privilege privilege;

    (void)state;
    for (size_t i = 0; i < PD_COUNT(isolations); i++) {
        privilege = pd_docker_privilege_of(isolations[i], "py-1");
        assert_true(pd_docker_privilege_is_safe(&privilege));
    }
    privilege = pd_docker_privilege_of(PD_ISOLATION_UID, "py-1");
    privilege.proc_unmasked = true;
    assert_false(pd_docker_privilege_is_safe(&privilege));
    privilege = pd_docker_privilege_of(PD_ISOLATION_CELL, "py-1");
    privilege.uid = 0;
    assert_false(pd_docker_privilege_is_safe(&privilege));
}

static void test_refused(void **state)
{
    static const char *const bad_ids[] = {"", "a/b", "a b", "..%2f", "a?b", "\xc3\xa9"};
    struct pd_pool_spec *spec = pd_test_spec("py", PD_ISOLATION_CELL);
    struct pd_docker_sandbox sandbox = {.spec = spec, .id = "x", .instance = "i", .volume = "v"};
    struct pd_node *body = NULL;
    struct pd_err err;

    (void)state;
    for (size_t i = 0; i < PD_COUNT(bad_ids); i++) {
        sandbox.id = bad_ids[i];
        assert_int_equal(pd_docker_create_body(&sandbox, &body, &err), PD_INVALID);
        assert_null(body);
    }
    sandbox.id = "x";
    spec->network = PD_NETWORK_EGRESS;
    assert_int_equal(pd_docker_create_body(&sandbox, &body, &err), PD_INVALID);
    assert_non_null(strstr(err.msg, "egress is not supported yet"));
    pd_pool_spec_unref(spec);
}

static void test_long_names(void **state)
{
    struct pd_pool_spec *spec = pd_test_spec("py", PD_ISOLATION_CELL);
    char id[PD_SANDBOX_ID_MAX + 1], name[PD_DOCKER_CONTAINER_NAME_MAX];
    struct pd_docker_sandbox sandbox = {.spec = spec, .id = id, .instance = "i", .volume = "v"};
    pd_autonode struct pd_node *body = NULL;

    (void)state;
    memset(id, 'a', sizeof id);
    id[62] = '-';
    id[PD_SANDBOX_ID_MAX] = '\0';
    assert_int_equal(pd_docker_container_name(id, name, NULL), PD_INVALID);
    id[PD_SANDBOX_ID_MAX - 1] = '\0';
    assert_int_equal(pd_docker_container_name(id, name, NULL), 0);
    assert_int_equal(strlen(name), strlen(id) + 8);
    assert_int_equal(pd_docker_create_body(&sandbox, &body, NULL), 0);
    assert_int_equal(strlen(pd_docker_text(body, "Hostname")), 62);
    pd_pool_spec_unref(spec);
}

static void test_filters(void **state)
{
    static const char *const events[] = {"die", NULL};
    pd_autofree char *plain = pd_docker_filters("a=b c", NULL);
    pd_autofree char *more = pd_docker_filters("a", events);

    (void)state;
    assert_string_equal(plain, "filters=%7B%22label%22%3A%5B%22a%3Db%20c%22%5D%7D");
    assert_string_equal(more,
                        "filters=%7B%22label%22%3A%5B%22a%22%5D%2C%22type%22%3A%5B%22"
                        "container%22%5D%2C%22event%22%3A%5B%22die%22%5D%7D");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_all_have), cmocka_unit_test(test_tmpfs),
        cmocka_unit_test(test_cell),          cmocka_unit_test(test_uid),
        cmocka_unit_test(test_container),     cmocka_unit_test(test_host_that_has_more),
        cmocka_unit_test(test_image_volumes), cmocka_unit_test(test_privileges_are_safe),
        cmocka_unit_test(test_users_differ),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_filters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
