/* What ecs_run.c (creates, their batches' making, life) and ecs_batch.c (one RunTask)
 * share, and nobody else. */
#ifndef PD_CONTROLLER_ECS_BATCH_H
#define PD_CONTROLLER_ECS_BATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "controller/ecs_intent.h"
#include "controller/ecs_place.h"
#include "controller/ecs_run.h"

#define PD_ECS_WAITERS_MAX 4

/* A sandbox that is asked for, until it is told. */
struct pd_ecs_create {
    TAILQ_ENTRY(pd_ecs_create) entry; /* while it waits */
    char id[PD_SANDBOX_ID_MAX];
    struct pd_pool_spec *spec;
    struct pd_ecs_launch launch; /* its texts are ours */
    struct {
        pd_provider_create_cb cb;
        void *arg;
    } waiters[PD_ECS_WAITERS_MAX];
    size_t n_waiters;
    char arn[PD_ECS_ARN_MAX]; /* known already: only to be told */
};
TAILQ_HEAD(pd_ecs_creates, pd_ecs_create);

/* One RunTask: its creates are its own until they are told or given back. */
struct pd_ecs_batch {
    TAILQ_ENTRY(pd_ecs_batch) entry;
    struct pd_ecs_run *run;
    struct pd_ecs_intent *intent;
    bool again; /* the intent is one whose outcome nobody knew */
    struct pd_ecs_create *creates[PD_ECS_BATCH_MAX];
    size_t count;
};

struct pd_ecs_run {
    uv_loop_t *loop;
    struct pd_ecs_client *client;
    struct pd_ecs_book *book;
    struct pd_ecs_intents *intents;
    char instance[PD_ECS_TOKEN_MAX];
    char started_by[PD_ECS_TOKEN_MAX + 16];
    uint64_t serial;
    uv_timer_t turn;
    size_t n_creates;
    struct pd_ecs_creates waiting;
    TAILQ_HEAD(, pd_ecs_batch) batches;
    struct pd_ecs_places places;
    bool closing, turn_closed;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- ecs_run.c ---- */

/* Every waiter hears; the create is gone. err NULL: the task is `arn`. */
void pd_ecs_create_tell(struct pd_ecs_run *run, struct pd_ecs_create *create,
                        const struct pd_err *err, const char *arn);
/* It waits again, in front. */
void pd_ecs_create_back(struct pd_ecs_run *run, struct pd_ecs_create *create);
void pd_ecs_run_maybe_closed(struct pd_ecs_run *run);

/* ---- ecs_batch.c ---- */

/* Whatever it is that is asked for: an intent that is open says it once more, for as
 * many as it is about; what it leaves over waits again. Frees the batch in the end. */
void pd_ecs_batch_send(struct pd_ecs_batch *batch);

#endif
