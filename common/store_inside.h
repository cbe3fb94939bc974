/* The insides of the store of one process, shared by its source files and nobody
 * else:
 *
 *   store_memory.c   life, observers, pools
 *   store_members.c  sandboxes, living and dead
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
    bool marked;
};

struct pd_store_observer {
    pd_store_observer_cb cb; /* NULL: free */
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
    void (*closed)(void *arg);
    void *closed_arg;
};

/* The pool's record, or NULL. */
struct pd_pool_record *pd_store_record(struct pd_store *store, const char *pool);
/* Tell observers of this pool, at the next turn. */
void pd_store_mark(struct pd_store *store, struct pd_pool_record *record);

#endif
