/* Requests of the Kubernetes-style API: which objects, and what is asked of
 * them, out of path, query and headers. */
#ifndef PD_API_KUBE_REQUEST_H
#define PD_API_KUBE_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "api/kube_kind.h"
#include "api/kube_selector.h"
#include "api/kube_table.h"
#include "api/route.h"
#include "common/err.h"

struct pd_exchange;

#define PD_KUBE_TOKEN_BYTES 192 /* of a continue token */
#define PD_KUBE_MANAGER_BYTES 129
#define PD_KUBE_TIMEOUT_MAX_S 3600 /* of a watch */

/* What a path names. */
struct pd_kube_target {
    const struct pd_kube_kind *kind;
    char namespace[64]; /* "": all */
    char name[254];     /* "": the collection */
    enum { PD_KUBE_WHOLE, PD_KUBE_STATUS, PD_KUBE_SCALE } part;
};

/* "/apis/paddock.dev/v1/namespaces/default/sandboxpools/python/scale". False
 * where nothing of this API is. */
bool pd_kube_target_parse(const struct pd_kube_kinds *kinds, const char *path,
                          struct pd_kube_target *ret_target);

enum pd_kube_validation { PD_KUBE_VALIDATE_WARN, PD_KUBE_VALIDATE_STRICT, PD_KUBE_VALIDATE_IGNORE };

struct pd_kube_request {
    struct pd_kube_target target;
    enum pd_method method;
    /* what of a collection */
    struct pd_kube_selector labels, fields;
    size_t limit;                    /* 0: all */
    char token[PD_KUBE_TOKEN_BYTES]; /* continue */
    /* watching */
    bool watch;
    bool bookmarks;
    bool initial_events;
    char since[PD_KUBE_TOKEN_BYTES]; /* resourceVersion as it was sent */
    int timeout_s;                   /* 0: not said */
    /* writing */
    bool dry_run;
    bool force;
    enum pd_kube_validation validation;
    char manager[PD_KUBE_MANAGER_BYTES]; /* fieldManager, else the agent's name */
    char content_type[128];              /* without parameters; "" for none */
    /* the answer */
    bool table;
    enum pd_kube_include include;
};

/* From on_request. The target has been parsed. PD_INVALID. End it either way. */
int pd_kube_request_read(const struct pd_exchange *exchange, const struct pd_kube_target *target,
                         struct pd_kube_request *ret, struct pd_err *err)
    __attribute__((warn_unused_result));
void pd_kube_request_fini(struct pd_kube_request *request);

/* Whether an Accept header wants a Table. */
bool pd_kube_wants_table(const char *accept);

#endif
