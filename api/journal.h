/* The journal of one execution: what happened, as numbered events, each already
 * the JSON text (docs/live-output.md) that every viewer is sent.
 *
 * It is bounded: the oldest output is trimmed first, and a gap takes its place,
 * so that numbers stay contiguous: whoever reads past a gap gets a `dropped`
 * event in place of what was there. Pure: no I/O, no clock. */
#ifndef PD_API_JOURNAL_H
#define PD_API_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

enum pd_entry_type {
    PD_ENTRY_ACCEPTED,
    PD_ENTRY_QUEUED,
    PD_ENTRY_STARTED,
    PD_ENTRY_STAGE,
    PD_ENTRY_STDOUT,
    PD_ENTRY_STDERR,
    PD_ENTRY_ARTIFACT,
    PD_ENTRY_EXIT,
    PD_ENTRY_ERROR,
    PD_ENTRY_DROPPED,
};
const char *pd_entry_name(enum pd_entry_type type); /* "accepted", ... */

/* Counted references: a viewer may still be sending what the journal has trimmed. */
struct pd_entry {
    unsigned refs;
    enum pd_entry_type type;
    uint64_t from_seq, seq; /* the same, but for a gap */
    size_t output_bytes;    /* of a program's output that it stands for */
    size_t len;
    char json[];
};
void pd_entry_ref(struct pd_entry *event);
void pd_entry_unref(struct pd_entry *event); /* NULL is fine */

struct pd_journal {
    struct pd_entry **events; /* by seq */
    size_t count, capacity;
    size_t bytes;        /* of memory that all events take */
    size_t output_bytes; /* of that, by output that may be trimmed */
    uint64_t last_seq;
};

void pd_journal_init(struct pd_journal *journal);
void pd_journal_fini(struct pd_journal *journal);

/* Append an event at time_us (since the execution was accepted). `members`: the
 * further members of its JSON object, without braces; "" for none. Returns it,
 * borrowed. */
const struct pd_entry *pd_journal_add(struct pd_journal *journal, enum pd_entry_type type,
                                      int64_t time_us, const char *members, size_t members_len,
                                      size_t output_bytes);

/* Append an event as it was told before: the JSON text that pd_journal_add once made, which
 * keeps its number. Numbers that are missing before it become a gap. PD_INVALID: it is no
 * such text, or its number is none that can follow. */
int pd_journal_recall(struct pd_journal *journal, const char *json, size_t len, struct pd_err *err)
    __attribute__((warn_unused_result));
/* Append an event as another journal of the same run has it, with the output bytes that it
 * stands for there. 0, also where its number was there before: it is ignored. PD_CONFLICT:
 * numbers before it are missing, which would have to come first; PD_INVALID: it is no such
 * text. */
int pd_journal_follow(struct pd_journal *journal, const char *json, size_t len, size_t output_bytes,
                      struct pd_err *err) __attribute__((warn_unused_result));
/* The JSON text of a gap, as a line of what can be recalled. */
#define PD_GAP_BYTES_MAX 256
void pd_journal_format_gap(uint64_t from_seq, uint64_t to_seq, size_t output_bytes,
                           char out[static PD_GAP_BYTES_MAX]);

/* The event that has this number, or the gap that it is in; NULL when it is not yet
 * there. seq >= 1. Borrowed until the journal is changed. */
struct pd_entry *pd_journal_at(const struct pd_journal *journal, uint64_t seq);

/* Trim the oldest output until all output takes `bytes` at most, but none from
 * keep_seq on (UINT64_MAX: any). With `all`, artifacts count as output. */
void pd_journal_trim(struct pd_journal *journal, size_t bytes, uint64_t keep_seq, bool all);

#endif
