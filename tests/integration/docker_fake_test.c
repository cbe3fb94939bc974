/* The Docker provider and answers that no real engine can be made to give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "controller/provider_docker.h"
#include "tests/lib/docker_fake.h"
#include "tests/lib/loop_until.h"

static void test_what_is_no_engine(void **state)
{
    static const char *const versions[] = {
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{\"ApiVersion\":\"9.99\"}",
        "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"ApiVersion\":1.41}x",
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        "",
    };
    struct docker_fake *ctx = *state;

    for (size_t i = 0; i < PD_COUNT(versions); i++) {
        ctx->n_rules = 0;
        docker_fake_answer_and_end(ctx, "GET /version", versions[i]);
        if (docker_fake_list(ctx) != PD_UNAVAILABLE)
            fail_msg("%zu: %d %s", i, ctx->kind, ctx->msg);
        assert_non_null(strstr(ctx->msg, ctx->path));
        assert_int_equal(docker_fake_create(ctx), PD_UNAVAILABLE);
        assert_int_equal(docker_fake_link(ctx), PD_UNAVAILABLE);
    }
    /* And once it is one, everything works. */
    ctx->n_rules = 0;
    assert_int_equal(docker_fake_list(ctx), 0);
}

static void test_old_engine(void **state)
{
    struct docker_fake *ctx = *state;
    pd_autofree char *old =
        docker_fake_json(200, "{\"ApiVersion\":\"1.39\",\"MinAPIVersion\":\"1.12\"}");

    docker_fake_answer(ctx, "GET /version", old);
    assert_int_equal(docker_fake_list(ctx), PD_INVALID);
    assert_non_null(strstr(ctx->msg, "1.41"));
}

static void test_engine_that_has_dropped_the_old_api(void **state)
{
    struct docker_fake *ctx = *state;
    pd_autofree char *newer =
        docker_fake_json(200, "{\"ApiVersion\":\"1.53\",\"MinAPIVersion\":\"1.44\"}");
    pd_autofree char *info = docker_fake_json(200, "{}");
    pd_autofree char *none = docker_fake_json(200, "[]");

    docker_fake_answer(ctx, "GET /version", newer);
    docker_fake_answer(ctx, "GET /v1.44/info", info);
    docker_fake_answer(ctx, "GET /v1.44/containers/json", none);
    assert_int_equal(docker_fake_list(ctx), 0);
}

static void test_errors_have_kinds(void **state)
{
    static const struct {
        int status;
        const char *body;
        int kind;
    } cases[] = {
        {400, "{\"message\":\"bad parameter\"}", PD_INVALID},
        {401, "{}", PD_DENIED},
        {403, "denied by plugin", PD_DENIED},
        {404, "{\"message\":\"No such image\"}", PD_NOT_FOUND},
        {500, "{\"message\":\"oops\"}", PD_UNAVAILABLE},
        {500, "{\"message\":\"write x: no space left on device\"}", PD_LIMIT},
        {500, "{\"message\":\"fork: Cannot allocate memory\"}", PD_LIMIT},
        {503, "", PD_UNAVAILABLE},
    };
    struct docker_fake *ctx = *state;

    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        pd_autofree char *answer = docker_fake_json(cases[i].status, cases[i].body);
        ctx->n_rules = 0;
        docker_fake_answer(ctx, "POST /v1.41/containers/create", answer);
        if (docker_fake_create(ctx) != cases[i].kind)
            fail_msg("%d %s: %d %s", cases[i].status, cases[i].body, ctx->kind, ctx->msg);
        assert_non_null(strstr(ctx->msg, "create sandbox s1"));
    }
    assert_false(docker_fake_was_asked(ctx, "DELETE"));
}

static void test_create_asks_for_what_it_should(void **state)
{
    struct docker_fake *ctx = *state;

    assert_int_equal(docker_fake_create(ctx), 0);
    assert_string_equal(ctx->id, DOCKER_FAKE_CONTAINER);
    assert_true(docker_fake_was_asked(ctx, "POST /v1.41/containers/create?name=paddock-s1 "));
    assert_true(docker_fake_was_asked(ctx, "apparmor=paddock-sandbox"));
    assert_true(docker_fake_was_asked(ctx, "\"CgroupnsMode\":\"private\""));
    assert_true(docker_fake_was_asked(ctx, "\"Target\":\"/data\",\"ReadOnly\":true"));
}

static void test_ids_that_are_none(void **state)
{
    static const char *const bodies[] = {"{}", "{\"Id\":\"../x\"}", "{\"Id\":7}", "[]",
                                         "{\"Id\":\"\"}"};
    struct docker_fake *ctx = *state;

    for (size_t i = 0; i < PD_COUNT(bodies); i++) {
        pd_autofree char *answer = docker_fake_json(201, bodies[i]);
        ctx->n_rules = 0;
        docker_fake_answer(ctx, "POST /v1.41/containers/create", answer);
        assert_int_equal(docker_fake_create(ctx), PD_UNAVAILABLE);
    }
}

/* AppArmor is there, our profile is not: without it, and never asked again. */
static void test_profile_that_is_not_loaded(void **state)
{
    struct docker_fake *ctx = *state;
    pd_autofree char *refused = docker_fake_json(
        500, "{\"message\":\"OCI runtime create failed: apply apparmor profile: no such file\"}");

    docker_fake_answer_times(ctx, "POST /v1.41/containers/" DOCKER_FAKE_CONTAINER "/start", refused,
                             1);
    assert_int_equal(docker_fake_create(ctx), 0);
    assert_true(docker_fake_was_asked(ctx, "DELETE /v1.41/containers/" DOCKER_FAKE_CONTAINER
                                           "?force=1&v=1"));
    pd_buf_clear(&ctx->asked);
    assert_int_equal(docker_fake_create(ctx), 0);
    assert_false(docker_fake_was_asked(ctx, "apparmor=paddock-sandbox"));
    assert_false(docker_fake_was_asked(ctx, "DELETE"));
}

static void test_start_that_fails_is_removed(void **state)
{
    struct docker_fake *ctx = *state;
    pd_autofree char *refused = docker_fake_json(500, "{\"message\":\"exec /paddock/agent\"}");

    docker_fake_answer(ctx, "POST /v1.41/containers/" DOCKER_FAKE_CONTAINER "/start", refused);
    assert_int_equal(docker_fake_create(ctx), PD_UNAVAILABLE);
    assert_non_null(strstr(ctx->msg, "exec /paddock/agent"));
    assert_true(docker_fake_was_asked(ctx, "DELETE /v1.41/containers/" DOCKER_FAKE_CONTAINER));
}

static void test_destroy_that_is_done_already(void **state)
{
    struct docker_fake *ctx = *state;
    pd_autofree char *gone = docker_fake_json(404, "{\"message\":\"No such container\"}");
    pd_autofree char *going =
        docker_fake_json(409, "{\"message\":\"removal of container x is already in progress\"}");
    pd_autofree char *busy = docker_fake_json(500, "{\"message\":\"device or resource busy\"}");

    docker_fake_answer_times(ctx, "DELETE /v1.41/containers/", gone, 1);
    docker_fake_answer_times(ctx, "DELETE /v1.41/containers/", going, 1);
    docker_fake_answer(ctx, "DELETE /v1.41/containers/", busy);
    assert_int_equal(docker_fake_destroy(ctx), 0);
    assert_int_equal(docker_fake_destroy(ctx), 0);
    assert_int_equal(docker_fake_destroy(ctx), PD_UNAVAILABLE);
}

static void test_pull_that_fails_in_the_middle(void **state)
{
    struct docker_fake *ctx = *state;
    pd_autofree char *missing = docker_fake_json(404, "{\"message\":\"No such image\"}");

    docker_fake_answer(ctx, "GET /v1.41/images/", missing);
    docker_fake_answer(ctx, "POST /v1.41/images/create?fromImage=python&tag=3.11-slim",
                       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "15\r\n{\"status\":\"Pulling\"}\n\r\n"
                       "27\r\n{\"error\":\"toomanyrequests: slow down\"}\n\r\n0\r\n\r\n");
    assert_int_equal(
        ctx->provider->ops->ensure_ready(ctx->provider, ctx->spec, docker_fake_on_done, ctx, NULL),
        0);
    docker_fake_wait(ctx, &ctx->done);
    assert_int_equal(ctx->kind, PD_UNAVAILABLE);
    assert_non_null(strstr(ctx->msg, "slow down"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, docker_fake_set_up, docker_fake_tear_down)
        TEST(test_what_is_no_engine),
        TEST(test_old_engine),
        TEST(test_engine_that_has_dropped_the_old_api),
        TEST(test_errors_have_kinds),
        TEST(test_create_asks_for_what_it_should),
        TEST(test_ids_that_are_none),
        TEST(test_profile_that_is_not_loaded),
        TEST(test_start_that_fails_is_removed),
        TEST(test_destroy_that_is_done_already),
        TEST(test_pull_that_fails_in_the_middle),
    };
    signal(SIGPIPE, SIG_IGN); /* as the service does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
