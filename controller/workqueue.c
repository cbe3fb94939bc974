#include "controller/workqueue.h"

#include <assert.h>
#include <stdlib.h>

#include "common/mem.h"
#include "common/strmap.h"

#define NOT_IN_HEAP ((size_t)-1)

struct item {
    char *key;
    struct item *next; /* in line */
    bool dirty;        /* to be worked on */
    bool processing;   /* being worked on; when dirty too, it joins the line at done */
    struct pd_time due;
    size_t heap_index; /* in `heap`, or NOT_IN_HEAP */
};

struct pd_workqueue {
    struct pd_strmap items;
    struct item *first; /* the line */
    struct item *last;
    size_t length;
    struct item **heap; /* those added for later, the earliest on top */
    size_t heap_count;
    size_t heap_cap;
};

struct pd_workqueue *pd_workqueue_new(void)
{
    return PD_NEW(struct pd_workqueue);
}

static void item_free(struct pd_workqueue *queue, struct item *item)
{
    pd_strmap_remove(&queue->items, item->key);
    free(item->key);
    free(item);
}

void pd_workqueue_free(struct pd_workqueue *queue)
{
    struct item *item;

    if (!queue)
        return;
    while ((item = pd_strmap_any(&queue->items)))
        item_free(queue, item);
    pd_strmap_fini(&queue->items);
    free(queue->heap);
    free(queue);
}

static struct item *item_of(struct pd_workqueue *queue, const char *key)
{
    struct item *item = pd_strmap_get(&queue->items, key);

    if (item)
        return item;
    item = PD_NEW(struct item);
    item->key = pd_strdup(key);
    item->heap_index = NOT_IN_HEAP;
    pd_strmap_add(&queue->items, item->key, item);
    return item;
}

/* An item that says nothing any more is forgotten. */
static void item_release(struct pd_workqueue *queue, struct item *item)
{
    if (!item->dirty && !item->processing && item->heap_index == NOT_IN_HEAP)
        item_free(queue, item);
}

/* ---- the line ---- */

static void enqueue(struct pd_workqueue *queue, struct item *item)
{
    item->next = NULL;
    if (queue->last)
        queue->last->next = item;
    else
        queue->first = item;
    queue->last = item;
    queue->length++;
}

static void add(struct pd_workqueue *queue, struct item *item)
{
    if (item->dirty)
        return;
    item->dirty = true;
    if (!item->processing)
        enqueue(queue, item);
}

void pd_workqueue_add(struct pd_workqueue *queue, const char *key)
{
    add(queue, item_of(queue, key));
}

const char *pd_workqueue_get(struct pd_workqueue *queue)
{
    struct item *item = queue->first;

    if (!item)
        return NULL;
    queue->first = item->next;
    if (!queue->first)
        queue->last = NULL;
    queue->length--;
    item->dirty = false;
    item->processing = true;
    return item->key;
}

void pd_workqueue_done(struct pd_workqueue *queue, const char *key)
{
    struct item *item = pd_strmap_get(&queue->items, key);

    assert(item && item->processing);
    item->processing = false;
    if (item->dirty)
        enqueue(queue, item);
    else
        item_release(queue, item);
}

size_t pd_workqueue_length(const struct pd_workqueue *queue)
{
    return queue->length;
}

/* ---- later: a binary heap by due time ---- */

static void heap_put(struct pd_workqueue *queue, size_t index, struct item *item)
{
    queue->heap[index] = item;
    item->heap_index = index;
}

static void heap_up(struct pd_workqueue *queue, size_t index)
{
    struct item *item = queue->heap[index];

    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (!pd_time_before(item->due, queue->heap[parent]->due))
            break;
        heap_put(queue, index, queue->heap[parent]);
        index = parent;
    }
    heap_put(queue, index, item);
}

static void heap_down(struct pd_workqueue *queue, size_t index)
{
    struct item *item = queue->heap[index];

    for (;;) {
        size_t child = 2 * index + 1;
        if (child + 1 < queue->heap_count &&
            pd_time_before(queue->heap[child + 1]->due, queue->heap[child]->due))
            child++;
        if (child >= queue->heap_count || !pd_time_before(queue->heap[child]->due, item->due))
            break;
        heap_put(queue, index, queue->heap[child]);
        index = child;
    }
    heap_put(queue, index, item);
}

static void heap_add(struct pd_workqueue *queue, struct item *item)
{
    if (queue->heap_count == queue->heap_cap) {
        queue->heap_cap = queue->heap_cap ? queue->heap_cap * 2 : 16;
        queue->heap = pd_realloc(queue->heap, queue->heap_cap, sizeof(struct item *));
    }
    heap_put(queue, queue->heap_count++, item);
    heap_up(queue, item->heap_index);
}

static struct item *heap_pop(struct pd_workqueue *queue)
{
    struct item *top = queue->heap[0];
    struct item *last = queue->heap[--queue->heap_count];

    if (queue->heap_count > 0) {
        heap_put(queue, 0, last);
        heap_down(queue, 0);
    }
    top->heap_index = NOT_IN_HEAP;
    return top;
}

void pd_workqueue_add_at(struct pd_workqueue *queue, const char *key, struct pd_time when)
{
    struct item *item = item_of(queue, key);

    if (item->heap_index == NOT_IN_HEAP) {
        item->due = when;
        heap_add(queue, item);
    } else if (pd_time_before(when, item->due)) {
        item->due = when;
        heap_up(queue, item->heap_index);
    }
}

void pd_workqueue_advance(struct pd_workqueue *queue, struct pd_time now)
{
    while (queue->heap_count > 0 && !pd_time_before(now, queue->heap[0]->due))
        add(queue, heap_pop(queue));
}

struct pd_time pd_workqueue_next(const struct pd_workqueue *queue)
{
    return queue->heap_count > 0 ? queue->heap[0]->due : (struct pd_time){0};
}
