#include "api/admission.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/keys.h"
#include "api/ledger.h"
#include "api/rates.h"
#include "common/mem.h"

#define HEADERS_BYTES 160
#define DETAIL_BYTES 128

static void refuse(struct pd_exchange *exchange, const struct pd_rate *rate)
{
    char detail[DETAIL_BYTES];

    snprintf(detail, sizeof detail, "this key may run %d programs in %d s", rate->limit,
             rate->seconds);
    pd_exchange_problem(exchange, &(struct pd_problem_details){
                                      .status = 429,
                                      .detail = detail,
                                      .retry_after_s = rate->retry_after_s > PD_RETRY_AFTER_MAX_S
                                                           ? PD_RETRY_AFTER_MAX_S
                                                           : rate->retry_after_s,
                                  });
}

/* ---- waiting for what Redis says ---- */

struct waiting {
    struct pd_rates_waiter base;
    struct pd_exchange *exchange;
};

static void on_gone(void *arg)
{
    struct waiting *waiting = arg;

    pd_rates_forget(&waiting->base);
    free(waiting);
}

static void on_ready(struct pd_rates_waiter *base)
{
    struct waiting *waiting = PD_CONTAINER_OF(base, struct waiting, base);
    struct pd_exchange *exchange = waiting->exchange;

    free(waiting);
    pd_exchange_go_on(exchange);
}

static void wait_for_answer(struct pd_api_context *api, struct pd_exchange *exchange)
{
    struct waiting *waiting = PD_NEW(struct waiting);

    waiting->base.ready = on_ready;
    waiting->exchange = exchange;
    pd_exchange_put_off(exchange, on_gone, waiting);
    pd_rates_wait(api->rates, pd_exchange_key_id(exchange), &waiting->base);
}

/* ---- taking ---- */

bool pd_admission_take(struct pd_api_context *api, struct pd_exchange *exchange)
{
    struct pd_rate rate;
    char headers[HEADERS_BYTES];
    enum pd_lease_verdict verdict;

    if (api->ledger)
        pd_keys_divide(api->keys, api->ledger->ops->replicas(api->ledger));
    verdict = pd_rates_take(api->rates, pd_exchange_key_id(exchange), &rate);
    if (verdict == PD_LEASE_ASK) {
        wait_for_answer(api, exchange);
        return false;
    }
    if (rate.limit == 0)
        return true;
    snprintf(headers, sizeof headers,
             "RateLimit-Policy: \"runs\";q=%d;w=%d\r\nRateLimit: \"runs\";r=%d;t=%d\r\n",
             rate.limit, rate.seconds, rate.remaining, rate.reset_s);
    pd_exchange_add_headers(exchange, headers);
    if (verdict == PD_LEASE_NO)
        refuse(exchange, &rate);
    return verdict == PD_LEASE_YES;
}

void pd_admission_take_more(struct pd_api_context *api, const char *key_id, size_t count)
{
    pd_rates_take_more(api->rates, key_id, (int)count);
}
