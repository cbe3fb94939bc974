/* One file of manifests as a source of pools: its text, taken as a whole or not
 * at all, and the pools of the store that come from it. */
#ifndef PD_CLI_MANIFEST_FILE_H
#define PD_CLI_MANIFEST_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/manifest_keep.h"
#include "common/err.h"
#include "common/pool.h"
#include "common/schema.h"
#include "common/store.h"

#define PD_MANIFEST_DOCUMENTS_MAX 256 /* pools in one file */

/* What all files have in common. */
struct pd_manifest_files {
    struct pd_store *store;
    struct pd_schema *schema;
    enum pd_provider_kind default_provider;
    bool lost_one; /* set when a pool that a file declares belongs to another source */
    struct pd_manifest_keep *keep; /* NULL: nothing lasts */
    bool starting; /* what is kept stands in for a file that is there and no good */
    bool restored; /* set by the newest apply: it did */
};

/* "file:PATH"; a path too long for a store's record keeps its end. Returns `out`. */
const char *pd_manifest_source_name(const char *path,
                                    char out[static sizeof((struct pd_pool *)0)->source]);

/* Put the pools that the file declares, delete those that came from it and are not
 * in it any more; keep the text. PD_INVALID and the like: nothing was changed, and its pools say
 * so in source_error. PD_CONFLICT: all but those that belong to another source are
 * in force; those say so in their conflict. */
int pd_manifest_file_apply(struct pd_manifest_files *files, const char *path, struct pd_err *err);
/* Until it can be read again: the pools that the file declared when it was last in
 * force, with `why` as their source_error. Sets `restored`. */
void pd_manifest_file_restore(struct pd_manifest_files *files, const char *path, const char *why);
/* Likewise with the text at hand, which is not kept; `path` names the source. */
int pd_manifest_text_apply(struct pd_manifest_files *files, const char *path, const char *text,
                           size_t len, struct pd_err *err);
/* Delete one that came from a file, and log why. */
void pd_manifest_delete_pool(struct pd_store *store, const struct pd_pool *pool, const char *why);

#endif
