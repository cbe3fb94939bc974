#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "api/records.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/time.h"
#include "tests/lib/loop_until.h"

#define WAIT_MS 30000

struct fixture {
    uv_loop_t loop;
    struct pd_db *db;
    struct pd_records *records;
    char dir[64];
    bool closed;
    /* what was answered last */
    bool done;
    int kind;
    struct pd_node *node;
    struct pd_accepted accepted;
    struct pd_buf rows;
    size_t count;
    int64_t removed;
};

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void open_records(struct fixture *f, const struct pd_records_config *config)
{
    static const struct pd_db_schema *const schemas[] = {&pd_records_schema, NULL};
    pd_autofree char *path = pd_asprintf("%s/records.db", f->dir);
    const struct pd_db_config db = {.loop = &f->loop, .path = path, .schemas = schemas};
    struct pd_records_config own = *config;
    struct pd_err err;

    assert_int_equal(pd_db_open(&db, &f->db, &err), 0);
    own.db = f->db;
    f->records = pd_records_new(&own);
}

static void close_records(struct fixture *f)
{
    f->closed = false;
    pd_db_close(f->db, on_closed, &f->closed);
    assert_true(pd_loop_until(&f->loop, &f->closed, WAIT_MS));
    pd_records_free(f->records);
}

static int set_up(void **state)
{
    struct fixture *f = PD_NEW(struct fixture);

    strcpy(f->dir, "/tmp/pd-records-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(uv_loop_init(&f->loop), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    pd_autofree char *command = pd_asprintf("rm -rf %s", f->dir);

    close_records(f);
    pd_node_free(f->node);
    pd_buf_fini(&f->rows);
    pd_buf_fini(&f->accepted.answer);
    assert_true(pd_loop_finish(&f->loop, WAIT_MS));
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* ---- asking and waiting ---- */

static int wait_for(struct fixture *f, int rc)
{
    if (rc < 0)
        return rc;
    assert_true(pd_loop_until(&f->loop, &f->done, WAIT_MS));
    f->done = false;
    return f->kind;
}

static void on_done(void *arg, const struct pd_err *err)
{
    struct fixture *f = arg;

    f->kind = err ? err->kind : 0;
    f->done = true;
}

static void on_text(void *arg, struct pd_buf *text, const struct pd_err *err)
{
    struct fixture *f = arg;

    pd_node_free(PD_STEAL(f->node));
    if (!err && text->len > 0)
        (void)!pd_json_parse(text->data, text->len, &f->node, NULL);
    on_done(arg, err);
}

static void on_accepted(void *arg, struct pd_accepted *results, size_t count,
                        const struct pd_err *err)
{
    struct fixture *f = arg;

    pd_buf_fini(&f->accepted.answer);
    assert_int_equal(count, 1);
    f->accepted = results[0];
    results[0].answer = (struct pd_buf){0};
    on_done(arg, err);
}

static int accept_one(struct fixture *f, const char *id, const char *key, const char *body)
{
    const struct pd_accept item = {.id = id, .key_id = "me", .idempotency_key = key, .pool = "p",
                                   .language = "python", .kind = PD_RECORD_ASYNC, .code = "abc",
                                   .code_len = 3, .body = body, .body_len = strlen(body)};
    struct pd_err err;

    return wait_for(f, pd_records_accept(f->records, &item, 1, on_accepted, f, &err));
}

static struct pd_record record_of(const char *id, int64_t wall_ms)
{
    static const struct pd_run_result result = {.exit_code = 0};

    return (struct pd_record){.id = id, .key_id = "me", .pool = "p", .language = "python",
                              .sandbox = "s", .code = "abc", .code_len = 3,
                              .ended_wall_ms = wall_ms, .cause = "exited", .result = &result};
}

static void finish(struct fixture *f, const char *id, const char *answer, int expected)
{
    struct pd_record record = record_of(id, pd_wall_ms());
    struct pd_buf text;

    pd_buf_init(&text, 1 << 20);
    assert_int_equal(pd_buf_add(&text, answer, strlen(answer), NULL), 0);
    record.answer = &text;
    pd_records_finish(f->records, &record, on_done, f);
    assert_int_equal(wait_for(f, 0), expected);
    pd_buf_fini(&text);
}

static int get(struct fixture *f, const char *id, const char *key_id)
{
    struct pd_err err;

    return wait_for(f, pd_records_get(f->records, id, key_id, on_text, f, &err));
}

static const char *text_of(const struct fixture *f, const char *name)
{
    return pd_node_text(pd_node_get(f->node, name), "");
}

/* ---- tests ---- */

static void test_life_of_an_accepted_one(void **state)
{
    struct fixture *f = *state;
    struct pd_err err;

    open_records(f, &(struct pd_records_config){.age_ms = 0});
    assert_int_equal(accept_one(f, "run_a", NULL, "{}"), 0);
    assert_true(f->accepted.is_new);
    assert_int_equal(get(f, "run_a", NULL), 0);
    assert_string_equal(text_of(f, "status"), "queued");
    assert_string_equal(text_of(f, "code_sha256"), /* of "abc": FIPS 180-2, B.1 */
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(get(f, "run_a", "somebody"), PD_NOT_FOUND);
    assert_int_equal(wait_for(f, pd_records_begin(f->records, "run_a", on_done, f, &err)), 0);
    assert_int_equal(get(f, "run_a", "me"), 0);
    assert_string_equal(text_of(f, "status"), "running");
    finish(f, "run_a", "{\"output\":\"x\"}", 0);
    assert_int_equal(get(f, "run_a", NULL), 0);
    assert_string_equal(text_of(f, "status"), "done");
    assert_string_equal(pd_node_text(pd_node_get(pd_node_get(f->node, "result"), "output"), ""),
                        "x");
    finish(f, "run_a", "{\"output\":\"other\"}", PD_NOT_FOUND); /* the first outcome is the one */
    assert_int_equal(wait_for(f, pd_records_begin(f->records, "run_a", on_done, f, &err)),
                     PD_NOT_FOUND);
    assert_int_equal(wait_for(f, pd_records_cancel(f->records, "run_a", on_done, f, &err)),
                     PD_NOT_FOUND);
    assert_int_equal(accept_one(f, "run_b", NULL, "{}"), 0);
    assert_int_equal(wait_for(f, pd_records_forget(f->records, "run_b", on_done, f, &err)), 0);
    assert_int_equal(get(f, "run_b", NULL), PD_NOT_FOUND);
}

static void test_one_run_one_answer(void **state)
{
    struct fixture *f = *state;

    open_records(f, &(struct pd_records_config){.age_ms = 0});
    assert_int_equal(accept_one(f, "run_a", "key", "body"), 0);
    assert_true(f->accepted.is_new);
    assert_int_equal(accept_one(f, "run_b", "key", "body"), 0);
    assert_false(f->accepted.is_new);
    assert_false(f->accepted.is_done);
    assert_string_equal(f->accepted.id, "run_a");
    assert_int_equal(accept_one(f, "run_c", "key", "other body"), PD_CONFLICT);
    assert_int_equal(accept_one(f, "run_d", "another key", "other body"), 0);
    assert_true(f->accepted.is_new);
    finish(f, "run_a", "the answer", 0);
    close_records(f);
    open_records(f, &(struct pd_records_config){.age_ms = 0});
    assert_int_equal(accept_one(f, "run_e", "key", "body"), 0);
    assert_true(f->accepted.is_done);
    assert_int_equal(f->accepted.answer.len, strlen("the answer"));
    assert_memory_equal(f->accepted.answer.data, "the answer", f->accepted.answer.len);
    assert_int_equal(get(f, "run_e", NULL), PD_NOT_FOUND);
}

static void add_plain(struct fixture *f, int count, int64_t first_wall_ms)
{
    for (int i = 0; i < count; i++) {
        pd_autofree char *id = pd_asprintf("run_%03d", i);
        struct pd_record record = record_of(id, first_wall_ms + i / 2); /* two of each time */
        pd_records_add(f->records, &record);
    }
}

static void test_pages(void **state)
{
    struct fixture *f = *state;
    struct pd_records_query query = {.limit = 7, .status = "exited"};
    struct pd_err err;
    int expected = 29;

    open_records(f, &(struct pd_records_config){.age_ms = 0});
    add_plain(f, 30, 1000000);
    assert_int_equal(accept_one(f, "run_last", NULL, "{}"), 0); /* behind them in line */
    for (int page = 0; page < 5; page++) {
        const struct pd_node *items;
        assert_int_equal(wait_for(f, pd_records_list(f->records, &query, on_text, f, &err)), 0);
        items = pd_node_get(f->node, "items");
        for (size_t i = 0; i < items->list.count; i++, expected--) {
            pd_autofree char *id = pd_asprintf("run_%03d", expected);
            assert_string_equal(pd_node_text(pd_node_get(items->list.items[i], "id"), ""), id);
        }
        if (!pd_node_get(f->node, "next"))
            break;
        assert_int_equal(pd_records_cursor_parse(text_of(f, "next"), &query, &err), 0);
    }
    assert_int_equal(expected, -1);
}

static void on_rows(void *arg, struct pd_buf *rows, size_t count, const struct pd_err *err)
{
    struct fixture *f = arg;

    pd_buf_fini(&f->rows);
    f->rows = *rows;
    *rows = (struct pd_buf){0};
    f->count = count;
    on_done(arg, err);
}

static size_t unshipped(struct fixture *f, int limit)
{
    struct pd_err err;

    assert_int_equal(wait_for(f, pd_records_unshipped(f->records, limit, on_rows, f, &err)), 0);
    return f->count;
}

static void test_shipping(void **state)
{
    struct fixture *f = *state;
    struct pd_err err;

    open_records(f, &(struct pd_records_config){.ship = true});
    add_plain(f, 10, 1000000);
    assert_int_equal(accept_one(f, "run_queued", NULL, "{}"), 0);
    assert_int_equal(unshipped(f, 4), 4);
    assert_int_equal(
        wait_for(f, pd_records_mark_shipped(f->records, &f->rows, false, on_done, f, &err)), 0);
    assert_int_equal(unshipped(f, 100), 6); /* not the one that is queued */
    assert_int_equal(
        wait_for(f, pd_records_mark_shipped(f->records, &f->rows, true, on_done, f, &err)), 0);
    assert_int_equal(unshipped(f, 100), 0);
}

static void on_pruned(void *arg, int64_t removed, const struct pd_err *err)
{
    ((struct fixture *)arg)->removed = removed;
    on_done(arg, err);
}

static int64_t prune(struct fixture *f)
{
    struct pd_err err;

    assert_int_equal(wait_for(f, pd_records_prune(f->records, on_pruned, f, &err)), 0);
    return f->removed;
}

/* While PostgreSQL is away: plain runs' rows go, accepted ones never, and then no more
 * are accepted; all is well when it has had them. */
static void test_what_waits_is_bounded(void **state)
{
    struct fixture *f = *state;
    pd_autofree char *answer = pd_calloc(1, 60001);
    const char *sentence;
    struct pd_err err;

    memset(answer, 'x', 60000);
    open_records(f, &(struct pd_records_config){.ship = true, .age_ms = 1, .size_bytes = 200000});
    add_plain(f, 5, 1000000);
    assert_int_equal(accept_one(f, "run_kept", "key", "{}"), 0);
    finish(f, "run_kept", answer, 0);
    assert_int_equal(prune(f), 0); /* old, but unshipped, and there is room */
    for (int i = 0; i < 4; i++) {
        pd_autofree char *id = pd_asprintf("run_a%d", i);
        assert_int_equal(accept_one(f, id, NULL, "{}"), 0);
        finish(f, id, answer, 0);
    }
    assert_true(pd_records_is_healthy(f->records, &sentence));
    assert_int_equal(prune(f), 5);
    assert_int_equal(pd_records_dropped(f->records), 5);
    assert_int_equal(prune(f), 0);
    assert_false(pd_records_is_healthy(f->records, &sentence));
    assert_non_null(strstr(sentence, "PADDOCK_RECORDS_SIZE"));
    assert_int_equal(accept_one(f, "run_more", NULL, "{}"), PD_UNAVAILABLE);
    assert_int_equal(get(f, "run_kept", NULL), 0);
    assert_int_equal(unshipped(f, 100), 5);
    assert_int_equal(
        wait_for(f, pd_records_mark_shipped(f->records, &f->rows, false, on_done, f, &err)), 0);
    assert_int_equal(prune(f), 5);
    assert_int_equal(prune(f), 0);
    assert_true(pd_records_is_healthy(f->records, &sentence));
    assert_int_equal(accept_one(f, "run_more", NULL, "{}"), 0);
}

/* What is copied from Redis was accepted, be it a plain run with an Idempotency-Key. */
static void test_what_was_accepted_elsewhere_is_not_dropped(void **state)
{
    struct fixture *f = *state;
    struct pd_buf rows;
    struct pd_err err;

    open_records(f, &(struct pd_records_config){.ship = true, .size_bytes = 1});
    pd_buf_init(&rows, 4096);
    assert_int_equal(
        pd_buf_addf(&rows, NULL,
                    "[{\"id\":\"run_e\",\"kind\":\"plain\",\"key\":\"k\",\"pool\":\"p\","
                    "\"language\":\"python\",\"accepted\":\"2026-01-31T12:00:00.000Z\","
                    "\"ended\":\"2026-01-31T12:00:01.000Z\",\"cause\":\"exited\","
                    "\"code_sha256\":\"00\"}]"),
        0);
    for (int i = 0; i < 2; i++) /* twice changes nothing */
        assert_int_equal(wait_for(f, pd_records_import(f->records, &rows, on_done, f, &err)), 0);
    pd_buf_fini(&rows);
    assert_int_equal(unshipped(f, 100), 1);
    assert_int_equal(prune(f), 0);
    assert_int_equal(unshipped(f, 100), 1);
    assert_int_equal(pd_records_may_accept(f->records, &err), PD_UNAVAILABLE);
}

#define IN_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FIXTURE(test_life_of_an_accepted_one),
        IN_FIXTURE(test_one_run_one_answer),
        IN_FIXTURE(test_pages),
        IN_FIXTURE(test_shipping),
        IN_FIXTURE(test_what_was_accepted_elsewhere_is_not_dropped),
        IN_FIXTURE(test_what_waits_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
