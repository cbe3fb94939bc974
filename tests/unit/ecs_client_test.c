#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/mem.h"
#include "controller/ecs_bucket.h"
#include "controller/ecs_client.h"
#include "controller/ecs_error.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/loop_until.h"

struct env {
    uv_loop_t loop;
    struct pd_http_peer *peer;
    struct pd_ecs_client *client;
    char url[64];
    const char *answers[10]; /* one for each request; the last for all that follow */
    int requests;
    char seen[4096]; /* the last request */
    bool silent;     /* the first request is not answered, its connection ends */
    bool done;
    int told, kind;
    char message[PD_ERR_MSG_MAX];
};

#define OK "200 OK\r\n\r\n{\"taskArns\":[]}"
#define THROTTLED "400 B\r\n\r\n{\"__type\":\"ThrottlingException\",\"message\":\"Rate exceeded\"}"

/* "status line and headers, blank line, body" */
static void say(struct pd_peer_connection *connection, const char *text)
{
    const char *body = strstr(text, "\r\n\r\n");
    pd_autofree char *head = pd_strndup(text, (size_t)(body - text));
    pd_autofree char *answer =
        pd_asprintf("HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", head,
                    strlen(body + 4), body + 4);

    pd_peer_say(connection, answer);
    pd_peer_end(connection);
}

static void on_request(void *arg, struct pd_peer_connection *connection, const char *request)
{
    struct env *env = arg;
    int i = env->requests < 9 ? env->requests : 9;

    env->requests++;
    pd_strcpy(env->seen, sizeof env->seen, request);
    while (i > 0 && !env->answers[i])
        i--;
    if (env->silent && env->requests == 1)
        pd_peer_end(connection);
    else
        say(connection, env->answers[i]);
}

static int set_up(void **state)
{
    struct env *env = PD_NEW(struct env);
    struct pd_ecs_client_config config = {
        .region = "eu-west-1", .endpoint = env->url, .rate_factor = 20};

    setenv("AWS_ACCESS_KEY_ID", "AKTEST", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "hush", 1);
    uv_loop_init(&env->loop);
    env->peer = pd_http_peer_open(&env->loop, NULL, on_request, env);
    snprintf(env->url, sizeof env->url, "http://127.0.0.1:%d", pd_http_peer_port(env->peer));
    env->client = pd_ecs_client_new(&env->loop, &config);
    env->answers[0] = OK;
    *state = env;
    return 0;
}

static int tear_down(void **state)
{
    struct env *env = *state;

    if (env->client)
        pd_ecs_client_close(env->client, NULL, NULL);
    pd_http_peer_close(env->peer);
    assert_true(pd_loop_finish(&env->loop, 10000));
    free(env);
    return 0;
}

static void on_answer(void *arg, const struct pd_err *err, const struct pd_node *answer)
{
    struct env *env = arg;

    assert_true(!err == !!answer);
    env->told++;
    env->done = true;
    env->kind = err ? err->kind : 0;
    pd_strcpy(env->message, sizeof env->message, err ? err->msg : "");
}

static int call(struct env *env)
{
    pd_autonode struct pd_node *body = pd_node_map_new();

    env->done = false;
    pd_node_set_string(body, "cluster", "c");
    assert_int_equal(pd_ecs_call(env->client, PD_ECS_LIST_TASKS, body, 0, on_answer, env, NULL), 0);
    assert_false(env->done);
    assert_true(pd_loop_until(&env->loop, &env->done, 60000));
    return env->kind;
}

static void test_wire(void **state)
{
    struct env *env = *state;

    assert_int_equal(call(env), 0);
    assert_non_null(strstr(env->seen, "POST / HTTP/1.1\r\n"));
    assert_non_null(strstr(env->seen, "Content-Type: application/x-amz-json-1.1\r\n"));
    assert_non_null(
        strstr(env->seen, "X-Amz-Target: AmazonEC2ContainerServiceV20141113.ListTasks\r\n"));
    assert_non_null(strstr(env->seen, "SignedHeaders=content-type;host;x-amz-date;x-amz-target,"));
    assert_non_null(strstr(env->seen, "\r\n\r\n{\"cluster\":\"c\"}"));
    assert_null(strstr(env->seen, "hush"));
}

static void test_failures(void **state)
{
    static const struct {
        const char *answer;
        int kind, requests;
        const char *says;
    } cases[] = {
        {"400 "
         "B\r\n\r\n{\"__type\":\"com.amazonaws.ecs#ClusterNotFoundException\",\"message\":\"x\"}",
         PD_NOT_FOUND, 1, "ClusterNotFoundException"},
        {"400 B\r\nX-Amzn-Errortype: AccessDeniedException:http://x/\r\n\r\n{\"Message\":\"no\"}",
         PD_DENIED, 1, "ecs:ListTasks is not allowed"},
        {"400 B\r\n\r\n{\"__type\":\"ClientException\",\"message\":\"Capacity is unavailable at "
         "this time. Please try again later\"}",
         PD_LIMIT, 1, "Capacity"},
        {"400 B\r\n\r\n{\"__type\":\"ClientException\",\"message\":\"bad\"}", PD_INVALID, 1, "bad"},
        {"400 B\r\n\r\nnot json", PD_INVALID, 1, "no code (400)"},
        {"503 B\r\n\r\n", PD_UNAVAILABLE, PD_ECS_ATTEMPTS_MAX, "503"},
        {"500 B\r\n\r\n{\"__type\":\"ServerException\"}", PD_UNAVAILABLE, PD_ECS_ATTEMPTS_MAX,
         "ServerException"},
        {"400 B\r\n\r\n{\"__type\":\"ExpiredTokenException\"}", PD_DENIED, 2, "ExpiredToken"},
        {"200 OK\r\n\r\n[]", PD_UNAVAILABLE, PD_ECS_ATTEMPTS_MAX, "no JSON object"},
    };
    struct env *env = *state;

    for (size_t i = 0; i < PD_COUNT(cases); i++) {
        env->answers[0] = cases[i].answer;
        env->requests = 0;
        call(env);
        if (env->kind != cases[i].kind || env->requests != cases[i].requests ||
            !strstr(env->message, cases[i].says))
            fail_msg("%s: %d after %d, %s", cases[i].answer, env->kind, env->requests,
                     env->message);
    }
}

static void test_throttled_then_well(void **state)
{
    struct env *env = *state;
    uint64_t sent, throttled;

    env->answers[0] = env->answers[1] = env->answers[2] = THROTTLED;
    env->answers[3] = OK;
    assert_int_equal(call(env), 0);
    pd_ecs_client_counts(env->client, &sent, &throttled);
    assert_int_equal(sent, 4);
    assert_int_equal(throttled, 3);
}

static void test_connection_broken(void **state)
{
    struct env *env = *state;

    env->silent = true;
    assert_int_equal(call(env), 0);
    assert_int_equal(env->requests, 2);
}

static void test_clock_is_corrected(void **state)
{
    struct env *env = *state;
    time_t ahead = time(NULL) + 3600;
    char text[256], day[32], date[64], *at;
    struct tm tm;

    gmtime_r(&ahead, &tm);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    strftime(day, sizeof day, "X-Amz-Date: %Y%m%dT%H", &tm);
    snprintf(text, sizeof text,
             "400 B\r\nDate: %s\r\n\r\n{\"__type\":\"InvalidSignatureException\"}", date);
    env->answers[0] = text;
    env->answers[1] = OK;
    assert_int_equal(call(env), 0);
    assert_int_equal(env->requests, 2);
    at = strstr(env->seen, "X-Amz-Date: ");
    assert_non_null(at);
    if (strncmp(at, day, strlen(day)) != 0 && tm.tm_min > 0 && tm.tm_min < 59)
        fail_msg("%.40s, not %s", at, day);
    env->answers[0] = env->answers[1] = text; /* does not help: not for ever */
    env->requests = 0;
    assert_int_equal(call(env), PD_DENIED);
}

static void test_closed_under_way(void **state)
{
    struct env *env = *state;
    pd_autonode struct pd_node *body = pd_node_map_new();

    env->answers[0] = THROTTLED;
    for (int i = 0; i < 300; i++)
        assert_int_equal(pd_ecs_call(env->client, PD_ECS_STOP_TASK, body, 0, on_answer, env, NULL),
                         0);
    pd_loop_for(&env->loop, 30);
    pd_ecs_client_close(PD_STEAL(env->client), NULL, NULL);
    for (int i = 0; i < 500 && env->told < 300; i++)
        pd_loop_for(&env->loop, 10);
    assert_int_equal(env->told, 300);
    assert_int_equal(env->kind, PD_CANCELED);
}

/* Whatever is asked of a bucket, no second holds more than its rate, nor any time
 * more than burst and rate together; and nobody waits longer than that takes. */
static void test_buckets(void **state)
{
    struct pd_ecs_bucket buckets[PD_ECS_BUCKETS];
    struct pd_time start = {1000 * PD_NS_PER_MS};
    int64_t last = 0;

    (void)state;
    pd_ecs_buckets_init(buckets, 1, start);
    for (int i = 0; i < 2000; i++) {
        int64_t at = pd_ecs_bucket_take(&buckets[PD_ECS_BUCKET_LAUNCH], 1, start);
        double allowed = 100 + 20 * (double)at / 1000;
        assert_true(at >= last);
        assert_true(i + 1 <= allowed + 0.01);
        last = at;
    }
    assert_in_range(last, 94900, 95100); /* (2000 - 100) / 20 per second */
    pd_ecs_bucket_drain(&buckets[PD_ECS_BUCKET_READ], start);
    assert_true(pd_ecs_bucket_take(&buckets[PD_ECS_BUCKET_READ], 1, start) > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_wire),
        TEST(test_failures),
        TEST(test_throttled_then_well),
        TEST(test_connection_broken),
        TEST(test_clock_is_corrected),
        TEST(test_closed_under_way),
        cmocka_unit_test(test_buckets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
