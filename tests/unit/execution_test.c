#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/execution.h"
#include "common/mem.h"
#include "tests/lib/fake_link.h"
#include "tests/lib/loop_until.h"
#include "tests/lib/manifest.h"

#define WAIT_MS 5000
#define TYPES_BYTES 512

struct world {
    uv_loop_t loop;
    struct pd_store *store;
    struct pd_dispatch *dispatch;
    struct pd_executions *all;
    struct pd_link *link;
    int abouts, dones;
    bool never_began;
    enum pd_cause cause;
    bool closed;
};

/* One who watches, and takes all there is, or only when told to. */
struct viewer {
    struct pd_watch *watch;
    bool stopped;
    bool over;
    int rooms;
    char types[TYPES_BYTES]; /* of the entries, but output, each once in a row */
    size_t output_bytes, dropped_bytes;
    uint64_t seq;
};

static void take(struct viewer *viewer)
{
    struct pd_entry *entry;

    while (!viewer->stopped && (entry = pd_watch_next(viewer->watch))) {
        size_t used = strlen(viewer->types);
        const char *name = pd_entry_name(entry->type);
        bool output = entry->type == PD_ENTRY_STDOUT || entry->type == PD_ENTRY_STDERR;
        assert_true(entry->from_seq <= viewer->seq + 1 && entry->seq > viewer->seq);
        viewer->seq = entry->seq;
        if (output)
            viewer->output_bytes += entry->output_bytes;
        else
            viewer->dropped_bytes += entry->output_bytes;
        if (used < strlen(name) + 1 ||
            strncmp(viewer->types + used - strlen(name) - 1, name, strlen(name)) != 0)
            snprintf(viewer->types + used, sizeof viewer->types - used, "%s ", name);
        pd_entry_unref(entry);
    }
    if (pd_watch_is_over(viewer->watch)) {
        viewer->over = true;
        pd_watch_close(PD_STEAL(viewer->watch));
    }
}

static void on_more(void *arg)
{
    struct viewer *viewer = arg;

    if (viewer->watch && !viewer->stopped)
        take(viewer);
}

static void on_room(void *arg)
{
    ((struct viewer *)arg)->rooms++;
}

static const struct pd_watch_events watch_events = {.more = on_more, .room = on_room};

static void watch(struct viewer *viewer, struct pd_execution *execution, uint64_t from, bool owner)
{
    viewer->seq = from - 1;
    viewer->watch = pd_watch_open(execution, from, owner, &watch_events, viewer);
    assert_non_null(viewer->watch);
    on_more(viewer);
}

/* ---- the world ---- */

static void on_about(void *arg, struct pd_execution *execution)
{
    (void)execution;
    ((struct world *)arg)->abouts++;
}

static void on_done(void *arg, struct pd_execution *execution, const struct pd_execution_end *end)
{
    struct world *world = arg;

    assert_false(pd_execution_is_done(execution));
    assert_non_null(pd_execution_request(execution));
    world->dones++;
    world->never_began = !end->result;
    if (end->result)
        world->cause = end->result->cause;
}

static const struct pd_execution_observer observer = {.about = on_about, .done = on_done};

static struct pd_link *add_sandbox(struct world *world, const char *id)
{
    struct pd_sandbox *sandbox = pd_store_sandbox_add(world->store, id, "p", "hash");

    sandbox->link = fake_link_new(&world->loop);
    pd_store_sandbox_move(world->store, sandbox, PD_SANDBOX_STARTING);
    pd_store_sandbox_move(world->store, sandbox, PD_SANDBOX_WARM);
    return sandbox->link;
}

static int set_up(void **state)
{
    static const char text[] =
        "apiVersion: paddock.dev/v1\nkind: SandboxPool\nmetadata: {name: p}\n"
        "spec: {image: i, recycle: {share: true, afterRuns: 1000000}}\n";
    struct world *world = PD_NEW(struct world);

    uv_loop_init(&world->loop);
    world->store = pd_store_new(&world->loop, NULL);
    pd_test_put_pools(world->store, text);
    world->dispatch = pd_dispatch_new(&world->loop, world->store, &pd_dispatch_links_real);
    world->all = pd_executions_new(world->dispatch, world->store);
    pd_executions_observe(world->all, &observer, world);
    world->link = add_sandbox(world, "s0");
    *state = world;
    return 0;
}

static void on_closed(void *arg)
{
    ((struct world *)arg)->closed = true;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    pd_dispatch_close(world->dispatch, on_closed, world);
    assert_true(pd_loop_until(&world->loop, &world->closed, WAIT_MS));
    pd_executions_free(world->all);
    pd_link_close(world->link, NULL, NULL);
    pd_store_close(world->store, on_closed, world);
    assert_true(pd_loop_finish(&world->loop, WAIT_MS));
    free(world);
    return 0;
}

static int submit_as(struct world *world, const char *code, struct pd_execution_submit submit,
                     struct pd_execution **ret)
{
    struct pd_err err;
    int retry_after_s;

    submit.key_id = "k";
    submit.request = PD_NEW(struct pd_request);
    pd_strcpy(submit.request->pool, sizeof submit.request->pool, "p");
    submit.request->run = (struct pd_run_request){.language = "python",
                                                  .timeout_ms = 1000,
                                                  .output_max_bytes = 1 << 20,
                                                  .code = code,
                                                  .code_len = strlen(code),
                                                  .stdin_data = ""};
    return pd_executions_submit(world->all, &submit, ret, &retry_after_s, &err);
}

static struct pd_execution *submit(struct world *world, const char *code)
{
    struct pd_execution *execution = NULL;

    assert_int_equal(submit_as(world, code, (struct pd_execution_submit){.id = NULL}, &execution),
                     0);
    return execution;
}

static void until_done(struct world *world, struct pd_execution *execution)
{
    for (int i = 0; i < WAIT_MS && !pd_execution_is_done(execution); i++)
        pd_loop_for(&world->loop, 1);
    assert_true(pd_execution_is_done(execution));
}

/* ---- tests ---- */

static void test_live_and_replayed(void **state)
{
    struct world *world = *state;
    struct pd_execution *execution = submit(world, "both");
    struct viewer owner = {.seq = 0}, later = {.seq = 0}, tail = {.seq = 0};

    watch(&owner, execution, 1, true);
    assert_string_equal(owner.types, "accepted ");
    until_done(world, execution);
    assert_true(owner.over);
    assert_string_equal(owner.types, "accepted started stdout stderr stdout stderr exit ");
    assert_int_equal(owner.output_bytes, 20);
    watch(&later, execution, 1, false);
    assert_true(later.over);
    assert_string_equal(later.types, owner.types);
    watch(&tail, execution, 5, false);
    assert_string_equal(tail.types, "stdout stderr exit ");
    watch(&tail, execution, 1000, false); /* from beyond the end: nothing more comes */
    assert_true(tail.over);
    assert_ptr_equal(pd_executions_find(world->all, pd_execution_id(execution)), execution);
    assert_null(pd_executions_find(world->all, "run_0"));
    assert_int_equal(world->dones, 1);
    assert_int_equal(pd_executions_live(world->all), 0);
}

/* The run prints no more than its owner takes; onlookers make no difference. */
static void test_an_owner_who_stops_stops_the_run(void **state)
{
    struct world *world = *state;
    struct pd_execution *execution = submit(world, "flood 8000000");
    struct viewer owner = {.stopped = true}, onlooker = {.stopped = true}, eager = {.seq = 0};

    watch(&owner, execution, 1, true);
    watch(&onlooker, execution, 1, false);
    watch(&eager, execution, 1, false);
    pd_loop_for(&world->loop, 50);
    assert_false(pd_execution_is_done(execution));
    assert_true(eager.output_bytes <= PD_RUN_OUTPUT_WINDOW_BYTES);
    assert_true(eager.output_bytes > 0);
    owner.stopped = false;
    take(&owner);
    until_done(world, execution);
    assert_int_equal(owner.output_bytes, 8000000);
    assert_int_equal(owner.dropped_bytes, 0);
    assert_int_equal(eager.output_bytes, 8000000);
    onlooker.stopped = false; /* and he who slept is told what he missed */
    take(&onlooker);
    assert_true(onlooker.over);
    assert_non_null(strstr(onlooker.types, "dropped stdout exit"));
    assert_int_equal(onlooker.output_bytes + onlooker.dropped_bytes, 8000000);
    assert_true(pd_executions_journal_bytes(world->all) <
                PD_EXECUTION_OUTPUT_BYTES_MAX + (1u << 20));
}

static void test_an_owner_who_goes_takes_the_run_along(void **state)
{
    struct world *world = *state;
    struct pd_execution *execution = submit(world, "hold");
    struct viewer owner = {.seq = 0}, onlooker = {.seq = 0};

    watch(&owner, execution, 1, true);
    watch(&onlooker, execution, 1, false);
    pd_loop_for(&world->loop, 5);
    pd_watch_close(owner.watch);
    until_done(world, execution);
    assert_int_equal(world->cause, PD_CAUSE_CANCELED);
    assert_true(onlooker.over);
}

static void test_detached(void **state)
{
    struct world *world = *state;
    struct pd_execution *execution = submit(world, "flood 1000000");
    struct viewer owner = {.stopped = true};

    watch(&owner, execution, 1, true);
    pd_loop_for(&world->loop, 20);
    pd_execution_detach(execution);
    pd_watch_close(owner.watch);
    until_done(world, execution);
    assert_int_equal(world->cause, PD_CAUSE_EXITED);
}

static void test_canceled_before_it_began(void **state)
{
    struct world *world = *state;
    struct pd_execution *first = submit(world, "hold");
    struct pd_execution *second = submit(world, "print x");
    struct viewer one = {.seq = 0}, owner = {.seq = 0};

    watch(&owner, second, 1, true);
    watch(&one, second, 1, false);
    assert_string_equal(owner.types, "accepted queued ");
    pd_watch_close(owner.watch); /* which cancels, and tells the other at once */
    assert_true(one.over);
    assert_string_equal(one.types, "accepted queued exit ");
    assert_int_equal(world->cause, PD_CAUSE_CANCELED);
    pd_execution_cancel(second);
    pd_execution_cancel(first);
    pd_execution_cancel(first);
    until_done(world, first);
    assert_int_equal(world->dones, 2);
}

static void test_held(void **state)
{
    struct world *world = *state;
    const struct pd_execution_submit held = {.id = "mine", .held = true, .keep_outcome = true};
    struct pd_execution *execution = NULL;
    struct pd_execution *twin = NULL;

    assert_int_equal(submit_as(world, "print hello", held, &execution), 0);
    assert_int_equal(submit_as(world, "print hello", held, &twin), PD_CONFLICT);
    for (int i = 0; i < WAIT_MS && world->abouts == 0; i++)
        pd_loop_for(&world->loop, 1);
    pd_loop_for(&world->loop, 10);
    assert_int_equal(world->link->runs, 0);
    assert_int_equal(pd_execution_outcome(execution)->output.len, 0);
    pd_execution_proceed(execution);
    until_done(world, execution);
    assert_int_equal(world->abouts, 1);
    assert_null(pd_execution_outcome(execution));
    assert_string_equal(pd_execution_id(execution), "mine");
}

static void test_stdin(void **state)
{
    struct world *world = *state;
    static char piece[PD_EXECUTION_STDIN_BYTES_MAX / 4];
    struct pd_execution *execution = submit(world, "cat");
    struct viewer owner = {.seq = 0};

    watch(&owner, execution, 1, true);
    assert_int_equal(pd_execution_stdin(execution, "early ", 6), 0); /* before it runs */
    pd_loop_for(&world->loop, 5);
    assert_int_equal(owner.output_bytes, 6);
    world->link->stdin_full = true;
    assert_int_equal(pd_execution_stdin(execution, piece, sizeof piece), 0);
    assert_int_equal(pd_execution_stdin(execution, piece, sizeof piece), PD_THROTTLED);
    assert_int_equal(pd_execution_stdin(execution, piece, sizeof piece), PD_THROTTLED);
    assert_int_equal(pd_execution_stdin(execution, piece, sizeof piece), PD_THROTTLED);
    assert_int_equal(pd_execution_stdin(execution, piece, sizeof piece), PD_LIMIT);
    pd_execution_stdin_eof(execution);
    assert_int_equal(owner.rooms, 0);
    world->link->stdin_full = false;
    world->link->events->stdin_room(world->link->arg);
    until_done(world, execution);
    assert_int_equal(owner.rooms, 1);
    assert_int_equal(owner.output_bytes, 6 + 4 * sizeof piece);
}

static void test_failures_are_told(void **state)
{
    struct world *world = *state;
    struct pd_execution *execution = submit(world, "lose early");
    struct pd_link *spare;
    struct viewer owner = {.seq = 0};

    watch(&owner, execution, 1, true);
    spare = add_sandbox(world, "s1"); /* the second that it loses is the last */
    until_done(world, execution);
    pd_link_close(spare, NULL, NULL);
    assert_non_null(strstr(owner.types, "error "));
    assert_true(world->never_began);
    assert_int_equal(world->dones, 1);
}

static void test_finished_ones_are_evicted(void **state)
{
    struct world *world = *state;
    struct viewer viewer = {.stopped = true};
    struct pd_execution *watched = submit(world, "print x");
    char first[PD_EXECUTION_ID_BYTES];

    until_done(world, watched);
    watch(&viewer, watched, 1, false);
    for (int i = 0; i < PD_EXECUTIONS_FINISHED_MAX + 10; i++) {
        struct pd_execution *execution = submit(world, "print x");
        if (i == 0)
            pd_strcpy(first, sizeof first, pd_execution_id(execution));
        while (!pd_execution_is_done(execution))
            uv_run(&world->loop, UV_RUN_ONCE);
    }
    assert_null(pd_executions_find(world->all, first));
    assert_non_null(pd_executions_find(world->all, pd_execution_id(watched)));
    pd_watch_close(viewer.watch);
}

static const char recalled[] =
    "{\"type\":\"accepted\",\"seq\":1,\"time\":0.0,\"id\":\"r\"}\n"
    "{\"type\":\"stdout\",\"seq\":2,\"time\":0.1,\"data\":\"x\"}\n"
    "{\"type\":\"exit\",\"seq\":3,\"time\":0.2}\n";

static void test_recalled(void **state)
{
    struct world *world = *state;
    struct viewer viewer = {.seq = 0}, late = {.seq = 0};
    struct pd_execution *execution = NULL;
    struct pd_err err;

    assert_int_equal(pd_executions_recall(world->all, "r", "k", "nothing\n", 8, &execution, &err),
                     PD_INVALID);
    assert_int_equal(pd_executions_recall(world->all, "r", "k", "", 0, &execution, &err),
                     PD_INVALID);
    assert_int_equal(
        pd_executions_recall(world->all, "r", "k", recalled, sizeof recalled - 1, &execution, &err),
        0);
    assert_ptr_equal(pd_executions_find(world->all, "r"), execution);
    assert_true(pd_execution_is_done(execution));
    assert_string_equal(pd_execution_key_id(execution), "k");
    assert_false(pd_execution_is_elsewhere(execution));
    watch(&viewer, execution, 1, false);
    assert_true(viewer.over);
    assert_string_equal(viewer.types, "accepted stdout exit ");
    watch(&late, execution, 3, false);
    assert_string_equal(late.types, "exit ");
    assert_int_equal(world->dones, 0);
    assert_true(pd_executions_forget(world->all, "r"));
    assert_int_equal(pd_executions_journal_bytes(world->all), 0);
}

/* What is only looked at again goes before what has just ended. */
static void test_recalled_ones_go_first(void **state)
{
    struct world *world = *state;
    struct pd_execution *first = submit(world, "print x");
    struct pd_execution *execution;
    char id[PD_EXECUTION_ID_BYTES];
    struct pd_err err;

    pd_strcpy(id, sizeof id, pd_execution_id(first));
    until_done(world, first);
    for (int i = 2; i < PD_EXECUTIONS_FINISHED_MAX; i++) {
        execution = submit(world, "print x");
        while (!pd_execution_is_done(execution))
            uv_run(&world->loop, UV_RUN_ONCE);
    }
    assert_int_equal(
        pd_executions_recall(world->all, "r", "k", recalled, sizeof recalled - 1, &execution, &err),
        0);
    until_done(world, submit(world, "print x"));
    assert_null(pd_executions_find(world->all, "r"));
    assert_non_null(pd_executions_find(world->all, id));
}

/* Another replica has it: who watches is told so, and sees no end; its id is free. */
static void test_withdrawn(void **state)
{
    static const char why[] = "another has it";
    struct world *world = *state;
    struct pd_execution_submit as = {.id = "mine"};
    struct pd_execution *first = NULL, *second = NULL;
    struct viewer viewer = {.seq = 0};

    assert_int_equal(submit_as(world, "hold", as, &first), 0);
    watch(&viewer, first, 1, false);
    assert_null(pd_watch_broken(viewer.watch));
    pd_execution_withdraw(first, why);
    assert_ptr_equal(pd_watch_broken(viewer.watch), why);
    assert_null(pd_executions_find(world->all, "mine"));
    pd_execution_cancel(first);
    assert_int_equal(submit_as(world, "print x", as, &second), 0);
    assert_true(pd_execution_born(first) != pd_execution_born(second));
    until_done(world, first);
    until_done(world, second);
    assert_int_equal(world->dones, 2);
    assert_ptr_equal(pd_executions_find(world->all, "mine"), second);
    if (viewer.watch)
        pd_watch_close(viewer.watch);
    pd_execution_withdraw(second, why); /* it is done: that stays so */
    assert_ptr_equal(pd_executions_find(world->all, "mine"), second);
}

static int follow(struct pd_execution *execution, const char *json)
{
    struct pd_err err;

    return pd_execution_follow(execution, json, strlen(json), 0, &err);
}

/* One of another replica: its viewers see what is told of it, from where they asked. */
static void test_mirrored(void **state)
{
    static const char exit[] = "{\"type\":\"exit\",\"seq\":4,\"time\":0.3}";
    struct world *world = *state;
    struct pd_execution *execution = pd_executions_mirror(world->all, "far", "k", 2);
    struct viewer all = {.seq = 0}, tail = {.seq = 0}, next = {.seq = 0};
    size_t before = pd_executions_journal_bytes(world->all);

    assert_null(pd_executions_find(world->all, "far"));
    assert_string_equal(pd_execution_key_id(execution), "k");
    assert_true(pd_execution_is_elsewhere(execution));
    watch(&all, execution, 1, false);
    watch(&tail, execution, 2, false);
    watch(&next, execution, 3, false); /* behind what was there when it was found */
    assert_int_equal(pd_execution_watches(execution), 3);
    assert_int_equal(follow(execution, exit), PD_CONFLICT);
    assert_int_equal(
        follow(execution, "{\"type\":\"accepted\",\"seq\":1,\"time\":0,\"id\":\"far\"}"), 0);
    assert_int_equal(follow(execution, "{\"type\":\"started\",\"seq\":2,\"time\":0.1}"), 0);
    assert_int_equal(all.seq, 2);
    assert_int_equal(next.seq, 2);
    assert_string_equal(next.types, "");
    assert_true(pd_executions_journal_bytes(world->all) > before);
    assert_int_equal(
        follow(execution, "{\"type\":\"stdout\",\"seq\":3,\"time\":0.2,\"data\":\"x\"}"), 0);
    assert_int_equal(follow(execution, exit), 0);
    assert_true(all.over && tail.over && next.over);
    assert_string_equal(all.types, "accepted started stdout exit ");
    assert_string_equal(tail.types, "started stdout exit ");
    assert_string_equal(next.types, "stdout exit ");
    assert_int_equal(follow(execution, "{\"type\":\"stdout\",\"seq\":5,\"time\":0.4}"), 0);
    assert_int_equal(pd_execution_last_seq(execution), 4);
    assert_int_equal(pd_execution_watches(execution), 0);
    pd_execution_mirror_free(execution);
    assert_int_equal(pd_executions_journal_bytes(world->all), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_live_and_replayed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_owner_who_stops_stops_the_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_owner_who_goes_takes_the_run_along, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_detached, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_canceled_before_it_began, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_held, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stdin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failures_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_finished_ones_are_evicted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_recalled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_recalled_ones_go_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_withdrawn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mirrored, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("execution", tests, NULL, NULL);
}
