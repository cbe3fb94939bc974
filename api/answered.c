#include "api/answered.h"

#include <stdio.h>

#include "common/log.h"

static void log_answer(enum pd_log_level level, const struct pd_exchange *exchange,
                       const char *route, const char *code, int64_t us)
{
    const struct pd_trace *trace = pd_exchange_trace(exchange);

    pd_log(level, "http", "answered", "method", pd_method_name(pd_exchange_method(exchange)),
           "route", route, "status", code, "took_ms", PD_NUM(us / 1000), "key",
           pd_exchange_key_id(exchange), "request_id", trace->request_id, "traceparent",
           trace->traceparent, NULL);
}

void pd_answered(struct pd_metrics *metrics, const struct pd_exchange *exchange, int status)
{
    const char *route = pd_exchange_route(exchange);
    int64_t us = pd_exchange_age_us(exchange);
    char code[12];

    route = route ? route : "none";
    snprintf(code, sizeof code, "%d", status);
    pd_metrics_add(metrics, PD_M_HTTP_REQUESTS,
                   PD_LABELS(route, pd_method_name(pd_exchange_method(exchange)), code), 1);
    pd_metrics_observe(metrics, PD_M_HTTP_SECONDS, PD_LABELS(route), (double)us / 1e6);
    log_answer(status == 500 ? PD_LOG_WARN : PD_LOG_DEBUG, exchange, route, code, us);
}

void pd_answered_run(const struct pd_exchange *exchange, const char *run)
{
    const struct pd_trace *trace = pd_exchange_trace(exchange);

    pd_log(PD_LOG_DEBUG, "http", "run taken", "run", run, "key", pd_exchange_key_id(exchange),
           "request_id", trace->request_id, "traceparent", trace->traceparent, NULL);
}
