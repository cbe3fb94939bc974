#include "api/textstream.h"

#include <string.h>

#include "api/base64.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/utf8.h"

static int put_data(const char *text, size_t len, struct pd_buf *out)
{
    int rc = pd_buf_add(out, "\"data\":", 7, NULL);

    if (rc == 0 && pd_utf8_is_valid(text, len))
        return pd_json_format_string(text, len, out, NULL);
    if (rc == 0)
        rc = pd_buf_add(out, "\"", 1, NULL);
    if (rc == 0)
        rc = pd_base64_encode(text, len, out, NULL);
    return rc < 0 ? rc : pd_buf_addf(out, NULL, "\",\"encoding\":\"base64\"");
}

static size_t put_or_lose(const char *text, size_t len, struct pd_buf *out)
{
    if (put_data(text, len, out) == 0)
        return len;
    pd_buf_clear(out);
    return 0;
}

size_t pd_text_stream_put(struct pd_text_stream *stream, const void *data, size_t len,
                          struct pd_buf *out)
{
    pd_autofree char *joined = NULL;
    const char *text = data;
    size_t held;

    if (stream->tail_len > 0) {
        joined = pd_calloc(1, stream->tail_len + len + 1);
        memcpy(joined, stream->tail, stream->tail_len);
        memcpy(joined + stream->tail_len, data, len);
        text = joined;
        len += stream->tail_len;
    }
    held = pd_utf8_incomplete(text, len);
    memcpy(stream->tail, text + len - held, held);
    stream->tail_len = held;
    return len > held ? put_or_lose(text, len - held, out) : 0;
}

size_t pd_text_stream_flush(struct pd_text_stream *stream, struct pd_buf *out)
{
    size_t len = stream->tail_len;

    stream->tail_len = 0;
    return len > 0 ? put_or_lose(stream->tail, len, out) : 0;
}
