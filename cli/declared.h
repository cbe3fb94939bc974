/* Among replicas the leader's files count (docs/replicas.md). Files are read into a
 * store of their own (`files`), not into the service's. The replica that leads puts
 * what they declare into the service's store and writes it, with identity, to the
 * hash `paddock:E:declared`; the others take it from there, and what their own files
 * say is not in force. Until Redis has told of a leader, a replica goes by its own
 * files.
 *
 * A pool is deleted where the leader's files take it away; that is written down and
 * stays there for PD_DECLARED_TOMB_MS. A record that is not there any more deletes
 * nothing: whoever leads writes it again. A pool that an earlier leader's files
 * declared stays; its source_error says that nobody declares it now. */
#ifndef PD_CLI_DECLARED_H
#define PD_CLI_DECLARED_H

#include <uv.h>

#include "cli/sources.h"
#include "common/loop_redis.h"
#include "common/store.h"
#include "controller/provider.h"

#define PD_DECLARED_LOOK_MS 1000
#define PD_DECLARED_TOMB_MS (24ll * 3600 * 1000)
#define PD_DECLARED_FILE "file:" /* what sources of this kind begin with */

struct pd_declared;

struct pd_declared_config {
    uv_loop_t *loop;
    struct pd_store *store;     /* the service's */
    struct pd_store *files;     /* what the files declare; NULL: there are none (`paddock api`) */
    struct pd_sources *sources; /* that fill it; NULL likewise */
    struct pd_redis *redis;
    struct pd_provider *shared; /* controller/provider_shared.h; all of these outlive it */
    enum pd_provider_kind default_provider;
};

int pd_declared_open(const struct pd_declared_config *config, struct pd_declared **ret_declared,
                     struct pd_err *err);
/* `closed` fires once from the loop. The pools stay in the store. */
void pd_declared_close(struct pd_declared *declared, void (*closed)(void *arg), void *arg);

/* Put what the files declare into the service's store, as it counts for one that leads
 * or is alone. `sources` may be NULL: nothing is known of what was taken away. */
void pd_declared_apply_files(struct pd_store *store, struct pd_store *files,
                             const struct pd_sources *sources);

#endif
