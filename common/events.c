#include "common/events.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/mem.h"
#include "common/strmap.h"

struct entry {
    struct pd_event event;     /* first: an event is its entry */
    TAILQ_ENTRY(entry) by_age; /* of last update, oldest first */
    TAILQ_ENTRY(entry) of_pool;
    struct pool_events *pool;
};

TAILQ_HEAD(entry_list, entry);

/* Those of one pool, likewise oldest first. */
struct pool_events {
    char name[PD_POOL_NAME_MAX];
    struct entry_list list;
    size_t count;
};

struct pd_events {
    struct entry_list list;
    size_t count;
    struct pd_strmap pools; /* name to pool_events; none is empty */
};

const char *pd_event_type_name(enum pd_event_type type)
{
    return type == PD_EVENT_WARNING ? "Warning" : "Normal";
}

struct pd_events *pd_events_new(void)
{
    struct pd_events *events = PD_NEW(struct pd_events);

    TAILQ_INIT(&events->list);
    return events;
}

static struct pool_events *pool_of(struct pd_events *events, const char *name)
{
    struct pool_events *pool = pd_strmap_get(&events->pools, name);

    if (pool)
        return pool;
    pool = PD_NEW(struct pool_events);
    pd_strcpy(pool->name, sizeof pool->name, name);
    TAILQ_INIT(&pool->list);
    pd_strmap_add(&events->pools, pool->name, pool);
    return pool;
}

static void unlink_entry(struct pd_events *events, struct entry *entry)
{
    TAILQ_REMOVE(&events->list, entry, by_age);
    TAILQ_REMOVE(&entry->pool->list, entry, of_pool);
    entry->pool->count--;
    events->count--;
}

static void link_entry(struct pd_events *events, struct entry *entry)
{
    TAILQ_INSERT_TAIL(&events->list, entry, by_age);
    TAILQ_INSERT_TAIL(&entry->pool->list, entry, of_pool);
    entry->pool->count++;
    events->count++;
}

static void drop(struct pd_events *events, struct entry *entry)
{
    struct pool_events *pool = entry->pool;

    unlink_entry(events, entry);
    free(entry);
    if (pool->count > 0)
        return;
    pd_strmap_remove(&events->pools, pool->name);
    free(pool);
}

void pd_events_free(struct pd_events *events)
{
    if (!events)
        return;
    while (!TAILQ_EMPTY(&events->list))
        drop(events, TAILQ_FIRST(&events->list));
    pd_strmap_fini(&events->pools);
    free(events);
}

/* ---- noting ---- */

static bool same_reason(const struct pd_event *a, const struct pd_event *b)
{
    return a->type == b->type && strcmp(a->reason, b->reason) == 0;
}

static bool same_event(const struct pd_event *a, const struct pd_event *b)
{
    return same_reason(a, b) && strcmp(a->message, b->message) == 0 &&
           strcmp(a->pool_uid, b->pool_uid) == 0;
}

static struct entry *find(const struct pool_events *pool, const struct pd_event *event)
{
    struct entry *entry;

    TAILQ_FOREACH(entry, &pool->list, of_pool)
    {
        if (same_event(&entry->event, event))
            return entry;
    }
    return NULL;
}

/* The one of this pool that must go for another one of this reason, or NULL. */
static struct entry *in_the_way(const struct pool_events *pool, const struct pd_event *event)
{
    struct entry *entry, *oldest = NULL;
    size_t count = 0;

    TAILQ_FOREACH(entry, &pool->list, of_pool)
    {
        if (!same_reason(&entry->event, event))
            continue;
        oldest = oldest ? oldest : entry;
        count++;
    }
    if (count >= PD_EVENTS_OF_REASON_MAX)
        return oldest;
    return pool->count >= PD_EVENTS_OF_POOL_MAX ? TAILQ_FIRST(&pool->list) : NULL;
}

static void make_room(struct pd_events *events, const struct pool_events *pool,
                      const struct pd_event *event)
{
    struct entry *entry = pool ? in_the_way(pool, event) : NULL;

    if (!entry && events->count >= PD_EVENTS_MAX)
        entry = TAILQ_FIRST(&events->list);
    if (entry)
        drop(events, entry);
}

static struct entry *add(struct pd_events *events, const struct pd_event *event, int64_t wall_ms)
{
    struct entry *entry = PD_NEW(struct entry);

    entry->event = *event;
    entry->event.count = 0;
    entry->event.first_wall_ms = wall_ms;
    pd_uid_random(entry->event.uid);
    entry->pool = pool_of(events, event->pool);
    link_entry(events, entry);
    return entry;
}

const struct pd_event *pd_events_note(struct pd_events *events, const struct pd_event *event,
                                      uint64_t resource_version, int64_t wall_ms)
{
    const struct pool_events *pool = pd_strmap_get(&events->pools, event->pool);
    struct entry *entry = pool ? find(pool, event) : NULL;

    if (entry) {
        unlink_entry(events, entry);
        link_entry(events, entry);
        pd_strcpy(entry->event.sandbox, sizeof entry->event.sandbox, event->sandbox);
    } else {
        make_room(events, pool, event);
        entry = add(events, event, wall_ms);
    }
    entry->event.count++;
    entry->event.last_wall_ms = wall_ms;
    entry->event.resource_version = resource_version;
    return &entry->event;
}

/* ---- reading ---- */

static const struct pd_event *event_of(const struct entry *entry)
{
    return entry ? &entry->event : NULL;
}

const struct pd_event *pd_events_oldest(const struct pd_events *events)
{
    return event_of(TAILQ_FIRST(&events->list));
}

const struct pd_event *pd_events_newest(const struct pd_events *events)
{
    return event_of(TAILQ_LAST(&events->list, entry_list));
}

const struct pd_event *pd_events_newer(const struct pd_event *event)
{
    return event_of(TAILQ_NEXT((const struct entry *)(const void *)event, by_age));
}

const struct pd_event *pd_events_older(const struct pd_event *event)
{
    return event_of(TAILQ_PREV((const struct entry *)(const void *)event, entry_list, by_age));
}

size_t pd_events_count(const struct pd_events *events)
{
    return events->count;
}
