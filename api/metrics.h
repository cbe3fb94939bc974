/* GET /metrics: every figure (common/metrics.h) as text, in Prometheus's form
 * 0.0.4, or OpenMetrics 1.0.0 for a client that asks for it. It names pools and
 * languages, so it wants a key with the scope read. */
#ifndef PD_API_METRICS_H
#define PD_API_METRICS_H

struct pd_api_context;
struct pd_exchange;
struct pd_metrics;

void pd_metrics_handle(void *arg, struct pd_exchange *exchange);

/* Set what is only known by looking: pools, queues, sockets, the process.
 * A pd_metrics_collect_cb; arg is the struct pd_api_context. */
void pd_api_collect(void *arg, struct pd_metrics *metrics);

#endif
