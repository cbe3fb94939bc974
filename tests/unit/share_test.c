#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/share.h"

static void test_alone_it_keeps_all(void **state)
{
    const struct pd_share pool = {3, 10, 2};
    struct pd_share share = pd_share_of(&pool, (struct pd_place){0, 1}, 5, 0);

    (void)state;
    assert_int_equal(share.min_size, 3);
    assert_int_equal(share.max_size, 10);
    assert_int_equal(share.target_idle, 2);
}

/* For every pool and number of replicas, and whatever they have. */
static void test_parts_add_up(void **state)
{
    (void)state;
    for (int min = 0; min <= 7; min++)
        for (int max = min; max <= 9; max++)
            for (int idle = 0; idle <= max; idle++)
                for (int count = 1; count <= 6; count++) {
                    const struct pd_share pool = {min, max, idle};
                    int mins = 0, floors = 0;
                    for (int i = 0; i < count; i++) {
                        struct pd_place place = {i, count};
                        struct pd_share share = pd_share_of(&pool, place, 0, 0);
                        mins += share.min_size;
                        floors += pd_share_floor(&pool, place);
                        assert_true(share.min_size <= pd_share_floor(&pool, place));
                        assert_true(share.max_size >= share.min_size);
                    }
                    assert_int_equal(mins, min);
                    assert_true(floors <= max);
                }
}

/* Whatever each does within its share, all together stay within maxSize, once
 * nobody is beyond; and nobody is kept below its floor. */
static void test_nobody_starves(void **state)
{
    const struct pd_share pool = {2, 4, 1};
    int has[3] = {4, 0, 0}; /* the first one was alone until now */

    (void)state;
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 3; i++) {
            int others = 0;
            struct pd_share share;
            for (int j = 0; j < 3; j++) {
                int floor = pd_share_floor(&pool, (struct pd_place){j, 3});
                if (j != i)
                    others += has[j] > floor ? has[j] : floor;
            }
            share = pd_share_of(&pool, (struct pd_place){i, 3}, has[i], others);
            if (has[i] > share.max_size)
                has[i] = share.max_size;
            else if (has[i] < share.max_size && has[0] + has[1] + has[2] < pool.max_size)
                has[i]++;
        }
    }
    assert_int_equal(has[0] + has[1] + has[2], 4);
    assert_true(has[0] >= 1 && has[1] >= 1 && has[2] >= 1);
}

/* What the decision makes of a share while nothing runs. */
static int wanted(const struct pd_share *share)
{
    int size = share->min_size > share->target_idle ? share->min_size : share->target_idle;

    return size < share->max_size ? size : share->max_size;
}

/* One look of each at what all have; the leader creates nothing beyond maxSize. */
static void look_around(const struct pd_share *pool, int *has, int count)
{
    for (int i = 0; i < count; i++) {
        int others = 0, total = 0;
        struct pd_share share;
        for (int j = 0; j < count; j++) {
            int floor = pd_share_floor(pool, (struct pd_place){j, count});
            total += has[j];
            if (j != i)
                others += has[j] > floor ? has[j] : floor;
        }
        share = pd_share_of(pool, (struct pd_place){i, count}, has[i], others);
        if (has[i] > wanted(&share))
            has[i]--;
        else if (has[i] < wanted(&share) && total < pool->max_size)
            has[i]++;
    }
}

/* Replicas come and go: minSize is kept in total, maxSize never exceeded, and idle ones
 * beyond are at most one for each replica. */
static void test_coming_and_going(void **state)
{
    static const int counts[] = {1, 2, 4, 3, 1, 4, 2, 1};

    (void)state;
    for (int min = 0; min <= 6; min++)
        for (int max = min > 4 ? min : 4; max <= 8; max++)
            for (int idle = 0; idle <= max; idle++) {
                const struct pd_share pool = {min, max, idle};
                int has[4] = {0};
                for (size_t step = 0; step < sizeof counts / sizeof *counts; step++) {
                    int count = counts[step], total = 0, most;
                    for (int i = count; i < 4; i++)
                        has[i] = 0; /* they have left, or were collected */
                    for (int round = 0; round < 20; round++) {
                        look_around(&pool, has, count);
                        total = has[0] + has[1] + has[2] + has[3];
                        assert_true(total <= max);
                    }
                    most = min + idle + count;
                    assert_true(total >= min);
                    assert_true(total >= (idle < max ? idle : max));
                    assert_true(total <= (most < max ? most : max));
                }
            }
}

static void test_too_many_of_all(void **state)
{
    const struct pd_share pool = {1, 4, 1}; /* maxSize was lowered: each has three */
    struct pd_share share = pd_share_of(&pool, (struct pd_place){1, 2}, 3, 3);

    (void)state;
    assert_int_equal(share.max_size, 2);
}

static void test_more_replicas_than_sandboxes(void **state)
{
    const struct pd_share pool = {1, 2, 1};

    (void)state;
    assert_int_equal(pd_share_floor(&pool, (struct pd_place){1, 3}), 1);
    assert_int_equal(pd_share_floor(&pool, (struct pd_place){2, 3}), 0);
    assert_int_equal(pd_share_of(&pool, (struct pd_place){2, 3}, 0, 2).max_size, 0);
    assert_int_equal(pd_share_of(&pool, (struct pd_place){2, 3}, 0, 2).target_idle, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone_it_keeps_all),
        cmocka_unit_test(test_parts_add_up),
        cmocka_unit_test(test_nobody_starves),
        cmocka_unit_test(test_coming_and_going),
        cmocka_unit_test(test_too_many_of_all),
        cmocka_unit_test(test_more_replicas_than_sandboxes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
