/* Questions to all replicas. Each of them answers, ourselves included, and Redis tells how
 * many there are: so that nobody's having it is known as soon as all have said so. */
#include <stdlib.h>
#include <string.h>

#include "api/mirror_state.h"
#include "common/mem.h"

#define UNKNOWN SIZE_MAX

struct ask {
    struct pd_ring in_mirror;
    struct pd_mirror *mirror;
    uint64_t number;
    uint64_t due_ms;
    size_t asked;    /* replicas that have heard it; UNKNOWN: Redis has not answered */
    size_t answered; /* that have nothing better than what is in `best` */
    bool has_best;
    struct pd_mirror_message best; /* of a run that has ended: another may have one that has not */
    mirror_ask_cb cb;
    void *arg;
};

static void ask_end(struct ask *ask, const struct pd_err *err,
                    const struct pd_mirror_message *answer)
{
    struct pd_mirror *mirror = ask->mirror;

    pd_ring_remove(&ask->in_mirror);
    mirror->n_asks--;
    ask->cb(ask->arg, answer ? NULL : err, answer);
    free(ask);
}

static void end_with_best(struct ask *ask, int kind, const char *why)
{
    struct pd_err err;

    pd_err_set(&err, kind, "%s", why);
    ask_end(ask, &err, ask->has_best ? &ask->best : NULL);
}

static void maybe_end(struct ask *ask)
{
    if (ask->answered >= ask->asked)
        end_with_best(ask, PD_NOT_FOUND, "no replica has it");
}

static struct ask *find(struct pd_mirror *mirror, uint64_t number)
{
    for (struct pd_ring *at = mirror->asks.next; at != &mirror->asks; at = at->next) {
        struct ask *ask = PD_CONTAINER_OF(at, struct ask, in_mirror);
        if (ask->number == number)
            return ask;
    }
    return NULL;
}

void pd_mirror_ask_heard(struct pd_mirror *mirror, const struct pd_mirror_message *message)
{
    struct ask *ask = find(mirror, message->ask);

    if (!ask)
        return;
    switch (message->word) {
    case PD_MIRROR_NONE:
        break;
    case PD_MIRROR_HERE:
    case PD_MIRROR_ENDED:
        if (message->word == PD_MIRROR_HERE && !message->done) {
            ask_end(ask, NULL, message);
            return;
        }
        ask->has_best = true;
        ask->best = *message;
        break;
    default:
        ask_end(ask, NULL, message);
        return;
    }
    ask->answered++;
    maybe_end(ask);
}

/* An answer of a replica may come before Redis's own. */
struct heard {
    struct pd_mirror *mirror;
    uint64_t number;
};

static void on_asked(void *arg, const struct pd_err *err, const struct pd_redis_reply *reply)
{
    struct heard *heard = arg;
    struct ask *ask = find(heard->mirror, heard->number);

    free(heard);
    if (!ask)
        return;
    if (err) {
        end_with_best(ask, PD_UNAVAILABLE, "Redis did not answer");
        return;
    }
    ask->asked =
        reply->type == PD_REDIS_INTEGER && reply->integer > 0 ? (size_t)reply->integer : UNKNOWN;
    maybe_end(ask);
}

int pd_mirror_ask(struct pd_mirror *mirror, enum pd_mirror_word word, const char *run,
                  const char *key_id, mirror_ask_cb cb, void *arg, struct pd_err *err)
{
    struct pd_mirror_message message = {.word = word, .ask = mirror->last_ask + 1};
    struct heard *heard;
    struct ask *ask;
    int rc;

    if (!pd_mirror_is_run(run))
        return pd_err_set(err, PD_NOT_FOUND, "there is no such execution");
    if (mirror->n_asks >= PD_MIRROR_ASKS_MAX)
        return pd_err_set(err, PD_LIMIT, "too much is asked of other replicas");
    pd_strcpy(message.run, sizeof message.run, run);
    pd_strcpy(message.key, sizeof message.key, key_id ? key_id : PD_MIRROR_ANYBODY);
    heard = PD_NEW(struct heard);
    *heard = (struct heard){mirror, message.ask};
    rc = pd_mirror_say(mirror, NULL, &message, on_asked, heard, err);
    if (rc < 0) {
        free(heard);
        return rc;
    }
    ask = PD_NEW(struct ask);
    *ask = (struct ask){
        .mirror = mirror,
        .number = ++mirror->last_ask,
        .due_ms = pd_mirror_now_ms(mirror) + PD_MIRROR_ASK_MS,
        .asked = UNKNOWN,
        .cb = cb,
        .arg = arg,
    };
    pd_ring_append(&mirror->asks, &ask->in_mirror);
    mirror->n_asks++;
    pd_mirror_wake(mirror);
    return 0;
}

void pd_mirror_asks_tick(struct pd_mirror *mirror)
{
    uint64_t now_ms = pd_mirror_now_ms(mirror);

    while (!pd_ring_is_empty(&mirror->asks)) {
        struct ask *ask = PD_CONTAINER_OF(mirror->asks.next, struct ask, in_mirror);
        if (ask->due_ms > now_ms) /* they are in order */
            return;
        end_with_best(ask, PD_UNAVAILABLE, "not all replicas have answered");
    }
}

void pd_mirror_asks_close(struct pd_mirror *mirror)
{
    const struct pd_err err = {.kind = PD_CANCELED, .msg = "the service is stopping"};

    while (!pd_ring_is_empty(&mirror->asks))
        ask_end(PD_CONTAINER_OF(mirror->asks.next, struct ask, in_mirror), &err, NULL);
}

/* ---- canceling and showing ---- */

struct question {
    pd_mirror_cb cb;
    void *arg;
};

static void on_answer(void *arg, const struct pd_err *err, const struct pd_mirror_message *answer)
{
    struct question *question = arg;
    struct pd_err ended = {.kind = 0};

    if (answer && answer->word == PD_MIRROR_ENDED) {
        pd_err_set(&ended, PD_CONFLICT, "it is done already");
        err = &ended;
    }
    question->cb(question->arg, err, answer ? answer->payload : NULL,
                 answer ? answer->payload_len : 0);
    free(question);
}

static int put_question(struct pd_mirror *mirror, enum pd_mirror_word word, const char *run,
                        const char *key_id, pd_mirror_cb cb, void *arg, struct pd_err *err)
{
    struct question *question = PD_NEW(struct question);
    int rc;

    *question = (struct question){cb, arg};
    rc = pd_mirror_ask(mirror, word, run, key_id, on_answer, question, err);
    if (rc < 0)
        free(question);
    return rc;
}

int pd_mirror_cancel(struct pd_mirror *mirror, const char *run, const char *key_id, pd_mirror_cb cb,
                     void *arg, struct pd_err *err)
{
    return put_question(mirror, PD_MIRROR_CANCEL, run, key_id, cb, arg, err);
}

int pd_mirror_show(struct pd_mirror *mirror, const char *run, const char *key_id, pd_mirror_cb cb,
                   void *arg, struct pd_err *err)
{
    return put_question(mirror, PD_MIRROR_LOOK, run, key_id, cb, arg, err);
}
