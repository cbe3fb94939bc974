#include "common/db_jobs.h"

#include <stdlib.h>

#include "common/mem.h"

void pd_db_jobs_add(struct pd_db_jobs *list, struct pd_db_job *job)
{
    if (!list->first)
        list->end = &list->first;
    job->next = NULL;
    *list->end = job;
    list->end = &job->next;
    list->count++;
}

struct pd_db_job *pd_db_jobs_take(struct pd_db_jobs *list)
{
    struct pd_db_job *job = list->first;

    if (job) {
        list->first = job->next;
        list->count--;
        job->next = NULL;
    }
    return job;
}

void pd_db_jobs_move(struct pd_db_jobs *to, struct pd_db_jobs *from, size_t max)
{
    struct pd_db_job *job;

    while (to->count < max && (job = pd_db_jobs_take(from)))
        pd_db_jobs_add(to, job);
}

/* ---- one batch ---- */

void pd_db_job_fail(struct pd_db_job *job, const struct pd_err *err)
{
    if (!job->failure)
        job->failure = PD_NEW(struct pd_err);
    *job->failure = *err;
}

static void job_forgive(struct pd_db_job *job)
{
    free(PD_STEAL(job->failure));
}

/* 0, also where the job failed by itself; PD_UNAVAILABLE where the disk did. */
static int run_job_alone(struct pd_db_conn *conn, struct pd_db_job *job, struct pd_err *err)
{
    int rc = pd_db_conn_savepoint(conn, err);

    job_forgive(job);
    if (rc < 0)
        return rc;
    rc = job->fn(job, conn, err);
    if (rc == PD_UNAVAILABLE)
        return rc;
    if (rc < 0)
        pd_db_job_fail(job, err);
    return pd_db_conn_release(conn, rc < 0, err);
}

/* In a transaction without savepoints, which cost more than the jobs themselves:
 * 0 where no job fails, else the failure of one. */
static int run_jobs_together(struct pd_db_conn *conn, const struct pd_db_jobs *batch,
                             struct pd_err *err)
{
    int rc = 0;

    for (struct pd_db_job *job = batch->first; rc >= 0 && job; job = job->next) {
        job_forgive(job);
        rc = job->fn(job, conn, err);
    }
    return rc;
}

static int run_jobs_apart(struct pd_db_conn *conn, const struct pd_db_jobs *batch,
                          struct pd_err *err)
{
    int rc = 0;

    for (struct pd_db_job *job = batch->first; rc == 0 && job; job = job->next)
        rc = run_job_alone(conn, job, err);
    return rc;
}

static bool has_durable(const struct pd_db_jobs *batch)
{
    for (const struct pd_db_job *job = batch->first; job; job = job->next) {
        if (job->kind == PD_DB_DURABLE)
            return true;
    }
    return false;
}

/* Together; where one fails by itself (few do), once more and each for itself. */
int pd_db_jobs_write(struct pd_db_conn *conn, const struct pd_db_jobs *batch, struct pd_err *err)
{
    bool full = has_durable(batch);
    int rc = pd_db_conn_begin(conn, full, err);

    if (rc < 0)
        return rc;
    rc = run_jobs_together(conn, batch, err);
    if (rc < 0) {
        pd_db_conn_rollback(conn);
        if (rc != PD_UNAVAILABLE)
            rc = pd_db_conn_begin(conn, full, err);
        if (rc == 0)
            rc = run_jobs_apart(conn, batch, err);
    }
    if (rc >= 0)
        return pd_db_conn_commit(conn, err);
    pd_db_conn_rollback(conn);
    return rc;
}

/* Each read by itself: what one sees is of one moment. */
void pd_db_jobs_read(struct pd_db_conn *conn, const struct pd_db_jobs *batch)
{
    struct pd_err err;

    for (struct pd_db_job *job = batch->first; job; job = job->next) {
        if (pd_db_conn_look(conn, &err) < 0 || job->fn(job, conn, &err) < 0)
            pd_db_job_fail(job, &err);
        pd_db_conn_rollback(conn); /* nothing it left open holds back a checkpoint */
    }
}
