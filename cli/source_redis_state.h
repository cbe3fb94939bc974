/* What the files of the source of pools in Redis know of each other: source_redis.c
 * reads the hash; source_redis_fields.c makes pools of it. Nobody else includes this. */
#ifndef PD_CLI_SOURCE_REDIS_STATE_H
#define PD_CLI_SOURCE_REDIS_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "cli/source_redis.h"
#include "common/strmap.h"
#include "common/time.h"
#include "common/uid.h"

struct field {
    char *name;
    char *text; /* looked at last; NULL: none yet */
    size_t len;
    char dataset[PD_UID_BYTES];
    char run_id[PD_REDIS_RUN_ID_BYTES];
    char problem[PD_ERR_MSG_MAX]; /* of that text; "" when it is in force */
    bool rival;                   /* another source has the pool */
    bool lost;                    /* gone, and not by a removal */
    bool here;                    /* in the answer being looked at */
};

struct pd_source_redis {
    struct pd_store *store;
    struct pd_redis *redis;
    struct pd_schema *schema;
    enum pd_provider_kind default_provider;
    struct pd_redis_script script;
    struct pd_redis_subscription *subscription;
    uv_timer_t tick;
    struct pd_time read_at, down_since;
    char dataset[PD_UID_BYTES]; /* of the answer being looked at; "" when the hash has none */
    struct field **fields;
    size_t n_fields;
    struct pd_strmap by_name;
    char trouble[PD_ERR_MSG_MAX]; /* why reading failed, as last logged */
    bool reading, again;
    bool closing, handle_open;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- source_redis_fields.c ---- */

/* The whole hash, name and text in turn, of source->dataset ("": it has none). */
void pd_source_redis_take(struct pd_source_redis *source, const struct pd_redis_reply *hash);
/* Why nothing can be read: all its pools say so, the log once; "" when it can. */
void pd_source_redis_set_trouble(struct pd_source_redis *source, const char *text);
void pd_source_redis_free_fields(struct pd_source_redis *source);

#endif
