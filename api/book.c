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

#include <stdlib.h>
#include <string.h>

#include "api/book_state.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/time.h"

size_t pd_book_count(const struct pd_book *book)
{
    return book->count;
}

size_t pd_book_ending(const struct pd_book *book)
{
    return book->n_ending;
}

/* ---- accepting ---- */

struct accepting {
    struct pd_book *book;
    pd_accept_cb cb;
    void *arg;
    size_t count;
    struct {
        struct pd_request *request;
        struct pd_book_entry *entry;
        char key_id[PD_KEY_ID_MAX];
        enum pd_record_kind kind;
        bool retry_safe;
    } items[];
};

static struct pd_book_entry *enter(struct pd_book *book, struct accepting *accepting, size_t i,
                                   const char *id)
{
    struct pd_request *request = PD_STEAL(accepting->items[i].request);
    struct pd_book_entry *entry = pd_book_entry_new(book, id, accepting->items[i].key_id,
                                                    request->pool, request->language->name);

    entry->kind = accepting->items[i].kind;
    entry->retry_safe = accepting->items[i].retry_safe;
    entry->patient = entry->kind != PD_RECORD_PLAIN;
    entry->request = request;
    pd_book_entry_wait(entry, false);
    return entry;
}

/* Straight to the dispatcher where nobody of its line waits. */
static void begin_new(struct pd_book *book, struct pd_book_entry *entry)
{
    if (entry->state != PD_BOOK_WAITING)
        return;
    if (!entry->patient ||
        (entry->line->n_waiting == 1 &&
         entry->line->n_live < pd_book_line_live_max(book, entry->line) &&
         book->n_live < PD_BOOK_LIVE_MAX && !pd_book_is_pool_gone(book, entry->pool))) {
        pd_book_entry_begin(entry);
        return;
    }
    pd_request_free(PD_STEAL(entry->request)); /* it may be long: the database has it */
    pd_book_feed_soon(book, 0);
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
    pd_book_reap(book);
}

static int check_room(const struct pd_book *book, const char *key_id, size_t count,
                      struct pd_err *err)
{
    if (book->draining)
        return pd_err_set(err, PD_UNAVAILABLE, "the service is stopping");
    if (pd_book_count_of_key(book, key_id) + count > PD_BOOK_KEY_MAX)
        return pd_err_set(err, PD_THROTTLED,
                          "this key has %d executions waiting, as many as it may", PD_BOOK_KEY_MAX);
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
        rc = book->config.ledger->ops->accept(book->config.ledger, accepts, count, on_accepted,
                                              accepting, err);
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
    struct pd_book_entry *entry = pd_strmap_get(&book->by_id, id);

    pd_ring_init(&wait->in_entry);
    if (!entry)
        return book->config.ledger->ops->await(book->config.ledger, id, wait);
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
    const struct pd_book_entry *entry = pd_strmap_get(&book->by_id, id);

    if (!entry)
        return false;
    *ret_place = (struct pd_book_place){.has_sandbox = entry->began};
    if (entry->state == PD_BOOK_LIVE && entry->live)
        ret_place->position = pd_execution_position(entry->live, &ret_place->wait_ms);
    else if (entry->state == PD_BOOK_WAITING)
        ret_place->position = entry->line->n_live;
    for (struct pd_ring *at = entry->in_line.prev;
         entry->state == PD_BOOK_WAITING && at != &entry->line->waiting; at = at->prev)
        ret_place->position++;
    return true;
}

struct canceling {
    struct pd_book *book;
    pd_records_cb cb;
    void *arg;
    char id[PD_RECORD_ID_BYTES];
};

/* That it is to end is durable. */
static void entry_canceled(struct pd_book_entry *entry)
{
    if (entry->canceled)
        return;
    entry->canceled = true;
    if (entry->state == PD_BOOK_LIVE && entry->live) {
        pd_execution_cancel(entry->live);
    } else if (entry->state == PD_BOOK_WAITING) {
        pd_book_entry_leave_line(entry);
        pd_book_entry_end_unrun(entry, "canceled", "canceled before it began");
    }
}

static void on_canceled(void *arg, const struct pd_err *err)
{
    struct canceling *canceling = arg;
    struct pd_book *book = canceling->book;
    struct pd_book_entry *entry = pd_strmap_get(&book->by_id, canceling->id);

    canceling->cb(canceling->arg, err);
    if (!err && entry)
        entry_canceled(entry);
    free(canceling);
    book->refs--;
    pd_book_reap(book);
}

int pd_book_cancel(struct pd_book *book, const char *id, const char *key_id, pd_records_cb cb,
                   void *arg, struct pd_err *err)
{
    struct pd_book_entry *entry = pd_strmap_get(&book->by_id, id);
    struct pd_ledger *ledger = book->config.ledger;
    struct canceling *canceling;
    int rc;

    if (entry && key_id && strcmp(entry->key_id, key_id) != 0)
        return pd_err_set(err, PD_NOT_FOUND, "no such execution is under way");
    canceling = PD_NEW(struct canceling);
    *canceling = (struct canceling){.book = book, .cb = cb, .arg = arg};
    pd_strcpy(canceling->id, sizeof canceling->id, id);
    rc = ledger->ops->cancel(ledger, id, key_id, on_canceled, canceling, err);
    if (rc < 0) {
        free(canceling);
        return rc;
    }
    book->refs++;
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
    pd_book_reap(book);
}

static void on_prune(uv_timer_t *timer)
{
    struct pd_book *book = timer->data;
    struct pd_err err;

    book->refs++;
    if (book->config.ledger->ops->prune(book->config.ledger, on_pruned, book, &err) < 0)
        on_pruned(book, 0, &err);
}

/* ---- life ---- */

static void take_up(void *arg, const struct pd_unfinished *item)
{
    struct pd_book *book = arg;
    struct pd_book_entry *entry = pd_strmap_get(&book->by_id, item->id);

    if (entry && entry->state != PD_BOOK_WAITING)
        return; /* the ledger says what becomes of it, when it begins or ends */
    if (entry) /* it was ours, another's, and is ours again */
        pd_book_entry_leave_line(entry);
    else
        entry = pd_book_entry_new(book, item->id, item->key_id, item->pool, item->language);
    book->taken_wall_ms = pd_wall_ms();
    entry->kind = item->kind;
    entry->retry_safe = item->retry_safe;
    entry->canceled = item->canceled;
    entry->patient = true; /* whoever waited for it is gone */
    if (item->canceled)
        pd_book_entry_end_unrun(entry, "canceled", "canceled; the service was restarted meanwhile");
    else if (item->began && !item->retry_safe)
        pd_book_entry_end_unrun(entry, "lost", "the service ended while it ran");
    else
        pd_book_entry_wait(entry, false);
    pd_book_feed_soon(book, 1);
}

static bool has(void *arg, const char *id)
{
    struct pd_book *book = arg;

    return pd_strmap_get(&book->by_id, id) != NULL;
}

static void on_told_canceled(void *arg, const char *id)
{
    struct pd_book *book = arg;
    struct pd_book_entry *entry = pd_strmap_get(&book->by_id, id);

    if (entry)
        entry_canceled(entry);
}

/* What runs is ended: its outcome is another's to tell. */
static void on_disowned(void *arg)
{
    struct pd_book *book = arg;
    struct pd_book_entry **entries = pd_calloc(book->count + 1, sizeof *entries);
    size_t n = 0;

    for (size_t i = 0; i < book->by_id.capacity; i++) {
        struct pd_book_entry *entry = book->by_id.slots[i].key ? book->by_id.slots[i].value : NULL;
        if (entry)
            entries[n++] = entry;
    }
    for (size_t i = 0; i < n; i++) {
        struct pd_book_entry *entry = entries[i];
        entry->disowned = true;
        if (entry->state == PD_BOOK_LIVE && entry->live) {
            pd_execution_withdraw(entry->live, PD_BOOK_TAKEN);
            pd_execution_cancel(entry->live);
        } else if (entry->state == PD_BOOK_WAITING) {
            pd_book_entry_leave_line(entry);
            pd_book_entry_give_away(entry);
        }
    }
    free(entries);
}

#define ROOM_MAX 32 /* that is taken from others at once */

/* None while something waits here, and never more than sandboxes that are idle. */
static size_t room(void *arg)
{
    const struct pd_book *book = arg;
    const struct pd_pool *pool;
    size_t idle = 0;

    for (size_t i = 0; (pool = pd_store_pool_at(book->config.store, i)); i++)
        idle += pool->status.ready > 0 ? (size_t)pool->status.ready : 0;
    if (book->draining)
        return 0;
    for (const struct pd_ring *at = book->lines.next; at != &book->lines; at = at->next) {
        if (PD_CONTAINER_OF(at, struct pd_book_line, in_lines)->n_waiting > 0)
            return 0;
    }
    return idle < ROOM_MAX ? idle : ROOM_MAX;
}

static const struct pd_ledger_events ledger_events = {
    .taken = take_up,
    .has = has,
    .canceled = on_told_canceled,
    .disowned = on_disowned,
    .room = room,
};

int pd_book_open(const struct pd_book_config *config, struct pd_book **ret_book, struct pd_err *err)
{
    struct pd_book *book = PD_NEW(struct pd_book);
    int rc;

    book->config = *config;
    book->taken_wall_ms = pd_wall_ms();
    pd_ring_init(&book->lines);
    uv_timer_init(config->loop, &book->timer);
    uv_timer_init(config->loop, &book->prune);
    book->timer.data = book;
    book->prune.data = book;
    book->open_timers = 2;
    pd_executions_observe(config->executions, &pd_book_observer, book);
    *ret_book = book;
    rc = config->ledger->ops->start(config->ledger, &ledger_events, book, err);
    if (rc < 0)
        return rc;
    if (book->count > 0)
        pd_log(PD_LOG_INFO, "book", "executions that were accepted before this start", "count",
               PD_NUM(book->count), NULL);
    pd_book_feed_soon(book, 1);
    uv_timer_start(&book->prune, on_prune, PD_BOOK_PRUNE_MS, 0);
    return 0;
}

void pd_book_drain(struct pd_book *book)
{
    struct pd_book_entry **live;
    size_t n = 0;

    if (book->draining)
        return;
    book->draining = true;
    uv_timer_stop(&book->timer);
    live = pd_calloc(book->count + 1, sizeof *live);
    for (size_t i = 0; i < book->by_id.capacity; i++) {
        struct pd_book_entry *entry = book->by_id.slots[i].key ? book->by_id.slots[i].value : NULL;
        if (entry && entry->state == PD_BOOK_LIVE && entry->live && !entry->began &&
            !entry->beginning && entry->patient)
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
    pd_book_reap(book);
}

void pd_book_reap(struct pd_book *book)
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
    struct pd_book_entry *entry;

    while ((entry = pd_strmap_any(&book->by_id))) {
        if (entry->state == PD_BOOK_WAITING)
            pd_book_entry_leave_line(entry);
        else if (entry->state == PD_BOOK_LIVE || entry->state == PD_BOOK_LOADING)
            pd_book_entry_stop_live(entry);
        pd_book_entry_tell(entry, NULL, &err, 1);
        pd_book_entry_end(entry);
    }
}

void pd_book_close(struct pd_book *book)
{
    if (!book)
        return;
    book->draining = true;
    book->closed = true;
    book->config.ledger->ops->stop(book->config.ledger);
    abandon(book);
    uv_close((uv_handle_t *)&book->timer, on_timer_closed);
    uv_close((uv_handle_t *)&book->prune, on_timer_closed);
}
