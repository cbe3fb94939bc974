/* Rows as JSON, and the questions that are asked of them. */
#include <stdio.h>
#include <string.h>

#include "api/records_inside.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/time.h"

#define ROW_BYTES_MAX (64u * 1024 * 1024) /* of one with its result */
#define LIST_BYTES_MAX (4u * 1024 * 1024)
#define SQL_BYTES 1024

#define ROW_COLUMNS                                                                                \
    "id, state, kind, key_id, pool, language, sandbox, accepted, began, ended, retry_safe,"        \
    " cause, reason, exit_code, signal, start, queue_us, run_us, wall_us, cpu_us, compile_us,"     \
    " memory_peak, stdout_bytes, stderr_bytes, truncated, code_sha256, cancel"

enum column {
    C_ID, C_STATE, C_KIND, C_KEY, C_POOL, C_LANGUAGE, C_SANDBOX, C_ACCEPTED, C_BEGAN, C_ENDED,
    C_RETRY_SAFE, C_CAUSE, C_REASON, C_EXIT_CODE, C_SIGNAL, C_START, C_QUEUE, C_RUN, C_WALL,
    C_CPU, C_COMPILE, C_MEMORY, C_STDOUT, C_STDERR, C_TRUNCATED, C_HASH, C_CANCEL, C_ANSWER,
};

static const char *const state_names[] = {"queued", "running", "done"};
static const char *const kind_names[] = {"plain", "stream", "async"};

/* ---- one row ---- */

static void put_time(struct pd_node *node, const char *name, struct sqlite3_stmt *stmt, int column)
{
    char text[PD_RFC3339_BYTES];

    if (!pd_db_is_null(stmt, column))
        pd_node_set_string(node, name, pd_wall_format(pd_db_int(stmt, column), text));
}

static void put_text(struct pd_node *node, const char *name, struct sqlite3_stmt *stmt, int column)
{
    if (!pd_db_is_null(stmt, column))
        pd_node_set_string(node, name, pd_db_text(stmt, column));
}

static void put_seconds(struct pd_node *node, const char *name, struct sqlite3_stmt *stmt,
                        int column)
{
    if (!pd_db_is_null(stmt, column))
        pd_node_set_number(node, name, (double)pd_db_int(stmt, column) / 1e6);
}

static void put_hash(struct pd_node *node, struct sqlite3_stmt *stmt)
{
    size_t len;
    const unsigned char *bytes = pd_db_bytes(stmt, C_HASH, &len);
    char hex[65] = "";

    for (size_t i = 0; bytes && i < len && i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    pd_node_set_string(node, "code_sha256", hex);
}

static void put_end(struct pd_node *node, struct sqlite3_stmt *stmt)
{
    put_text(node, "cause", stmt, C_CAUSE);
    put_text(node, "reason", stmt, C_REASON);
    if (pd_db_is_null(stmt, C_EXIT_CODE))
        return;
    pd_node_set_bool(node, "success",
                     strcmp(pd_db_text(stmt, C_CAUSE), "exited") == 0 &&
                         pd_db_int(stmt, C_EXIT_CODE) == 0);
    pd_node_set_int(node, "exit_code", pd_db_int(stmt, C_EXIT_CODE));
    if (pd_db_int(stmt, C_SIGNAL) != 0)
        pd_node_set_int(node, "signal", pd_db_int(stmt, C_SIGNAL));
    put_text(node, "start", stmt, C_START);
    put_seconds(node, "queue_time", stmt, C_QUEUE);
    put_seconds(node, "execution_time", stmt, C_WALL);
    put_seconds(node, "cpu_time", stmt, C_CPU);
    pd_node_set_int(node, "memory_peak", pd_db_int(stmt, C_MEMORY));
    pd_node_set_int(node, "stdout_bytes", pd_db_int(stmt, C_STDOUT));
    pd_node_set_int(node, "stderr_bytes", pd_db_int(stmt, C_STDERR));
    pd_node_set_bool(node, "truncated", pd_db_int(stmt, C_TRUNCATED) != 0);
}

static struct pd_node *row_node(struct sqlite3_stmt *stmt)
{
    struct pd_node *node = pd_node_map_new();

    put_text(node, "id", stmt, C_ID);
    pd_node_set_string(node, "status", state_names[pd_db_int(stmt, C_STATE) % 3]);
    pd_node_set_string(node, "kind", kind_names[pd_db_int(stmt, C_KIND) % 3]);
    put_text(node, "key", stmt, C_KEY);
    put_text(node, "pool", stmt, C_POOL);
    put_text(node, "language", stmt, C_LANGUAGE);
    put_text(node, "sandbox", stmt, C_SANDBOX);
    put_hash(node, stmt);
    put_time(node, "accepted", stmt, C_ACCEPTED);
    put_time(node, "began", stmt, C_BEGAN);
    put_time(node, "ended", stmt, C_ENDED);
    if (pd_db_int(stmt, C_RETRY_SAFE) != 0)
        pd_node_set_bool(node, "retry_safe", true);
    if (pd_db_int(stmt, C_STATE) == PD_ROW_DONE)
        put_end(node, stmt);
    else if (pd_db_int(stmt, C_CANCEL) != 0)
        pd_node_set_bool(node, "canceling", true);
    return node;
}

/* The answer is JSON already: it goes in as it is. */
static int format_row(struct sqlite3_stmt *stmt, struct pd_buf *out, struct pd_err *err)
{
    pd_autonode struct pd_node *node = row_node(stmt);
    size_t len;
    const char *answer = pd_db_bytes(stmt, C_ANSWER, &len);
    int rc = pd_json_format(node, out, err);

    if (rc == 0 && answer && len > 0) {
        out->len--; /* the closing brace */
        rc = pd_buf_add(out, ",\"result\":", strlen(",\"result\":"), err);
        if (rc == 0)
            rc = pd_buf_add(out, answer, len, err);
        if (rc == 0)
            rc = pd_buf_add(out, "}", 1, err);
    }
    return rc < 0 ? rc : pd_buf_add(out, "\n", 1, err);
}

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
    static const char sql[] = "SELECT " ROW_COLUMNS ", answer FROM executions"
                              " WHERE id = ?1 AND ?2 IN ('', key_id)";
    struct question *question = PD_CONTAINER_OF(base, struct question, base);
    struct sqlite3_stmt *stmt;
    int rc = find_row(question, conn, sql, &stmt, err);

    return rc < 0 ? rc : format_row(stmt, &question->text, err);
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

static int state_of(const char *status)
{
    for (int i = 0; i < (int)PD_COUNT(state_names); i++) {
        if (strcmp(state_names[i], status) == 0)
            return i;
    }
    return -1;
}

/* Parameters keep their numbers whatever of them is asked for. */
static void write_list_sql(const struct pd_records_query *query, char out[static SQL_BYTES])
{
    bool is_state = state_of(query->status) >= 0;

    snprintf(out, SQL_BYTES,
             "SELECT " ROW_COLUMNS " FROM executions WHERE 1%s%s%s%s%s%s%s"
             " ORDER BY accepted DESC, id DESC LIMIT ?9",
             *query->key_id ? " AND key_id = ?1" : "",
             !*query->status ? "" : is_state ? " AND state = ?2" : " AND cause = ?3",
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
    if (state_of(query->status) >= 0)
        pd_db_bind_int(stmt, 2, state_of(query->status));
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
        pd_node_add(items, row_node(stmt));
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

int pd_records_cursor_parse(const char *text, struct pd_records_query *query, struct pd_err *err)
{
    char *end;
    long long ms = strtoll(text, &end, 10);

    if (end == text || *end != '.' || ms < 0 || !end[1] ||
        strlen(end + 1) >= sizeof query->cursor_id)
        return pd_err_set(err, PD_INVALID, "cursor: is none that this service gave");
    query->cursor_ms = ms;
    pd_strcpy(query->cursor_id, sizeof query->cursor_id, end + 1);
    return 0;
}

/* ---- shipping ---- */

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
    static const char sql[] = "SELECT " ROW_COLUMNS " FROM executions"
                              " WHERE state = 2 AND shipped = 0 ORDER BY ended LIMIT ?1";
    struct shipping *shipping = PD_CONTAINER_OF(base, struct shipping, base);
    pd_autonode struct pd_node *list = pd_node_list_new();
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_int(stmt, 1, shipping->limit);
    while ((rc = pd_db_step(conn, stmt, err)) == 1) {
        pd_node_add(list, row_node(stmt));
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

    shipping->base = (struct pd_db_job){
        .fn = read_unshipped, .done = on_unshipped, .bytes = sizeof *shipping};
    shipping->on_rows = cb;
    shipping->arg = arg;
    shipping->limit = limit;
    pd_buf_init(&shipping->text, LIST_BYTES_MAX);
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
};

static int file_bytes(struct pd_db_conn *conn, int64_t *ret_bytes, struct pd_err *err)
{
    static const char sql[] = "SELECT (page_count - freelist_count) * page_size FROM"
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
    int64_t bytes = 0;
    int rc = 0;

    pruning->removed = 0;
    if (config->age_ms > 0)
        rc = remove_some(pruning, conn, pd_wall_ms() - config->age_ms, err);
    if (rc == 0 && config->size_bytes > 0 && pruning->removed == 0) {
        rc = file_bytes(conn, &bytes, err);
        if (rc == 0 && bytes > config->size_bytes)
            rc = remove_some(pruning, conn, INT64_MAX, err);
    }
    return rc < 0 ? rc : give_space_back(conn, err);
}

static void on_pruned(struct pd_db_job *base, const struct pd_err *err)
{
    struct pruning *pruning = PD_CONTAINER_OF(base, struct pruning, base);

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
