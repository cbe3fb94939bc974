/* The Docker provider against the real engine: sandboxes, and links to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/time.h"
#include "controller/provider_docker.h"
#include "tests/lib/docker_rig.h"
#include "tests/lib/engine_test.h"
#include "tests/lib/loop_until.h"

static void test_life_of_a_sandbox(void **state)
{
    struct docker_rig *ctx = *state;

    NEED_ENGINE();
    docker_rig_open(ctx, NULL, docker_rig_cat);
    docker_rig_ensure_ready(ctx);
    docker_rig_create_well(ctx, "life-1");
    docker_rig_list(ctx);
    assert_int_equal(ctx->count, 1);
    assert_string_equal(ctx->instances[0].id, ctx->full_id);
    assert_string_equal(ctx->instances[0].pool, "py");
    assert_string_equal(ctx->instances[0].template_hash, "0123456789abcdef");
    assert_string_equal(ctx->instances[0].provider_id, ctx->id);
    assert_int_equal(ctx->instances[0].phase, PD_INSTANCE_RUNNING);
    assert_true(ctx->instances[0].created_wall_ms > pd_wall_ms() - 120000);

    assert_int_equal(docker_rig_link(ctx, ctx->id), 0);
    ctx->stream->ops->read(ctx->stream, true);
    docker_rig_say(ctx, "hello sandbox\n", 14);
    assert_memory_equal(ctx->data.data, "hello sandbox\n", 14);
    docker_rig_unlink(ctx);
    /* Detached and attached again: stdin is still open. */
    assert_int_equal(docker_rig_link(ctx, ctx->id), 0);
    ctx->stream->ops->read(ctx->stream, true);
    docker_rig_say(ctx, "again\n", 6);
    assert_memory_equal(ctx->data.data, "again\n", 6);

    assert_int_equal(docker_rig_destroy(ctx, ctx->id), 0);
    docker_rig_wait_streamed(ctx);
    assert_true(ctx->ended);
    assert_int_equal(ctx->stream->ops->write(ctx->stream, "x", 1, NULL), PD_UNAVAILABLE);
    docker_rig_unlink(ctx);
    assert_int_equal(docker_rig_destroy(ctx, ctx->id), 0); /* gone already: a success */
    docker_rig_list(ctx);
    assert_int_equal(ctx->count, 0);
}

static void test_create_is_idempotent(void **state)
{
    struct docker_rig *ctx = *state;
    char first[PD_PROVIDER_ID_MAX];

    NEED_ENGINE();
    docker_rig_open(ctx, NULL, docker_rig_cat);
    docker_rig_ensure_ready(ctx);
    docker_rig_create_well(ctx, "same");
    pd_strcpy(first, sizeof first, ctx->id);
    docker_rig_create_well(ctx, "same");
    assert_string_equal(ctx->id, first);
    docker_rig_list(ctx);
    assert_int_equal(ctx->count, 1);

    /* By another process of this installation, which knows nothing yet. */
    docker_rig_close(ctx);
    docker_rig_open(ctx, NULL, docker_rig_cat);
    docker_rig_create_well(ctx, "same");
    assert_string_equal(ctx->id, first);

    /* Ended meanwhile: there is no such sandbox to be had any more. */
    {
        pd_autofree char *path = pd_asprintf("/containers/%s/kill", first);
        assert_int_equal(pd_test_engine_call("POST", path, NULL, NULL, 0), 204);
    }
    for (int i = 0; i < 100 && (docker_rig_list(ctx), ctx->instances[0].phase != PD_INSTANCE_DEAD);
         i++)
        pd_loop_for(&ctx->loop, 20);
    assert_int_equal(ctx->instances[0].phase, PD_INSTANCE_DEAD);
    assert_non_null(strstr(ctx->instances[0].reason, "137"));
    assert_int_equal(docker_rig_create(ctx, "same"), PD_CONFLICT);
}

/* A container that was created, but not started, by a process that then died. */
static void test_create_starts_what_was_only_created(void **state)
{
    struct docker_rig *ctx = *state;
    pd_autofree char *body = NULL;
    pd_autofree char *path = NULL;
    char answer[4096];

    NEED_ENGINE();
    docker_rig_open(ctx, NULL, docker_rig_cat);
    docker_rig_ensure_ready(ctx);
    path = pd_asprintf("/containers/create?name=paddock-%s-half", ctx->instance);
    body = pd_asprintf(
        "{\"Image\":\"%s\",\"Entrypoint\":[\"cat\"],\"OpenStdin\":true,"
        "\"NetworkDisabled\":true,\"Labels\":{\"paddock.dev/instance\":\"%s\","
        "\"paddock.dev/pool\":\"py\",\"paddock.dev/sandbox\":\"%s-half\","
        "\"paddock.dev/template-hash\":\"0123456789abcdef\"}}",
        pd_test_image(), ctx->instance, ctx->instance);
    assert_int_equal(pd_test_engine_call("POST", path, body, answer, sizeof answer), 201);
    docker_rig_list(ctx);
    assert_int_equal(ctx->count, 1);
    assert_int_equal(ctx->instances[0].phase, PD_INSTANCE_CREATED);
    docker_rig_create_well(ctx, "half");
    assert_string_equal(ctx->id, ctx->instances[0].provider_id);
    docker_rig_list(ctx);
    assert_int_equal(ctx->instances[0].phase, PD_INSTANCE_RUNNING);
}

static void test_a_container_of_others_is_not_touched(void **state)
{
    struct docker_rig *ctx = *state;
    pd_autofree char *name = pd_asprintf("%s-theirs", ctx->instance);
    pd_autofree char *path = pd_asprintf("/containers/create?name=paddock-%s", name);
    pd_autofree char *inspect = pd_asprintf("/containers/paddock-%s/json", name);
    pd_autofree char *remove = pd_asprintf("/containers/paddock-%s?force=1", name);
    pd_autofree char *body = NULL;

    NEED_ENGINE();
    body = pd_asprintf("{\"Image\":\"%s\",\"Entrypoint\":[\"cat\"]}", pd_test_image());
    assert_int_equal(pd_test_engine_call("POST", path, body, NULL, 0), 201);
    docker_rig_open(ctx, NULL, docker_rig_cat);
    docker_rig_ensure_ready(ctx);
    assert_int_equal(docker_rig_create(ctx, "theirs"), PD_CONFLICT);
    assert_non_null(strstr(ctx->msg, "not ours"));
    docker_rig_list(ctx);
    assert_int_equal(ctx->count, 0);
    assert_int_equal(pd_test_engine_call("GET", inspect, NULL, NULL, 0), 200);
    assert_int_equal(pd_test_engine_call("DELETE", remove, NULL, NULL, 0), 204);
}

static void test_death_is_told_at_once(void **state)
{
    struct docker_rig *ctx = *state;
    pd_autofree char *path = NULL;
    struct pd_time killed;

    NEED_ENGINE();
    docker_rig_open(ctx, NULL, docker_rig_cat);
    ctx->wait_for = WAIT_UP;
    ctx->provider->ops->watch(ctx->provider, docker_rig_on_event, ctx);
    assert_true(pd_loop_until(&ctx->loop, &ctx->seen, DOCKER_RIG_WAIT_MS));
    assert_int_equal(ctx->n_events, 1);
    docker_rig_ensure_ready(ctx);
    docker_rig_create_well(ctx, "mortal");
    path = pd_asprintf("/containers/%s/kill", ctx->id);
    ctx->n_events = 0;
    ctx->seen = false;
    ctx->wait_for = WAIT_DEAD;
    assert_int_equal(pd_test_engine_call("POST", path, NULL, NULL, 0), 204);
    killed = pd_time_now();
    assert_true(pd_loop_until(&ctx->loop, &ctx->seen, DOCKER_RIG_WAIT_MS));
    printf("[          ] death told %ld ms after the kill was answered\n",
           (long)pd_time_ms_between(killed, pd_time_now()));
    assert_true(pd_time_ms_between(killed, pd_time_now()) < 500);
    for (size_t i = 0; i < ctx->n_events; i++) {
        assert_string_equal(ctx->events[i].pool, "py");
        assert_string_equal(ctx->events[i].id, ctx->full_id);
    }
    assert_non_null(strstr(ctx->events[ctx->n_events - 1].reason, "137"));
}

static void test_engine_that_is_not_there(void **state)
{
    struct docker_rig *ctx = *state;

    docker_rig_open(ctx, "unix:///nonexistent/docker.sock", docker_rig_cat);
    ctx->wait_for = WAIT_DOWN;
    ctx->provider->ops->watch(ctx->provider, docker_rig_on_event, ctx);
    assert_true(pd_loop_until(&ctx->loop, &ctx->seen, DOCKER_RIG_WAIT_MS));
    assert_int_equal(ctx->n_events, 1);
    assert_int_equal(docker_rig_create(ctx, "nowhere"), PD_UNAVAILABLE);
    assert_non_null(strstr(ctx->msg, "/nonexistent/docker.sock"));
    assert_int_equal(ctx->provider->ops->list(ctx->provider, docker_rig_on_list, ctx, NULL), 0);
    docker_rig_wait_done(ctx);
    assert_int_equal(ctx->kind, PD_UNAVAILABLE);
    assert_int_equal(docker_rig_link(ctx, "0123abcd"), PD_UNAVAILABLE);
    pd_loop_for(&ctx->loop, 400); /* attempts fail again: nothing more is told */
    assert_int_equal(ctx->n_events, 1);
    docker_rig_close(ctx);
}

static void test_what_cannot_be_had_is_refused(void **state)
{
    struct docker_rig *ctx = *state;
    struct pd_docker_config config = {.host = "ssh://somewhere", .instance = "x"};
    struct pd_provider *provider;
    struct pd_err err;

    assert_int_equal(pd_provider_docker_new(&ctx->loop, &config, &provider, &err), PD_INVALID);
    config.host = NULL;
    config.instance = "a b";
    assert_int_equal(pd_provider_docker_new(&ctx->loop, &config, &provider, &err), PD_INVALID);
    docker_rig_open(ctx, "unix:///nonexistent/docker.sock", docker_rig_cat);
    assert_int_equal(docker_rig_create(ctx, "../../etc"), PD_INVALID);
    assert_int_equal(
        ctx->provider->ops->destroy(ctx->provider, "../x", docker_rig_on_done, ctx, &err),
        PD_INVALID);
    assert_int_equal(ctx->provider->ops->link(ctx->provider, "", docker_rig_on_link, ctx, &err),
                     PD_INVALID);
    ctx->spec->network = PD_NETWORK_EGRESS;
    assert_int_equal(
        ctx->provider->ops->ensure_ready(ctx->provider, ctx->spec, docker_rig_on_done, ctx, &err),
        PD_INVALID);
    assert_non_null(strstr(err.msg, "egress"));
    docker_rig_close(ctx);
}

static void test_image_that_is_not_there(void **state)
{
    struct docker_rig *ctx = *state;

    NEED_ENGINE();
    free(ctx->spec->image);
    ctx->spec->image = pd_strdup("localhost:1/paddock/no-such-image:1");
    docker_rig_open(ctx, NULL, docker_rig_cat);
    assert_int_equal(
        ctx->provider->ops->ensure_ready(ctx->provider, ctx->spec, docker_rig_on_done, ctx, NULL),
        0);
    docker_rig_wait_done(ctx);
    assert_int_not_equal(ctx->kind, 0);
    assert_non_null(strstr(ctx->msg, "no-such-image"));
    assert_non_null(strstr(ctx->msg, "docker pull"));
}

static void test_start_that_fails_leaves_nothing(void **state)
{
    static const char *const nothing[] = {"/no/such/program", NULL};
    struct docker_rig *ctx = *state;

    NEED_ENGINE();
    docker_rig_open(ctx, NULL, nothing);
    docker_rig_ensure_ready(ctx);
    assert_true(docker_rig_create(ctx, "stillborn") < 0);
    assert_non_null(strstr(ctx->msg, "/no/such/program"));
    docker_rig_list(ctx);
    assert_int_equal(ctx->count, 0);
}

/* Closing while things are under way: every callback fires, with PD_CANCELED. */
static void test_close_cancels(void **state)
{
    struct docker_rig *ctx = *state;
    bool closed = false;

    NEED_ENGINE();
    docker_rig_open(ctx, NULL, docker_rig_cat);
    docker_rig_ensure_ready(ctx);
    ctx->provider->ops->watch(ctx->provider, docker_rig_on_event, ctx);
    docker_rig_create_well(ctx, "stays");
    assert_int_equal(ctx->provider->ops->list(ctx->provider, docker_rig_on_list, ctx, NULL), 0);
    ctx->provider->ops->close(ctx->provider, docker_rig_on_closed, &closed);
    assert_int_equal(ctx->provider->ops->list(ctx->provider, docker_rig_on_list, ctx, NULL),
                     PD_CANCELED);
    assert_true(pd_loop_until(&ctx->loop, &closed, DOCKER_RIG_WAIT_MS));
    assert_true(ctx->done);
    assert_int_equal(ctx->kind, PD_CANCELED);
    ctx->done = false;
    /* A link under way. */
    closed = false;
    docker_rig_open(ctx, NULL, docker_rig_cat);
    assert_int_equal(
        ctx->provider->ops->link(ctx->provider, ctx->id, docker_rig_on_link, ctx, NULL), 0);
    ctx->provider->ops->close(ctx->provider, docker_rig_on_closed, &closed);
    assert_true(pd_loop_until(&ctx->loop, &closed, DOCKER_RIG_WAIT_MS));
    assert_true(ctx->done);
    assert_int_equal(ctx->kind, PD_CANCELED);
    ctx->done = false;
    docker_rig_open(ctx, NULL, docker_rig_cat);
}

static void test_link_to_what_cannot_be_linked(void **state)
{
    struct docker_rig *ctx = *state;
    pd_autofree char *path = NULL;

    NEED_ENGINE();
    docker_rig_open(ctx, NULL, docker_rig_cat);
    docker_rig_ensure_ready(ctx);
    assert_int_equal(docker_rig_link(ctx, "0123456789abcdef"), PD_NOT_FOUND);
    docker_rig_create_well(ctx, "ended");
    path = pd_asprintf("/containers/%s/kill", ctx->id);
    assert_int_equal(pd_test_engine_call("POST", path, NULL, NULL, 0), 204);
    /* The engine attaches to the dead, and never says a word then. */
    assert_int_equal(docker_rig_link(ctx, ctx->id), PD_CONFLICT);
    assert_null(ctx->stream);
}

/* Reading is turned off after every piece: all of it comes, in order. */
static void test_slow_reader(void **state)
{
    static const char *const program[] = {
        "python3", "-c",
        "import sys\nsys.stdin.readline()\n"
        "for i in range(30000): sys.stdout.write('%07d\\n' % i)\n"
        "sys.stdout.flush()\nsys.stderr.write('diagnostic\\n' * 100)\nsys.stdin.read()",
        NULL};
    struct docker_rig *ctx = *state;
    size_t total = 30000 * 8;

    NEED_ENGINE();
    docker_rig_open(ctx, NULL, program);
    docker_rig_ensure_ready(ctx);
    docker_rig_create_well(ctx, "slow");
    assert_int_equal(docker_rig_link(ctx, ctx->id), 0);
    ctx->one_piece = true;
    ctx->stream->ops->read(ctx->stream, true);
    assert_int_equal(ctx->stream->ops->write(ctx->stream, "go\n", 3, NULL), 0);
    while (ctx->data.len < total) {
        docker_rig_wait_streamed(ctx);
        assert_false(ctx->ended);
        pd_loop_for(&ctx->loop, 2);
        assert_false(ctx->streamed); /* off means off */
        ctx->stream->ops->read(ctx->stream, true);
        ctx->stream->ops->read(ctx->stream, false);
        ctx->stream->ops->read(ctx->stream, true);
    }
    assert_int_equal(ctx->data.len, total);
    for (int i = 0; i < 30000; i++) {
        char line[16];
        snprintf(line, sizeof line, "%07d\n", i);
        assert_memory_equal(ctx->data.data + 8 * i, line, 8);
    }
    assert_true(ctx->pieces > 3);
    docker_rig_unlink(ctx);
}

/* More is written than the container takes: the queue is bounded and says so. */
static void test_writes_are_bounded(void **state)
{
    static const char *const program[] = {"sleep", "1000", NULL};
    static char chunk[1 << 20];
    struct docker_rig *ctx = *state;
    int rc = 0, written = 0;

    NEED_ENGINE();
    docker_rig_open(ctx, NULL, program);
    docker_rig_ensure_ready(ctx);
    docker_rig_create_well(ctx, "deaf");
    assert_int_equal(docker_rig_link(ctx, ctx->id), 0);
    for (; written < 64 && rc == 0; written += rc == 0)
        rc = ctx->stream->ops->write(ctx->stream, chunk, sizeof chunk, NULL);
    assert_int_equal(rc, PD_LIMIT);
    assert_in_range(written, 19, 26);
    docker_rig_unlink(ctx);
}

/* Big writes arrive whole and in order though they cannot be sent at once. */
static void test_big_write(void **state)
{
    struct docker_rig *ctx = *state;
    size_t bytes = 4 << 20;
    pd_autofree char *text = pd_calloc(bytes + 1, 1);

    NEED_ENGINE();
    docker_rig_open(ctx, NULL, docker_rig_cat);
    docker_rig_ensure_ready(ctx);
    docker_rig_create_well(ctx, "big");
    assert_int_equal(docker_rig_link(ctx, ctx->id), 0);
    ctx->stream->ops->read(ctx->stream, true);
    for (size_t i = 0; i < bytes; i++)
        text[i] = (char)('a' + (i * 7 + i / 1000) % 26);
    docker_rig_say(ctx, text, bytes);
    assert_int_equal(ctx->data.len, bytes);
    assert_memory_equal(ctx->data.data, text, bytes);
    docker_rig_unlink(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_life_of_a_sandbox, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_create_is_idempotent, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_create_starts_what_was_only_created, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_a_container_of_others_is_not_touched,
                                        docker_rig_set_up, docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_death_is_told_at_once, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_engine_that_is_not_there, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_had_is_refused, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_image_that_is_not_there, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_start_that_fails_leaves_nothing, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_close_cancels, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_link_to_what_cannot_be_linked, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_slow_reader, docker_rig_set_up, docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_writes_are_bounded, docker_rig_set_up,
                                        docker_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_big_write, docker_rig_set_up, docker_rig_tear_down),
    };
    signal(SIGPIPE, SIG_IGN); /* as the service does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
