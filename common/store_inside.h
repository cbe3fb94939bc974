/* The insides of the store of one process, shared by its source files and nobody
 * else:
 *
 *   store_memory.c   life, observers, pools
 *   store_members.c  sandboxes, living and dead
 *   store_events.c   events
 *   store_claim.c    claims */
#ifndef PD_COMMON_STORE_INSIDE_H
#define PD_COMMON_STORE_INSIDE_H

#include "common/store.h"
#include "common/strmap.h"

struct pd_pool_record {
    struct pd_pool pool;         /* first: a pd_pool is its record */
    struct pd_sandbox **members; /* oldest first */
    size_t n_members;
    size_t cap_members;
    struct pd_dead_sandbox *dead; /* a ring of PD_DEAD_SANDBOXES_MAX, or NULL: none yet */
    size_t n_dead;                /* ever put into it */
    char rivals[PD_POOL_RIVALS_MAX][sizeof((struct pd_pool *)0)->source]; /* "": free */
    bool marked;
};

struct pd_store_observer {
    pd_store_observer_cb cb; /* NULL: free */
    void *arg;
};

struct pd_events_observer {
    pd_store_events_cb cb; /* NULL: free */
    void *arg;
};

struct pd_name_list {
    char (*names)[PD_POOL_NAME_MAX];
    size_t count;
    size_t cap;
};

struct pd_store {
    uv_idle_t idle; /* active while `changed` has names */
    struct pd_time (*now)(void);
    struct pd_store_observer observers[PD_STORE_OBSERVERS_MAX];
    struct pd_strmap pools;          /* name to pd_pool_record */
    struct pd_strmap sandboxes;      /* id to pd_sandbox */
    struct pd_pool_record **by_name; /* in name order */
    size_t cap_by_name;
    struct pd_name_list changed; /* pools to tell observers about, each once */
    struct pd_name_list telling; /* those being told; storage kept between turns */
    uint64_t resource_version;   /* the last one given */
    struct pd_events *events;
    bool events_marked; /* there are some to tell of */
    struct pd_events_observer events_observers[PD_STORE_OBSERVERS_MAX];
    void (*closed)(void *arg);
    void *closed_arg;
};

/* The pool's record, or NULL. */
struct pd_pool_record *pd_store_record(struct pd_store *store, const char *pool);
/* Tell observers of this pool, at the next turn. */
void pd_store_mark(struct pd_store *store, struct pd_pool_record *record);
/* Run what tells observers, at the next turn. */
void pd_store_wake(struct pd_store *store);
/* The next resource version. */
uint64_t pd_store_next_version(struct pd_store *store);

/* ---- store_events.c ---- */

void pd_store_tell_events(struct pd_store *store);

#endif
