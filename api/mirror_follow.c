/* Runs elsewhere that are watched here.
 *
 *   SEEKING    all are asked who has it; until somebody does, what the ledger says counts
 *   FOLLOWING  one tells its events, and hears from us each second
 *   ENDING     nobody has it any more, and the ledger says how it ended
 *   OVER       all of it is here, or no more will come: kept for those who still read
 *
 * There is one follow of a run, for all its viewers. It goes with the last of them, in the
 * next tick: not from within the call that tells it. */
#include <stdlib.h>
#include <string.h>

#include "api/mirror_end.h"
#include "api/mirror_state.h"
#include "common/log.h"
#include "common/mem.h"

#define ACK_BYTES (PD_MIRROR_WINDOW_BYTES / 4)
#define DEAF_MAX 3 /* words that nobody heard, then it is looked for again */
#define STUCK_MAX 5

static const char anew[] = "it began anew, at another replica: watch it again, from the start";
static const char gone[] = "the replica that ran it is gone, and what became of it is not known";
static const char unkept[] = "it is over, but what it printed was not kept";
static const char garbled[] = "what another replica told of it could not be understood";
static const char away[] = "the replica that has it was not in reach for long: watch it again";

enum follow_state { SEEKING, FOLLOWING, ENDING, OVER };

struct waiter {
    struct pd_ring in_follow;
    pd_mirror_follow_cb cb;
    void *arg;
};

struct mirror_follow {
    struct pd_ring in_mirror;
    struct pd_mirror *mirror;
    char run[PD_MIRROR_RUN_BYTES];
    enum follow_state state;
    bool asking; /* all, or the ledger */
    struct pd_ring waiters;
    struct pd_execution *execution; /* NULL: not found yet */
    char peer[PD_MIRROR_NAME_BYTES];
    uint64_t born;
    uint64_t ask;                          /* of the present FOLLOWING */
    uint64_t taken_bytes, told_bytes;      /* of payloads; of that, the peer knows */
    uint64_t heard_ms, said_ms, sought_ms; /* on the loop's clock; the last time */
    uint64_t lost_ms;                      /* since when nobody tells; 0: somebody does */
    unsigned deaf;
    unsigned stuck; /* times in a row that it was asked again for the same event */
    bool sure;      /* that no replica has it */
    bool unlisted;  /* not in mirror->follows: who comes now finds another */
    struct pd_mirror_end end; /* that the ledger knows, where nobody has told it */
};

/* ---- life ---- */

static void tell_waiters(struct mirror_follow *follow, const struct pd_err *err,
                         struct pd_execution *execution)
{
    while (!pd_ring_is_empty(&follow->waiters)) {
        struct waiter *waiter = PD_CONTAINER_OF(follow->waiters.next, struct waiter, in_follow);
        pd_ring_remove(&waiter->in_follow);
        waiter->cb(waiter->arg, err, execution);
        free(waiter);
    }
}

static void unlist(struct mirror_follow *follow)
{
    if (!follow->unlisted)
        pd_strmap_remove(&follow->mirror->follows, follow->run);
    follow->unlisted = true;
}

/* Nothing of it is being called. */
static void follow_free(struct mirror_follow *follow)
{
    struct pd_mirror *mirror = follow->mirror;

    unlist(follow);
    pd_ring_remove(&follow->in_mirror);
    if (follow->execution)
        pd_execution_mirror_free(follow->execution);
    free(follow);
    pd_mirror_unref(mirror);
}

static void say(struct mirror_follow *follow, struct pd_mirror_message *message, pd_redis_cb cb,
                void *arg)
{
    struct pd_err err;

    message->ask = follow->ask;
    (void)pd_mirror_say(follow->mirror, follow->peer, message, cb, arg, &err);
}

static void say_stop(struct mirror_follow *follow)
{
    if (follow->state == FOLLOWING)
        say(follow, &(struct pd_mirror_message){.word = PD_MIRROR_STOP}, NULL, NULL);
}

/* A question of it that is still to be answered finds it there. */
static bool is_done_with(const struct mirror_follow *follow)
{
    return !follow->asking && pd_ring_is_empty(&follow->waiters) &&
           (!follow->execution || pd_execution_watches(follow->execution) == 0);
}

/* An answer came that was waited for: after the close there is no tick to see to it. */
static void settle(struct mirror_follow *follow)
{
    if (follow->mirror->closing && is_done_with(follow))
        follow_free(follow);
}

static void be_over(struct mirror_follow *follow)
{
    say_stop(follow);
    follow->state = OVER;
}

static void break_off(struct mirror_follow *follow, const char *why)
{
    pd_log(PD_LOG_INFO, "mirror", "viewers of a run at another replica do not see its end", "run",
           follow->run, "why", why, NULL);
    be_over(follow);
    unlist(follow);
    pd_execution_withdraw(follow->execution, why);
}

/* ---- following ---- */

static void seek(struct mirror_follow *follow);

static void begin_following(struct mirror_follow *follow)
{
    struct pd_mirror *mirror = follow->mirror;
    struct pd_mirror_message message = {.word = PD_MIRROR_FOLLOW};

    follow->state = FOLLOWING;
    follow->ask = ++mirror->last_ask;
    follow->taken_bytes = follow->told_bytes = 0;
    follow->heard_ms = follow->said_ms = pd_mirror_now_ms(mirror);
    follow->deaf = 0;
    message.number = pd_execution_last_seq(follow->execution) + 1;
    pd_strcpy(message.run, sizeof message.run, follow->run);
    say(follow, &message, NULL, NULL);
}

static struct mirror_follow *find_by_ask(struct pd_mirror *mirror, uint64_t ask)
{
    for (struct pd_ring *at = mirror->followed.next; at != &mirror->followed; at = at->next) {
        struct mirror_follow *follow = PD_CONTAINER_OF(at, struct mirror_follow, in_mirror);
        if (follow->state == FOLLOWING && follow->ask == ask)
            return follow;
    }
    return NULL;
}

/* How many have heard it: none, when its connection is gone. The follow may be, too. */
struct heard {
    struct pd_mirror *mirror;
    uint64_t ask;
};

static void on_more_said(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct heard *heard = arg;
    struct mirror_follow *follow = find_by_ask(heard->mirror, heard->ask);

    free(heard);
    if (err || !follow)
        return;
    follow->deaf = reply->type == PD_REDIS_INTEGER && reply->integer == 0 ? follow->deaf + 1 : 0;
}

static void say_more(struct mirror_follow *follow)
{
    struct heard *heard = PD_NEW(struct heard);
    struct pd_mirror_message message = {
        .word = PD_MIRROR_MORE, .ask = follow->ask, .number = follow->taken_bytes};
    struct pd_err err;

    *heard = (struct heard){follow->mirror, follow->ask};
    follow->said_ms = pd_mirror_now_ms(follow->mirror);
    follow->told_bytes = follow->taken_bytes;
    if (pd_mirror_say(follow->mirror, follow->peer, &message, on_more_said, heard, &err) < 0)
        free(heard);
}

/* Some were missed: from there on, again. */
static void follow_again(struct mirror_follow *follow)
{
    if (++follow->stuck > STUCK_MAX)
        break_off(follow, garbled);
    else
        begin_following(follow);
}

static void on_events(struct mirror_follow *follow, const struct pd_mirror_message *message)
{
    const char *at = message->payload, *json;
    size_t left = message->payload_len, len, output_bytes;
    struct pd_err err;
    uint64_t last_seq = pd_execution_last_seq(follow->execution);
    int rc = 0;

    follow->taken_bytes += left;
    while (rc == 0 && pd_mirror_next_event(&at, &left, &json, &len, &output_bytes, &err) == 1)
        rc = pd_execution_follow(follow->execution, json, len, output_bytes, &err);
    if (pd_execution_last_seq(follow->execution) > last_seq)
        follow->stuck = 0;
    if (pd_execution_is_done(follow->execution))
        be_over(follow);
    else if (rc < 0 || left > 0)
        follow_again(follow);
    else if (follow->taken_bytes - follow->told_bytes >= ACK_BYTES)
        say_more(follow);
}

void pd_mirror_follow_heard(struct pd_mirror *mirror, const struct pd_mirror_message *message)
{
    struct mirror_follow *follow = find_by_ask(mirror, message->ask);

    if (!follow || strcmp(follow->peer, message->from) != 0)
        return;
    if (message->word == PD_MIRROR_GONE) {
        seek(follow);
        return;
    }
    follow->heard_ms = pd_mirror_now_ms(mirror);
    follow->lost_ms = 0;
    if (message->word == PD_MIRROR_EVENTS)
        on_events(follow, message);
    else if (message->number > pd_execution_last_seq(follow->execution) + 1)
        follow_again(follow); /* the last ones */
}

/* ---- how it ended, of the ledger ---- */

static void on_last_events(void *arg, struct pd_buf *text, const struct pd_err *err)
{
    struct mirror_follow *follow = arg;

    follow->asking = false;
    if (follow->state == ENDING && err && err->kind != PD_NOT_FOUND) {
        follow->state = SEEKING; /* again, soon */
    } else if (follow->state == ENDING) {
        if (!err)
            pd_mirror_end_take(follow->execution, text);
        if (!pd_execution_is_done(follow->execution) && follow->end.has_cause)
            pd_mirror_end_make(follow->execution, follow->run, follow->end.cause);
        if (pd_execution_is_done(follow->execution))
            be_over(follow);
        else
            break_off(follow, unkept);
    }
    settle(follow);
}

static void on_row(void *arg, struct pd_buf *text, const struct pd_err *err)
{
    struct mirror_follow *follow = arg;
    struct pd_ledger *ledger = follow->mirror->config.ledger;
    struct pd_err why;

    follow->asking = false;
    if (follow->state != SEEKING) {
        settle(follow);
    } else if (err && err->kind == PD_NOT_FOUND && follow->sure) {
        break_off(follow, gone);
    } else if (!err && pd_mirror_end_read(text, &follow->end) && follow->end.is_done &&
               ledger->ops->events(ledger, follow->run, NULL, on_last_events, follow, &why) == 0) {
        follow->state = ENDING;
        follow->asking = true;
    }
}

/* ---- seeking ---- */

/* Nobody has said to have it: what does the ledger know? That it knows nothing, either, counts
 * when all have answered, and not just after Redis has come back. */
static void ask_ledger(struct mirror_follow *follow, bool all_answered)
{
    struct pd_mirror *mirror = follow->mirror;
    struct pd_ledger *ledger = mirror->config.ledger;
    struct pd_err err;

    follow->sure = all_answered && mirror->up_since_ms > 0 &&
                   pd_mirror_now_ms(mirror) - mirror->up_since_ms >= PD_MIRROR_TRUST_MS;
    follow->asking = ledger->ops->get(ledger, follow->run, NULL, on_row, follow, &err) == 0;
}

/* The first time that it is found. */
static void be_found(struct mirror_follow *follow, const struct pd_mirror_message *here)
{
    struct pd_mirror *mirror = follow->mirror;

    if (strcmp(here->from, mirror->name) == 0) { /* it has come to us meanwhile */
        struct pd_execution *execution = pd_executions_find(mirror->config.executions, follow->run);
        const struct pd_err err = {.kind = PD_UNAVAILABLE, .msg = "it has just ended"};
        unlist(follow);
        follow->state = OVER;
        tell_waiters(follow, execution ? NULL : &err, execution);
        return;
    }
    pd_strcpy(follow->peer, sizeof follow->peer, here->from);
    follow->born = here->born;
    follow->lost_ms = 0;
    follow->execution =
        pd_executions_mirror(mirror->config.executions, follow->run, here->key, here->number);
    begin_following(follow);
    tell_waiters(follow, NULL, follow->execution);
}

static void on_where(void *arg, const struct pd_err *err, const struct pd_mirror_message *here)
{
    struct mirror_follow *follow = arg;

    follow->asking = false;
    if (follow->state != SEEKING) {
        settle(follow);
    } else if (here && !follow->execution) {
        be_found(follow, here);
    } else if (!follow->execution) {
        unlist(follow);
        follow->state = OVER;
        tell_waiters(follow, err, NULL);
    } else if (here && here->born == follow->born && strcmp(here->from, follow->peer) == 0) {
        begin_following(follow);
    } else if (here) {
        break_off(follow, anew);
    } else {
        ask_ledger(follow, err->kind == PD_NOT_FOUND);
    }
}

static void seek(struct mirror_follow *follow)
{
    struct pd_mirror *mirror = follow->mirror;
    uint64_t now_ms = pd_mirror_now_ms(mirror);
    struct pd_err err;

    say_stop(follow);
    follow->state = SEEKING;
    if (follow->lost_ms == 0)
        follow->lost_ms = now_ms;
    if (now_ms - follow->sought_ms < PD_MIRROR_BEAT_MS)
        return; /* a tick will do it */
    follow->sought_ms = now_ms;
    if (!follow->asking)
        follow->asking =
            pd_mirror_ask(mirror, PD_MIRROR_WHERE, follow->run, NULL, on_where, follow, &err) == 0;
}

/* ---- time ---- */

static void follow_tick(struct mirror_follow *follow, uint64_t now_ms)
{
    bool up = pd_redis_is_up(follow->mirror->config.redis);

    if (pd_executions_find(follow->mirror->config.executions, follow->run)) {
        break_off(follow, anew); /* it is ours by now */
        return;
    }
    if (!up && follow->lost_ms == 0)
        follow->lost_ms = now_ms;
    if (!up)
        follow->heard_ms = now_ms; /* it cannot be heard: that is no silence */
    if (follow->lost_ms > 0 && now_ms - follow->lost_ms > PD_MIRROR_AWAY_MS)
        break_off(follow, away);
    else if (!up)
        return;
    else if (follow->state == SEEKING && !follow->asking &&
             now_ms - follow->sought_ms >= PD_MIRROR_BEAT_MS)
        seek(follow);
    else if (follow->state != FOLLOWING)
        return;
    else if (follow->deaf >= DEAF_MAX || now_ms - follow->heard_ms > PD_MIRROR_SILENT_MS)
        seek(follow);
    else if (now_ms - follow->said_ms >= PD_MIRROR_BEAT_MS)
        say_more(follow);
}

void pd_mirror_follows_tick(struct pd_mirror *mirror)
{
    uint64_t now_ms = pd_mirror_now_ms(mirror);
    struct pd_ring *next;

    for (struct pd_ring *at = mirror->followed.next; at != &mirror->followed; at = next) {
        struct mirror_follow *follow = PD_CONTAINER_OF(at, struct mirror_follow, in_mirror);
        next = at->next;
        if (is_done_with(follow)) {
            say_stop(follow);
            follow_free(follow);
        } else if (follow->execution && follow->state != OVER && follow->state != ENDING) {
            follow_tick(follow, now_ms);
        }
    }
}

void pd_mirror_follows_begun(struct pd_mirror *mirror)
{
    for (struct pd_ring *at = mirror->followed.next; at != &mirror->followed; at = at->next) {
        struct mirror_follow *follow = PD_CONTAINER_OF(at, struct mirror_follow, in_mirror);
        if (follow->state == FOLLOWING)
            begin_following(follow);
    }
}

void pd_mirror_follows_close(struct pd_mirror *mirror)
{
    const struct pd_err err = {.kind = PD_CANCELED, .msg = "the service is stopping"};
    struct pd_ring *next;

    for (struct pd_ring *at = mirror->followed.next; at != &mirror->followed; at = next) {
        struct mirror_follow *follow = PD_CONTAINER_OF(at, struct mirror_follow, in_mirror);
        next = at->next;
        tell_waiters(follow, &err, NULL);
        be_over(follow);
        if (is_done_with(follow))
            follow_free(follow);
    }
}

/* ---- asking ---- */

struct pd_execution *pd_mirror_find(struct pd_mirror *mirror, const char *run)
{
    struct mirror_follow *follow = pd_strmap_get(&mirror->follows, run);

    return follow ? follow->execution : NULL;
}

int pd_mirror_follow(struct pd_mirror *mirror, const char *run, pd_mirror_follow_cb cb, void *arg,
                     struct pd_err *err)
{
    struct mirror_follow *follow = pd_strmap_get(&mirror->follows, run);
    struct waiter *waiter;
    int rc;

    if (!follow && mirror->follows.count >= PD_MIRROR_FOLLOWS_MAX)
        return pd_err_set(err, PD_LIMIT, "too many runs of other replicas are watched");
    if (!follow) {
        follow = PD_NEW(struct mirror_follow);
        follow->mirror = mirror;
        pd_ring_init(&follow->waiters);
        rc = pd_mirror_ask(mirror, PD_MIRROR_WHERE, run, NULL, on_where, follow, err);
        if (rc < 0) {
            free(follow);
            return rc;
        }
        follow->asking = true;
        pd_strcpy(follow->run, sizeof follow->run, run);
        pd_strmap_add(&mirror->follows, follow->run, follow);
        pd_ring_append(&mirror->followed, &follow->in_mirror);
        pd_mirror_ref(mirror);
    }
    waiter = PD_NEW(struct waiter);
    waiter->cb = cb;
    waiter->arg = arg;
    pd_ring_append(&follow->waiters, &waiter->in_follow);
    pd_mirror_wake(mirror);
    return 0;
}
