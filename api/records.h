/* Records: what is kept of every execution, in the database (common/db.h).
 *
 * A row is `queued` once it was accepted, `running` once it may have begun,
 * `done` with its outcome. Runs that were answered 202 or carry an
 * Idempotency-Key go through all three, each durable before anybody acts on it;
 * of others only the last is written, lazily. Rows are kept by age and size, and
 * flow on to PostgreSQL where that is configured (shipper.h).
 *
 * Everything that calls back does so from the loop; `err` NULL is success. */
#ifndef PD_API_RECORDS_H
#define PD_API_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/db.h"
#include "common/err.h"
#include "common/link.h"
#include "common/store.h"

#define PD_RECORD_ID_BYTES 64
#define PD_IDEMPOTENCY_KEY_BYTES 256        /* with the NUL */
#define PD_RECORD_EVENTS_BYTES_MAX (256u * 1024) /* of one execution's events */
#define PD_RECORDS_PAGE_MAX 500
#define PD_RECORDS_PRUNE_MAX 500            /* rows in one go */
#define PD_RECORDS_COUNTED_MAX 100000       /* of what waits for PostgreSQL no more is counted */

extern const struct pd_db_schema pd_records_schema;

struct pd_records;

struct pd_records_config {
    struct pd_db *db;
    int64_t age_ms;     /* done rows older than this go; 0: never */
    /* Of the database; 0: no bound. Beyond it the oldest done rows go; where rows are
     * shipped first those that were, then those of plain runs that were not (counted as
     * dropped), and while that is not enough nothing is accepted. */
    int64_t size_bytes;
    bool keep_code;     /* the code itself, not only its hash */
    bool ship;          /* rows that were not shipped yet stay */
};

struct pd_records *pd_records_new(const struct pd_records_config *config);
/* Nothing may be under way any more: after pd_db_close. */
void pd_records_free(struct pd_records *records);

/* Records of plain runs that were given up since the start: too many waited for the
 * disk, or for PostgreSQL. */
uint64_t pd_records_dropped(const struct pd_records *records);

struct pd_metrics;
/* A collector (common/metrics.h): what becomes of records. arg: struct pd_records. */
void pd_records_collect(void *arg, struct pd_metrics *metrics);

/* 0; PD_UNAVAILABLE: as much waits for PostgreSQL as may, so nothing is accepted. */
int pd_records_may_accept(const struct pd_records *records, struct pd_err *err);
/* Whether executions are accepted; else the sentence says what is refused and why
 * (borrowed until the next call). */
bool pd_records_is_healthy(struct pd_records *records, const char **ret_sentence);

typedef void (*pd_records_cb)(void *arg, const struct pd_err *err);

/* ---- what happened ---- */

enum pd_record_kind {
    PD_RECORD_PLAIN,  /* POST /execute */
    PD_RECORD_STREAM, /* watched live */
    PD_RECORD_ASYNC,  /* POST /executions */
};

/* All pointers are borrowed for the call; texts may be NULL where it says so. */
struct pd_record {
    const char *id;
    const char *key_id;
    const char *pool;
    const char *language;
    const char *sandbox; /* NULL: it never had one */
    enum pd_record_kind kind;
    const void *code;
    size_t code_len;
    int64_t ended_wall_ms;
    int64_t queue_us, run_us;
    const char *cause;                  /* pd_cause_name, "canceled" or "failed" */
    const struct pd_run_result *result; /* NULL: it never ran */
    const char *reason;                 /* NULL or "": none */
    const struct pd_buf *answer;        /* the body that POST /execute gives; NULL: not kept */
    const struct pd_buf *events;        /* JSON texts, one a line; NULL: not kept */
};

/* A run that nobody accepted has ended: one allocation and a push. */
void pd_records_add(struct pd_records *records, const struct pd_record *record);

/* The outcome of an accepted one, durable when `cb` fires; however long the disk
 * takes to come back. */
void pd_records_finish(struct pd_records *records, const struct pd_record *record,
                       pd_records_cb cb, void *arg);

/* ---- accepting ---- */

struct pd_accept {
    const char *id; /* of a new one */
    const char *key_id;
    const char *idempotency_key; /* NULL: none */
    const char *pool;
    const char *language;
    enum pd_record_kind kind;
    bool retry_safe;
    const void *code;
    size_t code_len;
    const char *body; /* what is run again after a restart */
    size_t body_len;
};

struct pd_accepted {
    bool is_new;
    bool is_done;                 /* then: */
    char id[PD_RECORD_ID_BYTES];  /* the one that is there already, or the new one */
    struct pd_buf answer;         /* of one that is done; empty otherwise */
};

/* All or none; PD_CONFLICT: an Idempotency-Key was used for another body;
 * PD_UNAVAILABLE: the disk. `items` live for the call; `results` (as many) are
 * borrowed for cb, which may take an answer over. 0 or PD_LIMIT. */
typedef void (*pd_accept_cb)(void *arg, struct pd_accepted *results, size_t count,
                             const struct pd_err *err);
int pd_records_accept(struct pd_records *records, const struct pd_accept *items, size_t count,
                      pd_accept_cb cb, void *arg, struct pd_err *err);

/* It may begin from now on. PD_NOT_FOUND: there is none that is queued or running. */
int pd_records_begin(struct pd_records *records, const char *id, pd_records_cb cb, void *arg,
                     struct pd_err *err);
/* Somebody wants it to end: it is not run again after a restart. */
int pd_records_cancel(struct pd_records *records, const char *id, pd_records_cb cb, void *arg,
                      struct pd_err *err);
/* It was refused after all, and nobody was told otherwise. */
int pd_records_forget(struct pd_records *records, const char *id, pd_records_cb cb, void *arg,
                      struct pd_err *err);

/* ---- after a restart ---- */

struct pd_unfinished {
    char id[PD_RECORD_ID_BYTES];
    char key_id[PD_KEY_ID_MAX];
    char pool[PD_POOL_NAME_MAX];
    char language[PD_LANGUAGE_NAME_MAX];
    enum pd_record_kind kind;
    bool began, retry_safe, canceled;
    int64_t accepted_wall_ms;
};
/* Every execution that is not done, oldest first. Blocks: for the start only. */
int pd_records_unfinished(struct pd_records *records,
                          void (*cb)(void *arg, const struct pd_unfinished *item), void *arg,
                          struct pd_err *err);

/* ---- asking ---- */

/* `text` may be taken over; its content is what is asked for, "" for what is not there. */
typedef void (*pd_records_text_cb)(void *arg, struct pd_buf *text, const struct pd_err *err);

/* The body that an accepted one was asked with; PD_NOT_FOUND when it is done. */
int pd_records_body(struct pd_records *records, const char *id, pd_records_text_cb cb, void *arg,
                    struct pd_err *err);
/* One, as JSON with its result. key_id: only where it is this key's; NULL: anybody's.
 * PD_NOT_FOUND. */
int pd_records_get(struct pd_records *records, const char *id, const char *key_id,
                   pd_records_text_cb cb, void *arg, struct pd_err *err);
/* Its key's id, a line, then its events, one JSON text a line, likewise. */
int pd_records_events(struct pd_records *records, const char *id, const char *key_id,
                      pd_records_text_cb cb, void *arg, struct pd_err *err);

struct pd_records_query {
    char key_id[PD_KEY_ID_MAX]; /* "": any, like all of these */
    char status[24];            /* queued, running, done, or a cause */
    char pool[PD_POOL_NAME_MAX];
    char language[PD_LANGUAGE_NAME_MAX];
    int64_t from_wall_ms, to_wall_ms; /* accepted within; 0: any */
    int64_t cursor_ms;                /* accepted before this, or then and of a smaller id */
    char cursor_id[PD_RECORD_ID_BYTES]; /* "": from the newest on */
    int limit;                        /* 1..PD_RECORDS_PAGE_MAX */
};
/* {"items":[...],"next":"<cursor>"}, newest first, without results; no next at the end. */
int pd_records_list(struct pd_records *records, const struct pd_records_query *query,
                    pd_records_text_cb cb, void *arg, struct pd_err *err);
/* From "next" back into a query; PD_INVALID. */
int pd_records_cursor_parse(const char *text, struct pd_records_query *query, struct pd_err *err);

/* ---- shipping ---- */

/* Rows that are done and were not shipped, oldest first, at most `limit` of them, as a
 * JSON array, which may be taken over. */
typedef void (*pd_unshipped_cb)(void *arg, struct pd_buf *rows, size_t count,
                                const struct pd_err *err);
int pd_records_unshipped(struct pd_records *records, int limit, pd_unshipped_cb cb, void *arg,
                         struct pd_err *err);
/* Those of such an array were shipped, or (left_out) never will be. `rows` must live
 * until cb. */
int pd_records_mark_shipped(struct pd_records *records, const struct pd_buf *rows, bool left_out,
                            pd_records_cb cb, void *arg, struct pd_err *err);

/* Rows that are done, as such an array: those that are not there yet are put there, to be
 * shipped like any other. `rows` must live until cb. */
int pd_records_import(struct pd_records *records, const struct pd_buf *rows, pd_records_cb cb,
                      void *arg, struct pd_err *err);

/* ---- keeping house ---- */

/* Remove some of what is too old or too much. *ret_more (at cb): there is more to remove. */
typedef void (*pd_prune_cb)(void *arg, int64_t removed, const struct pd_err *err);
int pd_records_prune(struct pd_records *records, pd_prune_cb cb, void *arg, struct pd_err *err);

#endif
