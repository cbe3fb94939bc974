/* The controller: for each pool, observe, decide, act, until what exists is
 * what is desired. Owns the links of warm and claimed sandboxes. */
#ifndef PD_CONTROLLER_CONTROLLER_H
#define PD_CONTROLLER_CONTROLLER_H

#include <uv.h>

#include "common/languages.h"
#include "common/store.h"
#include "controller/provider.h"
#include "controller/share.h"

struct pd_controller;
struct pd_metrics;

struct pd_controller_config {
    uv_loop_t *loop;
    struct pd_store *store;
    const struct pd_languages *languages;
    struct pd_provider *docker; /* NULL where not configured */
    struct pd_provider *ecs;    /* likewise */
    struct pd_time (*fixed_now)(void); /* a clock for tests, NULL for pd_time_now */
    /* Of a pool's size, what this controller is to keep; NULL: all of it. */
    struct pd_share (*share)(void *arg, const struct pd_pool_spec *spec);
    void *share_arg; /* of `others` and `heard` too */
    /* How many of its sandboxes are not this controller's: a deleted pool is forgotten
     * when there is none any more. NULL: all are. */
    int (*others)(void *arg, const char *pool);
    /* Whether every source of pools has been heard since the start: until then what
     * belongs to no pool is left alone. NULL: they have. */
    bool (*heard)(void *arg);
    struct pd_metrics *metrics; /* common/metrics.h; NULL: nobody counts */
};

/* Starts at once: lists, adopts or collects what an earlier life left, then
 * reconciles on every event. The providers stay the caller's. */
struct pd_controller *pd_controller_new(const struct pd_controller_config *config);

/* Whether every provider in use answers; the sentence says which does not
 * (borrowed until the next turn of the loop). For /health and /readyz. */
bool pd_controller_is_healthy(const struct pd_controller *controller, const char **ret_sentence);

/* destroy_all: destroy every sandbox of this installation first (a clean stop);
 * else leave them to be adopted by the next start. `closed` fires once. */
void pd_controller_close(struct pd_controller *controller, bool destroy_all,
                         void (*closed)(void *arg), void *arg);

#endif
