/* How long the turns of the loop take: work done in one turn is what everybody
 * else waits for. Costs two readings of the clock a turn. */
#ifndef PD_CLI_LOOP_WATCH_H
#define PD_CLI_LOOP_WATCH_H

#include <stdint.h>
#include <uv.h>

#include "common/metrics.h"

struct pd_loop_watch {
    uv_check_t check;
    uv_prepare_t prepare;
    struct pd_metrics *metrics;
    int64_t input_ns; /* of this turn, on what came in */
};

/* Observes PD_M_LOOP_TURN_SECONDS, with an error of at most 2 ms upwards. Does
 * not keep the loop alive. The handles live in `watch`. */
void pd_loop_watch_start(struct pd_loop_watch *watch, uv_loop_t *loop, struct pd_metrics *metrics);
void pd_loop_watch_close(struct pd_loop_watch *watch);

#endif
