/* What becomes of a task, told by answers that are late, out of order or missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/mem.h"
#include "controller/ecs_book.h"

#define ARN "arn:aws:ecs:r:1:task/c/0123456789abcdef"

static struct pd_time at(int64_t ms)
{
    return pd_time_add_ms((struct pd_time){1000 * PD_NS_PER_MS}, ms);
}

static struct pd_ecs_task task(enum pd_ecs_stage stage, const char *address)
{
    struct pd_ecs_task task = {.arn = ARN, .stage = stage, .pool = "p", .instance = "i"};

    pd_strcpy(task.address, sizeof task.address, address);
    return task;
}

static enum pd_ecs_news describe(struct pd_ecs_entry *entry, enum pd_ecs_stage stage,
                                 const char *address, int64_t ms)
{
    struct pd_ecs_task said = task(stage, address);

    return pd_ecs_entry_described(entry, &said, at(ms));
}

static void test_a_life(void **state)
{
    struct pd_ecs_book book;
    struct pd_ecs_entry *entry;

    (void)state;
    pd_ecs_book_init(&book);
    entry = pd_ecs_book_add(&book, ARN, "c", at(0));
    assert_ptr_equal(pd_ecs_book_add(&book, ARN, "c", at(1)), entry);
    assert_true(pd_ecs_entry_moves(entry));
    assert_int_equal(describe(entry, PD_ECS_COMING, "", 1), PD_ECS_NOTHING_NEW);
    assert_int_equal(describe(entry, PD_ECS_RUNNING, "", 2), PD_ECS_NOTHING_NEW);
    assert_true(pd_ecs_entry_moves(entry)); /* the address is still to come */
    assert_int_equal(describe(entry, PD_ECS_RUNNING, "10.0.0.1", 3), PD_ECS_IS_READY);
    assert_false(pd_ecs_entry_moves(entry));
    /* a reader that lags does not take it back */
    assert_int_equal(describe(entry, PD_ECS_COMING, "", 4), PD_ECS_NOTHING_NEW);
    assert_int_equal(entry->task.stage, PD_ECS_RUNNING);
    assert_string_equal(entry->task.address, "10.0.0.1");
    assert_int_equal(describe(entry, PD_ECS_LEAVING, "10.0.0.1", 5), PD_ECS_IS_LEAVING);
    assert_int_equal(describe(entry, PD_ECS_LEAVING, "10.0.0.1", 6), PD_ECS_NOTHING_NEW);
    assert_int_equal(describe(entry, PD_ECS_GOING, "10.0.0.1", 7), PD_ECS_HAS_ENDED);
    assert_int_equal(describe(entry, PD_ECS_STOPPED, "", 8), PD_ECS_NOTHING_NEW);
    entry->gone = at(9);
    pd_ecs_book_prune(&book, at(10));
    assert_int_equal(book.count, 1); /* ECS may still speak of it */
    pd_ecs_book_prune(&book, at(9 + PD_ECS_TOMBSTONE_MS));
    assert_int_equal(book.count, 0);
    pd_ecs_book_fini(&book);
}

/* Absent is not dead: a new task may be invisible for minutes, a seen one for a
 * while; and what shows up again was never gone. */
static void test_absence(void **state)
{
    struct pd_ecs_book book;
    struct pd_ecs_entry *entry;

    (void)state;
    pd_ecs_book_init(&book);
    entry = pd_ecs_book_add(&book, ARN, "c", at(0));
    assert_int_equal(pd_ecs_entry_missing(entry, at(1000)), PD_ECS_NOTHING_NEW);
    assert_int_equal(pd_ecs_entry_missing(entry, at(PD_ECS_UNSEEN_MS - 1)), PD_ECS_NOTHING_NEW);
    assert_int_equal(describe(entry, PD_ECS_RUNNING, "a", PD_ECS_UNSEEN_MS), PD_ECS_IS_READY);
    assert_int_equal(pd_ecs_entry_missing(entry, at(400000)), PD_ECS_NOTHING_NEW);
    assert_true(pd_ecs_entry_moves(entry)); /* asked after often now */
    assert_int_equal(pd_ecs_entry_missing(entry, at(400000 + PD_ECS_MISSING_MS - 1)),
                     PD_ECS_NOTHING_NEW);
    assert_int_equal(describe(entry, PD_ECS_RUNNING, "a", 460000), PD_ECS_NOTHING_NEW);
    assert_int_equal(pd_ecs_entry_missing(entry, at(470000)), PD_ECS_NOTHING_NEW);
    assert_int_equal(pd_ecs_entry_missing(entry, at(470000 + PD_ECS_MISSING_MS)), PD_ECS_HAS_ENDED);
    assert_int_equal(pd_ecs_entry_missing(entry, at(600000)), PD_ECS_NOTHING_NEW);
    pd_ecs_book_fini(&book);
}

/* An answer without tags does not take away whose the task is. */
static void test_tags_stay(void **state)
{
    struct pd_ecs_task bare = {.arn = ARN, .stage = PD_ECS_RUNNING};
    struct pd_ecs_book book;
    struct pd_ecs_entry *entry;

    (void)state;
    pd_ecs_book_init(&book);
    entry = pd_ecs_book_add(&book, ARN, "c", at(0));
    describe(entry, PD_ECS_COMING, "", 1);
    pd_ecs_entry_described(entry, &bare, at(2));
    assert_string_equal(entry->task.pool, "p");
    assert_string_equal(entry->task.instance, "i");
    pd_ecs_entry_name(entry);
    assert_string_equal(entry->id, "p-0123456789ab");
    pd_ecs_book_fini(&book);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_life),
        cmocka_unit_test(test_absence),
        cmocka_unit_test(test_tags_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
