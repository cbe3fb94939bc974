/* One replica's ledger with all that it stands on, on a loop that others may share: in
 * Redis, or (without a URL) in its records alone. Aborts where it cannot be had. What the
 * ledger tells its book is counted here. */
#ifndef PD_TESTS_LIB_LEDGER_RIG_H
#define PD_TESTS_LIB_LEDGER_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "api/ledger_redis.h"
#include "common/store.h"

#define PD_RIG_TAKEN_MAX 64

struct pd_ledger_rig {
    uv_loop_t *loop;
    char dir[64];
    struct pd_db *db;
    struct pd_records *records;
    struct pd_store *store;
    struct pd_redis *redis; /* NULL: there is none */
    struct pd_ledger *ledger;

    char accepted[PD_RIG_TAKEN_MAX][PD_RECORD_ID_BYTES]; /* in the book by pd_ledger_rig_accept */
    size_t n_accepted;
    /* What the book was told, and what it says. */
    struct pd_unfinished taken[PD_RIG_TAKEN_MAX];
    size_t n_taken; /* counts on beyond what is kept */
    char canceled[PD_RECORD_ID_BYTES];
    unsigned n_canceled, n_disowned;
    size_t room; /* 0 at first */
    bool closed;
};

struct pd_ledger_rig_config {
    uv_loop_t *loop;
    const char *folder;   /* where its own is made */
    const char *url;      /* of Redis; NULL: none */
    const char *instance; /* static */
    enum pd_ledger_durability durability;
    int64_t age_ms, size_bytes; /* 0: an hour, 64 MiB */
};

void pd_ledger_rig_open(struct pd_ledger_rig *rig, const struct pd_ledger_rig_config *config);
/* Closes everything, turning the loop, and removes the folder. */
void pd_ledger_rig_close(struct pd_ledger_rig *rig);

/* What one call came to. */
struct pd_ledger_answer {
    bool done;
    int kind; /* 0 or enum pd_err_kind */
    char why[PD_ERR_MSG_MAX];
    char *text;                  /* of those that give one; else NULL */
    struct pd_accepted accepted; /* the first; its answer is `text` */
};
void pd_ledger_answer_fini(struct pd_ledger_answer *answer);

/* Each waits for the answer and returns its kind. `answer` begins anew. */
int pd_ledger_rig_accept(struct pd_ledger_rig *rig, const struct pd_accept *item,
                         struct pd_ledger_answer *answer);
int pd_ledger_rig_begin(struct pd_ledger_rig *rig, const char *id);
int pd_ledger_rig_finish(struct pd_ledger_rig *rig, const struct pd_record *record);
int pd_ledger_rig_cancel(struct pd_ledger_rig *rig, const char *id, const char *key_id);
int pd_ledger_rig_forget(struct pd_ledger_rig *rig, const char *id);
int pd_ledger_rig_get(struct pd_ledger_rig *rig, const char *id, const char *key_id,
                      struct pd_ledger_answer *answer);
int pd_ledger_rig_body(struct pd_ledger_rig *rig, const char *id, struct pd_ledger_answer *answer);
int pd_ledger_rig_events(struct pd_ledger_rig *rig, const char *id, const char *key_id,
                         struct pd_ledger_answer *answer);
int pd_ledger_rig_list(struct pd_ledger_rig *rig, const struct pd_records_query *query,
                       struct pd_ledger_answer *answer);
int pd_ledger_rig_prune(struct pd_ledger_rig *rig);

/* Accepts `id` as soon as it is accepted at all: at first the replica has to be known. */
void pd_ledger_rig_accept_first(struct pd_ledger_rig *rig, const char *id);

#endif
