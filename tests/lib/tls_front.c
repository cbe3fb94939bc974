#include "tests/lib/tls_front.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/mem.h"

#define CARRIED_MAX 64

struct pd_tls_front {
    SSL_CTX *ctx;
    char *unix_socket;
    int listener;
    pthread_t acceptor;
    pthread_t carriers[CARRIED_MAX];
    int fds[CARRIED_MAX];
    int carried;
};

struct carried {
    struct pd_tls_front *front;
    int fd;
};

/* ---- certificates ---- */

static X509 *certify(EVP_PKEY *key, const char *name, X509 *issuer, EVP_PKEY *issuer_key)
{
    static long serial = 1;
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);
    X509_EXTENSION *extension =
        X509V3_EXT_conf_nid(NULL, NULL, issuer ? NID_subject_alt_name : NID_basic_constraints,
                            issuer ? "IP:127.0.0.1" : "critical,CA:TRUE");

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject);
    X509_set_pubkey(cert, key);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    X509_sign(cert, issuer_key, EVP_sha256());
    return cert;
}

static FILE *create(const char *folder, const char *name)
{
    pd_autofree char *path = pd_asprintf("%s/%s", folder, name);
    FILE *file = fopen(path, "w");

    if (!file)
        abort();
    return file;
}

static void save_cert(const char *folder, const char *name, X509 *cert)
{
    FILE *file = create(folder, name);

    PEM_write_X509(file, cert);
    fclose(file);
}

static void save_key(const char *folder, const char *name, EVP_PKEY *key)
{
    FILE *file = create(folder, name);

    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
}

static SSL_CTX *ctx_new(const char *folder)
{
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
    EVP_PKEY *other_key = EVP_EC_gen("P-256"), *server_key = EVP_EC_gen("P-256");
    X509 *ca = certify(ca_key, "test ca", NULL, ca_key);
    X509 *other = certify(other_key, "other ca", NULL, other_key);
    X509 *cert = certify(key, "client", ca, ca_key);
    X509 *server = certify(server_key, "server", ca, ca_key);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    save_cert(folder, "ca.pem", ca);
    save_cert(folder, "other-ca.pem", other);
    save_cert(folder, "cert.pem", cert);
    save_key(folder, "key.pem", key);
    save_cert(folder, "server.pem", server);
    save_key(folder, "server-key.pem", server_key);
    SSL_CTX_use_certificate(ctx, server);
    SSL_CTX_use_PrivateKey(ctx, server_key);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    X509_free(ca);
    X509_free(other);
    X509_free(cert);
    X509_free(server);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other_key);
    EVP_PKEY_free(server_key);
    return ctx;
}

void pd_tls_front_certify(const char *folder)
{
    SSL_CTX_free(ctx_new(folder));
}

/* ---- carrying ---- */

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    pd_strcpy(address.sun_path, sizeof address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static int write_all(int fd, const char *data, int len)
{
    for (int at = 0; at < len;) {
        ssize_t n = send(fd, data + at, (size_t)(len - at), MSG_NOSIGNAL);
        if (n <= 0)
            return -1;
        at += (int)n;
    }
    return 0;
}

/* One step in one direction; negative: over. */
static int from_tls(SSL *ssl, int unix_fd)
{
    char data[16384];
    int n = SSL_read(ssl, data, sizeof data);

    return n <= 0 ? -1 : write_all(unix_fd, data, n);
}

static int from_unix(SSL *ssl, int unix_fd)
{
    char data[16384];
    ssize_t n = read(unix_fd, data, sizeof data);

    return n <= 0 || SSL_write(ssl, data, (int)n) != n ? -1 : 0;
}

static void carry(SSL *ssl, int fd, int unix_fd)
{
    int rc = 0;

    while (rc == 0) {
        struct pollfd fds[2] = {{fd, POLLIN, 0}, {unix_fd, POLLIN, 0}};
        if (SSL_pending(ssl) > 0)
            fds[0].revents = POLLIN;
        else if (poll(fds, 2, -1) < 0)
            return;
        if (fds[1].revents)
            rc = from_unix(ssl, unix_fd);
        if (rc == 0 && fds[0].revents)
            rc = from_tls(ssl, unix_fd);
    }
}

static void *carrier(void *arg)
{
    struct carried *carried = arg;
    SSL *ssl = SSL_new(carried->front->ctx);
    int unix_fd = -1;

    SSL_set_fd(ssl, carried->fd);
    if (SSL_accept(ssl) == 1 && (unix_fd = connect_unix(carried->front->unix_socket)) >= 0)
        carry(ssl, carried->fd, unix_fd);
    SSL_free(ssl);
    shutdown(carried->fd, SHUT_RDWR); /* closed by the front's end */
    if (unix_fd >= 0)
        close(unix_fd);
    free(carried);
    return NULL;
}

static void *acceptor(void *arg)
{
    struct pd_tls_front *front = arg;
    int fd;

    while (front->carried < CARRIED_MAX && (fd = accept(front->listener, NULL, NULL)) >= 0) {
        struct carried *carried = PD_NEW(struct carried);
        *carried = (struct carried){front, fd};
        front->fds[front->carried] = fd;
        pthread_create(&front->carriers[front->carried++], NULL, carrier, carried);
    }
    return NULL;
}

/* ---- life ---- */

struct pd_tls_front *pd_tls_front_open(const char *folder, const char *unix_socket)
{
    struct pd_tls_front *front = PD_NEW(struct pd_tls_front);
    struct sockaddr_in address = {.sin_family = AF_INET};

    front->ctx = ctx_new(folder);
    front->unix_socket = pd_strdup(unix_socket);
    front->listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(front->listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(front->listener, 16) < 0 ||
        pthread_create(&front->acceptor, NULL, acceptor, front) != 0)
        abort();
    return front;
}

int pd_tls_front_port(const struct pd_tls_front *front)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;

    getsockname(front->listener, (struct sockaddr *)&address, &len);
    return ntohs(address.sin_port);
}

void pd_tls_front_close(struct pd_tls_front *front)
{
    shutdown(front->listener, SHUT_RDWR);
    pthread_join(front->acceptor, NULL);
    close(front->listener);
    for (int i = 0; i < front->carried; i++) {
        shutdown(front->fds[i], SHUT_RDWR);
        pthread_join(front->carriers[i], NULL);
        close(front->fds[i]);
    }
    SSL_CTX_free(front->ctx);
    free(front->unix_socket);
    free(front);
}
