/* What is done: plain runs go to Redis too, in batches, for any replica to answer for
 * them; accepted ones are copied from Redis to the records of a replica, from where
 * they flow on (shipper.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/ledger_redis_state.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/time.h"

#define NUMBER_BYTES 24
#define LIFE_MORE_S 3600
#define KEEP_MAX 200 /* copied at once */
#define KEEP_BYTES_MAX (4u * 1024 * 1024)

/* ---- plain runs ---- */

static void on_added(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    (void)reply;
    if (err)
        pd_log(PD_LOG_DEBUG, "ledger", "records of runs did not reach Redis", "err", err->msg,
               NULL);
    pd_ledger_redis_unref(arg);
}

void pd_ledger_redis_flush(struct ledger_redis *ledger)
{
    size_t n_args = 2 + ledger->n_added * PD_LEDGER_ADD_ARGS;
    struct pd_redis_arg *args;
    char life[NUMBER_BYTES], count[NUMBER_BYTES];
    const char *at = ledger->added.data;
    struct pd_err err;

    uv_timer_stop(&ledger->flush);
    if (ledger->n_added == 0)
        return;
    args = pd_calloc(n_args, sizeof *args);
    snprintf(life, sizeof life, "%lld", (long long)(ledger->config.age_ms / 1000 + LIFE_MORE_S));
    snprintf(count, sizeof count, "%zu", ledger->n_added);
    args[0] = PD_REDIS_TEXT(life);
    args[1] = PD_REDIS_TEXT(count);
    for (size_t i = 2; i < n_args; i++) {
        args[i] = PD_REDIS_TEXT(at);
        at += args[i].len + 1;
    }
    if (pd_redis_eval(ledger->config.redis, &ledger->scripts.add, 0, args, n_args, on_added, ledger,
                      &err) == 0)
        pd_ledger_redis_ref(ledger);
    free(args);
    pd_buf_clear(&ledger->added);
    ledger->n_added = 0;
}

static void on_flush(uv_timer_t *timer)
{
    pd_ledger_redis_flush(timer->data);
}

static int put_text(struct pd_buf *out, const char *text)
{
    return pd_buf_add(out, text, strlen(text) + 1, NULL);
}

static int put_number(struct pd_buf *out, int64_t number)
{
    char text[NUMBER_BYTES];

    snprintf(text, sizeof text, "%lld", (long long)number);
    return put_text(out, text);
}

/* The records here have it in any case. */
void pd_ledger_redis_add(struct pd_ledger *base, const struct pd_record *record)
{
    struct ledger_redis *ledger = pd_ledger_redis_of(base);
    size_t before = ledger->added.len;
    char hash[65];
    pd_autofree char *head = NULL;
    pd_autofree char *end = NULL;

    pd_records_add(ledger->config.records, record);
    if (!pd_redis_is_up(ledger->config.redis) || ledger->closing)
        return;
    pd_ledger_redis_hash(record->code, record->code_len, hash);
    head = pd_ledger_redis_head(record, hash, false);
    end = pd_ledger_redis_end(record);
    if (put_text(&ledger->added, record->id) < 0 || put_text(&ledger->added, record->key_id) < 0 ||
        put_text(&ledger->added, record->pool) < 0 ||
        put_text(&ledger->added, record->language) < 0 ||
        put_number(&ledger->added,
                   record->ended_wall_ms - (record->queue_us + record->run_us) / 1000) < 0 ||
        put_number(&ledger->added, record->ended_wall_ms) < 0 ||
        put_text(&ledger->added, record->cause) < 0 || put_text(&ledger->added, head) < 0 ||
        put_text(&ledger->added, end) < 0) {
        ledger->added.len = before;
        return;
    }
    if (++ledger->n_added == PD_LEDGER_BATCH_MAX)
        pd_ledger_redis_flush(ledger);
    else if (ledger->n_added == 1)
        uv_timer_start(&ledger->flush, on_flush, PD_LEDGER_BATCH_MS, 0);
}

/* ---- into the records ---- */

struct keeping {
    struct ledger_redis *ledger;
    struct pd_buf rows; /* a JSON array */
    size_t count;
    char owner[PD_LEDGER_OWNER_BYTES];
    char ids[KEEP_MAX][PD_RECORD_ID_BYTES];
};

static void keeping_end(struct keeping *keeping)
{
    struct ledger_redis *ledger = keeping->ledger;

    ledger->keeping = false;
    pd_buf_fini(&keeping->rows);
    free(keeping);
    pd_ledger_redis_unref(ledger);
}

static void on_kept(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    (void)err; /* then they are copied again, which changes nothing */
    (void)reply;
    keeping_end(arg);
}

static void on_imported(void *arg, const struct pd_err *err)
{
    struct keeping *keeping = arg;
    struct ledger_redis *ledger = keeping->ledger;
    struct pd_redis_arg args[1 + KEEP_MAX] = {PD_REDIS_TEXT(keeping->owner)};
    struct pd_err why;

    for (size_t i = 0; i < keeping->count; i++)
        args[1 + i] = PD_REDIS_TEXT(keeping->ids[i]);
    if (err)
        pd_log(PD_LOG_WARN, "ledger", "executions could not be copied to the records", "err",
               err->msg, NULL);
    if (err || pd_redis_eval(ledger->config.redis, &ledger->scripts.kept, 0, args,
                             1 + keeping->count, on_kept, keeping, &why) < 0)
        keeping_end(keeping);
}

static int put_rows(struct keeping *keeping, const struct pd_redis_reply *reply, struct pd_err *err)
{
    int rc = pd_buf_add(&keeping->rows, "[", 1, err);

    for (size_t at = 0;
         rc == 0 && at + PD_LEDGER_ROW_ITEMS <= reply->count && keeping->count < KEEP_MAX;
         at += PD_LEDGER_ROW_ITEMS) {
        const struct pd_redis_reply *id = pd_redis_reply_string(reply, at);
        const struct pd_redis_reply *state = pd_redis_reply_string(reply, at + 1);
        if (keeping->count > 0 && keeping->rows.data[keeping->rows.len - 1] == '}')
            rc = pd_buf_add(&keeping->rows, ",", 1, err);
        /* One that Redis has pruned is only forgotten. */
        if (rc == 0 && id && state && strcmp(state->text, "2") == 0)
            rc = pd_ledger_redis_row(reply, at + 1, id->text, NULL, &keeping->rows, err);
        pd_strcpy(keeping->ids[keeping->count++], PD_RECORD_ID_BYTES, id ? id->text : "");
    }
    if (rc == 0 && keeping->rows.data[keeping->rows.len - 1] == ',')
        keeping->rows.len--;
    return rc < 0 ? rc : pd_buf_add(&keeping->rows, "]", 1, err);
}

static void on_rows(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct keeping *keeping = arg;
    struct pd_records *records = keeping->ledger->config.records;
    struct pd_err why;

    if (err || reply->count < PD_LEDGER_ROW_ITEMS || keeping->ledger->closing ||
        put_rows(keeping, reply, &why) < 0 ||
        pd_records_import(records, &keeping->rows, on_imported, keeping, &why) < 0)
        keeping_end(keeping);
}

void pd_ledger_redis_keep(struct ledger_redis *ledger)
{
    struct keeping *keeping;
    char limit[NUMBER_BYTES];
    struct pd_redis_arg args[2] = {PD_REDIS_TEXT(ledger->owner)};
    struct pd_err err;

    if (ledger->keeping)
        return;
    keeping = PD_NEW(struct keeping);
    keeping->ledger = ledger;
    pd_strcpy(keeping->owner, sizeof keeping->owner, ledger->owner);
    pd_buf_init(&keeping->rows, KEEP_BYTES_MAX);
    snprintf(limit, sizeof limit, "%d", KEEP_MAX);
    args[1] = PD_REDIS_TEXT(limit);
    ledger->keeping = true;
    pd_ledger_redis_ref(ledger);
    if (pd_redis_eval(ledger->config.redis, &ledger->scripts.keep, 0, args, 2, on_rows, keeping,
                      &err) < 0)
        keeping_end(keeping);
}

/* ---- keeping house ---- */

static void on_pruned(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    (void)err;
    (void)reply;
    pd_ledger_redis_unref(arg);
}

/* The caller is told of the records alone; Redis is pruned as often. */
int pd_ledger_redis_prune(struct pd_ledger *base, pd_prune_cb cb, void *arg, struct pd_err *err)
{
    struct ledger_redis *ledger = pd_ledger_redis_of(base);
    char before[NUMBER_BYTES], size[NUMBER_BYTES], limit[NUMBER_BYTES];
    struct pd_redis_arg args[3];
    struct pd_err why;

    snprintf(before, sizeof before, "%lld", (long long)(pd_wall_ms() - ledger->config.age_ms));
    snprintf(size, sizeof size, "%lld", (long long)ledger->config.size_bytes);
    snprintf(limit, sizeof limit, "%d", PD_RECORDS_PRUNE_MAX);
    args[0] = PD_REDIS_TEXT(before);
    args[1] = PD_REDIS_TEXT(size);
    args[2] = PD_REDIS_TEXT(limit);
    if (pd_redis_eval(ledger->config.redis, &ledger->scripts.prune, 0, args, 3, on_pruned, ledger,
                      &why) == 0)
        pd_ledger_redis_ref(ledger);
    return pd_records_prune(ledger->config.records, cb, arg, err);
}
