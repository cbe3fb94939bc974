#include "api/health.h"

#include "api/context.h"
#include "api/records.h"
#include "api/server.h"

#define BODY_BYTES_MAX 256
#define RETRY_AFTER_S 5

static void reply_ok(struct pd_exchange *exchange)
{
    static const char text[] = "{\"status\":\"ok\"}\n";
    struct pd_buf body;

    pd_buf_init(&body, BODY_BYTES_MAX);
    (void)!pd_buf_add(&body, text, sizeof text - 1, NULL);
    pd_exchange_reply(exchange, 200, "application/json", NULL, &body);
}

static void reply_bad(struct pd_exchange *exchange, const char *sentence)
{
    pd_exchange_problem(exchange, &(struct pd_problem_details){.status = 503,
                                                               .detail = sentence,
                                                               .retry_after_s = RETRY_AFTER_S});
}

static bool is_engine_up(const struct pd_api_context *api, const char **ret_sentence)
{
    return !api->healthy || api->healthy(api->healthy_arg, ret_sentence);
}

bool pd_api_is_ready(const struct pd_api_context *api, const char **ret_sentence)
{
    if (!api->draining)
        return is_engine_up(api, ret_sentence);
    *ret_sentence = "the service is stopping";
    return false;
}

void pd_livez_handle(void *arg, struct pd_exchange *exchange)
{
    (void)arg;
    reply_ok(exchange);
}

void pd_readyz_handle(void *arg, struct pd_exchange *exchange)
{
    const struct pd_api_context *api = arg;
    const char *sentence = "";

    if (pd_api_is_ready(api, &sentence))
        reply_ok(exchange);
    else
        reply_bad(exchange, sentence);
}

static bool is_database_well(const struct pd_api_context *api, const char **ret_sentence)
{
    return !api->records || pd_records_is_healthy(api->records, ret_sentence);
}

void pd_health_handle(void *arg, struct pd_exchange *exchange)
{
    const struct pd_api_context *api = arg;
    const char *sentence = "";

    if (!is_engine_up(api, &sentence) || !pd_dispatch_is_healthy(api->dispatch, &sentence) ||
        !is_database_well(api, &sentence))
        reply_bad(exchange, sentence);
    else
        reply_ok(exchange);
}
