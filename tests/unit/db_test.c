#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/db.h"
#include "common/file.h"
#include "common/mem.h"
#include "tests/lib/failing_disk.h"
#include "tests/lib/loop_until.h"

#define WAIT_MS 20000

static const char *const item_steps[] = {
    "CREATE TABLE items (name TEXT PRIMARY KEY) WITHOUT ROWID",
    "ALTER TABLE items ADD COLUMN note TEXT NOT NULL DEFAULT ''; CREATE TABLE more (n INTEGER)",
    NULL,
};
static const char *const old_steps[] = {
    "CREATE TABLE items (name TEXT PRIMARY KEY) WITHOUT ROWID",
    NULL,
};
static const struct pd_db_schema items = {"items", item_steps};
static const struct pd_db_schema old_items = {"items", old_steps};
static const struct pd_db_schema *const schemas[] = {&items, NULL};
static const struct pd_db_schema *const old_schemas[] = {&old_items, NULL};

struct fixture {
    uv_loop_t loop;
    struct pd_db *db;
    char dir[64];
    char path[96];
    bool closed;
    int troubles;
    int recoveries;
    bool is_well; /* as it was told last; false before that */
};

struct job {
    struct pd_db_job base;
    char name[64];
    const char *fail_after; /* an error of the job's own, after it has written */
    int64_t found;
    bool done;
    int kind; /* 0 or the error's */
    bool log_was_synced;
    int tries;
};

static int write_name(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] = "INSERT INTO items (name) VALUES (?1)";
    struct job *job = PD_CONTAINER_OF(base, struct job, base);
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    job->tries++;
    if (rc < 0)
        return rc;
    pd_db_bind_text(stmt, 1, job->name);
    rc = pd_db_step(conn, stmt, err);
    if (rc == 0 && job->fail_after)
        rc = pd_err_set(err, PD_INVALID, "%s", job->fail_after);
    return rc;
}

static int count_names(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] = "SELECT count(*) FROM items WHERE name GLOB ?1";
    struct job *job = PD_CONTAINER_OF(base, struct job, base);
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_text(stmt, 1, job->name);
    rc = pd_db_step(conn, stmt, err);
    if (rc == 1)
        job->found = pd_db_int(stmt, 0);
    return rc < 0 ? rc : 0;
}

static void on_done(struct pd_db_job *base, const struct pd_err *err)
{
    struct job *job = PD_CONTAINER_OF(base, struct job, base);

    assert_false(job->done);
    job->done = true;
    job->kind = err ? err->kind : 0;
    job->log_was_synced = failing_disk_log_is_synced();
}

static struct job new_job(const char *name)
{
    struct job job = {.base = {.fn = write_name, .done = on_done, .bytes = 100}};

    pd_strcpy(job.name, sizeof job.name, name);
    return job;
}

static void on_trouble(void *arg, const struct pd_err *err)
{
    struct fixture *f = arg;

    if (err)
        f->troubles++;
    else
        f->recoveries++;
    f->is_well = !err;
}

static int open_db(struct fixture *f, const struct pd_db_schema *const *which, struct pd_err *err)
{
    const struct pd_db_config config = {
        .loop = &f->loop,
        .path = f->path,
        .schemas = which,
        .vfs = FAILING_DISK,
        .trouble = on_trouble,
        .arg = f,
    };

    f->closed = false;
    return pd_db_open(&config, &f->db, err);
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void close_db(struct fixture *f)
{
    pd_db_close(f->db, on_closed, &f->closed);
    assert_true(pd_loop_until(&f->loop, &f->closed, WAIT_MS));
    f->db = NULL;
}

static void reopen(struct fixture *f)
{
    struct pd_err err = {0};

    close_db(f);
    if (open_db(f, schemas, &err) < 0)
        fail_msg("%s", err.msg);
}

static void submit(struct fixture *f, enum pd_db_kind kind, struct job *job)
{
    assert_int_equal(pd_db_submit(f->db, kind, &job->base, NULL), 0);
}

static int finish(struct fixture *f, struct job *job)
{
    assert_true(pd_loop_until(&f->loop, &job->done, WAIT_MS));
    return job->kind;
}

static int64_t count(struct fixture *f, const char *pattern)
{
    struct job job = new_job(pattern);
    struct pd_err err = {0};

    job.base.fn = count_names;
    if (pd_db_now(f->db, PD_DB_READ, &job.base, &err) < 0)
        fail_msg("%s", err.msg);
    return job.found;
}

static int set_up(void **state)
{
    struct fixture *f = PD_NEW(struct fixture);

    strcpy(f->dir, "/tmp/paddock-db-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/paddock.db", f->dir);
    uv_loop_init(&f->loop);
    failing_disk_set(DISK_WORKS, 0);
    *state = f;
    return 0;
}

static void remove_files(struct fixture *f)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};

    for (size_t i = 0; i < PD_COUNT(ends); i++) {
        pd_autofree char *path = pd_asprintf("%s%s", f->path, ends[i]);
        unlink(path);
    }
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    failing_disk_set(DISK_WORKS, 0);
    if (f->db)
        close_db(f);
    assert_true(pd_loop_finish(&f->loop, WAIT_MS));
    remove_files(f);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static void open_ok(struct fixture *f)
{
    struct pd_err err = {0};

    if (open_db(f, schemas, &err) < 0)
        fail_msg("%s", err.msg);
}

static void test_durable_is_synced(void **state)
{
    struct fixture *f = *state;
    struct job jobs[20];
    struct stat st;

    open_ok(f);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d", i);
        jobs[i] = new_job(name);
        submit(f, PD_DB_DURABLE, &jobs[i]);
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(finish(f, &jobs[i]), 0);
        /* Others of the batch after it may be under way only where it was in an earlier one. */
    }
    assert_true(jobs[19].log_was_synced);
    assert_int_equal(count(f, "d*"), 20);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    reopen(f);
    assert_int_equal(count(f, "d*"), 20);
}

static void test_lazy_gathers(void **state)
{
    struct fixture *f = *state;
    struct job jobs[50];
    int syncs;

    open_ok(f);
    syncs = failing_disk_log_syncs();
    for (int i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof name, "l%d", i);
        jobs[i] = new_job(name);
        submit(f, PD_DB_LAZY, &jobs[i]);
    }
    for (int i = 0; i < 50; i++)
        assert_int_equal(finish(f, &jobs[i]), 0);
    assert_int_equal(failing_disk_log_syncs(), syncs); /* none of its own */
    assert_int_equal(count(f, "l*"), 50);
}

/* A lazy one that waits goes along with a durable one, in its order. */
static void test_order_is_kept(void **state)
{
    struct fixture *f = *state;
    struct job lazy = new_job("same");
    struct job durable = new_job("same");

    open_ok(f);
    submit(f, PD_DB_LAZY, &lazy);
    submit(f, PD_DB_DURABLE, &durable);
    assert_int_equal(finish(f, &durable), PD_CONFLICT);
    assert_int_equal(finish(f, &lazy), 0);
}

static void test_failed_job_is_undone_alone(void **state)
{
    struct fixture *f = *state;
    struct job a = new_job("a");
    struct job b = new_job("b");
    struct job c = new_job("c");

    open_ok(f);
    b.fail_after = "its own mistake";
    submit(f, PD_DB_LAZY, &a);
    submit(f, PD_DB_LAZY, &b);
    submit(f, PD_DB_DURABLE, &c);
    assert_int_equal(finish(f, &c), 0);
    assert_int_equal(finish(f, &a), 0);
    assert_int_equal(finish(f, &b), PD_INVALID);
    assert_int_equal(count(f, "*"), 2);
    assert_int_equal(count(f, "b"), 0);
}

static void fill_and_recover(struct fixture *f, enum disk_fault fault)
{
    struct job before = new_job("before");
    struct job durable = new_job("durable");
    struct job kept = new_job("kept");
    struct job after = new_job("after");
    const char *sentence;

    open_ok(f);
    submit(f, PD_DB_DURABLE, &before);
    assert_int_equal(finish(f, &before), 0);
    assert_true(pd_db_is_healthy(f->db, &sentence));

    failing_disk_set(fault, 0);
    kept.base.keep = true;
    submit(f, PD_DB_DURABLE, &kept);
    submit(f, PD_DB_DURABLE, &durable);
    assert_int_equal(finish(f, &durable), PD_UNAVAILABLE);
    assert_false(kept.done);
    assert_int_equal(f->troubles, 1);
    assert_false(pd_db_is_healthy(f->db, &sentence));
    assert_true(strstr(sentence, "database") != NULL);
    assert_int_equal(count(f, "before"), 1); /* reading goes on */
    pd_loop_for(&f->loop, PD_DB_RETRY_MS * 3);
    assert_false(kept.done);
    assert_true(kept.tries > 1);
    assert_int_equal(f->troubles, 1);

    failing_disk_set(DISK_WORKS, 0);
    submit(f, PD_DB_DURABLE, &after);
    assert_int_equal(finish(f, &after), 0);
    assert_int_equal(finish(f, &kept), 0);
    assert_true(pd_loop_until(&f->loop, &f->is_well, WAIT_MS));
    assert_int_equal(f->recoveries, 1);
    assert_true(pd_db_is_healthy(f->db, &sentence));
    reopen(f);
    assert_int_equal(count(f, "kept"), 1);
    assert_int_equal(count(f, "after"), 1);
    assert_int_equal(count(f, "before"), 1);
}

/* It is known to be well again although nobody writes. */
static void test_recovery_is_noticed(void **state)
{
    struct fixture *f = *state;
    struct job job = new_job("refused");
    const char *sentence;

    open_ok(f);
    failing_disk_set(DISK_FULL, 0);
    submit(f, PD_DB_DURABLE, &job);
    assert_int_equal(finish(f, &job), PD_UNAVAILABLE);
    pd_loop_for(&f->loop, PD_DB_RETRY_MS * 2 + PD_DB_CALM_MS);
    assert_false(pd_db_is_healthy(f->db, &sentence));
    failing_disk_set(DISK_WORKS, 0);
    assert_true(pd_loop_until(&f->loop, &f->is_well, WAIT_MS));
    assert_true(pd_db_is_healthy(f->db, &sentence));
    assert_int_equal(f->troubles, 1);
    assert_int_equal(f->recoveries, 1);
}

/* Pages that are noise: nothing is accepted, and nothing kept is given up. */
static void test_damaged_file(void **state)
{
    struct fixture *f = *state;
    struct job job = new_job("refused");
    struct job kept = new_job("kept");
    char noise[4096];
    const char *sentence;
    FILE *file;

    open_ok(f);
    close_db(f);
    file = fopen(f->path, "r+");
    assert_non_null(file);
    memset(noise, 0xa5, sizeof noise);
    fseek(file, 3 * 4096, SEEK_SET); /* beyond what is read at the opening */
    for (int i = 0; i < 8; i++)
        assert_int_equal(fwrite(noise, sizeof noise, 1, file), 1);
    fclose(file);
    f->is_well = true;
    open_ok(f);
    kept.base.keep = true;
    submit(f, PD_DB_DURABLE, &kept);
    submit(f, PD_DB_DURABLE, &job);
    assert_int_equal(finish(f, &job), PD_UNAVAILABLE);
    pd_loop_for(&f->loop, PD_DB_RETRY_MS * 2 + PD_DB_CALM_MS);
    assert_false(pd_db_is_healthy(f->db, &sentence));
    assert_non_null(strstr(sentence, "database"));
    assert_false(kept.done);
    assert_int_equal(f->recoveries, 0);
    close_db(f);
    assert_int_equal(kept.kind, PD_UNAVAILABLE);
}

static void test_full_disk(void **state)
{
    fill_and_recover(*state, DISK_FULL);
}

static void test_broken_disk(void **state)
{
    fill_and_recover(*state, DISK_BROKEN);
}

static void test_sync_fails(void **state)
{
    fill_and_recover(*state, DISK_SYNC_FAILS);
}

static void test_close_writes_what_waits(void **state)
{
    struct fixture *f = *state;
    struct job lazy = new_job("lazy");

    open_ok(f);
    submit(f, PD_DB_LAZY, &lazy);
    reopen(f);
    assert_true(lazy.done);
    assert_int_equal(lazy.kind, 0);
    assert_int_equal(count(f, "lazy"), 1);
}

static void test_close_on_a_full_disk(void **state)
{
    struct fixture *f = *state;
    struct job kept = new_job("kept");

    open_ok(f);
    failing_disk_set(DISK_FULL, 0);
    kept.base.keep = true;
    submit(f, PD_DB_DURABLE, &kept);
    close_db(f);
    assert_true(kept.done);
    assert_true(kept.kind < 0);
}

static void test_bounds(void **state)
{
    struct fixture *f = *state;
    struct job small = new_job("small");
    struct job large = new_job("large");
    struct job kept = new_job("kept");

    open_ok(f);
    large.base.bytes = (size_t)PD_DB_BYTES_MAX + 1;
    assert_int_equal(pd_db_submit(f->db, PD_DB_LAZY, &large.base, NULL), PD_LIMIT);
    kept.base.bytes = PD_DB_BYTES_MAX + (size_t)1;
    kept.base.keep = true;
    submit(f, PD_DB_LAZY, &kept);
    assert_int_equal(pd_db_submit(f->db, PD_DB_LAZY, &small.base, NULL), PD_LIMIT);
    assert_int_equal(finish(f, &kept), 0);
    submit(f, PD_DB_LAZY, &small);
    assert_int_equal(finish(f, &small), 0);
    assert_false(large.done);
}

static void test_versions(void **state)
{
    struct fixture *f = *state;
    struct job job = new_job("old");
    struct pd_err err;

    assert_int_equal(open_db(f, old_schemas, &err), 0);
    submit(f, PD_DB_DURABLE, &job);
    assert_int_equal(finish(f, &job), 0);
    reopen(f); /* brings it up to date, and keeps what is there */
    assert_int_equal(count(f, "old"), 1);
    close_db(f);
    assert_int_equal(open_db(f, old_schemas, &err), PD_CONFLICT);
    assert_true(strstr(err.msg, "newer paddock") != NULL);
    f->db = NULL;
}

static void test_not_a_database(void **state)
{
    struct fixture *f = *state;
    FILE *file = fopen(f->path, "we");
    struct pd_err err;

    for (int i = 0; i < 100; i++)
        fputs("this is a text, and a long one at that; ", file);
    fclose(file);
    assert_int_equal(open_db(f, schemas, &err), PD_INTERNAL);
    assert_true(strstr(err.msg, f->path) != NULL);
}

/* Whatever fails, at whatever moment: what was done stays, what was refused is
 * told, and nothing crashes. */
static void torture(struct fixture *f, enum disk_fault fault)
{
    for (int n = 0; n < 40; n++) {
        struct job jobs[4] = {new_job("t0"), new_job("t1"), new_job("t2"), new_job("t3")};
        bool opened;
        remove_files(f);
        failing_disk_once(fault, n);
        opened = open_db(f, schemas, NULL) == 0;
        for (int i = 0; opened && i < 4; i++) {
            submit(f, i % 2 ? PD_DB_LAZY : PD_DB_DURABLE, &jobs[i]);
            finish(f, &jobs[i]);
        }
        if (opened)
            close_db(f);
        failing_disk_set(DISK_WORKS, 0);
        open_ok(f);
        for (int i = 0; opened && i < 4; i++) {
            int64_t there = count(f, jobs[i].name);
            if (jobs[i].kind == 0)
                assert_int_equal(there, 1);
            else if (fault != DISK_SYNC_FAILS)
                assert_int_equal(there, 0);
        }
        close_db(f);
    }
}

static void test_torture_full(void **state)
{
    torture(*state, DISK_FULL);
}

static void test_torture_broken(void **state)
{
    torture(*state, DISK_BROKEN);
}

static void test_torture_sync(void **state)
{
    torture(*state, DISK_SYNC_FAILS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_durable_is_synced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lazy_gathers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_order_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_job_is_undone_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_recovery_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_broken_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sync_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_close_writes_what_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_close_on_a_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_versions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_a_database, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_torture_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_torture_broken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_torture_sync, set_up, tear_down),
    };

    failing_disk_register();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
