/* What the files of the ledger in Redis share; nobody else's.
 *
 *   ledger_redis.c         opening and closing; accepting, beginning, finishing
 *   ledger_redis_member.c  that we live; what others leave
 *   ledger_redis_ask.c     questions, and waiting for others' outcomes
 *   ledger_redis_keep.c    what is done: into the records here, plain runs into Redis
 *   ledger_redis_check.c   whether Redis keeps what it is given
 *   ledger_redis_row.c     rows as JSON
 *   ledger_redis_script.c  the scripts */
#ifndef PD_API_LEDGER_REDIS_STATE_H
#define PD_API_LEDGER_REDIS_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/ledger_redis.h"
#include "api/ledger_redis_script.h"
#include "api/ring.h"
#include "common/buf.h"
#include "common/strmap.h"
#include "common/time.h"

#define PD_LEDGER_OWNER_BYTES 96
#define PD_LEDGER_WHY_BYTES 256
#define PD_LEDGER_BATCH_MAX 256  /* plain runs in one script */
#define PD_LEDGER_BATCH_MS 20    /* that one of them waits */
#define PD_LEDGER_TAKE_MAX 200   /* executions taken by one script */
#define PD_LEDGER_CHECK_BEATS 5  /* between looks at Redis's settings */
#define PD_LEDGER_SYNC_BEATS 10  /* between looks for what is ours and not in the book */
#define PD_LEDGER_LOOK_MAX 5000  /* executions that one question looks at */
#define PD_LEDGER_ADD_BYTES_MAX (4u * 1024 * 1024) /* of plain runs that wait for Redis */

struct ledger_scripts {
    struct pd_redis_script accept, begin, finish, cancel, forget, add, join, beat, collect, steal,
        fetch, leave, get, list, keep, kept, prune;
};

struct ledger_redis {
    struct pd_ledger base;
    struct pd_ledger_redis_config config;
    char *instance;
    char owner[PD_LEDGER_OWNER_BYTES];
    struct ledger_scripts scripts;
    const struct pd_ledger_events *events; /* NULL: not started, or stopped */
    void *arg;
    struct pd_redis_subscription *said;

    uv_timer_t beat;
    unsigned beats;
    bool joined, joining;
    struct pd_time up_since; /* that Redis takes our word; unset while it is not up */
    size_t replicas;         /* that live, ourselves included */

    bool checked;
    char why[PD_LEDGER_WHY_BYTES]; /* Redis is not to be trusted; "" when it is */
    bool told;                     /* and the log has said so */

    struct pd_ring finishing; /* outcomes on their way */
    size_t finishing_bytes;
    struct pd_strmap waits; /* of struct remote, by id */

    uv_timer_t flush;
    struct pd_buf added; /* plain runs: texts, each ended by NUL */
    size_t n_added;
    bool keeping; /* a copy to the records is under way */

    size_t refs; /* answers of Redis and of the records that are to come */
    int open_timers;
    bool closing;
    void (*closed)(void *closed_arg);
    void *closed_arg;
};

/* ---- ledger_redis.c ---- */

struct ledger_redis *pd_ledger_redis_of(struct pd_ledger *ledger);
/* An answer is to come; it came. The last one of a closed ledger frees it. */
void pd_ledger_redis_ref(struct ledger_redis *ledger);
void pd_ledger_redis_unref(struct ledger_redis *ledger);
/* 0, or what a word of a script ("OTHER") or `err` says; never PD_CANCELED by chance. */
int pd_ledger_redis_word(const struct pd_err *err, const struct pd_redis_reply *reply,
                         struct pd_err *ret_err);
/* Send what waits for it: it is up again. */
void pd_ledger_redis_resend(struct ledger_redis *ledger);

/* ---- ledger_redis_member.c ---- */

void pd_ledger_redis_member_open(struct ledger_redis *ledger);
/* Others may have what we have, and are told. */
void pd_ledger_redis_member_close(struct ledger_redis *ledger);

/* ---- ledger_redis_ask.c ---- */

bool pd_ledger_redis_await(struct pd_ledger *base, const char *id, struct pd_book_wait *wait);
/* One that somebody may wait for has ended. */
void pd_ledger_redis_ended(struct ledger_redis *ledger, const char *id);
/* Ask for all that are waited for: what was said may not have been heard. */
void pd_ledger_redis_poll(struct ledger_redis *ledger);
void pd_ledger_redis_waits_fini(struct ledger_redis *ledger);
int pd_ledger_redis_body(struct pd_ledger *base, const char *id, pd_records_text_cb cb, void *arg,
                         struct pd_err *err);
int pd_ledger_redis_get(struct pd_ledger *base, const char *id, const char *key_id,
                        pd_records_text_cb cb, void *arg, struct pd_err *err);
int pd_ledger_redis_events(struct pd_ledger *base, const char *id, const char *key_id,
                           pd_records_text_cb cb, void *arg, struct pd_err *err);
int pd_ledger_redis_list(struct pd_ledger *base, const struct pd_records_query *query,
                         pd_records_text_cb cb, void *arg, struct pd_err *err);

/* ---- ledger_redis_keep.c ---- */

void pd_ledger_redis_add(struct pd_ledger *base, const struct pd_record *record);
void pd_ledger_redis_flush(struct ledger_redis *ledger);
/* Copy some of what is done to the records, unless that is under way. */
void pd_ledger_redis_keep(struct ledger_redis *ledger);
int pd_ledger_redis_prune(struct pd_ledger *base, pd_prune_cb cb, void *arg, struct pd_err *err);

/* ---- ledger_redis_check.c ---- */

/* Look at how Redis is set up; the answer is in `why`. */
void pd_ledger_redis_check(struct ledger_redis *ledger);
/* 0; PD_UNAVAILABLE: nothing can be accepted now, and why. */
int pd_ledger_redis_may_accept(const struct ledger_redis *ledger, struct pd_err *err);

/* ---- ledger_redis_row.c ---- */

/* A new token, unlike any before. */
void pd_ledger_redis_make_owner(const char *instance, char out[static PD_LEDGER_OWNER_BYTES]);
void pd_ledger_redis_hash(const void *data, size_t len, char out[static 65]);
/* Members of the JSON object, without braces; owned by the caller. `head` is what is
 * known when it is accepted, `end` what is known when it is done. */
char *pd_ledger_redis_head(const struct pd_record *record, const char *sha256, bool retry_safe);
char *pd_ledger_redis_end(const struct pd_record *record);
/* The row whose members are items[0] (state) to items[5] (end) of a reply, with its id, and
 * its result where `answer` is not NULL; no newline. 0 or PD_LIMIT. */
int pd_ledger_redis_row(const struct pd_redis_reply *reply, size_t first, const char *id,
                        const struct pd_redis_reply *answer, struct pd_buf *out,
                        struct pd_err *err);

#endif
