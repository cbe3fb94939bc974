/* The controller's insides, shared by its source files and nobody else:
 *
 *   controller.c  life, the work queue, the providers' events, health
 *   inventory.c   what exists at a provider, joined with the store: adoption
 *   reconcile.c   one pool: view, decide, act
 *   report.c      what people are told: status and events
 *   life.c        one sandbox, from its creation to its end
 *   linking.c     its link
 *   op.c          questions to providers
 *
 * Everything that waits for a time waits in the one work queue, under the key of
 * its pool or of its provider ("provider:docker"); what is due is found out by
 * looking again, so a wake-up too many or too early does no harm. */
#ifndef PD_CONTROLLER_STATE_H
#define PD_CONTROLLER_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/link.h"
#include "common/metrics.h"
#include "common/store.h"
#include "controller/controller.h"
#include "controller/decide.h"
#include "controller/expect.h"
#include "controller/growth.h"
#include "controller/peak.h"
#include "controller/provider.h"
#include "controller/refill.h"
#include "controller/reserve.h"
#include "controller/workqueue.h"

#define PD_PROVIDER_KINDS (PD_PROVIDER_ECS + 1)

/* What the controller knows of a provider. */
struct pd_provider_state {
    struct pd_controller *controller;
    struct pd_provider *provider; /* NULL: not configured */
    const char *key;              /* in the work queue */
    bool up;                      /* by its last event */
    bool listed;                  /* since it came up */
    bool list_wanted;
    bool listing;
    int list_failures;         /* in a row */
    unsigned list_serial;      /* answers to earlier questions are not heard */
    struct pd_time list_begun; /* the last one, answered or not; unset: list at once */
    struct pd_time last_look;  /* closing: since when it is listed once more; unset: not yet */
    char error[PD_REASON_MAX]; /* a sentence while it does not answer, else "" */
};

/* What the controller knows of a pool, beyond the store (pd_pool.controller_data). */
struct pd_pool_state {
    struct pd_peak in_use;
    struct pd_peak needed;
    struct pd_growth growth;
    int64_t start_ms;                        /* moving average from creation to warm */
    uint64_t refused_seen;                   /* pd_demand.no_sandbox_for_key at the last look */
    struct pd_time refused_at;               /* when that last grew */
    char ready_hash[PD_TEMPLATE_HASH_BYTES]; /* the template that the provider is ready for */
    char hello_hash[PD_TEMPLATE_HASH_BYTES]; /* the template that pd_pool.hello speaks of */
    bool preparing;
    unsigned prepare_serial;      /* answers to given-up questions are not heard */
    struct pd_time prepare_until; /* given up then */
    int short_lives;              /* generations in a row that died as soon as they were ready */
    struct pd_time short_life_at; /* the last of them */
    struct pd_refill refill;
    struct pd_reserve reserve;
    struct pd_failures failures;
    bool rolling;               /* members of an earlier template are being replaced */
    struct pd_time drain_begun; /* when its deletion was first seen */
};

enum pd_op_kind { PD_OP_NONE, PD_OP_CREATE, PD_OP_LINK, PD_OP_DESTROY };

/* What the controller knows of a sandbox, beyond the store (pd_sandbox.controller_data). */
struct pd_sandbox_state {
    struct pd_controller *controller;
    struct pd_provider_state *at;
    struct pd_sandbox *sandbox;
    enum pd_op_kind op;      /* the provider's answer that is waited for */
    unsigned op_serial;      /* answers to given-up questions are not heard */
    struct pd_time op_until; /* given up then */
    int attempts;            /* of the present op */
    struct pd_time retry_at;
    struct pd_link *link;    /* from its opening on; sandbox->link only from ready on */
    uint32_t epoch;          /* the last link's */
    bool adopted;            /* made by an earlier life */
    bool was_ready;          /* its agent has answered once */
    struct pd_time ready_at; /* the first time */
    int relinks;             /* chances used since it was ready, or the provider came up */
    uint32_t refilled;       /* runs for which the next interpreter has been seen */
};

/* A question to a provider that waits for its answer. Outlives the controller
 * if need be: then `controller` is NULL and the answer only tidied away. */
struct pd_op {
    struct pd_controller *controller;
    struct pd_op *next;
    struct pd_op **link; /* what points here */
    struct pd_provider_state *at;
    struct pd_provider *provider;
    enum pd_op_kind kind;
    unsigned serial;
    char id[PD_SANDBOX_ID_MAX]; /* the sandbox; or the pool that is prepared */
    char hash[PD_TEMPLATE_HASH_BYTES];
};

struct pd_controller {
    uv_loop_t *loop;
    struct pd_store *store;
    const struct pd_languages *languages;
    struct pd_metrics *metrics;
    struct pd_share (*share)(void *arg, const struct pd_pool_spec *spec); /* NULL: all of it */
    void *share_arg;
    int (*others)(void *arg, const char *pool);
    bool (*heard)(void *arg);
    struct pd_time (*now)(void);
    struct pd_provider_state providers[PD_PROVIDER_KINDS];
    struct pd_workqueue *queue;
    struct pd_expect *expect;
    struct pd_op *ops;
    uv_timer_t timer; /* for the queue's next */
    uv_idle_t idle;   /* active while keys are in line */
    struct pd_time started;
    bool closing;
    bool destroy_all;
    struct pd_time close_until;
    int handles; /* open: timer, idle, links that are closing */
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- controller.c ---- */

/* Put a key in line, now or for later. */
void pd_controller_enqueue(struct pd_controller *controller, const char *key);
void pd_controller_enqueue_at(struct pd_controller *controller, const char *key,
                              struct pd_time when);
/* Work on what is due; the timer and tests call it. */
void pd_controller_tick(struct pd_controller *controller);
/* One thing that the controller has to wait for when it closes is gone. */
void pd_controller_release(struct pd_controller *controller);

/* ---- op.c ---- */

struct pd_op *pd_op_new(struct pd_provider_state *at, enum pd_op_kind kind, const char *id);
void pd_op_free(struct pd_op *op);
/* The controller goes: answers that come later find nobody. */
void pd_op_abandon_all(struct pd_controller *controller);
/* One of a sandbox, which waits for the answer until timeout_ms have passed. */
struct pd_op *pd_op_ask(struct pd_sandbox_state *state, enum pd_op_kind kind, int64_t timeout_ms);
/* The sandbox that still waits for this answer, or NULL. */
struct pd_sandbox_state *pd_op_asker(const struct pd_op *op);
/* The question is settled, by an answer or by giving up. */
void pd_op_settle(struct pd_sandbox_state *state);
/* Ask again after a pause that grows. */
void pd_op_retry_later(struct pd_sandbox_state *state);

/* ---- inventory.c ---- */

/* Have the provider list what exists, soon. */
void pd_inventory_request(struct pd_provider_state *at);
/* List now if that is due. */
void pd_inventory_step(struct pd_provider_state *at);
/* Destroy what no record knows. */
void pd_inventory_destroy_stray(struct pd_provider_state *at, const char *id,
                                const char *provider_id, const char *why);

/* ---- reconcile.c ---- */

void pd_reconcile_pool(struct pd_controller *controller, const char *name);
struct pd_pool_state *pd_pool_state_of(struct pd_pool *pool);

/* ---- report.c ---- */

/* Write the status that the plan says, and tell what has changed since the last one. */
void pd_report_plan(struct pd_controller *controller, struct pd_pool *pool, struct pd_plan *plan);
/* So many are being made now. */
void pd_report_created(struct pd_controller *controller, const struct pd_pool *pool, int count,
                       const struct pd_plan *plan);
/* The end of this one was ordered. */
void pd_report_ordered(struct pd_controller *controller, const struct pd_sandbox *sandbox,
                       enum pd_why why);
/* Something went wrong: with one sandbox, or else (NULL) with the pool. */
void pd_report_failure(struct pd_controller *controller, struct pd_pool *pool,
                       const struct pd_sandbox *sandbox, const char *reason, const char *message);

/* ---- life.c ---- */

/* Make one: record the intent, ask the provider. */
void pd_life_begin(struct pd_controller *controller, struct pd_pool *pool);
/* Take over one that exists: to use it when it runs, else to destroy it; until
 * that is done it counts against maxSize. */
void pd_life_adopt(struct pd_controller *controller, struct pd_pool *pool,
                   const struct pd_instance *instance);
/* Go on with whatever is due. May remove the sandbox. */
void pd_life_step(struct pd_sandbox *sandbox);
/* Its creation, of which no answer came, has succeeded after all. */
void pd_life_found(struct pd_sandbox *sandbox, const char *provider_id);
/* Destroy it. Idempotent. A reason recorded earlier stays. */
void pd_life_end(struct pd_sandbox *sandbox, const char *reason);
/* The provider says it is dead, or has it no more. */
void pd_life_dead(struct pd_sandbox *sandbox, const char *reason);
/* The provider is back: what could not be done in its absence is no failure. */
void pd_life_provider_up(struct pd_sandbox *sandbox);
/* The provider does not have it: forget it. */
void pd_life_remove(struct pd_sandbox *sandbox);
/* Let go of what the controller holds of it; the record stays. */
void pd_life_detach(struct pd_sandbox *sandbox);

struct pd_pool *pd_life_pool(const struct pd_sandbox_state *state);
/* Look at it again then. */
void pd_life_step_at(struct pd_sandbox_state *state, struct pd_time when);
/* Its creation failed, or it never became ready: that slows growth. */
void pd_life_blame(struct pd_sandbox_state *state, int kind, const char *message);
/* It has died. One that dies as soon as it is ready is no good either: where
 * that happens again and again it slows growth, until one lives on. */
void pd_life_mourn(struct pd_sandbox_state *state, const char *message);
/* Its agent has answered. */
void pd_life_ready(struct pd_sandbox_state *state);

/* ---- linking.c ---- */

/* Ask the provider for a stream; the rest follows. */
void pd_linking_ask(struct pd_sandbox_state *state);
/* No link, or not any more: once more, or the end. */
void pd_linking_failed(struct pd_sandbox_state *state, const struct pd_err *err);
/* Nothing happens when there is none. */
void pd_linking_close(struct pd_sandbox_state *state);

#endif
