#include "api/chunks.h"

#include "common/hex.h"

#define SIZE_DIGITS_MAX 12

void pd_chunks_init(struct pd_chunks *chunks)
{
    *chunks = (struct pd_chunks){.state = PD_CHUNKS_SIZE};
}

bool pd_chunks_done(const struct pd_chunks *chunks)
{
    return chunks->state == PD_CHUNKS_DONE;
}

static int feed_size(struct pd_chunks *chunks, char c)
{
    int value = pd_hex_digit(c);

    if (value >= 0) {
        chunks->left = chunks->left * 16 + (uint64_t)value;
        return ++chunks->digits > SIZE_DIGITS_MAX ? PD_INVALID : 0;
    }
    if (chunks->digits == 0)
        return PD_INVALID;
    chunks->state = c == '\r' ? PD_CHUNKS_SIZE_LF : PD_CHUNKS_EXTENSION;
    return c == '\r' || c == ';' || c == ' ' || c == '\t' ? 0 : PD_INVALID;
}

static void begin_chunk(struct pd_chunks *chunks)
{
    chunks->state = chunks->left > 0 ? PD_CHUNKS_DATA : PD_CHUNKS_TRAILER;
    chunks->digits = 0;
    chunks->line_bytes = 0;
}

/* One character of everything but data. */
static int feed_char(struct pd_chunks *chunks, char c)
{
    bool lf = c == '\n';

    switch (chunks->state) {
    case PD_CHUNKS_SIZE:
        return ++chunks->line_bytes > PD_CHUNK_LINE_BYTES_MAX ? PD_INVALID : feed_size(chunks, c);
    case PD_CHUNKS_EXTENSION:
        if (c == '\r')
            chunks->state = PD_CHUNKS_SIZE_LF;
        return lf || ++chunks->line_bytes > PD_CHUNK_LINE_BYTES_MAX ? PD_INVALID : 0;
    case PD_CHUNKS_SIZE_LF:
        begin_chunk(chunks);
        return lf ? 0 : PD_INVALID;
    case PD_CHUNKS_DATA_CR:
        chunks->state = PD_CHUNKS_DATA_LF;
        return c == '\r' ? 0 : PD_INVALID;
    case PD_CHUNKS_DATA_LF:
        chunks->state = PD_CHUNKS_SIZE;
        return lf ? 0 : PD_INVALID;
    case PD_CHUNKS_TRAILER:
        chunks->state = c == '\r' ? PD_CHUNKS_END_LF : PD_CHUNKS_TRAILER_LINE;
        return lf || ++chunks->line_bytes > PD_CHUNK_TRAILER_BYTES_MAX ? PD_INVALID : 0;
    case PD_CHUNKS_TRAILER_LINE:
        if (c == '\r')
            chunks->state = PD_CHUNKS_TRAILER_LF;
        return lf || ++chunks->line_bytes > PD_CHUNK_TRAILER_BYTES_MAX ? PD_INVALID : 0;
    case PD_CHUNKS_TRAILER_LF:
        chunks->state = PD_CHUNKS_TRAILER;
        return lf ? 0 : PD_INVALID;
    case PD_CHUNKS_END_LF:
        chunks->state = PD_CHUNKS_DONE;
        return lf ? 0 : PD_INVALID;
    case PD_CHUNKS_DATA:
    case PD_CHUNKS_DONE:
        break;
    }
    return PD_INVALID;
}

static int feed_data(struct pd_chunks *chunks, const char *data, size_t len, struct pd_buf *out,
                     size_t *ret_used)
{
    size_t take = chunks->left < len ? (size_t)chunks->left : len;

    *ret_used = take;
    if (pd_buf_add(out, data, take, NULL) < 0)
        return PD_LIMIT;
    chunks->left -= take;
    if (chunks->left == 0)
        chunks->state = PD_CHUNKS_DATA_CR;
    return 0;
}

int pd_chunks_feed(struct pd_chunks *chunks, const char *data, size_t len, struct pd_buf *out,
                   size_t *ret_used)
{
    size_t at = 0;
    int rc = 0;

    while (rc == 0 && at < len && chunks->state != PD_CHUNKS_DONE) {
        if (chunks->state == PD_CHUNKS_DATA) {
            size_t used;
            rc = feed_data(chunks, data + at, len - at, out, &used);
            at += used;
        } else {
            rc = feed_char(chunks, data[at++]);
        }
    }
    *ret_used = at;
    return rc;
}
