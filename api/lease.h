/* What one replica may let in of a key's rate: the arithmetic alone, without Redis,
 * loop or clock.
 *
 * A rate of R runs in S seconds is a bucket of R tokens, filled again by R / S a second.
 * Where there is Redis, the bucket is there, one for all replicas (rate_script.h), and a
 * replica holds a block of tokens that it took out of it: most runs cost no round trip.
 * What it holds counts as in the bucket still, so that no more than R are saved up
 * anywhere; it is good for PD_LEASE_USE_MS, then it must be renewed or is lost.
 *
 * Beside it each replica keeps a bucket of its part of the rate, R / n, from which every
 * run is taken too. It decides while Redis does not answer ("alone"), and always where
 * there is none. What is let in so is charged when Redis answers again. */
#ifndef PD_API_LEASE_H
#define PD_API_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/redis_reply.h"
#include "common/time.h"

#define PD_LEASE_USE_MS 2000  /* that held tokens are good for, from when they were asked for */
#define PD_LEASE_LIFE_MS 4000 /* that Redis counts them as held, from its answer on */
#define PD_LEASE_TICK_MS 1000 /* between two looks at what is held and not used */
#define PD_LEASE_EMPTY_MS 50  /* at least, between questions to an empty bucket */
#define PD_LEASE_BLOCK_MAX 1024

/* What is left of a key's rate, as it is told with an answer. */
struct pd_rate {
    int limit; /* runs in `seconds`; 0: the key has no rate */
    int seconds;
    int remaining;     /* runs that could begin now */
    int reset_s;       /* until all of them are there again */
    int retry_after_s; /* until one is; 0 when one is */
};

struct pd_lease {
    int limit; /* the key's, whole */
    int seconds;
    int replicas; /* 1.. */
    bool alone;   /* Redis does not answer, or there is none */

    /* this replica's part, as of `refilled` */
    double own;
    struct pd_time refilled;

    int held; /* tokens, good until `valid` */
    struct pd_time valid;
    bool asking;
    struct pd_time asked;
    int owed;      /* runs that were let in and not taken from the bucket */
    int used;      /* since the last tick */
    int used_then; /* in the tick before */

    /* as Redis answered last */
    double left;
    struct pd_time told;
    struct pd_time empty_until; /* unset: it is not known to be empty */
};

/* limit: 1.. runs in 1.. seconds. alone: there is no Redis. */
void pd_lease_init(struct pd_lease *lease, int limit, int seconds, bool alone);
/* Before each use: how the key and the replicas are now. */
void pd_lease_set(struct pd_lease *lease, int limit, int seconds, int replicas);

enum pd_lease_verdict {
    PD_LEASE_NO,  /* none is left */
    PD_LEASE_YES, /* one was taken */
    PD_LEASE_ASK, /* nobody knows before Redis was asked */
};
enum pd_lease_verdict pd_lease_take(struct pd_lease *lease, struct pd_time now);
/* So many runs more have been let in; they are taken as far as there are tokens. */
void pd_lease_take_more(struct pd_lease *lease, int count, struct pd_time now);
void pd_lease_tell(const struct pd_lease *lease, struct pd_time now, struct pd_rate *ret_rate);

/* ---- asking ---- */

struct pd_lease_question {
    int waiting; /* runs that wait for the answer */
    int block;   /* tokens wanted beyond these, as far as there are plenty */
    int held;    /* tokens that are kept */
    int back;    /* tokens given back */
    int owed;    /* tokens to be taken, as far as there are */
};
/* Whether it should be asked for more now, with so many waiting; then it is asking. */
bool pd_lease_ask(struct pd_lease *lease, int waiting, struct pd_time now,
                  struct pd_lease_question *ret_question);
/* Each PD_LEASE_TICK_MS: what was not used goes back, the rest is renewed. Likewise. */
bool pd_lease_tick(struct pd_lease *lease, struct pd_time now,
                   struct pd_lease_question *ret_question);

struct pd_lease_answer {
    int granted;
    int left;        /* in the bucket */
    int64_t wait_us; /* until there is one; 0: there is one */
};
/* {granted, left, wait in us}; false: that is none, or no possible one. */
bool pd_lease_answer_parse(const struct pd_redis_reply *reply,
                           const struct pd_lease_question *question,
                           struct pd_lease_answer *ret_answer);
/* Redis has answered; or it has not, and nobody knows whether it was carried out: what was
 * owed is owed still, what was given back is lost. */
void pd_lease_answered(struct pd_lease *lease, const struct pd_lease_question *question,
                       const struct pd_lease_answer *answer, struct pd_time now);
void pd_lease_failed(struct pd_lease *lease, const struct pd_lease_question *question);

#endif
