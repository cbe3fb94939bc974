/* The Docker provider against the real engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/asset.h"
#include "common/buf.h"
#include "common/mem.h"
#include "common/time.h"
#include "controller/docker_address.h"
#include "controller/docker_request.h"
#include "controller/docker_stream.h"
#include "controller/provider_docker.h"
#include "tests/lib/engine_test.h"
#include "tests/lib/loop_until.h"
#include "tests/lib/tls_front.h"

#define WAIT_MS 60000
#define EVENTS_MAX 64

struct ctx {
    uv_loop_t loop;
    struct pd_provider *provider;
    char instance[40];
    bool own_volume;
    const char *cert_path; /* with it: TLS */
    struct pd_pool_spec *spec;
    bool done;
    int kind; /* of the last callback's err, 0 without */
    char msg[PD_ERR_MSG_MAX];
    char id[PD_PROVIDER_ID_MAX];
    char full_id[PD_SANDBOX_ID_MAX];
    struct pd_instance instances[32];
    size_t count;
    struct pd_stream *stream;
    struct pd_buf data;
    bool ended;
    bool streamed; /* want_bytes have come, or one piece, or the end */
    size_t want_bytes;
    bool one_piece; /* stop reading after each piece */
    size_t pieces;
    struct pd_provider_event events[EVENTS_MAX];
    struct pd_time event_times[EVENTS_MAX];
    size_t n_events;
    enum { WAIT_NONE, WAIT_UP, WAIT_DOWN, WAIT_DEAD } wait_for;
    bool seen;
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

    assert_true(!err == (provider_id != NULL));
    if (provider_id)
        pd_strcpy(ctx->id, sizeof ctx->id, provider_id);
    take_err(ctx, err);
}

static void on_list(void *arg, const struct pd_err *err, const struct pd_instance *instances,
                    size_t count)
{
    struct ctx *ctx = arg;

    assert_true(count <= PD_COUNT(ctx->instances));
    if (count)
        memcpy(ctx->instances, instances, count * sizeof *instances);
    ctx->count = count;
    take_err(ctx, err);
}

static void on_link(void *arg, const struct pd_err *err, struct pd_stream *stream)
{
    struct ctx *ctx = arg;

    ctx->stream = stream;
    take_err(ctx, err);
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void on_data(void *arg, const void *data, size_t len)
{
    struct ctx *ctx = arg;

    assert_int_equal(pd_buf_add(&ctx->data, data, len, NULL), 0);
    ctx->pieces++;
    if (ctx->one_piece)
        ctx->stream->ops->read(ctx->stream, false);
    ctx->streamed = ctx->one_piece || ctx->data.len >= ctx->want_bytes;
}

static void on_end(void *arg, const struct pd_err *err)
{
    struct ctx *ctx = arg;

    assert_false(ctx->ended);
    assert_non_null(err);
    ctx->ended = true;
    ctx->streamed = true;
}

static void on_event(void *arg, const struct pd_provider_event *event)
{
    struct ctx *ctx = arg;

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

static void wait_done(struct ctx *ctx)
{
    assert_true(pd_loop_until(&ctx->loop, &ctx->done, WAIT_MS));
    ctx->done = false;
}

static void wait_streamed(struct ctx *ctx)
{
    assert_true(pd_loop_until(&ctx->loop, &ctx->streamed, WAIT_MS));
    ctx->streamed = ctx->ended;
}

static void provider_open(struct ctx *ctx, const char *host, const char *const *entrypoint)
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

static void provider_close(struct ctx *ctx)
{
    bool closed = false;

    ctx->provider->ops->close(ctx->provider, on_closed, &closed);
    assert_false(closed);
    assert_true(pd_loop_until(&ctx->loop, &closed, WAIT_MS));
    ctx->provider = NULL;
}

static void ensure_ready(struct ctx *ctx)
{
    assert_int_equal(ctx->provider->ops->ensure_ready(ctx->provider, ctx->spec, on_done, ctx, NULL),
                     0);
    assert_false(ctx->done);
    wait_done(ctx);
    if (ctx->kind)
        fail_msg("ensure_ready: %s", ctx->msg);
}

/* Ids are the engine's, so every test has its own: "<instance>-<id>". */
static int create(struct ctx *ctx, const char *id)
{
    struct pd_err err;
    int rc;

    snprintf(ctx->full_id, sizeof ctx->full_id, "%s-%s", ctx->instance, id);
    rc = ctx->provider->ops->create(ctx->provider, ctx->spec, ctx->full_id, on_create, ctx, &err);

    if (rc < 0) {
        pd_strcpy(ctx->msg, sizeof ctx->msg, err.msg);
        return rc;
    }
    assert_false(ctx->done);
    wait_done(ctx);
    return ctx->kind;
}

static void create_well(struct ctx *ctx, const char *id)
{
    if (create(ctx, id) < 0)
        fail_msg("create: %s", ctx->msg);
}

static void list(struct ctx *ctx)
{
    assert_int_equal(ctx->provider->ops->list(ctx->provider, on_list, ctx, NULL), 0);
    wait_done(ctx);
    if (ctx->kind)
        fail_msg("list: %s", ctx->msg);
}

static int destroy(struct ctx *ctx, const char *provider_id)
{
    assert_int_equal(ctx->provider->ops->destroy(ctx->provider, provider_id, on_done, ctx, NULL),
                     0);
    wait_done(ctx);
    return ctx->kind;
}

static int link_to(struct ctx *ctx, const char *provider_id)
{
    assert_int_equal(ctx->provider->ops->link(ctx->provider, provider_id, on_link, ctx, NULL), 0);
    assert_false(ctx->done);
    wait_done(ctx);
    if (!ctx->stream)
        return ctx->kind;
    ctx->stream->on_data = on_data;
    ctx->stream->on_end = on_end;
    ctx->stream->arg = ctx;
    ctx->ended = ctx->streamed = false;
    pd_buf_clear(&ctx->data);
    return 0;
}

static void unlink_it(struct ctx *ctx)
{
    bool closed = false;

    ctx->stream->ops->close(ctx->stream, on_closed, &closed);
    ctx->stream->ops->close(ctx->stream, NULL, NULL); /* idempotent */
    assert_true(pd_loop_until(&ctx->loop, &closed, WAIT_MS));
    ctx->stream = NULL;
}

static void say(struct ctx *ctx, const char *text, size_t want_bytes)
{
    struct pd_err err;

    ctx->want_bytes = want_bytes;
    if (ctx->stream->ops->write(ctx->stream, text, strlen(text), &err) < 0)
        fail_msg("write: %s", err.msg);
    wait_streamed(ctx);
}

static void destroy_all(struct ctx *ctx)
{
    list(ctx);
    for (size_t i = 0; i < ctx->count; i++)
        assert_int_equal(destroy(ctx, ctx->instances[i].provider_id), 0);
}

static int setup(void **state)
{
    struct ctx *ctx = PD_NEW(struct ctx);
    static unsigned serial;

    snprintf(ctx->instance, sizeof ctx->instance, "test-%d-%u", (int)getpid(), serial++);
    uv_loop_init(&ctx->loop);
    pd_buf_init(&ctx->data, 64 << 20);
    ctx->spec = pd_test_spec("py", PD_ISOLATION_CELL);
    *state = ctx;
    return 0;
}

static int teardown(void **state)
{
    struct ctx *ctx = *state;
    bool finished;

    if (ctx->stream)
        unlink_it(ctx);
    ctx->done = false;
    if (ctx->provider) {
        destroy_all(ctx);
        provider_close(ctx);
    }
    finished = pd_loop_finish(&ctx->loop, WAIT_MS);
    pd_pool_spec_unref(ctx->spec);
    pd_buf_fini(&ctx->data);
    free(ctx);
    return finished ? 0 : -1;
}

static bool engine_is_there(void)
{
    static int status;

    if (status == 0)
        status = pd_test_engine_call("GET", "/_ping", NULL, NULL, 0);
    if (status != 200)
        printf("SKIP docker: no Docker engine answers at %s\n", pd_test_docker_host());
    return status == 200;
}

#define NEED_ENGINE()                                                                              \
    do {                                                                                           \
        if (!engine_is_there())                                                                    \
            skip();                                                                                \
    } while (0)

static const char *const cat[] = {"cat", NULL};

/* ---- tests ---- */

static void test_life_of_a_sandbox(void **state)
{
    struct ctx *ctx = *state;

    NEED_ENGINE();
    provider_open(ctx, NULL, cat);
    ensure_ready(ctx);
    create_well(ctx, "life-1");
    list(ctx);
    assert_int_equal(ctx->count, 1);
    assert_string_equal(ctx->instances[0].id, ctx->full_id);
    assert_string_equal(ctx->instances[0].pool, "py");
    assert_string_equal(ctx->instances[0].template_hash, "0123456789abcdef");
    assert_string_equal(ctx->instances[0].provider_id, ctx->id);
    assert_int_equal(ctx->instances[0].phase, PD_INSTANCE_RUNNING);
    assert_true(ctx->instances[0].created_wall_ms > pd_wall_ms() - 120000);

    assert_int_equal(link_to(ctx, ctx->id), 0);
    ctx->stream->ops->read(ctx->stream, true);
    say(ctx, "hello sandbox\n", 14);
    assert_memory_equal(ctx->data.data, "hello sandbox\n", 14);
    unlink_it(ctx);
    /* Detached and attached again: stdin is still open. */
    assert_int_equal(link_to(ctx, ctx->id), 0);
    ctx->stream->ops->read(ctx->stream, true);
    say(ctx, "again\n", 6);
    assert_memory_equal(ctx->data.data, "again\n", 6);

    assert_int_equal(destroy(ctx, ctx->id), 0);
    wait_streamed(ctx);
    assert_true(ctx->ended);
    assert_int_equal(ctx->stream->ops->write(ctx->stream, "x", 1, NULL), PD_UNAVAILABLE);
    unlink_it(ctx);
    assert_int_equal(destroy(ctx, ctx->id), 0); /* gone already: a success */
    list(ctx);
    assert_int_equal(ctx->count, 0);
}

static void test_create_is_idempotent(void **state)
{
    struct ctx *ctx = *state;
    char first[PD_PROVIDER_ID_MAX];

    NEED_ENGINE();
    provider_open(ctx, NULL, cat);
    ensure_ready(ctx);
    create_well(ctx, "same");
    pd_strcpy(first, sizeof first, ctx->id);
    create_well(ctx, "same");
    assert_string_equal(ctx->id, first);
    list(ctx);
    assert_int_equal(ctx->count, 1);

    /* By another process of this installation, which knows nothing yet. */
    provider_close(ctx);
    provider_open(ctx, NULL, cat);
    create_well(ctx, "same");
    assert_string_equal(ctx->id, first);

    /* Ended meanwhile: there is no such sandbox to be had any more. */
    {
        pd_autofree char *path = pd_asprintf("/containers/%s/kill", first);
        assert_int_equal(pd_test_engine_call("POST", path, NULL, NULL, 0), 204);
    }
    for (int i = 0; i < 100 && (list(ctx), ctx->instances[0].phase != PD_INSTANCE_DEAD); i++)
        pd_loop_for(&ctx->loop, 20);
    assert_int_equal(ctx->instances[0].phase, PD_INSTANCE_DEAD);
    assert_non_null(strstr(ctx->instances[0].reason, "137"));
    assert_int_equal(create(ctx, "same"), PD_CONFLICT);
}

/* A container that was created, but not started, by a process that then died. */
static void test_create_starts_what_was_only_created(void **state)
{
    struct ctx *ctx = *state;
    pd_autofree char *body = NULL;
    pd_autofree char *path = NULL;
    char answer[4096];

    NEED_ENGINE();
    provider_open(ctx, NULL, cat);
    ensure_ready(ctx);
    path = pd_asprintf("/containers/create?name=paddock-%s-half", ctx->instance);
    body = pd_asprintf(
        "{\"Image\":\"%s\",\"Entrypoint\":[\"cat\"],\"OpenStdin\":true,"
        "\"NetworkDisabled\":true,\"Labels\":{\"paddock.dev/instance\":\"%s\","
        "\"paddock.dev/pool\":\"py\",\"paddock.dev/sandbox\":\"%s-half\","
        "\"paddock.dev/template-hash\":\"0123456789abcdef\"}}",
        pd_test_image(), ctx->instance, ctx->instance);
    assert_int_equal(pd_test_engine_call("POST", path, body, answer, sizeof answer), 201);
    list(ctx);
    assert_int_equal(ctx->count, 1);
    assert_int_equal(ctx->instances[0].phase, PD_INSTANCE_CREATED);
    create_well(ctx, "half");
    assert_string_equal(ctx->id, ctx->instances[0].provider_id);
    list(ctx);
    assert_int_equal(ctx->instances[0].phase, PD_INSTANCE_RUNNING);
}

static void test_a_container_of_others_is_not_touched(void **state)
{
    struct ctx *ctx = *state;
    pd_autofree char *name = pd_asprintf("%s-theirs", ctx->instance);
    pd_autofree char *path = pd_asprintf("/containers/create?name=paddock-%s", name);
    pd_autofree char *inspect = pd_asprintf("/containers/paddock-%s/json", name);
    pd_autofree char *remove = pd_asprintf("/containers/paddock-%s?force=1", name);
    pd_autofree char *body = NULL;

    NEED_ENGINE();
    body = pd_asprintf("{\"Image\":\"%s\",\"Entrypoint\":[\"cat\"]}", pd_test_image());
    assert_int_equal(pd_test_engine_call("POST", path, body, NULL, 0), 201);
    provider_open(ctx, NULL, cat);
    ensure_ready(ctx);
    assert_int_equal(create(ctx, "theirs"), PD_CONFLICT);
    assert_non_null(strstr(ctx->msg, "not ours"));
    list(ctx);
    assert_int_equal(ctx->count, 0);
    assert_int_equal(pd_test_engine_call("GET", inspect, NULL, NULL, 0), 200);
    assert_int_equal(pd_test_engine_call("DELETE", remove, NULL, NULL, 0), 204);
}

static void test_death_is_told_at_once(void **state)
{
    struct ctx *ctx = *state;
    pd_autofree char *path = NULL;
    struct pd_time killed;

    NEED_ENGINE();
    provider_open(ctx, NULL, cat);
    ctx->wait_for = WAIT_UP;
    ctx->provider->ops->watch(ctx->provider, on_event, ctx);
    assert_true(pd_loop_until(&ctx->loop, &ctx->seen, WAIT_MS));
    assert_int_equal(ctx->n_events, 1);
    ensure_ready(ctx);
    create_well(ctx, "mortal");
    path = pd_asprintf("/containers/%s/kill", ctx->id);
    ctx->n_events = 0;
    ctx->seen = false;
    ctx->wait_for = WAIT_DEAD;
    assert_int_equal(pd_test_engine_call("POST", path, NULL, NULL, 0), 204);
    killed = pd_time_now();
    assert_true(pd_loop_until(&ctx->loop, &ctx->seen, WAIT_MS));
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
    struct ctx *ctx = *state;

    provider_open(ctx, "unix:///nonexistent/docker.sock", cat);
    ctx->wait_for = WAIT_DOWN;
    ctx->provider->ops->watch(ctx->provider, on_event, ctx);
    assert_true(pd_loop_until(&ctx->loop, &ctx->seen, WAIT_MS));
    assert_int_equal(ctx->n_events, 1);
    assert_int_equal(create(ctx, "nowhere"), PD_UNAVAILABLE);
    assert_non_null(strstr(ctx->msg, "/nonexistent/docker.sock"));
    assert_int_equal(ctx->provider->ops->list(ctx->provider, on_list, ctx, NULL), 0);
    wait_done(ctx);
    assert_int_equal(ctx->kind, PD_UNAVAILABLE);
    assert_int_equal(link_to(ctx, "0123abcd"), PD_UNAVAILABLE);
    pd_loop_for(&ctx->loop, 400); /* attempts fail again: nothing more is told */
    assert_int_equal(ctx->n_events, 1);
    provider_close(ctx);
}

static void test_what_cannot_be_had_is_refused(void **state)
{
    struct ctx *ctx = *state;
    struct pd_docker_config config = {.host = "ssh://somewhere", .instance = "x"};
    struct pd_provider *provider;
    struct pd_err err;

    assert_int_equal(pd_provider_docker_new(&ctx->loop, &config, &provider, &err), PD_INVALID);
    config.host = NULL;
    config.instance = "a b";
    assert_int_equal(pd_provider_docker_new(&ctx->loop, &config, &provider, &err), PD_INVALID);
    provider_open(ctx, "unix:///nonexistent/docker.sock", cat);
    assert_int_equal(create(ctx, "../../etc"), PD_INVALID);
    assert_int_equal(ctx->provider->ops->destroy(ctx->provider, "../x", on_done, ctx, &err),
                     PD_INVALID);
    assert_int_equal(ctx->provider->ops->link(ctx->provider, "", on_link, ctx, &err), PD_INVALID);
    ctx->spec->network = PD_NETWORK_EGRESS;
    assert_int_equal(ctx->provider->ops->ensure_ready(ctx->provider, ctx->spec, on_done, ctx, &err),
                     PD_INVALID);
    assert_non_null(strstr(err.msg, "egress"));
    provider_close(ctx);
}

static void test_image_that_is_not_there(void **state)
{
    struct ctx *ctx = *state;

    NEED_ENGINE();
    free(ctx->spec->image);
    ctx->spec->image = pd_strdup("localhost:1/paddock/no-such-image:1");
    provider_open(ctx, NULL, cat);
    assert_int_equal(ctx->provider->ops->ensure_ready(ctx->provider, ctx->spec, on_done, ctx, NULL),
                     0);
    wait_done(ctx);
    assert_int_not_equal(ctx->kind, 0);
    assert_non_null(strstr(ctx->msg, "no-such-image"));
    assert_non_null(strstr(ctx->msg, "docker pull"));
}

static void test_start_that_fails_leaves_nothing(void **state)
{
    static const char *const nothing[] = {"/no/such/program", NULL};
    struct ctx *ctx = *state;

    NEED_ENGINE();
    provider_open(ctx, NULL, nothing);
    ensure_ready(ctx);
    assert_true(create(ctx, "stillborn") < 0);
    assert_non_null(strstr(ctx->msg, "/no/such/program"));
    list(ctx);
    assert_int_equal(ctx->count, 0);
}

/* Closing while things are under way: every callback fires, with PD_CANCELED. */
static void test_close_cancels(void **state)
{
    struct ctx *ctx = *state;
    bool closed = false;

    NEED_ENGINE();
    provider_open(ctx, NULL, cat);
    ensure_ready(ctx);
    ctx->provider->ops->watch(ctx->provider, on_event, ctx);
    create_well(ctx, "stays");
    assert_int_equal(ctx->provider->ops->list(ctx->provider, on_list, ctx, NULL), 0);
    ctx->provider->ops->close(ctx->provider, on_closed, &closed);
    assert_int_equal(ctx->provider->ops->list(ctx->provider, on_list, ctx, NULL), PD_CANCELED);
    assert_true(pd_loop_until(&ctx->loop, &closed, WAIT_MS));
    assert_true(ctx->done);
    assert_int_equal(ctx->kind, PD_CANCELED);
    ctx->done = false;
    /* A link under way. */
    closed = false;
    provider_open(ctx, NULL, cat);
    assert_int_equal(ctx->provider->ops->link(ctx->provider, ctx->id, on_link, ctx, NULL), 0);
    ctx->provider->ops->close(ctx->provider, on_closed, &closed);
    assert_true(pd_loop_until(&ctx->loop, &closed, WAIT_MS));
    assert_true(ctx->done);
    assert_int_equal(ctx->kind, PD_CANCELED);
    ctx->done = false;
    provider_open(ctx, NULL, cat);
}

static void test_link_to_what_cannot_be_linked(void **state)
{
    struct ctx *ctx = *state;
    pd_autofree char *path = NULL;

    NEED_ENGINE();
    provider_open(ctx, NULL, cat);
    ensure_ready(ctx);
    assert_int_equal(link_to(ctx, "0123456789abcdef"), PD_NOT_FOUND);
    create_well(ctx, "ended");
    path = pd_asprintf("/containers/%s/kill", ctx->id);
    assert_int_equal(pd_test_engine_call("POST", path, NULL, NULL, 0), 204);
    /* The engine attaches to the dead, and never says a word then. */
    assert_int_equal(link_to(ctx, ctx->id), PD_CONFLICT);
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
    struct ctx *ctx = *state;
    size_t total = 30000 * 8;

    NEED_ENGINE();
    provider_open(ctx, NULL, program);
    ensure_ready(ctx);
    create_well(ctx, "slow");
    assert_int_equal(link_to(ctx, ctx->id), 0);
    ctx->one_piece = true;
    ctx->stream->ops->read(ctx->stream, true);
    assert_int_equal(ctx->stream->ops->write(ctx->stream, "go\n", 3, NULL), 0);
    while (ctx->data.len < total) {
        wait_streamed(ctx);
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
    unlink_it(ctx);
}

/* More is written than the container takes: the queue is bounded and says so. */
static void test_writes_are_bounded(void **state)
{
    static const char *const program[] = {"sleep", "1000", NULL};
    static char chunk[1 << 20];
    struct ctx *ctx = *state;
    int rc = 0, written = 0;

    NEED_ENGINE();
    provider_open(ctx, NULL, program);
    ensure_ready(ctx);
    create_well(ctx, "deaf");
    assert_int_equal(link_to(ctx, ctx->id), 0);
    for (; written < 64 && rc == 0; written += rc == 0)
        rc = ctx->stream->ops->write(ctx->stream, chunk, sizeof chunk, NULL);
    assert_int_equal(rc, PD_LIMIT);
    assert_in_range(written, 19, 26);
    unlink_it(ctx);
}

/* Big writes arrive whole and in order though they cannot be sent at once. */
static void test_big_write(void **state)
{
    struct ctx *ctx = *state;
    size_t bytes = 4 << 20;
    pd_autofree char *text = pd_calloc(bytes + 1, 1);

    NEED_ENGINE();
    provider_open(ctx, NULL, cat);
    ensure_ready(ctx);
    create_well(ctx, "big");
    assert_int_equal(link_to(ctx, ctx->id), 0);
    ctx->stream->ops->read(ctx->stream, true);
    for (size_t i = 0; i < bytes; i++)
        text[i] = (char)('a' + (i * 7 + i / 1000) % 26);
    say(ctx, text, bytes);
    assert_int_equal(ctx->data.len, bytes);
    assert_memory_equal(ctx->data.data, text, bytes);
    unlink_it(ctx);
}

/* ---- the agent's volume ---- */

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
static void damage_volume(struct ctx *ctx, const char *volume)
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

static long agent_bytes(struct ctx *ctx, const char *id)
{
    create_well(ctx, id);
    assert_int_equal(link_to(ctx, ctx->id), 0);
    ctx->stream->ops->read(ctx->stream, true);
    say(ctx, "go\n", SIZE_MAX);
    unlink_it(ctx);
    assert_non_null(strstr(ctx->data.data, ",755\n"));
    return atol(ctx->data.data);
}

/* Only what was compared is trusted: a volume that is there, but not whole, is
 * filled again by the next process, or once a sandbox has failed to start. */
static void test_volume_that_is_half_filled(void **state)
{
    struct ctx *ctx = *state;
    char answer[65536], *volume, *end;
    pd_autofree char *remove = NULL;

    NEED_ENGINE();
    ctx->own_volume = true; /* others' sandboxes may be starting from the shared one */
    provider_open(ctx, NULL, measure);
    ensure_ready(ctx);
    assert_int_equal(agent_bytes(ctx, "whole"), pd_asset_find("agent").len);
    assert_int_equal(pd_test_engine_call("GET", "/volumes", NULL, answer, sizeof answer), 200);
    end = strstr(answer, ctx->instance);
    assert_non_null(end);
    for (volume = end; volume > answer && volume[-1] != '"' && volume[-1] != '/';)
        volume--;
    end[strlen(ctx->instance)] = '\0';
    damage_volume(ctx, volume);
    provider_close(ctx);
    provider_open(ctx, NULL, measure);
    ensure_ready(ctx);
    assert_int_equal(agent_bytes(ctx, "again"), pd_asset_find("agent").len);
    destroy_all(ctx);
    remove = pd_asprintf("/volumes/%s", volume);
    assert_int_equal(pd_test_engine_call("DELETE", remove, NULL, NULL, 0), 204);
}

/* A process killed while it filled the volume leaves its carrier. */
static void test_carrier_left_over(void **state)
{
    struct ctx *ctx = *state;
    pd_autofree char *name = pd_asprintf("paddock-carrier-%s", ctx->instance);
    pd_autofree char *inspect = pd_asprintf("/containers/%s/json", name);

    NEED_ENGINE();
    create_carrier(name, name);
    provider_open(ctx, NULL, cat);
    ensure_ready(ctx);
    assert_int_equal(pd_test_engine_call("GET", inspect, NULL, NULL, 0), 404);
    {
        pd_autofree char *volume = pd_asprintf("/volumes/%s", name);
        assert_int_equal(pd_test_engine_call("DELETE", volume, NULL, NULL, 0), 204);
    }
}

/* Many ask at once: all are answered, one does it. */
static void test_ensure_many_at_once(void **state)
{
    struct ctx *ctx = *state;
    struct ctx others[8];

    NEED_ENGINE();
    provider_open(ctx, NULL, cat);
    memset(others, 0, sizeof others);
    for (size_t i = 0; i < PD_COUNT(others); i++)
        assert_int_equal(
            ctx->provider->ops->ensure_ready(ctx->provider, ctx->spec, on_done, &others[i], NULL),
            0);
    for (size_t i = 0; i < PD_COUNT(others); i++) {
        assert_true(pd_loop_until(&ctx->loop, &others[i].done, WAIT_MS));
        assert_int_equal(others[i].kind, 0);
    }
}

/* ---- TLS ---- */

/* The engine behind a front that demands a certificate: calls, events and links. */
static void test_engine_behind_tls(void **state)
{
    struct ctx *ctx = *state;
    char folder[] = "/tmp/pd-tls-XXXXXX";
    pd_autofree char *host = NULL;
    pd_autofree char *text = NULL;
    pd_autofree char *clean = NULL;
    struct pd_tls_front *front;
    size_t bytes = 3 << 20;

    NEED_ENGINE();
    if (strncmp(pd_test_docker_host(), "unix://", 7) != 0) {
        printf("SKIP docker: the engine is not at a unix socket, so no TLS front can be had\n");
        skip();
    }
    assert_non_null(mkdtemp(folder));
    front = pd_tls_front_open(folder, pd_test_docker_host() + 7);
    host = pd_asprintf("tcp://127.0.0.1:%d", pd_tls_front_port(front));
    clean = pd_asprintf("rm -r %s", folder);
    ctx->cert_path = folder;
    provider_open(ctx, host, cat);
    ctx->wait_for = WAIT_UP;
    ctx->provider->ops->watch(ctx->provider, on_event, ctx);
    assert_true(pd_loop_until(&ctx->loop, &ctx->seen, WAIT_MS));
    ensure_ready(ctx);
    create_well(ctx, "tls");
    assert_int_equal(link_to(ctx, ctx->id), 0);
    ctx->stream->ops->read(ctx->stream, true);
    say(ctx, "hello\n", 6);
    assert_memory_equal(ctx->data.data, "hello\n", 6);
    pd_buf_clear(&ctx->data);
    text = pd_calloc(bytes + 1, 1);
    for (size_t i = 0; i < bytes; i++)
        text[i] = (char)('a' + (i * 7 + i / 1000) % 26);
    for (size_t at = 0; at < bytes; at += 1 << 16) { /* the front is one thread each way */
        pd_autofree char *part = pd_strndup(text + at, 1 << 16);
        say(ctx, part, at + (1 << 16));
    }
    assert_int_equal(ctx->data.len, bytes);
    assert_memory_equal(ctx->data.data, text, bytes);
    unlink_it(ctx);
    destroy_all(ctx);
    provider_close(ctx);
    pd_tls_front_close(front);
    assert_int_equal(system(clean), 0);
}

static void attach_is_denied(struct ctx *ctx, const char *cert_path, const char *host, int port)
{
    pd_autofree char *text = pd_asprintf("%s:%d", host, port);
    struct pd_docker_address address;

    assert_int_equal(pd_docker_address_parse(text, true, cert_path, &address, NULL), 0);
    pd_docker_attach_open(&ctx->loop, &address, "/x", "x", on_link, ctx);
    wait_done(ctx);
    if (ctx->kind != PD_DENIED)
        fail_msg("%s: %s", text, ctx->msg);
    pd_docker_address_fini(&address);
}

/* Neither calls nor links go to a peer that our authority does not vouch for. */
static void test_peer_that_is_not_trusted(void **state)
{
    struct ctx *ctx = *state;
    char folder[] = "/tmp/pd-tls-XXXXXX";
    pd_autofree char *host = NULL;
    pd_autofree char *swap = NULL;
    pd_autofree char *clean = NULL;
    struct pd_tls_front *front;

    assert_non_null(mkdtemp(folder));
    front = pd_tls_front_open(folder, "/nonexistent");
    host = pd_asprintf("tcp://127.0.0.1:%d", pd_tls_front_port(front));
    swap = pd_asprintf("cp %s/other-ca.pem %s/ca.pem", folder, folder);
    clean = pd_asprintf("rm -r %s", folder);
    /* Vouched for, but for another name than the one it was asked by. */
    attach_is_denied(ctx, folder, "tcp://localhost", pd_tls_front_port(front));
    assert_int_equal(system(swap), 0);
    ctx->cert_path = folder;
    provider_open(ctx, host, cat);
    assert_int_equal(ctx->provider->ops->list(ctx->provider, on_list, ctx, NULL), 0);
    wait_done(ctx);
    assert_int_equal(ctx->kind, PD_DENIED);
    attach_is_denied(ctx, folder, "tcp://127.0.0.1", pd_tls_front_port(front));
    provider_close(ctx);
    pd_tls_front_close(front);
    assert_int_equal(system(clean), 0);
}

static void look_inside(struct ctx *ctx, const char *id)
{
    create_well(ctx, id);
    assert_int_equal(link_to(ctx, ctx->id), 0);
    ctx->stream->ops->read(ctx->stream, true);
    ctx->want_bytes = SIZE_MAX;
    say(ctx, "go\n", SIZE_MAX); /* until it ends */
    assert_true(ctx->ended);
    unlink_it(ctx);
}

static void assert_says(struct ctx *ctx, const char *text)
{
    if (!strstr(ctx->data.data, text))
        fail_msg("'%s' is not in:\n%s", text, ctx->data.data);
}

/* `before`, followed by the user that this sandbox's agent runs as. */
static void assert_says_user(struct ctx *ctx, const char *before)
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
    struct ctx *ctx = *state;
    char own_net[64] = "";

    NEED_ENGINE();
    provider_open(ctx, NULL, look);
    ensure_ready(ctx);
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
    struct ctx *ctx = *state;

    NEED_ENGINE();
    ctx->spec->isolation = PD_ISOLATION_UID;
    provider_open(ctx, NULL, look);
    ensure_ready(ctx);
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
    struct ctx *ctx = *state;

    NEED_ENGINE();
    ctx->spec->isolation = PD_ISOLATION_CONTAINER;
    provider_open(ctx, NULL, look);
    ensure_ready(ctx);
    look_inside(ctx, "inside-container");
    assert_says_user(ctx, "uid=");
    assert_says(ctx, "CapBnd:\t0000000000000000");
    assert_null(strstr(ctx->data.data, "masked=0\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_life_of_a_sandbox, setup, teardown),
        cmocka_unit_test_setup_teardown(test_create_is_idempotent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_create_starts_what_was_only_created, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_container_of_others_is_not_touched, setup, teardown),
        cmocka_unit_test_setup_teardown(test_death_is_told_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_engine_that_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_had_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_image_that_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_that_fails_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_cancels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_link_to_what_cannot_be_linked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_writes_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_big_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_volume_that_is_half_filled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_carrier_left_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ensure_many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_engine_behind_tls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_that_is_not_trusted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_confinement_of_cell, setup, teardown),
        cmocka_unit_test_setup_teardown(test_confinement_of_uid, setup, teardown),
        cmocka_unit_test_setup_teardown(test_confinement_of_container, setup, teardown),
    };
    signal(SIGPIPE, SIG_IGN); /* as the service does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
