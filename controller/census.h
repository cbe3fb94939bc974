/* The census of a pool's members that a plan is made from, and the orders that
 * change both: who is ordered to go is no longer counted on. Part of decide, and
 * as pure. */
#ifndef PD_CONTROLLER_CENSUS_H
#define PD_CONTROLLER_CENSUS_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/decide.h"

struct pd_census_entry {
    const struct pd_view_member *member;
    bool live;
    bool outdated; /* of an earlier template, too old, or worn */
    bool worn;     /* outdated for no other reason: it serves on until its replacement does */
};

struct pd_census {
    const struct pd_pool_spec *spec;
    const struct pd_view *view;
    struct pd_time now;
    struct pd_plan *plan;
    struct pd_census_entry *entries; /* oldest first */
    size_t n;
    int live;     /* can serve, or will; expected ones included */
    int serving;  /* live and warm or claimed */
    int creating; /* live and waiting for the provider; expected ones included */
    int starting; /* live and waiting for the agent */
    int outdated; /* live, but to be replaced */
    int target;   /* live members wanted now */
    bool failing; /* new sandboxes fail: the last one did, or a stuck one is given up now */
};

bool pd_member_is_starting(const struct pd_view_member *member); /* creating included */
bool pd_member_is_stale(const struct pd_pool_spec *spec, const struct pd_view_member *member);
bool pd_census_entry_is_idle(const struct pd_census_entry *entry);

/* Count the members of census->view, whose other inputs are set. */
void pd_census_take(struct pd_census *census);
void pd_census_fini(struct pd_census *census);

/* Have the plan wake then, if not earlier. */
void pd_census_wake_at(struct pd_census *census, struct pd_time when);
/* Whether `since` lies `ms` back; if not yet, the plan wakes when it will. */
bool pd_census_is_past(struct pd_census *census, struct pd_time since, int64_t ms);

/* Order the end of a member: of one that nobody is in (asserted), or after the
 * run that is in it. What does not fit the plan stays in the census, and the
 * plan wakes at once. */
void pd_census_destroy(struct pd_census *census, struct pd_census_entry *entry, enum pd_why why);
void pd_census_retire(struct pd_census *census, struct pd_census_entry *entry, enum pd_why why);
/* Order the end of one that somebody is in, at a drain's deadline (asserted). */
void pd_census_evict(struct pd_census *census, struct pd_census_entry *entry, enum pd_why why);

#endif
