/* SandboxPool: what a pool is declared to be (crds/sandboxpool.yaml).
 *
 * A pd_pool_spec is immutable once parsed and shared by reference count; a
 * change is a new spec. */
#ifndef PD_COMMON_POOL_H
#define PD_COMMON_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/node.h"
#include "common/schema.h"
#include "common/strings.h"

#define PD_POOL_NAME_MAX 64   /* with the NUL; RFC 1123 label */
#define PD_TEMPLATE_HASH_BYTES 17 /* 16 hex digits and the NUL */

enum pd_provider_kind { PD_PROVIDER_DOCKER, PD_PROVIDER_ECS };
enum pd_network { PD_NETWORK_NONE, PD_NETWORK_EGRESS };
enum pd_isolation { PD_ISOLATION_CELL, PD_ISOLATION_UID, PD_ISOLATION_CONTAINER };
enum pd_update_type { PD_UPDATE_ROLLING, PD_UPDATE_RECREATE };

struct pd_pool_spec {
    char name[PD_POOL_NAME_MAX];
    enum pd_provider_kind provider;
    char *image;
    struct pd_strings languages; /* empty: whatever the agent finds */
    int min_size;
    int max_size;
    int target_idle;
    struct {
        int64_t cpu_milli;
        int64_t memory_bytes;
        int pids;
        int64_t disk_bytes; /* of tmpfs a run may fill */
    } resources;
    struct {
        int64_t timeout_ms;
        int64_t max_timeout_ms;
        int64_t max_output_bytes; /* stdout and stderr together */
        int64_t max_code_bytes;
        int64_t max_files_bytes;
    } run;
    enum pd_network network;
    struct {
        int after_runs;
        int64_t after_age_ms;
        bool share;
    } recycle;
    enum pd_isolation isolation;
    char *runtime; /* "" is the engine's default */
    struct {
        int spares;
        bool zygote;
        struct pd_strings preload;
    } warm;
    struct {
        int max_length;
        int64_t max_wait_ms;
    } queue;
    int64_t scale_down_after_ms;
    struct {
        enum pd_update_type type;
        int max_surge;
        int max_unavailable;
    } update;
    struct {
        char *cluster;
        struct pd_strings subnets;
        struct pd_strings security_groups;
        struct pd_strings capacity_providers;
        char *execution_role_arn;
        char *platform_version;
        char *agent_image;
        char *task_definition;
    } ecs;

    char template_hash[PD_TEMPLATE_HASH_BYTES]; /* over what a sandbox is made from; sizes,
                                                   queue and scaling do not count */
    struct pd_node *node; /* the canonical manifest (apiVersion, kind, metadata, spec) */
    unsigned refs;
};

/* The schema of the SandboxPool manifest, compiled from the embedded CRD once
 * per process by the caller, who frees it with pd_schema_free. */
int pd_pool_schema_new(struct pd_schema **ret_schema, struct pd_err *err);

/* Whether this is the short form, `sandbox:`. */
bool pd_pool_is_short_form(const struct pd_node *node);

/* From a full manifest (kind: SandboxPool) or the short form of
 * conf/default.yaml (`sandbox:`, which means a pool named "default"). `node` is
 * borrowed. On PD_INVALID `problems` says what is wrong, by path and line.
 * default_provider: what an absent spec.provider means. */
int pd_pool_spec_parse(const struct pd_schema *schema, const struct pd_node *node,
                       enum pd_provider_kind default_provider, struct pd_pool_spec **ret_spec,
                       struct pd_problems *problems);
struct pd_pool_spec *pd_pool_spec_ref(struct pd_pool_spec *spec);
void pd_pool_spec_unref(struct pd_pool_spec *spec); /* NULL is fine */

/* Whether `name` is listed, or the list is empty. */
bool pd_pool_spec_has_language(const struct pd_pool_spec *spec, const char *name);

const char *pd_provider_kind_name(enum pd_provider_kind kind);   /* "docker", "ecs" */
const char *pd_isolation_name(enum pd_isolation isolation);       /* "cell", ... */

#endif
