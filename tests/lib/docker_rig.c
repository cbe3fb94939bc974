#include "tests/lib/docker_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "controller/provider_docker.h"
#include "tests/lib/engine_test.h"
#include "tests/lib/loop_until.h"

const char *const docker_rig_cat[] = {"cat", NULL};

static void take_err(struct docker_rig *ctx, const struct pd_err *err)
{
    ctx->kind = err ? err->kind : 0;
    pd_strcpy(ctx->msg, sizeof ctx->msg, err ? err->msg : "");
    ctx->done = true;
}

void docker_rig_on_done(void *arg, const struct pd_err *err)
{
    take_err(arg, err);
}

void docker_rig_on_create(void *arg, const struct pd_err *err, const char *provider_id)
{
    struct docker_rig *ctx = arg;

    assert_true(!err == (provider_id != NULL));
    if (provider_id)
        pd_strcpy(ctx->id, sizeof ctx->id, provider_id);
    take_err(ctx, err);
}

void docker_rig_on_list(void *arg, const struct pd_err *err, const struct pd_instance *instances,
                        size_t count)
{
    struct docker_rig *ctx = arg;

    assert_true(count <= PD_COUNT(ctx->instances));
    if (count)
        memcpy(ctx->instances, instances, count * sizeof *instances);
    ctx->count = count;
    take_err(ctx, err);
}

void docker_rig_on_link(void *arg, const struct pd_err *err, struct pd_stream *stream)
{
    struct docker_rig *ctx = arg;

    ctx->stream = stream;
    take_err(ctx, err);
}

void docker_rig_on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void on_data(void *arg, const void *data, size_t len)
{
    struct docker_rig *ctx = arg;

    assert_int_equal(pd_buf_add(&ctx->data, data, len, NULL), 0);
    ctx->pieces++;
    if (ctx->one_piece)
        ctx->stream->ops->read(ctx->stream, false);
    ctx->streamed = ctx->one_piece || ctx->data.len >= ctx->want_bytes;
}

static void on_end(void *arg, const struct pd_err *err)
{
    struct docker_rig *ctx = arg;

    assert_false(ctx->ended);
    assert_non_null(err);
    ctx->ended = true;
    ctx->streamed = true;
}

void docker_rig_on_event(void *arg, const struct pd_provider_event *event)
{
    struct docker_rig *ctx = arg;

    if (ctx->n_events < EVENTS_MAX) {
        ctx->event_times[ctx->n_events] = pd_time_now();
        ctx->events[ctx->n_events++] = *event;
    }
    if ((ctx->wait_for == WAIT_UP && event->type == PD_PROVIDER_UP) ||
        (ctx->wait_for == WAIT_DOWN && event->type == PD_PROVIDER_DOWN) ||
        (ctx->wait_for == WAIT_DEAD && event->type == PD_PROVIDER_CHANGED && event->dead))
        ctx->seen = true;
}

/* ---- steps ---- */

void docker_rig_wait_done(struct docker_rig *ctx)
{
    assert_true(pd_loop_until(&ctx->loop, &ctx->done, DOCKER_RIG_WAIT_MS));
    ctx->done = false;
}

void docker_rig_wait_streamed(struct docker_rig *ctx)
{
    assert_true(pd_loop_until(&ctx->loop, &ctx->streamed, DOCKER_RIG_WAIT_MS));
    ctx->streamed = ctx->ended;
}

void docker_rig_open(struct docker_rig *ctx, const char *host, const char *const *entrypoint)
{
    struct pd_strings strings = {.items = (char **)(uintptr_t)entrypoint};
    struct pd_docker_config config = {.host = host,
                                      .instance = ctx->instance,
                                      .own_volume = ctx->own_volume,
                                      .tls_verify = ctx->cert_path != NULL,
                                      .cert_path = ctx->cert_path};
    struct pd_err err;

    while (entrypoint && entrypoint[strings.count])
        strings.count++;
    config.entrypoint = entrypoint ? &strings : NULL;
    if (pd_provider_docker_new(&ctx->loop, &config, &ctx->provider, &err) < 0)
        fail_msg("%s", err.msg);
}

void docker_rig_close(struct docker_rig *ctx)
{
    bool closed = false;

    ctx->provider->ops->close(ctx->provider, docker_rig_on_closed, &closed);
    assert_false(closed);
    assert_true(pd_loop_until(&ctx->loop, &closed, DOCKER_RIG_WAIT_MS));
    ctx->provider = NULL;
}

void docker_rig_ensure_ready(struct docker_rig *ctx)
{
    assert_int_equal(
        ctx->provider->ops->ensure_ready(ctx->provider, ctx->spec, docker_rig_on_done, ctx, NULL),
        0);
    assert_false(ctx->done);
    docker_rig_wait_done(ctx);
    if (ctx->kind)
        fail_msg("ensure_ready: %s", ctx->msg);
}

int docker_rig_create(struct docker_rig *ctx, const char *id)
{
    struct pd_err err;
    int rc;

    snprintf(ctx->full_id, sizeof ctx->full_id, "%s-%s", ctx->instance, id);
    rc = ctx->provider->ops->create(ctx->provider, ctx->spec, ctx->full_id, docker_rig_on_create,
                                    ctx, &err);

    if (rc < 0) {
        pd_strcpy(ctx->msg, sizeof ctx->msg, err.msg);
        return rc;
    }
    assert_false(ctx->done);
    docker_rig_wait_done(ctx);
    return ctx->kind;
}

void docker_rig_create_well(struct docker_rig *ctx, const char *id)
{
    if (docker_rig_create(ctx, id) < 0)
        fail_msg("create: %s", ctx->msg);
}

void docker_rig_list(struct docker_rig *ctx)
{
    assert_int_equal(ctx->provider->ops->list(ctx->provider, docker_rig_on_list, ctx, NULL), 0);
    docker_rig_wait_done(ctx);
    if (ctx->kind)
        fail_msg("list: %s", ctx->msg);
}

int docker_rig_destroy(struct docker_rig *ctx, const char *provider_id)
{
    assert_int_equal(
        ctx->provider->ops->destroy(ctx->provider, provider_id, docker_rig_on_done, ctx, NULL), 0);
    docker_rig_wait_done(ctx);
    return ctx->kind;
}

int docker_rig_link(struct docker_rig *ctx, const char *provider_id)
{
    assert_int_equal(
        ctx->provider->ops->link(ctx->provider, provider_id, docker_rig_on_link, ctx, NULL), 0);
    assert_false(ctx->done);
    docker_rig_wait_done(ctx);
    if (!ctx->stream)
        return ctx->kind;
    ctx->stream->on_data = on_data;
    ctx->stream->on_end = on_end;
    ctx->stream->arg = ctx;
    ctx->ended = ctx->streamed = false;
    pd_buf_clear(&ctx->data);
    return 0;
}

void docker_rig_unlink(struct docker_rig *ctx)
{
    bool closed = false;

    ctx->stream->ops->close(ctx->stream, docker_rig_on_closed, &closed);
    ctx->stream->ops->close(ctx->stream, NULL, NULL); /* idempotent */
    assert_true(pd_loop_until(&ctx->loop, &closed, DOCKER_RIG_WAIT_MS));
    ctx->stream = NULL;
}

void docker_rig_say(struct docker_rig *ctx, const char *text, size_t want_bytes)
{
    struct pd_err err;

    ctx->want_bytes = want_bytes;
    if (ctx->stream->ops->write(ctx->stream, text, strlen(text), &err) < 0)
        fail_msg("write: %s", err.msg);
    docker_rig_wait_streamed(ctx);
}

void docker_rig_destroy_all(struct docker_rig *ctx)
{
    docker_rig_list(ctx);
    for (size_t i = 0; i < ctx->count; i++)
        assert_int_equal(docker_rig_destroy(ctx, ctx->instances[i].provider_id), 0);
}

int docker_rig_set_up(void **state)
{
    struct docker_rig *ctx = PD_NEW(struct docker_rig);
    static unsigned serial;

    snprintf(ctx->instance, sizeof ctx->instance, "test-%d-%u", (int)getpid(), serial++);
    uv_loop_init(&ctx->loop);
    pd_buf_init(&ctx->data, 64 << 20);
    ctx->spec = pd_test_spec("py", PD_ISOLATION_CELL);
    *state = ctx;
    return 0;
}

int docker_rig_tear_down(void **state)
{
    struct docker_rig *ctx = *state;
    bool finished;

    if (ctx->stream)
        docker_rig_unlink(ctx);
    ctx->done = false;
    if (ctx->provider) {
        docker_rig_destroy_all(ctx);
        docker_rig_close(ctx);
    }
    finished = pd_loop_finish(&ctx->loop, DOCKER_RIG_WAIT_MS);
    pd_pool_spec_unref(ctx->spec);
    pd_buf_fini(&ctx->data);
    free(ctx);
    return finished ? 0 : -1;
}

bool docker_rig_has_engine(void)
{
    static int status;

    if (status == 0)
        status = pd_test_engine_call("GET", "/_ping", NULL, NULL, 0);
    if (status != 200)
        printf("SKIP docker: no Docker engine answers at %s\n", pd_test_docker_host());
    return status == 200;
}
