/* The listening socket. Accepted sockets are non-blocking, close-on-exec, with
 * Nagle's algorithm off. */
#ifndef PD_API_LISTENER_H
#define PD_API_LISTENER_H

#include <stdbool.h>
#include <uv.h>

#include "common/err.h"

struct pd_listener;

/* `on_accept` owns the descriptor. address: IPv4 or IPv6, numeric. port 0: any
 * free one. PD_UNAVAILABLE when the port is taken: the message names the holder
 * where that can be found out. Raises the process's soft limit of descriptors
 * to what the hard limit allows, PD_LISTENER_FILES_MAX at most. */
#define PD_LISTENER_FILES_MAX 65536
int pd_listener_open(uv_loop_t *loop, const char *address, int port,
                     void (*on_accept)(void *arg, int fd), void *arg,
                     struct pd_listener **ret_listener, struct pd_err *err);

int pd_listener_port(const struct pd_listener *listener);

/* Idempotent; `closed` fires once from the loop. */
void pd_listener_close(struct pd_listener *listener, void (*closed)(void *arg), void *arg);

/* Whether only this machine can reach a numeric address. */
bool pd_address_is_loopback(const char *address);

#endif
