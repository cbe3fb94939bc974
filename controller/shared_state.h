/* What the files of the shared provider (controller/provider_shared.h) know of each
 * other: provider_shared.c its life, its joining and leaving; shared_wish.c what it
 * wants created; shared_records.c what it has, and what Redis is told of that.
 * Nobody else includes this. */
#ifndef PD_CONTROLLER_SHARED_STATE_H
#define PD_CONTROLLER_SHARED_STATE_H

#include <stdbool.h>
#include <sys/queue.h>
#include <uv.h>

#include "common/buf.h"
#include "common/lease.h"
#include "common/loop_redis.h"
#include "common/strmap.h"
#include "controller/maker.h"
#include "controller/provider_shared.h"
#include "controller/replica.h"

/* A wish that waits for its answer. */
struct wish {
    LIST_ENTRY(wish) next;
    char id[PD_SANDBOX_ID_MAX];
    char pool[PD_POOL_NAME_MAX];
    char *text; /* as written in Redis */
    pd_provider_create_cb cb;
    void *arg;
};

/* An answer that must not come before the call has returned. */
struct later {
    STAILQ_ENTRY(later) next;
    pd_provider_done_cb cb;
    void *arg;
};

/* Which sandbox a provider's id is. */
struct name {
    LIST_ENTRY(name) next;
    char provider_id[PD_PROVIDER_ID_MAX];
    char id[PD_SANDBOX_ID_MAX];
    char pool[PD_POOL_NAME_MAX];
};

struct shared {
    struct pd_provider base; /* what the controller sees */
    struct pd_provider_shared_config config;
    pd_provider_event_cb watcher;
    void *watcher_arg;
    bool below_is_up;
    struct pd_redis_script free_script, withdraw_script;
    char *prefix, *sandboxes_key, *totals_key, *wishes_key, *lease_key, *wish_channel; /* once up */
    struct pd_replica *replica; /* likewise */
    struct pd_lease *lease;
    struct pd_maker *maker;
    struct pd_redis_subscription *made, *wished;
    LIST_HEAD(, wish) wishes;
    STAILQ_HEAD(, later) later;
    LIST_HEAD(, name) named; /* what we have, as far as known */
    struct pd_strmap names;  /* provider id to struct name */
    uv_timer_t timer;        /* for `later` */
    int open_parts;
    bool withdrawing; /* it stops: what it wished for is not wanted any more */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- life: provider_shared.c ---- */

struct shared *pd_shared_of(const struct pd_provider *provider);
/* One of `open_parts` is closed; the last one frees. */
void pd_shared_part_closed(void *arg);

/* ---- wishes: shared_wish.c ---- */

extern const char pd_shared_withdraw_script[];
extern const struct pd_redis_subscriber pd_shared_made_subscriber;       /* arg: struct shared */
struct wish *pd_shared_find_wish(struct shared *shared, const char *id); /* or NULL */
/* Answers it and frees it. err NULL: it is there. */
void pd_shared_fulfil(struct wish *wish, const struct pd_err *err, const char *provider_id);
void pd_shared_fail_wishes(struct shared *shared, const struct pd_err *err);
/* Operations of the provider. */
int pd_shared_create(struct pd_provider *provider, const struct pd_pool_spec *spec, const char *id,
                     pd_provider_create_cb cb, void *arg, struct pd_err *err);
int pd_shared_ensure_ready(struct pd_provider *provider, const struct pd_pool_spec *spec,
                           pd_provider_done_cb cb, void *arg, struct pd_err *err);
/* Give the answers that wait in `later`. */
void pd_shared_answer_later(uv_timer_t *timer);

/* ---- the whole pool: shared_status.c ---- */

/* What this replica has, for the others. */
void pd_shared_report(void *arg, struct pd_buf *out);
/* What the others have, into the store. */
void pd_shared_take_reports(void *arg, const struct pd_redis_reply *reports);

/* ---- what it has: shared_records.c ---- */

extern const char pd_shared_free_script[];
/* Known already, or without a provider's id: nothing happens. */
void pd_shared_learn_name(struct shared *shared, const char *provider_id, const char *id,
                          const char *pool);
void pd_shared_forget_names(struct shared *shared);
/* Operations of the provider. */
int pd_shared_list(struct pd_provider *provider, pd_provider_list_cb cb, void *arg,
                   struct pd_err *err);
int pd_shared_destroy(struct pd_provider *provider, const char *provider_id, pd_provider_done_cb cb,
                      void *arg, struct pd_err *err);

#endif
