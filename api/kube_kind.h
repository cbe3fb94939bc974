/* The kinds of objects that the Kubernetes-style API knows, as their CRDs (and
 * api/schemas/kube_*.yaml, in the same shape) describe them: names, columns,
 * schema. */
#ifndef PD_API_KUBE_KIND_H
#define PD_API_KUBE_KIND_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "common/node.h"

#define PD_KUBE_GROUP "paddock.dev"
#define PD_KUBE_NAMESPACE "default" /* the only one */

enum pd_kube_kind_id {
    PD_KUBE_POOL,
    PD_KUBE_SANDBOX,
    PD_KUBE_EVENT,
    PD_KUBE_NAMESPACES,
    PD_KUBE_KINDS
};

struct pd_kube_kind {
    enum pd_kube_kind_id id;
    const char *group; /* "" for Kubernetes' own */
    const char *version;
    const char *api_version; /* "paddock.dev/v1"; "v1" */
    const char *kind, *list_kind, *plural, *singular;
    const struct pd_node *short_names, *categories; /* lists, or NULL */
    const struct pd_node *columns;                  /* additionalPrinterColumns, or NULL */
    const struct pd_node *schema;                   /* openAPIV3Schema, or NULL */
    bool namespaced;
    bool writable;
    bool scalable;
    struct pd_node *definition; /* owns the texts above */
    char *owned_api_version;
};

struct pd_kube_kinds {
    struct pd_kube_kind list[PD_KUBE_KINDS]; /* by id */
    struct pd_node *metadata;                /* the schema of ObjectMeta */
};

/* From what is built into the program; PD_INTERNAL where that is not right. */
int pd_kube_kinds_load(struct pd_kube_kinds *ret_kinds, struct pd_err *err);
void pd_kube_kinds_fini(struct pd_kube_kinds *kinds);

/* "sandboxpools.paddock.dev", "events": how messages call them. Returns `out`. */
#define PD_KUBE_RESOURCE_BYTES 64
const char *pd_kube_resource(const struct pd_kube_kind *kind,
                             char out[static PD_KUBE_RESOURCE_BYTES]);

#endif
