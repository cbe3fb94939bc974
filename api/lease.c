#include "api/lease.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#define BLOCK_MIN 4
#define PARTS_HELD 4 /* all replicas together hold this part of the bucket at most */

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int most(int a, int b)
{
    return a > b ? a : b;
}

static int own_limit(const struct pd_lease *lease)
{
    return most(1, lease->limit / lease->replicas);
}

static double seconds_between(struct pd_time a, struct pd_time b)
{
    return b.ns > a.ns ? (double)(b.ns - a.ns) / 1e9 : 0;
}

/* What a bucket of `limit` with `tokens` at `then` has now. */
static double filled(const struct pd_lease *lease, int limit, double tokens, struct pd_time then,
                     struct pd_time now)
{
    if (pd_time_is_set(then))
        tokens += seconds_between(then, now) * limit / lease->seconds;
    return tokens < limit ? tokens : limit;
}

void pd_lease_init(struct pd_lease *lease, int limit, int seconds, bool alone)
{
    *lease = (struct pd_lease){
        .limit = limit, .seconds = seconds, .replicas = 1, .alone = alone, .own = limit};
}

void pd_lease_set(struct pd_lease *lease, int limit, int seconds, int replicas)
{
    if (lease->limit != limit || lease->seconds != seconds)
        lease->empty_until = (struct pd_time){0};
    lease->limit = limit;
    lease->seconds = seconds;
    lease->replicas = most(1, replicas);
}

/* ---- taking ---- */

static void refill(struct pd_lease *lease, struct pd_time now)
{
    lease->own = filled(lease, own_limit(lease), lease->own, lease->refilled, now);
    lease->refilled = now;
}

static void drop_stale(struct pd_lease *lease, struct pd_time now)
{
    if (lease->held > 0 && pd_time_before(lease->valid, now))
        lease->held = 0;
}

static bool is_empty(const struct pd_lease *lease, struct pd_time now)
{
    return pd_time_is_set(lease->empty_until) && pd_time_before(now, lease->empty_until);
}

static enum pd_lease_verdict take_alone(struct pd_lease *lease)
{
    if (lease->own < 1)
        return PD_LEASE_NO;
    lease->own -= 1;
    lease->owed = least(lease->owed + 1, lease->limit);
    return PD_LEASE_YES;
}

enum pd_lease_verdict pd_lease_take(struct pd_lease *lease, struct pd_time now)
{
    refill(lease, now);
    drop_stale(lease, now);
    if (lease->used < INT_MAX / 4)
        lease->used++;
    if (lease->alone)
        return take_alone(lease);
    if (lease->held > 0) {
        lease->held--;
        lease->own = lease->own < 1 ? 0 : lease->own - 1;
        return PD_LEASE_YES;
    }
    return is_empty(lease, now) ? PD_LEASE_NO : PD_LEASE_ASK;
}

void pd_lease_take_more(struct pd_lease *lease, int count, struct pd_time now)
{
    refill(lease, now);
    drop_stale(lease, now);
    lease->own = lease->own < count ? 0 : lease->own - count;
    if (!lease->alone) {
        int taken = least(count, lease->held);
        lease->held -= taken;
        count -= taken;
    }
    lease->owed = least(lease->owed + count, lease->limit);
}

/* ---- telling ---- */

/* Rounded up, but for what is no more than an error of the arithmetic. */
static int whole_seconds(double seconds)
{
    return seconds < INT_MAX ? (int)ceil(seconds - 1e-6) : INT_MAX;
}

void pd_lease_tell(const struct pd_lease *lease, struct pd_time now, struct pd_rate *ret_rate)
{
    int limit = lease->alone ? own_limit(lease) : lease->limit;
    double per_s = (double)limit / lease->seconds;
    double tokens = lease->alone
                        ? filled(lease, limit, lease->own, lease->refilled, now)
                        : lease->held + filled(lease, limit, lease->left, lease->told, now);
    double wait_s;

    /* Nothing was heard of the bucket yet, or what is there is others' soon. */
    if (!lease->alone && lease->held == 0 && is_empty(lease, now))
        tokens = tokens < 1 ? tokens : 0;
    tokens = tokens < limit ? tokens : limit;
    wait_s = (1 - tokens) / per_s;
    if (!lease->alone && is_empty(lease, now))
        wait_s = fmax(wait_s, seconds_between(now, lease->empty_until));
    *ret_rate = (struct pd_rate){
        .limit = limit,
        .seconds = lease->seconds,
        .remaining = (int)tokens,
        .reset_s = whole_seconds((limit - tokens) / per_s),
        .retry_after_s = tokens >= 1 ? 0 : most(1, whole_seconds(wait_s)),
    };
}

/* ---- asking ---- */

/* So many that the next second or two need no further question; few where the bucket is
 * small, so that what one replica holds is not missed by the others. */
static int block_of(const struct pd_lease *lease, int waiting)
{
    int wanted = most(BLOCK_MIN, most(waiting, lease->used + lease->used_then));
    int bound = lease->limit / (PARTS_HELD * lease->replicas);

    return most(1, least(wanted, least(bound, PD_LEASE_BLOCK_MAX)));
}

static void begin_asking(struct pd_lease *lease, const struct pd_lease_question *question,
                         struct pd_time now)
{
    lease->asking = true;
    lease->asked = now;
    lease->owed -= question->owed;
    lease->held -= question->back;
}

bool pd_lease_ask(struct pd_lease *lease, int waiting, struct pd_time now,
                  struct pd_lease_question *ret_question)
{
    int block = block_of(lease, waiting);

    drop_stale(lease, now);
    if (lease->asking || lease->alone || is_empty(lease, now))
        return false;
    /* Ahead of need, while there are plenty: of few, others may need each. */
    if (waiting == 0 && (lease->held > block / 2 || lease->left < 2.0 * lease->replicas))
        return false;
    *ret_question = (struct pd_lease_question){
        .waiting = waiting,
        .block = most(0, block - lease->held),
        .held = lease->held,
        .owed = lease->owed,
    };
    begin_asking(lease, ret_question, now);
    return true;
}

bool pd_lease_tick(struct pd_lease *lease, struct pd_time now,
                   struct pd_lease_question *ret_question)
{
    int used = lease->used;
    int keep;

    drop_stale(lease, now);
    lease->used_then = used;
    lease->used = 0;
    /* Alone, it asks for nothing: the answer is what ends that. */
    if (lease->asking || (!lease->alone && lease->held == 0 && lease->owed == 0))
        return false;
    keep = used > 0 ? least(lease->held, block_of(lease, 0)) : 0;
    *ret_question = (struct pd_lease_question){
        .held = keep,
        .back = lease->held - keep,
        .owed = lease->owed,
    };
    begin_asking(lease, ret_question, now);
    return true;
}

/* ---- answers ---- */

bool pd_lease_answer_parse(const struct pd_redis_reply *reply,
                           const struct pd_lease_question *question,
                           struct pd_lease_answer *ret_answer)
{
    int64_t granted = pd_redis_reply_integer(reply, 0, -1);
    int64_t left = pd_redis_reply_integer(reply, 1, -1);
    int64_t wait_us = pd_redis_reply_integer(reply, 2, -1);

    if (granted < 0 || granted > (int64_t)question->waiting + question->block || left < 0 ||
        left > INT_MAX || wait_us < 0 || wait_us > INT64_MAX / 2000)
        return false;
    *ret_answer = (struct pd_lease_answer){(int)granted, (int)left, wait_us};
    return true;
}

void pd_lease_answered(struct pd_lease *lease, const struct pd_lease_question *question,
                       const struct pd_lease_answer *answer, struct pd_time now)
{
    int64_t empty_ms = answer->wait_us / 1000 + 1;

    lease->asking = false;
    lease->alone = false;
    lease->held += answer->granted;
    lease->valid = pd_time_add_ms(lease->asked, PD_LEASE_USE_MS);
    lease->left = answer->left;
    lease->told = now;
    lease->empty_until = (struct pd_time){0};
    if (answer->wait_us > 0 || answer->granted < question->waiting)
        lease->empty_until =
            pd_time_add_ms(now, empty_ms > PD_LEASE_EMPTY_MS ? empty_ms : PD_LEASE_EMPTY_MS);
    drop_stale(lease, now);
}

void pd_lease_failed(struct pd_lease *lease, const struct pd_lease_question *question)
{
    lease->asking = false;
    lease->alone = true;
    lease->owed = least(lease->owed + question->owed, lease->limit);
}
