/* Whole files: bounded reads, writes that are there in full or not at all. */
#ifndef PD_COMMON_FILE_H
#define PD_COMMON_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "common/err.h"

/* The whole of a regular file, terminated by a NUL that *ret_len does not count;
 * the caller frees *ret_text. Pipes and devices are read likewise (never beyond
 * max_bytes), folders refused. PD_NOT_FOUND, PD_DENIED, PD_LIMIT (more than
 * max_bytes), PD_INVALID (a folder), else PD_INTERNAL. Blocks. */
int pd_file_read(const char *path, size_t max_bytes, char **ret_text, size_t *ret_len,
                 struct pd_err *err) __attribute__((warn_unused_result));

/* Put `data` in the place of whatever `path` was: written beside it with this
 * mode, synced, renamed, the folder synced. After a crash at any instant the old
 * content or the new is there. A symbolic link is replaced, not followed.
 * PD_NOT_FOUND (no such folder), PD_DENIED, PD_LIMIT (no space left), else
 * PD_INTERNAL. Blocks. */
int pd_file_write_atomic(const char *path, const void *data, size_t len, mode_t mode,
                         struct pd_err *err) __attribute__((warn_unused_result));

#endif
