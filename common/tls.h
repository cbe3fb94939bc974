/* TLS (RFC 8446, RFC 5246) as a pump between plain and protected bytes, by
 * OpenSSL, for streams that libcurl cannot carry. It owns no socket and never
 * waits: whoever owns the connection feeds it what came and sends what it
 * gives. */
#ifndef PD_COMMON_TLS_H
#define PD_COMMON_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "common/secret.h"

/* One record's payload: pd_tls_read never gives more at once. */
#define PD_TLS_RECORD_BYTES_MAX (16u * 1024)

struct pd_tls;

struct pd_tls_config {
    const char *ca_file;   /* PEM; NULL: the system's authorities */
    const char *cert_file; /* PEM, with key_file; NULL: none */
    const char *key_file;
    const char *peer; /* name or address that the peer's certificate must be for */
};

/* PD_INVALID: a file that cannot be used. The config is borrowed for the call. */
int pd_tls_new(const struct pd_tls_config *config, struct pd_tls **ret_tls, struct pd_err *err)
    __attribute__((warn_unused_result));
void pd_tls_free(struct pd_tls *tls); /* NULL is fine */

/* The serving side: one certificate and its key, for any number of sessions.
 * TLS 1.2 and 1.3; peers show no certificate of their own. */
struct pd_tls_server;
/* pem_file: chain and key, both in one PEM file. PD_INVALID: it cannot be used. */
int pd_tls_server_new(const char *pem_file, struct pd_tls_server **ret_server, struct pd_err *err)
    __attribute__((warn_unused_result));
/* Its sessions go on. NULL is fine. */
void pd_tls_server_free(struct pd_tls_server *server);
/* A session with a peer that has connected; it waits for the peer to begin. */
struct pd_tls *pd_tls_accept(struct pd_tls_server *server);
/* Tell the peer that no more will come (close_notify). */
void pd_tls_end(struct pd_tls *tls);

/* ---- peers known by their keys alone: the agents of ECS tasks ---- */

#define PD_TLS_PIN_BYTES 32   /* SHA-256 of a peer's key (SubjectPublicKeyInfo, DER) */
#define PD_TLS_POINT_BYTES 65 /* a key of P-256, uncompressed */

/* Our own key, and a certificate that says nothing but it. */
struct pd_tls_identity;

struct pd_tls_identity *pd_tls_identity_make(void);
/* From PEM (PKCS #8, P-256). PD_INVALID: it is none. */
int pd_tls_identity_parse(const char *pem, size_t len, struct pd_tls_identity **ret_identity,
                          struct pd_err *err) __attribute__((warn_unused_result));
/* To PEM, for a file that nobody else reads. */
struct pd_secret pd_tls_identity_pem(const struct pd_tls_identity *identity);
void pd_tls_identity_point(const struct pd_tls_identity *identity,
                           unsigned char out[static PD_TLS_POINT_BYTES]);
void pd_tls_identity_free(struct pd_tls_identity *identity); /* NULL is fine */

/* A session as that identity with a peer whose key has this pin, or any key where
 * `pin` is NULL: then pd_tls_pin tells which it was, once open. */
struct pd_tls *pd_tls_new_pinned(const struct pd_tls_identity *identity, const unsigned char *pin);
void pd_tls_pin(const struct pd_tls *tls, unsigned char out[static PD_TLS_PIN_BYTES]);

/* ---- sessions ---- */

/* Go on with the handshake, as far as what was fed allows; the first call
 * begins it. 0, whether or not it is done (pd_tls_is_open); PD_DENIED: the peer
 * is not trusted, or does not trust us; PD_UNAVAILABLE: it speaks no TLS. */
int pd_tls_step(struct pd_tls *tls, struct pd_err *err) __attribute__((warn_unused_result));
bool pd_tls_is_open(const struct pd_tls *tls);

/* Protected bytes that came from the peer: all of them are taken. */
void pd_tls_feed(struct pd_tls *tls, const void *data, size_t len);
/* Plain bytes out of them: their number, 0 when there are none now, negative
 * PD_UNAVAILABLE when the peer has ended or broken the session. */
int pd_tls_read(struct pd_tls *tls, void *out, size_t out_bytes, struct pd_err *err);

/* Plain bytes for the peer, once open. 0 or PD_UNAVAILABLE. */
int pd_tls_write(struct pd_tls *tls, const void *data, size_t len, struct pd_err *err)
    __attribute__((warn_unused_result));
/* Protected bytes to be sent, as many as there are; valid until the next call
 * with this session. Sent ones are forgotten by pd_tls_sent. */
size_t pd_tls_to_send(struct pd_tls *tls, const char **ret_data);
void pd_tls_sent(struct pd_tls *tls);

#endif
