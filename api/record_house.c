/* What is there at a start, and what goes by age and size. */
#include "api/records_inside.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/time.h"

/* ---- after a restart ---- */

struct looking {
    struct pd_db_job base;
    struct pd_unfinished *items;
    size_t count;
};

static int look_unfinished(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] =
        "SELECT id, key_id, pool, language, kind, state, retry_safe, cancel, accepted"
        " FROM executions WHERE state < 2 ORDER BY accepted, id";
    struct looking *looking = PD_CONTAINER_OF(base, struct looking, base);
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    while (rc >= 0 && (rc = pd_db_step(conn, stmt, err)) == 1) {
        struct pd_unfinished *item;
        if ((looking->count & (looking->count - 1)) == 0)
            looking->items = pd_realloc(looking->items, looking->count ? looking->count * 2 : 1,
                                        sizeof *looking->items);
        item = &looking->items[looking->count++];
        *item = (struct pd_unfinished){
            .kind = (enum pd_record_kind)pd_db_int(stmt, 4),
            .began = pd_db_int(stmt, 5) == PD_ROW_RUNNING,
            .retry_safe = pd_db_int(stmt, 6) != 0,
            .canceled = pd_db_int(stmt, 7) != 0,
            .accepted_wall_ms = pd_db_int(stmt, 8),
        };
        pd_strcpy(item->id, sizeof item->id, pd_db_text(stmt, 0));
        pd_strcpy(item->key_id, sizeof item->key_id, pd_db_text(stmt, 1));
        pd_strcpy(item->pool, sizeof item->pool, pd_db_text(stmt, 2));
        pd_strcpy(item->language, sizeof item->language, pd_db_text(stmt, 3));
    }
    return rc;
}

int pd_records_unfinished(struct pd_records *records,
                          void (*cb)(void *arg, const struct pd_unfinished *item), void *arg,
                          struct pd_err *err)
{
    struct looking looking = {.base = {.fn = look_unfinished}};
    int rc = pd_db_now(records->config.db, PD_DB_READ, &looking.base, err);

    for (size_t i = 0; rc == 0 && i < looking.count; i++)
        cb(arg, &looking.items[i]);
    free(looking.items);
    return rc;
}

/* ---- keeping house ---- */

struct pruning {
    struct pd_db_job base;
    struct pd_records *records;
    pd_prune_cb cb;
    void *arg;
    int64_t removed;
    int64_t dropped;   /* of these: that PostgreSQL never had */
    int64_t unshipped; /* that wait for it, as far as they are counted */
    bool is_full;      /* too much is there, and none of it may go */
};

static int file_bytes(struct pd_db_conn *conn, int64_t *ret_bytes, struct pd_err *err)
{
    static const char sql[] =
        "SELECT (page_count - freelist_count) * page_size FROM"
        " pragma_page_count, pragma_freelist_count, pragma_page_size";
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc == 0)
        rc = pd_db_step(conn, stmt, err);
    if (rc == 1)
        *ret_bytes = pd_db_int(stmt, 0);
    return rc < 0 ? rc : 0;
}

/* The oldest that are done, and (where rows are shipped) shipped: those accepted before
 * `before_ms`. */
static int remove_some(struct pruning *pruning, struct pd_db_conn *conn, int64_t before_ms,
                       struct pd_err *err)
{
    static const char sql[] =
        "DELETE FROM executions WHERE rowid IN (SELECT rowid FROM executions"
        " WHERE state = 2 AND accepted < ?1 AND (shipped OR NOT ?2)"
        " ORDER BY accepted LIMIT ?3)";
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_int(stmt, 1, before_ms);
    pd_db_bind_int(stmt, 2, pruning->records->config.ship);
    pd_db_bind_int(stmt, 3, PD_RECORDS_PRUNE_MAX);
    rc = pd_db_step(conn, stmt, err);
    if (rc == 0)
        pruning->removed += pd_db_changes(conn);
    return rc;
}

/* PostgreSQL is away, and what waits for it has reached the bound: the oldest that
 * nobody was promised. */
static int drop_some(struct pruning *pruning, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] =
        "DELETE FROM executions WHERE rowid IN (SELECT rowid FROM executions"
        " WHERE state = 2 AND shipped = 0 AND kind < 2 AND idempotency_key IS NULL"
        " ORDER BY ended LIMIT ?1)";
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_int(stmt, 1, PD_RECORDS_PRUNE_MAX);
    rc = pd_db_step(conn, stmt, err);
    if (rc == 0) {
        pruning->dropped = pd_db_changes(conn);
        pruning->removed += pruning->dropped;
    }
    return rc;
}

static int count_unshipped(struct pruning *pruning, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] =
        "SELECT count(*) FROM (SELECT 1 FROM executions"
        " WHERE state = 2 AND shipped = 0 LIMIT ?1)";
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_int(stmt, 1, PD_RECORDS_COUNTED_MAX);
    rc = pd_db_step(conn, stmt, err);
    if (rc == 1)
        pruning->unshipped = pd_db_int(stmt, 0);
    return rc < 0 ? rc : 0;
}

static int keep_within(struct pruning *pruning, struct pd_db_conn *conn, int64_t size_bytes,
                       struct pd_err *err)
{
    bool ship = pruning->records->config.ship;
    int64_t bytes = 0;
    int rc = file_bytes(conn, &bytes, err);

    if (rc < 0 || bytes <= size_bytes)
        return rc;
    rc = remove_some(pruning, conn, INT64_MAX, err);
    if (rc == 0 && pruning->removed == 0 && ship)
        rc = drop_some(pruning, conn, err);
    pruning->is_full = rc == 0 && pruning->removed == 0 && ship;
    return rc;
}

static int give_space_back(struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] = "PRAGMA incremental_vacuum(1000)";
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    while (rc >= 0 && (rc = pd_db_step(conn, stmt, err)) == 1)
        continue;
    return rc;
}

static int prune(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    struct pruning *pruning = PD_CONTAINER_OF(base, struct pruning, base);
    const struct pd_records_config *config = &pruning->records->config;
    int rc = 0;

    pruning->removed = pruning->dropped = pruning->unshipped = 0;
    pruning->is_full = false;
    if (config->age_ms > 0)
        rc = remove_some(pruning, conn, pd_wall_ms() - config->age_ms, err);
    if (rc == 0 && config->size_bytes > 0 && pruning->removed == 0)
        rc = keep_within(pruning, conn, config->size_bytes, err);
    if (rc == 0 && config->ship)
        rc = count_unshipped(pruning, conn, err);
    return rc < 0 ? rc : give_space_back(conn, err);
}

/* Said once for a stretch of it. */
static void note(struct pd_records *records, const struct pruning *pruning)
{
    if (pruning->dropped > 0 && !records->is_dropping)
        pd_log(PD_LOG_WARN, "records",
               "PADDOCK_RECORDS_SIZE is reached and PostgreSQL is behind: records of plain runs "
               "are dropped, the oldest first",
               NULL);
    if (pruning->is_full && !records->is_full)
        pd_log(PD_LOG_ERROR, "records",
               "PADDOCK_RECORDS_SIZE is reached and PostgreSQL is behind: nothing is accepted",
               NULL);
    if (!pruning->is_full && records->is_full)
        pd_log(PD_LOG_INFO, "records", "there is room for records again", NULL);
    records->is_dropping = pruning->dropped > 0;
    records->is_full = pruning->is_full;
    records->dropped += (uint64_t)pruning->dropped;
    records->unshipped = pruning->unshipped;
}

static void on_pruned(struct pd_db_job *base, const struct pd_err *err)
{
    struct pruning *pruning = PD_CONTAINER_OF(base, struct pruning, base);

    if (!err)
        note(pruning->records, pruning);
    pruning->cb(pruning->arg, pruning->removed, err);
    free(pruning);
}

int pd_records_prune(struct pd_records *records, pd_prune_cb cb, void *arg, struct pd_err *err)
{
    struct pruning *pruning = PD_NEW(struct pruning);
    int rc;

    pruning->base = (struct pd_db_job){.fn = prune, .done = on_pruned, .bytes = sizeof *pruning};
    pruning->records = records;
    pruning->cb = cb;
    pruning->arg = arg;
    rc = pd_db_submit(records->config.db, PD_DB_LAZY, &pruning->base, err);
    if (rc < 0)
        free(pruning);
    return rc;
}
