/* Heads of HTTP requests, and bodies in chunks behind them: found and read the
 * same way however the bytes are cut into pieces. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/chunks.h"
#include "api/head.h"

#define BODY_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_head(const struct pd_head *head, const char *text, size_t len)
{
    assert(head->path[0] == '/' || strcmp(head->path, "*") == 0);
    assert(!(head->chunked && head->content_length > 0));
    char value[16];
    if (pd_head_query(head, "from", value, sizeof value))
        assert(head->query && strlen(value) < sizeof value);
    for (size_t i = 0; i < head->n_headers; i++) {
        const struct pd_header *header = &head->headers[i];
        assert(header->name >= text && header->name_len > 0);
        assert(header->value + header->value_len <= text + len);
        assert(!memchr(header->value, '\n', header->value_len));
        assert(!memchr(header->value, '\0', header->value_len));
        pd_header_has_token(header, "close");
    }
}

/* Feed in pieces of `step`; the outcome as one number. */
static uint64_t feed(const char *text, size_t len, size_t step)
{
    struct pd_chunks chunks;
    struct pd_buf out;
    size_t at = 0;
    int rc = 0;
    uint64_t sum;

    pd_chunks_init(&chunks);
    pd_buf_init(&out, BODY_MAX);
    while (rc == 0 && at < len && !pd_chunks_done(&chunks)) {
        size_t used;
        rc = pd_chunks_feed(&chunks, text + at, len - at < step ? len - at : step, &out, &used);
        at += used;
    }
    sum = rc < 0 ? (uint64_t)-rc : (uint64_t)out.len << 32 | (uint64_t)at << 8;
    pd_buf_fini(&out);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A copy, so that reading past the end is seen. */
    char *text = malloc(size ? size : 1);
    struct pd_head head;
    const char *reason;
    size_t whole = 0;
    size_t from = 0;
    size_t end;

    memcpy(text, data, size);
    end = pd_head_end(text, size, &whole);
    for (size_t len = 0; len < size && len < 512; len++)
        assert(pd_head_end(text, len, &from) == (end && len >= end ? end : 0));
    if (end > 0) {
        if (pd_head_parse(text, end, &head, &reason) == 0)
            check_head(&head, text, end);
        if (feed(text + end, size - end, size) < 16)
            assert(feed(text + end, size - end, 1) == feed(text + end, size - end, size) ||
                   feed(text + end, size - end, 1) < 16);
        else
            assert(feed(text + end, size - end, 1) == feed(text + end, size - end, size));
    }
    free(text);
    return 0;
}
