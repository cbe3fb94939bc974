/* What the files of the leader's hands (controller/maker.h) know of each other:
 * maker.c their life and the guests; maker_jobs.c wishes that are carried out;
 * maker_dead.c what dead replicas left. Nobody else includes this. */
#ifndef PD_CONTROLLER_MAKER_STATE_H
#define PD_CONTROLLER_MAKER_STATE_H

#include <stdbool.h>
#include <sys/queue.h>
#include <uv.h>

#include "common/strmap.h"
#include "controller/maker.h"

/* Of every script: KEYS[1] the lease's key, ARGV[1] the lease as this leader has it. */
#define PD_MAKER_FENCE                                                                             \
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then\n"                                              \
    "  return redis.error_reply('FENCED another replica leads')\n"                                 \
    "end\n"

struct guest {
    SLIST_ENTRY(guest) next;
    struct pd_maker *maker;
    char id[PD_REPLICA_ID_MAX];
    struct pd_provider *provider;
    int busy;        /* destroys under way */
    bool collecting; /* a list is under way, or what follows it */
};

struct job {
    LIST_ENTRY(job) next;
    struct pd_maker *maker;
    char id[PD_SANDBOX_ID_MAX];
    char replica[PD_REPLICA_ID_MAX];
    char pool[PD_POOL_NAME_MAX];
    char hash[PD_TEMPLATE_HASH_BYTES];
    struct pd_pool_spec *spec;
    bool held;     /* there was no room; asked again each second */
    bool behind;   /* for a pool that is not known like this; likewise, and when it changes */
    bool creating; /* the provider has been asked */
    struct pd_time held_since;
};

struct pd_maker {
    struct pd_maker_config config;
    struct pd_redis_script reserve, settle, forget;
    char *lease_key, *sandboxes_key, *totals_key, *wishes_key, *seen_key, *reports_key,
        *made_prefix;
    LIST_HEAD(, job) jobs;
    size_t n_jobs;
    struct pd_strmap by_id;
    SLIST_HEAD(, guest) guests;
    bool looking, again;
    int pending;    /* answers of Redis's and guests that close */
    int creating;   /* sandboxes being made, and their wishers told */
    uv_timer_t end; /* for `closed`, when nothing is pending */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- life and guests: maker.c ---- */

/* Frees a maker that is closing and waits for nothing any more. */
void pd_maker_gone(struct pd_maker *maker);
/* One less is being made; a maker that closes lets its guests go after the last. */
void pd_maker_made(struct pd_maker *maker);
/* Whether it leads, and is not closing. */
bool pd_maker_may_act(const struct pd_maker *maker);
struct guest *pd_maker_find_guest(struct pd_maker *maker, const char *id); /* or NULL */
/* Opens it where there is none; NULL: there can be none, which is logged. */
struct guest *pd_maker_guest_of(struct pd_maker *maker, const char *id);
void pd_maker_guest_close(struct guest *guest);
/* For sandboxes of this replica or another one; NULL as above. */
struct pd_provider *pd_maker_provider_of(struct pd_maker *maker, const char *replica);

/* ---- jobs: maker_jobs.c ---- */

extern const char pd_maker_reserve_script[], pd_maker_settle_script[];
/* Ask again for those that there was no room for; drop them where this one does not lead. */
void pd_maker_look_at_held(struct pd_maker *maker);
/* The store's: a pool has changed. */
void pd_maker_on_pool(void *arg, const char *name);

/* ---- the dead: maker_dead.c ---- */

extern const char pd_maker_forget_script[];

#endif
