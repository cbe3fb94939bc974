/* Events: what was done to a pool or to one of its sandboxes, and why, for the
 * people who ask. The same thing said again is counted, not repeated; a bounded
 * number is kept, and the ones that were updated longest ago make room. They
 * outlive the pool they speak of.
 *
 * The store owns one such list and gives it its clock and resource versions
 * (pd_store_event, pd_store_events). */
#ifndef PD_COMMON_EVENTS_H
#define PD_COMMON_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/pool.h"
#include "common/uid.h"

#define PD_EVENTS_MAX 2048         /* in all */
#define PD_EVENTS_OF_POOL_MAX 64   /* of one pool */
#define PD_EVENTS_OF_REASON_MAX 12 /* of one pool and reason: no reason pushes the others out */
#define PD_EVENT_REASON_BYTES 40
#define PD_EVENT_MESSAGE_BYTES 256
#define PD_EVENT_SANDBOX_BYTES 80 /* PD_SANDBOX_ID_MAX */

enum pd_event_type { PD_EVENT_NORMAL, PD_EVENT_WARNING };

struct pd_event {
    char uid[PD_UID_BYTES];
    uint64_t resource_version; /* of the last update */
    enum pd_event_type type;
    char pool[PD_POOL_NAME_MAX];
    char pool_uid[PD_UID_BYTES]; /* "" where the pool is not known */
    char
        sandbox[PD_EVENT_SANDBOX_BYTES]; /* the last one this happened to, "" for the pool itself */
    char reason[PD_EVENT_REASON_BYTES];  /* CamelCase, for programs */
    char message[PD_EVENT_MESSAGE_BYTES]; /* a sentence, for people */
    uint32_t count;                       /* how often, from 1 */
    int64_t first_wall_ms, last_wall_ms;
};

struct pd_events;

struct pd_events *pd_events_new(void);
void pd_events_free(struct pd_events *events); /* NULL is fine */

/* What happens: type, pool, pool_uid, sandbox, reason and message count, the
 * rest of `event` does not. Two are the same when all of these but the sandbox
 * are. Returns the list's own record, valid until the next note. */
const struct pd_event *pd_events_note(struct pd_events *events, const struct pd_event *event,
                                      uint64_t resource_version, int64_t wall_ms);

/* In the order of resource_version; NULL at either end. */
const struct pd_event *pd_events_oldest(const struct pd_events *events);
const struct pd_event *pd_events_newest(const struct pd_events *events);
const struct pd_event *pd_events_newer(const struct pd_event *event);
const struct pd_event *pd_events_older(const struct pd_event *event);
size_t pd_events_count(const struct pd_events *events);

const char *pd_event_type_name(enum pd_event_type type); /* "Normal", "Warning" */

#endif
