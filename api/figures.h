/* How runs fared, into the registry (common/metrics.h). `metrics` may be NULL. */
#ifndef PD_API_FIGURES_H
#define PD_API_FIGURES_H

#include "api/dispatch.h"
#include "common/metrics.h"

/* A run came to its end. */
void pd_figures_ended(struct pd_metrics *metrics, const char *pool, const char *language,
                      const struct pd_run_result *result, const struct pd_job_times *times);
/* A run never began; kind says why. */
void pd_figures_refused(struct pd_metrics *metrics, const char *pool, int kind);
/* What is known of pools by looking at the store: sizes, phases, spares,
 * conditions. Part of every answer of /metrics. */
void pd_figures_collect_pools(struct pd_metrics *metrics, struct pd_store *store);

#endif
