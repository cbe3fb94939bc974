/* The volume that brings the agent into containers, against the real engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/asset.h"
#include "common/mem.h"
#include "controller/provider_docker.h"
#include "tests/lib/docker_rig.h"
#include "tests/lib/engine_test.h"
#include "tests/lib/loop_until.h"

/* A container like the provider's own carrier, under another name. */
static void create_carrier(const char *name, const char *volume)
{
    pd_autofree char *path = pd_asprintf("/containers/create?name=%s", name);
    pd_autofree char *body = pd_asprintf(
        "{\"Image\":\"%s\",\"Entrypoint\":[\"sh\",\"-c\",\"rm -f /v/agent; echo half > /v/agent\"],"
        "\"NetworkDisabled\":true,\"HostConfig\":{\"NetworkMode\":\"none\",\"Mounts\":[{\"Type\":"
        "\"volume\",\"Source\":\"%s\",\"Target\":\"/v\"}]}}",
        pd_test_image(), volume);

    assert_int_equal(pd_test_engine_call("POST", path, body, NULL, 0), 201);
}

/* Damage the content: what a killed writer leaves looks like this, or worse. */
static void damage_volume(struct docker_rig *ctx, const char *volume)
{
    pd_autofree char *name = pd_asprintf("paddock-%s-vandal", ctx->instance);
    pd_autofree char *start = pd_asprintf("/containers/%s/start", name);
    pd_autofree char *wait = pd_asprintf("/containers/%s/wait", name);
    pd_autofree char *remove = pd_asprintf("/containers/%s?force=1", name);
    char answer[256] = "";

    create_carrier(name, volume);
    assert_int_equal(pd_test_engine_call("POST", start, NULL, NULL, 0), 204);
    assert_int_equal(pd_test_engine_call("POST", wait, NULL, answer, sizeof answer), 200);
    assert_non_null(strstr(answer, "\"StatusCode\":0"));
    assert_int_equal(pd_test_engine_call("DELETE", remove, NULL, NULL, 0), 204);
}

static const char *const measure[] = {"sh", "-c", "read go; stat -c %s,%a /paddock/agent", NULL};

static long agent_bytes(struct docker_rig *ctx, const char *id)
{
    docker_rig_create_well(ctx, id);
    assert_int_equal(docker_rig_link(ctx, ctx->id), 0);
    ctx->stream->ops->read(ctx->stream, true);
    docker_rig_say(ctx, "go\n", SIZE_MAX);
    docker_rig_unlink(ctx);
    assert_non_null(strstr(ctx->data.data, ",755\n"));
    return atol(ctx->data.data);
}

/* Only what was compared is trusted: a volume that is there, but not whole, is
 * filled again by the next process, or once a sandbox has failed to start. */
static void test_volume_that_is_half_filled(void **state)
{
    struct docker_rig *ctx = *state;
    char answer[65536], *volume, *end;
    pd_autofree char *remove = NULL;

    NEED_ENGINE();
    ctx->own_volume = true; /* others' sandboxes may be starting from the shared one */
    docker_rig_open(ctx, NULL, measure);
    docker_rig_ensure_ready(ctx);
    assert_int_equal(agent_bytes(ctx, "whole"), pd_asset_find("agent").len);
    assert_int_equal(pd_test_engine_call("GET", "/volumes", NULL, answer, sizeof answer), 200);
    end = strstr(answer, ctx->instance);
    assert_non_null(end);
    for (volume = end; volume > answer && volume[-1] != '"' && volume[-1] != '/';)
        volume--;
    end[strlen(ctx->instance)] = '\0';
    damage_volume(ctx, volume);
    docker_rig_close(ctx);
    docker_rig_open(ctx, NULL, measure);
    docker_rig_ensure_ready(ctx);
    assert_int_equal(agent_bytes(ctx, "again"), pd_asset_find("agent").len);
    docker_rig_destroy_all(ctx);
    remove = pd_asprintf("/volumes/%s", volume);
    assert_int_equal(pd_test_engine_call("DELETE", remove, NULL, NULL, 0), 204);
}

/* A process killed while it filled the volume leaves its carrier. */
static void test_carrier_left_over(void **state)
{
    struct docker_rig *ctx = *state;
    pd_autofree char *name = pd_asprintf("paddock-carrier-%s", ctx->instance);
    pd_autofree char *inspect = pd_asprintf("/containers/%s/json", name);

    NEED_ENGINE();
    create_carrier(name, name);
    docker_rig_open(ctx, NULL, docker_rig_cat);
    docker_rig_ensure_ready(ctx);
    assert_int_equal(pd_test_engine_call("GET", inspect, NULL, NULL, 0), 404);
    {
        pd_autofree char *volume = pd_asprintf("/volumes/%s", name);
        assert_int_equal(pd_test_engine_call("DELETE", volume, NULL, NULL, 0), 204);
    }
}

/* Many ask at once: all are answered, one does it. */
static void test_ensure_many_at_once(void **state)
{
    struct docker_rig *ctx = *state;
    struct docker_rig others[8];

    NEED_ENGINE();
    docker_rig_open(ctx, NULL, docker_rig_cat);
    memset(others, 0, sizeof others);
    for (size_t i = 0; i < PD_COUNT(others); i++)
        assert_int_equal(ctx->provider->ops->ensure_ready(ctx->provider, ctx->spec,
                                                          docker_rig_on_done, &others[i], NULL),
                         0);
    for (size_t i = 0; i < PD_COUNT(others); i++) {
        assert_true(pd_loop_until(&ctx->loop, &others[i].done, DOCKER_RIG_WAIT_MS));
        assert_int_equal(others[i].kind, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_volume_that_is_half_filled, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_carrier_left_over, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_ensure_many_at_once, docker_rig_set_up,
                                        docker_rig_tear_down),
    };
    signal(SIGPIPE, SIG_IGN); /* as the service does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
