/* Bodies sent in chunks (RFC 9112, section 7.1), read strictly. Extensions are
 * skipped, trailers thrown away; both are bounded. */
#ifndef PD_API_CHUNKS_H
#define PD_API_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

#define PD_CHUNK_LINE_BYTES_MAX 256 /* a size with its extensions */
#define PD_CHUNK_TRAILER_BYTES_MAX 4096

struct pd_chunks {
    enum {
        PD_CHUNKS_SIZE,      /* in a size line, before its digits end */
        PD_CHUNKS_EXTENSION, /* behind them */
        PD_CHUNKS_SIZE_LF,
        PD_CHUNKS_DATA,
        PD_CHUNKS_DATA_CR,
        PD_CHUNKS_DATA_LF,
        PD_CHUNKS_TRAILER, /* at the start of a trailer line */
        PD_CHUNKS_TRAILER_LINE,
        PD_CHUNKS_TRAILER_LF,
        PD_CHUNKS_END_LF,
        PD_CHUNKS_DONE,
    } state;
    uint64_t left;     /* of the chunk */
    unsigned digits;   /* of the size */
    size_t line_bytes; /* of the size line, or of all trailers */
};

void pd_chunks_init(struct pd_chunks *chunks);

/* Take data up to the end of the body, appending what is in the chunks to
 * `out`. *ret_used says how much was taken. 0, PD_INVALID, or PD_LIMIT when
 * `out` is full. */
int pd_chunks_feed(struct pd_chunks *chunks, const char *data, size_t len, struct pd_buf *out,
                   size_t *ret_used);
bool pd_chunks_done(const struct pd_chunks *chunks);

#endif
