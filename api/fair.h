/* A fair queue: keys take turns (a key's share is how many in a row), within a key
 * first come is first served. Pure: items are the caller's, time is what the caller
 * says it is. */
#ifndef PD_API_FAIR_H
#define PD_API_FAIR_H

#include <stdbool.h>
#include <stddef.h>

#include "api/ring.h"
#include "common/store.h"
#include "common/time.h"

struct pd_fair_line;

/* One that waits; a zeroed one does not. */
struct pd_fair_item {
    bool patient;              /* set by the caller: it has no deadline, nor gives way */
    struct pd_time since;      /* when it first came: set by the caller, kept for its life */
    struct pd_fair_line *line; /* NULL: it does not wait */
    struct pd_ring in_line;
    struct pd_ring in_order;
};

struct pd_fair {
    struct pd_ring lines; /* of keys that have some waiting, in turn */
    struct pd_ring order; /* all items that are not patient, oldest first */
    struct pd_ring patient; /* the others */
    size_t count;
    size_t n_patient; /* of these */
};

void pd_fair_init(struct pd_fair *fair);

/* Items stand in order of `since`, so that one that comes back has its old place
 * among its key's; its key, if it had none waiting, takes the last turn. share: 1
 * or more. */
void pd_fair_add(struct pd_fair *fair, struct pd_fair_item *item, const char *key_id, int share);
/* It is its turn: out of the queue with it; once it had as many as its share is,
 * its key goes to the end. */
void pd_fair_take(struct pd_fair *fair, struct pd_fair_item *item);
/* It does not want to wait any more; turns stay as they are. */
void pd_fair_remove(struct pd_fair *fair, struct pd_fair_item *item);
bool pd_fair_waits(const struct pd_fair_item *item);

/* Of those that are not patient; NULL when there are none. */
struct pd_fair_item *pd_fair_oldest(const struct pd_fair *fair);
/* Any patient one, or NULL. */
struct pd_fair_item *pd_fair_any_patient(const struct pd_fair *fair);

/* The first item of the key whose turn is after that of `item` (NULL: of the
 * key whose turn it is); NULL after the last key. */
struct pd_fair_item *pd_fair_next_key(const struct pd_fair *fair, const struct pd_fair_item *item);
/* How many of this one's key wait, itself included. */
size_t pd_fair_key_count(const struct pd_fair_item *item);

/* The newest item (but for patient ones) of the key that has most waiting, if that is at least two more
 * than key_id has; else NULL: nobody must make room for that key. */
struct pd_fair_item *pd_fair_victim(const struct pd_fair *fair, const char *key_id);

#endif
