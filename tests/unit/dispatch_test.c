/* Runs and sandboxes brought together: starting, waiting, refusing, the dispatcher's life. */
#include "tests/lib/dispatch_rig.h"

/* ---- starting ---- */

static void test_a_warm_sandbox_starts_at_once(void **state)
{
    struct world *world = world_new(SHARED, 1);

    (void)state;
    assert_int_equal(submit(world, "a", "k", "print hello"), 0);
    assert_int_equal(warm_count(world), 0);
    assert_int_equal(demand(world)->queued, 0);
    until(world, "a");
    assert_int_equal(world->wants[0].how, RAN);
    assert_int_equal(world->wants[0].output, 5);
    assert_int_equal(world->links[0]->granted, 5);
    assert_int_equal(warm_count(world), 1);
    assert_int_equal(demand(world)->warm_hits, 1);
    assert_int_equal(demand(world)->runs, 1);
    assert_int_equal(pd_dispatch_busy(world->dispatch), 0);
    world_free(world);
}

static void test_queued_until_a_sandbox_is_free(void **state)
{
    struct world *world = world_new(SHARED, 1);

    (void)state;
    submit(world, "a", "k", "print 1");
    submit(world, "b", "k", "print 2");
    submit(world, "c", "k", "print 3");
    assert_int_equal(demand(world)->queued, 2);
    until(world, "c");
    assert_string_equal(world->order, "a b c ");
    assert_int_equal(world->links[0]->runs, 3);
    assert_int_equal(demand(world)->queued, 0);
    assert_int_equal(demand(world)->runs, 3);
    assert_int_equal(demand(world)->warm_hits, 1);
    world_free(world);
}

/* minSize 0: the first request waits for the first sandbox. */
static void test_a_sandbox_that_becomes_warm_is_used(void **state)
{
    struct world *world = world_new("minSize: 0, " SHARED, 0);

    (void)state;
    assert_int_equal(submit(world, "a", "k", "print x"), 0);
    assert_int_equal(demand(world)->queued, 1);
    pd_loop_for(&world->loop, 20);
    assert_false(world->wants[0].done);
    add_sandbox(world);
    until(world, "a");
    assert_int_equal(world->wants[0].how, RAN);
    world_free(world);
}

static void test_keys_take_turns(void **state)
{
    struct world *world = world_new(SHARED, 1);

    (void)state;
    submit(world, "first", "greedy", "print x");
    submit(world, "g1", "greedy", "print x");
    submit(world, "g2", "greedy", "print x");
    submit(world, "g3", "greedy", "print x");
    submit(world, "m1", "modest", "print x");
    submit(world, "o1", "other", "print x");
    submit(world, "m2", "modest", "print x");
    until(world, "g3");
    assert_string_equal(world->order, "first g1 m1 o1 g2 m2 g3 ");
    world_free(world);
}

/* A sandbox that serves another key is no use to the first in turn, but must
 * not be kept from the next. */
static void test_a_key_without_sandbox_does_not_block_others(void **state)
{
    struct world *world = world_new("minSize: 1, maxSize: 2, recycle: {share: false}", 2);

    (void)state;
    submit(world, "a", "ka", "print x");
    submit(world, "b", "kb", "print x");
    until(world, "a");
    until(world, "b");
    assert_int_equal(submit(world, "c", "kc", "print x"), 0);
    assert_int_equal(demand(world)->no_sandbox_for_key, 1);
    submit(world, "a2", "ka", "sleep 5");
    submit(world, "b2", "kb", "print x");
    until(world, "b2");
    until(world, "a2");
    assert_false(want_named(world, "c")->done);
    pd_job_cancel(want_named(world, "c")->job);
    assert_int_equal(pd_dispatch_busy(world->dispatch), 0);
    world_free(world);
}

/* ---- refusing ---- */

static void test_unknown_pool(void **state)
{
    struct world *world = world_new(SHARED, 1);
    struct want *want = &world->wants[0];
    struct pd_job_request request = {.pool = "q", .key_id = "k", .run = &want->run};
    struct pd_err err;

    (void)state;
    assert_int_equal(pd_dispatch_submit(world->dispatch, &request, &job_events, want, &want->job,
                                        &want->retry_after_s, &err),
                     PD_NOT_FOUND);
    world_free(world);
}

static void test_what_the_agent_cannot_take(void **state)
{
    struct world *world = world_new(SHARED, 1);

    (void)state;
    assert_int_equal(submit(world, "a", "k", "invalid"), PD_INVALID);
    assert_int_equal(world->wants[0].retry_after_s, 0);
    assert_int_equal(warm_count(world), 1);
    submit(world, "b", "k", "hold");
    submit(world, "c", "k", "invalid");
    pd_run_cancel(world->links[0]);
    until(world, "c");
    assert_int_equal(want_named(world, "c")->how, FAILED);
    assert_int_equal(want_named(world, "c")->kind, PD_INVALID);
    assert_int_equal(warm_count(world), 1);
    world_free(world);
}

static void test_full_queue_refuses_whoever_fills_it(void **state)
{
    struct world *world = world_new("queue: {maxLength: 3}, " SHARED, 1);

    (void)state;
    submit(world, "run", "g", "hold");
    submit(world, "g1", "g", "print x");
    submit(world, "g2", "g", "print x");
    submit(world, "g3", "g", "print x");
    assert_int_equal(submit(world, "g4", "g", "print x"), PD_THROTTLED);
    assert_true(want_named(world, "g4")->retry_after_s >= 1);
    /* Another key's first takes the place of the newest of the longest line. */
    assert_int_equal(submit(world, "m1", "m", "print x"), 0);
    assert_true(want_named(world, "g3")->done);
    assert_int_equal(want_named(world, "g3")->kind, PD_THROTTLED);
    assert_true(want_named(world, "g3")->retry_after_s >= 1);
    /* Two and one: a second of that key would only swap the sides. */
    assert_int_equal(submit(world, "m2", "m", "print x"), PD_THROTTLED);
    assert_int_equal(demand(world)->queued, 3);
    pd_run_cancel(world->links[0]);
    until(world, "g2");
    assert_string_equal(world->order, "g3 run g1 m1 g2 ");
    world_free(world);
}

static void test_waiting_ends(void **state)
{
    struct world *world = world_new("queue: {maxWait: 50ms}, " SHARED, 1);

    (void)state;
    submit(world, "run", "k", "hold");
    submit(world, "late", "k", "print x");
    until(world, "late");
    assert_int_equal(want_named(world, "late")->how, FAILED);
    assert_int_equal(want_named(world, "late")->kind, PD_TIMEOUT);
    assert_true(want_named(world, "late")->retry_after_s >= 1);
    assert_int_equal(demand(world)->queued, 0);
    assert_false(want_named(world, "run")->done);
    world_free(world);
}

static void test_refused_at_once_when_it_cannot_start_in_time(void **state)
{
    struct world *world = world_new("minSize: 1, maxSize: 1, queue: {maxWait: 250ms}, " SHARED, 1);
    int rc = 0;
    int accepted = 0;

    (void)state;
    submit(world, "measure", "k", "sleep 100");
    until(world, "measure");
    submit(world, "run", "k", "hold");
    while (rc == 0 && accepted < 10) {
        rc = submit(world, "more", "k", "print x");
        accepted += rc == 0;
    }
    assert_int_equal(rc, PD_UNAVAILABLE);
    assert_in_range(accepted, 1, 4); /* of about 100 ms each, 250 ms hold two */
    world_free(world);
}

/* ---- keys' limits, and patience ---- */

static struct pd_key_limits limits_of(void *arg, const char *key_id)
{
    (void)arg;
    return (struct pd_key_limits){.share = *key_id == 's' ? 3 : 1,
                                  .concurrency = *key_id == 'l' ? 1 : 0};
}

static void test_concurrency_of_a_key(void **state)
{
    struct world *world = world_new("minSize: 3, maxSize: 3, " SHARED, 3);

    (void)state;
    pd_dispatch_set_limits(world->dispatch, limits_of, NULL);
    submit(world, "l1", "l", "hold");
    submit(world, "l2", "l", "print x");
    submit(world, "o1", "o", "print x"); /* is not held up by who waits for himself */
    until(world, "o1");
    assert_false(want_named(world, "l2")->done);
    pd_job_cancel(want_named(world, "l1")->job);
    until(world, "l2");
    world_free(world);
}

/* Places of a key that come and go: none at first. */
struct places {
    int count;
    int uses, refusals;
};

static struct pd_key_limits places_of(void *arg, const char *key_id)
{
    const struct places *places = arg;

    return (struct pd_key_limits){.share = 1,
                                  .concurrency = *key_id == 'o' ? 0 : places->count};
}

static void on_use(void *arg, const char *key_id, int running, bool at_limit)
{
    struct places *places = arg;

    assert_string_equal(key_id, "p");
    assert_true(at_limit == (running >= places->count));
    places->uses += !at_limit;
    places->refusals += at_limit;
}

static void test_places_that_come(void **state)
{
    struct world *world = world_new("minSize: 3, maxSize: 3, " SHARED, 3);
    struct places places = {.count = PD_KEY_NONE_NOW};
    struct pd_key_demand demand;

    (void)state;
    pd_dispatch_set_limits(world->dispatch, places_of, &places);
    pd_dispatch_on_use(world->dispatch, on_use, &places);
    submit(world, "p1", "p", "hold");
    submit(world, "p2", "p", "print x");
    submit(world, "o1", "o", "print x");
    until(world, "o1");
    demand = pd_dispatch_key_demand(world->dispatch, "p");
    assert_int_equal(demand.running, 0);
    assert_int_equal(demand.waiting, 2);
    assert_int_equal(places.uses, 0);
    assert_true(places.refusals > 0);
    places.count = 1;
    pd_dispatch_pump(world->dispatch);
    demand = pd_dispatch_key_demand(world->dispatch, "p");
    assert_int_equal(demand.running, 1);
    assert_int_equal(demand.waiting, 1);
    assert_int_equal(places.uses, 1);
    places.count = 2;
    pd_dispatch_pump(world->dispatch);
    until(world, "p2");
    world_free(world);
}

static void test_shares(void **state)
{
    struct world *world = world_new("minSize: 1, maxSize: 1, " SHARED, 1);

    (void)state;
    pd_dispatch_set_limits(world->dispatch, limits_of, NULL);
    submit(world, "x", "o", "sleep 20");
    submit(world, "o1", "o", "print x");
    submit(world, "o2", "o", "print x");
    submit(world, "s1", "s", "print x");
    submit(world, "s2", "s", "print x");
    submit(world, "s3", "s", "print x");
    submit(world, "s4", "s", "print x");
    until(world, "o2");
    until(world, "s4");
    assert_string_equal(world->order, "x o1 s1 s2 s3 o2 s4 ");
    world_free(world);
}

static void test_the_patient_wait(void **state)
{
    struct world *world = world_new("queue: {maxWait: 50ms, maxLength: 1}, " SHARED, 1);

    (void)state;
    submit(world, "run", "k", "hold");
    world->patient = true;
    assert_int_equal(submit(world, "p1", "k", "print x"), 0);
    assert_int_equal(submit(world, "p2", "k", "print x"), 0); /* the queue's length is not theirs */
    world->patient = false;
    assert_int_equal(submit(world, "late", "k", "print x"), 0); /* nor are they in its way */
    until(world, "late");
    assert_int_equal(want_named(world, "late")->kind, PD_TIMEOUT);
    assert_false(want_named(world, "p1")->done);
    pd_job_cancel(want_named(world, "run")->job);
    until(world, "p2");
    assert_int_equal(want_named(world, "p1")->how, RAN);
    world_free(world);
}

/* ---- health and life ---- */

static void test_health(void **state)
{
    struct world *world = world_new(SHARED, 4);
    const char *sentence = "";

    (void)state;
    assert_true(pd_dispatch_is_healthy(world->dispatch, &sentence));
    submit(world, "a", "k", "exit 1");
    until(world, "a");
    assert_true(pd_dispatch_is_healthy(world->dispatch, &sentence));
    submit(world, "b", "k", "lose");
    until(world, "b");
    submit(world, "c", "k", "lose early");
    until(world, "c");
    assert_false(pd_dispatch_is_healthy(world->dispatch, &sentence));
    assert_non_null(strstr(sentence, "pool p"));
    submit(world, "d", "k", "exit 1");
    until(world, "d");
    assert_true(pd_dispatch_is_healthy(world->dispatch, &sentence));
    world_free(world);
}

static void test_a_deleted_pool_fails_what_waits(void **state)
{
    struct world *world = world_new(SHARED, 1);
    struct pd_err err;

    (void)state;
    submit(world, "run", "k", "sleep 20");
    submit(world, "waits", "k", "print x");
    assert_int_equal(pd_store_pool_delete(world->store, "p", "test", &err), 0);
    assert_int_equal(submit(world, "late", "k", "print x"), PD_UNAVAILABLE);
    until(world, "waits");
    assert_int_equal(want_named(world, "waits")->kind, PD_UNAVAILABLE);
    until(world, "run");
    assert_int_equal(want_named(world, "run")->how, RAN);
    world_free(world);
}

static void on_idle(void *arg)
{
    struct world *world = arg;

    world->idles++;
}

static void test_idle_is_told(void **state)
{
    struct world *world = world_new(SHARED, 1);

    (void)state;
    pd_dispatch_on_idle(world->dispatch, on_idle, world);
    submit(world, "a", "k", "print x");
    submit(world, "b", "k", "print x");
    until(world, "b");
    assert_int_equal(world->idles, 1);
    world_free(world);
}

static void test_closing_ends_everything(void **state)
{
    struct world *world = world_new(SHARED, 1);

    (void)state;
    submit(world, "run", "k", "hold");
    submit(world, "waits", "k", "print x");
    pd_dispatch_close(PD_STEAL(world->dispatch), on_closed, world);
    assert_true(want_named(world, "run")->done);
    assert_true(want_named(world, "waits")->done);
    assert_true(pd_loop_until(&world->loop, &world->closed, WAIT_MS));
    world_free(world);
}

/* Whatever happens, every job accepted ends exactly once and no sandbox is left
 * claimed. `note` checks the once. */
static void test_nothing_is_lost(void **state)
{
    static const char *const codes[] = {"print x", "sleep 1", "exit 1", "invalid", "flood 400000"};
    struct world *world = world_new("queue: {maxLength: 20, maxWait: 5s}, " SHARED, 3);
    unsigned seed = 7;

    (void)state;
    for (int i = 0; i < JOBS_MAX - 1; i++) {
        const char *code = codes[(seed = seed * 1103515245 + 12345) >> 16 & 3];
        const char *key = (seed >> 20 & 1) ? "k1" : "k2";
        struct want *want = &world->wants[world->n_wants];
        if (submit(world, "x", key, i % 7 == 0 ? codes[4] : code) < 0)
            want->done = true;
        else if (i % 11 == 0) {
            pd_job_cancel(want->job);
            want->done = true;
        }
        if (i % 3 == 0)
            uv_run(&world->loop, UV_RUN_NOWAIT);
    }
    for (size_t i = 0; i < world->n_wants; i++)
        assert_true(pd_loop_until(&world->loop, &world->wants[i].done, WAIT_MS));
    pd_loop_for(&world->loop, 10);
    assert_int_equal(pd_dispatch_busy(world->dispatch), 0);
    assert_int_equal(warm_count(world), 3);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_warm_sandbox_starts_at_once),
        cmocka_unit_test(test_queued_until_a_sandbox_is_free),
        cmocka_unit_test(test_a_sandbox_that_becomes_warm_is_used),
        cmocka_unit_test(test_keys_take_turns),
        cmocka_unit_test(test_a_key_without_sandbox_does_not_block_others),
        cmocka_unit_test(test_unknown_pool),
        cmocka_unit_test(test_what_the_agent_cannot_take),
        cmocka_unit_test(test_full_queue_refuses_whoever_fills_it),
        cmocka_unit_test(test_waiting_ends),
        cmocka_unit_test(test_refused_at_once_when_it_cannot_start_in_time),
        cmocka_unit_test(test_concurrency_of_a_key),
        cmocka_unit_test(test_places_that_come),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_the_patient_wait),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_a_deleted_pool_fails_what_waits),
        cmocka_unit_test(test_idle_is_told),
        cmocka_unit_test(test_closing_ends_everything),
        cmocka_unit_test(test_nothing_is_lost),
    };

    return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
