#include "api/mirror_end.h"

#include <string.h>

#include "api/journal.h"
#include "api/outcome.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/node.h"

#define EXIT_BYTES_MAX 65536
#define EXIT_CODE_NEVER_RUN 255

static void take_line(struct pd_execution *copy, const char *line, size_t len)
{
    uint64_t last_seq = pd_execution_last_seq(copy);
    struct pd_err err;
    int rc = pd_execution_follow(copy, line, len, 0, &err);
    char gap[PD_GAP_BYTES_MAX];
    struct pd_journal one;

    if (rc != PD_CONFLICT)
        return;
    /* What is between was kept nowhere. */
    pd_journal_init(&one);
    if (pd_journal_recall(&one, line, len, &err) == 0) {
        pd_journal_format_gap(last_seq + 1, one.events[one.count - 1]->from_seq - 1, 0, gap);
        (void)!pd_execution_follow(copy, gap, strlen(gap), 0, &err);
        (void)!pd_execution_follow(copy, line, len, 0, &err);
    }
    pd_journal_fini(&one);
}

void pd_mirror_end_make(struct pd_execution *copy, const char *run, enum pd_cause cause)
{
    const struct pd_run_result result = {
        .cause = cause,
        .exit_code = EXIT_CODE_NEVER_RUN,
        .start = PD_START_COLD,
        .usage.memory_method = "none",
        .message = cause == PD_CAUSE_LOST ? "the replica that ran it was lost" : "",
    };
    const struct pd_job_times times = {0};
    struct pd_journal one;
    pd_autobuf struct pd_buf members;
    struct pd_err err;

    pd_journal_init(&one);
    one.last_seq = pd_execution_last_seq(copy);
    pd_buf_init(&members, EXIT_BYTES_MAX);
    if (pd_outcome_format_exit(run, &result, &times, false, &members, &err) == 0) {
        const struct pd_entry *exit =
            pd_journal_add(&one, PD_ENTRY_EXIT, 0, members.data, members.len, 0);
        (void)!pd_execution_follow(copy, exit->json, exit->len, 0, &err);
    }
    pd_journal_fini(&one);
}

static const char *text_of(const struct pd_node *map, const char *name)
{
    const struct pd_node *node = pd_node_get(map, name);

    return node && node->kind == PD_NODE_STRING ? node->string.text : NULL;
}

bool pd_mirror_end_read(const struct pd_buf *row, struct pd_mirror_end *ret_end)
{
    static const enum pd_cause told[] = {PD_CAUSE_LOST, PD_CAUSE_CANCELED};
    pd_autonode struct pd_node *node = NULL;
    const char *status, *cause;

    *ret_end = (struct pd_mirror_end){.is_done = false};
    if (pd_json_parse(row->data, row->len, &node, NULL) < 0)
        return false;
    status = text_of(node, "status");
    cause = text_of(node, "cause");
    for (size_t i = 0; cause && i < PD_COUNT(told); i++) {
        if (strcmp(cause, pd_cause_name(told[i])) == 0) {
            ret_end->has_cause = true;
            ret_end->cause = told[i];
        }
    }
    ret_end->is_done = status && strcmp(status, "done") == 0;
    return true;
}

void pd_mirror_end_take(struct pd_execution *copy, const struct pd_buf *text)
{
    const char *end = text->data + text->len;
    const char *at = text->len > 0 ? memchr(text->data, '\n', text->len) : NULL; /* the key */

    while (at && ++at < end) {
        const char *line = at;
        at = memchr(line, '\n', (size_t)(end - line));
        if (at && at > line)
            take_line(copy, line, (size_t)(at - line));
    }
}
