/* A loopback HTTP server for tests, which says exactly what a test tells it
 * to, right or wrong. It runs on the test's own loop. */
#ifndef PD_TESTS_LIB_HTTP_PEER_H
#define PD_TESTS_LIB_HTTP_PEER_H

#include <stddef.h>
#include <uv.h>

struct pd_http_peer;
struct pd_peer_connection; /* until it was ended by either side */

/* A whole request (head, and body as Content-Length says) has come; the text is
 * terminated and borrowed. Answer now or later. */
typedef void (*pd_peer_cb)(void *arg, struct pd_peer_connection *connection, const char *request);

/* On 127.0.0.1 at a free port, or on a unix socket at `path`. */
struct pd_http_peer *pd_http_peer_open(uv_loop_t *loop, const char *path, pd_peer_cb cb, void *arg);
int pd_http_peer_port(const struct pd_http_peer *peer);
unsigned pd_http_peer_connections(const struct pd_http_peer *peer); /* ever accepted */
unsigned pd_http_peer_living(const struct pd_http_peer *peer);      /* open now */
/* Ends every connection; the peer is gone after some turns of the loop. */
void pd_http_peer_close(struct pd_http_peer *peer);

void pd_peer_say(struct pd_peer_connection *connection, const char *text);
void pd_peer_say_bytes(struct pd_peer_connection *connection, const void *data, size_t len);
/* After what was said has been sent. */
void pd_peer_end(struct pd_peer_connection *connection);

#endif
