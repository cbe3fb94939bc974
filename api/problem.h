/* Problem details: the body of every error answer (RFC 9457).
 *
 *   {"type":"about:blank","title":"Unprocessable Content","status":422,
 *    "detail":"timeout: must be <= 300, got 900","request_id":"...",
 *    "errors":[{"path":"timeout","message":"must be <= 300, got 900"}]} */
#ifndef PD_API_PROBLEM_H
#define PD_API_PROBLEM_H

#include "common/buf.h"
#include "common/err.h"
#include "common/schema.h"

#define PD_PROBLEM_CONTENT_TYPE "application/problem+json"
#define PD_PROBLEM_BYTES_MAX (64u * 1024)
#define PD_RETRY_AFTER_MAX_S 600
#define PD_RETRY_AFTER_DEFAULT_S 1

struct pd_problem_details {
    int status;                       /* 400..599 */
    const char *detail;               /* a sentence for people; may quote outside text */
    const char *request_id;           /* NULL for none */
    const struct pd_problems *errors; /* NULL for none: what is wrong with which field */
    int retry_after_s;                /* 0 for no Retry-After; otherwise 1..PD_RETRY_AFTER_MAX_S */
    const char *allow;                /* the Allow header of a 405, NULL otherwise */
};

/* "Not Found" for 404 (RFC 9110, section 15); "Error" for what has no name
 * here. Static storage. */
const char *pd_status_title(int status);

/* How a run that was refused, or never began, is told. `err` is borrowed by *ret. */
void pd_failure_details(const struct pd_err *err, int retry_after_s,
                        struct pd_problem_details *ret);

/* Append the JSON body. 0 or PD_LIMIT. */
int pd_problem_details_format(const struct pd_problem_details *details, struct pd_buf *out,
                              struct pd_err *err);

/* Milliseconds that a client had better wait, as Retry-After wants them. */
int pd_retry_after_s(int64_t wait_ms);

#endif
