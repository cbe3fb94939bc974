/* An entry of the book, the line that it is in, and how many its key has. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/book_state.h"
#include "common/mem.h"

#define LINE_LIVE_MIN 4

struct key_count {
    char key_id[PD_KEY_ID_MAX];
    size_t count;
};

/* ---- counting ---- */

size_t pd_book_count_of_key(const struct pd_book *book, const char *key_id)
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

/* ---- lines ---- */

static struct pd_book_line *line_of(struct pd_book *book, const char *key_id, const char *pool)
{
    char name[PD_BOOK_LINE_NAME_BYTES];
    struct pd_book_line *line;

    snprintf(name, sizeof name, "%s/%s", key_id, pool);
    line = pd_strmap_get(&book->lines_by_name, name);
    if (line)
        return line;
    line = PD_NEW(struct pd_book_line);
    pd_strcpy(line->name, sizeof line->name, name);
    pd_strcpy(line->pool, sizeof line->pool, pool);
    pd_ring_init(&line->waiting);
    pd_ring_append(&book->lines, &line->in_lines);
    pd_strmap_add(&book->lines_by_name, line->name, line);
    return line;
}

static void line_unref(struct pd_book *book, struct pd_book_line *line)
{
    if (--line->n_entries > 0)
        return;
    pd_ring_remove(&line->in_lines);
    pd_strmap_remove(&book->lines_by_name, line->name);
    free(line);
}

size_t pd_book_line_live_max(const struct pd_book *book, const struct pd_book_line *line)
{
    struct pd_pool *pool = pd_store_pool(book->config.store, line->pool);
    size_t max = pool ? (size_t)pool->spec->max_size * 2 : LINE_LIVE_MIN;

    return max < LINE_LIVE_MIN ? LINE_LIVE_MIN : max;
}

bool pd_book_is_pool_gone(const struct pd_book *book, const char *name)
{
    struct pd_pool *pool = pd_store_pool(book->config.store, name);

    return !pool || pool->deleting;
}

/* ---- entries ---- */

struct pd_book_entry *pd_book_entry_new(struct pd_book *book, const char *id, const char *key_id,
                                        const char *pool, const char *language)
{
    struct pd_book_entry *entry = PD_NEW(struct pd_book_entry);

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

void pd_book_entry_wait(struct pd_book_entry *entry, bool first)
{
    entry->state = PD_BOOK_WAITING;
    if (first)
        pd_ring_append(entry->line->waiting.next, &entry->in_line);
    else
        pd_ring_append(&entry->line->waiting, &entry->in_line);
    entry->line->n_waiting++;
}

void pd_book_entry_leave_line(struct pd_book_entry *entry)
{
    pd_ring_remove(&entry->in_line);
    entry->line->n_waiting--;
}

void pd_book_entry_stop_live(struct pd_book_entry *entry)
{
    entry->live = NULL;
    entry->line->n_live--;
    entry->book->n_live--;
}

void pd_book_entry_ref(struct pd_book_entry *entry)
{
    entry->refs++;
    entry->book->refs++;
}

static void entry_free(struct pd_book_entry *entry)
{
    pd_request_free(entry->request);
    pd_buf_fini(&entry->answer);
    free(entry);
}

void pd_book_entry_unref(struct pd_book_entry *entry)
{
    struct pd_book *book = entry->book;

    book->refs--;
    if (--entry->refs == 0 && entry->over)
        entry_free(entry);
    pd_book_reap(book);
}

void pd_book_entry_tell(struct pd_book_entry *entry, const struct pd_buf *answer,
                        const struct pd_err *err, int retry_after_s)
{
    while (!pd_ring_is_empty(&entry->waits)) {
        struct pd_book_wait *wait =
            PD_CONTAINER_OF(entry->waits.next, struct pd_book_wait, in_entry);
        pd_ring_remove(&wait->in_entry);
        pd_ring_init(&wait->in_entry);
        wait->done(wait->arg, answer, err, retry_after_s);
    }
}

void pd_book_entry_give_away(struct pd_book_entry *entry)
{
    const struct pd_err err = {.kind = PD_UNAVAILABLE,
                               .msg = "another replica has it now: ask again"};
    struct pd_ledger *ledger = entry->book->config.ledger;

    while (!pd_ring_is_empty(&entry->waits)) {
        struct pd_book_wait *wait =
            PD_CONTAINER_OF(entry->waits.next, struct pd_book_wait, in_entry);
        pd_book_forgo(wait);
        if (!ledger->ops->await(ledger, entry->id, wait))
            wait->done(wait->arg, NULL, &err, 1);
    }
    pd_book_entry_end(entry);
}

void pd_book_entry_end(struct pd_book_entry *entry)
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
        pd_book_feed_soon(book, 0);
}
