/* tar archives in memory (POSIX.1-2017 pax, ustar interchange format): written
 * to fill a volume, read to see what is in one. Pure. */
#ifndef PD_CONTROLLER_DOCKER_TAR_H
#define PD_CONTROLLER_DOCKER_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

#define PD_TAR_NAME_MAX 100 /* bytes of a name, its NUL included */

/* Append one regular file, owned by root, without a time. PD_INVALID: a name
 * of more than 99 bytes; PD_LIMIT: the buffer is full. */
int pd_tar_add(struct pd_buf *tar, const char *name, unsigned mode, const void *data, size_t len,
               struct pd_err *err) __attribute__((warn_unused_result));
/* Likewise a folder; its name ends with '/'. */
int pd_tar_add_folder(struct pd_buf *tar, const char *name, unsigned mode, struct pd_err *err)
    __attribute__((warn_unused_result));
/* The end of the archive. */
int pd_tar_finish(struct pd_buf *tar, struct pd_err *err) __attribute__((warn_unused_result));

struct pd_tar_entry {
    char name[PD_TAR_NAME_MAX + 1];
    unsigned mode;    /* permission bits */
    char type;        /* '0' a file, '5' a folder, others as in the format */
    const char *data; /* points into the archive */
    size_t len;
};

/* The entry at *offset of an archive, which then moves on to the next. 1: filled;
 * 0: the end; PD_INVALID: malformed. Extended headers ('x', 'g') are skipped. */
int pd_tar_next(const char *tar, size_t len, size_t *offset, struct pd_tar_entry *ret_entry,
                struct pd_err *err) __attribute__((warn_unused_result));

#endif
