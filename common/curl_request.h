/* A request as curl is told of it: options of an easy handle. What curl tells back, and the loop,
 * are loop_curl.c's, which alone includes this. */
#ifndef PD_COMMON_CURL_REQUEST_H
#define PD_COMMON_CURL_REQUEST_H

#include <curl/curl.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/loop_curl.h"

/* Set what params ask for. *sent (not initialised before) gets a copy of the body, which curl
 * does not make, and *headers a list: the caller ends both after the handle, on failure, too.
 * PD_INVALID: no http or https URL, or a header with a line break in it. */
int pd_curl_request(CURL *easy, const struct pd_http_params *params, struct pd_buf *sent,
                    struct curl_slist **headers, struct pd_err *err)
    __attribute__((warn_unused_result));

#endif
