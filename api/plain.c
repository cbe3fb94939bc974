#include "api/plain.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/execution_state.h"
#include "common/mem.h"

#define CAPACITY_MIN 8
#define MEMBERS_BYTES_MAX (1024u * 1024) /* of an event; output and artifacts have their own */

struct pd_plain *pd_plain_new(size_t output_max, size_t artifacts_max)
{
    struct pd_plain *plain = PD_NEW(struct pd_plain);

    plain->accepted = pd_time_now();
    pd_outcome_init(&plain->outcome, output_max, artifacts_max);
    return plain;
}

void pd_plain_free(struct pd_plain *plain)
{
    if (!plain)
        return;
    pd_outcome_fini(&plain->outcome);
    free(plain->pieces);
    free((void *)(uintptr_t)plain->result.message);
    free(plain);
}

/* ---- noting ---- */

static int64_t age_us(const struct pd_plain *plain)
{
    return (pd_time_now().ns - plain->accepted.ns) / 1000;
}

static struct pd_plain_piece *add(struct pd_plain *plain)
{
    struct pd_plain_piece *piece;

    if (plain->n_pieces == plain->capacity) {
        plain->capacity = plain->capacity ? plain->capacity * 2 : CAPACITY_MIN;
        plain->pieces = pd_realloc(plain->pieces, plain->capacity, sizeof *plain->pieces);
    }
    piece = &plain->pieces[plain->n_pieces++];
    *piece = (struct pd_plain_piece){.time_us = age_us(plain)};
    return piece;
}

void pd_plain_stage(struct pd_plain *plain, const char *name)
{
    pd_outcome_stage(&plain->outcome, name);
    add(plain)->is_run = strcmp(name, "run") == 0; /* there are two at most */
}

/* Only what the outcome has kept is a piece. Pieces are joined when there are many. */
void pd_plain_output(struct pd_plain *plain, int stream, const void *data, size_t len)
{
    size_t before = plain->outcome.output.len;
    struct pd_plain_piece *last = plain->n_pieces ? &plain->pieces[plain->n_pieces - 1] : NULL;
    bool is_full = plain->n_pieces >= PD_PLAIN_PIECES_MAX;

    pd_outcome_output(&plain->outcome, stream, data, len);
    len = plain->outcome.output.len - before;
    if (len == 0)
        return;
    if (plain->dropped_bytes > 0 || (is_full && last->stream != stream)) {
        plain->dropped_bytes += len;
        return;
    }
    if (!is_full) {
        last = add(plain);
        last->stream = (uint8_t)stream;
    }
    last->len += (uint32_t)len;
}

/* ---- keeping ---- */

static size_t bytes_of(const struct pd_plain *plain)
{
    const struct pd_outcome *outcome = &plain->outcome;
    size_t bytes = sizeof(struct pd_execution) + sizeof *plain +
                   plain->capacity * sizeof *plain->pieces + outcome->compile.cap +
                   outcome->output.cap + outcome->streams[0].cap + outcome->streams[1].cap;

    for (size_t i = 0; i < outcome->n_artifacts; i++)
        bytes += outcome->artifacts[i].data.cap;
    return bytes;
}

static void drop_oldest(struct pd_executions *all)
{
    pd_execution_evict(PD_CONTAINER_OF(all->plain.next, struct pd_execution, in_list));
}

void pd_plain_keep(struct pd_executions *all, struct pd_plain *plain, const char *id,
                   const char *key_id, const struct pd_run_result *result,
                   const struct pd_job_times *times)
{
    struct pd_execution *execution = PD_NEW(struct pd_execution);

    plain->ended_us = age_us(plain);
    plain->result = *result;
    plain->result.message = *result->message ? pd_strdup(result->message) : NULL;
    plain->times = *times;
    plain->times.sandbox = NULL;
    pd_buf_fini(&plain->outcome.streams[0]); /* what is in `output`, too */
    pd_buf_fini(&plain->outcome.streams[1]);
    execution->all = all;
    execution->born = ++all->born;
    execution->done = true;
    execution->plain = plain;
    execution->plain_bytes = bytes_of(plain);
    pd_strcpy(execution->id, sizeof execution->id, id);
    pd_strcpy(execution->key_id, sizeof execution->key_id, key_id);
    pd_ring_init(&execution->watches);
    pd_strmap_add(&all->by_id, execution->id, execution);
    pd_ring_append(&all->plain, &execution->in_list);
    all->n_plain++;
    all->plain_bytes += execution->plain_bytes;
    while (all->n_plain > PD_PLAINS_MAX || all->plain_bytes > PD_PLAINS_BYTES_MAX)
        drop_oldest(all);
}

void pd_plain_forget(struct pd_execution *execution)
{
    execution->all->n_plain--;
    execution->all->plain_bytes -= execution->plain_bytes;
    pd_plain_free(PD_STEAL(execution->plain));
}

/* ---- telling ---- */

static void tell(struct pd_execution *execution, enum pd_entry_type type, int64_t time_us,
                 const struct pd_buf *members, size_t output_bytes)
{
    pd_journal_add(&execution->journal, type, time_us, members->data ? members->data : "",
                   members->len, output_bytes);
}

static void tellf(struct pd_execution *execution, enum pd_entry_type type, int64_t time_us,
                  const char *name, const char *value, const char *more)
{
    pd_autobuf struct pd_buf members;

    pd_buf_init(&members, MEMBERS_BYTES_MAX);
    (void)!pd_buf_addf(&members, NULL, "\"%s\":\"%s\"%s", name, value, more); /* fits */
    tell(execution, type, time_us, &members, 0);
}

static void tell_text(struct pd_execution *execution, int stream, int64_t time_us, const char *data,
                      size_t len)
{
    struct pd_text_stream *text = &execution->text[stream - 1];
    pd_autobuf struct pd_buf members;
    size_t bytes;

    pd_buf_init(&members, len * 6 + MEMBERS_BYTES_MAX);
    bytes =
        data ? pd_text_stream_put(text, data, len, &members) : pd_text_stream_flush(text, &members);
    if (bytes > 0)
        tell(execution, stream == 1 ? PD_ENTRY_STDOUT : PD_ENTRY_STDERR, time_us, &members, bytes);
}

static void flush(struct pd_execution *execution, int64_t time_us)
{
    tell_text(execution, 1, time_us, NULL, 0);
    tell_text(execution, 2, time_us, NULL, 0);
}

static void tell_pieces(struct pd_execution *execution, const struct pd_plain *plain)
{
    const struct pd_buf *of =
        plain->outcome.compile.len > 0 ? &plain->outcome.compile : &plain->outcome.output;
    size_t at = 0;

    for (size_t i = 0; i < plain->n_pieces; i++) {
        const struct pd_plain_piece *piece = &plain->pieces[i];
        if (piece->stream == 0) {
            flush(execution, piece->time_us);
            tellf(execution, PD_ENTRY_STAGE, piece->time_us, "name",
                  piece->is_run ? "run" : "compile", "");
            if (piece->is_run) {
                of = &plain->outcome.output;
                at = 0;
            }
            continue;
        }
        assert(at + piece->len <= of->len);
        tell_text(execution, piece->stream, piece->time_us, of->data + at, piece->len);
        at += piece->len;
    }
}

static void tell_dropped(struct pd_execution *execution, size_t bytes)
{
    struct pd_journal *journal = &execution->journal;
    char gap[PD_GAP_BYTES_MAX];

    if (bytes == 0)
        return;
    pd_journal_format_gap(journal->last_seq + 1, journal->last_seq + 1, bytes, gap);
    (void)!pd_journal_recall(journal, gap, strlen(gap), NULL); /* it is one */
}

static void tell_artifacts(struct pd_execution *execution, const struct pd_plain *plain)
{
    for (size_t i = 0; i < plain->outcome.n_artifacts; i++) {
        const struct pd_artifact *artifact = &plain->outcome.artifacts[i];
        pd_autobuf struct pd_buf members;
        pd_buf_init(&members, artifact->data.len * 2 + MEMBERS_BYTES_MAX);
        if (artifact->done && pd_artifact_format(artifact, &members, NULL) == 0)
            tell(execution, PD_ENTRY_ARTIFACT, plain->ended_us, &members, 0);
    }
}

static void tell_exit(struct pd_execution *execution, struct pd_plain *plain)
{
    pd_autobuf struct pd_buf members;

    plain->result.message = plain->result.message ? plain->result.message : pd_strdup("");
    pd_buf_init(&members, MEMBERS_BYTES_MAX);
    if (pd_outcome_format_exit(execution->id, &plain->result, &plain->times, plain->outcome.cut,
                               &members, NULL) == 0)
        tell(execution, PD_ENTRY_EXIT, plain->ended_us, &members, 0);
}

void pd_plain_tell(struct pd_execution *execution)
{
    struct pd_executions *all = execution->all;
    struct pd_plain *plain = execution->plain;
    bool warm = plain->result.start == PD_START_ZYGOTE || plain->result.start == PD_START_SPARE;

    tellf(execution, PD_ENTRY_ACCEPTED, 0, "id", execution->id, "");
    tellf(execution, PD_ENTRY_STARTED, plain->times.queue_us, "start",
          pd_start_name(plain->result.start), warm ? ",\"warm\":true" : ",\"warm\":false");
    tell_pieces(execution, plain);
    flush(execution, plain->ended_us);
    tell_dropped(execution, plain->dropped_bytes);
    tell_artifacts(execution, plain);
    tell_exit(execution, plain);
    pd_plain_forget(execution);
    pd_ring_remove(&execution->in_list);
    pd_ring_append(&all->finished, &execution->in_list);
    all->n_finished++;
    all->journal_bytes += execution->journal.bytes;
    pd_executions_evict(all, execution);
}
