/* Where kubectl connects: TLS with a certificate of our own, since kubectl
 * sends no credentials over anything else. */
#ifndef PD_API_KUBE_LISTENER_H
#define PD_API_KUBE_LISTENER_H

#include <uv.h>

#include "common/err.h"

struct pd_kube_listener;

struct pd_kube_listener_config {
    uv_loop_t *loop;
    const char *address;   /* numeric */
    int port;              /* 0: any free one */
    const char *state_dir; /* certificates are kept in its folder "tls" (tls_identity.h) */
    const char *ca_file;   /* NULL: an authority of our own */
    const char *names;     /* further names of this server, separated by commas; NULL: none */
    void (*on_accept)(void *arg, int fd); /* owns the descriptor, which carries plain bytes */
    void *arg;
};

/* PD_UNAVAILABLE: the port is taken; the rest as in tls_identity.h. Everything
 * is copied. The certificate is looked at once a day and renewed in time. */
int pd_kube_listener_open(const struct pd_kube_listener_config *config,
                          struct pd_kube_listener **ret_listener, struct pd_err *err);
int pd_kube_listener_port(const struct pd_kube_listener *listener);
/* Hangs up on everybody; `closed` fires once from the loop. */
void pd_kube_listener_close(struct pd_kube_listener *listener, void (*closed)(void *arg),
                            void *arg);

#endif
