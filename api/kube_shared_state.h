/* What the files of kube_shared.h know of each other: kube_shared.c its life and when;
 * kube_shared_read.c what comes from Redis; kube_shared_show.c what is made of it;
 * kube_shared_write.c what goes there; kube_shared_tell.c what this replica has to tell.
 * Nobody else includes this. */
#ifndef PD_API_KUBE_SHARED_STATE_H
#define PD_API_KUBE_SHARED_STATE_H

#include <sys/queue.h>

#include "api/kube_shared.h"
#include "common/mem.h"
#include "common/strmap.h"
#include "common/uid.h"

#define PD_KUBE_SHARED_BATCH_MAX 64                   /* fields in one script */
#define PD_KUBE_SHARED_BATCH_BYTES (4u * 1024 * 1024) /* of them, about */
#define PD_KUBE_SHARED_PAGE "500"                     /* fields in one answer */

/* A field as Redis had it last. */
struct known {
    char field[PD_KUBE_FIELD_BYTES];
    enum pd_kube_entry_kind kind;
    char *name; /* in `field` */
    size_t at;  /* in `known` of all */
    char pool[PD_POOL_NAME_MAX];
    char owner[PD_KUBE_OWNER_BYTES];
    char source[sizeof((struct pd_pool *)0)->source];
    struct pd_pool_identity identity; /* of api and pool */
    char *text;
    size_t len;
    uint64_t version;
    uint64_t local_version; /* of what is in our own store, told by this very text; 0: none */
    uint64_t pass;          /* of ours: when it was seen in the store last */
    bool here;              /* in the read of everything that is under way */
    bool lost;              /* Redis has it no more, or in an earlier version */
};

struct waiter {
    void (*done)(void *arg, const struct pd_err *err);
    void *arg;
    bool begun; /* the read that is under way was begun after it */
    LIST_ENTRY(waiter) next;
};

struct pd_kube_shared {
    struct pd_kube_shared_config config;
    struct pd_schema *schema;
    struct pd_redis_script read, write, put, restore, prune;
    char *hash_key, *order_key, *lease_key, *channel; /* once the engine is known */
    struct pd_redis_subscription *subscription;
    struct pd_strmap by_field;
    struct known **known;
    size_t n_known, cap_known;

    char dataset[PD_UID_BYTES]; /* "": nothing was read yet */
    uint64_t position;          /* everything up to this version was read */
    uint64_t version;           /* the greatest that was heard of; never falls */
    bool on;
    uint64_t on_ms; /* since when, on the loop's clock */

    bool reading, again;
    bool reading_all;     /* this read began with everything */
    bool has_lost;        /* and in another dataset than before, */
    bool went_back;       /* or in an older state of the same */
    uint64_t all_version; /* of Redis when it began */
    LIST_HEAD(, waiter) waiters;

    bool writing; /* a batch of what we tell or restore is under way */
    bool importing;
    bool pools_dirty, members_dirty;
    uint64_t members_ms; /* when they were told last, on the loop's clock */
    uint64_t opened_ms, led_since_ms, cleaned_ms;
    char led_lease[128];
    uint64_t pass;
    bool left_out; /* said in the log */
    unsigned open_ops, open_timers;
    uv_timer_t look_timer, tell_timer;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- kube_shared.c ---- */

struct known *pd_kube_shared_find(const struct pd_kube_shared *shared, enum pd_kube_entry_kind kind,
                                  const char *name);
/* The lease, while this replica leads; else NULL. */
const char *pd_kube_shared_lease(const struct pd_kube_shared *shared);
/* Look whether the engine is known by now. */
void pd_kube_shared_join(struct pd_kube_shared *shared);
/* An operation on Redis is over: whether anybody still wants to know. */
bool pd_kube_shared_op_over(struct pd_kube_shared *shared);
/* Say what is to be said, soon. */
void pd_kube_shared_tell_soon(struct pd_kube_shared *shared);

/* ---- kube_shared_read.c ---- */

/* Read what has changed, now or when the read under way is over. */
int pd_kube_shared_look(struct pd_kube_shared *shared, struct pd_err *err);
void pd_kube_shared_fail_waiters(struct pd_kube_shared *shared, const struct pd_err *err, bool all);
void pd_kube_shared_drop(struct pd_kube_shared *shared, struct known *known);

/* ---- kube_shared_show.c ---- */

/* A field is like this now, or (is_gone) is not there any more, since that version. */
void pd_kube_shared_show(struct pd_kube_shared *shared, const struct known *known, bool is_gone,
                         uint64_t version);
/* Everything has been read for the first time. */
void pd_kube_shared_show_all(struct pd_kube_shared *shared);
/* That was all of one read. */
void pd_kube_shared_show_end(struct pd_kube_shared *shared);

/* ---- kube_shared_tell.c ---- */

/* Write what differs from what this replica has to tell. */
void pd_kube_shared_tell(struct pd_kube_shared *shared);
/* Of what is there, what nobody will take away but the one who leads. */
void pd_kube_shared_clean(struct pd_kube_shared *shared);

/* ---- kube_shared_write.c ---- */

struct batch {
    struct pd_redis_arg args[6 + 3 * PD_KUBE_SHARED_BATCH_MAX];
    size_t n_args, n_fields, bytes;
    char fields[PD_KUBE_SHARED_BATCH_MAX][PD_KUBE_FIELD_BYTES];
    char *texts[PD_KUBE_SHARED_BATCH_MAX];
    size_t n_texts;
};

/* fenced: the one that leads only. */
void pd_kube_shared_batch(struct pd_kube_shared *shared, struct batch *batch, bool fenced);
bool pd_kube_shared_batch_is_full(const struct batch *batch);
/* text: taken over; NULL: the field is to go. */
void pd_kube_shared_batch_add(struct batch *batch, const char *field, char *text, size_t len);
/* Sends it where there is anything in it, and ends it. */
void pd_kube_shared_batch_send(struct pd_kube_shared *shared, struct batch *batch);
/* What is lost is written again. */
void pd_kube_shared_restore(struct pd_kube_shared *shared);
void pd_kube_shared_prune(struct pd_kube_shared *shared);

#endif
