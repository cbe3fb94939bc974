/* TLS in front of the server: accepts on a port of its own, ends TLS, and hands
 * each client on as a plain stream socket, of which it keeps the other end.
 *
 * A session costs a client nothing that it did not ask for: before its
 * handshake is complete nothing is handed on, and the handshake has a deadline.
 * Neither side is read faster than the other takes. */
#ifndef PD_API_TLS_LISTENER_H
#define PD_API_TLS_LISTENER_H

#include <stddef.h>
#include <uv.h>

#include "common/err.h"
#include "common/tls.h"

#define PD_TLS_SESSIONS_MAX 2048 /* one more takes the place of the oldest handshake */
#define PD_TLS_HANDSHAKE_MS 10000
#define PD_TLS_FLUSH_MS 10000 /* for the last bytes, once the server has hung up */

struct pd_tls_listener;

struct pd_tls_listener_config {
    uv_loop_t *loop;
    const char *address;          /* numeric */
    int port;                     /* 0: any free one */
    struct pd_tls_server *server; /* taken over, when it opens */
    /* Plain bytes of a client; owns the descriptor. */
    void (*on_accept)(void *arg, int fd);
    void *arg;
};

/* See pd_listener_open for the errors. */
int pd_tls_listener_open(const struct pd_tls_listener_config *config,
                         struct pd_tls_listener **ret_listener, struct pd_err *err);
int pd_tls_listener_port(const struct pd_tls_listener *listener);
size_t pd_tls_listener_sessions(const struct pd_tls_listener *listener);
/* Another certificate for those who come from now on; taken over. */
void pd_tls_listener_set_server(struct pd_tls_listener *listener, struct pd_tls_server *server);
/* Hangs up on everybody; `closed` fires once from the loop. */
void pd_tls_listener_close(struct pd_tls_listener *listener, void (*closed)(void *arg), void *arg);

#endif
