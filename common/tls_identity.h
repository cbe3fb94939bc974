/* Inside of struct pd_tls_identity (common/tls.h), for tls.c and tls_identity.c. */
#ifndef PD_COMMON_TLS_IDENTITY_H
#define PD_COMMON_TLS_IDENTITY_H

#include <openssl/evp.h>
#include <openssl/x509.h>

struct pd_tls_identity {
    EVP_PKEY *key;
    X509 *certificate;
};

#endif
