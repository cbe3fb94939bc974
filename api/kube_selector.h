/* Selectors: which of the objects a request is about, by labels
 * (kubernetes.io/docs/concepts/overview/working-with-objects/labels) and by
 * fields. Pure. */
#ifndef PD_API_KUBE_SELECTOR_H
#define PD_API_KUBE_SELECTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "common/node.h"

#define PD_KUBE_SELECTOR_TERMS_MAX 32
#define PD_KUBE_SELECTOR_VALUES_MAX 32 /* in (a,b,...) */
#define PD_KUBE_SELECTOR_BYTES_MAX 2048

struct pd_kube_term {
    enum { PD_KUBE_IN, PD_KUBE_NOT_IN, PD_KUBE_EXISTS, PD_KUBE_NOT_EXISTS } op;
    char *key;
    char *values[PD_KUBE_SELECTOR_VALUES_MAX];
    size_t n_values;
};

struct pd_kube_selector {
    struct pd_kube_term terms[PD_KUBE_SELECTOR_TERMS_MAX]; /* all must hold */
    size_t count;
};

/* "a=b,c!=d,e in (f,g),h notin (i),j,!k". Empty text selects everything.
 * PD_INVALID, PD_LIMIT. End it either way. */
int pd_kube_labels_parse(const char *text, struct pd_kube_selector *ret, struct pd_err *err)
    __attribute__((warn_unused_result));
/* "metadata.name=x,involvedObject.uid!=y". Any field of an object can be named
 * by its path; an absent one equals "". */
int pd_kube_fields_parse(const char *text, struct pd_kube_selector *ret, struct pd_err *err)
    __attribute__((warn_unused_result));
void pd_kube_selector_fini(struct pd_kube_selector *selector);

/* Does an object, metadata and all, meet them? */
bool pd_kube_labels_match(const struct pd_kube_selector *selector, const struct pd_node *object);
bool pd_kube_fields_match(const struct pd_kube_selector *selector, const struct pd_node *object);

#endif
