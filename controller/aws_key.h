/* A key to sign with, and the answers in which AWS hands one out: a credential
 * process or endpoint (JSON), STS (XML), files and environment. No error tells
 * what was in an answer that could not be read. */
#ifndef PD_CONTROLLER_AWS_KEY_H
#define PD_CONTROLLER_AWS_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/secret.h"

#define PD_AWS_KEY_ID_MAX 129
#define PD_AWS_ANSWER_BYTES_MAX (64u * 1024)

struct pd_aws_key {
    char id[PD_AWS_KEY_ID_MAX];
    struct pd_secret secret;
    struct pd_secret token;  /* empty: none */
    int64_t expires_wall_ms; /* 0: never */
};

/* PD_INVALID: no key, or one with bytes that no header can carry. */
int pd_aws_key_set(struct pd_aws_key *key, const char *id, const char *secret, const char *token,
                   const char *expiration, struct pd_err *err);
struct pd_aws_key pd_aws_key_copy(const struct pd_aws_key *key);
void pd_aws_key_fini(struct pd_aws_key *key);

/* {"AccessKeyId", "SecretAccessKey", "Token" or "SessionToken", "Expiration"};
 * a credential process also says "Version": 1, which `versioned` demands. */
int pd_aws_key_from_json(const char *text, size_t len, int versioned, struct pd_aws_key *ret_key,
                         struct pd_err *err) __attribute__((warn_unused_result));
/* STS AssumeRole and AssumeRoleWithWebIdentity, version 2011-06-15. */
int pd_aws_key_from_sts(const char *text, size_t len, struct pd_aws_key *ret_key,
                        struct pd_err *err) __attribute__((warn_unused_result));
/* The Code of an STS error into `out`, "" where there is none. */
void pd_aws_sts_code(const char *text, char *out, size_t out_bytes);

/* "2026-01-31T12:00:00Z", with a fraction or an offset too (RFC 3339); 0: no time. */
int64_t pd_aws_time_parse(const char *text);

#endif
