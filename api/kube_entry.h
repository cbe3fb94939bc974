/* What Redis has of one object of the Kubernetes-style API, for all replicas: a field
 * of the hash `paddock:E:objects` (docs/replicas.md), "KIND/NAME", and its value.
 *
 *   api/NAME      a pool made by the API: its object without status
 *   pool/NAME     any other pool, likewise, as the replica that leads has it
 *   status/NAME   of either, as the replica that leads has it
 *   sandbox/ID    as its owner has it
 *   event/NAME    as it was seen by who saw it
 *
 * The value is JSON. resourceVersion is not in it: Redis gives it (kube_shared.h). */
#ifndef PD_API_KUBE_ENTRY_H
#define PD_API_KUBE_ENTRY_H

#include <stdint.h>

#include "api/kube_object.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/node.h"
#include "common/schema.h"
#include "common/store.h"

#define PD_KUBE_ENTRY_BYTES_MAX (1u * 1024 * 1024) /* of one value */
#define PD_KUBE_FIELD_BYTES (PD_KUBE_NAME_BYTES + 16)
#define PD_KUBE_OWNER_BYTES 64

enum pd_kube_entry_kind {
    PD_ENTRY_API,
    PD_ENTRY_POOL,
    PD_ENTRY_STATUS,
    PD_ENTRY_SANDBOX,
    PD_ENTRY_EVENT,
    PD_ENTRY_KINDS
};

struct pd_kube_entry {
    enum pd_kube_entry_kind kind;
    char name[PD_KUBE_NAME_BYTES];
    char pool[PD_POOL_NAME_MAX];                      /* whose; "" where none is said */
    char owner[PD_KUBE_OWNER_BYTES];                  /* the replica; "" for pools */
    char source[sizeof((struct pd_pool *)0)->source]; /* of api and pool */
    struct pd_pool_identity identity;                 /* likewise */
    struct pd_node *object;                           /* owned; of a status the status alone */
};

/* "KIND/NAME" of a field. PD_INVALID: it is none. */
int pd_kube_entry_field_parse(const char *field, size_t len, struct pd_kube_entry *ret_entry,
                              struct pd_err *err);
void pd_kube_entry_field(enum pd_kube_entry_kind kind, const char *name,
                         char out[static PD_KUBE_FIELD_BYTES]);

/* PD_INVALID: what is missing or wrong. On success the caller ends it by _fini. */
int pd_kube_entry_parse(const char *field, size_t field_len, const char *text, size_t len,
                        struct pd_kube_entry *ret_entry, struct pd_err *err);
/* PD_LIMIT. */
int pd_kube_entry_format(const struct pd_kube_entry *entry, struct pd_buf *out, struct pd_err *err);
void pd_kube_entry_fini(struct pd_kube_entry *entry);

/* What a pool's entry declares. PD_INVALID. */
int pd_kube_entry_spec(const struct pd_kube_entry *entry, const struct pd_schema *schema,
                       enum pd_provider_kind default_provider, struct pd_pool_spec **ret_spec,
                       struct pd_err *err);

/* The entries of what is in the store; the caller ends each by _fini. */
void pd_kube_entry_of_pool(const struct pd_pool *pool, const struct pd_node *managed_fields,
                           struct pd_kube_entry *ret_entry);
void pd_kube_entry_of_status(const struct pd_pool *pool, struct pd_kube_entry *ret_entry);
/* object: taken over. */
void pd_kube_entry_of_member(enum pd_kube_entry_kind kind, const char *name, const char *pool,
                             const char *owner, struct pd_node *object,
                             struct pd_kube_entry *ret_entry);

#endif
