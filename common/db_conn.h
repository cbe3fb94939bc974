/* One connection to the database, for the threads of db.c. */
#ifndef PD_COMMON_DB_CONN_H
#define PD_COMMON_DB_CONN_H

#include "common/db.h"

/* `write`: opened for writing, the file made where it is missing and the
 * schemas brought up to date. Errors as in pd_db_open. */
int pd_db_conn_open(const struct pd_db_config *config, bool write, struct pd_db_conn **ret_conn,
                    struct pd_err *err);
void pd_db_conn_close(struct pd_db_conn *conn); /* NULL is fine */

/* A transaction. PD_UNAVAILABLE when the disk does not serve; then, and after a
 * failed commit, none is open. full: fsync the log at commit. */
int pd_db_conn_begin(struct pd_db_conn *conn, bool full, struct pd_err *err);
/* A transaction that only reads; ended by a rollback. */
int pd_db_conn_look(struct pd_db_conn *conn, struct pd_err *err);
int pd_db_conn_commit(struct pd_db_conn *conn, struct pd_err *err);
void pd_db_conn_rollback(struct pd_db_conn *conn);
/* One job's part of it. */
int pd_db_conn_savepoint(struct pd_db_conn *conn, struct pd_err *err);
int pd_db_conn_release(struct pd_db_conn *conn, bool undo, struct pd_err *err);

/* A page was found that cannot be right. For good, until it is opened anew. */
bool pd_db_conn_is_damaged(const struct pd_db_conn *conn);
/* Whether writing works (again): writes a page, durably, where there is some room. */
int pd_db_conn_probe(struct pd_db_conn *conn, struct pd_err *err);

#endif
