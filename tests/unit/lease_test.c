#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "api/lease.h"

#define REPLICAS 3

static const struct pd_time start = {INT64_C(1000000000000)};

static struct pd_time at_ms(int64_t ms)
{
    return pd_time_add_ms(start, ms);
}

/* Without Redis: a bucket of this process's own. */
static void test_alone(void **state)
{
    struct pd_lease lease;
    struct pd_rate rate;

    (void)state;
    pd_lease_init(&lease, 3, 60, true);
    for (int i = 2; i >= 0; i--) {
        assert_int_equal(pd_lease_take(&lease, start), PD_LEASE_YES);
        pd_lease_tell(&lease, start, &rate);
        assert_int_equal(rate.remaining, i);
        assert_int_equal(rate.limit, 3);
        assert_int_equal(rate.seconds, 60);
    }
    assert_int_equal(rate.reset_s, 60);
    assert_int_equal(pd_lease_take(&lease, start), PD_LEASE_NO);
    pd_lease_tell(&lease, start, &rate);
    assert_int_equal(rate.retry_after_s, 20);
    assert_int_equal(pd_lease_take(&lease, at_ms(19000)), PD_LEASE_NO);
    pd_lease_tell(&lease, at_ms(19000), &rate);
    assert_int_equal(rate.retry_after_s, 1);
    assert_int_equal(pd_lease_take(&lease, at_ms(20001)), PD_LEASE_YES); /* as honest as it was */
    assert_int_equal(pd_lease_take(&lease, at_ms(3600000)), PD_LEASE_YES);
    pd_lease_tell(&lease, at_ms(3600000), &rate);
    assert_int_equal(rate.remaining, 2); /* never more than the limit is saved up */
    /* Among two replicas this one has half, rounded down; among many, one. */
    pd_lease_set(&lease, 3, 60, 2);
    assert_int_equal(pd_lease_take(&lease, at_ms(4200000)), PD_LEASE_YES);
    assert_int_equal(pd_lease_take(&lease, at_ms(4200000)), PD_LEASE_NO);
    pd_lease_tell(&lease, at_ms(4200000), &rate);
    assert_int_equal(rate.limit, 1);
    assert_int_equal(rate.retry_after_s, 60);
    pd_lease_set(&lease, 3, 60, 9);
    pd_lease_tell(&lease, at_ms(4200000), &rate);
    assert_int_equal(rate.limit, 1);
    pd_lease_take_more(&lease, 7, at_ms(4260000)); /* of a batch: as far as there are */
    assert_int_equal(pd_lease_take(&lease, at_ms(4260000)), PD_LEASE_NO);
}

/* Its own part spent and nothing owed: it must ask all the same, or it hears of nothing. */
static void test_alone_it_asks_on(void **state)
{
    const struct pd_lease_answer full = {.granted = 0, .left = 10};
    struct pd_lease_question question;
    struct pd_lease lease;

    (void)state;
    pd_lease_init(&lease, 10, 3600, false);
    lease.own = 0;
    lease.refilled = start;
    lease.alone = true;
    assert_int_equal(pd_lease_take(&lease, start), PD_LEASE_NO);
    assert_true(pd_lease_tick(&lease, at_ms(1000), &question));
    pd_lease_answered(&lease, &question, &full, at_ms(1001));
    assert_int_equal(pd_lease_take(&lease, at_ms(1002)), PD_LEASE_ASK);
}

static void test_first_is_asked_for(void **state)
{
    struct pd_lease lease;
    struct pd_lease_question question;
    struct pd_rate rate;

    (void)state;
    pd_lease_init(&lease, 100, 10, false);
    pd_lease_set(&lease, 100, 10, 3);
    assert_int_equal(pd_lease_take(&lease, start), PD_LEASE_ASK);
    assert_true(pd_lease_ask(&lease, 2, start, &question));
    assert_int_equal(question.waiting, 2);
    assert_in_range(question.block, 1, 100 / 12);
    assert_false(pd_lease_ask(&lease, 3, start, &question)); /* one question at a time */
    pd_lease_answered(&lease, &question, &(struct pd_lease_answer){6, 94, 0}, start);
    for (int i = 0; i < 6; i++)
        assert_int_equal(pd_lease_take(&lease, start), PD_LEASE_YES);
    pd_lease_tell(&lease, start, &rate);
    assert_int_equal(rate.limit, 100); /* whole, not a part */
    assert_int_equal(rate.remaining, 94);
    assert_int_equal(pd_lease_take(&lease, start), PD_LEASE_ASK);
    /* Empty: refused without a question, until there is one. */
    assert_true(pd_lease_ask(&lease, 1, start, &question));
    pd_lease_answered(&lease, &question, &(struct pd_lease_answer){0, 0, 80000}, start);
    assert_int_equal(pd_lease_take(&lease, at_ms(50)), PD_LEASE_NO);
    assert_false(pd_lease_ask(&lease, 0, at_ms(50), &question));
    pd_lease_tell(&lease, at_ms(50), &rate);
    assert_int_equal(rate.remaining, 0);
    assert_int_equal(rate.retry_after_s, 1);
    assert_int_equal(pd_lease_take(&lease, at_ms(90)), PD_LEASE_ASK);
}

static void test_held_tokens_go_stale(void **state)
{
    struct pd_lease lease;
    struct pd_lease_question question;

    (void)state;
    pd_lease_init(&lease, 100, 10, false);
    assert_true(pd_lease_ask(&lease, 1, start, &question));
    pd_lease_answered(&lease, &question, &(struct pd_lease_answer){5, 95, 0}, at_ms(100));
    assert_int_equal(pd_lease_take(&lease, at_ms(PD_LEASE_USE_MS - 1)), PD_LEASE_YES);
    assert_int_equal(pd_lease_take(&lease, at_ms(PD_LEASE_USE_MS + 1)), PD_LEASE_ASK);
    /* A process that was stopped while it asked has nothing of the answer. */
    assert_true(pd_lease_ask(&lease, 1, at_ms(5000), &question));
    pd_lease_answered(&lease, &question, &(struct pd_lease_answer){5, 95, 0}, at_ms(9000));
    assert_int_equal(lease.held, 0);
}

static void test_what_is_not_used_goes_back(void **state)
{
    struct pd_lease lease;
    struct pd_lease_question question;

    (void)state;
    pd_lease_init(&lease, 1000, 10, false);
    assert_true(pd_lease_ask(&lease, 1, start, &question));
    pd_lease_answered(&lease, &question, &(struct pd_lease_answer){100, 900, 0}, start);
    assert_int_equal(pd_lease_take(&lease, start), PD_LEASE_YES);
    assert_true(pd_lease_tick(&lease, at_ms(1000), &question));
    assert_in_range(question.held, 1, 10);
    assert_int_equal(question.held + question.back, 99);
    assert_int_equal(lease.held, question.held);
    pd_lease_answered(&lease, &question, &(struct pd_lease_answer){0, 990, 0}, at_ms(1000));
    assert_true(pd_lease_tick(&lease, at_ms(2000), &question)); /* not used at all */
    assert_int_equal(question.held, 0);
    assert_int_equal(lease.held, 0);
    pd_lease_answered(&lease, &question, &(struct pd_lease_answer){0, 999, 0}, at_ms(2000));
    assert_false(pd_lease_tick(&lease, at_ms(3000), &question)); /* and now nothing is asked */
}

static void test_redis_is_away(void **state)
{
    struct pd_lease lease;
    struct pd_lease_question question;
    struct pd_rate rate;
    int let_in = 0;

    (void)state;
    pd_lease_init(&lease, 90, 60, false);
    pd_lease_set(&lease, 90, 60, 3);
    assert_int_equal(pd_lease_take(&lease, start), PD_LEASE_ASK);
    assert_true(pd_lease_ask(&lease, 1, start, &question));
    pd_lease_failed(&lease, &question);
    while (pd_lease_take(&lease, start) == PD_LEASE_YES)
        let_in++;
    assert_int_equal(let_in, 30); /* neither closed nor without bound */
    pd_lease_tell(&lease, start, &rate);
    assert_int_equal(rate.limit, 30);
    assert_int_equal(rate.retry_after_s, 2);
    /* It is tried again, and told what was let in; what fails is told again. */
    assert_true(pd_lease_tick(&lease, at_ms(1000), &question));
    assert_int_equal(question.owed, 30);
    pd_lease_failed(&lease, &question);
    assert_true(pd_lease_tick(&lease, at_ms(2000), &question));
    assert_int_equal(question.owed, 30);
    pd_lease_answered(&lease, &question, &(struct pd_lease_answer){0, 60, 0}, at_ms(2000));
    assert_false(lease.alone);
    assert_int_equal(lease.owed, 0);
    /* What was let in with Redis is not to be had once more without it. */
    assert_true(pd_lease_ask(&lease, 30, at_ms(2000), &question));
    pd_lease_answered(&lease, &question, &(struct pd_lease_answer){30, 30, 0}, at_ms(2000));
    while (pd_lease_take(&lease, at_ms(2000)) == PD_LEASE_YES)
        continue;
    pd_lease_failed(&lease, &question);
    assert_int_equal(pd_lease_take(&lease, at_ms(2000)), PD_LEASE_NO);
}

static void test_answers(void **state)
{
    struct pd_redis_reply numbers[3] = {{.type = PD_REDIS_INTEGER, .integer = 3},
                                        {.type = PD_REDIS_INTEGER, .integer = 4},
                                        {.type = PD_REDIS_INTEGER, .integer = 5}};
    struct pd_redis_reply *items[3] = {&numbers[0], &numbers[1], &numbers[2]};
    struct pd_redis_reply reply = {.type = PD_REDIS_ARRAY, .items = items, .count = 3};
    const struct pd_lease_question question = {.waiting = 1, .block = 2};
    struct pd_lease_answer answer;

    (void)state;
    assert_true(pd_lease_answer_parse(&reply, &question, &answer));
    assert_int_equal(answer.granted, 3);
    assert_int_equal(answer.left, 4);
    assert_int_equal(answer.wait_us, 5);
    numbers[0].integer = 4; /* more than was asked for */
    assert_false(pd_lease_answer_parse(&reply, &question, &answer));
    numbers[0].integer = -1;
    assert_false(pd_lease_answer_parse(&reply, &question, &answer));
    numbers[0].integer = 1;
    reply.count = 2;
    assert_false(pd_lease_answer_parse(&reply, &question, &answer));
    reply.count = 3;
    numbers[2].integer = INT64_MAX;
    assert_false(pd_lease_answer_parse(&reply, &question, &answer));
}

/* ---- many replicas ----
 *
 * The script, in C (tests/e2e/rates_test.py has the real one). */

struct bucket {
    double tokens;
    int64_t ms;
    int held[REPLICAS];
    int64_t until[REPLICAS];
};

static struct pd_lease_answer bucket_answer(struct bucket *bucket, const struct pd_lease *lease,
                                            int me, const struct pd_lease_question *question,
                                            int64_t ms)
{
    double per_ms = (double)lease->limit / lease->seconds / 1000;
    int others = 0, granted, more;

    bucket->tokens += (double)(ms - bucket->ms) * per_ms;
    bucket->ms = ms;
    for (int i = 0; i < REPLICAS; i++)
        others += i != me && bucket->until[i] > ms ? bucket->held[i] : 0;
    bucket->tokens += question->back;
    if (bucket->tokens > lease->limit - others - question->held)
        bucket->tokens = lease->limit - others - question->held;
    bucket->tokens -= question->owed;
    if (bucket->tokens < 0)
        bucket->tokens = 0;
    granted = question->waiting < (int)bucket->tokens ? question->waiting : (int)bucket->tokens;
    bucket->tokens -= granted;
    more = (int)(bucket->tokens / (2 * lease->replicas));
    more = question->block < more ? question->block : more;
    bucket->tokens -= more;
    bucket->held[me] = question->held + granted + more;
    bucket->until[me] = ms + PD_LEASE_LIFE_MS;
    return (struct pd_lease_answer){
        granted + more, (int)bucket->tokens,
        bucket->tokens < 1 ? (int64_t)((1 - bucket->tokens) / per_ms * 1000) : 0};
}

struct crowd {
    struct bucket bucket;
    struct pd_lease leases[REPLICAS];
    int let_in, asked, requests;
};

static void crowd_init(struct crowd *crowd, int limit, int seconds)
{
    *crowd = (struct crowd){.bucket = {.tokens = limit}};
    for (int i = 0; i < REPLICAS; i++) {
        pd_lease_init(&crowd->leases[i], limit, seconds, false);
        pd_lease_set(&crowd->leases[i], limit, seconds, REPLICAS);
    }
}

static void crowd_answer(struct crowd *crowd, int me, const struct pd_lease_question *question,
                         int64_t ms)
{
    struct pd_lease *lease = &crowd->leases[me];
    struct pd_lease_answer answer = bucket_answer(&crowd->bucket, lease, me, question, ms);

    crowd->asked++;
    pd_lease_answered(lease, question, &answer, at_ms(ms));
}

static void crowd_request(struct crowd *crowd, int me, int64_t ms)
{
    struct pd_lease *lease = &crowd->leases[me];
    struct pd_lease_question question;
    enum pd_lease_verdict verdict = pd_lease_take(lease, at_ms(ms));

    crowd->requests++;
    if (verdict == PD_LEASE_ASK) {
        assert_true(pd_lease_ask(lease, 1, at_ms(ms), &question));
        crowd_answer(crowd, me, &question, ms);
        verdict = pd_lease_take(lease, at_ms(ms));
        assert_int_not_equal(verdict, PD_LEASE_ASK);
    }
    crowd->let_in += verdict == PD_LEASE_YES;
    if (pd_lease_ask(lease, 0, at_ms(ms), &question))
        crowd_answer(crowd, me, &question, ms);
}

static void crowd_tick(struct crowd *crowd, int64_t ms)
{
    struct pd_lease_question question;

    for (int i = 0; i < REPLICAS; i++) {
        if (pd_lease_tick(&crowd->leases[i], at_ms(ms), &question))
            crowd_answer(crowd, i, &question, ms);
    }
}

/* However they arrive: R in all, at once no more than the burst, and few questions. */
static void test_the_sum_is_the_rate(void **state)
{
    static const struct {
        const char *what;
        int limit, seconds;
        int each_ms;           /* requests at each ms */
        int weights[REPLICAS]; /* to whom */
    } rows[] = {
        {"evenly", 1000, 10, 2, {1, 1, 1}},         {"all at one", 1000, 10, 2, {1, 0, 0}},
        {"mostly at one", 1000, 10, 2, {20, 1, 0}}, {"a small one", 30, 10, 1, {1, 1, 1}},
        {"a large one", 100000, 10, 60, {5, 3, 1}},
    };
    const int64_t end_ms = 30000;

    (void)state;
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        struct crowd crowd;
        int sum = rows[row].weights[0] + rows[row].weights[1] + rows[row].weights[2];
        double bound, per_ms = (double)rows[row].limit / rows[row].seconds / 1000;
        crowd_init(&crowd, rows[row].limit, rows[row].seconds);
        srand(7);
        for (int64_t ms = 0; ms < end_ms; ms++) {
            for (int i = 0; i < rows[row].each_ms; i++) {
                int at = rand() % sum, me = 0;
                while (at >= rows[row].weights[me])
                    at -= rows[row].weights[me++];
                crowd_request(&crowd, me, ms);
            }
            if (ms % PD_LEASE_TICK_MS == 0)
                crowd_tick(&crowd, ms);
            bound = rows[row].limit + per_ms * (double)(ms + 1);
            if (crowd.let_in > bound + 1)
                fail_msg("%s: %d at %d ms", rows[row].what, crowd.let_in, (int)ms);
        }
        bound = rows[row].limit + per_ms * (double)end_ms;
        if (crowd.let_in < bound * 0.95)
            fail_msg("%s: only %d of %.0f", rows[row].what, crowd.let_in, bound);
        if (crowd.asked * 10 > crowd.requests)
            fail_msg("%s: %d questions for %d", rows[row].what, crowd.asked, crowd.requests);
    }
}

/* What one that is gone held is not missed for long. */
static void test_one_is_killed(void **state)
{
    struct crowd crowd;
    int before;

    (void)state;
    crowd_init(&crowd, 1000, 10);
    for (int64_t ms = 0; ms < 100; ms++)
        crowd_request(&crowd, (int)(ms % REPLICAS), ms);
    before = crowd.let_in;
    assert_int_equal(before, 100);
    for (int64_t ms = 100; ms < 20100; ms++) {
        crowd_request(&crowd, (int)(ms % 2), ms);
        if (ms % PD_LEASE_TICK_MS == 0)
            crowd_tick(&crowd, ms);
    }
    assert_in_range(crowd.let_in, 2900 - 83, 3010);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_alone_it_asks_on),
        cmocka_unit_test(test_first_is_asked_for),
        cmocka_unit_test(test_held_tokens_go_stale),
        cmocka_unit_test(test_what_is_not_used_goes_back),
        cmocka_unit_test(test_redis_is_away),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_the_sum_is_the_rate),
        cmocka_unit_test(test_one_is_killed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
