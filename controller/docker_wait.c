#include "controller/docker_wait.h"

#include "common/mem.h"

struct pd_docker_waiter {
    STAILQ_ENTRY(pd_docker_waiter) entry;
    pd_docker_done_cb cb;
    void *arg;
};

void pd_docker_wait_init(struct pd_docker_wait *wait)
{
    STAILQ_INIT(wait);
}

void pd_docker_wait_add(struct pd_docker_wait *wait, pd_docker_done_cb cb, void *arg)
{
    struct pd_docker_waiter *waiter = PD_NEW(struct pd_docker_waiter);

    waiter->cb = cb;
    waiter->arg = arg;
    STAILQ_INSERT_TAIL(wait, waiter, entry);
}

bool pd_docker_wait_is_empty(const struct pd_docker_wait *wait)
{
    return STAILQ_EMPTY(wait);
}

void pd_docker_wait_wake(struct pd_docker_wait *wait, const struct pd_err *err)
{
    struct pd_docker_wait woken = STAILQ_HEAD_INITIALIZER(woken);
    struct pd_docker_waiter *waiter;

    STAILQ_CONCAT(&woken, wait);
    while ((waiter = STAILQ_FIRST(&woken))) {
        STAILQ_REMOVE_HEAD(&woken, entry);
        waiter->cb(waiter->arg, err);
        free(waiter);
    }
}
