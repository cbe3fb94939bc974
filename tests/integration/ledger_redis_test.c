/* The ledger in Redis against a real one: the life of an execution, keys that are used
 * twice, two replicas, what one leaves, a Redis that restarts, is full or not to be
 * trusted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/book.h"
#include "common/mem.h"
#include "common/time.h"
#include "tests/lib/ledger_rig.h"
#include "tests/lib/loop_until.h"
#include "tests/lib/redis_server.h"

#define WAIT_MS 60000
#define ANSWER "{\"success\":true,\"output\":\"1\\n\"}"

static const char *const aof[] = {"--appendonly", "yes", NULL};

struct world {
    uv_loop_t loop;
    struct pd_redis_server *server;
    struct pd_ledger_rig a, b;
    bool has_b;
    struct pd_ledger_answer answer;
};

static void open_replica(struct world *world, struct pd_ledger_rig *rig, const char *instance)
{
    const struct pd_ledger_rig_config config = {
        .loop = &world->loop,
        .folder = "/tmp",
        .url = pd_redis_server_unix_url(world->server),
        .instance = instance,
    };

    pd_ledger_rig_open(rig, &config);
}

static int set_up(void **state)
{
    struct world *world = PD_NEW(struct world);

    uv_loop_init(&world->loop);
    world->server = pd_redis_server_new(aof);
    open_replica(world, &world->a, "aaaa");
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    pd_ledger_answer_fini(&world->answer);
    pd_ledger_rig_close(&world->a);
    if (world->has_b)
        pd_ledger_rig_close(&world->b);
    assert_true(pd_loop_finish(&world->loop, WAIT_MS));
    pd_redis_server_free(world->server);
    free(world);
    return 0;
}

/* ---- doing, and looking ---- */

static struct pd_accept item_of(const char *id, const char *key, const char *body)
{
    return (struct pd_accept){.id = id,
                              .key_id = "me",
                              .idempotency_key = key,
                              .pool = "default",
                              .language = "python",
                              .kind = PD_RECORD_ASYNC,
                              .code = body,
                              .code_len = strlen(body),
                              .body = body,
                              .body_len = strlen(body)};
}

static int accept_at(struct world *world, struct pd_ledger_rig *rig, const char *id,
                     const char *key, const char *body)
{
    const struct pd_accept item = item_of(id, key, body);

    return pd_ledger_rig_accept(rig, &item, &world->answer);
}

static int finish_with(struct pd_ledger_rig *rig, const char *id, struct pd_buf *text,
                       struct pd_buf *events)
{
    static const struct pd_run_result result = {.exit_code = 0};
    const struct pd_record record = {.id = id,
                                     .key_id = "me",
                                     .pool = "default",
                                     .language = "python",
                                     .sandbox = "default-1",
                                     .kind = PD_RECORD_ASYNC,
                                     .code = "1",
                                     .code_len = 1,
                                     .ended_wall_ms = pd_wall_ms(),
                                     .cause = "exited",
                                     .result = &result,
                                     .answer = text,
                                     .events = events};

    return pd_ledger_rig_finish(rig, &record);
}

static int finish(struct pd_ledger_rig *rig, const char *id)
{
    static char answer[] = ANSWER, events[] = "{\"event\":1}\n{\"event\":2}\n";
    struct pd_buf text = {.data = answer, .len = sizeof answer - 1};
    struct pd_buf lines = {.data = events, .len = sizeof events - 1};

    return finish_with(rig, id, &text, &lines);
}

static void open_both(struct world *world)
{
    open_replica(world, &world->b, "bbbb");
    world->has_b = true;
    pd_ledger_rig_accept_first(&world->a, "first_a");
    pd_ledger_rig_accept_first(&world->b, "first_b");
}

static bool has(const struct world *world, const char *part)
{
    return world->answer.text && strstr(world->answer.text, part);
}

/* Turn the loop until `*counter` is `wanted`. */
static void wait_count(struct world *world, const unsigned *counter, unsigned wanted)
{
    struct pd_time since = pd_time_now();

    while (*counter < wanted) {
        if (pd_time_ms_between(since, pd_time_now()) > WAIT_MS)
            fail_msg("%u of %u", *counter, wanted);
        pd_loop_for(&world->loop, 20);
    }
    assert_int_equal(*counter, wanted);
}

static void wait_taken(struct world *world, struct pd_ledger_rig *rig, size_t wanted)
{
    struct pd_time since = pd_time_now();

    while (rig->n_taken < wanted) {
        if (pd_time_ms_between(since, pd_time_now()) > WAIT_MS)
            fail_msg("%zu of %zu", rig->n_taken, wanted);
        pd_loop_for(&world->loop, 20);
    }
    assert_int_equal(rig->n_taken, wanted);
}

static const struct pd_unfinished *taken_of(const struct pd_ledger_rig *rig, const char *id)
{
    for (size_t i = 0; i < rig->n_taken; i++)
        if (strcmp(rig->taken[i].id, id) == 0)
            return &rig->taken[i];
    fail_msg("%s was not taken", id);
    return NULL;
}

/* ---- one replica ---- */

static void test_a_life(void **state)
{
    struct world *world = *state;
    struct pd_ledger_rig *a = &world->a;

    pd_ledger_rig_accept_first(a, "first");
    assert_int_equal(accept_at(world, a, "x", NULL, "{\"code\":\"1\"}"), 0);
    assert_true(world->answer.accepted.is_new);
    assert_int_equal(pd_ledger_rig_get(a, "x", "me", &world->answer), 0);
    assert_true(has(world, "\"status\":\"queued\""));
    assert_int_equal(pd_ledger_rig_get(a, "x", "somebody", &world->answer), PD_NOT_FOUND);
    assert_int_equal(pd_ledger_rig_body(a, "x", &world->answer), 0);
    assert_string_equal(world->answer.text, "{\"code\":\"1\"}");
    assert_int_equal(pd_ledger_rig_events(a, "x", "me", &world->answer), PD_NOT_FOUND);

    assert_int_equal(pd_ledger_rig_begin(a, "x"), 0);
    assert_int_equal(pd_ledger_rig_begin(a, "x"), 0); /* its answer may have been lost */
    assert_int_equal(pd_ledger_rig_get(a, "x", NULL, &world->answer), 0);
    assert_true(has(world, "\"status\":\"running\""));
    assert_true(has(world, "\"began\":"));

    assert_int_equal(finish(a, "x"), 0);
    assert_int_equal(finish(a, "x"), 0);
    assert_int_equal(pd_ledger_rig_get(a, "x", "me", &world->answer), 0);
    assert_true(has(world, "\"status\":\"done\""));
    assert_true(has(world, "\"cause\":\"exited\""));
    assert_true(has(world, "\"result\":" ANSWER));
    assert_int_equal(pd_ledger_rig_events(a, "x", "me", &world->answer), 0);
    assert_string_equal(world->answer.text, "me\n{\"event\":1}\n{\"event\":2}\n");
    assert_int_equal(pd_ledger_rig_events(a, "x", "somebody", &world->answer), PD_NOT_FOUND);

    assert_int_equal(pd_ledger_rig_begin(a, "x"), PD_CONFLICT);
    assert_int_equal(pd_ledger_rig_cancel(a, "x", NULL), PD_NOT_FOUND);
    assert_int_equal(pd_ledger_rig_body(a, "x", &world->answer), PD_NOT_FOUND);
    assert_int_equal(pd_ledger_rig_forget(a, "x"), PD_NOT_FOUND);
}

static void test_what_is_not_there(void **state)
{
    struct world *world = *state;
    struct pd_ledger_rig *a = &world->a;

    pd_ledger_rig_accept_first(a, "first");
    assert_int_equal(pd_ledger_rig_begin(a, "none"), PD_NOT_FOUND);
    assert_int_equal(finish(a, "none"), PD_NOT_FOUND);
    assert_int_equal(pd_ledger_rig_get(a, "none", NULL, &world->answer), PD_NOT_FOUND);
    assert_int_equal(pd_ledger_rig_events(a, "none", NULL, &world->answer), PD_NOT_FOUND);
    assert_int_equal(pd_ledger_rig_body(a, "none", &world->answer), PD_NOT_FOUND);
    assert_int_equal(pd_ledger_rig_cancel(a, "none", NULL), PD_NOT_FOUND);
    assert_int_equal(pd_ledger_rig_forget(a, "none"), PD_NOT_FOUND);
    /* Refused before anybody was told: as if it had never been, its key included. */
    assert_int_equal(accept_at(world, a, "x", "k", "{}"), 0);
    assert_int_equal(pd_ledger_rig_forget(a, "x"), 0);
    assert_int_equal(pd_ledger_rig_get(a, "x", NULL, &world->answer), PD_NOT_FOUND);
    assert_int_equal(accept_at(world, a, "y", "k", "{\"other\":1}"), 0);
    assert_true(world->answer.accepted.is_new);
}

static void test_keys_used_twice(void **state)
{
    struct world *world = *state;

    open_both(world);
    assert_int_equal(accept_at(world, &world->a, "x", "k", "{\"code\":\"1\"}"), 0);
    assert_int_equal(accept_at(world, &world->b, "y", "k", "{\"code\":\"1\"}"), 0);
    assert_false(world->answer.accepted.is_new);
    assert_false(world->answer.accepted.is_done);
    assert_string_equal(world->answer.accepted.id, "x");
    assert_int_equal(accept_at(world, &world->b, "y", "k", "{\"code\":\"2\"}"), PD_CONFLICT);
    assert_int_equal(pd_ledger_rig_begin(&world->a, "x"), 0);
    assert_int_equal(finish(&world->a, "x"), 0);
    assert_int_equal(accept_at(world, &world->b, "y", "k", "{\"code\":\"1\"}"), 0);
    assert_true(world->answer.accepted.is_done);
    assert_string_equal(world->answer.text, ANSWER);
    assert_int_equal(pd_ledger_rig_get(&world->b, "y", NULL, &world->answer), PD_NOT_FOUND);
}

static void ask_list(struct world *world, const char *status, const char *cause_or_pool, int limit)
{
    struct pd_records_query query = {.limit = limit};

    pd_strcpy(query.status, sizeof query.status, status);
    pd_strcpy(query.pool, sizeof query.pool, cause_or_pool);
    assert_int_equal(pd_ledger_rig_list(&world->a, &query, &world->answer), 0);
}

static size_t count_of(const char *text, const char *part)
{
    size_t n = 0;

    for (const char *at = text; (at = strstr(at, part)); at++)
        n++;
    return n;
}

static void test_lists(void **state)
{
    struct world *world = *state;
    struct pd_records_query query = {.limit = 2};
    char *next, cursor[128];
    size_t seen = 0, pages = 0;
    char id[8] = "x0";

    pd_ledger_rig_accept_first(&world->a, "first");
    for (; id[1] < '5'; id[1]++)
        assert_int_equal(accept_at(world, &world->a, id, NULL, "{}"), 0);
    assert_int_equal(pd_ledger_rig_begin(&world->a, "x1"), 0);
    assert_int_equal(pd_ledger_rig_begin(&world->a, "x2"), 0);
    assert_int_equal(finish(&world->a, "x2"), 0);
    ask_list(world, "running", "", 10);
    assert_true(has(world, "\"x1\"") && count_of(world->answer.text, "\"id\":") == 1);
    ask_list(world, "exited", "", 10);
    assert_true(has(world, "\"x2\"") && count_of(world->answer.text, "\"id\":") == 1);
    ask_list(world, "queued", "default", 10);
    assert_int_equal(count_of(world->answer.text, "\"id\":"), 4);
    ask_list(world, "", "another", 10);
    assert_int_equal(count_of(world->answer.text, "\"id\":"), 0);
    pd_strcpy(query.key_id, sizeof query.key_id, "somebody");
    assert_int_equal(pd_ledger_rig_list(&world->a, &query, &world->answer), 0);
    assert_int_equal(count_of(world->answer.text, "\"id\":"), 0);
    /* Page after page, everything once: many were accepted in one millisecond. */
    pd_strcpy(query.key_id, sizeof query.key_id, "me");
    do {
        assert_int_equal(pd_ledger_rig_list(&world->a, &query, &world->answer), 0);
        seen += count_of(world->answer.text, "\"id\":");
        next = strstr(world->answer.text, "\"next\":\"");
        if (next && sscanf(next, "\"next\":\"%127[^\"]", cursor) == 1)
            assert_int_equal(pd_records_cursor_parse(cursor, &query, NULL), 0);
    } while (next && ++pages < 10);
    assert_int_equal(seen, 6);
    assert_in_range(pages, 2, 3);
}

/* What is done is copied to the records here; what Redis has pruned is found there. */
static void test_kept_and_pruned(void **state)
{
    struct world *world = *state;
    struct pd_ledger_rig *a = &world->a;
    struct pd_time since = pd_time_now();

    pd_ledger_rig_accept_first(a, "first");
    assert_int_equal(accept_at(world, a, "x", "k", "{}"), 0);
    assert_int_equal(pd_ledger_rig_begin(a, "x"), 0);
    assert_int_equal(finish(a, "x"), 0);
    /* As if it were old, and asked for until it is copied: nothing goes before that. */
    assert_true(pd_redis_server_cli(world->server, "ZADD paddock:x:done 1 x"));
    do {
        assert_true(pd_time_ms_between(since, pd_time_now()) < WAIT_MS);
        assert_int_equal(pd_ledger_rig_prune(a), 0);
        pd_loop_for(&world->loop, 50);
        assert_int_equal(pd_ledger_rig_get(a, "x", "me", &world->answer), 0);
        assert_true(has(world, "\"cause\":\"exited\""));
    } while (pd_redis_server_cli(world->server, "EXISTS paddock:x:r:x | grep -q 1"));
    assert_int_equal(pd_ledger_rig_get(a, "x", "somebody", &world->answer), PD_NOT_FOUND);
    assert_int_equal(accept_at(world, a, "y", "k", "{}"), 0); /* its key is free again */
    assert_true(world->answer.accepted.is_new);
}

/* An answer that no command of Redis's may carry does not keep the outcome back. */
static void test_an_answer_that_is_too_large(void **state)
{
    struct world *world = *state;
    size_t len = PD_REDIS_COMMAND_BYTES_MAX;
    struct pd_buf text = {.data = pd_calloc(1, len + 1), .len = len};

    memset(text.data, 'x', len);
    pd_ledger_rig_accept_first(&world->a, "first");
    assert_int_equal(accept_at(world, &world->a, "x", "k", "{}"), 0);
    assert_int_equal(pd_ledger_rig_begin(&world->a, "x"), 0);
    assert_int_equal(finish_with(&world->a, "x", &text, NULL), 0);
    free(text.data);
    assert_int_equal(pd_ledger_rig_get(&world->a, "x", NULL, &world->answer), 0);
    assert_true(has(world, "\"cause\":\"exited\""));
    assert_false(has(world, "\"result\":"));
    assert_int_equal(accept_at(world, &world->a, "y", "k", "{}"), 0);
    assert_true(world->answer.accepted.is_done);
    assert_string_equal(world->answer.text, "");
}

/* ---- two ---- */

static void test_canceled_at_another(void **state)
{
    struct world *world = *state;

    open_both(world);
    assert_int_equal(accept_at(world, &world->a, "x", NULL, "{}"), 0);
    assert_int_equal(pd_ledger_rig_cancel(&world->b, "x", "somebody"), PD_NOT_FOUND);
    assert_int_equal(pd_ledger_rig_cancel(&world->b, "x", "me"), 0);
    while (world->a.n_canceled == 0)
        pd_loop_for(&world->loop, 20);
    assert_string_equal(world->a.canceled, "x");
    assert_int_equal(pd_ledger_rig_begin(&world->a, "x"), PD_CANCELED);
    assert_int_equal(pd_ledger_rig_get(&world->b, "x", NULL, &world->answer), 0);
    assert_true(has(world, "\"canceling\":true"));
    assert_int_equal(world->b.n_canceled, 0);
}

struct outcome {
    unsigned told;
    int kind;
    char text[100];
};

static void on_outcome(void *arg, const struct pd_buf *answer, const struct pd_err *err,
                       int retry_after_s)
{
    struct outcome *outcome = arg;

    (void)retry_after_s;
    outcome->told++;
    outcome->kind = err ? err->kind : 0;
    if (answer && answer->len > 0)
        snprintf(outcome->text, sizeof outcome->text, "%.*s", (int)answer->len, answer->data);
}

static void test_outcomes_of_another(void **state)
{
    struct world *world = *state;
    struct outcome done = {0}, refused = {0}, none = {0}, left = {0};
    struct pd_book_wait waits[4] = {{.done = on_outcome, .arg = &done},
                                    {.done = on_outcome, .arg = &refused},
                                    {.done = on_outcome, .arg = &none},
                                    {.done = on_outcome, .arg = &left}};
    const struct pd_ledger_ops *ops;

    open_both(world);
    ops = world->b.ledger->ops;
    assert_int_equal(accept_at(world, &world->a, "x", NULL, "{}"), 0);
    assert_int_equal(accept_at(world, &world->a, "y", NULL, "{}"), 0);
    assert_true(ops->await(world->b.ledger, "x", &waits[0]));
    assert_true(ops->await(world->b.ledger, "y", &waits[1]));
    assert_true(ops->await(world->b.ledger, "never", &waits[2]));
    assert_true(ops->await(world->b.ledger, "x", &waits[3]));
    pd_book_forgo(&waits[3]); /* the client has hung up */
    wait_count(world, &none.told, 1);
    assert_int_equal(none.kind, PD_UNAVAILABLE);
    assert_int_equal(pd_ledger_rig_begin(&world->a, "x"), 0);
    assert_int_equal(done.told, 0);
    assert_int_equal(finish(&world->a, "x"), 0);
    wait_count(world, &done.told, 1);
    assert_int_equal(done.kind, 0);
    assert_string_equal(done.text, ANSWER);
    assert_int_equal(pd_ledger_rig_forget(&world->a, "y"), 0);
    wait_count(world, &refused.told, 1);
    assert_int_equal(refused.kind, PD_UNAVAILABLE);
    assert_int_equal(left.told, 0);
}

/* One that leaves: all that it had goes to the other, once, as it was. */
static void test_what_one_leaves(void **state)
{
    struct world *world = *state;
    const struct pd_unfinished *item;

    open_both(world);
    assert_int_equal(accept_at(world, &world->b, "queued", NULL, "{}"), 0);
    assert_int_equal(accept_at(world, &world->b, "running", NULL, "{}"), 0);
    assert_int_equal(accept_at(world, &world->b, "canceled", NULL, "{}"), 0);
    assert_int_equal(accept_at(world, &world->b, "done", NULL, "{}"), 0);
    assert_int_equal(pd_ledger_rig_begin(&world->b, "running"), 0);
    assert_int_equal(pd_ledger_rig_cancel(&world->b, "canceled", NULL), 0);
    assert_int_equal(pd_ledger_rig_begin(&world->b, "done"), 0);
    assert_int_equal(finish(&world->b, "done"), 0);
    assert_int_equal(pd_ledger_rig_begin(&world->a, "queued"), PD_CONFLICT);
    pd_ledger_rig_close(&world->b);
    world->has_b = false;
    wait_taken(world, &world->a, 4);
    item = taken_of(&world->a, "running");
    assert_true(item->began && !item->canceled && !item->retry_safe);
    item = taken_of(&world->a, "canceled");
    assert_true(item->canceled && !item->began);
    item = taken_of(&world->a, "queued");
    assert_true(!item->canceled && !item->began);
    assert_string_equal(item->pool, "default");
    assert_int_equal(pd_ledger_rig_begin(&world->a, "queued"), 0);
    /* Not safe to run again, and another has begun it: its outcome only. */
    assert_int_equal(pd_ledger_rig_begin(&world->a, "running"), PD_CONFLICT);
    assert_int_equal(finish(&world->a, "running"), 0);
    assert_int_equal(pd_ledger_rig_get(&world->a, "done", NULL, &world->answer), 0);
}

/* Taken for dead, it is told so, gives up what it has, and goes on under another name. */
static void test_taken_for_dead(void **state)
{
    struct world *world = *state;

    open_both(world);
    assert_int_equal(accept_at(world, &world->a, "x", NULL, "{}"), 0);
    assert_true(pd_redis_server_cli(
        world->server,
        "EVAL \"for _,o in ipairs(redis.call('ZRANGE','paddock:x:seen',0,-1)) do "
        "if string.sub(o,1,5)=='aaaa.' then redis.call('ZADD','paddock:x:seen',0,o) "
        "end end\" 0"));
    /* Its own heartbeat makes it live again, or the other finds it dead first: no more than
     * one of them has x in the end. */
    pd_loop_for(&world->loop, 2500);
    if (world->a.n_disowned) {
        assert_int_equal(pd_ledger_rig_begin(&world->a, "x"), PD_CONFLICT);
        assert_int_equal(finish(&world->a, "x"), PD_CONFLICT);
        taken_of(&world->b, "x");
        assert_int_equal(pd_ledger_rig_begin(&world->b, "x"), 0);
    } else {
        assert_int_equal(pd_ledger_rig_begin(&world->a, "x"), 0);
        assert_int_equal(pd_ledger_rig_begin(&world->b, "x"), PD_CONFLICT);
    }
    pd_ledger_rig_accept_first(&world->a, "again");
}

/* ---- a Redis in trouble ---- */

static void test_outcomes_wait_for_a_restart(void **state)
{
    struct world *world = *state;

    pd_ledger_rig_accept_first(&world->a, "first");
    assert_int_equal(accept_at(world, &world->a, "x", NULL, "{}"), 0);
    assert_int_equal(pd_ledger_rig_begin(&world->a, "x"), 0);
    pd_redis_server_kill(world->server);
    pd_loop_for(&world->loop, 200);
    assert_int_equal(accept_at(world, &world->a, "y", NULL, "{}"), PD_UNAVAILABLE);
    assert_int_equal(pd_ledger_rig_begin(&world->a, "x"), PD_UNAVAILABLE);
    assert_int_equal(pd_ledger_rig_get(&world->a, "x", NULL, &world->answer), PD_UNAVAILABLE);
    pd_redis_server_start(world->server);
    assert_int_equal(finish(&world->a, "x"), 0); /* sent once it is back */
    assert_int_equal(pd_ledger_rig_get(&world->a, "x", NULL, &world->answer), 0);
    assert_true(has(world, "\"status\":\"done\""));
    pd_ledger_rig_accept_first(&world->a, "y");
}

static void test_not_to_be_trusted(void **state)
{
    struct world *world = *state;

    pd_ledger_rig_accept_first(&world->a, "first");
    assert_true(pd_redis_server_cli(world->server, "CONFIG SET appendonly no"));
    while (accept_at(world, &world->a, "x", NULL, "{}") == 0)
        pd_loop_for(&world->loop, 50);
    assert_int_equal(world->answer.kind, PD_UNAVAILABLE);
    assert_non_null(strstr(world->answer.why, "append-only"));
    assert_true(pd_redis_server_cli(world->server, "CONFIG SET appendonly yes"));
    pd_ledger_rig_accept_first(&world->a, "y");
    assert_true(pd_redis_server_cli(world->server, "CONFIG SET appendfsync no"));
    while (accept_at(world, &world->a, "z", NULL, "{}") == 0)
        pd_loop_for(&world->loop, 50);
    assert_non_null(strstr(world->answer.why, "never syncs"));
    assert_true(pd_redis_server_cli(world->server, "CONFIG SET appendfsync always"));
    assert_true(pd_redis_server_cli(world->server,
                                    "CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lru"));
    while (accept_at(world, &world->a, "z", NULL, "{}") == 0 || !strstr(world->answer.why, "evict"))
        pd_loop_for(&world->loop, 50);
}

/* Without memory nothing more is accepted, and what is under way ends. */
static void test_without_memory(void **state)
{
    struct world *world = *state;

    pd_ledger_rig_accept_first(&world->a, "first");
    assert_int_equal(accept_at(world, &world->a, "x", NULL, "{}"), 0);
    assert_true(pd_redis_server_cli(world->server, "CONFIG SET maxmemory 1kb"));
    assert_int_equal(accept_at(world, &world->a, "y", NULL, "{}"), PD_UNAVAILABLE);
    assert_int_equal(pd_ledger_rig_begin(&world->a, "x"), 0);
    assert_int_equal(finish(&world->a, "x"), 0);
    assert_int_equal(pd_ledger_rig_get(&world->a, "y", NULL, &world->answer), PD_NOT_FOUND);
    assert_true(pd_redis_server_cli(world->server, "CONFIG SET maxmemory 0"));
    assert_int_equal(accept_at(world, &world->a, "y", NULL, "{}"), 0);
}

/* Redis is there and refuses every write for longer than silence is death: nobody dies. */
static void test_refusals_are_nobodys_death(void **state)
{
    struct world *world = *state;

    open_both(world);
    assert_int_equal(accept_at(world, &world->a, "x", NULL, "{}"), 0);
    assert_int_equal(pd_ledger_rig_begin(&world->a, "x"), 0);
    assert_true(pd_redis_server_cli(world->server, "CONFIG SET min-replicas-to-write 1"));
    assert_int_equal(accept_at(world, &world->a, "y", NULL, "{}"), PD_UNAVAILABLE);
    pd_loop_for(&world->loop, PD_LEDGER_TRUST_MS + 1000);
    assert_true(pd_redis_server_cli(world->server, "CONFIG SET min-replicas-to-write 0"));
    pd_loop_for(&world->loop, 3000);
    assert_int_equal(world->a.n_disowned + world->b.n_disowned, 0);
    assert_int_equal(world->a.n_taken + world->b.n_taken, 0);
    assert_int_equal(finish(&world->a, "x"), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_life),
        TEST(test_what_is_not_there),
        TEST(test_keys_used_twice),
        TEST(test_lists),
        TEST(test_kept_and_pruned),
        TEST(test_an_answer_that_is_too_large),
        TEST(test_canceled_at_another),
        TEST(test_outcomes_of_another),
        TEST(test_what_one_leaves),
        TEST(test_taken_for_dead),
        TEST(test_outcomes_wait_for_a_restart),
        TEST(test_not_to_be_trusted),
        TEST(test_without_memory),
        TEST(test_refusals_are_nobodys_death),
    };

    if (pd_redis_server_lacks()) {
        printf("SKIP integration/ledger_redis: %s\n", pd_redis_server_lacks());
        return 0;
    }
    signal(SIGPIPE, SIG_IGN); /* as the service does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
