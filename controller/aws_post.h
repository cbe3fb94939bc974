/* A POST to a service of AWS, signed (aws_sigv4.h) or not: what ECS and STS are asked with. */
#ifndef PD_CONTROLLER_AWS_POST_H
#define PD_CONTROLLER_AWS_POST_H

#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/loop_curl.h"
#include "controller/aws_key.h"

/* Everything is borrowed for the call. */
struct pd_aws_post {
    const char *endpoint;         /* "https://host" or with a port; the path asked for is "/" */
    const char *region, *service; /* it is signed for */
    const char *content_type;
    const char *target; /* X-Amz-Target; NULL: none */
    const struct pd_buf *body;
    const struct pd_aws_key *key; /* NULL: unsigned */
    int64_t wall_ms;              /* AWS's time, as far as known */
    int64_t timeout_ms, connect_timeout_ms;
    size_t response_bytes_max;
};

/* 0: cb fires once, from the loop (pd_http_send). Negative: it was not sent: it cannot be signed,
 * or http is closing. No copy of the session's token stays behind but the one that is sent. */
int pd_aws_post(struct pd_http *http, const struct pd_aws_post *post, pd_http_cb cb, void *arg,
                struct pd_http_request **ret_request, struct pd_err *err)
    __attribute__((warn_unused_result));

#endif
