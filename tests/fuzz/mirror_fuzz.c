/* Whatever comes on a channel of replicas: a message is one that would be said so, and events
 * that are followed leave a journal without holes. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/journal.h"
#include "api/mirror_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_journal(const struct pd_journal *journal)
{
    uint64_t next = 1;

    for (size_t i = 0; i < journal->count; i++) {
        const struct pd_entry *event = journal->events[i];
        assert(event->from_seq == next && event->seq >= event->from_seq);
        next = event->seq + 1;
    }
    assert(journal->last_seq + 1 == next);
}

static void follow(const struct pd_mirror_message *message)
{
    const char *at = message->payload, *json;
    size_t left = message->payload_len, len, bytes;
    struct pd_journal journal;
    struct pd_err err;
    int rc = 0;

    pd_journal_init(&journal);
    while (pd_mirror_next_event(&at, &left, &json, &len, &bytes, &err) == 1) {
        uint64_t last_seq = journal.last_seq;
        rc = pd_journal_follow(&journal, json, len, bytes, &err);
        assert(rc == 0 || rc == PD_INVALID || rc == PD_CONFLICT);
        assert(rc == 0 ? journal.last_seq >= last_seq : journal.last_seq == last_seq);
        check_journal(&journal);
    }
    pd_journal_fini(&journal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pd_mirror_message message;
    char again[PD_MIRROR_HEAD_BYTES_MAX];
    struct pd_mirror_message twice;
    struct pd_err err;

    if (pd_mirror_message_parse((const char *)data, size, &message, &err) < 0) {
        assert(err.kind == PD_INVALID);
        return 0;
    }
    pd_mirror_message_format(&message, again);
    assert(pd_mirror_message_parse(again, strlen(again), &twice, &err) == 0);
    assert(twice.word == message.word && twice.ask == message.ask &&
           twice.number == message.number && twice.born == message.born &&
           strcmp(twice.run, message.run) == 0 && strcmp(twice.key, message.key) == 0);
    if (message.word == PD_MIRROR_EVENTS)
        follow(&message);
    return 0;
}
