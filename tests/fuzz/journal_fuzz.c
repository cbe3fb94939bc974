/* Events out of the records, a line each: what is recalled is a journal without holes,
 * whatever was written there. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct pd_journal *journal)
{
    uint64_t next = 1;
    size_t bytes = 0;

    for (size_t i = 0; i < journal->count; i++) {
        const struct pd_entry *event = journal->events[i];
        assert(event->from_seq == next && event->seq >= event->from_seq);
        assert(pd_journal_at(journal, event->from_seq) == event);
        assert(pd_journal_at(journal, event->seq) == event);
        assert(event->len == strlen(event->json) || memchr(event->json, 0, event->len));
        bytes += event->len;
        next = event->seq + 1;
    }
    assert(journal->last_seq + 1 == next && journal->bytes >= bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *end = text + size;
    struct pd_journal journal;
    struct pd_err err;

    pd_journal_init(&journal);
    while (text && text < end) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        size_t len = (size_t)((line_end ? line_end : end) - text);
        if (pd_journal_recall(&journal, text, len, &err) < 0)
            assert(err.kind == PD_INVALID && err.msg[0]);
        text = line_end ? line_end + 1 : NULL;
    }
    check(&journal);
    pd_journal_trim(&journal, size / 2, UINT64_MAX, true);
    check(&journal);
    pd_journal_fini(&journal);
    return 0;
}
