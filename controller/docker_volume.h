/* The agent's volume: "paddock-agent-<hash of its content>", mounted read-only
 * at /paddock in every sandbox, so that any image works without being built
 * for it. */
#ifndef PD_CONTROLLER_DOCKER_VOLUME_H
#define PD_CONTROLLER_DOCKER_VOLUME_H

#include <stdbool.h>

#include "common/err.h"
#include "controller/docker_engine.h"
#include "controller/docker_wait.h"

#define PD_DOCKER_VOLUME_NAME_MAX 128
#define PD_DOCKER_VOLUME_BYTES_MAX (16u * 1024 * 1024)

struct pd_docker_volume;

/* From the embedded assets: "agent" and every "spares/x". `instance` is
 * copied; the engine outlives it. own: a volume of this installation's own
 * instead of the one that all share ("paddock-agent-<hash>-<instance>"). */
struct pd_docker_volume *pd_docker_volume_new(struct pd_docker_engine *engine, const char *instance,
                                              bool own);
/* After the engine has been closed, so that nothing is under way. */
void pd_docker_volume_free(struct pd_docker_volume *volume);

const char *pd_docker_volume_name(const struct pd_docker_volume *volume);

/* See that the volume exists and holds exactly what it should. `image`: any
 * that is at the engine, for a container that never starts. Checked once per
 * engine connection, and again after pd_docker_volume_doubt. */
int pd_docker_volume_ensure(struct pd_docker_volume *volume, const char *image,
                            pd_docker_done_cb cb, void *arg, struct pd_err *err);

/* A sandbox did not start: what was checked may not hold any more. */
void pd_docker_volume_doubt(struct pd_docker_volume *volume);

#endif
