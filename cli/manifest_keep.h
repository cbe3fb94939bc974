/* The last good text of each file of manifests, kept in the database: what a file
 * said stays in force over a restart too while the file is there and cannot be
 * read or understood. Only a file that is gone from a folder that can be read is
 * forgotten. Paths are kept absolute. */
#ifndef PD_CLI_MANIFEST_KEEP_H
#define PD_CLI_MANIFEST_KEEP_H

#include <stddef.h>

#include "common/db.h"
#include "common/err.h"

struct pd_manifest_keep;

extern const struct pd_db_schema pd_manifest_keep_schema;

/* Blocks, for the start of the process, like the next one. */
int pd_manifest_keep_open(struct pd_db *db, struct pd_manifest_keep **ret_keep, struct pd_err *err);
/* The text kept for a path, which the caller frees; PD_NOT_FOUND. */
int pd_manifest_keep_get(struct pd_manifest_keep *keep, const char *path, char **ret_text,
                         size_t *ret_len, struct pd_err *err);
/* In all of these NULL is a keep that keeps nothing. Jobs under way at the close
 * end by themselves, before the database does. */
void pd_manifest_keep_close(struct pd_manifest_keep *keep);

/* The text is in force. What cannot be written now is tried again; trouble is
 * logged, no more. */
void pd_manifest_keep_put(struct pd_manifest_keep *keep, const char *path, const char *text,
                          size_t len);
/* Walk over the paths that are kept below `folder`, in no order: begin with
 * *cursor 0; NULL at the end. Forgetting one ends a walk. */
const char *pd_manifest_keep_below(const struct pd_manifest_keep *keep, const char *folder,
                                   size_t *cursor);
/* The file was taken away. */
void pd_manifest_keep_forget(struct pd_manifest_keep *keep, const char *path);

#endif
