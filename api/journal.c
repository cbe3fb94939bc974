#include "api/journal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

#define HEAD_BYTES 96 /* {"type":"...","seq":...,"time":... */
#define CAPACITY_MIN 16

const char *pd_entry_name(enum pd_entry_type type)
{
    static const char *const names[] = {
        [PD_ENTRY_ACCEPTED] = "accepted", [PD_ENTRY_QUEUED] = "queued",
        [PD_ENTRY_STARTED] = "started",   [PD_ENTRY_STAGE] = "stage",
        [PD_ENTRY_STDOUT] = "stdout",     [PD_ENTRY_STDERR] = "stderr",
        [PD_ENTRY_ARTIFACT] = "artifact", [PD_ENTRY_EXIT] = "exit",
        [PD_ENTRY_ERROR] = "error",       [PD_ENTRY_DROPPED] = "dropped",
    };

    return names[type];
}

void pd_entry_ref(struct pd_entry *event)
{
    event->refs++;
}

void pd_entry_unref(struct pd_entry *event)
{
    if (event && --event->refs == 0)
        free(event);
}

static struct pd_entry *event_new(enum pd_entry_type type, uint64_t seq, int64_t time_us,
                                  const char *members, size_t members_len)
{
    char head[HEAD_BYTES];
    int head_len =
        snprintf(head, sizeof head, "{\"type\":\"%s\",\"seq\":%llu,\"time\":%lld.%06lld%s",
                 pd_entry_name(type), (unsigned long long)seq, (long long)(time_us / 1000000),
                 (long long)(time_us % 1000000), members_len > 0 ? "," : "");
    struct pd_entry *event;

    assert(head_len > 0 && head_len < HEAD_BYTES);
    event = pd_calloc(1, sizeof *event + (size_t)head_len + members_len + 2);
    *event = (struct pd_entry){.refs = 1, .type = type, .from_seq = seq, .seq = seq};
    memcpy(event->json, head, (size_t)head_len);
    memcpy(event->json + head_len, members, members_len);
    event->len = (size_t)head_len + members_len;
    event->json[event->len++] = '}';
    event->json[event->len] = '\0';
    return event;
}

/* ---- the journal ---- */

static size_t cost(const struct pd_entry *event)
{
    return sizeof *event + sizeof(struct pd_entry *) + event->len;
}

static bool is_output(const struct pd_entry *event)
{
    return event->type == PD_ENTRY_STDOUT || event->type == PD_ENTRY_STDERR;
}

void pd_journal_init(struct pd_journal *journal)
{
    *journal = (struct pd_journal){.count = 0};
}

void pd_journal_fini(struct pd_journal *journal)
{
    for (size_t i = 0; i < journal->count; i++)
        pd_entry_unref(journal->events[i]);
    free(journal->events);
    pd_journal_init(journal);
}

const struct pd_entry *pd_journal_add(struct pd_journal *journal, enum pd_entry_type type,
                                      int64_t time_us, const char *members, size_t members_len,
                                      size_t output_bytes)
{
    struct pd_entry *event = event_new(type, ++journal->last_seq, time_us, members, members_len);

    event->output_bytes = output_bytes;
    if (journal->count == journal->capacity) {
        journal->capacity = journal->capacity ? journal->capacity * 2 : CAPACITY_MIN;
        journal->events = pd_realloc(journal->events, journal->capacity, sizeof *journal->events);
    }
    journal->events[journal->count++] = event;
    journal->bytes += cost(event);
    if (is_output(event))
        journal->output_bytes += cost(event);
    return event;
}

struct pd_entry *pd_journal_at(const struct pd_journal *journal, uint64_t seq)
{
    size_t low = 0;
    size_t high = journal->count;

    assert(seq >= 1);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (journal->events[middle]->seq < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low < journal->count ? journal->events[low] : NULL;
}

/* ---- trimming ---- */

/* A gap in place of an event, grown by the gap that stands before it. */
static struct pd_entry *gap_new(const struct pd_entry *before, const struct pd_entry *event)
{
    bool grows = before && before->type == PD_ENTRY_DROPPED;
    uint64_t from_seq = grows ? before->from_seq : event->from_seq;
    size_t output_bytes = event->output_bytes + (grows ? before->output_bytes : 0);
    char members[128];
    int len = snprintf(members, sizeof members, "\"from_seq\":%llu,\"to_seq\":%llu,\"bytes\":%zu",
                       (unsigned long long)from_seq, (unsigned long long)event->seq, output_bytes);
    struct pd_entry *gap;

    gap = event_new(PD_ENTRY_DROPPED, event->seq, 0, members, (size_t)len);
    gap->from_seq = from_seq;
    gap->output_bytes = output_bytes;
    return gap;
}

static void forget(struct pd_journal *journal, struct pd_entry *event)
{
    journal->bytes -= cost(event);
    if (is_output(event))
        journal->output_bytes -= cost(event);
    pd_entry_unref(event);
}

/* One pass: events move to the front as those before them are merged into gaps. */
void pd_journal_trim(struct pd_journal *journal, size_t bytes, uint64_t keep_seq, bool all)
{
    size_t kept = 0;

    for (size_t i = 0; i < journal->count; i++) {
        struct pd_entry *event = journal->events[i];
        struct pd_entry *before = kept > 0 ? journal->events[kept - 1] : NULL;
        bool may = is_output(event) || (all && event->type == PD_ENTRY_ARTIFACT);
        if (may && event->seq < keep_seq &&
            (all ? journal->bytes : journal->output_bytes) > bytes) {
            struct pd_entry *gap = gap_new(before, event);
            forget(journal, event);
            if (gap->from_seq < gap->seq && before && before->type == PD_ENTRY_DROPPED) {
                forget(journal, before);
                kept--;
            }
            journal->bytes += cost(gap);
            event = gap;
        }
        journal->events[kept++] = event;
    }
    journal->count = kept;
}
