/* AWS Signature Version 4 for requests signed by their headers ("Authenticating
 * Requests: Using the Authorization Header", AWS Signature Version 4 signing
 * process). The time is an argument, so that a skewed clock can be corrected and
 * the public vectors checked. HMAC and SHA-256 are OpenSSL's. */
#ifndef PD_CONTROLLER_AWS_SIGV4_H
#define PD_CONTROLLER_AWS_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/secret.h"

#define PD_SIGV4_HEADERS_MAX 32
#define PD_SIGV4_TEXT_BYTES_MAX (64u * 1024) /* of a canonical request */
#define PD_SIGV4_HASH_TEXT 65                /* hex and a NUL */
#define PD_SIGV4_DATE_TEXT 17                /* "20150830T123600Z" and a NUL */

struct pd_sigv4_header {
    const char *name; /* any case */
    const char *value;
};

/* Everything is borrowed for the call. */
struct pd_sigv4_request {
    const char *method;
    const char *target; /* path, and query after a '?'; the path not percent-encoded */
    const struct pd_sigv4_header *headers; /* those to be signed; Host must be among them */
    size_t n_headers;
    const void *body;
    size_t body_len;
    const char *region;
    const char *service;
    const char *key_id;
    const struct pd_secret *secret;
    const struct pd_secret *token; /* of a session; NULL or empty: none */
    int64_t wall_ms;               /* when it is signed */
    bool keep_path;                /* do not resolve "." and ".." and "//" (S3's way) */
    bool sign_body;                /* add and sign X-Amz-Content-Sha256 */
    bool omit_token;               /* the session's token is sent, but not signed */
};

/* What it comes to. None of it is secret; `canonical` and `to_sign` are what a
 * refused request is compared by. */
struct pd_sigv4 {
    char date[PD_SIGV4_DATE_TEXT];      /* to be sent as X-Amz-Date */
    char body_hash[PD_SIGV4_HASH_TEXT]; /* as X-Amz-Content-Sha256, where sign_body */
    char signature[PD_SIGV4_HASH_TEXT];
    char *canonical;     /* the canonical request */
    char *to_sign;       /* the string to sign */
    char *authorization; /* to be sent as Authorization */
};

/* 0; PD_INVALID: no Host, too many headers, or one that cannot be sent; PD_LIMIT. */
int pd_sigv4_sign(const struct pd_sigv4_request *request, struct pd_sigv4 *ret_signed,
                  struct pd_err *err) __attribute__((warn_unused_result));
void pd_sigv4_fini(struct pd_sigv4 *sigv4);

#endif
