/* Decide: the heart of paddock. What a pool should be, held against what it is,
 * gives what to do next.
 *
 *   pd_decide(spec, view, now, &plan)
 *
 * is a pure function: no I/O, no clock, no randomness, no logging, no memory of
 * its own. Whatever it needs to know is in its arguments, whatever it wants is
 * in the plan. Applied again to the outcome of its own plan, it wants nothing
 * more. The order of the members makes no difference.
 *
 * Promises, each a property in tests/unit/decide_properties_test.c:
 *   - never more than maxSize exist, whatever their phase
 *   - a claimed sandbox is never destroyed by scaling or rolling; at most it is
 *     retired, which means that it goes when its run has ended. Only a pool that
 *     is being deleted ends it, at the drain's deadline
 *   - what was created but is not visible yet is not created twice
 *   - a template that does not work costs no sandbox that does */
#ifndef PD_CONTROLLER_DECIDE_H
#define PD_CONTROLLER_DECIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/pool.h"
#include "common/store.h"
#include "common/time.h"
#include "controller/growth.h"

/* ---- what is ---- */

/* One sandbox of the pool, as observed. */
struct pd_view_member {
    const char *id;
    const char *template_hash;
    enum pd_sandbox_phase phase;
    struct pd_time phase_since;
    struct pd_time created;
    bool spent; /* marked to be recycled, or claimed for what will be its last run */
    bool worn;  /* near its last run: to be replaced before it is spent */
    bool bound; /* has served one key and may serve no other */
};

struct pd_view {
    const struct pd_view_member *members;
    size_t n_members;
    int expected; /* creations under way that are not among the members yet */
    bool deleting;
    struct pd_time drain_begun; /* deleting: since when */
    bool may_act; /* the provider answers and what it has is known; else only status is decided */

    int peak_in_use;  /* most sandboxes in use at once during the last scaleDownAfter */
    int peak_needed;  /* greatest plan.needed of that time */
    int queued;       /* runs waiting */
    int blocked;      /* runs known to wait although sandboxes were free, for other keys */
    int64_t wait_ms;  /* what a run that joins the queue must expect */
    int64_t start_ms; /* what a sandbox takes from its creation until it is warm */
    const struct pd_growth *growth;

    int64_t generation;
    int64_t wall_ms;                       /* now, for people */
    const struct pd_pool_status *previous; /* what the last plan said */
    const char *provider_error;            /* "" while the provider answers */
    const char *isolation_error;           /* why isolation is weaker than asked, or "" */
    const char *source_error;              /* why the newest text is not in force, or "" */
    const char *conflict;                  /* who else declares the pool, or "" */
};

/* ---- what to do ---- */

enum pd_why {
    PD_WHY_SPENT,     /* its own record says why */
    PD_WHY_STUCK,     /* never became ready */
    PD_WHY_EXCESS,    /* more than are wanted */
    PD_WHY_OUTDATED,  /* of an earlier template */
    PD_WHY_OLD,       /* recycle.afterAge */
    PD_WHY_WORN,      /* recycle.afterRuns is near */
    PD_WHY_OTHER_KEY, /* makes room for another key's runs */
    PD_WHY_POOL_GONE, /* its pool is being deleted */
    PD_WHY_OVERDUE,   /* its pool is being deleted, and its run takes too long */
};
/* A sentence. */
const char *pd_why_text(enum pd_why why);

enum pd_action_type {
    PD_ACTION_DESTROY, /* nobody is in it: end it */
    PD_ACTION_RETIRE,  /* somebody is in it: mark it to be recycled after the run */
    PD_ACTION_EVICT,   /* somebody is in it: end it all the same; only when a drain is overdue */
};

struct pd_action {
    enum pd_action_type type;
    enum pd_why why;
    const char *id; /* the member's own */
};

/* What does not fit waits for the next plan, which comes at once. */
#define PD_PLAN_ACTIONS_MAX 32

struct pd_plan {
    int create; /* this many new ones */
    struct pd_action actions[PD_PLAN_ACTIONS_MAX];
    size_t n_actions;
    bool drained; /* the pool is to be deleted and nothing of it is left */
    int wanted;   /* sandboxes that should exist */
    int needed;   /* in use or justified by the queue at this moment: feeds peak_needed */
    struct pd_pool_status status;
    struct pd_time wake; /* when to decide again if nothing happens; unset: no need to */
};

void pd_decide(const struct pd_pool_spec *spec, const struct pd_view *view, struct pd_time now,
               struct pd_plan *ret_plan);

/* How long a member may take to become ready before it is replaced. */
int64_t pd_start_deadline_ms(enum pd_provider_kind provider);

/* How long the runs of a pool that is being deleted may go on: as long as any
 * run may take, but PD_DRAIN_MS_MAX at most. */
#define PD_DRAIN_MS_MAX (10 * 60 * 1000)
int64_t pd_drain_deadline_ms(const struct pd_pool_spec *spec);

#endif
