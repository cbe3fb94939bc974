#include "common/db_conn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/mem.h"

#define BUSY_MS 2000 /* another process may look into the file: wait for it so long */
#define STATEMENTS_MAX 96
#define ROOM_BYTES_MIN (1024 * 1024) /* on the disk, before a failed database is tried again */
#define WAL_BYTES_KEPT (16 * 1024 * 1024) /* the log is cut back to this after a checkpoint */
#define WAL_PAGES 4000                    /* in the log, then a checkpoint */
#define CACHE_KIB 8192

struct statement {
    const char *sql; /* the constant itself is the key */
    sqlite3_stmt *stmt;
};

struct pd_db_conn {
    sqlite3 *sqlite;
    struct statement statements[STATEMENTS_MAX];
    size_t n_statements;
    bool full; /* synchronous is FULL now */
    bool damaged;
};

/* ---- errors ---- */

static int kind_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
        return PD_CONFLICT;
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_NOMEM:
    case SQLITE_PROTOCOL:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return PD_UNAVAILABLE;
    default:
        return PD_INTERNAL;
    }
}

static int fail(struct pd_db_conn *conn, struct pd_err *err)
{
    int code = sqlite3_errcode(conn->sqlite) & 0xff;

    conn->damaged |= code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
    return pd_err_set(err, kind_of(sqlite3_errcode(conn->sqlite)), "database: %s",
                      sqlite3_errmsg(conn->sqlite));
}

static int exec(struct pd_db_conn *conn, const char *sql, struct pd_err *err)
{
    return sqlite3_exec(conn->sqlite, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(conn, err);
}

/* ---- statements ---- */

int pd_db_prepare_once(struct pd_db_conn *conn, const char *sql, struct sqlite3_stmt **ret_stmt,
                       struct pd_err *err)
{
    if (sqlite3_prepare_v2(conn->sqlite, sql, -1, ret_stmt, NULL) != SQLITE_OK)
        return fail(conn, err);
    return 0;
}

void pd_db_finalize(struct sqlite3_stmt *stmt)
{
    sqlite3_finalize(stmt);
}

int pd_db_prepare(struct pd_db_conn *conn, const char *sql, struct sqlite3_stmt **ret_stmt,
                  struct pd_err *err)
{
    struct statement *entry;

    for (size_t i = 0; i < conn->n_statements; i++) {
        if (conn->statements[i].sql == sql) {
            *ret_stmt = conn->statements[i].stmt;
            sqlite3_reset(*ret_stmt);
            sqlite3_clear_bindings(*ret_stmt);
            return 0;
        }
    }
    assert(conn->n_statements < STATEMENTS_MAX);
    entry = &conn->statements[conn->n_statements];
    if (sqlite3_prepare_v3(conn->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, &entry->stmt, NULL) !=
        SQLITE_OK)
        return fail(conn, err);
    entry->sql = sql;
    conn->n_statements++;
    *ret_stmt = entry->stmt;
    return 0;
}

int pd_db_step(struct pd_db_conn *conn, struct sqlite3_stmt *stmt, struct pd_err *err)
{
    int rc;

    switch (sqlite3_step(stmt)) {
    case SQLITE_ROW:
        return 1;
    case SQLITE_DONE:
        sqlite3_reset(stmt);
        return 0;
    default:
        break;
    }
    rc = fail(conn, err);
    sqlite3_reset(stmt);
    return rc;
}

int64_t pd_db_changes(const struct pd_db_conn *conn)
{
    return sqlite3_changes(conn->sqlite);
}

int64_t pd_db_last_id(const struct pd_db_conn *conn)
{
    return sqlite3_last_insert_rowid(conn->sqlite);
}

/* A binding fails only for an index that the statement lacks: our own mistake. */
static void bound(int code)
{
    assert(code == SQLITE_OK);
    (void)code;
}

void pd_db_bind_text(struct sqlite3_stmt *stmt, int index, const char *text)
{
    bound(sqlite3_bind_text(stmt, index, text, -1, SQLITE_STATIC));
}

void pd_db_bind_bytes(struct sqlite3_stmt *stmt, int index, const void *data, size_t len)
{
    if (data)
        bound(sqlite3_bind_blob64(stmt, index, data, len, SQLITE_STATIC));
    else
        bound(sqlite3_bind_null(stmt, index));
}

void pd_db_bind_int(struct sqlite3_stmt *stmt, int index, int64_t value)
{
    bound(sqlite3_bind_int64(stmt, index, value));
}

void pd_db_bind_real(struct sqlite3_stmt *stmt, int index, double value)
{
    bound(sqlite3_bind_double(stmt, index, value));
}

const char *pd_db_text(struct sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);

    return text ? text : "";
}

const void *pd_db_bytes(struct sqlite3_stmt *stmt, int column, size_t *ret_len)
{
    const void *data = sqlite3_column_blob(stmt, column);

    *ret_len = (size_t)sqlite3_column_bytes(stmt, column);
    return data;
}

int64_t pd_db_int(struct sqlite3_stmt *stmt, int column)
{
    return sqlite3_column_int64(stmt, column);
}

double pd_db_real(struct sqlite3_stmt *stmt, int column)
{
    return sqlite3_column_double(stmt, column);
}

bool pd_db_is_null(struct sqlite3_stmt *stmt, int column)
{
    return sqlite3_column_type(stmt, column) == SQLITE_NULL;
}

/* ---- transactions ---- */

int pd_db_conn_begin(struct pd_db_conn *conn, bool full, struct pd_err *err)
{
    if (full != conn->full) {
        /* In WAL mode FULL fsyncs the log at each commit, NORMAL before checkpoints only. */
        int rc = exec(conn, full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", err);
        if (rc < 0)
            return rc;
        conn->full = full;
    }
    return exec(conn, "BEGIN IMMEDIATE", err);
}

int pd_db_conn_look(struct pd_db_conn *conn, struct pd_err *err)
{
    return exec(conn, "BEGIN", err);
}

void pd_db_conn_rollback(struct pd_db_conn *conn)
{
    for (size_t i = 0; i < conn->n_statements; i++)
        sqlite3_reset(conn->statements[i].stmt);
    /* Some failures have rolled back already. */
    if (!sqlite3_get_autocommit(conn->sqlite))
        sqlite3_exec(conn->sqlite, "ROLLBACK", NULL, NULL, NULL);
}

int pd_db_conn_commit(struct pd_db_conn *conn, struct pd_err *err)
{
    int rc;

    for (size_t i = 0; i < conn->n_statements; i++)
        sqlite3_reset(conn->statements[i].stmt); /* a reader left open would hold the commit up */
    rc = exec(conn, "COMMIT", err);
    if (rc < 0)
        pd_db_conn_rollback(conn);
    return rc;
}

int pd_db_conn_savepoint(struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] = "SAVEPOINT job";
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    return rc < 0 ? rc : pd_db_step(conn, stmt, err);
}

int pd_db_conn_release(struct pd_db_conn *conn, bool undo, struct pd_err *err)
{
    static const char rollback[] = "ROLLBACK TO job";
    static const char release[] = "RELEASE job";
    struct sqlite3_stmt *stmt;
    int rc = 0;

    if (undo) {
        rc = pd_db_prepare(conn, rollback, &stmt, err);
        if (rc == 0)
            rc = pd_db_step(conn, stmt, err);
    }
    if (rc == 0)
        rc = pd_db_prepare(conn, release, &stmt, err);
    return rc < 0 ? rc : pd_db_step(conn, stmt, err);
}

/* ---- trouble ---- */

bool pd_db_conn_is_damaged(const struct pd_db_conn *conn)
{
    return conn->damaged;
}

static int check_room(struct pd_db_conn *conn, struct pd_err *err)
{
    struct statvfs room;

    if (statvfs(sqlite3_db_filename(conn->sqlite, "main"), &room) < 0)
        return pd_err_os(err, PD_UNAVAILABLE, errno, "database");
    if ((uint64_t)room.f_bavail * room.f_frsize < ROOM_BYTES_MIN)
        return pd_err_set(err, PD_UNAVAILABLE, "database: the disk is full");
    return 0;
}

int pd_db_conn_probe(struct pd_db_conn *conn, struct pd_err *err)
{
    int rc;

    if (conn->damaged)
        return pd_err_set(err, PD_UNAVAILABLE,
                          "database: the file is damaged; stop the service and restore it, or move "
                          "it away");
    rc = check_room(conn, err);
    if (rc == 0)
        rc = pd_db_conn_begin(conn, true, err);
    if (rc < 0)
        return rc;
    rc = exec(conn, "PRAGMA user_version=0", err); /* writes its page, changed or not */
    if (rc == 0)
        return pd_db_conn_commit(conn, err);
    pd_db_conn_rollback(conn);
    return rc;
}

/* ---- schema ---- */

static int read_version(struct pd_db_conn *conn, const char *part, int64_t *ret_version,
                        struct pd_err *err)
{
    static const char sql[] = "SELECT version FROM schema_versions WHERE part = ?1";
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_text(stmt, 1, part);
    rc = pd_db_step(conn, stmt, err);
    *ret_version = rc == 1 ? pd_db_int(stmt, 0) : 0;
    sqlite3_reset(stmt);
    return rc < 0 ? rc : 0;
}

static int write_version(struct pd_db_conn *conn, const char *part, int64_t version,
                         struct pd_err *err)
{
    static const char sql[] = "INSERT INTO schema_versions (part, version) VALUES (?1, ?2)"
                              " ON CONFLICT (part) DO UPDATE SET version = excluded.version";
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_text(stmt, 1, part);
    pd_db_bind_int(stmt, 2, version);
    return pd_db_step(conn, stmt, err);
}

static int upgrade(struct pd_db_conn *conn, const struct pd_db_schema *schema, struct pd_err *err)
{
    int64_t known = 0;
    int64_t version = 0;
    int rc = read_version(conn, schema->part, &version, err);

    while (schema->steps[known])
        known++;
    if (rc == 0 && version > known)
        return pd_err_set(err, PD_CONFLICT,
                          "written by a newer paddock: its '%s' tables have version %lld, this one "
                          "knows %lld",
                          schema->part, (long long)version, (long long)known);
    if (rc < 0 || version == known)
        return rc;
    for (int64_t i = version; i < known; i++) {
        rc = exec(conn, schema->steps[i], err);
        if (rc < 0)
            return pd_err_wrap(err, "'%s' tables, step %lld", schema->part, (long long)i);
    }
    return write_version(conn, schema->part, known, err);
}

static int upgrade_all(struct pd_db_conn *conn, const struct pd_db_schema *const *schemas,
                       struct pd_err *err)
{
    int rc = pd_db_conn_begin(conn, true, err);

    if (rc < 0)
        return rc;
    rc = exec(conn,
              "CREATE TABLE IF NOT EXISTS schema_versions"
              " (part TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID",
              err);
    for (; rc == 0 && *schemas; schemas++)
        rc = upgrade(conn, *schemas, err);
    if (rc == 0)
        return pd_db_conn_commit(conn, err);
    pd_db_conn_rollback(conn);
    return rc;
}

/* ---- life ---- */

/* Nobody else may read it; the log and its index take the file's mode. */
static int make_file(const char *path, struct pd_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return pd_err_os(err, PD_UNAVAILABLE, errno, "open");
    close(fd);
    return 0;
}

static int set_up(struct pd_db_conn *conn, const struct pd_db_config *config, bool write,
                  struct pd_err *err)
{
    int rc;

    sqlite3_extended_result_codes(conn->sqlite, 1);
    sqlite3_busy_timeout(conn->sqlite, BUSY_MS);
    if (!write)
        return exec(conn, "PRAGMA query_only=ON", err);
    rc = exec(conn, "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;"
                    "PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON",
              err);
    if (rc == 0) {
        pd_autofree char *limit = pd_asprintf(
            "PRAGMA journal_size_limit=%d; PRAGMA wal_autocheckpoint=%d; PRAGMA cache_size=-%d",
            WAL_BYTES_KEPT, WAL_PAGES, CACHE_KIB);
        rc = exec(conn, limit, err);
    }
    return rc < 0 ? rc : upgrade_all(conn, config->schemas, err);
}

int pd_db_conn_open(const struct pd_db_config *config, bool write, struct pd_db_conn **ret_conn,
                    struct pd_err *err)
{
    /* Nobody asks what SQLite has allocated; counting it is a lock each time. Refused
     * where the library is in use already, which is fine. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    struct pd_db_conn *conn = PD_NEW(struct pd_db_conn);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    int rc = write ? make_file(config->path, err) : 0;

    if (rc == 0 && sqlite3_open_v2(config->path, &conn->sqlite, flags, config->vfs) != SQLITE_OK)
        rc = fail(conn, err);
    if (rc == 0)
        rc = set_up(conn, config, write, err);
    if (rc < 0) {
        if (conn->damaged && err)
            err->kind = PD_INTERNAL; /* no later try will find it better */
        pd_db_conn_close(conn);
        return pd_err_wrap(err, "'%s'", config->path);
    }
    *ret_conn = conn;
    return 0;
}

void pd_db_conn_close(struct pd_db_conn *conn)
{
    if (!conn)
        return;
    for (size_t i = 0; i < conn->n_statements; i++)
        sqlite3_finalize(conn->statements[i].stmt);
    sqlite3_close(conn->sqlite);
    free(conn);
}
