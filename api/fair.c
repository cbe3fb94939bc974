#include "api/fair.h"

#include <assert.h>
#include <string.h>

#include "common/mem.h"

/* What one key has waiting. */
struct pd_fair_line {
    struct pd_ring in_lines;
    char key_id[PD_KEY_ID_MAX];
    struct pd_ring items;
    size_t count; /* never 0 */
    int share;
    int taken; /* of its turns in a row */
};

static struct pd_fair_line *line_at(struct pd_ring *in_lines)
{
    return PD_CONTAINER_OF(in_lines, struct pd_fair_line, in_lines);
}

static struct pd_fair_item *item_in_line(struct pd_ring *in_line)
{
    return PD_CONTAINER_OF(in_line, struct pd_fair_item, in_line);
}

static struct pd_fair_item *item_in_order(struct pd_ring *in_order)
{
    return PD_CONTAINER_OF(in_order, struct pd_fair_item, in_order);
}

void pd_fair_init(struct pd_fair *fair)
{
    pd_ring_init(&fair->lines);
    pd_ring_init(&fair->order);
    pd_ring_init(&fair->patient);
    fair->count = 0;
    fair->n_patient = 0;
}

static struct pd_fair_line *find_line(const struct pd_fair *fair, const char *key_id)
{
    for (struct pd_ring *at = fair->lines.next; at != &fair->lines; at = at->next) {
        if (strcmp(line_at(at)->key_id, key_id) == 0)
            return line_at(at);
    }
    return NULL;
}

static struct pd_fair_line *line_of(struct pd_fair *fair, const char *key_id)
{
    struct pd_fair_line *line = find_line(fair, key_id);

    if (line)
        return line;
    line = PD_NEW(struct pd_fair_line);
    pd_strcpy(line->key_id, sizeof line->key_id, key_id);
    pd_ring_init(&line->items);
    pd_ring_append(&fair->lines, &line->in_lines);
    return line;
}

/* Nearly always at the end: so the walks begin there. */
static void insert_in_line(struct pd_fair_line *line, struct pd_fair_item *item)
{
    struct pd_ring *at = &line->items;

    while (at->prev != &line->items && pd_time_before(item->since, item_in_line(at->prev)->since))
        at = at->prev;
    pd_ring_append(at, &item->in_line);
}

static void insert_in_order(struct pd_ring *order, struct pd_fair_item *item)
{
    struct pd_ring *at = order;

    while (at->prev != order && pd_time_before(item->since, item_in_order(at->prev)->since))
        at = at->prev;
    pd_ring_append(at, &item->in_order);
}

void pd_fair_add(struct pd_fair *fair, struct pd_fair_item *item, const char *key_id, int share)
{
    assert(!item->line && share >= 1);
    item->line = line_of(fair, key_id);
    insert_in_line(item->line, item);
    item->line->share = share;
    insert_in_order(item->patient ? &fair->patient : &fair->order, item);
    fair->n_patient += item->patient;
    item->line->count++;
    fair->count++;
}

void pd_fair_remove(struct pd_fair *fair, struct pd_fair_item *item)
{
    struct pd_fair_line *line = item->line;

    pd_ring_remove(&item->in_line);
    pd_ring_remove(&item->in_order);
    item->line = NULL;
    fair->n_patient -= item->patient;
    fair->count--;
    if (--line->count > 0)
        return;
    pd_ring_remove(&line->in_lines);
    free(line);
}

void pd_fair_take(struct pd_fair *fair, struct pd_fair_item *item)
{
    struct pd_fair_line *line = item->line;

    if (++line->taken >= line->share) {
        line->taken = 0;
        pd_ring_remove(&line->in_lines);
        pd_ring_append(&fair->lines, &line->in_lines);
    }
    pd_fair_remove(fair, item);
}

bool pd_fair_waits(const struct pd_fair_item *item)
{
    return item->line != NULL;
}

struct pd_fair_item *pd_fair_oldest(const struct pd_fair *fair)
{
    return pd_ring_is_empty(&fair->order) ? NULL : item_in_order(fair->order.next);
}

size_t pd_fair_key_count(const struct pd_fair_item *item)
{
    return item->line->count;
}

struct pd_fair_item *pd_fair_any_patient(const struct pd_fair *fair)
{
    return pd_ring_is_empty(&fair->patient) ? NULL : item_in_order(fair->patient.next);
}

struct pd_fair_item *pd_fair_next_key(const struct pd_fair *fair, const struct pd_fair_item *item)
{
    struct pd_ring *at = item ? item->line->in_lines.next : fair->lines.next;

    return at == &fair->lines ? NULL : item_in_line(line_at(at)->items.next);
}

struct pd_fair_item *pd_fair_victim(const struct pd_fair *fair, const char *key_id)
{
    const struct pd_fair_line *own = find_line(fair, key_id);
    struct pd_fair_line *longest = NULL;

    for (struct pd_ring *at = fair->lines.next; at != &fair->lines; at = at->next) {
        if (!longest || line_at(at)->count > longest->count)
            longest = line_at(at);
    }
    if (!longest || longest->count < (own ? own->count : 0) + 2)
        return NULL;
    for (struct pd_ring *at = longest->items.prev; at != &longest->items; at = at->prev) {
        if (!item_in_line(at)->patient)
            return item_in_line(at);
    }
    return NULL;
}
