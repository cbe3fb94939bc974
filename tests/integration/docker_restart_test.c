/* The Docker provider while its engine dies, hangs and comes back: an engine of
 * the test's own, with the real agent in an image that holds nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/time.h"
#include "controller/provider_docker.h"
#include "tests/lib/engine_test.h"
#include "tests/lib/loop_until.h"
#include "tests/lib/own_engine.h"

#define WAIT_MS 60000
#define IMAGE "paddock-empty:test"

struct ctx {
    struct pd_own_engine *engine;
    uv_loop_t loop;
    struct pd_provider *provider;
    struct pd_pool_spec *spec;
    bool done, up, down, ended;
    int kind;
    char msg[PD_ERR_MSG_MAX];
    char id[PD_PROVIDER_ID_MAX];
    struct pd_instance instances[8];
    size_t count;
    struct pd_stream *stream;
};

static void take_err(struct ctx *ctx, const struct pd_err *err)
{
    ctx->kind = err ? err->kind : 0;
    pd_strcpy(ctx->msg, sizeof ctx->msg, err ? err->msg : "");
    ctx->done = true;
}

static void on_done(void *arg, const struct pd_err *err)
{
    take_err(arg, err);
}

static void on_create(void *arg, const struct pd_err *err, const char *provider_id)
{
    struct ctx *ctx = arg;

    pd_strcpy(ctx->id, sizeof ctx->id, provider_id ? provider_id : "");
    take_err(ctx, err);
}

static void on_list(void *arg, const struct pd_err *err, const struct pd_instance *instances,
                    size_t count)
{
    struct ctx *ctx = arg;

    assert_true(count <= PD_COUNT(ctx->instances));
    ctx->count = count;
    if (count)
        memcpy(ctx->instances, instances, count * sizeof *instances);
    take_err(ctx, err);
}

static void on_link(void *arg, const struct pd_err *err, struct pd_stream *stream)
{
    struct ctx *ctx = arg;

    ctx->stream = stream;
    take_err(ctx, err);
}

static void on_data(void *arg, const void *data, size_t len)
{
    (void)arg;
    (void)data;
    (void)len;
}

static void on_end(void *arg, const struct pd_err *err)
{
    (void)err;
    ((struct ctx *)arg)->ended = true;
}

static void on_event(void *arg, const struct pd_provider_event *event)
{
    struct ctx *ctx = arg;

    ctx->up = ctx->up || event->type == PD_PROVIDER_UP;
    ctx->down = ctx->down || event->type == PD_PROVIDER_DOWN;
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void wait_for(struct ctx *ctx, bool *flag)
{
    assert_true(pd_loop_until(&ctx->loop, flag, WAIT_MS));
    *flag = false;
}

static int ensure_ready(struct ctx *ctx)
{
    assert_int_equal(ctx->provider->ops->ensure_ready(ctx->provider, ctx->spec, on_done, ctx, NULL),
                     0);
    wait_for(ctx, &ctx->done);
    return ctx->kind;
}

static int create(struct ctx *ctx, const char *id)
{
    assert_int_equal(ctx->provider->ops->create(ctx->provider, ctx->spec, id, on_create, ctx, NULL),
                     0);
    wait_for(ctx, &ctx->done);
    return ctx->kind;
}

static int list(struct ctx *ctx)
{
    assert_int_equal(ctx->provider->ops->list(ctx->provider, on_list, ctx, NULL), 0);
    wait_for(ctx, &ctx->done);
    return ctx->kind;
}

static void link_to(struct ctx *ctx)
{
    assert_int_equal(ctx->provider->ops->link(ctx->provider, ctx->id, on_link, ctx, NULL), 0);
    wait_for(ctx, &ctx->done);
    if (!ctx->stream)
        fail_msg("%s", ctx->msg);
    ctx->stream->on_data = on_data;
    ctx->stream->on_end = on_end;
    ctx->stream->arg = ctx;
    ctx->stream->ops->read(ctx->stream, true);
}

static void unlink_it(struct ctx *ctx)
{
    bool closed = false;

    ctx->stream->ops->close(ctx->stream, on_closed, &closed);
    wait_for(ctx, &closed);
    ctx->stream = NULL;
}

static void empty(struct ctx *ctx)
{
    assert_int_equal(list(ctx), 0);
    for (size_t i = 0; i < ctx->count; i++) {
        assert_int_equal(ctx->provider->ops->destroy(ctx->provider, ctx->instances[i].provider_id,
                                                     on_done, ctx, NULL),
                         0);
        wait_for(ctx, &ctx->done);
        assert_int_equal(ctx->kind, 0);
    }
}

/* kill -9 of the engine: told at once, calls fail clearly, and all of it comes
 * back by itself, sandboxes included. */
static void test_engine_killed(void **state)
{
    struct ctx *ctx = *state;
    struct pd_time killed;

    if (!ctx)
        skip();
    ctx->provider->ops->watch(ctx->provider, on_event, ctx);
    wait_for(ctx, &ctx->up);
    if (ensure_ready(ctx) < 0 || create(ctx, "before") < 0)
        fail_msg("%s", ctx->msg);
    link_to(ctx);
    pd_own_engine_kill(ctx->engine);
    killed = pd_time_now();
    wait_for(ctx, &ctx->down);
    assert_true(pd_time_ms_between(killed, pd_time_now()) < 1000);
    wait_for(ctx, &ctx->ended);
    unlink_it(ctx);
    assert_int_equal(create(ctx, "meanwhile"), PD_UNAVAILABLE);
    assert_int_equal(list(ctx), PD_UNAVAILABLE);
    assert_true(pd_own_engine_start(ctx->engine));
    wait_for(ctx, &ctx->up);
    assert_int_equal(list(ctx), 0);
    assert_int_equal(ctx->count, 1); /* whatever became of it, it is not forgotten */
    assert_int_equal(ensure_ready(ctx), 0);
    if (create(ctx, "after") < 0)
        fail_msg("%s", ctx->msg);
    link_to(ctx);
    unlink_it(ctx);
    empty(ctx);
    assert_int_equal(list(ctx), 0);
    assert_int_equal(ctx->count, 0);
}

/* SIGSTOP: nothing breaks, nothing answers. */
static void test_engine_frozen(void **state)
{
    struct ctx *ctx = *state;

    if (!ctx)
        skip();
    pd_own_engine_freeze(ctx->engine, true);
    wait_for(ctx, &ctx->down);
    pd_own_engine_freeze(ctx->engine, false);
    wait_for(ctx, &ctx->up);
    assert_int_equal(list(ctx), 0);
    assert_int_equal(create(ctx, "thawed"), 0);
    empty(ctx);
}

static int setup(void **state)
{
    struct pd_docker_config config = {.instance = "restart"};
    const char *lacks = pd_own_engine_lacks();
    struct ctx *ctx;

    if (lacks) {
        printf("SKIP docker_restart: %s\n", lacks);
        return 0;
    }
    signal(SIGPIPE, SIG_IGN); /* as the service does */
    ctx = PD_NEW(struct ctx);
    ctx->engine = pd_own_engine_new();
    if (!ctx->engine || pd_own_engine_import(ctx->engine, IMAGE) < 0)
        return -1;
    uv_loop_init(&ctx->loop);
    ctx->spec = pd_test_spec("py", PD_ISOLATION_CELL);
    free(ctx->spec->image);
    ctx->spec->image = pd_strdup(IMAGE);
    config.host = pd_own_engine_host(ctx->engine);
    *state = ctx;
    return pd_provider_docker_new(&ctx->loop, &config, &ctx->provider, NULL);
}

static int teardown(void **state)
{
    struct ctx *ctx = *state;
    bool closed = false, finished;

    if (!ctx)
        return 0;
    if (ctx->stream)
        unlink_it(ctx);
    ctx->provider->ops->close(ctx->provider, on_closed, &closed);
    wait_for(ctx, &closed);
    finished = pd_loop_finish(&ctx->loop, WAIT_MS);
    pd_pool_spec_unref(ctx->spec);
    pd_own_engine_free(ctx->engine);
    free(ctx);
    return finished ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_killed),
        cmocka_unit_test(test_engine_frozen),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
