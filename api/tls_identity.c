#include "api/tls_identity.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/buf.h"
#include "common/file.h"
#include "common/mem.h"

#define PEM_BYTES_MAX (64u * 1024)
#define SAN_BYTES_MAX 8192
#define SERIAL_BITS 127 /* positive in 16 bytes (RFC 5280, 4.1.2.2) */
#define DAY_S INT64_C(86400)
#define SKEW_S 3600 /* a client's clock may be this far behind */

struct pair {
    X509 *cert;
    EVP_PKEY *key;
};

static void pair_free(struct pair *pair)
{
    X509_free(pair->cert);
    EVP_PKEY_free(pair->key);
    *pair = (struct pair){.cert = NULL};
}
#define autopair __attribute__((cleanup(pair_free)))

static int openssl_err(struct pd_err *err, int kind, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    return pd_err_set(err, kind, "%s: %s", what, text ? text : "no reason given");
}

/* ---- files ---- */

/* No passphrase is ever asked for. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf, (void)size, (void)rwflag, (void)arg;
    return -1;
}

static int parse_pair(const char *text, size_t len, struct pair *ret, struct pd_err *err)
{
    autopair struct pair pair = {.cert = NULL};
    BIO *bio = BIO_new_mem_buf(text, (int)len);

    pair.cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    bio = BIO_new_mem_buf(text, (int)len); /* in either order */
    pair.key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (!pair.cert)
        return openssl_err(err, PD_INVALID, "no certificate in PEM");
    if (!pair.key)
        return openssl_err(err, PD_INVALID, "no private key in PEM");
    ERR_clear_error();
    if (X509_check_private_key(pair.cert, pair.key) != 1)
        return openssl_err(err, PD_INVALID, "certificate and key do not belong together");
    *ret = pair;
    pair = (struct pair){.cert = NULL};
    return 0;
}

static int load_pair(const char *path, struct pair *ret, struct pd_err *err)
{
    char *text = NULL;
    size_t len = 0;
    int rc = pd_file_read(path, PEM_BYTES_MAX, &text, &len, err);

    if (rc < 0)
        return rc;
    rc = parse_pair(text, len, ret, err);
    pd_wipe(text, len);
    free(text);
    return rc < 0 ? pd_err_wrap(err, "'%s'", path) : 0;
}

static int save_pair(const char *path, const struct pair *pair, struct pd_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    long len;
    int rc;

    if (!bio || !PEM_write_bio_X509(bio, pair->cert) ||
        !PEM_write_bio_PKCS8PrivateKey(bio, pair->key, NULL, NULL, 0, NULL, NULL))
        abort(); /* into memory, of what was just made */
    len = BIO_get_mem_data(bio, &data);
    rc = pd_file_write_atomic(path, data, (size_t)len, 0600, err);
    pd_wipe(data, (size_t)len);
    BIO_free(bio);
    return rc;
}

/* ---- names ---- */

static bool is_address(const char *text)
{
    unsigned char address[16];

    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

static bool is_dns_name(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len <= 253 && text[0] != '-' && text[0] != '.' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-*") == len;
}

static int add_name(const char *name, struct pd_buf *san, struct pd_err *err)
{
    bool address = is_address(name);

    if (!address && !is_dns_name(name))
        return pd_err_set(err, PD_INVALID, "'%.100s' is neither a host's name nor its address",
                          name);
    return pd_buf_addf(san, err, "%s%s:%s", san->len ? "," : "", address ? "IP" : "DNS", name);
}

/* As OpenSSL writes a list of names: "DNS:localhost,IP:127.0.0.1,...". */
static int san_text(const char *names, struct pd_buf *san, struct pd_err *err)
{
    static const char *const always[] = {"localhost", "127.0.0.1", "::1"};
    size_t count = 0;
    int rc = 0;

    for (size_t i = 0; i < PD_COUNT(always) && rc == 0; i++)
        rc = add_name(always[i], san, err);
    for (const char *p = names ? names : ""; rc == 0 && *p; p += strcspn(p, ", ")) {
        pd_autofree char *name = NULL;
        p += strspn(p, ", ");
        name = pd_strndup(p, strcspn(p, ", "));
        if (*name && ++count > PD_IDENTITY_NAMES_MAX)
            rc = pd_err_set(err, PD_INVALID, "more than %d names", PD_IDENTITY_NAMES_MAX);
        else if (*name)
            rc = add_name(name, san, err);
    }
    return rc;
}

static X509_EXTENSION *extension(X509 *issuer, X509 *subject, int nid, const char *value)
{
    X509V3_CTX ctx;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, subject, NULL, NULL, 0);
    return X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
}

static bool has_extension(X509 *cert, X509_EXTENSION *wanted, int nid)
{
    int at = X509_get_ext_by_NID(cert, nid, -1);
    X509_EXTENSION *found = at >= 0 ? X509_get_ext(cert, at) : NULL;

    return found && ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data(found),
                                          X509_EXTENSION_get_data(wanted)) == 0;
}

/* ---- making ---- */

static void set_serial(X509 *cert)
{
    BIGNUM *serial = BN_new();

    if (!serial || !BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) ||
        !BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)))
        abort();
    BN_free(serial);
}

static void set_times(X509 *cert, int64_t now_s, int64_t until_s)
{
    if (!ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(now_s - SKEW_S)) ||
        !ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)until_s))
        abort();
}

static void add_extension(X509 *issuer, X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *ext = extension(issuer, cert, nid, value);

    if (!ext || !X509_add_ext(cert, ext, -1))
        abort(); /* texts of our own, and names that were checked */
    X509_EXTENSION_free(ext);
}

/* An unsigned certificate with a new key; its issuer is itself so far. */
static struct pair begin(const char *common_name, int64_t now_s, int64_t until_s)
{
    struct pair pair = {.cert = X509_new(), .key = EVP_EC_gen("P-256")};
    X509_NAME *name;

    if (!pair.cert || !pair.key || !X509_set_version(pair.cert, X509_VERSION_3) ||
        !X509_set_pubkey(pair.cert, pair.key))
        abort();
    set_serial(pair.cert);
    set_times(pair.cert, now_s, until_s);
    name = X509_get_subject_name(pair.cert);
    if (!X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name,
                                    -1, -1, 0) ||
        !X509_set_issuer_name(pair.cert, name))
        abort();
    return pair;
}

static struct pair make_ca(int64_t now_s)
{
    struct pair ca = begin("paddock authority", now_s, now_s + PD_IDENTITY_CA_DAYS * DAY_S);

    add_extension(ca.cert, ca.cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    add_extension(ca.cert, ca.cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(ca.cert, ca.cert, NID_subject_key_identifier, "hash");
    if (!X509_sign(ca.cert, ca.key, EVP_sha256()))
        abort();
    return ca;
}

static int64_t seconds_left(X509 *cert, int64_t now_s)
{
    struct tm utc = {0};

    if (!ASN1_TIME_to_tm(X509_get0_notAfter(cert), &utc))
        return 0;
    return (int64_t)timegm(&utc) - now_s;
}

static int make_server(const struct pair *ca, const char *san, int64_t now_s, struct pair *ret,
                       struct pd_err *err)
{
    int64_t ca_left_s = seconds_left(ca->cert, now_s);
    int64_t left_s = PD_IDENTITY_SERVER_DAYS * DAY_S;
    struct pair server;

    if (ca_left_s < left_s)
        left_s = ca_left_s;
    server = begin("paddock", now_s, now_s + left_s);
    if (!X509_set_issuer_name(server.cert, X509_get_subject_name(ca->cert)))
        abort();
    add_extension(ca->cert, server.cert, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(ca->cert, server.cert, NID_key_usage, "critical,digitalSignature");
    add_extension(ca->cert, server.cert, NID_ext_key_usage, "serverAuth");
    add_extension(ca->cert, server.cert, NID_subject_key_identifier, "hash");
    add_extension(ca->cert, server.cert, NID_subject_alt_name, san);
    if (!X509_sign(server.cert, ca->key, EVP_sha256())) {
        pair_free(&server);
        return openssl_err(err, PD_INVALID, "the authority's key cannot sign");
    }
    *ret = server;
    return 0;
}

/* ---- what is there ---- */

static char *own_ca_path(const struct pd_identity_config *config)
{
    return pd_asprintf("%s/ca.pem", config->dir);
}

static int given_ca(const struct pd_identity_config *config, struct pair *ret, struct pd_err *err)
{
    autopair struct pair ca = {.cert = NULL};
    int rc = load_pair(config->ca_file, &ca, err);

    if (rc < 0)
        return rc == PD_NOT_FOUND && err ? pd_err_set(err, PD_INVALID, "%s", err->msg) : rc;
    if (X509_check_ca(ca.cert) < 1)
        return pd_err_set(err, PD_INVALID, "'%s' is no authority's certificate", config->ca_file);
    if (seconds_left(ca.cert, config->now_s) <= 0)
        return pd_err_set(err, PD_INVALID, "the authority in '%s' has run out", config->ca_file);
    *ret = ca;
    ca = (struct pair){.cert = NULL};
    return 0;
}

static int own_ca(const struct pd_identity_config *config, struct pair *ret, struct pd_err *err)
{
    pd_autofree char *path = own_ca_path(config);
    autopair struct pair ca = {.cert = NULL};
    int rc = load_pair(path, &ca, err);

    if (rc < 0 && rc != PD_NOT_FOUND)
        return rc;
    /* It outlives what it signs, so that clients learn of a new one in time. */
    if (rc == PD_NOT_FOUND ||
        seconds_left(ca.cert, config->now_s) < PD_IDENTITY_SERVER_DAYS * DAY_S) {
        pair_free(&ca);
        ca = make_ca(config->now_s);
        rc = save_pair(path, &ca, err);
        if (rc < 0)
            return rc;
    }
    *ret = ca;
    ca = (struct pair){.cert = NULL};
    return 0;
}

static bool is_server_good(const struct pair *server, const struct pair *ca, const char *san,
                           int64_t now_s)
{
    X509_EXTENSION *wanted = extension(ca->cert, server->cert, NID_subject_alt_name, san);
    bool good =
        wanted && has_extension(server->cert, wanted, NID_subject_alt_name) &&
        X509_NAME_cmp(X509_get_issuer_name(server->cert), X509_get_subject_name(ca->cert)) == 0 &&
        X509_verify(server->cert, X509_get0_pubkey(ca->cert)) == 1 &&
        X509_cmp_time(X509_get0_notBefore(server->cert), &(time_t){(time_t)now_s}) < 0;
    int64_t left_s = seconds_left(server->cert, now_s);

    X509_EXTENSION_free(wanted);
    ERR_clear_error();
    /* An authority that itself runs out soon can give no more than it has. */
    return good && left_s > 0 &&
           (left_s >= PD_IDENTITY_RENEW_DAYS * DAY_S || left_s >= seconds_left(ca->cert, now_s));
}

int pd_identity_prepare(const struct pd_identity_config *config, char **ret_path, bool *ret_changed,
                        struct pd_err *err)
{
    pd_autofree char *path = pd_asprintf("%s/server.pem", config->dir);
    autopair struct pair ca = {.cert = NULL}, server = {.cert = NULL};
    pd_autobuf struct pd_buf san;
    bool changed = false;
    int rc;

    pd_buf_init(&san, SAN_BYTES_MAX);
    if (mkdir(config->dir, 0700) < 0 && errno != EEXIST)
        return pd_err_os(err, PD_DENIED, errno, "make folder '%s'", config->dir);
    rc = san_text(config->names, &san, err);
    if (rc == 0)
        rc = config->ca_file ? given_ca(config, &ca, err) : own_ca(config, &ca, err);
    if (rc < 0)
        return rc;
    if (load_pair(path, &server, NULL) < 0 ||
        !is_server_good(&server, &ca, san.data, config->now_s)) {
        pair_free(&server);
        rc = make_server(&ca, san.data, config->now_s, &server, err);
        if (rc == 0)
            rc = save_pair(path, &server, err);
        if (rc < 0)
            return rc;
        changed = true;
    }
    *ret_path = PD_STEAL(path);
    if (ret_changed)
        *ret_changed = changed;
    return 0;
}

int pd_identity_ca(const struct pd_identity_config *config, char **ret_pem, struct pd_err *err)
{
    pd_autofree char *own = own_ca_path(config);
    autopair struct pair ca = {.cert = NULL};
    BIO *bio;
    char *data;
    long len;
    int rc = load_pair(config->ca_file ? config->ca_file : own, &ca, err);

    if (rc < 0)
        return rc;
    bio = BIO_new(BIO_s_mem());
    if (!bio || !PEM_write_bio_X509(bio, ca.cert))
        abort();
    len = BIO_get_mem_data(bio, &data);
    *ret_pem = pd_strndup(data, (size_t)len);
    BIO_free(bio);
    return 0;
}
