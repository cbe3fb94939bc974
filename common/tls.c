#include "common/tls.h"

#include <arpa/inet.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "common/mem.h"
#include "common/tls_identity.h"

struct pd_tls {
    SSL *ssl;
    BIO *in;  /* protected bytes that came; the session's */
    BIO *out; /* protected bytes to be sent; the session's */
    bool is_pinned;
    unsigned char pin[PD_TLS_PIN_BYTES]; /* the peer's key's, wanted or seen */
};

/* The newest reason on OpenSSL's queue, which is empty afterwards. */
static const char *reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    return text ? text : "no reason given";
}

static int load_files(SSL_CTX *ctx, const struct pd_tls_config *config, struct pd_err *err)
{
    int ok = config->ca_file ? SSL_CTX_load_verify_locations(ctx, config->ca_file, NULL)
                             : SSL_CTX_set_default_verify_paths(ctx);

    if (ok != 1)
        return pd_err_set(err, PD_INVALID, "authorities in '%s': %s",
                          config->ca_file ? config->ca_file : "the system's store", reason());
    if (!config->cert_file)
        return 0;
    if (SSL_CTX_use_certificate_chain_file(ctx, config->cert_file) != 1)
        return pd_err_set(err, PD_INVALID, "certificate '%s': %s", config->cert_file, reason());
    if (SSL_CTX_use_PrivateKey_file(ctx, config->key_file, SSL_FILETYPE_PEM) != 1)
        return pd_err_set(err, PD_INVALID, "key '%s': %s", config->key_file, reason());
    return 0;
}

/* An address is compared with the certificate's addresses, and never sent as
 * the server's name (RFC 6066, 3). */
static bool set_peer(SSL *ssl, const char *peer)
{
    unsigned char address[16];

    if (inet_pton(AF_INET, peer, address) == 1 || inet_pton(AF_INET6, peer, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), peer) == 1;
    return SSL_set1_host(ssl, peer) == 1 && SSL_set_tlsext_host_name(ssl, peer) == 1;
}

static SSL_CTX *ctx_new(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
        abort();
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    return ctx;
}

/* A session over memory; it keeps a reference to ctx. */
static struct pd_tls *session_new(SSL_CTX *ctx)
{
    struct pd_tls *tls = PD_NEW(struct pd_tls);

    tls->ssl = SSL_new(ctx);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (!tls->ssl || !tls->in || !tls->out)
        abort();
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    return tls;
}

int pd_tls_new(const struct pd_tls_config *config, struct pd_tls **ret_tls, struct pd_err *err)
{
    SSL_CTX *ctx = ctx_new(TLS_client_method());
    struct pd_tls *tls;
    int rc;

    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    rc = load_files(ctx, config, err);
    if (rc < 0) {
        SSL_CTX_free(ctx);
        return rc;
    }
    tls = session_new(ctx);
    SSL_CTX_free(ctx);
    SSL_set_connect_state(tls->ssl);
    if (!set_peer(tls->ssl, config->peer)) {
        pd_tls_free(tls);
        return pd_err_set(err, PD_INVALID, "'%.200s' is no name of a peer", config->peer);
    }
    *ret_tls = tls;
    return 0;
}

/* ---- the serving side ---- */

/* Of the protocols that a client offers, HTTP/1.1 is the one spoken here
 * (RFC 7301); one who offers only others finds out by himself. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;

    (void)ssl, (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

struct pd_tls_server {
    SSL_CTX *ctx;
};

int pd_tls_server_new(const char *pem_file, struct pd_tls_server **ret_server, struct pd_err *err)
{
    SSL_CTX *ctx = ctx_new(TLS_server_method());

    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, pem_file) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, pem_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1) {
        SSL_CTX_free(ctx);
        return pd_err_set(err, PD_INVALID, "certificate and key in '%s': %s", pem_file, reason());
    }
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    *ret_server = PD_NEW(struct pd_tls_server);
    (*ret_server)->ctx = ctx;
    return 0;
}

void pd_tls_server_free(struct pd_tls_server *server)
{
    if (!server)
        return;
    SSL_CTX_free(server->ctx);
    free(server);
}

struct pd_tls *pd_tls_accept(struct pd_tls_server *server)
{
    struct pd_tls *tls = session_new(server->ctx);

    SSL_set_accept_state(tls->ssl);
    return tls;
}

void pd_tls_end(struct pd_tls *tls)
{
    ERR_clear_error();
    if (pd_tls_is_open(tls))
        SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

/* ---- both sides ---- */

/* ---- pinned peers ---- */

/* Instead of authorities, names and dates: the key, and nothing else. */
static int check_pin(X509_STORE_CTX *store, void *arg)
{
    struct pd_tls *tls = arg;
    X509 *certificate = X509_STORE_CTX_get0_cert(store);
    unsigned char pin[PD_TLS_PIN_BYTES], *der = NULL;
    int len = certificate ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der) : -1;

    if (len > 0)
        SHA256(der, (size_t)len, pin);
    OPENSSL_free(der);
    if (len <= 0 || (tls->is_pinned && CRYPTO_memcmp(pin, tls->pin, sizeof pin) != 0)) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
        return 0;
    }
    memcpy(tls->pin, pin, sizeof pin);
    return 1;
}

struct pd_tls *pd_tls_new_pinned(const struct pd_tls_identity *identity, const unsigned char *pin)
{
    SSL_CTX *ctx = ctx_new(TLS_client_method());
    struct pd_tls *tls;

    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_use_certificate(ctx, identity->certificate) != 1 ||
        SSL_CTX_use_PrivateKey(ctx, identity->key) != 1)
        abort();
    tls = session_new(ctx);
    if (pin) {
        memcpy(tls->pin, pin, sizeof tls->pin);
        tls->is_pinned = true;
    }
    SSL_CTX_set_cert_verify_callback(ctx, check_pin, tls);
    SSL_CTX_free(ctx); /* the session keeps a reference */
    SSL_set_connect_state(tls->ssl);
    return tls;
}

void pd_tls_pin(const struct pd_tls *tls, unsigned char out[static PD_TLS_PIN_BYTES])
{
    memcpy(out, tls->pin, PD_TLS_PIN_BYTES);
}

/* ---- sessions ---- */

void pd_tls_free(struct pd_tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl); /* and the two BIOs with it */
    free(tls);
}

/* What a negative result of OpenSSL's means: 0 when only more bytes are needed. */
static int failure(struct pd_tls *tls, int result, struct pd_err *err)
{
    long verdict = SSL_get_verify_result(tls->ssl);

    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        ERR_clear_error();
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        ERR_clear_error();
        return pd_err_set(err, PD_UNAVAILABLE, "the peer ended the TLS session");
    default:
        break;
    }
    if (verdict != X509_V_OK) {
        ERR_clear_error();
        return pd_err_set(err, PD_DENIED, "the peer's certificate: %s",
                          X509_verify_cert_error_string(verdict));
    }
    return pd_err_set(err, PD_UNAVAILABLE, "TLS: %s", reason());
}

int pd_tls_step(struct pd_tls *tls, struct pd_err *err)
{
    int result;

    if (pd_tls_is_open(tls))
        return 0;
    ERR_clear_error();
    result = SSL_do_handshake(tls->ssl);
    return result == 1 ? 0 : failure(tls, result, err);
}

bool pd_tls_is_open(const struct pd_tls *tls)
{
    return SSL_is_init_finished(tls->ssl);
}

void pd_tls_feed(struct pd_tls *tls, const void *data, size_t len)
{
    size_t taken = 0;

    if (len > 0 && (BIO_write_ex(tls->in, data, len, &taken) != 1 || taken != len))
        abort(); /* a memory BIO takes all, or there is no memory */
}

int pd_tls_read(struct pd_tls *tls, void *out, size_t out_bytes, struct pd_err *err)
{
    int result;

    ERR_clear_error();
    result = SSL_read(tls->ssl, out, out_bytes > INT_MAX ? INT_MAX : (int)out_bytes);
    return result > 0 ? result : failure(tls, result, err);
}

int pd_tls_write(struct pd_tls *tls, const void *data, size_t len, struct pd_err *err)
{
    size_t written = 0;

    if (len == 0)
        return 0;
    ERR_clear_error();
    if (SSL_write_ex(tls->ssl, data, len, &written) != 1 || written != len)
        return pd_err_set(err, PD_UNAVAILABLE, "TLS: %s", reason());
    return 0;
}

size_t pd_tls_to_send(struct pd_tls *tls, const char **ret_data)
{
    char *data = NULL;
    long len = BIO_get_mem_data(tls->out, &data);

    *ret_data = data;
    return len > 0 ? (size_t)len : 0;
}

void pd_tls_sent(struct pd_tls *tls)
{
    if (BIO_reset(tls->out) != 1)
        abort();
}
