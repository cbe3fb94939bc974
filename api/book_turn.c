/* Whose turn it is: out of the lines, to the dispatcher. */
#include <stdio.h>
#include <string.h>

#include "api/book_state.h"
#include "common/mem.h"
#include "common/time.h"

/* ---- beginning ---- */

static void submit(struct pd_book_entry *entry)
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

    entry->state = PD_BOOK_LIVE;
    if (!pd_executions_forget(book->config.executions, entry->id)) {
        pd_request_free(submit.request); /* an earlier try of it is still watched */
        pd_err_set(&err, PD_THROTTLED, "still watched");
    } else if (pd_executions_submit(book->config.executions, &submit, &entry->live,
                                    &end.retry_after_s, &err) == 0) {
        return;
    }
    pd_book_entry_stop_live(entry);
    end.err = &err;
    pd_book_entry_end_failed(entry, &end);
}

static void on_body(void *arg, struct pd_buf *text, const struct pd_err *err)
{
    struct pd_book_entry *entry = arg;
    struct pd_book *book = entry->book;
    struct pd_refusal refusal;

    if (entry->over || entry->state != PD_BOOK_LOADING || book->closed) {
        pd_book_entry_unref(entry);
        return;
    }
    if ((err && err->kind == PD_NOT_FOUND) || entry->disowned) {
        pd_book_entry_stop_live(entry);
        pd_book_entry_give_away(entry);
    } else if (err || book->draining) {
        pd_book_entry_stop_live(entry);
        pd_book_entry_wait(entry, true);
        pd_book_feed_soon(book, PD_BOOK_RETRY_MS);
    } else if (entry->canceled) {
        pd_book_entry_stop_live(entry);
        pd_book_entry_end_unrun(entry, "canceled", "canceled before it began");
    } else if (pd_request_parse(book->config.rules, text->data ? text->data : "", text->len,
                                &entry->request, &refusal) < 0) {
        pd_book_entry_stop_live(entry);
        pd_book_entry_end_unrun(entry, "failed", refusal.detail); /* its pool has changed since */
    } else {
        submit(entry);
    }
    pd_book_entry_unref(entry);
}

void pd_book_entry_begin(struct pd_book_entry *entry)
{
    struct pd_book *book = entry->book;
    struct pd_err err;

    pd_book_entry_leave_line(entry);
    entry->line->n_live++;
    book->n_live++;
    if (entry->request) {
        submit(entry);
        return;
    }
    entry->state = PD_BOOK_LOADING;
    pd_book_entry_ref(entry);
    if (book->config.ledger->ops->body(book->config.ledger, entry->id, on_body, entry, &err) < 0)
        on_body(entry, NULL, &err);
}

/* One of the next line in turn that may have one; false when there is none. */
static bool feed_one(struct pd_book *book)
{
    for (struct pd_ring *at = book->lines.next; at != &book->lines; at = at->next) {
        struct pd_book_line *line = PD_CONTAINER_OF(at, struct pd_book_line, in_lines);
        struct pd_book_entry *entry;
        if (line->n_waiting == 0 || line->n_live >= pd_book_line_live_max(book, line) ||
            pd_book_is_pool_gone(book, line->pool))
            continue;
        entry = PD_CONTAINER_OF(line->waiting.next, struct pd_book_entry, in_line);
        pd_ring_remove(&line->in_lines);
        pd_ring_append(&book->lines, &line->in_lines);
        pd_book_entry_begin(entry);
        return true;
    }
    return false;
}

/* A pool that was deleted, or is not there long after the start. */
static void cancel_orphans(struct pd_book *book)
{
    bool is_young = pd_wall_ms() - book->taken_wall_ms < PD_BOOK_POOL_WAIT_MS;
    struct pd_ring *next;

    for (struct pd_ring *at = book->lines.next; at != &book->lines; at = next) {
        struct pd_book_line *line = PD_CONTAINER_OF(at, struct pd_book_line, in_lines);
        struct pd_pool *pool = pd_store_pool(book->config.store, line->pool);
        next = at->next;
        if (pool ? !pool->deleting : is_young)
            continue;
        while (line->n_waiting > 0) {
            struct pd_book_entry *entry =
                PD_CONTAINER_OF(line->waiting.next, struct pd_book_entry, in_line);
            char reason[128];
            snprintf(reason, sizeof reason, "pool %s was deleted", entry->pool);
            pd_book_entry_leave_line(entry);
            pd_book_entry_end_unrun(entry, "canceled", reason);
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
        if (PD_CONTAINER_OF(at, struct pd_book_line, in_lines)->n_waiting > 0) {
            pd_book_feed_soon(book, PD_BOOK_RETRY_MS);
            break;
        }
    }
}

void pd_book_feed_soon(struct pd_book *book, uint64_t ms)
{
    if (book->draining || book->closed)
        return;
    if (!uv_is_active((uv_handle_t *)&book->timer) || uv_timer_get_due_in(&book->timer) > ms)
        uv_timer_start(&book->timer, on_timer, ms, 0);
}
