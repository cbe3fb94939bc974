/* Theory of operation.
 *
 * One step after the other: connect, migrate, then read a batch, send it, mark it,
 * read the next. Whatever fails leads back to connecting, with a growing delay. A
 * batch whose data the server will not have (PD_INVALID) is sent row by row, so that one
 * bad row is found, logged and left out. What else it may say (its disk is full, it is
 * read-only, its table is gone) is its own trouble, and no row is lost for it. */
#include "api/shipper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/loop_pg.h"
#include "common/mem.h"
#include "common/metrics.h"

/* Only where something is to be done: afterwards the role needs no right to create. */
static const char migrate_sql[] =
    "SET search_path = pg_catalog; SET application_name = 'paddock';"
    "SELECT pg_advisory_xact_lock(7017163912);"
    "DO $paddock$ BEGIN IF NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n"
    " ON n.oid = c.relnamespace WHERE n.nspname = 'paddock' AND c.relname = 'schema_versions') THEN "
    "CREATE SCHEMA IF NOT EXISTS paddock;"
    "CREATE TABLE IF NOT EXISTS paddock.schema_versions (version int PRIMARY KEY,"
    " since timestamptz NOT NULL DEFAULT now());"
    "CREATE TABLE IF NOT EXISTS paddock.executions ("
    " id text PRIMARY KEY, kind text NOT NULL, key text NOT NULL, pool text NOT NULL,"
    " language text NOT NULL, sandbox text, code_sha256 text NOT NULL,"
    " accepted timestamptz NOT NULL, began timestamptz, ended timestamptz NOT NULL,"
    " retry_safe boolean, cause text NOT NULL, reason text, success boolean, exit_code int,"
    " signal int, start text, queue_time double precision, execution_time double precision,"
    " cpu_time double precision, memory_peak bigint, stdout_bytes bigint, stderr_bytes bigint,"
    " truncated boolean);"
    "CREATE INDEX IF NOT EXISTS executions_accepted ON paddock.executions (accepted DESC, id DESC);"
    "CREATE INDEX IF NOT EXISTS executions_ended ON paddock.executions (ended);"
    "INSERT INTO paddock.schema_versions (version) VALUES (1) ON CONFLICT DO NOTHING;"
    "END IF; END $paddock$;"
    "SELECT max(version) FROM paddock.schema_versions";

#define COLUMNS                                                                                    \
    "id text, kind text, key text, pool text, language text, sandbox text, code_sha256 text,"      \
    " accepted timestamptz, began timestamptz, ended timestamptz, retry_safe boolean, cause text," \
    " reason text, success boolean, exit_code int, signal int, start text,"                        \
    " queue_time double precision, execution_time double precision, cpu_time double precision,"    \
    " memory_peak bigint, stdout_bytes bigint, stderr_bytes bigint, truncated boolean"
#define NAMES                                                                                      \
    "id, kind, key, pool, language, sandbox, code_sha256, accepted, began, ended, retry_safe,"     \
    " cause, reason, success, exit_code, signal, start, queue_time, execution_time, cpu_time,"     \
    " memory_peak, stdout_bytes, stderr_bytes, truncated"

static const char ship_sql[] =
    "INSERT INTO paddock.executions (" NAMES ") SELECT " NAMES
    " FROM jsonb_to_recordset($1::jsonb) AS rows(" COLUMNS ") ON CONFLICT (id) DO NOTHING";
static const char prune_sql[] =
    "DELETE FROM paddock.executions WHERE ended < now() - $1::bigint * interval '1 millisecond'";

struct pd_shipper {
    uv_loop_t *loop;
    struct pd_records *records;
    char *url;
    int64_t age_ms;
    struct pd_pg *pg;
    uv_timer_t timer;
    int64_t retry_ms;
    uint64_t pruned_at; /* loop time */
    int limit;          /* rows in the next batch */
    struct pd_buf batch;
    size_t batch_rows;
    uint64_t shipped;
    bool is_up;
    bool refused;  /* the last batch, for what was no fault of a row */
    int told_kind; /* of the trouble that was logged last; 0: there is none */
    int asking; /* answers of the database that are to come */
    bool closing, timer_closed, pg_open;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void connect_soon(struct pd_shipper *shipper);
static void read_batch(struct pd_shipper *shipper);

void pd_shipper_collect(void *arg, struct pd_metrics *metrics)
{
    const struct pd_shipper *shipper = arg;

    pd_metrics_set(metrics, PD_M_POSTGRES_UP, NULL, shipper->is_up);
    pd_metrics_set(metrics, PD_M_RECORDS_SHIPPED, NULL, (double)shipper->shipped);
}

/* ---- ending ---- */

static void reap(struct pd_shipper *shipper)
{
    void (*closed)(void *arg) = shipper->closed;
    void *arg = shipper->closed_arg;

    if (!shipper->timer_closed || shipper->asking > 0 || shipper->pg_open)
        return;
    pd_buf_fini(&shipper->batch);
    pd_wipe(shipper->url, strlen(shipper->url)); /* a password may be in it */
    free(shipper->url);
    free(shipper);
    if (closed)
        closed(arg);
}

static void on_pg_closed(void *arg)
{
    struct pd_shipper *shipper = arg;

    shipper->pg_open = false;
    if (shipper->closing)
        reap(shipper);
    else
        connect_soon(shipper);
}

/* ---- trouble ---- */

static void give_up(struct pd_shipper *shipper, const struct pd_err *err)
{
    shipper->is_up = false;
    if (shipper->told_kind != err->kind)
        pd_log(PD_LOG_WARN, "shipper", "PostgreSQL takes no records; they wait here", "err",
               err->msg, NULL);
    shipper->told_kind = err->kind;
    uv_timer_stop(&shipper->timer);
    if (shipper->pg)
        pd_pg_close(PD_STEAL(shipper->pg), on_pg_closed, shipper);
}

static void on_down(void *arg, const struct pd_err *err)
{
    give_up(arg, err);
}

/* ---- marking ---- */

static void on_timer(uv_timer_t *timer);

static void next(struct pd_shipper *shipper, bool at_once)
{
    if (shipper->is_up && !shipper->closing)
        uv_timer_start(&shipper->timer, on_timer, at_once ? 0 : PD_SHIP_IDLE_MS, 0);
}

static void on_marked(void *arg, const struct pd_err *err)
{
    struct pd_shipper *shipper = arg;

    shipper->asking--;
    if (shipper->closing) {
        reap(shipper);
        return;
    }
    if (!err)
        shipper->shipped += shipper->batch_rows;
    pd_buf_fini(&shipper->batch);
    next(shipper, !err); /* with a disk that fails: later, the same again */
}

static void mark(struct pd_shipper *shipper, bool left_out)
{
    struct pd_err err;

    shipper->asking++;
    if (pd_records_mark_shipped(shipper->records, &shipper->batch, left_out, on_marked, shipper,
                                &err) < 0)
        on_marked(shipper, &err);
}

/* ---- sending ---- */

static void takes_records(struct pd_shipper *shipper)
{
    shipper->refused = false;
    shipper->retry_ms = PD_SHIP_RETRY_MIN_MS;
    shipper->told_kind = 0;
    pd_log(PD_LOG_INFO, "shipper", "PostgreSQL takes records", NULL);
}

static void on_sent(void *arg, const char *value, const struct pd_err *err)
{
    struct pd_shipper *shipper = arg;

    (void)value;
    if (!err) {
        if (shipper->refused)
            takes_records(shipper);
        if (shipper->limit < PD_SHIP_BATCH_MAX)
            shipper->limit = shipper->limit * 2;
        mark(shipper, false);
    } else if (err->kind != PD_INVALID) {
        shipper->refused = true;
        give_up(shipper, err);
    } else if (shipper->batch_rows > 1) {
        shipper->limit = 1;
        pd_buf_fini(&shipper->batch);
        next(shipper, true);
    } else {
        pd_log(PD_LOG_ERROR, "shipper", "PostgreSQL will not have a record; it is left out", "err",
               err->msg, NULL);
        mark(shipper, true);
    }
}

static void on_batch(void *arg, struct pd_buf *rows, size_t count, const struct pd_err *err)
{
    struct pd_shipper *shipper = arg;
    const char *params[1];
    struct pd_err own;

    shipper->asking--;
    if (shipper->closing) {
        reap(shipper);
        return;
    }
    if (!shipper->is_up)
        return;
    if (err || count == 0) {
        next(shipper, false);
        return;
    }
    pd_buf_fini(&shipper->batch);
    shipper->batch = *rows;
    *rows = (struct pd_buf){0};
    shipper->batch_rows = count;
    params[0] = shipper->batch.data;
    if (pd_pg_query(shipper->pg, ship_sql, params, 1, on_sent, shipper, &own) < 0)
        give_up(shipper, &own);
}

static void read_batch(struct pd_shipper *shipper)
{
    struct pd_err err;

    if (shipper->asking > 0) { /* the last batch, from before the connection was lost */
        next(shipper, false);
        return;
    }
    shipper->asking++;
    if (pd_records_unshipped(shipper->records, shipper->limit, on_batch, shipper, &err) < 0)
        on_batch(shipper, NULL, 0, &err);
}

/* ---- keeping house ---- */

static void on_pruned(void *arg, const char *value, const struct pd_err *err)
{
    struct pd_shipper *shipper = arg;

    (void)value;
    if (err)
        give_up(shipper, err);
    else
        read_batch(shipper);
}

static bool is_prune_due(const struct pd_shipper *shipper)
{
    return shipper->age_ms > 0 &&
           (!shipper->pruned_at || uv_now(shipper->loop) - shipper->pruned_at >= PD_SHIP_PRUNE_MS);
}

static void on_timer(uv_timer_t *timer)
{
    struct pd_shipper *shipper = timer->data;
    char age[24];
    const char *params[] = {age};
    struct pd_err err;

    if (!is_prune_due(shipper)) {
        read_batch(shipper);
        return;
    }
    shipper->pruned_at = uv_now(shipper->loop);
    snprintf(age, sizeof age, "%lld", (long long)shipper->age_ms);
    if (pd_pg_query(shipper->pg, prune_sql, params, 1, on_pruned, shipper, &err) < 0)
        give_up(shipper, &err);
}

/* ---- connecting ---- */

static void on_migrated(void *arg, const char *value, const struct pd_err *err)
{
    struct pd_shipper *shipper = arg;
    struct pd_err own;

    if (!err && value && atol(value) > PD_SHIP_VERSION) {
        pd_err_set(&own, PD_CONFLICT, "its schema 'paddock' has version %s, this paddock knows %d",
                   value, PD_SHIP_VERSION);
        err = &own;
    }
    if (err) {
        give_up(shipper, err);
        return;
    }
    shipper->is_up = true;
    if (!shipper->refused) /* else it has to take that batch first */
        takes_records(shipper);
    next(shipper, true);
}

static void on_ready(void *arg)
{
    struct pd_shipper *shipper = arg;
    struct pd_err err;

    if (pd_pg_query(shipper->pg, migrate_sql, NULL, 0, on_migrated, shipper, &err) < 0)
        give_up(shipper, &err);
}

static const struct pd_pg_events pg_events = {.ready = on_ready, .down = on_down};

static void connect_now(uv_timer_t *timer)
{
    struct pd_shipper *shipper = timer->data;
    struct pd_err err;

    if (pd_pg_open(shipper->loop, shipper->url, &pg_events, shipper, &shipper->pg, &err) < 0) {
        give_up(shipper, &err);
        connect_soon(shipper);
        return;
    }
    shipper->pg_open = true;
}

static void connect_soon(struct pd_shipper *shipper)
{
    uint64_t jitter = uv_hrtime() / 1000 % (uint64_t)(shipper->retry_ms / 2);

    uv_timer_start(&shipper->timer, connect_now, (uint64_t)shipper->retry_ms / 2 + jitter, 0);
    shipper->retry_ms *= 2;
    if (shipper->retry_ms > PD_SHIP_RETRY_MAX_MS)
        shipper->retry_ms = PD_SHIP_RETRY_MAX_MS;
}

/* ---- life ---- */

int pd_shipper_open(const struct pd_shipper_config *config, struct pd_shipper **ret_shipper,
                    struct pd_err *err)
{
    struct pd_shipper *shipper = PD_NEW(struct pd_shipper);
    int rc;

    shipper->loop = config->loop;
    shipper->records = config->records;
    shipper->url = pd_strdup(config->url);
    shipper->age_ms = config->age_ms;
    shipper->retry_ms = PD_SHIP_RETRY_MIN_MS;
    shipper->limit = PD_SHIP_BATCH_MAX;
    rc = pd_pg_open(config->loop, config->url, &pg_events, shipper, &shipper->pg, err);
    if (rc < 0) {
        free(shipper->url);
        free(shipper);
        return pd_err_wrap(err, "DATABASE_URL");
    }
    shipper->pg_open = true;
    uv_timer_init(config->loop, &shipper->timer);
    shipper->timer.data = shipper;
    *ret_shipper = shipper;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct pd_shipper *shipper = handle->data;

    shipper->timer_closed = true;
    reap(shipper);
}

void pd_shipper_close(struct pd_shipper *shipper, void (*closed)(void *arg), void *arg)
{
    shipper->closing = true;
    shipper->is_up = false;
    shipper->closed = closed;
    shipper->closed_arg = arg;
    if (shipper->pg)
        pd_pg_close(PD_STEAL(shipper->pg), on_pg_closed, shipper);
    uv_close((uv_handle_t *)&shipper->timer, on_timer_closed);
}
