/* The Docker provider and an engine whose streams, events and links, are nonsense, break or hang.
 */
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

/* ---- events ---- */

#define EVENTS_HEAD "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define DIE                                                                                        \
    "{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"Attributes\":{"                       \
    "\"paddock.dev/instance\":\"me\",\"paddock.dev/pool\":\"py\",\"paddock.dev/sandbox\":"         \
    "\"s1\"}}}\n"

static void chunk(struct docker_fake *ctx, const char *data, size_t len)
{
    pd_autofree char *head = pd_asprintf("%zx\r\n", len);

    pd_peer_say(ctx->stream, head);
    pd_peer_say_bytes(ctx->stream, data, len);
    pd_peer_say(ctx->stream, "\r\n");
}

static void watch(struct docker_fake *ctx)
{
    docker_fake_answer(ctx, "GET /v1.41/events", EVENTS_HEAD);
    ctx->provider->ops->watch(ctx->provider, docker_fake_on_event, ctx);
    assert_int_equal(ctx->ups, 0);
    docker_fake_wait(ctx, &ctx->up);
}

static void test_events_in_pieces(void **state)
{
    struct docker_fake *ctx = *state;
    const char *text = DIE "\n" DIE;

    watch(ctx);
    for (size_t at = 0; at < strlen(text); at += 50) {
        size_t left = strlen(text) - at;
        chunk(ctx, text + at, left < 50 ? left : 50);
        pd_loop_for(&ctx->loop, 1);
    }
    while (ctx->changes < 2)
        docker_fake_wait(ctx, &ctx->changed);
    assert_int_equal(ctx->downs, 0);
}

static void test_stream_that_breaks(void **state)
{
    struct docker_fake *ctx = *state;

    watch(ctx);
    for (unsigned i = 1; i <= 3; i++) {
        pd_peer_end(ctx->stream);
        docker_fake_wait(ctx, &ctx->down);
        docker_fake_wait(ctx, &ctx->up);
        assert_int_equal(ctx->downs, i);
        assert_int_equal(ctx->ups, i + 1);
    }
}

static void test_events_that_are_nonsense(void **state)
{
    static char endless[300 * 1024];
    struct docker_fake *ctx = *state;

    watch(ctx);
    chunk(ctx, "{nonsense}\n", 11);
    docker_fake_wait(ctx, &ctx->down);
    docker_fake_wait(ctx, &ctx->up);
    memset(endless, ' ', sizeof endless);
    chunk(ctx, endless, sizeof endless);
    docker_fake_wait(ctx, &ctx->down);
    docker_fake_wait(ctx, &ctx->up);
    chunk(ctx, DIE, strlen(DIE)); /* and again it works */
    docker_fake_wait(ctx, &ctx->changed);
}

static void test_events_refused(void **state)
{
    struct docker_fake *ctx = *state;
    pd_autofree char *refused = docker_fake_json(403, "{\"message\":\"not for you\"}");

    docker_fake_answer_times(ctx, "GET /v1.41/events", refused, 2);
    docker_fake_answer(ctx, "GET /v1.41/events", EVENTS_HEAD);
    ctx->provider->ops->watch(ctx->provider, docker_fake_on_event, ctx);
    docker_fake_wait(ctx, &ctx->down);
    assert_non_null(strstr(ctx->down_reason, "not for you"));
    assert_int_equal(ctx->ups, 0);
    docker_fake_wait(ctx, &ctx->up);
    assert_int_equal(ctx->downs, 1); /* told once, though it was tried twice */
}

/* An engine that hangs keeps its connections open: the ping finds out. */
static void test_engine_that_hangs(void **state)
{
    struct docker_fake *ctx = *state;

    docker_fake_answer(ctx, "GET /v1.41/_ping", NULL);
    watch(ctx);
    docker_fake_wait(ctx, &ctx->down);
    docker_fake_wait(ctx, &ctx->up);
}

/* ---- links ---- */

#define UPGRADED "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
#define ATTACH "POST /v1.41/containers/" DOCKER_FAKE_CONTAINER "/attach"

static void test_attach_that_is_refused(void **state)
{
    static const struct {
        const char *answer;
        bool end;
        int kind;
    } cases[] = {
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false, PD_NOT_FOUND},
        {"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n", false, PD_CONFLICT},
        {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", false, PD_UNAVAILABLE},
        {"HTTP/1.1 101 UPGR", true, PD_UNAVAILABLE},
        {"220 smtp.example.org ESMTP\r\n", false, PD_UNAVAILABLE},
        {"", true, PD_UNAVAILABLE},
        {NULL, false, PD_TIMEOUT},
    };
    struct docker_fake *ctx = *state;

    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        ctx->n_rules = 0;
        docker_fake_rule(ctx, (struct docker_fake_rule){ATTACH, cases[i].answer, cases[i].end, 0});
        if (docker_fake_link(ctx) != cases[i].kind)
            fail_msg("%zu: %d %s", i, ctx->kind, ctx->msg);
        assert_null(ctx->link);
    }
}

/* What comes with the head, in one piece, is not lost, and waits for the reader. */
static void test_data_with_the_head(void **state)
{
    static const char answer[] = UPGRADED "\1\0\0\0\0\0\0\5hello\1\0\0\0";
    struct docker_fake *ctx = *state;

    docker_fake_answer(ctx, ATTACH, NULL);
    assert_int_equal(ctx->provider->ops->link(ctx->provider, DOCKER_FAKE_CONTAINER,
                                              docker_fake_on_link, ctx, NULL),
                     0);
    while (!ctx->stream)
        pd_loop_for(&ctx->loop, 1);
    pd_peer_say_bytes(ctx->stream, answer, sizeof answer - 1);
    docker_fake_wait(ctx, &ctx->done);
    assert_int_equal(ctx->kind, 0);
    ctx->link->on_data = docker_fake_on_data;
    ctx->link->on_end = docker_fake_on_end;
    ctx->link->arg = ctx;
    pd_loop_for(&ctx->loop, 5);
    assert_false(ctx->got_data);
    ctx->link->ops->read(ctx->link, true);
    assert_false(ctx->got_data); /* from the loop only */
    docker_fake_wait(ctx, &ctx->got_data);
    assert_string_equal(ctx->data.data, "hello");
    pd_peer_say_bytes(ctx->stream, "\0\0\0\6 world", 10); /* the header's other half */
    docker_fake_wait(ctx, &ctx->got_data);
    assert_string_equal(ctx->data.data, "hello world");
}

static void test_frames_that_are_none(void **state)
{
    struct docker_fake *ctx = *state;

    docker_fake_answer(ctx, ATTACH, UPGRADED);
    assert_int_equal(docker_fake_link(ctx), 0);
    ctx->link->ops->read(ctx->link, true);
    pd_peer_say(ctx->stream, "hello, this is no frame");
    docker_fake_wait(ctx, &ctx->ended);
    assert_int_equal(ctx->end_kind, PD_INVALID);
    assert_int_equal(ctx->link->ops->write(ctx->link, "x", 1, NULL), PD_UNAVAILABLE);
    pd_loop_for(&ctx->loop, 5);
    assert_false(ctx->got_data);
}

/* The sandbox's stderr does not reach the reader, nor flood the log. */
static void test_diagnostics(void **state)
{
    struct docker_fake *ctx = *state;

    docker_fake_answer(ctx, ATTACH, UPGRADED);
    assert_int_equal(docker_fake_link(ctx), 0);
    ctx->link->ops->read(ctx->link, true);
    for (int i = 0; i < 1000; i++)
        pd_peer_say_bytes(ctx->stream, "\2\0\0\0\0\0\0\4oops", 12);
    pd_peer_say_bytes(ctx->stream, "\1\0\0\0\0\0\0\2ok", 10);
    docker_fake_wait(ctx, &ctx->got_data);
    assert_string_equal(ctx->data.data, "ok");
}

static void test_container_that_ended_meanwhile(void **state)
{
    struct docker_fake *ctx = *state;
    pd_autofree char *exited = docker_fake_json(200, "{\"State\":{\"Status\":\"exited\"}}");

    docker_fake_answer(ctx, ATTACH, UPGRADED);
    docker_fake_answer(ctx, "GET /v1.41/containers/" DOCKER_FAKE_CONTAINER "/json", exited);
    assert_int_equal(docker_fake_link(ctx), PD_CONFLICT);
    assert_null(ctx->link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, docker_fake_set_up, docker_fake_tear_down)
        TEST(test_events_in_pieces),
        TEST(test_stream_that_breaks),
        TEST(test_events_that_are_nonsense),
        TEST(test_events_refused),
        TEST(test_engine_that_hangs),
        TEST(test_attach_that_is_refused),
        TEST(test_data_with_the_head),
        TEST(test_frames_that_are_none),
        TEST(test_diagnostics),
        TEST(test_container_that_ended_meanwhile),
    };
    signal(SIGPIPE, SIG_IGN); /* as the service does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
