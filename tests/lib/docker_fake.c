#include "tests/lib/docker_fake.h"

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

void docker_fake_rule(struct docker_fake *ctx, struct docker_fake_rule rule)
{
    assert_true(ctx->n_rules < DOCKER_FAKE_RULES_MAX);
    ctx->rules[ctx->n_rules++] = rule;
}

void docker_fake_answer(struct docker_fake *ctx, const char *request, const char *answer)
{
    docker_fake_rule(ctx, (struct docker_fake_rule){.request = request, .answer = answer});
}

void docker_fake_answer_times(struct docker_fake *ctx, const char *request, const char *answer,
                              unsigned times)
{
    docker_fake_rule(
        ctx, (struct docker_fake_rule){.request = request, .answer = answer, .times = times});
}

void docker_fake_answer_and_end(struct docker_fake *ctx, const char *request, const char *answer)
{
    docker_fake_rule(ctx,
                     (struct docker_fake_rule){.request = request, .answer = answer, .end = true});
}

char *docker_fake_json(int status, const char *body)
{
    return pd_asprintf(
        "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: "
        "%zu\r\n\r\n%s",
        status, strlen(body), body);
}

static const struct {
    const char *request;
    int status;
    const char *body;
} defaults[] = {
    {"GET /version", 200, "{\"ApiVersion\":\"1.50\",\"MinAPIVersion\":\"1.24\"}"},
    {"GET /v1.41/info", 200,
     "{\"ID\":\"FAKE\",\"SecurityOptions\":[\"name=apparmor\","
     "\"name=seccomp,profile=default\"],\"CgroupVersion\":\"2\"}"},
    {"GET /v1.41/images/", 200, "{\"Config\":{\"Volumes\":{\"/data\":{}}}}"},
    {"GET /v1.41/_ping", 200, "{}"},
    {"POST /v1.41/containers/create", 201, "{\"Id\":\"" DOCKER_FAKE_CONTAINER "\"}"},
    {"POST /v1.41/containers/" DOCKER_FAKE_CONTAINER "/start", 204, ""},
    {"DELETE /v1.41/containers/", 204, ""},
    {"GET /v1.41/containers/" DOCKER_FAKE_CONTAINER "/json", 200,
     "{\"State\":{\"Status\":\"running\"}}"},
    {"GET /v1.41/containers/json", 200, "[]"},
};

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static void say(struct pd_peer_connection *connection, const char *text, bool end)
{
    if (text)
        pd_peer_say(connection, text);
    if (end)
        pd_peer_end(connection);
}

static void on_request(void *arg, struct pd_peer_connection *connection, const char *request)
{
    struct docker_fake *ctx = arg;

    assert_int_equal(pd_buf_addf(&ctx->asked, NULL, "%s\n", request), 0);
    if (begins(request, "GET /v1.41/events") || strstr(request, "/attach?"))
        ctx->stream = connection;
    for (size_t i = 0; i < ctx->n_rules; i++) {
        struct docker_fake_rule *rule = &ctx->rules[i];
        if (!rule->request || !begins(request, rule->request))
            continue;
        say(connection, rule->answer, rule->end);
        if (rule->times > 0 && --rule->times == 0)
            rule->request = NULL;
        return;
    }
    for (size_t i = 0; i < PD_COUNT(defaults); i++) {
        if (begins(request, defaults[i].request)) {
            pd_autofree char *answer = docker_fake_json(defaults[i].status, defaults[i].body);
            say(connection, answer, false);
            return;
        }
    }
}

/* ---- callbacks ---- */

static void take_err(struct docker_fake *ctx, const struct pd_err *err)
{
    assert_false(ctx->done);
    ctx->kind = err ? err->kind : 0;
    pd_strcpy(ctx->msg, sizeof ctx->msg, err ? err->msg : "");
    ctx->done = true;
}

void docker_fake_on_done(void *arg, const struct pd_err *err)
{
    take_err(arg, err);
}

void docker_fake_on_create(void *arg, const struct pd_err *err, const char *provider_id)
{
    struct docker_fake *ctx = arg;

    pd_strcpy(ctx->id, sizeof ctx->id, provider_id ? provider_id : "");
    take_err(ctx, err);
}

void docker_fake_on_list(void *arg, const struct pd_err *err, const struct pd_instance *instances,
                         size_t count)
{
    (void)instances;
    assert_true(err || count == 0);
    take_err(arg, err);
}

void docker_fake_on_link(void *arg, const struct pd_err *err, struct pd_stream *stream)
{
    struct docker_fake *ctx = arg;

    ctx->link = stream;
    take_err(ctx, err);
}

void docker_fake_on_data(void *arg, const void *data, size_t len)
{
    struct docker_fake *ctx = arg;

    assert_int_equal(pd_buf_add(&ctx->data, data, len, NULL), 0);
    ctx->got_data = true;
}

void docker_fake_on_end(void *arg, const struct pd_err *err)
{
    struct docker_fake *ctx = arg;

    assert_false(ctx->ended);
    ctx->end_kind = err->kind;
    ctx->ended = true;
}

void docker_fake_on_event(void *arg, const struct pd_provider_event *event)
{
    struct docker_fake *ctx = arg;

    if (event->type == PD_PROVIDER_UP) {
        ctx->ups++;
        ctx->up = true;
    } else if (event->type == PD_PROVIDER_DOWN) {
        ctx->downs++;
        ctx->down = true;
        pd_strcpy(ctx->down_reason, sizeof ctx->down_reason, event->reason);
    } else {
        ctx->changes++;
        ctx->changed = true;
    }
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

/* ---- steps ---- */

int docker_fake_set_up(void **state)
{
    struct docker_fake *ctx = PD_NEW(struct docker_fake);
    pd_autofree char *host = NULL;
    struct pd_docker_config config = {.instance = "me"};
    static unsigned serial;

    uv_loop_init(&ctx->loop);
    snprintf(ctx->path, sizeof ctx->path, "/tmp/pd-fake-%d-%u", (int)getpid(), serial++);
    ctx->peer = pd_http_peer_open(&ctx->loop, ctx->path, on_request, ctx);
    host = pd_asprintf("unix://%s", ctx->path);
    config.host = host;
    pd_buf_init(&ctx->asked, 16 << 20);
    pd_buf_init(&ctx->data, 1 << 20);
    ctx->spec = pd_test_spec("py", PD_ISOLATION_CELL);
    *state = ctx;
    return pd_provider_docker_new(&ctx->loop, &config, &ctx->provider, NULL);
}

int docker_fake_tear_down(void **state)
{
    struct docker_fake *ctx = *state;
    bool closed = false, finished;

    if (ctx->link)
        ctx->link->ops->close(ctx->link, NULL, NULL);
    ctx->provider->ops->close(ctx->provider, on_closed, &closed);
    assert_true(pd_loop_until(&ctx->loop, &closed, DOCKER_FAKE_WAIT_MS));
    pd_http_peer_close(ctx->peer);
    finished = pd_loop_finish(&ctx->loop, DOCKER_FAKE_WAIT_MS);
    unlink(ctx->path);
    pd_pool_spec_unref(ctx->spec);
    pd_buf_fini(&ctx->asked);
    pd_buf_fini(&ctx->data);
    free(ctx);
    return finished ? 0 : -1;
}

void docker_fake_wait(struct docker_fake *ctx, bool *flag)
{
    assert_true(pd_loop_until(&ctx->loop, flag, DOCKER_FAKE_WAIT_MS));
    *flag = false;
}

int docker_fake_create(struct docker_fake *ctx)
{
    assert_int_equal(ctx->provider->ops->create(ctx->provider, ctx->spec, "s1",
                                                docker_fake_on_create, ctx, NULL),
                     0);
    docker_fake_wait(ctx, &ctx->done);
    return ctx->kind;
}

int docker_fake_list(struct docker_fake *ctx)
{
    assert_int_equal(ctx->provider->ops->list(ctx->provider, docker_fake_on_list, ctx, NULL), 0);
    docker_fake_wait(ctx, &ctx->done);
    return ctx->kind;
}

int docker_fake_destroy(struct docker_fake *ctx)
{
    assert_int_equal(ctx->provider->ops->destroy(ctx->provider, DOCKER_FAKE_CONTAINER,
                                                 docker_fake_on_done, ctx, NULL),
                     0);
    docker_fake_wait(ctx, &ctx->done);
    return ctx->kind;
}

int docker_fake_link(struct docker_fake *ctx)
{
    assert_int_equal(ctx->provider->ops->link(ctx->provider, DOCKER_FAKE_CONTAINER,
                                              docker_fake_on_link, ctx, NULL),
                     0);
    docker_fake_wait(ctx, &ctx->done);
    if (ctx->link) {
        ctx->link->on_data = docker_fake_on_data;
        ctx->link->on_end = docker_fake_on_end;
        ctx->link->arg = ctx;
    }
    return ctx->kind;
}

bool docker_fake_was_asked(struct docker_fake *ctx, const char *text)
{
    return ctx->asked.data && strstr(ctx->asked.data, text);
}
