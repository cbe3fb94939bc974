/* What is in the store as objects of the Kubernetes-style API. The caller frees
 * each node. */
#ifndef PD_API_KUBE_OBJECT_H
#define PD_API_KUBE_OBJECT_H

#include "common/node.h"
#include "common/store.h"

/* managed_fields: the pool's, borrowed, NULL for none. */
struct pd_node *pd_kube_pool_object(const struct pd_pool *pool,
                                    const struct pd_node *managed_fields);
struct pd_node *pd_kube_sandbox_object(const struct pd_pool *pool,
                                       const struct pd_sandbox *sandbox);
struct pd_node *pd_kube_dead_object(const struct pd_pool *pool, const struct pd_dead_sandbox *dead);
struct pd_node *pd_kube_event_object(const struct pd_event *event);
struct pd_node *pd_kube_namespace_object(void);
/* autoscaling/v1 Scale of a pool's object; replicas are minSize. */
struct pd_node *pd_kube_scale_object(const struct pd_node *pool);

/* An event's name: unlike its pool's, or a sandbox's. */
#define PD_KUBE_NAME_BYTES 128
const char *pd_kube_event_name(const struct pd_event *event, char out[static PD_KUBE_NAME_BYTES]);

/* "2026-01-31T12:00:00Z": whole seconds, as Kubernetes writes them. */
struct pd_node *pd_kube_time(int64_t wall_ms);

/* A resourceVersion as text. */
#define PD_KUBE_VERSION_BYTES 24
const char *pd_kube_version(uint64_t version, char out[static PD_KUBE_VERSION_BYTES]);

#endif
