/* What the Docker engine says, read with distrust: a member that is absent or
 * of another kind reads as empty. Pure. */
#ifndef PD_CONTROLLER_DOCKER_REPLY_H
#define PD_CONTROLLER_DOCKER_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/node.h"
#include "controller/provider.h"

#define PD_DOCKER_LABEL_INSTANCE "paddock.dev/instance"
#define PD_DOCKER_LABEL_POOL "paddock.dev/pool"
#define PD_DOCKER_LABEL_TEMPLATE_HASH "paddock.dev/template-hash"
#define PD_DOCKER_LABEL_SANDBOX "paddock.dev/sandbox"

/* A member of a map; "", 0, NULL where it is absent or of another kind. */
const char *pd_docker_text(const struct pd_node *map, const char *key);
int64_t pd_docker_int(const struct pd_node *map, const char *key);
const struct pd_node *pd_docker_list(const struct pd_node *map, const char *key);
const struct pd_node *pd_docker_map(const struct pd_node *map, const char *key);

/* Where the bind at `target` comes from, by ContainerInspect's answer; NULL: none. */
const char *pd_docker_mount_source(const struct pd_node *inspect, const char *target);

/* ContainerList's answer, as text, into instances; containers that are not
 * wholly labelled as this installation's sandboxes are left out. Parsed one by
 * one, so that any number of them can be taken. The caller frees
 * *ret_instances. PD_UNAVAILABLE: the answer is no list. */
int pd_docker_instances_parse(const char *text, size_t len, const char *instance,
                              struct pd_instance **ret_instances, size_t *ret_count,
                              struct pd_err *err);

/* One SystemEvents message. false: none of our containers', or of no interest. */
bool pd_docker_event_parse(const struct pd_node *message, const char *instance,
                           struct pd_provider_event *ret_event);

/* Which version of the API to speak with an engine that offers min..max, as
 * GET /version tells: the oldest one that we know and it still has. PD_INVALID:
 * there is none. "1.41" into out. */
int pd_docker_version_choose(const struct pd_node *reply, char *out, size_t out_bytes,
                             struct pd_err *err);

/* What the engine told of itself (SystemVersion, SystemInfo). */
struct pd_docker_facts {
    char api_version[8]; /* the one that we speak: "1.41" */
    char id[96];         /* "" where it has none */
    bool apparmor;
    bool seccomp;
    bool cgroup_v2;
    bool rootless;
};
/* SystemInfo's answer into them; api_version stays as it is. */
void pd_docker_info_read(const struct pd_node *info, struct pd_docker_facts *facts);

/* What an answer that is no success means, by its status: PD_INVALID 400, PD_DENIED 401 and 403,
 * PD_NOT_FOUND 404, PD_CONFLICT 409, PD_LIMIT where the engine ran out of something,
 * PD_UNAVAILABLE any other. The message is the engine's ({"message": "..."}), or the text itself:
 * a proxy's may be anything. Returns the kind. */
int pd_docker_status_err(int status, const char *text, size_t len, struct pd_err *err);

#endif
