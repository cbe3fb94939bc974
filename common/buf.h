/* A byte buffer that knows its maximum: the only home for anything whose size
 * a peer, a program or a file decides. Growth past the maximum fails with
 * PD_LIMIT and leaves the buffer as it was. */
#ifndef PD_COMMON_BUF_H
#define PD_COMMON_BUF_H

#include <stddef.h>

#include "common/err.h"

struct pd_buf {
    char *data;     /* always terminated by a NUL that `len` does not count, once anything was added */
    size_t len;     /* bytes held */
    size_t cap;     /* bytes allocated */
    size_t max;     /* bytes that may ever be held */
};

void pd_buf_init(struct pd_buf *buf, size_t max_bytes);
void pd_buf_fini(struct pd_buf *buf);

/* Append. 0 or PD_LIMIT. `data` may not point into the buffer. */
int pd_buf_add(struct pd_buf *buf, const void *data, size_t len, struct pd_err *err)
    __attribute__((warn_unused_result));
int pd_buf_addf(struct pd_buf *buf, struct pd_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), warn_unused_result));

/* Make room for `len` more bytes and return where they go; the caller then
 * adds what it wrote to buf->len. NULL with PD_LIMIT. */
char *pd_buf_reserve(struct pd_buf *buf, size_t len, struct pd_err *err)
    __attribute__((warn_unused_result));

/* Drop the first `len` bytes (at most what is held). */
void pd_buf_consume(struct pd_buf *buf, size_t len);

/* Forget the content, keep the storage. */
void pd_buf_clear(struct pd_buf *buf);

/* Hand the terminated content to the caller, who frees it; the buffer is empty
 * afterwards. Never NULL. */
char *pd_buf_steal(struct pd_buf *buf);

#define pd_autobuf __attribute__((cleanup(pd_buf_fini)))

#endif
