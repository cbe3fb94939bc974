/* What a sandbox's container is created with (Engine API, ContainerCreate).
 * Pure. This is where promise 1 is written down for Docker: every field that
 * keeps code inside its sandbox is set here, for each isolation. */
#ifndef PD_CONTROLLER_DOCKER_REQUEST_H
#define PD_CONTROLLER_DOCKER_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "common/node.h"
#include "common/pool.h"
#include "common/store.h"

#define PD_DOCKER_AGENT_PATH "/paddock/agent"
/* The agent's user, and the programs' in cells: one of so many from here on for
 * each sandbox, since the kernel's quotas (processes, queued signals, inotify
 * instances) count by user across containers. */
#define PD_DOCKER_AGENT_UID 50000
#define PD_DOCKER_AGENT_UIDS 10000
/* The agent's own processes, its zygotes and spares count against the
 * container's pids too: this many more than the spec's are allowed. */
#define PD_DOCKER_PIDS_OVERHEAD 64
#define PD_DOCKER_CONTAINER_NAME_MAX (PD_SANDBOX_ID_MAX + 8)

struct pd_docker_sandbox {
    const struct pd_pool_spec *spec;
    const char *id; /* the sandbox's */
    const char *instance;
    const char *volume;   /* the agent's */
    const char *seccomp;  /* profile text; NULL: the engine's own */
    const char *apparmor; /* profile name; NULL: the engine's own */
    bool cgroup_v2;
    const char *direct_folder; /* absolute, on the engine's machine; NULL: none */
    const struct pd_strings *image_volumes; /* VOLUMEs that the image declares; may be NULL */
    const struct pd_strings *entrypoint;    /* tests only: instead of the agent; or NULL */
};

/* Who the container runs as and what it may. */
struct pd_docker_privilege {
    unsigned uid, gid;
    bool proc_unmasked;      /* MaskedPaths and ReadonlyPaths empty, so that cells can have
                                a /proc of their own */
    const char *const *caps; /* added after ALL were dropped; NULL at the end */
};

/* Whom the agent of this sandbox runs as, unless with isolation uid. */
unsigned pd_docker_agent_uid(const char *id);

/* Of a sandbox of this isolation. It is safe by pd_docker_privilege_is_safe. */
struct pd_docker_privilege pd_docker_privilege_of(enum pd_isolation isolation, const char *id);

/* uid 0 with an unmasked /proc could write core_pattern and run on the host. */
bool pd_docker_privilege_is_safe(const struct pd_docker_privilege *privilege);

/* The body of POST /containers/create; the caller frees *ret_body. PD_INVALID:
 * what cannot be had from Docker (network: egress, for now), or an id that
 * cannot be a container's name. A privilege that is not safe is asserted. */
int pd_docker_create_body(const struct pd_docker_sandbox *sandbox, struct pd_node **ret_body,
                          struct pd_err *err) __attribute__((warn_unused_result));

/* "paddock-<id>", for its URL. PD_INVALID: an id with other characters than
 * [A-Za-z0-9_.-]. */
int pd_docker_container_name(const char *id, char out[static PD_DOCKER_CONTAINER_NAME_MAX],
                             struct pd_err *err);

/* The query parameter `filters=...`, percent-encoded, of ContainerList and
 * SystemEvents: containers with this label ("name=value"), and, where events is
 * not NULL, these events. The caller frees it. */
char *pd_docker_filters(const char *label, const char *const *events);

#endif
