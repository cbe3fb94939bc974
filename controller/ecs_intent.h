/* Intents to make tasks: what RunTask is about to be told, its clientToken first,
 * written down (fsynced) before it is sent.
 *
 * A service that is killed before, in or after the call finds the intent at its next
 * start. It then says the same thing with the same token instead of a new one, if it
 * still wants such tasks: ECS answers with those that it has made, or makes them now.
 * So a list that has not heard of them yet (reads of ECS lag) leads to none twice.
 *
 *   writing -> sent -> answered -> settled: gone
 *                \--> open: nobody knows what came of it
 *
 * One that is answered is kept until a list shows its tasks; one that is as old as
 * PD_ECS_INTENT_MS is in every list, and forgotten. Kept in paddock.db (ecs_intents). */
#ifndef PD_CONTROLLER_ECS_INTENT_H
#define PD_CONTROLLER_ECS_INTENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/db.h"
#include "common/err.h"
#include "common/node.h"
#include "controller/ecs_reply.h"

#define PD_ECS_BATCH_MAX 10 /* tasks of one RunTask */
#define PD_ECS_INTENTS_MAX 2048
#define PD_ECS_INTENT_MS (10 * 60 * 1000)
#define PD_ECS_INTENT_BYTES_MAX (64u * 1024) /* of its request */

extern const struct pd_db_schema pd_ecs_intents_schema;

enum pd_ecs_intent_state {
    PD_ECS_INTENT_BUSY,     /* being written, or under way */
    PD_ECS_INTENT_OPEN,     /* nobody knows what came of it: may be said again */
    PD_ECS_INTENT_ANSWERED, /* its tasks are known to us */
};

struct pd_ecs_intent {
    TAILQ_ENTRY(pd_ecs_intent) entry;
    enum pd_ecs_intent_state state;
    char token[PD_ECS_TOKEN_MAX];
    char pool[PD_POOL_NAME_MAX];
    char template_hash[PD_TEMPLATE_HASH_BYTES];
    int count; /* tasks asked for; once answered, tasks made */
    int64_t wall_ms;
    struct pd_node *request; /* RunTask's whole body: owned */
};

struct pd_ecs_intents;

/* Reads what an earlier life has left of this instance's (blocks: for the start of the
 * process). db NULL: kept in memory only. The database outlives it. */
int pd_ecs_intents_open(struct pd_db *db, const char *instance, struct pd_ecs_intents **ret_intents,
                        struct pd_err *err) __attribute__((warn_unused_result));
/* No write may be under way. */
void pd_ecs_intents_free(struct pd_ecs_intents *intents);

/* A new one, busy; the request is taken over. Where there are too many, the oldest that
 * is not busy is forgotten. */
struct pd_ecs_intent *pd_ecs_intents_add(struct pd_ecs_intents *intents, const char *token,
                                         const char *pool, const char *template_hash, int count,
                                         int64_t wall_ms, struct pd_node *request);
/* cb fires once, from the loop: it is on the disk, or (err) cannot be. False: there is
 * nothing to write to, cb never fires. */
bool pd_ecs_intents_write(struct pd_ecs_intents *intents, struct pd_ecs_intent *intent,
                          void (*cb)(void *arg, const struct pd_err *err), void *arg);
/* It has come to its end: forgotten, on the disk too. */
void pd_ecs_intents_settle(struct pd_ecs_intents *intents, struct pd_ecs_intent *intent);

/* An open one that asks for what `request` asks for: same pool, template, cluster,
 * definition and security groups. Forgets those that are too old. NULL: none. */
struct pd_ecs_intent *pd_ecs_intents_find(struct pd_ecs_intents *intents, const char *pool,
                                          const char *template_hash, const struct pd_node *request,
                                          int64_t wall_ms);
/* A list has been answered: forget those whose tasks are all in it (`listed` says how
 * many of a token are), and those that are too old. */
void pd_ecs_intents_listed(struct pd_ecs_intents *intents,
                           int (*listed)(void *arg, const char *token), void *arg,
                           int64_t wall_ms);
size_t pd_ecs_intents_count(const struct pd_ecs_intents *intents);

#endif
