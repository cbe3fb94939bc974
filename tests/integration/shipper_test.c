/* The shipper against a real PostgreSQL: outages, rows that it will not have, trouble that
 * is no row's fault, another schema, old rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/shipper.h"
#include "common/mem.h"
#include "common/time.h"
#include "tests/lib/loop_until.h"
#include "tests/lib/postgres_server.h"

#define WAIT_MS 60000
#define COUNT "SELECT count(*) FROM paddock.executions"
#define IDS "SELECT coalesce(string_agg(id, ' ' ORDER BY id), 'none') FROM paddock.executions"
/* Every INSERT fails with this SQLSTATE, until the trigger is dropped. */
#define REFUSE(state)                                                                              \
    "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "                     \
    "'BEGIN RAISE ''refused'' USING ERRCODE = ''" state                                            \
    "''; END';"                                                                                    \
    "CREATE TRIGGER refuse BEFORE INSERT ON paddock.executions EXECUTE FUNCTION refuse()"

struct world {
    uv_loop_t loop;
    struct pd_postgres_server *server; /* one for all tests, empty at first */
    char dir[64];
    struct pd_db *db;
    struct pd_records *records;
    struct pd_shipper *shipper; /* NULL: closed */
    bool closed;
};

static void open_shipper(struct world *world, int64_t age_ms)
{
    const struct pd_shipper_config config = {.loop = &world->loop,
                                             .records = world->records,
                                             .url = pd_postgres_server_url(world->server),
                                             .age_ms = age_ms};
    struct pd_err err;

    assert_int_equal(pd_shipper_open(&config, &world->shipper, &err), 0);
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void close_shipper(struct world *world)
{
    if (!world->shipper)
        return;
    world->closed = false;
    pd_shipper_close(PD_STEAL(world->shipper), on_closed, &world->closed);
    assert_true(pd_loop_until(&world->loop, &world->closed, WAIT_MS));
}

static int start_server(void **state)
{
    *state = pd_postgres_server_new();
    return 0;
}

static int stop_server(void **state)
{
    pd_postgres_server_free(*state);
    return 0;
}

static int set_up(void **state)
{
    static const struct pd_db_schema *const schemas[] = {&pd_records_schema, NULL};
    struct world *world = PD_NEW(struct world);
    pd_autofree char *path = NULL;
    struct pd_db_config db = {.loop = &world->loop, .schemas = schemas};
    struct pd_err err;

    uv_loop_init(&world->loop);
    strcpy(world->dir, "/tmp/pd-shipper-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    db.path = path = pd_asprintf("%s/records.db", world->dir);
    assert_int_equal(pd_db_open(&db, &world->db, &err), 0);
    world->records = pd_records_new(&(struct pd_records_config){.db = world->db, .ship = true});
    world->server = *state;
    (void)pd_postgres_server_ask(world->server, "DROP SCHEMA IF EXISTS paddock CASCADE");
    open_shipper(world, 0);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    pd_autofree char *command = pd_asprintf("rm -rf %s", world->dir);

    close_shipper(world);
    world->closed = false;
    pd_db_close(world->db, on_closed, &world->closed);
    assert_true(pd_loop_until(&world->loop, &world->closed, WAIT_MS));
    pd_records_free(world->records);
    assert_true(pd_loop_finish(&world->loop, WAIT_MS));
    assert_int_equal(system(command), 0);
    *state = world->server;
    free(world);
    return 0;
}

static void add_ended(struct world *world, const char *id, int64_t ended_wall_ms)
{
    static const struct pd_run_result result = {.exit_code = 3};
    const struct pd_record record = {.id = id,
                                     .key_id = "me",
                                     .pool = "p",
                                     .language = "python",
                                     .sandbox = "s",
                                     .code = "1",
                                     .code_len = 1,
                                     .ended_wall_ms = ended_wall_ms,
                                     .cause = "exited",
                                     .result = &result};

    pd_records_add(world->records, &record);
}

static void add(struct world *world, const char *id)
{
    add_ended(world, id, pd_wall_ms());
}

/* Turn the loop until PostgreSQL says `wanted`. */
static void expect(struct world *world, const char *sql, const char *wanted)
{
    struct pd_time since = pd_time_now();

    while (strcmp(pd_postgres_server_ask(world->server, sql), wanted) != 0) {
        if (pd_time_ms_between(since, pd_time_now()) > WAIT_MS)
            fail_msg("%s: %s", sql, pd_postgres_server_ask(world->server, sql));
        pd_loop_for(&world->loop, 50);
    }
}

/* It has made its schema. */
static void expect_schema(struct world *world)
{
    expect(world, "SELECT to_regclass('paddock.executions') IS NOT NULL", "t");
}

static void test_rows_flow(void **state)
{
    struct world *world = *state;

    add(world, "a");
    add(world, "b");
    expect_schema(world);
    expect(world, IDS, "a b");
    add(world, "c");
    expect(world, IDS, "a b c");
    expect(world,
           "SELECT kind, key, pool, language, sandbox, cause, exit_code, success, "
           "ended > now() - interval '1 hour' FROM paddock.executions WHERE id = 'c'",
           "plain|me|p|python|s|exited|3|f|t");
}

static void test_outages(void **state)
{
    struct world *world = *state;

    add(world, "a");
    expect_schema(world);
    expect(world, IDS, "a");
    pd_postgres_server_stop(world->server);
    add(world, "b");
    pd_loop_for(&world->loop, 1500); /* it tries, and tries again */
    pd_postgres_server_start(world->server);
    expect(world, IDS, "a b");
    /* Opened once more, it sends nothing that is there already. */
    close_shipper(world);
    add(world, "c");
    open_shipper(world, 0);
    expect(world, IDS, "a b c");
}

static void test_a_row_that_it_will_not_have(void **state)
{
    struct world *world = *state;

    expect_schema(world);
    (void)pd_postgres_server_ask(world->server,
                                 "ALTER TABLE paddock.executions ADD CHECK (id <> 'bad')");
    for (int i = 0; i < 9; i++) {
        char id[8];
        snprintf(id, sizeof id, "a%d", i);
        add(world, i == 4 ? "bad" : id);
    }
    expect(world, IDS, "a0 a1 a2 a3 a5 a6 a7 a8");
    add(world, "b"); /* and it goes on */
    expect(world, COUNT, "9");
}

/* Whatever is no fault of a row costs no row. */
static void test_trouble_of_its_own(void **state)
{
    static const char *const refusals[] = {
        REFUSE("53100"), /* disk_full */
        REFUSE("25006"), /* read_only_sql_transaction: a standby, after a change of servers */
        REFUSE("XX001"), /* data_corrupted */
    };
    struct world *world = *state;
    char id[8], wanted[8];

    expect_schema(world);
    for (size_t i = 0; i < PD_COUNT(refusals); i++) {
        (void)pd_postgres_server_ask(world->server, refusals[i]);
        snprintf(id, sizeof id, "x%zu", i);
        snprintf(wanted, sizeof wanted, "%zu", i + 1);
        add(world, id);
        pd_loop_for(&world->loop, 1200);
        (void)pd_postgres_server_ask(world->server, "DROP TRIGGER refuse ON paddock.executions");
        expect(world, COUNT, wanted);
    }
    /* The table is gone, and made anew by hand. */
    (void)pd_postgres_server_ask(world->server,
                                 "ALTER TABLE paddock.executions RENAME TO elsewhere");
    add(world, "y");
    pd_loop_for(&world->loop, 1200);
    (void)pd_postgres_server_ask(world->server,
                                 "ALTER TABLE paddock.elsewhere RENAME TO executions");
    expect(world, COUNT, "4");
}

static void test_a_newer_schema(void **state)
{
    struct world *world = *state;

    expect_schema(world);
    (void)pd_postgres_server_ask(world->server,
                                 "INSERT INTO paddock.schema_versions (version) VALUES (99)");
    close_shipper(world);
    open_shipper(world, 0);
    add(world, "a");
    pd_loop_for(&world->loop, 1200);
    expect(world, COUNT, "0");
    (void)pd_postgres_server_ask(world->server,
                                 "DELETE FROM paddock.schema_versions WHERE version = 99");
    expect(world, IDS, "a");
}

static void test_old_rows_go(void **state)
{
    struct world *world = *state;

    expect_schema(world);
    add_ended(world, "old", pd_wall_ms() - 100000);
    add(world, "new");
    expect(world, COUNT, "2");
    close_shipper(world);
    open_shipper(world, 50000);
    expect(world, IDS, "new");
}

static void test_an_unreadable_url(void **state)
{
    struct world *world = *state;
    const struct pd_shipper_config config = {
        .loop = &world->loop, .records = world->records, .url = "nonsense=1 secret@"};
    struct pd_shipper *other = NULL;
    struct pd_err err;

    assert_int_equal(pd_shipper_open(&config, &other, &err), PD_INVALID);
    assert_null(strstr(err.msg, "secret"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_rows_flow),
        TEST(test_outages),
        TEST(test_a_row_that_it_will_not_have),
        TEST(test_trouble_of_its_own),
        TEST(test_a_newer_schema),
        TEST(test_old_rows_go),
        TEST(test_an_unreadable_url),
    };

    if (pd_postgres_server_lacks()) {
        printf("SKIP integration/shipper: %s\n", pd_postgres_server_lacks());
        return 0;
    }
    signal(SIGPIPE, SIG_IGN); /* as the service does */
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
