/* One job after it was submitted: held, spoken to, lost, canceled. */
#include "tests/lib/dispatch_rig.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_until_told_to_proceed),
        cmocka_unit_test(test_held_and_canceled),
        cmocka_unit_test(test_held_while_its_sandbox_is_lost),
        cmocka_unit_test(test_control),
        cmocka_unit_test(test_lost_before_its_start_is_tried_again),
        cmocka_unit_test(test_lost_after_its_start_is_told),
        cmocka_unit_test(test_a_link_that_refuses),
        cmocka_unit_test(test_a_loser_goes_back_to_the_front),
        cmocka_unit_test(test_cancel_while_running),
        cmocka_unit_test(test_cancel_while_waiting),
    };

    return cmocka_run_group_tests_name("job", tests, NULL, NULL);
}
