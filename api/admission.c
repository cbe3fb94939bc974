#include "api/admission.h"

#include <stdio.h>

#include "api/keys.h"
#include "api/ledger.h"

#define HEADERS_BYTES 160
#define DETAIL_BYTES 128

bool pd_admission_take(struct pd_api_context *api, struct pd_exchange *exchange)
{
    struct pd_rate rate;
    char headers[HEADERS_BYTES];
    char detail[DETAIL_BYTES];
    bool ok;

    if (api->ledger)
        pd_keys_divide(api->keys, api->ledger->ops->replicas(api->ledger));
    ok = pd_keys_take(api->keys, pd_exchange_key_id(exchange), pd_time_now(), &rate);

    if (rate.limit == 0)
        return true;
    snprintf(headers, sizeof headers,
             "RateLimit-Policy: \"runs\";q=%d;w=%d\r\nRateLimit: \"runs\";r=%d;t=%d\r\n",
             rate.limit, rate.seconds, rate.remaining, rate.reset_s);
    pd_exchange_add_headers(exchange, headers);
    if (ok)
        return true;
    snprintf(detail, sizeof detail, "this key may run %d programs in %d s", rate.limit,
             rate.seconds);
    pd_exchange_problem(exchange,
                        &(struct pd_problem_details){
                            .status = 429,
                            .detail = detail,
                            .retry_after_s = rate.retry_after_s > PD_RETRY_AFTER_MAX_S
                                                 ? PD_RETRY_AFTER_MAX_S
                                                 : rate.retry_after_s,
                        });
    return false;
}

void pd_admission_take_more(struct pd_api_context *api, const char *key_id, size_t count)
{
    struct pd_rate rate;

    while (count-- > 0 && pd_keys_take(api->keys, key_id, pd_time_now(), &rate) && rate.limit > 0)
        continue;
}
