/* Theory of operation.
 *
 * An entry is in its line (waiting), with the dispatcher (live), or ending (its
 * outcome is on the way to the disk). Lines are of one key and one pool; `feed`
 * takes turns among them and lets each have as many live as its pool could use.
 *
 * Every answer of the database comes to an entry, which is not freed before: that
 * is what `refs` counts. The book itself counts them all, so that one that is
 * closed goes when the last has come. */
#include "api/book.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "api/ring.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/strmap.h"
#include "common/time.h"

#define LINE_NAME_BYTES (PD_KEY_ID_MAX + PD_POOL_NAME_MAX)
#define LINE_LIVE_MIN 4

enum entry_state {
    WAITING, /* in its line */
    LOADING, /* its request is being read */
    LIVE,    /* the dispatcher has it */
    ENDING,  /* its outcome is being written */
};

struct line {
    struct pd_ring in_lines;
    char name[LINE_NAME_BYTES];
    char pool[PD_POOL_NAME_MAX];
    struct pd_ring waiting;
    size_t n_entries;         /* it goes with the last */
    size_t n_waiting, n_live; /* loading ones count as live */
};

struct entry {
    struct pd_book *book;
    struct line *line;
    struct pd_ring in_line; /* while waiting */
    char id[PD_RECORD_ID_BYTES];
    char key_id[PD_KEY_ID_MAX];
    char pool[PD_POOL_NAME_MAX];
    char language[PD_LANGUAGE_NAME_MAX];
    enum pd_record_kind kind;
    enum entry_state state;
    bool patient;    /* has no deadline */
    bool retry_safe;
    bool beginning;  /* that it begins is being written */
    bool began;      /* and that is durable */
    bool again;      /* that it begins could not be written: later */
    bool canceled;   /* and that is durable */
    unsigned refs;   /* answers of the database that are to come */
    bool over;       /* not in the book any more */
    struct pd_request *request; /* NULL: in the database */
    struct pd_execution *live;
    struct pd_buf answer; /* while ending */
    struct pd_ring waits;
};

struct pd_book {
    struct pd_book_config config;
    struct pd_strmap by_id;
    struct pd_strmap lines_by_name;
    struct pd_strmap counts; /* of struct key_count */
    struct pd_ring lines;
    size_t count, n_live, n_ending;
    size_t refs; /* of all entries, and of what is being accepted */
    uv_timer_t timer;
    uv_timer_t prune; /* keeps house among the records */
    int open_timers;
    int64_t opened_wall_ms;
    bool draining, closed;
};

struct key_count {
    char key_id[PD_KEY_ID_MAX];
    size_t count;
};

static void feed_soon(struct pd_book *book, uint64_t ms);

/* ---- counting ---- */

static size_t count_of(const struct pd_book *book, const char *key_id)
{
    const struct key_count *count = pd_strmap_get(&book->counts, key_id);

    return count ? count->count : 0;
}

static void count_add(struct pd_book *book, const char *key_id)
{
    struct key_count *count = pd_strmap_get(&book->counts, key_id);

    if (!count) {
        count = PD_NEW(struct key_count);
        pd_strcpy(count->key_id, sizeof count->key_id, key_id);
        pd_strmap_add(&book->counts, count->key_id, count);
    }
    count->count++;
    book->count++;
}

static void count_take(struct pd_book *book, const char *key_id)
{
    struct key_count *count = pd_strmap_get(&book->counts, key_id);

    book->count--;
    if (--count->count > 0)
        return;
    pd_strmap_remove(&book->counts, count->key_id);
    free(count);
}

size_t pd_book_count(const struct pd_book *book)
{
    return book->count;
}

size_t pd_book_ending(const struct pd_book *book)
{
    return book->n_ending;
}

/* ---- lines ---- */

static struct line *line_of(struct pd_book *book, const char *key_id, const char *pool)
{
    char name[LINE_NAME_BYTES];
    struct line *line;

    snprintf(name, sizeof name, "%s/%s", key_id, pool);
    line = pd_strmap_get(&book->lines_by_name, name);
    if (line)
        return line;
    line = PD_NEW(struct line);
    pd_strcpy(line->name, sizeof line->name, name);
    pd_strcpy(line->pool, sizeof line->pool, pool);
    pd_ring_init(&line->waiting);
    pd_ring_append(&book->lines, &line->in_lines);
    pd_strmap_add(&book->lines_by_name, line->name, line);
    return line;
}

static void line_unref(struct pd_book *book, struct line *line)
{
    if (--line->n_entries > 0)
        return;
    pd_ring_remove(&line->in_lines);
    pd_strmap_remove(&book->lines_by_name, line->name);
    free(line);
}

/* How many of a line the dispatcher has at once: enough to keep its pool busy. */
static size_t live_max(const struct pd_book *book, const struct line *line)
{
    struct pd_pool *pool = pd_store_pool(book->config.store, line->pool);
    size_t max = pool ? (size_t)pool->spec->max_size * 2 : LINE_LIVE_MIN;

    return max < LINE_LIVE_MIN ? LINE_LIVE_MIN : max;
}

/* ---- entries ---- */

static struct entry *entry_new(struct pd_book *book, const char *id, const char *key_id,
                               const char *pool, const char *language)
{
    struct entry *entry = PD_NEW(struct entry);

    entry->book = book;
    pd_strcpy(entry->id, sizeof entry->id, id);
    pd_strcpy(entry->key_id, sizeof entry->key_id, key_id);
    pd_strcpy(entry->pool, sizeof entry->pool, pool);
    pd_strcpy(entry->language, sizeof entry->language, language);
    pd_ring_init(&entry->waits);
    entry->line = line_of(book, key_id, pool);
    entry->line->n_entries++;
    pd_strmap_add(&book->by_id, entry->id, entry);
    count_add(book, key_id);
    return entry;
}

static void entry_wait(struct entry *entry, bool first)
{
    entry->state = WAITING;
    if (first)
        pd_ring_append(entry->line->waiting.next, &entry->in_line);
    else
        pd_ring_append(&entry->line->waiting, &entry->in_line);
    entry->line->n_waiting++;
}

static void entry_leave_line(struct entry *entry)
{
    pd_ring_remove(&entry->in_line);
    entry->line->n_waiting--;
}

static void entry_stop_live(struct entry *entry)
{
    entry->live = NULL;
    entry->line->n_live--;
    entry->book->n_live--;
}

static void book_reap(struct pd_book *book);

static void entry_ref(struct entry *entry)
{
    entry->refs++;
    entry->book->refs++;
}

static void entry_free(struct entry *entry)
{
    pd_request_free(entry->request);
    pd_buf_fini(&entry->answer);
    free(entry);
}

static void entry_unref(struct entry *entry)
{
    struct pd_book *book = entry->book;

    book->refs--;
    if (--entry->refs == 0 && entry->over)
        entry_free(entry);
    book_reap(book);
}

static void tell_waits(struct entry *entry, const struct pd_buf *answer, const struct pd_err *err,
                       int retry_after_s)
{
    while (!pd_ring_is_empty(&entry->waits)) {
        struct pd_book_wait *wait =
            PD_CONTAINER_OF(entry->waits.next, struct pd_book_wait, in_entry);
        pd_ring_remove(&wait->in_entry);
        pd_ring_init(&wait->in_entry);
        wait->done(wait->arg, answer, err, retry_after_s);
    }
}

/* Out of the book. It is neither in its line nor live. */
static void entry_end(struct entry *entry)
{
    struct pd_book *book = entry->book;

    assert(pd_ring_is_empty(&entry->waits));
    pd_strmap_remove(&book->by_id, entry->id);
    count_take(book, entry->key_id);
    line_unref(book, entry->line);
    entry->over = true;
    if (entry->refs == 0)
        entry_free(entry);
    if (!book->closed)
        feed_soon(book, 0);
}

/* ---- ending ---- */

static void on_finished(void *arg, const struct pd_err *err)
{
    struct entry *entry = arg;
    const struct pd_err gone = {.kind = PD_UNAVAILABLE, .msg = "the outcome could not be kept"};

    if (err)
        pd_log(PD_LOG_ERROR, "book", "an outcome was not written; the next start calls it lost",
               "run", entry->id, "err", err->msg, NULL);
    entry->book->n_ending--;
    if (!entry->over) {
        tell_waits(entry, err ? NULL : &entry->answer, err ? &gone : NULL, 0);
        entry_end(entry);
    }
    entry_unref(entry);
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

/* From the start as far as there is room; always the last, which tells the end. */
static void collect_events(const struct pd_journal *journal, struct pd_buf *out)
{
    const struct pd_entry *last =
        journal->last_seq ? pd_journal_at(journal, journal->last_seq) : NULL;
    size_t reserve = last ? last->len + 1 : 0;

    pd_buf_init(out, PD_RECORD_EVENTS_BYTES_MAX);
    if (!last || reserve > out->max)
        return;
    out->max -= reserve;
    if (put_events(journal, out) < journal->last_seq) {
        out->max += reserve;
        (void)!pd_buf_add(out, last->json, last->len, NULL); /* fits */
        (void)!pd_buf_add(out, "\n", 1, NULL);
    }
}

static void write_end(struct entry *entry, const char *cause, const char *reason,
                      const struct pd_execution_end *end, const struct pd_buf *events)
{
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

    entry->state = ENDING;
    entry->book->n_ending++;
    entry_ref(entry);
    pd_records_finish(entry->book->config.records, &record, on_finished, entry);
}

/* It ends without ever having run here: what POST /execute would say of it. */
static void end_unrun(struct entry *entry, const char *cause, const char *reason)
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
    struct entry *entry = arg;

    if (err) /* it runs at the next start; whoever asks again with its key gets that */
        pd_log(PD_LOG_WARN, "book", "a refused run could not be taken out of the book", "run",
               entry->id, "err", err->msg, NULL);
    entry_unref(entry);
}

/* Refused: as if it had never been. */
static void forget(struct entry *entry, const struct pd_err *why, int retry_after_s)
{
    struct pd_book *book = entry->book;
    struct pd_err err;

    entry->state = ENDING;
    entry_ref(entry);
    if (pd_records_forget(book->config.records, entry->id, on_forgotten, entry, &err) < 0)
        on_forgotten(entry, &err);
    tell_waits(entry, NULL, why, retry_after_s);
    entry_end(entry);
}

/* ---- what the dispatcher says ---- */

static void on_begun(void *arg, const struct pd_err *err)
{
    struct entry *entry = arg;

    entry->beginning = false;
    if (!entry->over && entry->state == LIVE && entry->live) {
        if (!err) {
            entry->began = true;
            pd_execution_proceed(entry->live);
        } else {
            entry->again = true; /* its sandbox is for others, meanwhile */
            pd_execution_cancel(entry->live);
        }
    }
    entry_unref(entry);
}

static void on_about(void *arg, struct pd_execution *execution)
{
    struct pd_book *book = arg;
    struct entry *entry = pd_execution_tag(execution);
    struct pd_err err;

    assert(entry);
    entry->live = execution;
    entry->beginning = true;
    entry_ref(entry);
    if (pd_records_begin(book->config.records, entry->id, on_begun, entry, &err) < 0)
        on_begun(entry, &err);
}

static bool is_pool_gone(const struct pd_book *book, const char *name)
{
    struct pd_pool *pool = pd_store_pool(book->config.store, name);

    return !pool || pool->deleting;
}

/* It never began. */
static void end_failed(struct entry *entry, const struct pd_execution_end *end)
{
    struct pd_book *book = entry->book;

    if (book->draining || end->err->kind == PD_CANCELED) {
        tell_waits(entry, NULL, end->err, 1);
        entry_end(entry); /* the database has it: the next start goes on with it */
    } else if (!entry->patient) {
        forget(entry, end->err, end->retry_after_s);
    } else if (is_pool_gone(book, entry->pool)) {
        end_unrun(entry, "canceled", end->err->msg);
    } else if (end->err->kind == PD_INVALID) {
        end_unrun(entry, "failed", end->err->msg);
    } else {
        entry_wait(entry, true);
        feed_soon(book, PD_BOOK_RETRY_MS);
    }
}

static void record_stream(struct pd_book *book, const struct pd_execution *execution,
                          const struct pd_execution_end *end)
{
    const struct pd_request *request = pd_execution_request(execution);
    pd_autobuf struct pd_buf events;

    if (!end->result)
        return; /* refused: nothing ran */
    collect_events(pd_execution_journal(execution), &events);
    pd_records_add(book->config.records,
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

static void end_ran(struct entry *entry, struct pd_execution *execution,
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
    struct entry *entry = pd_execution_tag(execution);

    if (!entry) {
        record_stream(book, execution, end);
        return;
    }
    entry_stop_live(entry);
    if (end->err) {
        end_failed(entry, end);
    } else if (entry->again && !entry->canceled) {
        entry->again = false;
        entry_wait(entry, true);
        feed_soon(book, PD_BOOK_RETRY_MS);
    } else if (!entry->began && book->draining && !entry->canceled) {
        const struct pd_err err = {.kind = PD_UNAVAILABLE, .msg = "the service is stopping"};
        tell_waits(entry, NULL, &err, 1);
        entry_end(entry);
    } else {
        end_ran(entry, execution, end);
    }
}

static const struct pd_execution_observer observer = {.about = on_about, .done = on_done};

/* ---- beginning ---- */

static void submit(struct entry *entry)
{
    struct pd_book *book = entry->book;
    struct pd_execution_submit submit = {
        .id = entry->id,
        .key_id = entry->key_id,
        .request = PD_STEAL(entry->request),
        .held = true,
        .keep_outcome = true,
        .patient = entry->patient,
        .tag = entry,
    };
    struct pd_execution_end end = {0};
    struct pd_err err;

    entry->state = LIVE;
    if (!pd_executions_forget(book->config.executions, entry->id)) {
        pd_request_free(submit.request); /* an earlier try of it is still watched */
        pd_err_set(&err, PD_THROTTLED, "still watched");
    } else if (pd_executions_submit(book->config.executions, &submit, &entry->live,
                                    &end.retry_after_s, &err) == 0) {
        return;
    }
    entry_stop_live(entry);
    end.err = &err;
    end_failed(entry, &end);
}

static void on_body(void *arg, struct pd_buf *text, const struct pd_err *err)
{
    struct entry *entry = arg;
    struct pd_book *book = entry->book;
    struct pd_refusal refusal;

    if (entry->over || entry->state != LOADING || book->closed) {
        entry_unref(entry);
        return;
    }
    if (err || book->draining) {
        entry_stop_live(entry);
        entry_wait(entry, true);
        feed_soon(book, PD_BOOK_RETRY_MS);
    } else if (entry->canceled) {
        entry_stop_live(entry);
        end_unrun(entry, "canceled", "canceled before it began");
    } else if (pd_request_parse(book->config.rules, text->data ? text->data : "", text->len,
                                &entry->request, &refusal) < 0) {
        entry_stop_live(entry);
        end_unrun(entry, "failed", refusal.detail); /* its pool has changed since */
    } else {
        submit(entry);
    }
    entry_unref(entry);
}

/* Out of its line: to the dispatcher, by way of the database where its request is there. */
static void begin(struct entry *entry)
{
    struct pd_book *book = entry->book;
    struct pd_err err;

    entry_leave_line(entry);
    entry->line->n_live++;
    book->n_live++;
    if (entry->request) {
        submit(entry);
        return;
    }
    entry->state = LOADING;
    entry_ref(entry);
    if (pd_records_body(book->config.records, entry->id, on_body, entry, &err) < 0)
        on_body(entry, NULL, &err);
}

/* One of the next line in turn that may have one; false when there is none. */
static bool feed_one(struct pd_book *book)
{
    for (struct pd_ring *at = book->lines.next; at != &book->lines; at = at->next) {
        struct line *line = PD_CONTAINER_OF(at, struct line, in_lines);
        struct entry *entry;
        if (line->n_waiting == 0 || line->n_live >= live_max(book, line) ||
            is_pool_gone(book, line->pool))
            continue;
        entry = PD_CONTAINER_OF(line->waiting.next, struct entry, in_line);
        pd_ring_remove(&line->in_lines);
        pd_ring_append(&book->lines, &line->in_lines);
        begin(entry);
        return true;
    }
    return false;
}

/* A pool that was deleted, or is not there long after the start. */
static void cancel_orphans(struct pd_book *book)
{
    bool is_young = pd_wall_ms() - book->opened_wall_ms < PD_BOOK_POOL_WAIT_MS;
    struct pd_ring *next;

    for (struct pd_ring *at = book->lines.next; at != &book->lines; at = next) {
        struct line *line = PD_CONTAINER_OF(at, struct line, in_lines);
        struct pd_pool *pool = pd_store_pool(book->config.store, line->pool);
        next = at->next;
        if (pool ? !pool->deleting : is_young)
            continue;
        while (line->n_waiting > 0) {
            struct entry *entry = PD_CONTAINER_OF(line->waiting.next, struct entry, in_line);
            char reason[128];
            snprintf(reason, sizeof reason, "pool %s was deleted", entry->pool);
            entry_leave_line(entry);
            end_unrun(entry, "canceled", reason);
        }
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct pd_book *book = timer->data;
    size_t tries = PD_BOOK_LIVE_MAX;

    if (book->draining)
        return;
    cancel_orphans(book);
    while (book->n_live < PD_BOOK_LIVE_MAX && tries-- > 0 && feed_one(book))
        continue;
    for (struct pd_ring *at = book->lines.next; at != &book->lines; at = at->next) {
        if (PD_CONTAINER_OF(at, struct line, in_lines)->n_waiting > 0) {
            feed_soon(book, PD_BOOK_RETRY_MS);
            break;
        }
    }
}

static void feed_soon(struct pd_book *book, uint64_t ms)
{
    if (book->draining || book->closed)
        return;
    if (!uv_is_active((uv_handle_t *)&book->timer) || uv_timer_get_due_in(&book->timer) > ms)
        uv_timer_start(&book->timer, on_timer, ms, 0);
}

/* ---- accepting ---- */

struct accepting {
    struct pd_book *book;
    pd_accept_cb cb;
    void *arg;
    size_t count;
    struct {
        struct pd_request *request;
        struct entry *entry;
        char key_id[PD_KEY_ID_MAX];
        enum pd_record_kind kind;
        bool retry_safe;
    } items[];
};

static struct entry *enter(struct pd_book *book, struct accepting *accepting, size_t i,
                           const char *id)
{
    struct pd_request *request = PD_STEAL(accepting->items[i].request);
    struct entry *entry = entry_new(book, id, accepting->items[i].key_id, request->pool,
                                    request->language->name);

    entry->kind = accepting->items[i].kind;
    entry->retry_safe = accepting->items[i].retry_safe;
    entry->patient = entry->kind != PD_RECORD_PLAIN;
    entry->request = request;
    entry_wait(entry, false);
    return entry;
}

/* Straight to the dispatcher where nobody of its line waits. */
static void begin_new(struct pd_book *book, struct entry *entry)
{
    if (entry->state != WAITING)
        return;
    if (!entry->patient ||
        (entry->line->n_waiting == 1 && entry->line->n_live < live_max(book, entry->line) &&
         book->n_live < PD_BOOK_LIVE_MAX && !is_pool_gone(book, entry->pool))) {
        begin(entry);
        return;
    }
    pd_request_free(PD_STEAL(entry->request)); /* it may be long: the database has it */
    feed_soon(book, 0);
}

static void on_accepted(void *arg, struct pd_accepted *results, size_t count,
                        const struct pd_err *err)
{
    struct accepting *accepting = arg;
    struct pd_book *book = accepting->book;
    bool enters = !err && !book->closed && !book->draining;

    for (size_t i = 0; i < count; i++) {
        if (enters && results[i].is_new)
            accepting->items[i].entry = enter(book, accepting, i, results[i].id);
    }
    accepting->cb(accepting->arg, results, count, err);
    for (size_t i = 0; i < count; i++) {
        if (accepting->items[i].entry)
            begin_new(book, accepting->items[i].entry);
        pd_request_free(accepting->items[i].request);
    }
    free(accepting);
    book->refs--;
    book_reap(book);
}

static int check_room(const struct pd_book *book, const char *key_id, size_t count,
                      struct pd_err *err)
{
    if (book->draining)
        return pd_err_set(err, PD_UNAVAILABLE, "the service is stopping");
    if (count_of(book, key_id) + count > PD_BOOK_KEY_MAX)
        return pd_err_set(err, PD_THROTTLED, "this key has %d executions waiting, as many as it may",
                          PD_BOOK_KEY_MAX);
    if (book->count + count > PD_BOOK_MAX)
        return pd_err_set(err, PD_UNAVAILABLE, "%d executions wait: no more are accepted now",
                          PD_BOOK_MAX);
    return 0;
}

int pd_book_accept(struct pd_book *book, const struct pd_book_item *items, size_t count,
                   pd_accept_cb cb, void *arg, struct pd_err *err)
{
    struct accepting *accepting =
        pd_calloc(1, sizeof *accepting + count * sizeof accepting->items[0]);
    struct pd_accept *accepts = pd_calloc(count, sizeof *accepts);
    char(*ids)[PD_EXECUTION_ID_BYTES] = pd_calloc(count, sizeof *ids);
    int rc = check_room(book, items[0].key_id, count, err);

    accepting->book = book;
    accepting->cb = cb;
    accepting->arg = arg;
    accepting->count = count;
    for (size_t i = 0; i < count; i++) {
        const struct pd_request *request = items[i].request;
        accepting->items[i].request = items[i].request;
        accepting->items[i].kind = items[i].kind;
        accepting->items[i].retry_safe = items[i].retry_safe;
        pd_strcpy(accepting->items[i].key_id, PD_KEY_ID_MAX, items[i].key_id);
        pd_execution_make_id(ids[i]);
        accepts[i] = (struct pd_accept){
            .id = ids[i],
            .key_id = items[i].key_id,
            .idempotency_key = items[i].idempotency_key,
            .pool = request->pool,
            .language = request->language->name,
            .kind = items[i].kind,
            .retry_safe = items[i].retry_safe,
            .code = request->run.code,
            .code_len = request->run.code_len,
            .body = items[i].body,
            .body_len = items[i].body_len,
        };
    }
    if (rc == 0)
        rc = pd_records_accept(book->config.records, accepts, count, on_accepted, accepting, err);
    if (rc == 0)
        book->refs++;
    for (size_t i = 0; rc < 0 && i < count; i++)
        pd_request_free(items[i].request);
    if (rc < 0)
        free(accepting);
    free(accepts);
    free(ids);
    return rc;
}

/* ---- asking and canceling ---- */

bool pd_book_await(struct pd_book *book, const char *id, struct pd_book_wait *wait)
{
    struct entry *entry = pd_strmap_get(&book->by_id, id);

    pd_ring_init(&wait->in_entry);
    if (!entry)
        return false;
    pd_ring_append(&entry->waits, &wait->in_entry);
    return true;
}

void pd_book_forgo(struct pd_book_wait *wait)
{
    pd_ring_remove(&wait->in_entry);
    pd_ring_init(&wait->in_entry);
}

bool pd_book_look(const struct pd_book *book, const char *id, struct pd_book_place *ret_place)
{
    const struct entry *entry = pd_strmap_get(&book->by_id, id);

    if (!entry)
        return false;
    *ret_place = (struct pd_book_place){.has_sandbox = entry->began};
    if (entry->state == LIVE && entry->live)
        ret_place->position = pd_execution_position(entry->live, &ret_place->wait_ms);
    else if (entry->state == WAITING)
        ret_place->position = entry->line->n_live;
    for (struct pd_ring *at = entry->in_line.prev;
         entry->state == WAITING && at != &entry->line->waiting; at = at->prev)
        ret_place->position++;
    return true;
}

struct canceling {
    struct entry *entry;
    pd_records_cb cb;
    void *arg;
};

static void on_canceled(void *arg, const struct pd_err *err)
{
    struct canceling *canceling = arg;
    struct entry *entry = canceling->entry;

    canceling->cb(canceling->arg, err);
    free(canceling);
    if (!err && !entry->over) {
        entry->canceled = true;
        if (entry->state == LIVE && entry->live) {
            pd_execution_cancel(entry->live);
        } else if (entry->state == WAITING) {
            entry_leave_line(entry);
            end_unrun(entry, "canceled", "canceled before it began");
        }
    }
    entry_unref(entry);
}

int pd_book_cancel(struct pd_book *book, const char *id, const char *key_id, pd_records_cb cb,
                   void *arg, struct pd_err *err)
{
    struct entry *entry = pd_strmap_get(&book->by_id, id);
    struct canceling *canceling;
    int rc;

    if (!entry || (key_id && strcmp(entry->key_id, key_id) != 0))
        return pd_err_set(err, PD_NOT_FOUND, "no such execution is under way");
    canceling = PD_NEW(struct canceling);
    *canceling = (struct canceling){.entry = entry, .cb = cb, .arg = arg};
    rc = pd_records_cancel(book->config.records, id, on_canceled, canceling, err);
    if (rc < 0) {
        free(canceling);
        return rc;
    }
    entry_ref(entry);
    return 0;
}

/* ---- keeping house ---- */

static void on_prune(uv_timer_t *timer);

static void on_pruned(void *arg, int64_t removed, const struct pd_err *err)
{
    struct pd_book *book = arg;
    bool more = !err && removed >= PD_RECORDS_PRUNE_MAX;

    if (!book->closed)
        uv_timer_start(&book->prune, on_prune, more ? 1 : PD_BOOK_PRUNE_MS, 0);
    book->refs--;
    book_reap(book);
}

static void on_prune(uv_timer_t *timer)
{
    struct pd_book *book = timer->data;
    struct pd_err err;

    book->refs++;
    if (pd_records_prune(book->config.records, on_pruned, book, &err) < 0)
        on_pruned(book, 0, &err);
}

/* ---- life ---- */

static void take_up(void *arg, const struct pd_unfinished *item)
{
    struct pd_book *book = arg;
    struct entry *entry = entry_new(book, item->id, item->key_id, item->pool, item->language);

    entry->kind = item->kind;
    entry->retry_safe = item->retry_safe;
    entry->canceled = item->canceled;
    entry->patient = true; /* whoever waited for it is gone */
    if (item->canceled)
        end_unrun(entry, "canceled", "canceled; the service was restarted meanwhile");
    else if (item->began && !item->retry_safe)
        end_unrun(entry, "lost", "the service ended while it ran");
    else
        entry_wait(entry, false);
}

int pd_book_open(const struct pd_book_config *config, struct pd_book **ret_book,
                 struct pd_err *err)
{
    struct pd_book *book = PD_NEW(struct pd_book);
    int rc;

    book->config = *config;
    book->opened_wall_ms = pd_wall_ms();
    pd_ring_init(&book->lines);
    uv_timer_init(config->loop, &book->timer);
    uv_timer_init(config->loop, &book->prune);
    book->timer.data = book;
    book->prune.data = book;
    book->open_timers = 2;
    pd_executions_observe(config->executions, &observer, book);
    rc = pd_records_unfinished(config->records, take_up, book, err);
    *ret_book = book;
    if (rc < 0)
        return rc;
    if (book->count > 0)
        pd_log(PD_LOG_INFO, "book", "executions that were accepted before this start", "count",
               PD_NUM(book->count), NULL);
    feed_soon(book, 1);
    uv_timer_start(&book->prune, on_prune, PD_BOOK_PRUNE_MS, 0);
    return 0;
}

void pd_book_drain(struct pd_book *book)
{
    struct entry **live;
    size_t n = 0;

    if (book->draining)
        return;
    book->draining = true;
    uv_timer_stop(&book->timer);
    live = pd_calloc(book->count + 1, sizeof *live);
    for (size_t i = 0; i < book->by_id.capacity; i++) {
        struct entry *entry = book->by_id.slots[i].key ? book->by_id.slots[i].value : NULL;
        if (entry && entry->state == LIVE && entry->live && !entry->began && !entry->beginning &&
            entry->patient)
            live[n++] = entry;
    }
    for (size_t i = 0; i < n; i++)
        pd_execution_cancel(live[i]->live); /* `done` leaves it to the next start */
    free(live);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct pd_book *book = handle->data;

    book->open_timers--;
    book_reap(book);
}

static void book_reap(struct pd_book *book)
{
    if (!book->closed || book->open_timers > 0 || book->refs > 0)
        return;
    pd_strmap_fini(&book->by_id);
    pd_strmap_fini(&book->lines_by_name);
    pd_strmap_fini(&book->counts);
    free(book);
}

/* What waits is in the database; what is being written has a reference. */
static void abandon(struct pd_book *book)
{
    const struct pd_err err = {.kind = PD_UNAVAILABLE, .msg = "the service is stopping"};
    struct entry *entry;

    while ((entry = pd_strmap_any(&book->by_id))) {
        if (entry->state == WAITING)
            entry_leave_line(entry);
        else if (entry->state == LIVE || entry->state == LOADING)
            entry_stop_live(entry);
        tell_waits(entry, NULL, &err, 1);
        entry_end(entry);
    }
}

void pd_book_close(struct pd_book *book)
{
    if (!book)
        return;
    book->draining = true;
    book->closed = true;
    abandon(book);
    uv_close((uv_handle_t *)&book->timer, on_timer_closed);
    uv_close((uv_handle_t *)&book->prune, on_timer_closed);
}
