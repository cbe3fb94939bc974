/* Executions as JSON: the same rows that records give (record_row.c). */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/ledger_redis_state.h"
#include "api/trace.h"
#include "common/json.h"
#include "common/mem.h"

#define MEMBERS_BYTES_MAX (64u * 1024)
#define TOKEN_HEX 16

static const char *const kind_names[] = {"plain", "stream", "async"};
static const char *const state_names[] = {"queued", "running", "done"};

void pd_ledger_redis_make_owner(const char *instance, char out[static PD_LEDGER_OWNER_BYTES])
{
    char token[TOKEN_HEX + 1];

    pd_random_hex(token, TOKEN_HEX);
    snprintf(out, PD_LEDGER_OWNER_BYTES, "%.60s.%s", instance, token);
}

void pd_ledger_redis_hash(const void *data, size_t len, char out[static 65])
{
    unsigned char hash[32];

    if (!EVP_Digest(data ? data : "", len, hash, NULL, EVP_sha256(), NULL))
        abort();
    for (size_t i = 0; i < sizeof hash; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

/* Without the braces. */
static char *members(const struct pd_node *node)
{
    pd_autobuf struct pd_buf text;

    pd_buf_init(&text, MEMBERS_BYTES_MAX);
    if (pd_json_format(node, &text, NULL) < 0 || text.len < 2)
        return pd_strdup("");
    text.data[text.len - 1] = '\0';
    return pd_strdup(text.data + 1);
}

char *pd_ledger_redis_head(const struct pd_record *record, const char *sha256, bool retry_safe)
{
    pd_autonode struct pd_node *node = pd_node_map_new();

    pd_node_set_string(node, "kind", kind_names[record->kind]);
    pd_node_set_string(node, "key", record->key_id);
    pd_node_set_string(node, "pool", record->pool);
    pd_node_set_string(node, "language", record->language);
    pd_node_set_string(node, "code_sha256", sha256);
    if (retry_safe)
        pd_node_set_bool(node, "retry_safe", true);
    return members(node);
}

static void put_usage(struct pd_node *node, const struct pd_record *record)
{
    const struct pd_run_result *result = record->result;

    pd_node_set_bool(node, "success",
                     strcmp(record->cause, "exited") == 0 && result->exit_code == 0);
    pd_node_set_int(node, "exit_code", result->exit_code);
    if (result->signal != 0)
        pd_node_set_int(node, "signal", result->signal);
    pd_node_set_string(node, "start", pd_start_name(result->start));
    pd_node_set_number(node, "queue_time", (double)record->queue_us / 1e6);
    pd_node_set_number(node, "execution_time", (double)result->usage.wall_us / 1e6);
    pd_node_set_number(node, "cpu_time", (double)result->usage.cpu_us / 1e6);
    pd_node_set_int(node, "memory_peak", (int64_t)result->usage.memory_peak_bytes);
    pd_node_set_int(node, "stdout_bytes", (int64_t)result->stdout_bytes);
    pd_node_set_int(node, "stderr_bytes", (int64_t)result->stderr_bytes);
    pd_node_set_bool(node, "truncated", result->truncated);
}

char *pd_ledger_redis_end(const struct pd_record *record)
{
    pd_autonode struct pd_node *node = pd_node_map_new();
    const struct pd_run_result *result = record->result;
    const char *reason = record->reason && *record->reason ? record->reason
                         : result                          ? result->message
                                                           : NULL;
    char text[PD_RFC3339_BYTES];

    if (record->sandbox && *record->sandbox)
        pd_node_set_string(node, "sandbox", record->sandbox);
    pd_node_set_string(node, "ended", pd_wall_format(record->ended_wall_ms, text));
    pd_node_set_string(node, "cause", record->cause);
    if (reason && *reason)
        pd_node_set_string(node, "reason", reason);
    if (result)
        put_usage(node, record);
    return members(node);
}

static int put_time(struct pd_buf *out, const char *name, const char *ms, struct pd_err *err)
{
    char text[PD_RFC3339_BYTES];

    return pd_buf_addf(out, err, ",\"%s\":\"%s\"", name,
                       pd_wall_format(strtoll(ms, NULL, 10), text));
}

static const char *text_at(const struct pd_redis_reply *reply, size_t i)
{
    const struct pd_redis_reply *item = pd_redis_reply_string(reply, i);

    return item ? item->text : "";
}

int pd_ledger_redis_row(const struct pd_redis_reply *reply, size_t first, const char *id,
                        const struct pd_redis_reply *answer, struct pd_buf *out, struct pd_err *err)
{
    const char *digit = text_at(reply, first);
    size_t state = *digit == '1' ? 1 : *digit == '2' ? 2 : 0;
    const char *began = text_at(reply, first + 2);
    const char *head = text_at(reply, first + 4);
    const char *end = text_at(reply, first + 5);
    int rc = pd_buf_addf(out, err, "{\"id\":\"%s\",\"status\":\"%s\",", id, state_names[state]);

    if (rc == 0)
        rc = pd_buf_add(out, head, strlen(head), err);
    if (rc == 0)
        rc = put_time(out, "accepted", text_at(reply, first + 1), err);
    if (rc == 0 && *began)
        rc = put_time(out, "began", began, err);
    if (rc == 0 && state == 2 && *end)
        rc = pd_buf_addf(out, err, ",%s", end);
    else if (rc == 0 && strcmp(text_at(reply, first + 3), "1") == 0)
        rc = pd_buf_addf(out, err, ",\"canceling\":true");
    if (rc == 0 && answer && answer->len > 0) {
        rc = pd_buf_addf(out, err, ",\"result\":");
        if (rc == 0)
            rc = pd_buf_add(out, answer->text, answer->len, err);
    }
    return rc < 0 ? rc : pd_buf_add(out, "}", 1, err);
}
