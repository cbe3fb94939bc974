#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/events.h"
#include "common/mem.h"

static uint64_t version;

static int open_events(void **state)
{
    version = 0;
    *state = pd_events_new();
    return 0;
}

static int close_events(void **state)
{
    pd_events_free(*state);
    return 0;
}

static const struct pd_event *note(struct pd_events *events, const char *pool, const char *sandbox,
                                   const char *reason, const char *message)
{
    struct pd_event event = {.type = PD_EVENT_NORMAL};

    pd_strcpy(event.pool, sizeof event.pool, pool);
    pd_strcpy(event.sandbox, sizeof event.sandbox, sandbox);
    pd_strcpy(event.reason, sizeof event.reason, reason);
    pd_strcpy(event.message, sizeof event.message, message);
    version++;
    return pd_events_note(events, &event, version, (int64_t)version * 1000);
}

static size_t count_of(const struct pd_events *events, const char *pool, const char *reason)
{
    size_t count = 0;

    for (const struct pd_event *event = pd_events_oldest(events); event;
         event = pd_events_newer(event))
        count += strcmp(event->pool, pool) == 0 && (!reason || strcmp(event->reason, reason) == 0);
    return count;
}

static void test_the_same_is_counted(void **state)
{
    struct pd_events *events = *state;
    char uid[PD_UID_BYTES];
    const struct pd_event *event = note(events, "p", "p-1", "Died", "out of memory");

    pd_strcpy(uid, sizeof uid, event->uid);
    assert_int_equal(event->count, 1);
    note(events, "p", "", "ScaledUp", "two more");
    event = note(events, "p", "p-2", "Died", "out of memory");
    assert_int_equal(event->count, 2);
    assert_string_equal(event->uid, uid);
    assert_string_equal(event->sandbox, "p-2");
    assert_int_equal(event->first_wall_ms, 1000);
    assert_int_equal(event->last_wall_ms, 3000);
    assert_int_equal(event->resource_version, 3);
    assert_int_equal(pd_events_count(events), 2);
    assert_ptr_equal(pd_events_newest(events), event); /* it has moved to the end */
    assert_string_equal(pd_events_oldest(events)->reason, "ScaledUp");
    assert_ptr_equal(pd_events_older(event), pd_events_oldest(events));
    assert_null(pd_events_newer(event));
}

static void test_what_differs_is_told_apart(void **state)
{
    struct pd_events *events = *state;
    struct pd_event event = {.type = PD_EVENT_WARNING, .pool = "p", .reason = "R", .message = "m"};

    note(events, "p", "", "R", "m");
    note(events, "q", "", "R", "m");
    note(events, "p", "", "S", "m");
    note(events, "p", "", "R", "n");
    pd_events_note(events, &event, ++version, 1);
    pd_strcpy(event.pool_uid, sizeof event.pool_uid, "another life of the pool");
    pd_events_note(events, &event, ++version, 1);
    assert_int_equal(pd_events_count(events), 6);
}

static void test_no_reason_pushes_the_others_out(void **state)
{
    struct pd_events *events = *state;

    note(events, "p", "", "Created", "once");
    for (int i = 0; i < 1000; i++) {
        char message[32];
        snprintf(message, sizeof message, "exit %d", i);
        note(events, "p", "", "Died", message);
    }
    assert_int_equal(count_of(events, "p", "Died"), PD_EVENTS_OF_REASON_MAX);
    assert_int_equal(count_of(events, "p", "Created"), 1);
    assert_string_equal(pd_events_newest(events)->message, "exit 999");
}

static void test_a_pool_has_its_share(void **state)
{
    struct pd_events *events = *state;

    note(events, "quiet", "", "Created", "once");
    for (int i = 0; i < 1000; i++) {
        char reason[32];
        snprintf(reason, sizeof reason, "Reason%d", i);
        note(events, "loud", "", reason, "m");
    }
    assert_int_equal(count_of(events, "loud", NULL), PD_EVENTS_OF_POOL_MAX);
    assert_int_equal(count_of(events, "quiet", NULL), 1);
    assert_int_equal(count_of(events, "loud", "Reason999"), 1);
    assert_int_equal(count_of(events, "loud", "Reason0"), 0);
}

static void test_all_together_are_bounded(void **state)
{
    struct pd_events *events = *state;

    for (int i = 0; i < PD_EVENTS_MAX * 2; i++) {
        char pool[32];
        snprintf(pool, sizeof pool, "pool-%d", i);
        note(events, pool, "", "Created", "m");
    }
    assert_int_equal(pd_events_count(events), PD_EVENTS_MAX);
    assert_int_equal(count_of(events, "pool-0", NULL), 0);
    assert_int_equal(pd_events_newest(events)->resource_version, PD_EVENTS_MAX * 2);
    assert_int_equal(pd_events_oldest(events)->resource_version, PD_EVENTS_MAX + 1);
}

#define events_test(test) cmocka_unit_test_setup_teardown(test, open_events, close_events)

int main(void)
{
    const struct CMUnitTest tests[] = {
        events_test(test_the_same_is_counted),
        events_test(test_what_differs_is_told_apart),
        events_test(test_no_reason_pushes_the_others_out),
        events_test(test_a_pool_has_its_share),
        events_test(test_all_together_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
