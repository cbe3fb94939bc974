/* Between kube.c and the parts of it: kube_list.c, kube_write.c, kube_candidate.c. */
#ifndef PD_API_KUBE_INSIDE_H
#define PD_API_KUBE_INSIDE_H

#include "api/kube.h"
#include "api/kube_answer.h"
#include "api/kube_keep.h"
#include "api/kube_kind.h"
#include "api/kube_request.h"
#include "api/kube_shared.h"
#include "api/kube_watch.h"
#include "common/schema.h"

struct pd_kube {
    uv_loop_t *loop;
    struct pd_store *store;
    struct pd_kube_kinds kinds;
    struct pd_schema *pool_schema;
    enum pd_provider_kind default_provider;
    struct pd_kube_keep *keep;
    struct pd_kube_watch *watch;
    struct pd_kube_shared *shared; /* NULL: this process is alone */
    void (*closed)(void *arg);
    void *closed_arg;
};

/* The object that a request names, which the caller frees; NULL where there is
 * none. */
struct pd_node *pd_kube_find(struct pd_kube *kube, const struct pd_kube_target *target);

/* Answers GET of a collection. */
void pd_kube_list(struct pd_kube *kube, struct pd_exchange *exchange,
                  const struct pd_kube_request *request);

/* POST, PUT, PATCH and DELETE. Takes the request over. */
void pd_kube_write(struct pd_kube *kube, struct pd_exchange *exchange,
                   struct pd_kube_request *request);

/* Reply with one object, as a Table where that is wanted. */
void pd_kube_reply_object(struct pd_kube *kube, struct pd_exchange *exchange,
                          const struct pd_kube_request *request, int status, struct pd_node *object,
                          const struct pd_kube_warnings *warnings);

/* 404: `sandboxpools.paddock.dev "x" not found`. */
void pd_kube_refuse_absent(struct pd_exchange *exchange, const struct pd_kube_target *target);

#endif
