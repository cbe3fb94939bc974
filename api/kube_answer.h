/* Answers of the Kubernetes-style API. Errors are of kind Status
 * (kubernetes.io/docs/reference/kubernetes-api/common-definitions/status). */
#ifndef PD_API_KUBE_ANSWER_H
#define PD_API_KUBE_ANSWER_H

#include "api/kube_kind.h"
#include "common/node.h"
#include "common/problems.h"

struct pd_exchange;

#define PD_KUBE_ANSWER_BYTES_MAX (64u * 1024 * 1024)
#define PD_KUBE_WARNINGS_MAX 6
#define PD_KUBE_WARNING_BYTES 160

#define PD_KUBE_RETRY_AFTER_S 2 /* told with every 429 and 503 */

/* What a client is told beside the answer (RFC 7234, 5.5: Warning: 299). */
struct pd_kube_warnings {
    char texts[PD_KUBE_WARNINGS_MAX][PD_KUBE_WARNING_BYTES];
    size_t count;
};

struct pd_kube_refusal {
    int status;                         /* 400..599 */
    const char *reason;                 /* NULL: as the status says, "NotFound" */
    const struct pd_kube_kind *kind;    /* what it is about; NULL: nothing in particular */
    const char *name;                   /* likewise */
    const struct pd_problems *problems; /* which fields, or NULL */
};

/* Reply with an object; `node` is borrowed. warnings: NULL for none. */
void pd_kube_reply(struct pd_exchange *exchange, int status, const struct pd_node *node,
                   const struct pd_kube_warnings *warnings);
/* Reply with a Status. */
void pd_kube_refuse(struct pd_exchange *exchange, const struct pd_kube_refusal *refusal,
                    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Of the kind Failure. The caller frees. */
struct pd_node *pd_kube_status_node(const struct pd_kube_refusal *refusal, const char *message);

#endif
