/* Those who wait for one thing that is being done for all of them. */
#ifndef PD_CONTROLLER_DOCKER_WAIT_H
#define PD_CONTROLLER_DOCKER_WAIT_H

#include <stdbool.h>
#include <sys/queue.h>

#include "common/err.h"

typedef void (*pd_docker_done_cb)(void *arg, const struct pd_err *err);

STAILQ_HEAD(pd_docker_wait, pd_docker_waiter);

void pd_docker_wait_init(struct pd_docker_wait *wait);
void pd_docker_wait_add(struct pd_docker_wait *wait, pd_docker_done_cb cb, void *arg);
bool pd_docker_wait_is_empty(const struct pd_docker_wait *wait);

/* Tell all who wait now, in order; those who come meanwhile wait on. The list
 * itself may be freed by one of them when it is the last. */
void pd_docker_wait_wake(struct pd_docker_wait *wait, const struct pd_err *err);

#endif
