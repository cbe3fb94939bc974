/* Theory of operation.
 *
 * Each call copies what it needs into one block, a job for the database, and
 * pushes it; hashing and SQL happen on the database's thread. A plain run costs
 * the loop that one allocation and a copy of its code. */
#include "api/records.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "api/records_inside.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/time.h"


static const char *const steps[] = {
    "CREATE TABLE executions ("
    " id TEXT PRIMARY KEY NOT NULL,"
    " state INTEGER NOT NULL,"  /* enum pd_record_state */
    " kind INTEGER NOT NULL,"   /* enum pd_record_kind */
    " key_id TEXT NOT NULL,"
    " pool TEXT NOT NULL,"
    " language TEXT NOT NULL,"
    " sandbox TEXT,"
    " accepted INTEGER NOT NULL," /* milliseconds since 1970, like the next two */
    " began INTEGER,"
    " ended INTEGER,"
    " retry_safe INTEGER NOT NULL DEFAULT 0,"
    " cancel INTEGER NOT NULL DEFAULT 0,"
    " cause TEXT,"
    " reason TEXT,"
    " exit_code INTEGER,"
    " signal INTEGER,"
    " start TEXT,"
    " queue_us INTEGER, run_us INTEGER, wall_us INTEGER, cpu_us INTEGER, compile_us INTEGER,"
    " memory_peak INTEGER, stdout_bytes INTEGER, stderr_bytes INTEGER, truncated INTEGER,"
    " code_sha256 BLOB NOT NULL,"
    " code BLOB,"
    " body BLOB,"            /* of the request, until it is done */
    " answer BLOB,"          /* the result as it was or would be answered */
    " events BLOB,"
    " idempotency_key TEXT,"
    " fingerprint BLOB,"     /* SHA-256 of the body that came with it */
    " shipped INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX executions_accepted ON executions (accepted DESC, id DESC);"
    "CREATE INDEX executions_key ON executions (key_id, accepted DESC, id DESC);"
    "CREATE INDEX executions_unfinished ON executions (accepted) WHERE state < 2;"
    "CREATE INDEX executions_unshipped ON executions (ended) WHERE state = 2 AND shipped = 0;"
    "CREATE UNIQUE INDEX executions_idempotency ON executions (key_id, idempotency_key)"
    " WHERE idempotency_key IS NOT NULL;",
    /* New rows come at the end of an index then, which is much cheaper than its front. */
    "DROP INDEX executions_accepted;"
    "DROP INDEX executions_key;"
    "CREATE INDEX executions_accepted ON executions (accepted, id);"
    "CREATE INDEX executions_key ON executions (key_id, accepted, id);",
    NULL,
};
const struct pd_db_schema pd_records_schema = {"executions", steps};

struct pd_records *pd_records_new(const struct pd_records_config *config)
{
    struct pd_records *records = PD_NEW(struct pd_records);

    records->config = *config;
    records->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL); /* once: it is a search */
    records->hash = EVP_MD_CTX_new();
    if (!records->sha256 || !records->hash)
        abort();
    return records;
}

void pd_records_free(struct pd_records *records)
{
    if (!records)
        return;
    EVP_MD_CTX_free(records->hash);
    EVP_MD_free(records->sha256);
    free(records);
}

uint64_t pd_records_dropped(const struct pd_records *records)
{
    return records->dropped;
}

bool pd_records_is_healthy(struct pd_records *records, const char **ret_sentence)
{
    const char *why;

    if (!pd_db_is_healthy(records->config.db, &why))
        snprintf(records->sentence, sizeof records->sentence,
                 "nothing is accepted for later (POST /executions, Idempotency-Key), and records "
                 "wait, while the state folder cannot be written: %s; plain runs go on",
                 why);
    else if (records->is_full)
        snprintf(records->sentence, sizeof records->sentence,
                 "nothing is accepted for later (POST /executions, Idempotency-Key), since records "
                 "of PADDOCK_RECORDS_SIZE wait for PostgreSQL; plain runs go on");
    else
        return true;
    *ret_sentence = records->sentence;
    return false;
}

int pd_records_may_accept(const struct pd_records *records, struct pd_err *err)
{
    if (records->is_full)
        return pd_err_set(err, PD_UNAVAILABLE,
                          "nothing is accepted while records of PADDOCK_RECORDS_SIZE wait for "
                          "PostgreSQL");
    return 0;
}

void pd_records_collect(void *arg, struct pd_metrics *metrics)
{
    const struct pd_records *records = arg;
    const char *why;

    pd_metrics_set(metrics, PD_M_DATABASE_UP, NULL, pd_db_is_healthy(records->config.db, &why));
    pd_metrics_set(metrics, PD_M_RECORDS_DROPPED, NULL, (double)records->dropped);
    if (records->config.ship)
        pd_metrics_set(metrics, PD_M_RECORDS_UNSHIPPED, NULL, (double)records->unshipped);
}

/* On the database's writing thread alone. */
void pd_record_hash(struct pd_records *records, const void *data, size_t len,
                   unsigned char out[static PD_RECORD_HASH_BYTES])
{
    if (!EVP_DigestInit_ex(records->hash, records->sha256, NULL) ||
        !EVP_DigestUpdate(records->hash, data, len) ||
        !EVP_DigestFinal_ex(records->hash, out, NULL))
        abort();
}

/* ---- packing ---- */

/* Copies into the end of a block; what is there already was counted before. */
const char *pd_record_pack(char **at, const void *data, size_t len)
{
    char *copy = *at;

    if (!data)
        return NULL;
    memcpy(copy, data, len);
    copy[len] = '\0';
    *at += len + 1;
    return copy;
}

const char *pd_record_pack_text(char **at, const char *text)
{
    return pd_record_pack(at, text, text ? strlen(text) : 0);
}

size_t pd_record_text_bytes(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

/* ---- the end of one ---- */

struct ending {
    struct pd_db_job base;
    struct pd_records *records;
    pd_records_cb cb; /* NULL: of a plain run */
    void *arg;
    struct pd_record record; /* its texts are in `tail` */
    struct pd_run_result result;
    struct pd_buf answer, events; /* likewise */
    char tail[];
};

static size_t buf_bytes(const struct pd_buf *buf)
{
    return buf ? buf->len + 1 : 0;
}

static size_t tail_bytes(const struct pd_record *r)
{
    return pd_record_text_bytes(r->id) + pd_record_text_bytes(r->key_id) + pd_record_text_bytes(r->pool) +
           pd_record_text_bytes(r->language) + pd_record_text_bytes(r->sandbox) + pd_record_text_bytes(r->cause) +
           pd_record_text_bytes(r->reason) + r->code_len + 1 + buf_bytes(r->answer) + buf_bytes(r->events) +
           pd_record_text_bytes(r->result ? r->result->message : NULL);
}

static const struct pd_buf *pack_buf(char **at, const struct pd_buf *from, struct pd_buf *to)
{
    if (!from)
        return NULL;
    to->len = from->len;
    to->data = (char *)(uintptr_t)pd_record_pack(at, from->data ? from->data : "", from->len);
    return to;
}

static struct ending *ending_new(struct pd_records *records, const struct pd_record *r)
{
    size_t bytes = sizeof(struct ending) + tail_bytes(r);
    struct ending *ending = malloc(bytes);
    char *at;

    if (!ending)
        abort();
    memset(ending, 0, sizeof *ending);
    at = ending->tail;
    ending->base.bytes = bytes;
    ending->records = records;
    ending->record = *r;
    ending->record.id = pd_record_pack_text(&at, r->id);
    ending->record.key_id = pd_record_pack_text(&at, r->key_id);
    ending->record.pool = pd_record_pack_text(&at, r->pool);
    ending->record.language = pd_record_pack_text(&at, r->language);
    ending->record.sandbox = pd_record_pack_text(&at, r->sandbox);
    ending->record.cause = pd_record_pack_text(&at, r->cause);
    ending->record.reason = pd_record_pack_text(&at, r->reason);
    ending->record.code = pd_record_pack(&at, r->code, r->code_len);
    ending->record.answer = pack_buf(&at, r->answer, &ending->answer);
    ending->record.events = pack_buf(&at, r->events, &ending->events);
    if (r->result) {
        ending->result = *r->result;
        ending->result.message = pd_record_pack_text(&at, r->result->message);
        ending->record.result = &ending->result;
    }
    return ending;
}

static void bind_buf(struct sqlite3_stmt *stmt, int index, const struct pd_buf *buf)
{
    pd_db_bind_bytes(stmt, index, buf ? buf->data : NULL, buf ? buf->len : 0);
}

/* Parameters 1 to 19, the same in both statements. */
static void bind_outcome(struct sqlite3_stmt *stmt, const struct pd_record *r)
{
    const struct pd_run_result *result = r->result;
    const char *reason = r->reason && *r->reason ? r->reason : result ? result->message : NULL;

    pd_db_bind_text(stmt, 1, r->id);
    pd_db_bind_text(stmt, 2, r->sandbox && *r->sandbox ? r->sandbox : NULL);
    pd_db_bind_int(stmt, 3, r->ended_wall_ms);
    pd_db_bind_text(stmt, 4, r->cause);
    pd_db_bind_text(stmt, 5, reason && *reason ? reason : NULL);
    pd_db_bind_int(stmt, 6, r->queue_us);
    pd_db_bind_int(stmt, 7, r->run_us);
    bind_buf(stmt, 8, r->answer);
    bind_buf(stmt, 9, r->events);
    if (!result)
        return;
    pd_db_bind_int(stmt, 10, result->exit_code);
    pd_db_bind_int(stmt, 11, result->signal);
    pd_db_bind_text(stmt, 12, pd_start_name(result->start));
    pd_db_bind_int(stmt, 13, result->usage.wall_us);
    pd_db_bind_int(stmt, 14, result->usage.cpu_us);
    pd_db_bind_int(stmt, 15, result->compile_us);
    pd_db_bind_int(stmt, 16, result->usage.memory_peak_bytes);
    pd_db_bind_int(stmt, 17, result->stdout_bytes);
    pd_db_bind_int(stmt, 18, result->stderr_bytes);
    pd_db_bind_int(stmt, 19, result->truncated);
}

static int insert_ending(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] =
        "INSERT INTO executions (id, sandbox, ended, cause, reason, queue_us, run_us, answer,"
        " events, exit_code, signal, start, wall_us, cpu_us, compile_us, memory_peak,"
        " stdout_bytes, stderr_bytes, truncated, state, kind, key_id, pool, language, accepted,"
        " began, code_sha256, code)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,"
        " ?18, ?19, 2, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27)";
    struct ending *ending = PD_CONTAINER_OF(base, struct ending, base);
    const struct pd_record *r = &ending->record;
    unsigned char hash[PD_RECORD_HASH_BYTES];
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    pd_record_hash(ending->records, r->code, r->code_len, hash);
    bind_outcome(stmt, r);
    pd_db_bind_int(stmt, 20, r->kind);
    pd_db_bind_text(stmt, 21, r->key_id);
    pd_db_bind_text(stmt, 22, r->pool);
    pd_db_bind_text(stmt, 23, r->language);
    pd_db_bind_int(stmt, 24, r->ended_wall_ms - (r->queue_us + r->run_us) / 1000);
    if (r->result)
        pd_db_bind_int(stmt, 25, r->ended_wall_ms - r->run_us / 1000);
    pd_db_bind_bytes(stmt, 26, hash, sizeof hash);
    if (ending->records->config.keep_code)
        pd_db_bind_bytes(stmt, 27, r->code, r->code_len);
    return pd_db_step(conn, stmt, err);
}

/* Only what is not done yet: the first outcome is the one. */
static int update_ending(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    static const char sql[] =
        "UPDATE executions SET state = 2, body = NULL, sandbox = ?2, ended = ?3, cause = ?4,"
        " reason = ?5, queue_us = ?6, run_us = ?7, answer = ?8, events = ?9, exit_code = ?10,"
        " signal = ?11, start = ?12, wall_us = ?13, cpu_us = ?14, compile_us = ?15,"
        " memory_peak = ?16, stdout_bytes = ?17, stderr_bytes = ?18, truncated = ?19"
        " WHERE id = ?1 AND state < 2";
    struct ending *ending = PD_CONTAINER_OF(base, struct ending, base);
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn, sql, &stmt, err);

    if (rc < 0)
        return rc;
    bind_outcome(stmt, &ending->record);
    rc = pd_db_step(conn, stmt, err);
    if (rc == 0 && pd_db_changes(conn) == 0)
        rc = pd_err_set(err, PD_NOT_FOUND, "no execution %s is under way", ending->record.id);
    return rc;
}

static void on_ending_done(struct pd_db_job *base, const struct pd_err *err)
{
    struct ending *ending = PD_CONTAINER_OF(base, struct ending, base);

    if (ending->cb)
        ending->cb(ending->arg, err);
    else if (err)
        ending->records->dropped++;
    free(ending);
}

/* Not kept at all costs: beyond the database's bounds such records are counted, no more. */
void pd_records_add(struct pd_records *records, const struct pd_record *record)
{
    struct ending *ending = ending_new(records, record);

    ending->base.fn = insert_ending;
    ending->base.done = on_ending_done;
    ending->base.retry = true;
    if (pd_db_submit(records->config.db, PD_DB_LAZY, &ending->base, NULL) < 0) {
        records->dropped++;
        free(ending);
    }
}

void pd_records_finish(struct pd_records *records, const struct pd_record *record,
                       pd_records_cb cb, void *arg)
{
    struct ending *ending = ending_new(records, record);
    struct pd_err err;

    assert(cb);
    ending->base.fn = update_ending;
    ending->base.done = on_ending_done;
    ending->base.keep = true;
    ending->cb = cb;
    ending->arg = arg;
    if (pd_db_submit(records->config.db, PD_DB_DURABLE, &ending->base, &err) < 0)
        abort(); /* what is kept is refused by a closed database only, which is our mistake */
}
