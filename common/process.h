/* This process as Linux sees it, for the metrics process_*. */
#ifndef PD_COMMON_PROCESS_H
#define PD_COMMON_PROCESS_H

#include "common/metrics.h"

/* A pd_metrics_collect_cb. What cannot be read keeps its last value. */
void pd_process_collect(void *arg, struct pd_metrics *metrics);

#endif
