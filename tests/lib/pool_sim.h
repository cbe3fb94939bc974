/* One pool in simulated time, driven by pd_decide alone: sandboxes that take a
 * random time to start and to end, creations that fail, deaths, claims and
 * releases, changes of the spec. Everything follows from the seed. */
#ifndef PD_TESTS_LIB_POOL_SIM_H
#define PD_TESTS_LIB_POOL_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/decide.h"
#include "controller/peak.h"

#define POOL_SIM_MEMBERS_MAX 64

struct pool_sim_member {
    struct pd_view_member view;
    char id[16];
    char template_hash[PD_TEMPLATE_HASH_BYTES];
    struct pd_time due; /* when its creation, start or end is done */
    bool fails;         /* its creation or start will fail */
    bool claimed_once;
};

struct pool_sim {
    uint64_t random;
    struct pd_time now;
    struct pd_pool_spec spec;
    struct pool_sim_member members[POOL_SIM_MEMBERS_MAX];
    size_t count;
    unsigned ids;
    struct pd_growth growth;
    struct pd_peak in_use;
    struct pd_peak needed;
    struct pd_pool_status previous;
    int queued;
    int blocked;
    int64_t wait_ms;
    bool deleting;
    struct pd_time drain_begun;
    int64_t start_ms;                          /* longest time that a sandbox takes to start */
    int64_t end_ms;                            /* likewise to end */
    int fail_percent;                          /* of creations */
    char bad_template[PD_TEMPLATE_HASH_BYTES]; /* sandboxes of it never become ready */
};

void pool_sim_init(struct pool_sim *sim, uint64_t seed);

/* 0 .. n-1 */
int pool_sim_random(struct pool_sim *sim, int n);

/* What decide gets to see now; `members` holds at least count of them. */
struct pd_view pool_sim_view(struct pool_sim *sim, struct pd_view_member *members);

/* Do what the plan says. */
void pool_sim_apply(struct pool_sim *sim, const struct pd_plan *plan);

/* Let time pass, and finish what is due by then. */
void pool_sim_advance(struct pool_sim *sim, int64_t ms);

/* Claim a warm one that is not spent; false when there is none. */
bool pool_sim_claim(struct pool_sim *sim);
/* Some run ends; false when there is none. */
bool pool_sim_release(struct pool_sim *sim, bool usable);
/* Some member dies of itself. */
void pool_sim_die(struct pool_sim *sim);

int pool_sim_count(const struct pool_sim *sim, enum pd_sandbox_phase phase);

#endif
