#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "controller/workqueue.h"

static struct pd_time at_ms(int64_t ms)
{
    return pd_time_add_ms((struct pd_time){0}, ms);
}

static void assert_next(struct pd_workqueue *queue, const char *want)
{
    const char *key = pd_workqueue_get(queue);

    if (!want) {
        assert_null(key);
        return;
    }
    assert_non_null(key);
    assert_string_equal(key, want);
    pd_workqueue_done(queue, key);
}

static void test_first_come_first_served(void **state)
{
    struct pd_workqueue *queue = pd_workqueue_new();

    (void)state;
    pd_workqueue_add(queue, "a");
    pd_workqueue_add(queue, "b");
    pd_workqueue_add(queue, "a");
    assert_int_equal(pd_workqueue_length(queue), 2);
    assert_next(queue, "a");
    assert_next(queue, "b");
    assert_next(queue, NULL);
    pd_workqueue_free(queue);
}

static void test_added_while_processing_comes_once_more(void **state)
{
    struct pd_workqueue *queue = pd_workqueue_new();
    const char *key;

    (void)state;
    pd_workqueue_add(queue, "a");
    key = pd_workqueue_get(queue);
    pd_workqueue_add(queue, "a");
    pd_workqueue_add(queue, "a");
    assert_null(pd_workqueue_get(queue)); /* never twice at once */
    pd_workqueue_done(queue, key);
    assert_next(queue, "a");
    assert_next(queue, NULL);
    pd_workqueue_free(queue);
}

static void test_later_means_the_earliest_time(void **state)
{
    struct pd_workqueue *queue = pd_workqueue_new();

    (void)state;
    assert_false(pd_time_is_set(pd_workqueue_next(queue)));
    pd_workqueue_add_at(queue, "a", at_ms(50));
    pd_workqueue_add_at(queue, "a", at_ms(20));
    pd_workqueue_add_at(queue, "a", at_ms(90));
    pd_workqueue_add_at(queue, "b", at_ms(30));
    assert_int_equal(pd_workqueue_next(queue).ns, at_ms(20).ns);
    pd_workqueue_advance(queue, at_ms(19));
    assert_next(queue, NULL);
    pd_workqueue_advance(queue, at_ms(20));
    assert_next(queue, "a");
    pd_workqueue_advance(queue, at_ms(1000));
    assert_next(queue, "b");
    assert_next(queue, NULL);
    assert_false(pd_time_is_set(pd_workqueue_next(queue)));
    pd_workqueue_free(queue);
}

static void test_due_while_processing_waits_for_done(void **state)
{
    struct pd_workqueue *queue = pd_workqueue_new();
    const char *key;

    (void)state;
    pd_workqueue_add(queue, "a");
    key = pd_workqueue_get(queue);
    pd_workqueue_add_at(queue, "a", at_ms(1));
    pd_workqueue_advance(queue, at_ms(1));
    assert_null(pd_workqueue_get(queue));
    pd_workqueue_done(queue, key);
    assert_next(queue, "a");
    pd_workqueue_free(queue);
}

/* The heap against the plain rule: each key comes at its earliest time. */
#define KEYS 200

static void test_many_times_come_in_order(void **state)
{
    struct pd_workqueue *queue = pd_workqueue_new();
    int64_t due[KEYS];
    uint64_t random = 7;

    (void)state;
    for (int i = 0; i < KEYS; i++)
        due[i] = 1000000;
    for (int i = 0; i < KEYS * 5; i++) {
        char key[8];
        int which = i % KEYS;
        int64_t ms;
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        ms = (int64_t)(random >> 40) % 5000;
        snprintf(key, sizeof key, "k%d", which);
        pd_workqueue_add_at(queue, key, at_ms(ms));
        due[which] = ms < due[which] ? ms : due[which];
    }
    for (int64_t now = 0; now < 5000; now++) {
        const char *key;
        pd_workqueue_advance(queue, at_ms(now));
        while ((key = pd_workqueue_get(queue))) {
            int which;
            assert_int_equal(sscanf(key, "k%d", &which), 1);
            assert_int_equal(due[which], now);
            due[which] = -1;
            pd_workqueue_done(queue, key);
        }
    }
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(due[i], -1);
    pd_workqueue_free(queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_come_first_served),
        cmocka_unit_test(test_added_while_processing_comes_once_more),
        cmocka_unit_test(test_later_means_the_earliest_time),
        cmocka_unit_test(test_due_while_processing_waits_for_done),
        cmocka_unit_test(test_many_times_come_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
