/* Events: the store's list of them, and who is told. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/mem.h"
#include "common/store_inside.h"

void pd_store_event(struct pd_store *store, enum pd_event_type type, const char *pool,
                    const char *sandbox, const char *reason, const char *fmt, ...)
{
    const struct pd_pool_record *record = pd_store_record(store, pool);
    struct pd_event event = {.type = type};
    va_list ap;

    pd_strcpy(event.pool, sizeof event.pool, pool);
    pd_strcpy(event.pool_uid, sizeof event.pool_uid, record ? record->pool.uid : "");
    pd_strcpy(event.sandbox, sizeof event.sandbox, sandbox ? sandbox : "");
    pd_strcpy(event.reason, sizeof event.reason, reason);
    va_start(ap, fmt);
    vsnprintf(event.message, sizeof event.message, fmt, ap);
    va_end(ap);
    pd_events_note(store->events, &event, pd_store_next_version(store), pd_wall_ms());
    store->events_marked = true;
    pd_store_wake(store);
}

const struct pd_events *pd_store_events(const struct pd_store *store)
{
    return store->events;
}

void pd_store_observe_events(struct pd_store *store, pd_store_events_cb cb, void *arg)
{
    size_t i = 0;

    while (i < PD_STORE_OBSERVERS_MAX && store->events_observers[i].cb)
        i++;
    assert(i < PD_STORE_OBSERVERS_MAX);
    store->events_observers[i] = (struct pd_events_observer){.cb = cb, .arg = arg};
}

void pd_store_unobserve_events(struct pd_store *store, pd_store_events_cb cb, void *arg)
{
    for (size_t i = 0; i < PD_STORE_OBSERVERS_MAX; i++) {
        struct pd_events_observer *observer = &store->events_observers[i];
        if (observer->cb == cb && observer->arg == arg)
            *observer = (struct pd_events_observer){0};
    }
}

void pd_store_tell_events(struct pd_store *store)
{
    if (!store->events_marked)
        return;
    store->events_marked = false;
    for (size_t i = 0; i < PD_STORE_OBSERVERS_MAX; i++) {
        struct pd_events_observer *observer = &store->events_observers[i];
        if (observer->cb)
            observer->cb(observer->arg);
    }
}
