/* Pools from manifests, in tests. A manifest with a problem fails the test. */
#ifndef PD_TESTS_LIB_MANIFEST_H
#define PD_TESTS_LIB_MANIFEST_H

#include "common/pool.h"
#include "common/store.h"

/* The pool of one document; the caller unrefs it. provider: where it names none. */
struct pd_pool_spec *pd_test_pool(const char *manifest, enum pd_provider_kind provider);
/* Put the pools of all documents into the store, as the source "test"; on Docker where they name
 * no provider. */
void pd_test_put_pools(struct pd_store *store, const char *manifests);

#endif
