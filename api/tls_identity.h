/* Who this service is over TLS: an authority of its own and the certificate
 * that it signs for itself (RFC 5280, ECDSA on P-256). Both are made at the
 * first start and kept in a folder, certificate and key in one file each, so
 * that no crash parts them:
 *
 *   ca.pem      the authority, 0600; clients are given its certificate
 *   server.pem  the server's, 0600; made anew when it runs out within
 *               PD_IDENTITY_RENEW_DAYS, or names or authority have changed
 *
 * Replicas that are to share an authority are given one from outside. */
#ifndef PD_API_TLS_IDENTITY_H
#define PD_API_TLS_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define PD_IDENTITY_CA_DAYS 3650
#define PD_IDENTITY_SERVER_DAYS 397
#define PD_IDENTITY_RENEW_DAYS 90
#define PD_IDENTITY_NAMES_MAX 32

struct pd_identity_config {
    const char *dir;     /* made where it is missing, 0700; its parent exists */
    const char *ca_file; /* PEM with certificate and key from outside; NULL: an own one in `dir` */
    const char *names;   /* further names and addresses, separated by commas; NULL or "": none.
                            localhost, 127.0.0.1 and ::1 are always among them */
    int64_t now_s;       /* seconds since 1970 */
};

/* Make sure that both are there and good, and say in which file the server's
 * is; the caller frees *ret_path. *ret_changed (may be NULL): it was made anew.
 * PD_INVALID: a name, or an authority from outside that cannot be used.
 * Blocks for a few milliseconds. */
int pd_identity_prepare(const struct pd_identity_config *config, char **ret_path,
                        bool *ret_changed, struct pd_err *err) __attribute__((warn_unused_result));

/* The authority's certificate alone, as PEM; the caller frees it. PD_NOT_FOUND
 * before the first start. */
int pd_identity_ca(const struct pd_identity_config *config, char **ret_pem, struct pd_err *err)
    __attribute__((warn_unused_result));

#endif
