/* Rows that come from elsewhere (ledger_redis_keep.c), as JSON. */
#include <stdlib.h>

#include "api/records_inside.h"
#include "common/mem.h"

struct importing {
    struct pd_db_job base;
    pd_records_cb cb;
    void *arg;
    const struct pd_buf *rows; /* the caller's */
};

/* Times are RFC 3339 in a row, milliseconds in the table. */
#define MS_OF(name)                                                                                \
    "CAST(round((julianday(json_extract(value, '$." name "')) - 2440587.5) * 86400000) AS "        \
                                                         "INTEGER)"
#define FIELD(name) "json_extract(value, '$." name "')"
#define MICROSECONDS(name) "CAST(round(" FIELD(name) " * 1000000) AS INTEGER)"

/* All of them were accepted, so none of them may be dropped (record_house.c): those that
 * were so by an Idempotency-Key, which is Redis's to know, have their id for one. */
static int import_rows(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] =
        "INSERT OR IGNORE INTO executions (id, state, kind, key_id, pool, language, sandbox,"
        " accepted, began, ended, retry_safe, cause, reason, exit_code, signal, start, queue_us,"
        " wall_us, cpu_us, memory_peak, stdout_bytes, stderr_bytes, truncated, code_sha256,"
        " idempotency_key)"
        " SELECT " FIELD("id") ", 2, CASE " FIELD("kind") " WHEN 'async' THEN 2 WHEN 'stream'"
        " THEN 1 ELSE 0 END, " FIELD("key") ", " FIELD("pool") ", " FIELD("language") ", "
        FIELD("sandbox") ", " MS_OF("accepted") ", " MS_OF("began") ", " MS_OF("ended") ", ifnull("
        FIELD("retry_safe") ", 0), " FIELD("cause") ", " FIELD("reason") ", " FIELD("exit_code")
        ", " FIELD("signal") ", " FIELD("start") ", " MICROSECONDS("queue_time") ", "
        MICROSECONDS("execution_time") ", " MICROSECONDS("cpu_time") ", " FIELD("memory_peak")
        ", " FIELD("stdout_bytes") ", " FIELD("stderr_bytes") ", " FIELD("truncated")
        ", " FIELD("code_sha256") ", " FIELD("id") " FROM json_each(?1)";
    const struct importing *importing = PD_CONTAINER_OF(base, struct importing, base);
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_text(stmt, 1, importing->rows->data);
    return pd_db_step(conn, stmt, err);
}

static void on_imported(struct pd_db_job *base, const struct pd_err *err)
{
    struct importing *importing = PD_CONTAINER_OF(base, struct importing, base);

    importing->cb(importing->arg, err);
    free(importing);
}

/* Durably: the caller forgets them then. */
int pd_records_import(struct pd_records *records, const struct pd_buf *rows, pd_records_cb cb,
                      void *arg, struct pd_err *err)
{
    struct importing *importing = PD_NEW(struct importing);
    int rc;

    importing->base =
        (struct pd_db_job){.fn = import_rows, .done = on_imported, .bytes = sizeof *importing};
    importing->cb = cb;
    importing->arg = arg;
    importing->rows = rows;
    rc = pd_db_submit(records->config.db, PD_DB_DURABLE, &importing->base, err);
    if (rc < 0)
        free(importing);
    return rc;
}
