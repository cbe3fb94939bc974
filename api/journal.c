#include "api/journal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

#define HEAD_BYTES 96 /* {"type":"...","seq":...,"time":... */
#define CAPACITY_MIN 16
#define NUMBER_DIGITS_MAX 18

static const char *const names[] = {
    [PD_ENTRY_ACCEPTED] = "accepted", [PD_ENTRY_QUEUED] = "queued", [PD_ENTRY_STARTED] = "started",
    [PD_ENTRY_STAGE] = "stage",       [PD_ENTRY_STDOUT] = "stdout", [PD_ENTRY_STDERR] = "stderr",
    [PD_ENTRY_ARTIFACT] = "artifact", [PD_ENTRY_EXIT] = "exit",     [PD_ENTRY_ERROR] = "error",
    [PD_ENTRY_DROPPED] = "dropped",
};

const char *pd_entry_name(enum pd_entry_type type)
{
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

static void append(struct pd_journal *journal, struct pd_entry *event)
{
    if (journal->count == journal->capacity) {
        journal->capacity = journal->capacity ? journal->capacity * 2 : CAPACITY_MIN;
        journal->events = pd_realloc(journal->events, journal->capacity, sizeof *journal->events);
    }
    journal->events[journal->count++] = event;
    journal->bytes += cost(event);
    if (is_output(event))
        journal->output_bytes += cost(event);
    journal->last_seq = event->seq;
}

const struct pd_entry *pd_journal_add(struct pd_journal *journal, enum pd_entry_type type,
                                      int64_t time_us, const char *members, size_t members_len,
                                      size_t output_bytes)
{
    struct pd_entry *event = event_new(type, journal->last_seq + 1, time_us, members, members_len);

    event->output_bytes = output_bytes;
    append(journal, event);
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

static struct pd_entry *gap_of(uint64_t from_seq, uint64_t to_seq, size_t output_bytes)
{
    char members[128];
    int len = snprintf(members, sizeof members, "\"from_seq\":%llu,\"to_seq\":%llu,\"bytes\":%zu",
                       (unsigned long long)from_seq, (unsigned long long)to_seq, output_bytes);
    struct pd_entry *gap = event_new(PD_ENTRY_DROPPED, to_seq, 0, members, (size_t)len);

    gap->from_seq = from_seq;
    gap->output_bytes = output_bytes;
    return gap;
}

void pd_journal_format_gap(uint64_t from_seq, uint64_t to_seq, size_t output_bytes,
                           char out[static PD_GAP_BYTES_MAX])
{
    struct pd_entry *gap = gap_of(from_seq, to_seq, output_bytes);

    pd_strcpy(out, PD_GAP_BYTES_MAX, gap->json);
    pd_entry_unref(gap);
}

/* A gap in place of an event, grown by the gap that stands before it. */
static struct pd_entry *gap_new(const struct pd_entry *before, const struct pd_entry *event)
{
    bool grows = before && before->type == PD_ENTRY_DROPPED;
    uint64_t from_seq = grows ? before->from_seq : event->from_seq;
    size_t output_bytes = event->output_bytes + (grows ? before->output_bytes : 0);

    return gap_of(from_seq, event->seq, output_bytes);
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

/* ---- recalling ---- */

/* What is left of a text that is read from the front. */
struct cursor {
    const char *at;
    size_t len;
};

static bool skip(struct cursor *cursor, const char *text)
{
    size_t len = strlen(text);

    if (cursor->len < len || memcmp(cursor->at, text, len) != 0)
        return false;
    cursor->at += len;
    cursor->len -= len;
    return true;
}

static bool take_type(struct cursor *cursor, enum pd_entry_type *ret_type)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t len = strlen(names[i]);
        if (cursor->len <= len || memcmp(cursor->at, names[i], len) != 0 || cursor->at[len] != '"')
            continue;
        cursor->at += len;
        cursor->len -= len;
        *ret_type = (enum pd_entry_type)i;
        return true;
    }
    return false;
}

static bool take_number(struct cursor *cursor, uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t digits = 0;

    while (digits < cursor->len && cursor->at[digits] >= '0' && cursor->at[digits] <= '9' &&
           digits < NUMBER_DIGITS_MAX)
        number = number * 10 + (uint64_t)(cursor->at[digits++] - '0');
    if (digits == 0)
        return false;
    cursor->at += digits;
    cursor->len -= digits;
    *ret_number = number;
    return true;
}

/* Of a gap: where it begins, and how much it stands for. The time is of any length. */
static bool take_gap(struct cursor *cursor, uint64_t *ret_from_seq, uint64_t *ret_bytes)
{
    uint64_t to_seq;
    const char *comma = memchr(cursor->at, ',', cursor->len);

    if (!comma)
        return false;
    cursor->len -= (size_t)(comma - cursor->at);
    cursor->at = comma;
    return skip(cursor, ",\"from_seq\":") && take_number(cursor, ret_from_seq) &&
           skip(cursor, ",\"to_seq\":") && take_number(cursor, &to_seq) &&
           skip(cursor, ",\"bytes\":") && take_number(cursor, ret_bytes);
}

/* What a text says of the event that it is. */
struct told {
    enum pd_entry_type type;
    uint64_t from_seq, seq;
    uint64_t bytes; /* that a gap stands for */
};

static int read_told(const char *json, size_t len, struct told *told, struct pd_err *err)
{
    struct cursor cursor = {.at = json, .len = len};

    *told = (struct told){.type = PD_ENTRY_ACCEPTED};
    if (!skip(&cursor, "{\"type\":\"") || !take_type(&cursor, &told->type) ||
        !skip(&cursor, "\",\"seq\":") || !take_number(&cursor, &told->seq) ||
        !skip(&cursor, ",\"time\":") || cursor.len == 0 || json[len - 1] != '}')
        return pd_err_set(err, PD_INVALID, "a text that is no event");
    told->from_seq = told->seq;
    if (told->type == PD_ENTRY_DROPPED &&
        (!take_gap(&cursor, &told->from_seq, &told->bytes) || told->from_seq > told->seq))
        return pd_err_set(err, PD_INVALID, "a gap that is none");
    if (told->from_seq == 0)
        return pd_err_set(err, PD_INVALID, "an event without a number");
    return 0;
}

static void append_told(struct pd_journal *journal, const struct told *told, const char *json,
                        size_t len, size_t output_bytes)
{
    struct pd_entry *event = pd_calloc(1, sizeof *event + len + 1);

    *event = (struct pd_entry){
        .refs = 1, .type = told->type, .from_seq = told->from_seq, .seq = told->seq};
    event->output_bytes = output_bytes;
    event->len = len;
    memcpy(event->json, json, len);
    append(journal, event);
}

int pd_journal_recall(struct pd_journal *journal, const char *json, size_t len, struct pd_err *err)
{
    struct told told;
    int rc = read_told(json, len, &told, err);

    if (rc < 0)
        return rc;
    if (told.from_seq <= journal->last_seq)
        return pd_err_set(err, PD_INVALID, "an event whose number was there before");
    if (told.from_seq > journal->last_seq + 1)
        append(journal, gap_of(journal->last_seq + 1, told.from_seq - 1, 0));
    append_told(journal, &told, json, len, (size_t)told.bytes);
    return 0;
}

/* What is left of so many output bytes behind those of the events that are here, from one on. */
static size_t rest_of(const struct pd_journal *journal, uint64_t from_seq, size_t output_bytes)
{
    for (size_t i = journal->count; i > 0 && journal->events[i - 1]->from_seq >= from_seq; i--) {
        size_t here = journal->events[i - 1]->output_bytes;
        output_bytes -= here < output_bytes ? here : output_bytes;
    }
    return output_bytes;
}

int pd_journal_follow(struct pd_journal *journal, const char *json, size_t len, size_t output_bytes,
                      struct pd_err *err)
{
    struct told told;
    int rc = read_told(json, len, &told, err);

    if (rc < 0)
        return rc;
    if (told.seq <= journal->last_seq)
        return 0;
    if (told.from_seq > journal->last_seq + 1)
        return pd_err_set(err, PD_CONFLICT, "events before %llu are missing",
                          (unsigned long long)told.from_seq);
    if (told.from_seq <= journal->last_seq) /* a gap, some of which was seen as it was */
        append(journal, gap_of(journal->last_seq + 1, told.seq,
                               rest_of(journal, told.from_seq, output_bytes)));
    else
        append_told(journal, &told, json, len, output_bytes);
    return 0;
}
