/* A pool as the replica that leads has written it down for the others: one field of
 * the hash `paddock:E:declared` (docs/replicas.md). */
#ifndef PD_CLI_DECLARED_RECORD_H
#define PD_CLI_DECLARED_RECORD_H

#include "common/buf.h"
#include "common/err.h"
#include "common/pool.h"
#include "common/store.h"

#define PD_DECLARED_BYTES_MAX (1u * 1024 * 1024) /* of one record */

struct pd_declared_record {
    struct pd_pool_spec *spec; /* its own reference */
    char source[sizeof((struct pd_pool *)0)->source];
    char source_error[sizeof((struct pd_pool *)0)->source_error];
    struct pd_pool_identity identity;
};

/* As text into `out`. PD_LIMIT. */
int pd_declared_record_format(const struct pd_pool *pool, struct pd_buf *out, struct pd_err *err);
/* PD_INVALID: it is none, or its name is not `name`. */
int pd_declared_record_parse(const struct pd_schema *schema, enum pd_provider_kind default_provider,
                             const char *name, const char *text, size_t len,
                             struct pd_declared_record *ret_record, struct pd_err *err);
void pd_declared_record_fini(struct pd_declared_record *record);

#endif
