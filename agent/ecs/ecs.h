/* What the agent of an ECS task has beyond that of a container on Docker: a way
 * into the image (install.c), and a front that carries its frames over TLS
 * (front.c), since there is no engine whose attach stream could. */
#ifndef PD_AGENT_ECS_ECS_H
#define PD_AGENT_ECS_ECS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ECS_PORT 8723
#define ECS_OWNER_VARIABLE                                                                         \
    "PADDOCK_OWNER_KEY" /* 130 hex digits: an uncompressed point of P-256                          \
                         */
#define ECS_POINT_BYTES 65
#define ECS_FRONT_UID 49998 /* nobody's: no program of a run has it */
#define ECS_PLAIN_UID 50001 /* isolation container: the agent and its program */
#define ECS_PLAIN_VARIABLE "PADDOCK_PLAIN_USER" /* in the environment: be that one */
#define ECS_SESSIONS_MAX 4  /* the owner's, and those that have yet to show that they are it */
#define ECS_OPENING_MS 10000

/* Called first of all. `agent install DIR` does that and does not return;
 * otherwise the front has been started when this returns, and stdin and stdout
 * lead to it. Returns its pid. Ends the process when that cannot be. */
pid_t ecs_begin(int argc, char **argv);

/* install.c: the agent and what it brings, from the root of its own image. The
 * exit status. */
int ecs_install(const char *to);

/* front.c: never returns. `agent` is the other end of the agent's stdin and stdout. */
void ecs_front(int agent, int listener, const uint8_t owner[ECS_POINT_BYTES])
    __attribute__((noreturn));

/* ---- tls.c: sessions, by BearSSL (TLS 1.2, ECDHE-ECDSA with AES-GCM) ---- */

/* Make this task's own key and its certificate, and remember the owner's key. */
bool tls_init(const uint8_t owner[ECS_POINT_BYTES]);

enum { TLS_WANTS_READ = 1, TLS_WANTS_WRITE = 2, TLS_HAS_DATA = 4, TLS_TAKES_DATA = 8 };

/* Begin a session on slot `i`; whoever is there proves first that the owner's
 * key is his, or it never has data. */
bool tls_open(unsigned i);
/* What can be done now: a set of the above; 0: it has ended. */
unsigned tls_state(unsigned i);
/* The socket is readable, or writable: false: the connection is over. */
bool tls_receive(unsigned i, int fd);
bool tls_send(unsigned i, int fd);
/* Data from the peer, decrypted; then how much of it was used. */
const uint8_t *tls_data(unsigned i, size_t *ret_len);
void tls_used(unsigned i, size_t len);
/* Where data for the peer goes; then how much was put there. */
uint8_t *tls_room(unsigned i, size_t *ret_len);
void tls_filled(unsigned i, size_t len);
/* Say goodbye once what was filled has been sent. */
void tls_end(unsigned i);

/* ---- certificate.c ---- */

#define CERTIFICATE_BYTES_MAX 512
/* A certificate that says nothing but the key: the peer pins that. `sign` signs
 * a SHA-256 hash as an ASN.1 ECDSA signature and returns its length, 0: failed.
 * Returns the certificate's length or 0. */
size_t certificate_make(const uint8_t point[ECS_POINT_BYTES],
                        size_t (*sign)(const uint8_t hash[32], uint8_t *out),
                        uint8_t out[CERTIFICATE_BYTES_MAX]);
/* The name in it, in DER. */
const uint8_t *certificate_name(size_t *ret_len);

#endif
