/* The tasks that are known of: what ECS has said of each, most recently. Reads of
 * ECS are eventually consistent, so a task is dead only when ECS says that it has
 * stopped, or has not known it for a long while; being absent from a list means
 * nothing. */
#ifndef PD_CONTROLLER_ECS_BOOK_H
#define PD_CONTROLLER_ECS_BOOK_H

#include <stdbool.h>
#include <sys/queue.h>

#include "common/strmap.h"
#include "common/time.h"
#include "controller/ecs_reply.h"

#define PD_ECS_CLUSTER_MAX 256
#define PD_ECS_UNSEEN_MS (5 * 60 * 1000)  /* a new task may be invisible for so long */
#define PD_ECS_MISSING_MS (60 * 1000)     /* a seen one that is not known any more has gone */
#define PD_ECS_TOMBSTONE_MS (3600 * 1000) /* stopped tasks stay describable for an hour */

struct pd_ecs_entry {
    TAILQ_ENTRY(pd_ecs_entry) entry;
    struct pd_ecs_task task;
    char cluster[PD_ECS_CLUSTER_MAX];
    char id[PD_SANDBOX_ID_MAX]; /* the sandbox's; "" until it is clear which */
    struct pd_time known;       /* since */
    struct pd_time described;   /* last; unset: never */
    struct pd_time missing;     /* since; unset: not */
    struct pd_time gone;        /* it was asked to stop; unset: not */
    bool asked;                 /* a DescribeTasks with it is under way */
    bool listed;                /* ListTasks has shown it once */
};

TAILQ_HEAD(pd_ecs_entries, pd_ecs_entry);

struct pd_ecs_book {
    struct pd_strmap by_arn;
    struct pd_ecs_entries entries;
    size_t count;
};

void pd_ecs_book_init(struct pd_ecs_book *book);
void pd_ecs_book_fini(struct pd_ecs_book *book);

struct pd_ecs_entry *pd_ecs_book_find(const struct pd_ecs_book *book,
                                      const char *arn); /* or NULL */
/* The one of that ARN, made where it is new. */
struct pd_ecs_entry *pd_ecs_book_add(struct pd_ecs_book *book, const char *arn, const char *cluster,
                                     struct pd_time now);
/* Forget those that ended long ago. */
void pd_ecs_book_prune(struct pd_ecs_book *book, struct pd_time now);

/* What happened to a task, from one answer to the next. */
enum pd_ecs_news { PD_ECS_NOTHING_NEW, PD_ECS_IS_READY, PD_ECS_IS_LEAVING, PD_ECS_HAS_ENDED };

/* ECS has described it. Answers may overtake each other: a life only goes forward. */
enum pd_ecs_news pd_ecs_entry_described(struct pd_ecs_entry *entry, const struct pd_ecs_task *task,
                                        struct pd_time now);
/* ECS says that it does not know it. */
enum pd_ecs_news pd_ecs_entry_missing(struct pd_ecs_entry *entry, struct pd_time now);

bool pd_ecs_entry_has_ended(const struct pd_ecs_entry *entry);
/* Whether something is about to happen to it. */
bool pd_ecs_entry_moves(const struct pd_ecs_entry *entry);
/* A name for one that an earlier life has made: its pool's and its ARN's. */
void pd_ecs_entry_name(struct pd_ecs_entry *entry);

#endif
