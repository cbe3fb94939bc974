/* How an entry ends: what the dispatcher says of it, and its outcome on the way to
 * the disk. */
#include <assert.h>
#include <string.h>

#include "api/book_state.h"
#include "api/outcome.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/time.h"

/* ---- ending ---- */

static void on_finished(void *arg, const struct pd_err *err)
{
    struct pd_book_entry *entry = arg;
    const struct pd_err gone = {.kind = PD_UNAVAILABLE, .msg = "the outcome could not be kept"};

    bool is_others = err && (err->kind == PD_CONFLICT || err->kind == PD_NOT_FOUND);

    if (err)
        pd_log(is_others ? PD_LOG_WARN : PD_LOG_ERROR, "book",
               is_others ? "an outcome came too late: another replica has told one"
                         : "an outcome was not written; the next start calls it lost",
               "run", entry->id, "err", err->msg, NULL);
    entry->book->n_ending--;
    if (!entry->over && is_others) {
        pd_book_entry_give_away(entry);
    } else if (!entry->over) {
        pd_book_entry_tell(entry, err ? NULL : &entry->answer, err ? &gone : NULL, 0);
        pd_book_entry_end(entry);
    }
    pd_book_entry_unref(entry);
}

/* As many as fit from the first on; the number of the last that did. */
static uint64_t put_events(const struct pd_journal *journal, struct pd_buf *out)
{
    uint64_t put = 0;

    while (put < journal->last_seq) {
        const struct pd_entry *event = pd_journal_at(journal, put + 1);
        size_t before = out->len;
        if (!event)
            break;
        if (pd_buf_add(out, event->json, event->len, NULL) < 0 ||
            pd_buf_add(out, "\n", 1, NULL) < 0) {
            out->len = before;
            break;
        }
        put = event->seq;
    }
    return put;
}

static size_t bytes_of(const struct pd_journal *journal, uint64_t from_seq, uint64_t to_seq)
{
    size_t bytes = 0;

    while (from_seq <= to_seq) {
        const struct pd_entry *event = pd_journal_at(journal, from_seq);
        bytes += event->output_bytes;
        from_seq = event->seq + 1;
    }
    return bytes;
}

/* From the start as far as there is room; always the last, which tells the end. What is
 * left out between them is told as dropped. */
static void collect_events(const struct pd_journal *journal, struct pd_buf *out)
{
    const struct pd_entry *last =
        journal->last_seq ? pd_journal_at(journal, journal->last_seq) : NULL;
    size_t reserve = last ? last->len + 1 + PD_GAP_BYTES_MAX : 0;
    char gap[PD_GAP_BYTES_MAX];
    uint64_t put;

    pd_buf_init(out, PD_RECORD_EVENTS_BYTES_MAX);
    if (!last || reserve > out->max)
        return;
    out->max -= reserve;
    put = put_events(journal, out);
    out->max += reserve;
    if (put == journal->last_seq)
        return;
    if (put + 1 < last->from_seq) {
        pd_journal_format_gap(put + 1, last->from_seq - 1,
                              bytes_of(journal, put + 1, last->from_seq - 1), gap);
        (void)!pd_buf_addf(out, NULL, "%s\n", gap); /* fits, as does the last */
    }
    (void)!pd_buf_add(out, last->json, last->len, NULL);
    (void)!pd_buf_add(out, "\n", 1, NULL);
}

static void write_end(struct pd_book_entry *entry, const char *cause, const char *reason,
                      const struct pd_execution_end *end, const struct pd_buf *events)
{
    struct pd_ledger *ledger = entry->book->config.ledger;
    const struct pd_job_times *times = end ? end->times : NULL;
    const struct pd_record record = {
        .id = entry->id,
        .sandbox = times ? times->sandbox : NULL,
        .kind = entry->kind,
        .ended_wall_ms = pd_wall_ms(),
        .queue_us = times ? times->queue_us : 0,
        .run_us = times ? times->run_us : 0,
        .cause = cause,
        .result = end ? end->result : NULL,
        .reason = reason,
        .answer = entry->answer.len > 0 ? &entry->answer : NULL,
        .events = events && events->len > 0 ? events : NULL,
    };

    entry->state = PD_BOOK_ENDING;
    entry->book->n_ending++;
    pd_book_entry_ref(entry);
    ledger->ops->finish(ledger, &record, on_finished, entry);
}

/* It ends without ever having run here: what POST /execute would say of it. */
void pd_book_entry_end_unrun(struct pd_book_entry *entry, const char *cause, const char *reason)
{
    bool lost = strcmp(cause, pd_cause_name(PD_CAUSE_LOST)) == 0;
    const struct pd_run_result result = {
        .cause = lost ? PD_CAUSE_LOST : PD_CAUSE_CANCELED,
        .exit_code = 255,
        .start = PD_START_COLD,
        .usage.memory_method = "none",
        .message = reason,
    };
    const struct pd_job_times times = {0};
    struct pd_outcome outcome;

    pd_outcome_init(&outcome, 0, 0);
    pd_buf_fini(&entry->answer);
    if (pd_outcome_format(&outcome, entry->id, &result, &times, &entry->answer, NULL) < 0)
        pd_buf_clear(&entry->answer);
    pd_outcome_fini(&outcome);
    write_end(entry, cause, reason, NULL, NULL);
}

static void on_forgotten(void *arg, const struct pd_err *err)
{
    struct pd_book_entry *entry = arg;

    if (err) /* it runs at the next start; whoever asks again with its key gets that */
        pd_log(PD_LOG_WARN, "book", "a refused run could not be taken out of the book", "run",
               entry->id, "err", err->msg, NULL);
    pd_book_entry_unref(entry);
}

/* Refused: as if it had never been. */
static void forget(struct pd_book_entry *entry, const struct pd_err *why, int retry_after_s)
{
    struct pd_book *book = entry->book;
    struct pd_err err;

    entry->state = PD_BOOK_ENDING;
    pd_book_entry_ref(entry);
    if (book->config.ledger->ops->forget(book->config.ledger, entry->id, on_forgotten, entry,
                                         &err) < 0)
        on_forgotten(entry, &err);
    pd_book_entry_tell(entry, NULL, why, retry_after_s);
    pd_book_entry_end(entry);
}

/* ---- what the dispatcher says ---- */

static void on_begun(void *arg, const struct pd_err *err)
{
    struct pd_book_entry *entry = arg;

    entry->beginning = false;
    if (!entry->over && entry->state == PD_BOOK_LIVE && entry->live) {
        if (!err) {
            entry->began = true;
            pd_execution_proceed(entry->live);
        } else {
            entry->disowned = err->kind == PD_CONFLICT || err->kind == PD_NOT_FOUND;
            entry->canceled = entry->canceled || err->kind == PD_CANCELED;
            entry->again = true; /* its sandbox is for others, meanwhile */
            if (entry->disowned)
                pd_execution_withdraw(entry->live, PD_BOOK_TAKEN);
            else if (!entry->canceled)
                pd_execution_withdraw(entry->live, PD_BOOK_LATER);
            pd_execution_cancel(entry->live);
        }
    }
    pd_book_entry_unref(entry);
}

static void on_about(void *arg, struct pd_execution *execution)
{
    struct pd_book *book = arg;
    struct pd_book_entry *entry = pd_execution_tag(execution);
    struct pd_err err;

    assert(entry);
    entry->live = execution;
    entry->beginning = true;
    pd_book_entry_ref(entry);
    if (book->config.ledger->ops->begin(book->config.ledger, entry->id, on_begun, entry, &err) < 0)
        on_begun(entry, &err);
}

/* It never began. */
void pd_book_entry_end_failed(struct pd_book_entry *entry, const struct pd_execution_end *end)
{
    struct pd_book *book = entry->book;

    if (book->draining || end->err->kind == PD_CANCELED) {
        pd_book_entry_tell(entry, NULL, end->err, 1);
        pd_book_entry_end(entry); /* the database has it: the next start goes on with it */
    } else if (!entry->patient) {
        forget(entry, end->err, end->retry_after_s);
    } else if (pd_book_is_pool_gone(book, entry->pool)) {
        pd_book_entry_end_unrun(entry, "canceled", end->err->msg);
    } else if (end->err->kind == PD_INVALID) {
        pd_book_entry_end_unrun(entry, "failed", end->err->msg);
    } else {
        pd_book_entry_wait(entry, true);
        pd_book_feed_soon(book, PD_BOOK_RETRY_MS);
    }
}

static void record_stream(struct pd_book *book, const struct pd_execution *execution,
                          const struct pd_execution_end *end)
{
    const struct pd_request *request = pd_execution_request(execution);
    pd_autobuf struct pd_buf events = {0};

    if (!end->result)
        return; /* refused: nothing ran */
    collect_events(pd_execution_journal(execution), &events);
    book->config.ledger->ops->add(book->config.ledger,
                                  &(struct pd_record){
                                      .id = pd_execution_id(execution),
                                      .key_id = pd_execution_key_id(execution),
                                      .pool = request->pool,
                                      .language = request->language->name,
                                      .sandbox = end->times->sandbox,
                                      .kind = PD_RECORD_STREAM,
                                      .code = request->run.code,
                                      .code_len = request->run.code_len,
                                      .ended_wall_ms = pd_wall_ms(),
                                      .queue_us = end->times->queue_us,
                                      .run_us = end->times->run_us,
                                      .cause = pd_cause_name(end->result->cause),
                                      .result = end->result,
                                      .events = &events,
                                  });
}

static void end_ran(struct pd_book_entry *entry, struct pd_execution *execution,
                    const struct pd_execution_end *end)
{
    pd_autobuf struct pd_buf events;
    struct pd_err err;

    pd_buf_fini(&entry->answer);
    if (pd_outcome_format(pd_execution_outcome(execution), entry->id, end->result, end->times,
                          &entry->answer, &err) < 0)
        pd_buf_clear(&entry->answer);
    collect_events(pd_execution_journal(execution), &events);
    write_end(entry, pd_cause_name(end->result->cause), NULL, end, &events);
}

static void on_done(void *arg, struct pd_execution *execution, const struct pd_execution_end *end)
{
    struct pd_book *book = arg;
    struct pd_book_entry *entry = pd_execution_tag(execution);

    if (!entry) {
        record_stream(book, execution, end);
        return;
    }
    pd_book_entry_stop_live(entry);
    if (entry->disowned) {
        pd_book_entry_give_away(entry);
    } else if (end->err) {
        pd_book_entry_end_failed(entry, end);
    } else if (entry->again && !entry->canceled) {
        entry->again = false;
        pd_book_entry_wait(entry, true);
        pd_book_feed_soon(book, PD_BOOK_RETRY_MS);
    } else if (!entry->began && book->draining && !entry->canceled) {
        const struct pd_err err = {.kind = PD_UNAVAILABLE, .msg = "the service is stopping"};
        pd_book_entry_tell(entry, NULL, &err, 1);
        pd_book_entry_end(entry);
    } else {
        end_ran(entry, execution, end);
    }
}

const struct pd_execution_observer pd_book_observer = {.about = on_about, .done = on_done};
