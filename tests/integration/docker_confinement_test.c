/* What a container may, by its isolation: asked inside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "controller/docker_request.h"
#include "tests/lib/docker_rig.h"
#include "tests/lib/engine_test.h"

static void look_inside(struct docker_rig *ctx, const char *id)
{
    docker_rig_create_well(ctx, id);
    assert_int_equal(docker_rig_link(ctx, ctx->id), 0);
    ctx->stream->ops->read(ctx->stream, true);
    ctx->want_bytes = SIZE_MAX;
    docker_rig_say(ctx, "go\n", SIZE_MAX); /* until it ends */
    assert_true(ctx->ended);
    docker_rig_unlink(ctx);
}

static void assert_says(struct docker_rig *ctx, const char *text)
{
    if (!strstr(ctx->data.data, text))
        fail_msg("'%s' is not in:\n%s", text, ctx->data.data);
}

/* `before`, followed by the user that this sandbox's agent runs as. */
static void assert_says_user(struct docker_rig *ctx, const char *before)
{
    pd_autofree char *text = pd_asprintf("%s%u", before, pd_docker_agent_uid(ctx->full_id));

    assert_says(ctx, text);
}

static const char *const look[] = {
    "sh", "-c",
    "read go; grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status;"
    "echo uid=$(id -u) gid=$(id -g) groups=$(id -G); echo net=$(readlink /proc/self/ns/net);"
    "echo ifs=$(ls /sys/class/net | tr '\\n' ' '); echo core=$(ulimit -c) nofile=$(ulimit -n);"
    "touch /x 2>/dev/null && echo root-writable; touch /paddock/x 2>/dev/null && echo vol-writable;"
    "grep -E ' (/workspace|/tmp|/var/tmp|/run/paddock) ' /proc/mounts;"
    "ls -ld /workspace /tmp /run/paddock;"
    "ls -l /paddock/agent; pwd; hostname; echo PATH=$PATH;"
    "test -w /proc/sys/kernel/core_pattern && echo core-pattern-writable;"
    "echo masked=$(grep -c ' /proc/' /proc/mounts); dd if=/dev/zero of=/workspace/f bs=1M count=64 "
    "2>&1 | tail -1; echo over",
    NULL};

/* What the request asks for is what the engine does. */
static void test_confinement_of_cell(void **state)
{
    struct docker_rig *ctx = *state;
    char own_net[64] = "";

    NEED_ENGINE();
    docker_rig_open(ctx, NULL, look);
    docker_rig_ensure_ready(ctx);
    look_inside(ctx, "inside-cell");
    assert_true(readlink("/proc/self/ns/net", own_net, sizeof own_net - 1) > 0);
    assert_null(strstr(ctx->data.data, own_net));
    assert_says(ctx, "CapInh:\t0000000000000000");
    assert_says(ctx, "CapPrm:\t0000000000000000");
    assert_says(ctx, "CapEff:\t0000000000000000");
    assert_says(ctx, "CapBnd:\t0000000000000000");
    assert_says(ctx, "NoNewPrivs:\t1");
    assert_says(ctx, "Seccomp:\t2");
    assert_says_user(ctx, "uid=");
    assert_says_user(ctx, "gid=");
    assert_says_user(ctx, "groups=");
    assert_says(ctx, "ifs=lo\n");
    assert_says(ctx, "core=0");
    assert_null(strstr(ctx->data.data, "root-writable"));
    assert_null(strstr(ctx->data.data, "vol-writable"));
    assert_null(strstr(ctx->data.data, "core-pattern-writable"));
    assert_says_user(ctx, "drwx------ 2 ");
    assert_says(ctx, "drwxrwxrwt");
    assert_says(ctx, "-rwxr-xr-x 1 root root");
    assert_says(ctx, "/workspace\n");
    assert_says(ctx, "inside-cell");
    assert_says(ctx, "PATH=/usr/local/");
    assert_says(ctx, "nosuid,nodev,relatime,size=16384k");
    assert_says(ctx, "masked=0");
    assert_null(strstr(ctx->data.data, "67108864 bytes"));
    assert_says(ctx, "over");
}

static void test_confinement_of_uid(void **state)
{
    struct docker_rig *ctx = *state;

    NEED_ENGINE();
    ctx->spec->isolation = PD_ISOLATION_UID;
    docker_rig_open(ctx, NULL, look);
    docker_rig_ensure_ready(ctx);
    look_inside(ctx, "inside-uid");
    assert_says(ctx, "uid=0 gid=0");
    assert_says(ctx, "CapEff:\t00000000000000e3"); /* chown, dac_override, kill, setgid, setuid */
    assert_says(ctx, "CapBnd:\t00000000000000e3");
    assert_says(ctx, "NoNewPrivs:\t1");
    assert_null(strstr(ctx->data.data, "core-pattern-writable"));
    assert_null(strstr(ctx->data.data, "root-writable"));
    assert_null(strstr(ctx->data.data, "masked=0\n"));
}

static void test_confinement_of_container(void **state)
{
    struct docker_rig *ctx = *state;

    NEED_ENGINE();
    ctx->spec->isolation = PD_ISOLATION_CONTAINER;
    docker_rig_open(ctx, NULL, look);
    docker_rig_ensure_ready(ctx);
    look_inside(ctx, "inside-container");
    assert_says_user(ctx, "uid=");
    assert_says(ctx, "CapBnd:\t0000000000000000");
    assert_null(strstr(ctx->data.data, "masked=0\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_confinement_of_cell, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_confinement_of_uid, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_confinement_of_container, docker_rig_set_up,
                                        docker_rig_tear_down),
    };
    signal(SIGPIPE, SIG_IGN); /* as the service does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
