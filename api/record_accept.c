/* Accepting executions, and the small changes until they are done. */
#include <string.h>

#include "api/records_inside.h"
#include "common/mem.h"
#include "common/time.h"

/* ---- accepting ---- */

struct accept_item {
    const char *id, *key_id, *idempotency_key, *pool, *language, *body;
    enum pd_record_kind kind;
    bool retry_safe;
    const char *code;
    size_t code_len, body_len;
};

struct accepting {
    struct pd_db_job base;
    struct pd_records *records;
    pd_accept_cb cb;
    void *arg;
    int64_t wall_ms;
    struct pd_accepted *results;
    struct accept_item *items;
    size_t count;
    char tail[];
};

static size_t accept_bytes(const struct pd_accept *item)
{
    return pd_record_text_bytes(item->id) + pd_record_text_bytes(item->key_id) +
           pd_record_text_bytes(item->idempotency_key) + pd_record_text_bytes(item->pool) +
           pd_record_text_bytes(item->language) + item->code_len + 1 + item->body_len + 1;
}

static void pack_accept(char **at, const struct pd_accept *from, struct accept_item *to)
{
    to->id = pd_record_pack_text(at, from->id);
    to->key_id = pd_record_pack_text(at, from->key_id);
    to->idempotency_key = pd_record_pack_text(at, from->idempotency_key);
    to->pool = pd_record_pack_text(at, from->pool);
    to->language = pd_record_pack_text(at, from->language);
    to->kind = from->kind;
    to->retry_safe = from->retry_safe;
    to->code = pd_record_pack(at, from->code, from->code_len);
    to->code_len = from->code_len;
    to->body = pd_record_pack(at, from->body, from->body_len);
    to->body_len = from->body_len;
}

/* 1: it is there already, the result says what of it; 0: it is new. */
static int find_earlier(struct pd_db_conn *conn, const struct accept_item *item,
                        const unsigned char *fingerprint, struct pd_accepted *result,
                        struct pd_err *err)
{
    static const char sql[] =
        "SELECT id, state, fingerprint, answer FROM executions"
        " WHERE key_id = ?1 AND idempotency_key = ?2";
    struct sqlite3_stmt *stmt;
    const void *bytes;
    size_t len;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_text(stmt, 1, item->key_id);
    pd_db_bind_text(stmt, 2, item->idempotency_key);
    rc = pd_db_step(conn, stmt, err);
    if (rc <= 0)
        return rc;
    bytes = pd_db_bytes(stmt, 2, &len);
    if (len != PD_RECORD_HASH_BYTES || memcmp(bytes, fingerprint, len) != 0)
        return pd_err_set(err, PD_CONFLICT,
                          "this Idempotency-Key was used for another request, execution %s",
                          pd_db_text(stmt, 0));
    pd_strcpy(result->id, sizeof result->id, pd_db_text(stmt, 0));
    result->is_done = pd_db_int(stmt, 1) == PD_ROW_DONE;
    bytes = pd_db_bytes(stmt, 3, &len);
    pd_buf_init(&result->answer, len);
    if (result->is_done && len > 0)
        (void)!pd_buf_add(&result->answer, bytes, len, NULL); /* fits */
    return 1;
}

static int insert_accepted(struct pd_db_conn *conn, const struct accepting *accepting,
                           const struct accept_item *item, const unsigned char *fingerprint,
                           struct pd_err *err)
{
    static const char sql[] =
        "INSERT INTO executions (id, state, kind, key_id, pool, language, accepted, retry_safe,"
        " code_sha256, code, body, idempotency_key, fingerprint)"
        " VALUES (?1, 0, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    unsigned char hash[PD_RECORD_HASH_BYTES];
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_record_hash(accepting->records, item->code, item->code_len, hash);
    pd_db_bind_text(stmt, 1, item->id);
    pd_db_bind_int(stmt, 2, item->kind);
    pd_db_bind_text(stmt, 3, item->key_id);
    pd_db_bind_text(stmt, 4, item->pool);
    pd_db_bind_text(stmt, 5, item->language);
    pd_db_bind_int(stmt, 6, accepting->wall_ms);
    pd_db_bind_int(stmt, 7, item->retry_safe);
    pd_db_bind_bytes(stmt, 8, hash, sizeof hash);
    if (accepting->records->config.keep_code)
        pd_db_bind_bytes(stmt, 9, item->code, item->code_len);
    pd_db_bind_bytes(stmt, 10, item->body, item->body_len);
    pd_db_bind_text(stmt, 11, item->idempotency_key);
    if (item->idempotency_key)
        pd_db_bind_bytes(stmt, 12, fingerprint, PD_RECORD_HASH_BYTES);
    return pd_db_step(conn, stmt, err);
}

static int accept_one(struct pd_db_conn *conn, const struct accepting *accepting,
                      const struct accept_item *item, struct pd_accepted *result,
                      struct pd_err *err)
{
    unsigned char fingerprint[PD_RECORD_HASH_BYTES];
    int rc = 0;

    pd_buf_fini(&result->answer); /* of an earlier try */
    *result = (struct pd_accepted){.is_new = true};
    pd_strcpy(result->id, sizeof result->id, item->id);
    if (item->idempotency_key) {
        pd_record_hash(accepting->records, item->body, item->body_len, fingerprint);
        rc = find_earlier(conn, item, fingerprint, result, err);
        result->is_new = rc == 0;
    }
    return rc == 0 ? insert_accepted(conn, accepting, item, fingerprint, err) : rc;
}

static int accept_all(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    struct accepting *accepting = PD_CONTAINER_OF(base, struct accepting, base);

    for (size_t i = 0; i < accepting->count; i++) {
        int rc = accept_one(conn, accepting, &accepting->items[i], &accepting->results[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void accepting_free(struct accepting *accepting)
{
    for (size_t i = 0; i < accepting->count; i++)
        pd_buf_fini(&accepting->results[i].answer);
    free(accepting->results);
    free(accepting->items);
    free(accepting);
}

static void on_accepted(struct pd_db_job *base, const struct pd_err *err)
{
    struct accepting *accepting = PD_CONTAINER_OF(base, struct accepting, base);

    accepting->cb(accepting->arg, accepting->results, accepting->count, err);
    accepting_free(accepting);
}

int pd_records_accept(struct pd_records *records, const struct pd_accept *items, size_t count,
                      pd_accept_cb cb, void *arg, struct pd_err *err)
{
    struct accepting *accepting;
    size_t bytes = sizeof *accepting;
    char *at;
    int rc;

    if (pd_records_may_accept(records, err) < 0)
        return PD_UNAVAILABLE;
    for (size_t i = 0; i < count; i++)
        bytes += accept_bytes(&items[i]);
    accepting = pd_calloc(1, bytes);
    accepting->base.fn = accept_all;
    accepting->base.done = on_accepted;
    accepting->base.bytes = bytes;
    accepting->records = records;
    accepting->cb = cb;
    accepting->arg = arg;
    accepting->wall_ms = pd_wall_ms();
    accepting->count = count;
    accepting->items = pd_calloc(count, sizeof *accepting->items);
    accepting->results = pd_calloc(count, sizeof *accepting->results);
    at = accepting->tail;
    for (size_t i = 0; i < count; i++)
        pack_accept(&at, &items[i], &accepting->items[i]);
    rc = pd_db_submit(records->config.db, PD_DB_DURABLE, &accepting->base, err);
    if (rc < 0)
        accepting_free(accepting);
    return rc;
}

/* ---- small changes ---- */

struct change {
    struct pd_db_job base;
    pd_records_cb cb;
    void *arg;
    const char *sql; /* ?1: the id, ?2: now, where it has one */
    int64_t wall_ms;
    char id[PD_RECORD_ID_BYTES];
};

static int make_change(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    struct change *change = PD_CONTAINER_OF(base, struct change, base);
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, change->sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_text(stmt, 1, change->id);
    pd_db_bind_int(stmt, 2, change->wall_ms);
    rc = pd_db_step(conn, stmt, err);
    if (rc == 0 && pd_db_changes(conn) == 0)
        rc = pd_err_set(err, PD_NOT_FOUND, "no execution %s is under way", change->id);
    return rc;
}

static void on_changed(struct pd_db_job *base, const struct pd_err *err)
{
    struct change *change = PD_CONTAINER_OF(base, struct change, base);

    change->cb(change->arg, err);
    free(change);
}

static int change_one(struct pd_records *records, const char *sql, const char *id, pd_records_cb cb,
                      void *arg, struct pd_err *err)
{
    struct change *change = PD_NEW(struct change);
    int rc;

    change->base =
        (struct pd_db_job){.fn = make_change, .done = on_changed, .bytes = sizeof *change};
    change->cb = cb;
    change->arg = arg;
    change->sql = sql;
    change->wall_ms = pd_wall_ms();
    pd_strcpy(change->id, sizeof change->id, id);
    rc = pd_db_submit(records->config.db, PD_DB_DURABLE, &change->base, err);
    if (rc < 0)
        free(change);
    return rc;
}

int pd_records_begin(struct pd_records *records, const char *id, pd_records_cb cb, void *arg,
                     struct pd_err *err)
{
    static const char sql[] =
        "UPDATE executions SET state = 1, began = ?2 WHERE id = ?1 AND state < 2";

    return change_one(records, sql, id, cb, arg, err);
}

int pd_records_cancel(struct pd_records *records, const char *id, pd_records_cb cb, void *arg,
                      struct pd_err *err)
{
    static const char sql[] =
        "UPDATE executions SET cancel = 1 WHERE id = ?1 AND state < 2 AND ?2 > 0";

    return change_one(records, sql, id, cb, arg, err);
}

int pd_records_forget(struct pd_records *records, const char *id, pd_records_cb cb, void *arg,
                      struct pd_err *err)
{
    static const char sql[] = "DELETE FROM executions WHERE id = ?1 AND state < 2 AND ?2 > 0";

    return change_one(records, sql, id, cb, arg, err);
}
