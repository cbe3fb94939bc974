/* What the files of the mirror share; nobody else's.
 *
 *   mirror.c          opening and closing, the channels, time
 *   mirror_ask.c      questions to all, and what they are answered
 *   mirror_follow.c   runs elsewhere that are watched here
 *   mirror_end.c      how such a run ended, of what the ledger kept
 *   mirror_tell.c     runs here that are watched elsewhere
 *   mirror_message.c  the messages */
#ifndef PD_API_MIRROR_STATE_H
#define PD_API_MIRROR_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/mirror.h"
#include "api/ring.h"
#include "common/strmap.h"

struct mirror_follow;

struct pd_mirror {
    struct pd_mirror_config config;
    char name[PD_MIRROR_NAME_BYTES];
    struct pd_redis_subscription *all, *own;
    uv_timer_t tick;
    uint64_t last_ask;
    uint64_t up_since_ms; /* on the loop's clock; 0: it is not up */
    struct pd_ring asks;
    size_t n_asks;
    struct pd_strmap follows; /* of struct mirror_follow, by run */
    struct pd_ring followed;  /* the same */
    struct pd_ring tells;
    size_t n_tells;
    size_t flying; /* bytes of events that Redis has not answered */
    size_t refs; /* answers of Redis and of the ledger that are to come, and the timer */
    bool closing;
    void (*closed)(void *closed_arg);
    void *closed_arg;
};

/* ---- mirror.c ---- */

void pd_mirror_ref(struct pd_mirror *mirror);
/* The last one of a closed mirror frees it. */
void pd_mirror_unref(struct pd_mirror *mirror);
/* Say it, to one (`to`) or to all (NULL); `from` is filled in. cb, which may be NULL: as of
 * pd_redis_command, the reply is how many have heard it. */
int pd_mirror_say(struct pd_mirror *mirror, const char *to, struct pd_mirror_message *message,
                  pd_redis_cb cb, void *arg, struct pd_err *err);
/* An answer; nobody cares whether it gets there. */
void pd_mirror_answer(struct pd_mirror *mirror, const struct pd_mirror_message *to,
                      struct pd_mirror_message *answer);
/* From now on there is something that time matters to. */
void pd_mirror_wake(struct pd_mirror *mirror);
uint64_t pd_mirror_now_ms(const struct pd_mirror *mirror);

/* ---- mirror_ask.c ---- */

/* answer: NULL where err tells (PD_NOT_FOUND, PD_UNAVAILABLE, PD_CANCELED). */
typedef void (*mirror_ask_cb)(void *arg, const struct pd_err *err,
                              const struct pd_mirror_message *answer);
/* `where`, `cancel` or `look`. 0: cb fires once, from the loop. */
int pd_mirror_ask(struct pd_mirror *mirror, enum pd_mirror_word word, const char *run,
                  const char *key_id, mirror_ask_cb cb, void *arg, struct pd_err *err);
void pd_mirror_ask_heard(struct pd_mirror *mirror, const struct pd_mirror_message *message);
void pd_mirror_asks_tick(struct pd_mirror *mirror);
void pd_mirror_asks_close(struct pd_mirror *mirror);

/* ---- mirror_follow.c ---- */

void pd_mirror_follow_heard(struct pd_mirror *mirror, const struct pd_mirror_message *message);
/* Messages come again, some of which were missed. */
void pd_mirror_follows_begun(struct pd_mirror *mirror);
void pd_mirror_follows_tick(struct pd_mirror *mirror);
void pd_mirror_follows_close(struct pd_mirror *mirror);

/* ---- mirror_tell.c ---- */

void pd_mirror_tell_heard(struct pd_mirror *mirror, const struct pd_mirror_message *message);
void pd_mirror_tells_tick(struct pd_mirror *mirror);
void pd_mirror_tells_close(struct pd_mirror *mirror);

#endif
