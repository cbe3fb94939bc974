/* Whatever Redis answers to a question for a block of a rate, or for places: no more is held than
 * was asked for, and what is told with an answer makes sense. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "api/lease.h"
#include "api/slots.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct pd_lease *lease, const struct pd_redis_reply *reply, struct pd_time now)
{
    struct pd_lease_question question;
    struct pd_lease_answer answer;
    struct pd_rate rate;
    int held = lease->held;
    int places = -1;
    bool is_short;

    if (pd_slots_answer_parse(reply, 3, &places, &is_short))
        assert(places >= 0 && places <= 3);
    else
        assert(places == -1);
    if (!pd_lease_ask(lease, 3, now, &question))
        return;
    if (pd_lease_answer_parse(reply, &question, &answer))
        pd_lease_answered(lease, &question, &answer, now);
    else
        pd_lease_failed(lease, &question);
    assert(!lease->asking);
    assert(lease->held >= 0 && lease->held <= held + question.waiting + question.block);
    pd_lease_tell(lease, now, &rate);
    assert(rate.limit > 0 && rate.remaining >= 0 && rate.remaining <= rate.limit);
    assert(rate.reset_s >= 0 && rate.retry_after_s >= 0);
    if (pd_lease_take(lease, now) == PD_LEASE_NO) {
        pd_lease_tell(lease, now, &rate);
        assert(rate.retry_after_s >= 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pd_redis_reader *reader = pd_redis_reader_new();
    struct pd_time now = {INT64_C(1000000000000)};
    struct pd_redis_reply *reply;
    struct pd_lease lease;
    struct pd_err err;

    pd_lease_init(&lease, 100, 60, false);
    pd_lease_set(&lease, 100, 60, 3);
    pd_redis_reader_feed(reader, data, size);
    while (pd_redis_reader_next(reader, &reply, &err) == 1) {
        check(&lease, reply, now);
        pd_redis_reply_free(reply);
        now = pd_time_add_ms(now, 100);
    }
    pd_redis_reader_free(reader);
    return 0;
}
