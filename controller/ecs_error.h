/* ECS's answers that are no success: "Common Errors" and the errors of each
 * operation (Amazon ECS API reference, AWS JSON 1.1 protocol). */
#ifndef PD_CONTROLLER_ECS_ERROR_H
#define PD_CONTROLLER_ECS_ERROR_H

#include <stddef.h>

#include "common/err.h"
#include "common/loop_curl.h"
#include "common/node.h"

#define PD_ECS_CODE_MAX 96

/* What is to be done about one. */
enum pd_ecs_remedy {
    PD_ECS_TELL,  /* repeating it cannot help */
    PD_ECS_RETRY, /* after a pause */
    PD_ECS_SLOW,  /* likewise, and the bucket is empty */
    PD_ECS_KEY,   /* with another key */
    PD_ECS_CLOCK, /* signed by AWS's clock */
};

struct pd_ecs_failure {
    char code[PD_ECS_CODE_MAX]; /* "ThrottlingException"; "" unknown */
    enum pd_ecs_remedy remedy;
};

/* Read a response that is no 200: err is set, with the operation's name and, when
 * it is not allowed, that of the IAM action. The body may be anything. Returns
 * err->kind. */
int pd_ecs_error_read(const char *operation, const struct pd_http_response *response,
                      struct pd_ecs_failure *ret_failure, struct pd_err *err);

/* A reason in failures[] of RunTask, or the text of an error: PD_LIMIT where it
 * speaks of missing capacity or a quota, else `otherwise`. */
int pd_ecs_reason_kind(const char *reason, int otherwise);

#endif
