/* One row of the table of executions: which columns are asked for, and what they
 * are as JSON. Of the records' files only. */
#ifndef PD_API_RECORD_ROW_H
#define PD_API_RECORD_ROW_H

#include "common/buf.h"
#include "common/db.h"
#include "common/node.h"

#define PD_ROW_COLUMNS                                                                             \
    "id, state, kind, key_id, pool, language, sandbox, accepted, began, ended, retry_safe,"        \
    " cause, reason, exit_code, signal, start, queue_us, run_us, wall_us, cpu_us, compile_us,"     \
    " memory_peak, stdout_bytes, stderr_bytes, truncated, code_sha256, cancel"

/* As they come in PD_ROW_COLUMNS, and then the answer, where it was asked for too. */
enum pd_row_column {
    C_ID,
    C_STATE,
    C_KIND,
    C_KEY,
    C_POOL,
    C_LANGUAGE,
    C_SANDBOX,
    C_ACCEPTED,
    C_BEGAN,
    C_ENDED,
    C_RETRY_SAFE,
    C_CAUSE,
    C_REASON,
    C_EXIT_CODE,
    C_SIGNAL,
    C_START,
    C_QUEUE,
    C_RUN,
    C_WALL,
    C_CPU,
    C_COMPILE,
    C_MEMORY,
    C_STDOUT,
    C_STDERR,
    C_TRUNCATED,
    C_HASH,
    C_CANCEL,
    C_ANSWER,
};

/* "queued", "running", "done": enum pd_record_state; -1 for anything else. */
int pd_record_state_of(const char *status);
/* Without the answer. The caller frees. */
struct pd_node *pd_record_row_node(struct sqlite3_stmt *stmt);
/* A line of JSON, with the answer as `result`. */
int pd_record_row_format(struct sqlite3_stmt *stmt, struct pd_buf *out, struct pd_err *err);

#endif
