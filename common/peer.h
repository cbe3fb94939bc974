/* A connection that we open to a peer: a unix socket, TCP, or TLS over TCP with
 * the peer's certificate and name checked. Bytes both ways; what they mean is
 * its user's. Names are resolved and their addresses tried in turn. */
#ifndef PD_COMMON_PEER_H
#define PD_COMMON_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "common/err.h"
#include "common/tls.h"

struct pd_peer;

struct pd_peer_config {
    const char *name;        /* what it is, for messages: "Redis" */
    const char *socket_path; /* NULL: host and port */
    const char *host;
    int port;
    const struct pd_tls_config *tls; /* NULL: plain; its `peer` is what must be certified */
    int connect_timeout_ms;          /* up to being open, handshake included */
    size_t unsent_bytes_max;         /* what waits to be sent, at most */
};

struct pd_peer_events {
    void (*open)(void *arg);
    void (*data)(void *arg, const char *data, size_t len);
    /* Once: it could not be opened, or has ended. The user then closes it.
     * PD_UNAVAILABLE, PD_TIMEOUT, PD_DENIED (the peer's certificate), PD_INVALID
     * (a file of the TLS config). */
    void (*ended)(void *arg, const struct pd_err *err);
};

/* Everything is copied; `events` is static. Events fire from the loop, never
 * before this returns. */
struct pd_peer *pd_peer_open(uv_loop_t *loop, const struct pd_peer_config *config,
                             const struct pd_peer_events *events, void *arg);
/* Once open: all of `data` is taken (copied where it must wait). 0, PD_LIMIT
 * (nothing taken), PD_UNAVAILABLE. */
int pd_peer_write(struct pd_peer *peer, const void *data, size_t len, struct pd_err *err)
    __attribute__((warn_unused_result));
/* No event fires afterwards; `closed` fires once from the loop, the peer is
 * gone then. Call it once. */
void pd_peer_close(struct pd_peer *peer, void (*closed)(void *arg), void *arg);

#endif
