#include "controller/ecs_intent.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"

static const char *const steps[] = {
    "CREATE TABLE ecs_intents (token TEXT PRIMARY KEY, instance TEXT NOT NULL, pool TEXT NOT NULL, "
    "template_hash TEXT NOT NULL, count INTEGER NOT NULL, wall_ms INTEGER NOT NULL, "
    "request TEXT NOT NULL) WITHOUT ROWID",
    NULL,
};
const struct pd_db_schema pd_ecs_intents_schema = {"ecs_intents", steps};

TAILQ_HEAD(intents, pd_ecs_intent);

struct pd_ecs_intents {
    struct pd_db *db; /* NULL: in memory only */
    char instance[PD_ECS_TOKEN_MAX];
    struct intents all; /* the oldest first */
    size_t count;
};

static void intent_free(struct pd_ecs_intent *intent)
{
    pd_node_free(intent->request);
    free(intent);
}

/* ---- on the disk ---- */

struct job {
    struct pd_db_job job;
    char instance[PD_ECS_TOKEN_MAX];
    struct pd_ecs_intent row; /* without a request: to be removed */
    struct pd_buf text;       /* of its request */
    void (*cb)(void *arg, const struct pd_err *err);
    void *arg;
};

static int insert(struct job *job, struct pd_db_conn *conn, struct pd_err *err)
{
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn,
                           "INSERT OR REPLACE INTO ecs_intents (token, instance, pool, "
                           "template_hash, count, wall_ms, request) "
                           "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                           &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_text(stmt, 1, job->row.token);
    pd_db_bind_text(stmt, 2, job->instance);
    pd_db_bind_text(stmt, 3, job->row.pool);
    pd_db_bind_text(stmt, 4, job->row.template_hash);
    pd_db_bind_int(stmt, 5, job->row.count);
    pd_db_bind_int(stmt, 6, job->row.wall_ms);
    pd_db_bind_text(stmt, 7, job->text.data);
    return pd_db_step(conn, stmt, err);
}

static int carry_out(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    struct job *job = PD_CONTAINER_OF(base, struct job, job);
    struct sqlite3_stmt *stmt;
    int rc;

    if (job->text.len > 0)
        return insert(job, conn, err);
    rc = pd_db_prepare(conn, "DELETE FROM ecs_intents WHERE token = ?1", &stmt, err);
    if (rc < 0)
        return rc;
    pd_db_bind_text(stmt, 1, job->row.token);
    return pd_db_step(conn, stmt, err);
}

static void on_carried_out(struct pd_db_job *base, const struct pd_err *err)
{
    struct job *job = PD_CONTAINER_OF(base, struct job, job);

    if (job->cb)
        job->cb(job->arg, err);
    else if (err && err->kind != PD_CANCELED)
        pd_log(PD_LOG_WARN, "ecs", "an intent could not be removed", "token", job->row.token, "err",
               err->msg, NULL);
    pd_buf_fini(&job->text);
    free(job);
}

static struct job *job_new(const struct pd_ecs_intents *intents, const struct pd_ecs_intent *intent)
{
    struct job *job = PD_NEW(struct job);

    job->job.fn = carry_out;
    job->job.done = on_carried_out;
    job->job.bytes = sizeof *job;
    memcpy(job->instance, intents->instance, sizeof job->instance);
    job->row = *intent;
    job->row.request = NULL;
    pd_buf_init(&job->text, PD_ECS_INTENT_BYTES_MAX);
    return job;
}

static int submit(struct pd_ecs_intents *intents, struct job *job, enum pd_db_kind kind,
                  struct pd_err *err)
{
    int rc = pd_db_submit(intents->db, kind, &job->job, err);

    if (rc < 0) {
        pd_buf_fini(&job->text);
        free(job);
    }
    return rc;
}

bool pd_ecs_intents_write(struct pd_ecs_intents *intents, struct pd_ecs_intent *intent,
                          void (*cb)(void *arg, const struct pd_err *err), void *arg)
{
    struct pd_err err;
    struct job *job;

    if (!intents->db)
        return false;
    job = job_new(intents, intent);
    job->cb = cb;
    job->arg = arg;
    if (pd_json_format(intent->request, &job->text, &err) < 0) {
        pd_buf_fini(&job->text);
        free(job);
    } else {
        job->job.bytes += job->text.len;
        if (submit(intents, job, PD_DB_DURABLE, &err) == 0)
            return true;
    }
    pd_log(PD_LOG_WARN, "ecs", "an intent is kept in memory only", "token", intent->token, "err",
           err.msg, NULL);
    return false;
}

/* ---- at the start ---- */

struct load {
    struct pd_db_job job;
    struct pd_ecs_intents *intents;
};

/* A row that does not hold what we write is as good as none: lists find its tasks. */
static void take_row(struct pd_ecs_intents *intents, struct sqlite3_stmt *stmt)
{
    const char *text = pd_db_text(stmt, 5);
    int64_t count = pd_db_int(stmt, 3);
    struct pd_node *request = NULL;
    struct pd_ecs_intent *intent;
    struct pd_err err;

    if (count < 1 || count > PD_ECS_BATCH_MAX ||
        pd_json_parse(text, strlen(text), &request, &err) < 0)
        return;
    if (request->kind != PD_NODE_MAP) {
        pd_node_free(request);
        return;
    }
    intent = pd_ecs_intents_add(intents, pd_db_text(stmt, 0), pd_db_text(stmt, 1),
                                pd_db_text(stmt, 2), (int)count, pd_db_int(stmt, 4),
                                request);
    intent->state = PD_ECS_INTENT_OPEN;
}

static int load(struct pd_db_job *base, struct pd_db_conn *conn, struct pd_err *err)
{
    struct load *job = PD_CONTAINER_OF(base, struct load, job);
    struct sqlite3_stmt *stmt;
    int rc = pd_db_prepare(conn,
                           "SELECT token, pool, template_hash, count, wall_ms, request "
                           "FROM ecs_intents WHERE instance = ?1 ORDER BY wall_ms LIMIT ?2",
                           &stmt, err);

    if (rc < 0)
        return rc;
    pd_db_bind_text(stmt, 1, job->intents->instance);
    pd_db_bind_int(stmt, 2, PD_ECS_INTENTS_MAX);
    while ((rc = pd_db_step(conn, stmt, err)) == 1)
        take_row(job->intents, stmt);
    return rc;
}

int pd_ecs_intents_open(struct pd_db *db, const char *instance, struct pd_ecs_intents **ret_intents,
                        struct pd_err *err)
{
    struct pd_ecs_intents *intents = PD_NEW(struct pd_ecs_intents);
    struct load job = {.job = {.fn = load}, .intents = intents};

    TAILQ_INIT(&intents->all);
    pd_strcpy(intents->instance, sizeof intents->instance, instance);
    if (db && pd_db_now(db, PD_DB_READ, &job.job, err) < 0) {
        pd_ecs_intents_free(intents);
        return pd_err_wrap(err, "read the intents to make tasks");
    }
    intents->db = db;
    *ret_intents = intents;
    return 0;
}

void pd_ecs_intents_free(struct pd_ecs_intents *intents)
{
    struct pd_ecs_intent *intent;

    while (intents && (intent = TAILQ_FIRST(&intents->all))) {
        TAILQ_REMOVE(&intents->all, intent, entry);
        intent_free(intent);
    }
    free(intents);
}

/* ---- in memory ---- */

static void make_room(struct pd_ecs_intents *intents)
{
    struct pd_ecs_intent *intent;

    TAILQ_FOREACH(intent, &intents->all, entry)
    {
        if (intent->state != PD_ECS_INTENT_BUSY) {
            pd_ecs_intents_settle(intents, intent);
            return;
        }
    }
}

struct pd_ecs_intent *pd_ecs_intents_add(struct pd_ecs_intents *intents, const char *token,
                                         const char *pool, const char *template_hash, int count,
                                         int64_t wall_ms, struct pd_node *request)
{
    struct pd_ecs_intent *intent = PD_NEW(struct pd_ecs_intent);

    if (intents->count >= PD_ECS_INTENTS_MAX)
        make_room(intents);
    pd_strcpy(intent->token, sizeof intent->token, token);
    pd_strcpy(intent->pool, sizeof intent->pool, pool);
    pd_strcpy(intent->template_hash, sizeof intent->template_hash, template_hash);
    intent->count = count;
    intent->wall_ms = wall_ms;
    intent->request = request;
    TAILQ_INSERT_TAIL(&intents->all, intent, entry);
    intents->count++;
    return intent;
}

void pd_ecs_intents_settle(struct pd_ecs_intents *intents, struct pd_ecs_intent *intent)
{
    struct pd_err err;
    struct job *job;

    TAILQ_REMOVE(&intents->all, intent, entry);
    intents->count--;
    if (intents->db) {
        job = job_new(intents, intent);
        if (submit(intents, job, PD_DB_LAZY, &err) < 0)
            pd_log(PD_LOG_WARN, "ecs", "an intent stays on the disk", "token", intent->token, "err",
                   err.msg, NULL);
    }
    intent_free(intent);
}

static bool is_old(const struct pd_ecs_intent *intent, int64_t wall_ms)
{
    return wall_ms - intent->wall_ms >= PD_ECS_INTENT_MS;
}

static bool ask_for_the_same(const struct pd_node *a, const struct pd_node *b)
{
    const struct pd_node *one =
        pd_node_at(a, "networkConfiguration", "awsvpcConfiguration", "securityGroups", NULL);
    const struct pd_node *other =
        pd_node_at(b, "networkConfiguration", "awsvpcConfiguration", "securityGroups", NULL);

    return strcmp(pd_ecs_text(a, "cluster"), pd_ecs_text(b, "cluster")) == 0 &&
           strcmp(pd_ecs_text(a, "taskDefinition"), pd_ecs_text(b, "taskDefinition")) == 0 && one &&
           other && pd_node_equal(one, other);
}

struct pd_ecs_intent *pd_ecs_intents_find(struct pd_ecs_intents *intents, const char *pool,
                                          const char *template_hash, const struct pd_node *request,
                                          int64_t wall_ms)
{
    struct pd_ecs_intent *intent, *next;

    for (intent = TAILQ_FIRST(&intents->all); intent; intent = next) {
        next = TAILQ_NEXT(intent, entry);
        if (intent->state != PD_ECS_INTENT_OPEN || strcmp(intent->pool, pool) != 0)
            continue;
        if (is_old(intent, wall_ms))
            pd_ecs_intents_settle(intents, intent);
        else if (strcmp(intent->template_hash, template_hash) == 0 &&
                 ask_for_the_same(intent->request, request))
            return intent;
    }
    return NULL;
}

void pd_ecs_intents_listed(struct pd_ecs_intents *intents,
                           int (*listed)(void *arg, const char *token), void *arg, int64_t wall_ms)
{
    struct pd_ecs_intent *intent, *next;

    for (intent = TAILQ_FIRST(&intents->all); intent; intent = next) {
        next = TAILQ_NEXT(intent, entry);
        if (intent->state != PD_ECS_INTENT_BUSY &&
            (is_old(intent, wall_ms) || listed(arg, intent->token) >= intent->count))
            pd_ecs_intents_settle(intents, intent);
    }
}

size_t pd_ecs_intents_count(const struct pd_ecs_intents *intents)
{
    return intents->count;
}
