/* Two thousand tasks: how long it takes at ECS's published rates, and that they are
 * never exceeded. The peer is in this process and counts; time there and here passes
 * FACTOR times as fast, the rates with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/time.h"
#include "controller/ecs_reply.h"
#include "controller/provider_ecs.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/loop_until.h"
#include "tests/lib/manifest.h"

#define TASKS 2000
#define FACTOR 20
#define FILL_MS_LEAST ((TASKS - 100) * 1000 / 20 / FACTOR) /* 100 at once, then 20 a second */
#define TIMEOUT_MS 120000
#define LATE_MS 150 /* the first calls, which connect, come later than they were sent */

struct counted {
    double burst, rate, tokens;
    struct pd_time at;
    int exceeded;
};

struct env {
    uv_loop_t loop;
    struct pd_http_peer *peer;
    struct pd_provider *provider;
    struct pd_pool_spec *spec;
    struct counted modify, launch, read;
    int tasks, described, answered, failed;
    bool ready, filled;
    struct pd_time began, filled_at;
};

static void count(struct counted *counted, int n)
{
    struct pd_time now = pd_time_now();
    double seconds = (double)(now.ns - counted->at.ns) / 1e9;

    counted->tokens += seconds * counted->rate * FACTOR;
    counted->tokens = counted->tokens > counted->burst ? counted->burst : counted->tokens;
    counted->at = now;
    counted->tokens -= n;
    counted->exceeded += counted->tokens < -counted->rate * FACTOR * LATE_MS / 1000;
}

static void say(struct pd_peer_connection *connection, const char *body)
{
    pd_autofree char *text =
        pd_asprintf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);

    pd_peer_say(connection, text);
}

static void run_task(struct env *env, struct pd_peer_connection *connection,
                     const struct pd_node *body)
{
    int n = (int)pd_node_int(pd_node_get(body, "count"), 1);
    struct pd_buf out;

    pd_buf_init(&out, 65536);
    assert_int_equal(pd_buf_addf(&out, NULL, "{\"failures\":[],\"tasks\":["), 0);
    for (int i = 0; i < n; i++)
        assert_int_equal(pd_buf_addf(&out, NULL, "%s{\"taskArn\":\"arn:aws:ecs:r:1:task/c/%08d\"}",
                                     i ? "," : "", env->tasks++),
                         0);
    assert_int_equal(pd_buf_addf(&out, NULL, "]}"), 0);
    count(&env->modify, 1);
    count(&env->launch, n);
    say(connection, out.data);
    pd_buf_fini(&out);
}

static void describe_tasks(struct env *env, struct pd_peer_connection *connection,
                           const struct pd_node *body)
{
    const struct pd_node *arn;
    struct pd_buf out;

    pd_buf_init(&out, 65536);
    assert_int_equal(pd_buf_addf(&out, NULL, "{\"failures\":[],\"tasks\":["), 0);
    for (size_t i = 0; (arn = pd_ecs_item(body, "tasks", i)); i++)
        assert_int_equal(pd_buf_addf(&out, NULL,
                                     "%s{\"taskArn\":\"%s\",\"lastStatus\":\"PENDING\","
                                     "\"desiredStatus\":\"RUNNING\"}",
                                     i ? "," : "", arn->string.text),
                         0);
    assert_int_equal(pd_buf_addf(&out, NULL, "]}"), 0);
    count(&env->read, 1);
    env->described++;
    say(connection, out.data);
    pd_buf_fini(&out);
}

static void on_request(void *arg, struct pd_peer_connection *connection, const char *request)
{
    struct env *env = arg;
    const char *text = strstr(request, "\r\n\r\n") + 4;
    pd_autonode struct pd_node *body = NULL;

    assert_int_equal(pd_json_parse(text, strlen(text), &body, NULL), 0);
    if (strstr(request, ".RunTask") && pd_node_get(body, "clientToken")) {
        run_task(env, connection, body);
    } else if (strstr(request, ".DescribeTasks")) {
        describe_tasks(env, connection, body);
    } else if (strstr(request, ".ListTasks")) {
        count(&env->read, 1);
        say(connection, "{\"taskArns\":[]}");
    } else {
        say(connection,
            "{\"taskDefinition\":{\"taskDefinitionArn\":\"d:1\",\"status\":\"ACTIVE\"}}");
    }
}

static const char manifest[] =
    "apiVersion: paddock.dev/v1\nkind: SandboxPool\nmetadata: {name: p}\n"
    "spec: {provider: ecs, image: i, maxSize: 10000}\n";

static void on_ready(void *arg, const struct pd_err *err)
{
    struct env *env = arg;

    if (err)
        fail_msg("%s", err->msg);
    env->ready = true;
}

static void on_created(void *arg, const struct pd_err *err, const char *provider_id)
{
    struct env *env = arg;

    (void)provider_id;
    env->failed += err != NULL;
    if (++env->answered < TASKS)
        return;
    env->filled = true;
    env->filled_at = pd_time_now();
}

static void on_link(void *arg, const struct pd_err *err, struct pd_stream *stream)
{
    (void)arg;
    assert_non_null(err); /* canceled: these tasks never run */
    assert_null(stream);
}

static void set_up(struct env *env)
{
    struct pd_ecs_config config = {.instance = "i",
                                   .cluster = "c",
                                   .subnets = "s",
                                   .security_groups = "g",
                                   .agent_image = "a",
                                   .execution_role_arn = "",
                                   .rate_factor = FACTOR};
    pd_autofree char *url = NULL;

    *env = (struct env){.modify = {.burst = 100, .rate = 40, .tokens = 100},
                        .launch = {.burst = 100, .rate = 20, .tokens = 100},
                        .read = {.burst = 100, .rate = 20, .tokens = 100}};
    env->modify.at = env->launch.at = env->read.at = pd_time_now();
    assert_int_equal(uv_loop_init(&env->loop), 0);
    env->peer = pd_http_peer_open(&env->loop, NULL, on_request, env);
    url = pd_asprintf("http://127.0.0.1:%d", pd_http_peer_port(env->peer));
    setenv("AWS_ENDPOINT_URL_ECS", url, 1);
    setenv("AWS_REGION", "eu-west-1", 1);
    setenv("AWS_ACCESS_KEY_ID", "AK", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
    env->spec = pd_test_pool(manifest, PD_PROVIDER_ECS);
    assert_int_equal(pd_provider_ecs_new(&env->loop, &config, &env->provider, NULL), 0);
}

static void test_two_thousand(void **state)
{
    static struct env env;
    int64_t took_ms;

    (void)state;
    set_up(&env);
    assert_int_equal(env.provider->ops->ensure_ready(env.provider, env.spec, on_ready, &env, NULL),
                     0);
    assert_true(pd_loop_until(&env.loop, &env.ready, TIMEOUT_MS));
    env.began = pd_time_now();
    for (int i = 0; i < TASKS; i++) {
        pd_autofree char *id = pd_asprintf("p-%04d", i);
        assert_int_equal(
            env.provider->ops->create(env.provider, env.spec, id, on_created, &env, NULL), 0);
    }
    assert_true(pd_loop_until(&env.loop, &env.filled, TIMEOUT_MS));
    took_ms = pd_time_ms_between(env.began, env.filled_at);
    /* Somebody waits for the first of them: all are looked after meanwhile. */
    assert_int_equal(env.provider->ops->link(env.provider, "arn:aws:ecs:r:1:task/c/00000000",
                                             on_link, &env, NULL),
                     0);
    pd_loop_for(&env.loop, 2000);
    print_message(
        "%d tasks in %.1f s at the published rates (%.1f s is the least), %d calls of "
        "DescribeTasks in 2 s of %d-fold time\n",
        TASKS, (double)took_ms * FACTOR / 1000, (double)FILL_MS_LEAST * FACTOR / 1000,
        env.described, FACTOR);
    assert_int_equal(env.failed, 0);
    assert_int_equal(env.tasks, TASKS); /* none twice */
    assert_int_equal(env.modify.exceeded + env.launch.exceeded + env.read.exceeded, 0);
    assert_true(took_ms >= FILL_MS_LEAST * 9 / 10);
    assert_true(took_ms <= FILL_MS_LEAST * 2 + 2000); /* a loaded machine is late */
    assert_true(env.described >= TASKS / 100);
    env.provider->ops->close(env.provider, NULL, NULL);
    pd_loop_for(&env.loop, 50);
    pd_http_peer_close(env.peer);
    assert_true(pd_loop_finish(&env.loop, 10000));
    pd_pool_spec_unref(env.spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_thousand)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
