/* What figures and logs call a request of the Kubernetes-style API: the resource and the
 * verb, as Kubernetes' own audit log says them. Few, whatever clients ask for. */
#ifndef PD_API_KUBE_ROUTE_H
#define PD_API_KUBE_ROUTE_H

#include <stdbool.h>

#include "api/kube_request.h"
#include "api/route.h"

/* "sandboxpools/scale:patch", "sandboxes:watch"; static. */
const char *pd_kube_route(const struct pd_kube_target *target, enum pd_method method, bool watch);

#endif
