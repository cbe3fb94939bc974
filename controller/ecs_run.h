/* Making tasks: RunTask for up to ten sandboxes of one pool at once, with a
 * clientToken that is on the disk before the call (ecs_intent.h), so that asking again
 * makes no more of them, in this life or the next. Where there is no capacity the next
 * attempt goes elsewhere (ecs_place.h). */
#ifndef PD_CONTROLLER_ECS_RUN_H
#define PD_CONTROLLER_ECS_RUN_H

#include <uv.h>

#include "common/pool.h"
#include "controller/ecs_book.h"
#include "controller/ecs_client.h"
#include "controller/ecs_intent.h"
#include "controller/provider.h"

#define PD_ECS_CREATES_MAX 10000

/* What RunTask is told besides the spec. */
struct pd_ecs_launch {
    const char *definition; /* ARN, or family */
    const char *cluster;
    const struct pd_strings *subnets;
    const struct pd_strings *security_groups;
    bool public_address;
};

struct pd_ecs_run;

/* The client, the book and the intents outlive it. */
struct pd_ecs_run *pd_ecs_run_new(uv_loop_t *loop, struct pd_ecs_client *client,
                                  struct pd_ecs_book *book, struct pd_ecs_intents *intents,
                                  const char *instance, const char *started_by);
/* After the client has been closed. `closed` fires once from the loop, when what was
 * being written down has been. */
void pd_ecs_run_close(struct pd_ecs_run *run, void (*closed)(void *arg), void *arg);

/* As pd_provider_ops.create. The launch is copied. */
int pd_ecs_run_create(struct pd_ecs_run *run, const struct pd_pool_spec *spec,
                      const struct pd_ecs_launch *launch, const char *id, pd_provider_create_cb cb,
                      void *arg, struct pd_err *err);
/* Whether tasks with this token may still be told to somebody who waits. */
bool pd_ecs_run_is_open(const struct pd_ecs_run *run, const char *token);
/* Every cluster has been listed, and the book knows. */
void pd_ecs_run_listed(struct pd_ecs_run *run);

#endif
