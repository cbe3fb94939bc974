/* Pools that came by the API and must last: they are kept in the database
 * (common/db.h), with identity, labels, annotations and managed fields, and are
 * back in the store before anything else is read at the next start. */
#ifndef PD_API_KUBE_KEEP_H
#define PD_API_KUBE_KEEP_H

#include "common/db.h"
#include "common/err.h"
#include "common/node.h"
#include "common/store.h"

#define PD_KUBE_SOURCE "api" /* of these pools */

struct pd_kube_keep;

extern const struct pd_db_schema pd_kube_keep_schema;

struct pd_kube_keep_config {
    struct pd_store *store;
    struct pd_db *db; /* NULL: nothing lasts (tests) */
    enum pd_provider_kind default_provider;
};

/* Puts what was kept into the store: blocks, for the start of the process. A
 * record that no longer can be read is logged, and left where it is. */
int pd_kube_keep_open(const struct pd_kube_keep_config *config, struct pd_kube_keep **ret_keep,
                      struct pd_err *err);
/* Before the store and the database close. Jobs under way end by themselves.
 * NULL is fine. */
void pd_kube_keep_close(struct pd_kube_keep *keep);

/* In all of these NULL is a keep that keeps nothing.
 *
 * Who set which field of a pool (ObjectMeta.managedFields); NULL for none.
 * Borrowed until it is set anew. */
const struct pd_node *pd_kube_keep_managed(const struct pd_kube_keep *keep, const char *name);
/* Taken over; NULL for none. Lasts once the pool is kept. */
void pd_kube_keep_set_managed(struct pd_kube_keep *keep, const char *name, struct pd_node *fields);

/* Keep a pool of the API as it is now. 0: `done` fires once from the loop, err
 * NULL when it will outlive the machine's power. PD_LIMIT: refused. */
int pd_kube_keep_put(struct pd_kube_keep *keep, const struct pd_pool *pool,
                     void (*done)(void *arg, const struct pd_err *err), void *arg,
                     struct pd_err *err);
/* Whether there is a record of this pool. */
bool pd_kube_keep_has(const struct pd_kube_keep *keep, const char *name);
/* The pool is kept elsewhere from now on: its record goes. */
void pd_kube_keep_forget(struct pd_kube_keep *keep, const char *name);
/* Whether anything is kept at all. */
bool pd_kube_keep_lasts(const struct pd_kube_keep *keep);

#endif
