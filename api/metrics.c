#include "api/metrics.h"

#include <stdint.h>
#include <string.h>

#include "api/context.h"
#include "api/figures.h"
#include "api/health.h"
#include "api/server.h"
#include "common/metrics.h"

#define METRICS_BYTES_MAX (8u * 1024 * 1024)
#define TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define ACCEPT_BYTES 1024

/* Whether `Accept` names it without saying q=0 (RFC 9110, section 12.5.1). */
static bool wants_openmetrics(const struct pd_exchange *exchange)
{
    static const char type[] = "application/openmetrics-text";
    char accept[ACCEPT_BYTES];
    const char *at;
    size_t len;

    if (!pd_exchange_header(exchange, "accept", accept, sizeof accept) ||
        !(at = strcasestr(accept, type)))
        return false;
    at += sizeof type - 1;
    len = strcspn(at, ",");
    accept[(size_t)(at - accept) + len] = '\0';
    at = strcasestr(at, "q=");
    return !at || strspn(at + 2, "0.") != strcspn(at + 2, "; \t");
}

void pd_metrics_handle(void *arg, struct pd_exchange *exchange)
{
    const struct pd_api_context *api = arg;
    bool openmetrics = wants_openmetrics(exchange);
    struct pd_buf body;
    struct pd_err err;

    pd_buf_init(&body, METRICS_BYTES_MAX);
    if (pd_metrics_format(api->metrics, openmetrics, &body, &err) < 0) {
        pd_buf_fini(&body);
        pd_exchange_problem(exchange,
                            &(struct pd_problem_details){.status = 500, .detail = err.msg});
        return;
    }
    pd_exchange_reply(exchange, 200, openmetrics ? OPENMETRICS_TYPE : TEXT_TYPE, NULL, &body);
}

/* By what it may: a key that only runs programs is a client's, one that may do
 * everything an operator's. */
static const char *class_of(void *arg, const char *key_id)
{
    const struct pd_api_context *api = arg;
    const struct pd_key *key = key_id ? pd_keys_find(api->keys, key_id) : NULL;

    return key && (key->record.scopes & PD_SCOPE_ADMIN) ? "admin" : "execute";
}

void pd_api_collect(void *arg, struct pd_metrics *metrics)
{
    const struct pd_api_context *api = arg;
    const char *sentence = "";

    pd_figures_collect_pools(metrics, api->store);
    pd_dispatch_collect(api->dispatch, metrics, class_of, (void *)(uintptr_t)api);
    pd_metrics_set(metrics, PD_M_READY, NULL, pd_api_is_ready(api, &sentence));
}
