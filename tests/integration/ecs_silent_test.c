/* A task whose address never answers: packets are dropped there, or somebody takes the
 * connection and says nothing. Its link ends by a deadline, and so does closing in the
 * midst of it. Time there and here passes FACTOR times as fast, but for one attempt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/mem.h"
#include "controller/ecs_link.h"
#include "controller/provider_ecs.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/loop_until.h"
#include "tests/lib/manifest.h"

#define FACTOR 20
#define TIMEOUT_MS 60000
#define CLIENTS 4
#define ARN "arn:aws:ecs:r:1:task/c/00000001"

struct env {
    uv_loop_t loop;
    struct pd_http_peer *peer;
    struct pd_provider *provider;
    struct pd_pool_spec *spec;
    char address[INET_ADDRSTRLEN];
    int listener, clients[CLIENTS];
    bool ready, created, linked, closed;
    int kind;
    char message[PD_ERR_MSG_MAX];
};

/* One of the loopback network's that nobody else has, with room for one connection in its
 * queue: when that is taken the kernel drops what asks for another. */
static void listen_silently(struct env *env, bool full)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PD_ECS_LINK_PORT)};

    snprintf(env->address, sizeof env->address, "127.%d.%d.%d", 64 + (int)(getpid() >> 14 & 63),
             (int)(getpid() >> 7 & 127), 1 + (int)(getpid() & 127));
    inet_pton(AF_INET, env->address, &address.sin_addr);
    env->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(env->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(env->listener, full ? 0 : 64), 0);
    for (int i = 0; i < CLIENTS; i++) {
        env->clients[i] =
            full ? socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
        if (full)
            (void)!connect(env->clients[i], (struct sockaddr *)&address, sizeof address);
    }
}

static void say(struct pd_peer_connection *connection, const char *body)
{
    pd_autofree char *text =
        pd_asprintf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);

    pd_peer_say(connection, text);
}

static void on_request(void *arg, struct pd_peer_connection *connection, const char *request)
{
    struct env *env = arg;
    pd_autofree char *tasks =
        pd_asprintf("{\"failures\":[],\"tasks\":[{\"taskArn\":\"" ARN
                    "\",\"lastStatus\":\"RUNNING\","
                    "\"desiredStatus\":\"RUNNING\",\"containers\":[{\"networkInterfaces\":"
                    "[{\"privateIpv4Address\":\"%s\"}]}]}]}",
                    env->address);

    if (strstr(request, ".RunTask") || strstr(request, ".DescribeTasks"))
        say(connection, tasks);
    else if (strstr(request, ".ListTasks"))
        say(connection, "{\"taskArns\":[]}");
    else
        say(connection,
            "{\"taskDefinition\":{\"taskDefinitionArn\":\"d:1\",\"status\":\"ACTIVE\"}}");
}

static const char manifest[] =
    "apiVersion: paddock.dev/v1\nkind: SandboxPool\nmetadata: {name: p}\n"
    "spec: {provider: ecs, image: i}\n";

static void on_ready(void *arg, const struct pd_err *err)
{
    assert_null(err);
    ((struct env *)arg)->ready = true;
}

static void on_created(void *arg, const struct pd_err *err, const char *provider_id)
{
    assert_null(err);
    assert_string_equal(provider_id, ARN);
    ((struct env *)arg)->created = true;
}

static void on_link(void *arg, const struct pd_err *err, struct pd_stream *stream)
{
    struct env *env = arg;

    assert_null(stream);
    assert_non_null(err);
    env->linked = true;
    env->kind = err->kind;
    pd_strcpy(env->message, sizeof env->message, err->msg);
}

static void on_closed(void *arg)
{
    ((struct env *)arg)->closed = true;
}

static void begin(struct env *env, bool full)
{
    const struct pd_ecs_config config = {.instance = "i",
                                         .cluster = "c",
                                         .subnets = "s",
                                         .security_groups = "g",
                                         .agent_image = "a",
                                         .execution_role_arn = "",
                                         .rate_factor = FACTOR};
    pd_autofree char *url = NULL;
    struct pd_provider *provider;

    *env = (struct env){.listener = -1};
    assert_int_equal(uv_loop_init(&env->loop), 0);
    listen_silently(env, full);
    env->peer = pd_http_peer_open(&env->loop, NULL, on_request, env);
    url = pd_asprintf("http://127.0.0.1:%d", pd_http_peer_port(env->peer));
    setenv("AWS_ENDPOINT_URL_ECS", url, 1);
    setenv("AWS_REGION", "eu-west-1", 1);
    setenv("AWS_ACCESS_KEY_ID", "AK", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
    env->spec = pd_test_pool(manifest, PD_PROVIDER_ECS);
    assert_int_equal(pd_provider_ecs_new(&env->loop, &config, &env->provider, NULL), 0);
    provider = env->provider;
    assert_int_equal(provider->ops->ensure_ready(provider, env->spec, on_ready, env, NULL), 0);
    assert_true(pd_loop_until(&env->loop, &env->ready, TIMEOUT_MS));
    assert_int_equal(provider->ops->create(provider, env->spec, "p-1", on_created, env, NULL), 0);
    assert_true(pd_loop_until(&env->loop, &env->created, TIMEOUT_MS));
    assert_int_equal(provider->ops->link(provider, ARN, on_link, env, NULL), 0);
}

static void end(struct env *env)
{
    env->provider->ops->close(env->provider, on_closed, env);
    assert_true(pd_loop_until(&env->loop, &env->closed, TIMEOUT_MS));
    pd_http_peer_close(env->peer);
    assert_true(pd_loop_finish(&env->loop, 10000));
    pd_pool_spec_unref(env->spec);
    for (int i = 0; i < CLIENTS; i++) {
        if (env->clients[i] >= 0)
            close(env->clients[i]);
    }
    close(env->listener);
}

static void ends_by_deadline(bool full)
{
    static struct env env;
    struct pd_time began;
    int64_t took_ms;

    begin(&env, full);
    began = pd_time_now();
    assert_true(pd_loop_until(&env.loop, &env.linked, TIMEOUT_MS));
    took_ms = pd_time_ms_between(began, pd_time_now());
    assert_int_equal(env.kind, PD_TIMEOUT);
    assert_non_null(strstr(env.message, "does not answer"));
    assert_true(took_ms >= PD_ECS_LINK_TIMEOUT_MS - 100);
    end(&env);
}

static void test_packets_are_dropped(void **state)
{
    (void)state;
    ends_by_deadline(true);
}

static void test_nothing_is_said(void **state)
{
    (void)state;
    ends_by_deadline(false);
}

static void test_closing_meanwhile(void **state)
{
    static struct env env;

    (void)state;
    begin(&env, true);
    pd_loop_for(&env.loop, 1000);
    assert_false(env.linked);
    end(&env);
    assert_true(env.linked);
    assert_int_equal(env.kind, PD_CANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packets_are_dropped),
        cmocka_unit_test(test_nothing_is_said),
        cmocka_unit_test(test_closing_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
