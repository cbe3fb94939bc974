/* What STS is asked: AssumeRole and AssumeRoleWithWebIdentity (AWS Security Token
 * Service API reference, version 2011-06-15; AWS Query protocol). */
#ifndef PD_CONTROLLER_AWS_STS_H
#define PD_CONTROLLER_AWS_STS_H

#include "common/buf.h"
#include "common/err.h"
#include "controller/aws_source.h"

/* The form to post for the source's role. token: of the web identity, NULL: the call is
 * signed instead. It is secret then: wipe the form. PD_LIMIT: it does not fit. */
int pd_aws_sts_form(const struct pd_aws_source *source, const char *token, struct pd_buf *form,
                    struct pd_err *err) __attribute__((warn_unused_result));

#endif
