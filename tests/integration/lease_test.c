/* The lease against a real Redis: one holder at a time, tokens that grow, an end
 * by the holder's own clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/lease.h"
#include "tests/lib/loop_until.h"
#include "tests/lib/redis_server.h"

#define WAIT_MS 60000

struct runner {
    struct pd_redis *redis;
    struct pd_lease *lease;
    bool gained, lost, closed;
    unsigned gains;
};

static void on_gained(void *arg)
{
    struct runner *runner = arg;
    runner->gained = true;
    runner->gains++;
}

static void on_lost(void *arg)
{
    ((struct runner *)arg)->lost = true;
}

static void on_closed(void *arg)
{
    ((struct runner *)arg)->closed = true;
}

static const struct pd_lease_events events = {.gained = on_gained, .lost = on_lost};

static void begin(uv_loop_t *loop, struct pd_redis_server *server, const char *holder,
                  struct runner *runner)
{
    struct pd_redis_url url;
    struct pd_redis_config redis = {.loop = loop, .url = &url};
    struct pd_lease_config lease = {
        .loop = loop, .prefix = "paddock:test", .holder = holder, .events = &events, .arg = runner};

    *runner = (struct runner){.gains = 0};
    assert_int_equal(pd_redis_url_parse(pd_redis_server_unix_url(server), &url, NULL), 0);
    runner->redis = pd_redis_open(&redis);
    pd_redis_url_fini(&url);
    lease.redis = runner->redis;
    runner->lease = pd_lease_open(&lease);
}

static void end(uv_loop_t *loop, struct runner *runner)
{
    pd_lease_close(runner->lease, on_closed, runner);
    assert_true(pd_loop_until(loop, &runner->closed, WAIT_MS));
    runner->closed = false;
    pd_redis_close(runner->redis, on_closed, runner);
    assert_true(pd_loop_until(loop, &runner->closed, WAIT_MS));
}

static long long token_of(const struct runner *runner)
{
    return strtoll(pd_lease_value(runner->lease), NULL, 10);
}

static bool lacks_redis(void)
{
    if (!pd_redis_server_lacks())
        return false;
    printf("SKIP integration/lease: %s\n", pd_redis_server_lacks());
    return true;
}

static void test_one_after_the_other(void **state)
{
    struct pd_redis_server *server;
    struct runner first, second;
    long long token;
    uv_loop_t loop;

    (void)state;
    if (lacks_redis())
        skip();
    server = pd_redis_server_new(NULL);
    uv_loop_init(&loop);
    begin(&loop, server, "first", &first);
    assert_true(pd_loop_until(&loop, &first.gained, WAIT_MS));
    begin(&loop, server, "second", &second);
    pd_loop_for(&loop, PD_LEASE_TTL_MS + 1000); /* longer than it lasts without renewal */
    assert_true(pd_lease_is_held(first.lease));
    assert_int_equal(first.gains, 1);
    assert_false(second.gained);
    assert_string_equal(pd_lease_holder(second.lease), "first");
    token = token_of(&first);
    end(&loop, &first); /* given up: no need to wait for its end */
    assert_true(pd_loop_until(&loop, &second.gained, PD_LEASE_TTL_MS + WAIT_MS));
    assert_true(token_of(&second) > token);
    end(&loop, &second);
    assert_true(pd_loop_finish(&loop, WAIT_MS));
    pd_redis_server_free(server);
}

/* Redis hangs: the holder stops by its own clock, before another could begin. */
static void test_a_silent_redis(void **state)
{
    struct pd_redis_server *server;
    struct runner runner;
    struct pd_time since;
    long long token;
    uv_loop_t loop;

    (void)state;
    if (lacks_redis())
        skip();
    server = pd_redis_server_new(NULL);
    uv_loop_init(&loop);
    begin(&loop, server, "only", &runner);
    assert_true(pd_loop_until(&loop, &runner.gained, WAIT_MS));
    token = token_of(&runner);
    pd_redis_server_freeze(server, true);
    since = pd_time_now();
    assert_true(pd_loop_until(&loop, &runner.lost, WAIT_MS));
    assert_false(pd_lease_is_held(runner.lease));
    assert_true(pd_time_ms_between(since, pd_time_now()) >= 500);
    runner.gained = false;
    pd_redis_server_freeze(server, false);
    assert_true(pd_loop_until(&loop, &runner.gained, WAIT_MS));
    assert_true(token_of(&runner) >= token);
    end(&loop, &runner);
    assert_true(pd_loop_finish(&loop, WAIT_MS));
    pd_redis_server_free(server);
}

/* A Redis that has lost everything still gives greater tokens. */
static void test_tokens_grow_over_a_lost_redis(void **state)
{
    struct pd_redis_server *server;
    struct runner runner;
    long long token;
    uv_loop_t loop;

    (void)state;
    if (lacks_redis())
        skip();
    server = pd_redis_server_new(NULL);
    uv_loop_init(&loop);
    begin(&loop, server, "only", &runner);
    assert_true(pd_loop_until(&loop, &runner.gained, WAIT_MS));
    token = token_of(&runner);
    runner.gained = false;
    assert_true(pd_redis_server_cli(server, "FLUSHALL"));
    assert_true(pd_loop_until(&loop, &runner.gained, WAIT_MS));
    assert_true(runner.lost); /* what it held before is another lease */
    assert_true(token_of(&runner) > token);
    end(&loop, &runner);
    assert_true(pd_loop_finish(&loop, WAIT_MS));
    pd_redis_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_a_silent_redis),
        cmocka_unit_test(test_tokens_grow_over_a_lost_redis),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
