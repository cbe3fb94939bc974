/* Pools declared in files: conf/default.yaml and every manifest under
 * conf/pools.d/, read at start, whenever a file changes, and on demand (SIGHUP).
 *
 * A pool belongs to the file that brought it. It is deleted only when its
 * manifest is gone from a folder that can be read, or its file no longer names
 * it. A file that cannot be read or has a problem changes nothing (the config
 * file gone is such a problem): what it last said stays in force, and the
 * problem is logged and kept in the pool's source_error. A folder that is empty
 * on another device than before (a lost mount) changes nothing either; one that
 * is not empty there adds and changes pools, and deletes none. A pool that
 * another source has brought stays that source's: its `conflict` names the file,
 * and the file's pool comes into force when the other one is gone. */
#ifndef PD_CLI_SOURCES_H
#define PD_CLI_SOURCES_H

#include <stdbool.h>
#include <uv.h>

#include "common/db.h"
#include "common/err.h"
#include "common/pool.h"
#include "common/store.h"

#define PD_SOURCES_FILES_MAX 1024 /* manifests in one folder */

struct pd_sources;

struct pd_sources_config {
    uv_loop_t *loop;
    struct pd_store *store;
    const char *config;    /* path, or NULL: the one built into the program; copied */
    const char *pools_dir; /* folder of manifests, or NULL for none; copied */
    enum pd_provider_kind default_provider;
    struct pd_db *db; /* for what files said last, over a restart; NULL: it is not kept */
};

/* Reads everything once. A file that is there and no good (or whose folder cannot
 * be read) says what it said when it was last in force, before the restart; one
 * that is gone has been removed. Fails (PD_INVALID, PD_NOT_FOUND) for a config file
 * alone of which nothing is kept; such manifests are logged and left out. */
int pd_sources_open(const struct pd_sources_config *config, struct pd_sources **ret_sources,
                    struct pd_err *err);
/* Whether these files took away the pool that `source` (as a pool names it) declared
 * in an earlier life of theirs, or another replica's of the same files: it is gone
 * from a folder that has others, or says other things now. */
bool pd_sources_took_away(const struct pd_sources *sources, const char *source);
/* Read everything again. */
void pd_sources_reload(struct pd_sources *sources);
/* `closed` fires once from the loop. The pools stay in the store. */
void pd_sources_close(struct pd_sources *sources, void (*closed)(void *arg), void *arg);

#endif
