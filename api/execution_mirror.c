/* Executions whose end is not told here: those of other replicas, and those that went there. */
#include <assert.h>
#include <string.h>

#include "api/execution_state.h"
#include "common/mem.h"

struct pd_execution *pd_executions_mirror(struct pd_executions *all, const char *id,
                                          const char *key_id, uint64_t last_seq)
{
    struct pd_execution *execution = PD_NEW(struct pd_execution);

    execution->all = all;
    execution->unlisted = true;
    execution->elsewhere = true;
    execution->told_seq = last_seq;
    pd_strcpy(execution->id, sizeof execution->id, id);
    pd_strcpy(execution->key_id, sizeof execution->key_id, key_id);
    pd_ring_init(&execution->watches);
    return execution;
}

int pd_execution_follow(struct pd_execution *execution, const char *json, size_t len,
                        size_t output_bytes, struct pd_err *err)
{
    struct pd_journal *journal = &execution->journal;
    size_t before = journal->bytes;
    uint64_t last_seq = journal->last_seq;
    const struct pd_entry *last;
    int rc = execution->done ? 0 : pd_journal_follow(journal, json, len, output_bytes, err);

    if (rc < 0 || journal->last_seq == last_seq)
        return rc;
    last = journal->events[journal->count - 1];
    execution->done = last->type == PD_ENTRY_EXIT || last->type == PD_ENTRY_ERROR;
    pd_execution_grew(execution, before);
    return 0;
}

void pd_execution_mirror_free(struct pd_execution *execution)
{
    assert(!execution->job && !execution->told);
    pd_execution_free(execution);
}

void pd_execution_withdraw(struct pd_execution *execution, const char *why)
{
    if (execution->done || execution->broken)
        return;
    execution->broken = why;
    if (!execution->unlisted)
        pd_strmap_remove(&execution->all->by_id, execution->id);
    execution->unlisted = true;
    pd_execution_tell_more(execution);
}

size_t pd_execution_watches(const struct pd_execution *execution)
{
    return execution->n_watches;
}

bool pd_execution_is_elsewhere(const struct pd_execution *execution)
{
    return execution->elsewhere;
}

uint64_t pd_execution_last_seq(struct pd_execution *execution)
{
    if (execution->plain)
        pd_plain_tell(execution);
    return execution->journal.last_seq;
}

uint64_t pd_execution_born(const struct pd_execution *execution)
{
    return execution->born;
}
