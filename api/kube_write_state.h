/* What kube_write.c and kube_candidate.c share of a write; nobody else's. */
#ifndef PD_API_KUBE_WRITE_STATE_H
#define PD_API_KUBE_WRITE_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "api/kube_inside.h"
#include "api/server.h"
#include "common/node.h"
#include "common/pool.h"

#define PD_KUBE_TYPE_MERGE "application/merge-patch+json"
#define PD_KUBE_TYPE_JSON "application/json-patch+json"
#define PD_KUBE_TYPE_APPLY "application/apply-patch+yaml"

struct pd_kube_write {
    struct pd_kube *kube;
    struct pd_exchange *exchange; /* NULL: the client is gone */
    struct pd_kube_request request;
    struct pd_kube_warnings warnings;
    struct pd_node *live;      /* the object as it is; NULL: there is none */
    struct pd_node *candidate; /* as it is to be */
    struct pd_node *applied;   /* of a server-side apply: what the client said */
    struct pd_pool_spec *spec; /* the candidate, checked */
    struct pd_node *managed;   /* who has which field then */
    bool answered;
    /* while the database is at it */
    struct pd_node *result;
    int status;
    /* among replicas */
    char *body; /* for another attempt */
    size_t body_len;
    uint64_t expected; /* the version that is replaced; 0: none */
    int attempts;
};

/* kube_write.c. Each answers with a Status, once, and returns -1. */
#define PD_REFUSE(write, code, ...)                                                                \
    pd_kube_write_refuse(write, &(struct pd_kube_refusal){.status = (code)}, __VA_ARGS__)

/* The refusal's kind and name are those of the request. */
int pd_kube_write_refuse(struct pd_kube_write *write, const struct pd_kube_refusal *refusal,
                         const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Clients take the reason Conflict for a race, and try again for minutes. */
int pd_kube_write_refuse_for_good(struct pd_kube_write *write, const char *why);
int pd_kube_write_refuse_absent(struct pd_kube_write *write);
int pd_kube_write_refuse_media(struct pd_kube_write *write);

/* The answer; `object` is borrowed. */
void pd_kube_write_reply(struct pd_kube_write *write, int status, struct pd_node *object);
void pd_kube_write_free(struct pd_kube_write *write);
/* Of a DELETE, everything up to the deletion itself. 0, or it has been answered. */
int pd_kube_write_prepare_delete(struct pd_kube_write *write, const char *body, size_t len);

/* kube_write_shared.c: the write, carried out in Redis. Takes it over. */
void pd_kube_write_shared(struct pd_kube_write *write, const char *body, size_t len);

/* kube_candidate.c */

/* The candidate, from the body to a checked spec: fills everything from `live` to
 * `managed`. 0, or it has been refused. */
int pd_kube_write_prepare(struct pd_kube_write *write, const char *body, size_t len);
/* A body that is an object. 0, or it has been refused; the caller frees *ret, which
 * began as NULL, either way. */
int pd_kube_write_parse(struct pd_kube_write *write, const char *body, size_t len,
                        struct pd_node **ret);
/* Is the live object of the uid and version that `said` has in its metadata, where
 * it has them? 0, or it has been refused. */
int pd_kube_write_check_versions(struct pd_kube_write *write, const struct pd_node *said);
/* May the pool be changed here? 0, or it has been refused. */
int pd_kube_write_check_owner(struct pd_kube_write *write);
/* A text of an object's metadata, borrowed from it; "" where there is none. */
const char *pd_kube_write_text(const struct pd_node *object, const char *key);

#endif
