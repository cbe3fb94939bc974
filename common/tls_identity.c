#include "common/tls_identity.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/tls.h"

#define CURVE "prime256v1"

/* A peer looks at the key only; the rest is what a certificate must have. */
static X509 *certificate_new(EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    X509_NAME *name;

    if (!certificate)
        abort();
    name = X509_get_subject_name(certificate);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -24L * 3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 100L * 365 * 24 * 3600);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"paddock", -1, -1,
                               0);
    X509_set_issuer_name(certificate, name);
    if (X509_set_pubkey(certificate, key) != 1 || X509_sign(certificate, key, EVP_sha256()) == 0)
        abort();
    return certificate;
}

static struct pd_tls_identity *identity_new(EVP_PKEY *key)
{
    struct pd_tls_identity *identity = PD_NEW(struct pd_tls_identity);

    identity->key = key;
    identity->certificate = certificate_new(key);
    return identity;
}

struct pd_tls_identity *pd_tls_identity_make(void)
{
    EVP_PKEY *key = EVP_EC_gen(CURVE);

    if (!key)
        abort();
    return identity_new(key);
}

static bool is_of_curve(const EVP_PKEY *key)
{
    char group[64];
    size_t len;

    return EVP_PKEY_get_group_name(key, group, sizeof group, &len) == 1 &&
           strcmp(group, CURVE) == 0;
}

int pd_tls_identity_parse(const char *pem, size_t len, struct pd_tls_identity **ret_identity,
                          struct pd_err *err)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t) "") : NULL;

    BIO_free(bio);
    ERR_clear_error();
    if (!key || !is_of_curve(key)) {
        EVP_PKEY_free(key);
        return pd_err_set(err, PD_INVALID, "no private key of P-256 in PEM");
    }
    *ret_identity = identity_new(key);
    return 0;
}

struct pd_secret pd_tls_identity_pem(const struct pd_tls_identity *identity)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    struct pd_secret secret;
    char *text = NULL;
    long len;

    if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, identity->key, NULL, NULL, 0, NULL, NULL) != 1)
        abort();
    len = BIO_get_mem_data(bio, &text);
    secret = pd_secret_new(text, (size_t)len);
    pd_wipe(text, (size_t)len);
    BIO_free(bio);
    return secret;
}

void pd_tls_identity_point(const struct pd_tls_identity *identity,
                           unsigned char out[static PD_TLS_POINT_BYTES])
{
    size_t len = 0;

    if (EVP_PKEY_get_octet_string_param(identity->key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, out,
                                        PD_TLS_POINT_BYTES, &len) != 1 ||
        len != PD_TLS_POINT_BYTES || out[0] != 4)
        abort();
}

void pd_tls_identity_free(struct pd_tls_identity *identity)
{
    if (!identity)
        return;
    EVP_PKEY_free(identity->key);
    X509_free(identity->certificate);
    free(identity);
}
