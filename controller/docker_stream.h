/* The link to a container's standard streams: Docker's hijacked attach
 * connection (Engine API, ContainerAttach) as a struct pd_stream. What is
 * written goes to the container's stdin as it is; its stdout comes to on_data;
 * its stderr is diagnostics, logged within bounds. */
#ifndef PD_CONTROLLER_DOCKER_STREAM_H
#define PD_CONTROLLER_DOCKER_STREAM_H

#include <uv.h>

#include "common/err.h"
#include "common/stream.h"
#include "controller/docker_address.h"

/* Connecting, and the answer to the request to attach, together. */
#define PD_DOCKER_ATTACH_TIMEOUT_MS 10000

struct pd_docker_attach; /* until cb has been called: an attach under way */

/* On success the receiver owns `stream`. Otherwise stream is NULL, nothing is
 * left open, and err says why: PD_NOT_FOUND, PD_CONFLICT (the container does
 * not run), PD_UNAVAILABLE, PD_TIMEOUT, PD_CANCELED. */
typedef void (*pd_docker_attach_cb)(void *arg, const struct pd_err *err, struct pd_stream *stream);

/* path: "/v1.41/containers/ID/attach?..."; name: who it is, for the log. Both
 * copied; `address` is read during the call only. Always accepted; cb fires
 * once from the loop. */
struct pd_docker_attach *pd_docker_attach_open(uv_loop_t *loop,
                                               const struct pd_docker_address *address,
                                               const char *path, const char *name,
                                               pd_docker_attach_cb cb, void *arg);

/* cb fires from the loop with PD_CANCELED. Idempotent. */
void pd_docker_attach_cancel(struct pd_docker_attach *attach);

#endif
