/* A TLS front for tests: accepts on loopback, demands a client certificate,
 * and carries the bytes to and from a unix socket. Threads of its own. */
#ifndef PD_TESTS_LIB_TLS_FRONT_H
#define PD_TESTS_LIB_TLS_FRONT_H

struct pd_tls_front;

/* Makes ca.pem, cert.pem and key.pem in `folder`, and other-ca.pem, which has
 * nothing to do with them; the front's own certificate is for 127.0.0.1. Aborts
 * where that cannot be done. */
struct pd_tls_front *pd_tls_front_open(const char *folder, const char *unix_socket);
/* Only the files, and server.pem and server-key.pem, for 127.0.0.1, for a server
 * that does TLS itself. */
void pd_tls_front_certify(const char *folder);
int pd_tls_front_port(const struct pd_tls_front *front);
void pd_tls_front_close(struct pd_tls_front *front);

#endif
