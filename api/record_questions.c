/* What is asked of the records: one, its events, its body, lists with filters. */
#include <stdio.h>
#include <string.h>

#include "api/record_row.h"
#include "api/records_inside.h"
#include "common/json.h"
#include "common/mem.h"

#define ROW_BYTES_MAX (64u * 1024 * 1024) /* of one with its result */
#define LIST_BYTES_MAX (4u * 1024 * 1024)
#define SQL_BYTES 1024

/* ---- questions ---- */

struct question {
    struct pd_db_job base;
    pd_records_text_cb cb;
    void *arg;
    struct pd_buf text;
    char id[PD_RECORD_ID_BYTES];
    char key_id[PD_KEY_ID_MAX];
    struct pd_records_query query;
};

static void on_answered(struct pd_db_job *base, const struct pd_err *err)
{
    struct question *question = PD_CONTAINER_OF(base, struct question, base);

    question->cb(question->arg, &question->text, err);
    pd_buf_fini(&question->text);
    free(question);
}

static struct question *question_new(const char *id, const char *key_id, size_t bytes_max,
                                     pd_records_text_cb cb, void *arg)
{
    struct question *question = PD_NEW(struct question);

    question->base.done = on_answered;
    question->base.bytes = sizeof *question;
    question->cb = cb;
    question->arg = arg;
    pd_strcpy(question->id, sizeof question->id, id ? id : "");
    pd_strcpy(question->key_id, sizeof question->key_id, key_id ? key_id : "");
    pd_buf_init(&question->text, bytes_max);
    return question;
}

static int ask(struct pd_records *records, struct question *question,
               int (*fn)(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err),
               struct pd_err *err)
{
    int rc;

    question->base.fn = fn;
    rc = pd_db_submit(records->config.db, PD_DB_READ, &question->base, err);
    if (rc < 0)
        free(question);
    return rc;
}

/* 1: the row is there; PD_NOT_FOUND. ?1 the id, ?2 the key's or "". */
static int find_row(struct question *question, struct pd_db_conn *conn, const char *sql,
                    struct sqlite3_stmt **ret_stmt, struct pd_err *err)
{
    int rc = pd_db_prepare(conn, sql, ret_stmt, err);

    pd_buf_clear(&question->text);
    if (rc < 0)
        return rc;
    pd_db_bind_text(*ret_stmt, 1, question->id);
    pd_db_bind_text(*ret_stmt, 2, question->key_id);
    rc = pd_db_step(conn, *ret_stmt, err);
    if (rc == 0)
        rc = pd_err_set(err, PD_NOT_FOUND, "there is no such execution");
    return rc;
}

static int get_row(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] = "SELECT " PD_ROW_COLUMNS
                              ", answer FROM executions"
                              " WHERE id = ?1 AND ?2 IN ('', key_id)";
    struct question *question = PD_CONTAINER_OF(base, struct question, base);
    struct sqlite3_stmt *stmt;
    int rc = find_row(question, conn, sql, &stmt, err);

    return rc < 0 ? rc : pd_record_row_format(stmt, &question->text, err);
}

int pd_records_get(struct pd_records *records, const char *id, const char *key_id,
                   pd_records_text_cb cb, void *arg, struct pd_err *err)
{
    return ask(records, question_new(id, key_id, ROW_BYTES_MAX, cb, arg), get_row, err);
}

static int get_bytes(struct question *question, struct pd_db_conn *conn, const char *sql,
                     struct pd_err *err)
{
    struct sqlite3_stmt *stmt;
    const void *bytes;
    size_t len;
    int rc = find_row(question, conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    bytes = pd_db_bytes(stmt, 0, &len);
    return len > 0 ? pd_buf_add(&question->text, bytes, len, err) : 0;
}

static int get_events(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] =
        "SELECT key_id || char(10) || IFNULL(events, '') FROM executions"
        " WHERE id = ?1 AND ?2 IN ('', key_id) AND state = 2";

    return get_bytes(PD_CONTAINER_OF(base, struct question, base), conn, sql, err);
}

int pd_records_events(struct pd_records *records, const char *id, const char *key_id,
                      pd_records_text_cb cb, void *arg, struct pd_err *err)
{
    return ask(records, question_new(id, key_id, ROW_BYTES_MAX, cb, arg), get_events, err);
}

static int get_body(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] = "SELECT body FROM executions WHERE id = ?1 AND state < 2 AND ?2 = ''";

    return get_bytes(PD_CONTAINER_OF(base, struct question, base), conn, sql, err);
}

int pd_records_body(struct pd_records *records, const char *id, pd_records_text_cb cb, void *arg,
                    struct pd_err *err)
{
    return ask(records, question_new(id, "", ROW_BYTES_MAX, cb, arg), get_body, err);
}

/* ---- lists ---- */

/* Parameters keep their numbers whatever of them is asked for. */
static void write_list_sql(const struct pd_records_query *query, char out[static SQL_BYTES])
{
    bool is_state = pd_record_state_of(query->status) >= 0;

    snprintf(out, SQL_BYTES,
             "SELECT " PD_ROW_COLUMNS
             " FROM executions WHERE 1%s%s%s%s%s%s%s"
             " ORDER BY accepted DESC, id DESC LIMIT ?9",
             *query->key_id ? " AND key_id = ?1" : "",
             !*query->status ? ""
             : is_state      ? " AND state = ?2"
                             : " AND cause = ?3",
             *query->pool ? " AND pool = ?4" : "", *query->language ? " AND language = ?5" : "",
             query->from_wall_ms ? " AND accepted >= ?6" : "",
             query->to_wall_ms ? " AND accepted <= ?7" : "",
             *query->cursor_id ? " AND (accepted, id) < (?8, ?10)" : "");
}

/* An index that a statement does not have is not bound. */
static void bind_list(struct sqlite3_stmt *stmt, const struct pd_records_query *query)
{
    if (*query->key_id)
        pd_db_bind_text(stmt, 1, query->key_id);
    if (pd_record_state_of(query->status) >= 0)
        pd_db_bind_int(stmt, 2, pd_record_state_of(query->status));
    else if (*query->status)
        pd_db_bind_text(stmt, 3, query->status);
    if (*query->pool)
        pd_db_bind_text(stmt, 4, query->pool);
    if (*query->language)
        pd_db_bind_text(stmt, 5, query->language);
    if (query->from_wall_ms)
        pd_db_bind_int(stmt, 6, query->from_wall_ms);
    if (query->to_wall_ms)
        pd_db_bind_int(stmt, 7, query->to_wall_ms);
    if (*query->cursor_id) {
        pd_db_bind_int(stmt, 8, query->cursor_ms);
        pd_db_bind_text(stmt, 10, query->cursor_id);
    }
    pd_db_bind_int(stmt, 9, query->limit + 1); /* one more tells whether there is more */
}

static int collect_rows(struct question *question, struct pd_db_conn *conn,
                        struct sqlite3_stmt *stmt, struct pd_err *err)
{
    pd_autonode struct pd_node *root = pd_node_map_new();
    struct pd_node *items = pd_node_set(root, "items", pd_node_list_new());
    char cursor[PD_RECORD_ID_BYTES + 24] = "";
    int count = 0;
    int rc;

    while ((rc = pd_db_step(conn, stmt, err)) == 1) {
        if (count++ == question->query.limit) {
            pd_node_set_string(root, "next", cursor);
            break;
        }
        snprintf(cursor, sizeof cursor, "%lld.%s", (long long)pd_db_int(stmt, C_ACCEPTED),
                 pd_db_text(stmt, C_ID));
        pd_node_add(items, pd_record_row_node(stmt));
    }
    if (rc >= 0)
        rc = pd_json_format(root, &question->text, err);
    return rc < 0 ? rc : pd_buf_add(&question->text, "\n", 1, err);
}

static int list_rows(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    struct question *question = PD_CONTAINER_OF(base, struct question, base);
    struct sqlite3_stmt *stmt;
    char sql[SQL_BYTES];
    int rc;

    write_list_sql(&question->query, sql);
    pd_buf_clear(&question->text);
    rc = pd_db_prepare_once(conn, sql, &stmt, err);
    if (rc < 0)
        return rc;
    bind_list(stmt, &question->query);
    rc = collect_rows(question, conn, stmt, err);
    pd_db_finalize(stmt);
    return rc;
}

int pd_records_list(struct pd_records *records, const struct pd_records_query *query,
                    pd_records_text_cb cb, void *arg, struct pd_err *err)
{
    struct question *question = question_new(NULL, NULL, LIST_BYTES_MAX, cb, arg);

    question->query = *query;
    return ask(records, question, list_rows, err);
}
