/* Rows on their way to PostgreSQL (shipper.h). */
#include "api/record_row.h"
#include "api/records_inside.h"
#include "common/json.h"
#include "common/mem.h"

#define BATCH_BYTES_MAX (4u * 1024 * 1024)

struct shipping {
    struct pd_db_job base;
    pd_unshipped_cb on_rows;
    pd_records_cb on_marked;
    void *arg;
    struct pd_buf text;        /* of rows that were read */
    const struct pd_buf *rows; /* to be marked; the caller's */
    int limit;
    size_t count;
    bool left_out;
};

static int read_unshipped(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] = "SELECT " PD_ROW_COLUMNS
                              " FROM executions"
                              " WHERE state = 2 AND shipped = 0 ORDER BY ended LIMIT ?1";
    struct shipping *shipping = PD_CONTAINER_OF(base, struct shipping, base);
    pd_autonode struct pd_node *list = pd_node_list_new();
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_int(stmt, 1, shipping->limit);
    while ((rc = pd_db_step(conn, stmt, err)) == 1) {
        pd_node_add(list, pd_record_row_node(stmt));
        shipping->count++;
    }
    return rc < 0 ? rc : pd_json_format(list, &shipping->text, err);
}

static void on_unshipped(struct pd_db_job *base, const struct pd_err *err)
{
    struct shipping *shipping = PD_CONTAINER_OF(base, struct shipping, base);

    shipping->on_rows(shipping->arg, &shipping->text, shipping->count, err);
    pd_buf_fini(&shipping->text);
    free(shipping);
}

int pd_records_unshipped(struct pd_records *records, int limit, pd_unshipped_cb cb, void *arg,
                         struct pd_err *err)
{
    struct shipping *shipping = PD_NEW(struct shipping);
    int rc;

    shipping->base =
        (struct pd_db_job){.fn = read_unshipped, .done = on_unshipped, .bytes = sizeof *shipping};
    shipping->on_rows = cb;
    shipping->arg = arg;
    shipping->limit = limit;
    pd_buf_init(&shipping->text, BATCH_BYTES_MAX);
    rc = pd_db_submit(records->config.db, PD_DB_READ, &shipping->base, err);
    if (rc < 0)
        free(shipping);
    return rc;
}

static int mark_shipped(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] =
        "UPDATE executions SET shipped = ?2 WHERE id IN"
        " (SELECT json_extract(value, '$.id') FROM json_each(?1))";
    struct shipping *shipping = PD_CONTAINER_OF(base, struct shipping, base);
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_text(stmt, 1, shipping->rows->data);
    pd_db_bind_int(stmt, 2, shipping->left_out ? 2 : 1);
    return pd_db_step(conn, stmt, err);
}

static void on_mark_done(struct pd_db_job *base, const struct pd_err *err)
{
    struct shipping *shipping = PD_CONTAINER_OF(base, struct shipping, base);

    shipping->on_marked(shipping->arg, err);
    free(shipping);
}

/* Lazily: what is shipped twice after a kill changes nothing. */
int pd_records_mark_shipped(struct pd_records *records, const struct pd_buf *rows, bool left_out,
                            pd_records_cb cb, void *arg, struct pd_err *err)
{
    struct shipping *shipping = PD_NEW(struct shipping);
    int rc;

    shipping->base =
        (struct pd_db_job){.fn = mark_shipped, .done = on_mark_done, .bytes = sizeof *shipping};
    shipping->on_marked = cb;
    shipping->arg = arg;
    shipping->rows = rows;
    shipping->left_out = left_out;
    rc = pd_db_submit(records->config.db, PD_DB_LAZY, &shipping->base, err);
    if (rc < 0)
        free(shipping);
    return rc;
}
