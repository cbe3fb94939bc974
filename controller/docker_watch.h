/* What happens at the engine, as it happens (Engine API, SystemEvents), and
 * whether it is there at all. */
#ifndef PD_CONTROLLER_DOCKER_WATCH_H
#define PD_CONTROLLER_DOCKER_WATCH_H

#include <uv.h>

#include "controller/docker_engine.h"
#include "controller/provider.h"

#define PD_DOCKER_RETRY_MIN_MS 100
#define PD_DOCKER_RETRY_MAX_MS 2000
#define PD_DOCKER_PING_INTERVAL_MS 5000
#define PD_DOCKER_PING_TIMEOUT_MS 5000

struct pd_docker_watch;

/* Starts at once. cb: UP or DOWN first and at each change between them, then
 * the events of the instance's sandboxes. UP comes when the stream of events
 * is open, so whoever lists then misses nothing. `instance` is copied; the
 * engine outlives it. */
struct pd_docker_watch *pd_docker_watch_open(uv_loop_t *loop, struct pd_docker_engine *engine,
                                             const char *instance, pd_provider_event_cb cb,
                                             void *arg);

/* cb fires no more, though the watch goes on. */
void pd_docker_watch_mute(struct pd_docker_watch *watch);

/* cb fires no more; `closed` fires from the loop when the watch is gone. The
 * engine must be closed by now, or in the same turn. */
void pd_docker_watch_close(struct pd_docker_watch *watch, void (*closed)(void *arg), void *arg);

#endif
