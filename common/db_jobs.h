/* Jobs for the database in order, and what is done with a batch of them on a connection: for
 * the threads of db.c, whose locks guard the lists. */
#ifndef PD_COMMON_DB_JOBS_H
#define PD_COMMON_DB_JOBS_H

#include <stddef.h>

#include "common/db.h"
#include "common/db_conn.h"

/* A zeroed one is empty. Jobs are linked by their `next`: each is in one list at most. */
struct pd_db_jobs {
    struct pd_db_job *first;
    struct pd_db_job **end; /* NULL: empty and never used */
    size_t count;
};

void pd_db_jobs_add(struct pd_db_jobs *list, struct pd_db_job *job);
struct pd_db_job *pd_db_jobs_take(struct pd_db_jobs *list); /* NULL: it is empty */
/* From the front of one to the end of the other, until that has `max`. */
void pd_db_jobs_move(struct pd_db_jobs *to, struct pd_db_jobs *from, size_t max);

/* It has failed by itself, with a copy of `err`. */
void pd_db_job_fail(struct pd_db_job *job, const struct pd_err *err);
/* In one transaction: 0, also where some failed by themselves; PD_UNAVAILABLE where the disk
 * did, and nothing was written. */
int pd_db_jobs_write(struct pd_db_conn *conn, const struct pd_db_jobs *batch, struct pd_err *err);
/* Each read by itself. */
void pd_db_jobs_read(struct pd_db_conn *conn, const struct pd_db_jobs *batch);

#endif
