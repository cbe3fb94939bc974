/* What must last: one SQLite database (paddock.db in the state folder, WAL) on
 * threads of its own, one that writes and one that reads. The loop hands jobs
 * over and hears of their end; it never waits for a disk.
 *
 * Writing jobs are carried out in the order of their submission, many in one
 * transaction: one that fails undoes itself alone (the others are carried out
 * once more without it).
 *
 *   PD_DB_DURABLE  starts at once; its transaction is committed with
 *                  synchronous=FULL, so the log is fsynced before `done`: what
 *                  it wrote outlives the process and the machine's power.
 *   PD_DB_LAZY     waits up to PD_DB_LAZY_MS for company; its transaction is
 *                  committed with synchronous=NORMAL: after `done` it outlives
 *                  the process (kill -9); it outlives the power once a durable
 *                  job that came later is done (the log is one file), or a
 *                  checkpoint has passed.
 *   PD_DB_READ     on the reading thread, in no order with writers: it sees
 *                  what was committed before it began.
 *
 * A disk that is full or fails: a job's `done` gets PD_UNAVAILABLE and nothing
 * of it remains; a job marked `keep` or `retry` stays instead, in its place among
 * those kept, and is tried again every PD_DB_RETRY_MS until it succeeds or the
 * database closes. The database itself stays open and works again when the disk
 * does. */
#ifndef PD_COMMON_DB_H
#define PD_COMMON_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/err.h"

#define PD_DB_LAZY_MS 40
#define PD_DB_RETRY_MS 500
#define PD_DB_CALM_MS 1000 /* without a failure, then writing works again */
#define PD_DB_BATCH_MAX 512                   /* jobs in one transaction */
#define PD_DB_JOBS_MAX 100000                 /* waiting, of each thread */
#define PD_DB_BYTES_MAX (128u * 1024 * 1024) /* of what waiting jobs keep, of each thread */

struct sqlite3;
struct sqlite3_stmt;
struct pd_db;
struct pd_db_conn; /* what a job works with, on the database's thread */

/* ---- schema ---- */

/* The tables of one part. Step i (SQL, one or more statements) brings version i
 * to version i + 1. Steps are only ever appended. */
struct pd_db_schema {
    const char *part;          /* "executions", "pools": key of its version */
    const char *const *steps;  /* ended by NULL */
};

/* ---- life ---- */

struct pd_db_config {
    uv_loop_t *loop;
    const char *path;                          /* created 0600 where it is missing */
    const struct pd_db_schema *const *schemas; /* ended by NULL; static */
    const char *vfs;                           /* a test's failing disk; NULL: the system's */
    /* From the loop, when writing begins to fail (err) and when it works again
     * (NULL). May be NULL. */
    void (*trouble)(void *arg, const struct pd_err *err);
    void *arg;
};

/* Opens, brings every schema up to date (one transaction), starts the threads.
 * Blocks: for the start of the process only. PD_CONFLICT when a newer paddock
 * has written it; PD_UNAVAILABLE when the disk does not serve; PD_INTERNAL for
 * a file that is damaged or no database. */
int pd_db_open(const struct pd_db_config *config, struct pd_db **ret_db, struct pd_err *err);

/* Carries out what waits (jobs marked `keep` once more only; then PD_CANCELED),
 * calls every `done`, then `closed` once from the loop. */
void pd_db_close(struct pd_db *db, void (*closed)(void *arg), void *arg);

/* Does writing work at present? It is tried now and then while it does not, and a
 * damaged file is one that never does. The sentence is borrowed until the next turn. */
bool pd_db_is_healthy(const struct pd_db *db, const char **ret_sentence);

/* ---- jobs ---- */

enum pd_db_kind { PD_DB_DURABLE, PD_DB_LAZY, PD_DB_READ };

/* Embedded in the caller's own structure, which must live until `done`. */
struct pd_db_job {
    /* On the database's thread; must touch nothing that the loop touches. Called
     * again where its transaction was undone, be it for another job's failure: it
     * begins anew each time. Negative: undone. */
    int (*fn)(struct pd_db_job *job, struct pd_db_conn *conn, struct pd_err *err);
    /* On the loop, once; NULL on success. The job is the caller's again. */
    void (*done)(struct pd_db_job *job, const struct pd_err *err);
    size_t bytes; /* that it keeps while it waits, about */
    bool retry;   /* trouble with the disk does not end it */
    bool keep;    /* likewise, and it is never refused either */

    struct pd_db_job *next; /* the database's own, like the rest */
    uint64_t since_ns;
    struct pd_err *failure;
    uv_sem_t *waiter;
    enum pd_db_kind kind;
};

/* 0: accepted, `done` fires once. PD_LIMIT: too much waits; `done` never fires.
 * What is marked `keep` is always accepted: its owner bounds how many there are. */
int pd_db_submit(struct pd_db *db, enum pd_db_kind kind, struct pd_db_job *job,
                 struct pd_err *err);

/* Carry out one job and wait for it: for the start of the process, before the
 * loop turns. `done` is not called. */
int pd_db_now(struct pd_db *db, enum pd_db_kind kind, struct pd_db_job *job, struct pd_err *err);

/* ---- within fn ---- */

/* A prepared statement, without bindings, ready to step; kept for the next use:
 * `sql` must be a constant of the program. */
int pd_db_prepare(struct pd_db_conn *conn, const char *sql, struct sqlite3_stmt **ret_stmt,
                  struct pd_err *err);
/* Likewise for a text made on the way; the caller finalizes. */
void pd_db_finalize(struct sqlite3_stmt *stmt);
int pd_db_prepare_once(struct pd_db_conn *conn, const char *sql, struct sqlite3_stmt **ret_stmt,
                       struct pd_err *err);
/* 1: a row; 0: done (and reset); negative: PD_CONFLICT (a constraint),
 * PD_UNAVAILABLE (disk), PD_INTERNAL. */
int pd_db_step(struct pd_db_conn *conn, struct sqlite3_stmt *stmt, struct pd_err *err);
/* How many rows the last statement changed. */
int64_t pd_db_changes(const struct pd_db_conn *conn);
int64_t pd_db_last_id(const struct pd_db_conn *conn);

/* Bind at `index` (from 1). Texts and bytes are borrowed until the statement is
 * stepped to its end; NULL binds NULL. */
void pd_db_bind_text(struct sqlite3_stmt *stmt, int index, const char *text);
void pd_db_bind_bytes(struct sqlite3_stmt *stmt, int index, const void *data, size_t len);
void pd_db_bind_int(struct sqlite3_stmt *stmt, int index, int64_t value);
void pd_db_bind_real(struct sqlite3_stmt *stmt, int index, double value);
/* Columns from 0; texts are borrowed until the next step; "" for NULL. */
const char *pd_db_text(struct sqlite3_stmt *stmt, int column);
const void *pd_db_bytes(struct sqlite3_stmt *stmt, int column, size_t *ret_len);
int64_t pd_db_int(struct sqlite3_stmt *stmt, int column);
double pd_db_real(struct sqlite3_stmt *stmt, int column);
bool pd_db_is_null(struct sqlite3_stmt *stmt, int column);

#endif
