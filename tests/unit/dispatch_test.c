#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/dispatch.h"
#include "api/problem.h"
#include "common/mem.h"
#include "common/yaml.h"
#include "tests/lib/fake_link.h"
#include "tests/lib/loop_until.h"

#define WAIT_MS 5000
#define JOBS_MAX 64
#define LINKS_MAX 8

/* One run asked for, and what became of it. */
struct want {
    struct world *world;
    struct pd_run_request run;
    struct pd_job *job;
    const char *name;
    bool done;
    enum { RAN, FAILED } how;
    enum pd_cause cause;
    int kind; /* of the failure */
    int retry_after_s;
    int64_t queue_us;
    size_t output;
    int abouts;
};

struct world {
    uv_loop_t loop;
    struct pd_store *store;
    struct pd_dispatch *dispatch;
    struct pd_link *links[LINKS_MAX];
    char ids[LINKS_MAX][16];
    size_t n_links;
    struct want wants[JOBS_MAX];
    size_t n_wants;
    char order[256];                    /* names of those that ended, in order */
    const struct pd_job_events *events; /* for the next submit; NULL: job_events */
    bool patient; /* of the next submit */
    bool closed;
    int idles;
};

/* ---- what the dispatcher says ---- */

static void on_output(void *arg, int stream, const void *data, size_t len)
{
    struct want *want = arg;

    (void)stream;
    (void)data;
    want->output += len;
    pd_job_grant(want->job, len);
}

static void note(struct want *want)
{
    char *order = want->world->order;
    size_t used = strlen(order);

    assert_false(want->done);
    want->done = true;
    snprintf(order + used, sizeof want->world->order - used, "%s ", want->name);
}

static void on_ended(void *arg, const struct pd_run_result *result,
                     const struct pd_job_times *times)
{
    struct want *want = arg;

    want->how = RAN;
    want->cause = result->cause;
    want->queue_us = times->queue_us;
    note(want);
}

static void on_failed(void *arg, const struct pd_err *err, int retry_after_s)
{
    struct want *want = arg;

    want->how = FAILED;
    want->kind = err->kind;
    want->retry_after_s = retry_after_s;
    note(want);
}

static const struct pd_job_events job_events = {
    .output = on_output,
    .ended = on_ended,
    .failed = on_failed,
};

/* ---- the world ---- */

static void put_pool(struct world *world, const char *spec_text)
{
    pd_autofree char *text = pd_asprintf(
        "apiVersion: paddock.dev/v1\nkind: SandboxPool\n"
        "metadata: {name: p}\nspec: {image: i, %s}\n",
        spec_text);
    struct pd_problems problems = {.count = 0};
    struct pd_pool_spec *spec = NULL;
    struct pd_schema *schema = NULL;
    struct pd_node *node = NULL;
    struct pd_err err = {.msg = ""};

    assert_int_equal(pd_pool_schema_new(&schema, &err), 0);
    assert_int_equal(pd_yaml_parse(text, strlen(text), &node, &err), 0);
    if (pd_pool_spec_parse(schema, node, PD_PROVIDER_DOCKER, &spec, &problems) < 0)
        fail_msg("%s: %s", problems.items[0].path, problems.items[0].text);
    assert_int_equal(pd_store_pool_put(world->store, spec, "test", &err), 0);
    pd_pool_spec_unref(spec);
    pd_node_free(node);
    pd_schema_free(schema);
}

static void add_sandbox(struct world *world)
{
    size_t i = world->n_links++;
    struct pd_sandbox *sandbox;

    snprintf(world->ids[i], sizeof world->ids[i], "s%zu", i);
    sandbox = pd_store_sandbox_add(world->store, world->ids[i], "p", "hash");
    world->links[i] = fake_link_new(&world->loop);
    sandbox->link = world->links[i];
    pd_store_sandbox_move(world->store, sandbox, PD_SANDBOX_STARTING);
    pd_store_sandbox_move(world->store, sandbox, PD_SANDBOX_WARM);
}

static struct world *world_new(const char *spec_text, size_t sandboxes)
{
    struct world *world = PD_NEW(struct world);

    uv_loop_init(&world->loop);
    world->store = pd_store_new(&world->loop, NULL);
    put_pool(world, spec_text);
    world->dispatch = pd_dispatch_new(&world->loop, world->store, &pd_dispatch_links_real);
    while (sandboxes-- > 0)
        add_sandbox(world);
    return world;
}

static void on_closed(void *arg)
{
    struct world *world = arg;

    world->closed = true;
}

static void world_free(struct world *world)
{
    if (world->dispatch) {
        pd_dispatch_close(world->dispatch, on_closed, world);
        assert_true(pd_loop_until(&world->loop, &world->closed, WAIT_MS));
    }
    for (size_t i = 0; i < world->n_links; i++)
        pd_link_close(world->links[i], NULL, NULL);
    world->closed = false;
    pd_store_close(world->store, on_closed, world);
    assert_true(pd_loop_finish(&world->loop, WAIT_MS));
    free(world);
}

/* Returns what submit says; the want is the last one. */
static int submit(struct world *world, const char *name, const char *key_id, const char *code)
{
    struct want *want = &world->wants[world->n_wants++];
    struct pd_job_request request = {.pool = "p", .key_id = key_id, .run = &want->run, .patient = world->patient};
    struct pd_err err = {.msg = ""};
    int rc;

    assert_true(world->n_wants <= JOBS_MAX);
    *want = (struct want){
        .world = world,
        .name = name,
        .run = {.id = name,
                .language = "python",
                .timeout_ms = 1000,
                .code = code,
                .code_len = strlen(code),
                .stdin_data = ""},
    };
    rc = pd_dispatch_submit(world->dispatch, &request, world->events ? world->events : &job_events,
                            want, &want->job, &want->retry_after_s, &err);
    assert_false(want->done);
    if (rc < 0) {
        assert_int_equal(rc, err.kind);
        assert_true(*err.msg);
    }
    return rc;
}

static struct want *want_named(struct world *world, const char *name)
{
    for (size_t i = 0; i < world->n_wants; i++) {
        if (strcmp(world->wants[i].name, name) == 0)
            return &world->wants[i];
    }
    fail_msg("nobody is named %s", name);
    return NULL;
}

static void until(struct world *world, const char *name)
{
    if (!pd_loop_until(&world->loop, &want_named(world, name)->done, WAIT_MS))
        fail_msg("%s never ended; so far: %s", name, world->order);
}

static int warm_count(struct world *world)
{
    struct pd_sandbox *sandbox;
    int count = 0;

    for (size_t i = 0; (sandbox = pd_store_sandbox_at(world->store, "p", i)); i++)
        count += sandbox->phase == PD_SANDBOX_WARM && !sandbox->recycle;
    return count;
}

static struct pd_demand *demand(struct world *world)
{
    return &pd_store_pool(world->store, "p")->demand;
}

#define SHARED "recycle: {share: true, afterRuns: 1000000}"

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

/* ---- holding ---- */

static void on_about(void *arg, struct pd_job *job)
{
    struct want *want = arg;

    assert_ptr_equal(want->job, job); /* so submit has returned */
    want->abouts++;
}

static const struct pd_job_events held_events = {
    .about = on_about,
    .output = on_output,
    .ended = on_ended,
    .failed = on_failed,
};

static struct want *submit_held(struct world *world, const char *name)
{
    world->events = &held_events;
    assert_int_equal(submit(world, name, "k", "print hello"), 0);
    world->events = NULL;
    return want_named(world, name);
}

static void until_about(struct world *world, struct want *want, int abouts)
{
    for (int i = 0; i < WAIT_MS && want->abouts < abouts; i++)
        pd_loop_for(&world->loop, 1);
    assert_int_equal(want->abouts, abouts);
}

static void test_held_until_told_to_proceed(void **state)
{
    struct world *world = world_new(SHARED, 1);
    struct want *want = submit_held(world, "a");

    (void)state;
    submit(world, "b", "k", "print x");
    until_about(world, want, 1);
    pd_loop_for(&world->loop, 10);
    assert_int_equal(world->links[0]->runs, 0);
    assert_int_equal(warm_count(world), 0);
    assert_false(pd_job_stop(want->job)); /* there is nothing to stop yet */
    pd_job_proceed(want->job);
    until(world, "b");
    assert_string_equal(world->order, "a b ");
    world_free(world);
}

static void test_held_and_canceled(void **state)
{
    struct world *world = world_new(SHARED, 1);
    struct want *want = submit_held(world, "a");

    (void)state;
    submit(world, "b", "k", "print x");
    pd_job_cancel(want->job); /* before it was told */
    until(world, "b");
    assert_int_equal(want->abouts, 0);
    want = submit_held(world, "c");
    until_about(world, want, 1);
    pd_job_cancel(want->job);
    assert_int_equal(warm_count(world), 1);
    assert_int_equal(pd_dispatch_busy(world->dispatch), 0);
    submit_held(world, "d"); /* and one that is held when all ends */
    world_free(world);
}

static void test_held_while_its_sandbox_is_lost(void **state)
{
    struct world *world = world_new(SHARED, 2);
    struct want *want = submit_held(world, "a");
    struct pd_sandbox *sandbox;

    (void)state;
    until_about(world, want, 1);
    for (size_t i = 0; (sandbox = pd_store_sandbox_at(world->store, "p", i)); i++) {
        if (sandbox->phase == PD_SANDBOX_CLAIMED)
            sandbox->link = NULL;
    }
    pd_job_proceed(want->job);
    until_about(world, want, 2);
    pd_job_proceed(want->job);
    until(world, "a");
    assert_int_equal(want->how, RAN);
    world_free(world);
}

/* ---- what reaches a run ---- */

static void test_control(void **state)
{
    struct world *world = world_new(SHARED, 1);
    struct pd_err err;
    int64_t wait_ms;
    struct want *want;

    (void)state;
    submit(world, "a", "k", "cat");
    submit(world, "b", "k", "print x");
    submit(world, "c", "k", "print x");
    want = want_named(world, "a");
    assert_int_equal(pd_job_position(want->job, &wait_ms), 0);
    assert_int_equal(wait_ms, 0);
    assert_int_equal(pd_job_position(want_named(world, "b")->job, &wait_ms), 0);
    assert_int_equal(pd_job_position(want_named(world, "c")->job, &wait_ms), 1);
    assert_true(wait_ms > 0);
    pd_job_signal(want->job, 2);
    assert_int_equal(world->links[0]->last_signal, 2);
    pd_job_resize(want->job, 24, 80);
    assert_int_equal(world->links[0]->cols, 80);
    assert_int_equal(pd_job_stdin(want->job, "abc", 3, &err), 0);
    assert_int_equal(want->output, 3);
    world->links[0]->stdin_full = true;
    assert_int_equal(pd_job_stdin(want->job, "abc", 3, &err), PD_LIMIT);
    pd_job_signal(want_named(world, "b")->job, 9); /* which has not begun */
    assert_int_equal(world->links[0]->last_signal, 2);
    pd_job_stdin_eof(want->job);
    until(world, "c");
    submit(world, "d", "k", "hold");
    assert_true(pd_job_stop(want_named(world, "d")->job));
    until(world, "d"); /* unlike after pd_job_cancel, it is told */
    assert_int_equal(want_named(world, "d")->cause, PD_CAUSE_CANCELED);
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

/* ---- losing ---- */

static void test_lost_before_its_start_is_tried_again(void **state)
{
    struct world *world = world_new(SHARED, 3);

    (void)state;
    submit(world, "a", "k", "lose early");
    until(world, "a");
    assert_int_equal(world->wants[0].how, FAILED);
    assert_int_equal(world->wants[0].kind, PD_UNAVAILABLE);
    assert_int_equal(warm_count(world), 1); /* two tries, two sandboxes */
    submit(world, "b", "k", "print x");
    until(world, "b");
    assert_int_equal(want_named(world, "b")->how, RAN);
    world_free(world);
}

static void test_lost_after_its_start_is_told(void **state)
{
    struct world *world = world_new(SHARED, 2);

    (void)state;
    submit(world, "a", "k", "lose");
    until(world, "a");
    assert_int_equal(world->wants[0].how, RAN);
    assert_int_equal(world->wants[0].cause, PD_CAUSE_LOST);
    assert_int_equal(warm_count(world), 1);
    world_free(world);
}

static void test_a_link_that_refuses(void **state)
{
    struct world *world = world_new(SHARED, 3);

    (void)state;
    assert_int_equal(submit(world, "a", "k", "refuse"), PD_UNAVAILABLE);
    assert_int_equal(warm_count(world), 1);
    assert_int_equal(pd_dispatch_busy(world->dispatch), 0);
    world_free(world);
}

/* One that waits again after a loss keeps its place by its age. */
static void test_a_loser_goes_back_to_the_front(void **state)
{
    struct world *world = world_new(SHARED, 1);

    (void)state;
    submit(world, "a", "k", "lose early");
    submit(world, "b", "k", "print x");
    submit(world, "c", "other", "print x");
    pd_loop_for(&world->loop, 20);
    assert_string_equal(world->order, "");
    assert_int_equal(demand(world)->queued, 3);
    add_sandbox(world);
    add_sandbox(world);
    until(world, "c");
    until(world, "b");
    until(world, "a");
    assert_int_equal(want_named(world, "a")->how, FAILED);
    assert_int_equal(want_named(world, "b")->how, RAN);
    world_free(world);
}

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

/* ---- giving up ---- */

static void test_cancel_while_running(void **state)
{
    struct world *world = world_new(SHARED, 1);

    (void)state;
    submit(world, "a", "k", "hold");
    submit(world, "b", "k", "print x");
    pd_loop_for(&world->loop, 5);
    pd_job_cancel(world->wants[0].job);
    until(world, "b");
    assert_false(world->wants[0].done);
    assert_int_equal(world->links[0]->cancels, 1);
    assert_int_equal(warm_count(world), 1);
    world_free(world);
}

static void test_cancel_while_waiting(void **state)
{
    struct world *world = world_new(SHARED, 1);

    (void)state;
    submit(world, "a", "k", "sleep 20");
    submit(world, "b", "k", "print x");
    submit(world, "c", "k", "print x");
    pd_job_cancel(want_named(world, "b")->job);
    assert_int_equal(demand(world)->queued, 1);
    until(world, "c");
    assert_string_equal(world->order, "a c ");
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
        cmocka_unit_test(test_held_until_told_to_proceed),
        cmocka_unit_test(test_held_and_canceled),
        cmocka_unit_test(test_held_while_its_sandbox_is_lost),
        cmocka_unit_test(test_control),
        cmocka_unit_test(test_unknown_pool),
        cmocka_unit_test(test_what_the_agent_cannot_take),
        cmocka_unit_test(test_full_queue_refuses_whoever_fills_it),
        cmocka_unit_test(test_waiting_ends),
        cmocka_unit_test(test_refused_at_once_when_it_cannot_start_in_time),
        cmocka_unit_test(test_lost_before_its_start_is_tried_again),
        cmocka_unit_test(test_lost_after_its_start_is_told),
        cmocka_unit_test(test_a_link_that_refuses),
        cmocka_unit_test(test_a_loser_goes_back_to_the_front),
        cmocka_unit_test(test_concurrency_of_a_key),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_the_patient_wait),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_cancel_while_running),
        cmocka_unit_test(test_cancel_while_waiting),
        cmocka_unit_test(test_a_deleted_pool_fails_what_waits),
        cmocka_unit_test(test_idle_is_told),
        cmocka_unit_test(test_closing_ends_everything),
        cmocka_unit_test(test_nothing_is_lost),
    };

    return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
