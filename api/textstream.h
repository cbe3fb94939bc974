/* A program's output on its way into JSON: pieces that end within a UTF-8 character
 * are held back by that much until the rest has come; what is not UTF-8 goes as
 * base64, and says so. Nothing is lost or changed either way. */
#ifndef PD_API_TEXTSTREAM_H
#define PD_API_TEXTSTREAM_H

#include <stddef.h>

#include "common/buf.h"

#define PD_TEXT_TAIL_MAX 3

struct pd_text_stream {
    char tail[PD_TEXT_TAIL_MAX]; /* the beginning of a character */
    size_t tail_len;
};

/* Append the members of an output event ("data":"..." and, for base64, "encoding")
 * to `out`: for what was held back and `data`, as far as characters are complete.
 * Returns the number of the program's bytes that these are; 0: no event yet (nothing
 * was appended), or `out` is full, and they are lost. */
size_t pd_text_stream_put(struct pd_text_stream *stream, const void *data, size_t len,
                          struct pd_buf *out);
/* The rest, at the end: what is held back stays incomplete, and goes as base64. */
size_t pd_text_stream_flush(struct pd_text_stream *stream, struct pd_buf *out);

#endif
