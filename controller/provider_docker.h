/* The Docker provider: sandboxes are containers of one engine, reached over its
 * API (version 1.41, Docker 20.10, and later). */
#ifndef PD_CONTROLLER_PROVIDER_DOCKER_H
#define PD_CONTROLLER_PROVIDER_DOCKER_H

#include <stdbool.h>
#include <uv.h>

#include "common/err.h"
#include "common/pool.h"
#include "controller/provider.h"

#define PD_INSTANCE_NAME_MAX 64 /* with the NUL; [A-Za-z0-9_.-] */

struct pd_metrics;

struct pd_docker_config {
    const char *host;                    /* DOCKER_HOST; NULL or "": the local socket */
    bool tls_verify;                     /* DOCKER_TLS_VERIFY is set */
    const char *cert_path;               /* DOCKER_CERT_PATH; NULL: none */
    const char *instance;                /* whose sandboxes these are: label paddock.dev/instance */
    struct pd_metrics *metrics;          /* common/metrics.h; NULL: nobody counts */
    const char *direct_dir; /* folder for the sandboxes' direct pipes (common/direct.h), absolute;
                               used where the engine is on this machine. NULL: none */
    const struct pd_strings *entrypoint; /* tests only: instead of the agent; NULL otherwise */
    bool own_volume; /* tests only: an agent volume that no other installation uses */
};

/* Everything is copied. Connects with the first call or watch. The provider is
 * freed by its own close. PD_INVALID: a host or an instance that cannot be. */
int pd_provider_docker_new(uv_loop_t *loop, const struct pd_docker_config *config,
                           struct pd_provider **ret_provider, struct pd_err *err)
    __attribute__((warn_unused_result));

/* The engine's ID (GET /info), "" before it has answered or where it has none. */
const char *pd_provider_docker_engine_id(const struct pd_provider *provider);

#endif
