/* The wire to the agent of one ECS task: TLS over TCP to the address of its
 * network interface. The agent takes nobody but the holder of our key; its own key
 * is made in the task and known by its pin (common/tls.h). */
#ifndef PD_CONTROLLER_ECS_LINK_H
#define PD_CONTROLLER_ECS_LINK_H

#include <uv.h>

#include "common/err.h"
#include "common/stream.h"
#include "common/tls.h"

#define PD_ECS_LINK_PORT 8723        /* agent/ecs/ecs.h */
#define PD_ECS_LINK_TIMEOUT_MS 10000 /* to be connected and sure of each other */

struct pd_ecs_link; /* one being opened */

/* On success the stream is the receiver's, and `pin` (borrowed) is the peer's.
 * PD_UNAVAILABLE, PD_TIMEOUT; PD_DENIED: a peer with another key, or one that does
 * not take ours; PD_CANCELED. */
typedef void (*pd_ecs_link_cb)(void *arg, const struct pd_err *err, struct pd_stream *stream,
                               const unsigned char *pin);

/* address: numeric. pin: NULL: the first handshake. cb fires once, from the loop;
 * the link is its no more then. */
struct pd_ecs_link *pd_ecs_link_open(uv_loop_t *loop, const char *address, int port,
                                     const struct pd_tls_identity *identity,
                                     const unsigned char *pin, pd_ecs_link_cb cb, void *arg);
/* cb fires soon, with PD_CANCELED. */
void pd_ecs_link_cancel(struct pd_ecs_link *link);

#endif
