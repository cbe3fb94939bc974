/* The ECS provider's insides, shared by its source files and nobody else:
 *
 *   provider_ecs.c  the operations, life
 *   ecs_config.c    what the installation says of ECS
 *   ecs_poll.c      what tasks do: DescribeTasks, as often as something moves
 *   ecs_list.c      what exists: ListTasks, joined with the book
 *   ecs_ready.c     task definitions, preflight
 *   ecs_wire.c      links: waiting for a task to run, then to its agent
 *   ecs_run.c       making tasks; ecs_batch.c, ecs_intent.c, ecs_place.c
 *   ecs_book.c      the tasks known of */
#ifndef PD_CONTROLLER_ECS_STATE_H
#define PD_CONTROLLER_ECS_STATE_H

#include <stdbool.h>
#include <sys/queue.h>
#include <uv.h>

#include "common/strings.h"
#include "controller/ecs_book.h"
#include "controller/ecs_client.h"
#include "controller/ecs_intent.h"
#include "controller/ecs_keys.h"
#include "controller/ecs_run.h"
#include "controller/provider.h"

#define PD_ECS_CLUSTERS_MAX 8
#define PD_ECS_DESCRIBE_MAX 100
#define PD_ECS_POLL_FAST_MS 1000  /* while something moves; longer where many do */
#define PD_ECS_POLL_SLOW_MS 10000 /* of what stands still */

struct pd_ecs_ready; /* ecs_ready.c */
struct pd_ecs_wire;  /* ecs_wire.c: one link under way */
struct pd_ecs_list;  /* ecs_list.c: one list under way */

struct pd_ecs {
    struct pd_provider provider;
    uv_loop_t *loop;
    char instance[PD_ECS_TOKEN_MAX];
    char started_by[PD_ECS_TOKEN_MAX + 16];
    double factor; /* tests: how much faster time passes at the peer */
    struct pd_ecs_client *client;
    struct pd_ecs_keys *keys;
    struct pd_ecs_book book;
    struct pd_ecs_intents *intents;
    struct pd_ecs_run *run;
    struct pd_ecs_ready *ready;

    /* what pools do not say themselves */
    char *cluster, *agent_image, *execution_role_arn;
    struct pd_strings subnets, security_groups;
    bool public_address;
    /* every cluster that has been spoken of */
    char clusters[PD_ECS_CLUSTERS_MAX][PD_ECS_CLUSTER_MAX];
    size_t n_clusters;
    size_t n_listed; /* the first so many of them have been listed once */

    pd_provider_event_cb event;
    void *event_arg;
    bool up;
    int failures; /* calls in a row that nobody answered */
    uv_timer_t poll, probe;
    TAILQ_HEAD(pd_ecs_wires, pd_ecs_wire) wires;

    bool closing, client_closed;
    int handles;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- provider_ecs.c ---- */

const char *pd_ecs_cluster_of(const struct pd_ecs *ecs, const struct pd_pool_spec *spec);
/* Remember a cluster; true: it is new. PD_LIMIT is told as false. */
bool pd_ecs_meet_cluster(struct pd_ecs *ecs, const char *cluster);
void pd_ecs_emit(struct pd_ecs *ecs, const struct pd_provider_event *event);
void pd_ecs_maybe_closed(struct pd_ecs *ecs);

/* ---- ecs_poll.c ---- */

void pd_ecs_poll_soon(struct pd_ecs *ecs);
/* Describe these now (a test of `want` for each entry). cb fires once, when every
 * answer has come; err: the first failure. */
typedef void (*pd_ecs_described_cb)(void *arg, const struct pd_err *err);
void pd_ecs_describe(struct pd_ecs *ecs, bool (*want)(const struct pd_ecs_entry *entry, void *arg),
                     void *want_arg, pd_ecs_described_cb cb, void *arg);
void pd_ecs_on_poll(uv_timer_t *timer);

/* ---- ecs_list.c ---- */

int pd_ecs_list_begin(struct pd_ecs *ecs, pd_provider_list_cb cb, void *arg, struct pd_err *err);
/* Only enter into the book what exists, an earlier life's included: creates take what is
 * there before they make more. cb fires once, from the loop. */
int pd_ecs_list_survey(struct pd_ecs *ecs, pd_provider_done_cb cb, void *arg, struct pd_err *err);

/* ---- ecs_ready.c ---- */

struct pd_ecs_ready *pd_ecs_ready_new(struct pd_ecs *ecs);
void pd_ecs_ready_free(struct pd_ecs_ready *ready);
int pd_ecs_ready_ensure(struct pd_ecs *ecs, const struct pd_pool_spec *spec, pd_provider_done_cb cb,
                        void *arg, struct pd_err *err);
/* The definition to run for this spec: NULL: ensure it first. */
const char *pd_ecs_ready_definition(const struct pd_ecs *ecs, const struct pd_pool_spec *spec);
/* Where and how it is run; PD_INVALID: something is not set anywhere. */
int pd_ecs_ready_launch(const struct pd_ecs *ecs, const struct pd_pool_spec *spec,
                        struct pd_ecs_launch *ret_launch, struct pd_err *err);

/* ---- ecs_wire.c ---- */

int pd_ecs_wire_begin(struct pd_ecs *ecs, const char *arn, pd_provider_link_cb cb, void *arg,
                      struct pd_err *err);
/* The task has changed. */
void pd_ecs_wires_look(struct pd_ecs *ecs, const char *arn);
void pd_ecs_wires_cancel(struct pd_ecs *ecs);

#endif
