/* Where a key comes from: the chain of the AWS SDKs ("Standardized credential
 * providers", AWS SDKs and Tools Reference Guide), found from the environment and
 * the shared files:
 *
 *   environment > profile > web identity > container > IMDSv2
 *
 * A profile may itself assume a role with the key of another source. */
#ifndef PD_CONTROLLER_AWS_SOURCE_H
#define PD_CONTROLLER_AWS_SOURCE_H

#include <stdbool.h>

#include "common/err.h"
#include "controller/aws_key.h"

#define PD_AWS_SOURCES_MAX 5 /* roles assumed one after another */
#define PD_AWS_REGION_MAX 64

enum pd_aws_source_kind {
    PD_AWS_STATIC,       /* `key` */
    PD_AWS_PROCESS,      /* `command` prints one */
    PD_AWS_ASSUME_ROLE,  /* STS, signed with the key of `from` */
    PD_AWS_WEB_IDENTITY, /* STS, with the token in `token_file` */
    PD_AWS_CONTAINER,    /* `url`, with the token in `token_file` or `token` */
    PD_AWS_IMDS,         /* `url`: the instance metadata service, version 2 */
};

struct pd_aws_source {
    enum pd_aws_source_kind kind;
    const char *name; /* for people: "environment", "profile", ... */
    struct pd_aws_key key;
    char *command;
    char *role_arn, *session_name, *external_id;
    int duration_s; /* 0: what STS thinks */
    char *token_file;
    struct pd_secret token;
    char *url;
    struct pd_aws_source *from;
};

/* PD_INVALID: a setting that cannot be used; the message names it and no value
 * that is secret. PD_NOT_FOUND: no source at all. Reads files. */
int pd_aws_source_find(struct pd_aws_source **ret_source, struct pd_err *err)
    __attribute__((warn_unused_result));
void pd_aws_source_free(struct pd_aws_source *source); /* NULL is fine */

/* AWS_REGION, AWS_DEFAULT_REGION, the profile's; false: none. */
bool pd_aws_region(char out[static PD_AWS_REGION_MAX]);

/* The endpoint of a service: AWS_ENDPOINT_URL_<SERVICE>, AWS_ENDPOINT_URL, else
 * AWS's own in that region. The caller frees. */
char *pd_aws_endpoint(const char *service, const char *region);

/* Whether a key may be asked for over plain HTTP there: loopback and the
 * link-local addresses of ECS and EKS. */
bool pd_aws_container_url_is_safe(const char *url);

#endif
