/* How many runs a key may ask for: its rate (keys.h), told with every answer.
 *
 * RateLimit-Policy and RateLimit as in draft-ietf-httpapi-ratelimit-headers-10,
 * sections 3 and 4: "runs";q=<runs>;w=<seconds>, and "runs";r=<left>;t=<seconds
 * until all are there again>. Beyond it 429, with the time until one run is
 * possible in Retry-After. A key without a rate costs nothing here. */
#ifndef PD_API_ADMISSION_H
#define PD_API_ADMISSION_H

#include <stdbool.h>

#include "api/context.h"
#include "api/server.h"

/* From on_request: take one run of the rate of the exchange's key and tell what is left with
 * the answer to come. False: there is none, and the exchange has been answered; or that is
 * not known yet, and on_request is called again when it is (pd_exchange_put_off). */
bool pd_admission_take(struct pd_api_context *api, struct pd_exchange *exchange);

/* Take up to so many more, as far as there are: of a batch, all of which was let in. */
void pd_admission_take_more(struct pd_api_context *api, const char *key_id, size_t count);

#endif
