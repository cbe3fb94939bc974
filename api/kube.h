/* Pools in Kubernetes' style: what kubectl is a client of (docs/kubernetes.md).
 *
 *   /version /api /apis /openapi/v3 ...           what there is (kube_discovery.h)
 *   /apis/paddock.dev/v1/.../sandboxpools         read and written
 *   /apis/paddock.dev/v1/.../sandboxes            read
 *   /api/v1/.../events, /api/v1/namespaces        read
 *
 * All objects are in the namespace "default". Errors are of kind Status. */
#ifndef PD_API_KUBE_H
#define PD_API_KUBE_H

#include <stdbool.h>
#include <uv.h>

#include "api/kube_keep.h"
#include "api/kube_shared.h"
#include "api/route.h"
#include "common/err.h"
#include "common/pool.h"
#include "common/store.h"

struct pd_exchange;
struct pd_kube;

struct pd_kube_config {
    uv_loop_t *loop;
    struct pd_store *store;
    struct pd_kube_keep *keep;              /* kube_keep.h; outlives this */
    enum pd_provider_kind default_provider; /* of pools that name none */
    const struct pd_kube_peers *peers;      /* kube_shared.h; NULL: this process is alone */
};

int pd_kube_open(const struct pd_kube_config *config, struct pd_kube **ret_kube,
                 struct pd_err *err);
/* When no exchange of its own is left. `closed` fires once from the loop;
 * NULL: nobody asks. */
void pd_kube_close(struct pd_kube *kube, void (*closed)(void *arg), void *arg);

/* Whether the pools of the API are in the store: among replicas Redis has been read. */
bool pd_kube_knows_pools(const struct pd_kube *kube);

/* Whether requests for this path are answered here, errors included. */
bool pd_kube_owns(const char *path);
/* Whether it only tells what there is. */
bool pd_kube_is_discovery(const char *path);
/* Whether this request may change something. */
bool pd_kube_is_write(enum pd_method method);

/* Answer a request whose sender may do so, or is refused with this status. */
void pd_kube_handle(struct pd_kube *kube, struct pd_exchange *exchange);
void pd_kube_deny(struct pd_kube *kube, struct pd_exchange *exchange, int status,
                  const char *detail);

#endif
