#include "api/record_row.h"

#include <stdio.h>
#include <string.h>

#include "api/records_inside.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/time.h"

static const char *const state_names[] = {"queued", "running", "done"};
static const char *const kind_names[] = {"plain", "stream", "async"};

int pd_record_state_of(const char *status)
{
    for (int i = 0; i < (int)PD_COUNT(state_names); i++) {
        if (strcmp(state_names[i], status) == 0)
            return i;
    }
    return -1;
}

static void put_time(struct pd_node *node, const char *name, struct sqlite3_stmt *stmt, int column)
{
    char text[PD_RFC3339_BYTES];

    if (!pd_db_is_null(stmt, column))
        pd_node_set_string(node, name, pd_wall_format(pd_db_int(stmt, column), text));
}

static void put_text(struct pd_node *node, const char *name, struct sqlite3_stmt *stmt, int column)
{
    if (!pd_db_is_null(stmt, column))
        pd_node_set_string(node, name, pd_db_text(stmt, column));
}

static void put_seconds(struct pd_node *node, const char *name, struct sqlite3_stmt *stmt,
                        int column)
{
    if (!pd_db_is_null(stmt, column))
        pd_node_set_number(node, name, (double)pd_db_int(stmt, column) / 1e6);
}

static void put_hash(struct pd_node *node, struct sqlite3_stmt *stmt)
{
    size_t len;
    const unsigned char *bytes = pd_db_bytes(stmt, C_HASH, &len);
    char hex[65] = "";

    if (bytes && len == sizeof hex - 1) /* of an imported row */
        memcpy(hex, bytes, len + 1);
    for (size_t i = 0; bytes && i < len && len == 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    pd_node_set_string(node, "code_sha256", hex);
}

static void put_end(struct pd_node *node, struct sqlite3_stmt *stmt)
{
    put_text(node, "cause", stmt, C_CAUSE);
    put_text(node, "reason", stmt, C_REASON);
    if (pd_db_is_null(stmt, C_EXIT_CODE))
        return;
    pd_node_set_bool(node, "success",
                     strcmp(pd_db_text(stmt, C_CAUSE), "exited") == 0 &&
                         pd_db_int(stmt, C_EXIT_CODE) == 0);
    pd_node_set_int(node, "exit_code", pd_db_int(stmt, C_EXIT_CODE));
    if (pd_db_int(stmt, C_SIGNAL) != 0)
        pd_node_set_int(node, "signal", pd_db_int(stmt, C_SIGNAL));
    put_text(node, "start", stmt, C_START);
    put_seconds(node, "queue_time", stmt, C_QUEUE);
    put_seconds(node, "execution_time", stmt, C_WALL);
    put_seconds(node, "cpu_time", stmt, C_CPU);
    pd_node_set_int(node, "memory_peak", pd_db_int(stmt, C_MEMORY));
    pd_node_set_int(node, "stdout_bytes", pd_db_int(stmt, C_STDOUT));
    pd_node_set_int(node, "stderr_bytes", pd_db_int(stmt, C_STDERR));
    pd_node_set_bool(node, "truncated", pd_db_int(stmt, C_TRUNCATED) != 0);
}

struct pd_node *pd_record_row_node(struct sqlite3_stmt *stmt)
{
    struct pd_node *node = pd_node_map_new();

    put_text(node, "id", stmt, C_ID);
    pd_node_set_string(node, "status", state_names[pd_db_int(stmt, C_STATE) % 3]);
    pd_node_set_string(node, "kind", kind_names[pd_db_int(stmt, C_KIND) % 3]);
    put_text(node, "key", stmt, C_KEY);
    put_text(node, "pool", stmt, C_POOL);
    put_text(node, "language", stmt, C_LANGUAGE);
    put_text(node, "sandbox", stmt, C_SANDBOX);
    put_hash(node, stmt);
    put_time(node, "accepted", stmt, C_ACCEPTED);
    put_time(node, "began", stmt, C_BEGAN);
    put_time(node, "ended", stmt, C_ENDED);
    if (pd_db_int(stmt, C_RETRY_SAFE) != 0)
        pd_node_set_bool(node, "retry_safe", true);
    if (pd_db_int(stmt, C_STATE) == PD_ROW_DONE)
        put_end(node, stmt);
    else if (pd_db_int(stmt, C_CANCEL) != 0)
        pd_node_set_bool(node, "canceling", true);
    return node;
}

/* The answer is JSON already: it goes in as it is. */
int pd_record_row_format(struct sqlite3_stmt *stmt, struct pd_buf *out, struct pd_err *err)
{
    pd_autonode struct pd_node *node = pd_record_row_node(stmt);
    size_t len;
    const char *answer = pd_db_bytes(stmt, C_ANSWER, &len);
    int rc = pd_json_format(node, out, err);

    if (rc == 0 && answer && len > 0) {
        out->len--; /* the closing brace */
        rc = pd_buf_add(out, ",\"result\":", strlen(",\"result\":"), err);
        if (rc == 0)
            rc = pd_buf_add(out, answer, len, err);
        if (rc == 0)
            rc = pd_buf_add(out, "}", 1, err);
    }
    return rc < 0 ? rc : pd_buf_add(out, "\n", 1, err);
}
