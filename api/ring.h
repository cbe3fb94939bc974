/* Rings: doubly linked lists whose links are inside their items. */
#ifndef PD_API_RING_H
#define PD_API_RING_H

#include <stdbool.h>
#include <stddef.h>

/* A head, or an item's place; an item's is all NULL while it is in no ring. */
struct pd_ring {
    struct pd_ring *next, *prev;
};

static inline void pd_ring_init(struct pd_ring *head)
{
    head->next = head->prev = head;
}

static inline bool pd_ring_is_empty(const struct pd_ring *head)
{
    return head->next == head;
}

/* Before `at`: at the end of the ring when `at` is its head. */
static inline void pd_ring_append(struct pd_ring *at, struct pd_ring *item)
{
    item->next = at;
    item->prev = at->prev;
    at->prev->next = item;
    at->prev = item;
}

static inline void pd_ring_remove(struct pd_ring *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    item->next = item->prev = NULL;
}

#endif
