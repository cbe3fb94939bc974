/* What the API says about itself, for clients that know only where it is: the
 * discovery documents (kubernetes.io/docs/concepts/overview/kubernetes-api)
 * and OpenAPI v3, all of it made from the CRDs. Pure. */
#ifndef PD_API_KUBE_DISCOVERY_H
#define PD_API_KUBE_DISCOVERY_H

#include "api/kube_kind.h"
#include "common/node.h"

/* The document at this path, which the caller frees, or NULL when there is
 * none: /version, /api, /api/v1, /apis, /apis/paddock.dev, /apis/paddock.dev/v1,
 * /openapi/v3 and /openapi/v3/apis/paddock.dev/v1. A / at the end is fine. */
struct pd_node *pd_kube_discovery(const struct pd_kube_kinds *kinds, const char *path);

/* kube_openapi.c */
struct pd_node *pd_kube_openapi_index(const struct pd_kube_kinds *kinds);
struct pd_node *pd_kube_openapi(const struct pd_kube_kinds *kinds);

#endif
