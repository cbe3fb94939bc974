/* What clients write to find executions: the first byte says which of it. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/head.h"
#include "api/record_query.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool get(const void *source, const char *name, char *out, size_t out_bytes)
{
    return pd_head_query(source, name, out, out_bytes);
}

static void try_query(const char *text, size_t len)
{
    const struct pd_head head = {.query = text, .query_len = len};
    struct pd_records_query query;
    struct pd_err err = {.kind = 0};

    if (pd_records_query_parse(get, &head, &query, &err) < 0) {
        assert(err.kind == PD_INVALID && err.msg[0]);
        return;
    }
    assert(query.limit >= 1 && query.limit <= PD_RECORDS_PAGE_MAX);
    assert(memchr(query.status, '\0', sizeof query.status));
    assert(memchr(query.cursor_id, '\0', sizeof query.cursor_id));
    assert(query.cursor_ms >= 0);
}

static void try_cursor(const char *text)
{
    struct pd_records_query query = {.limit = 1};
    struct pd_err err;

    if (pd_records_cursor_parse(text, &query, &err) < 0)
        assert(err.kind == PD_INVALID && !query.cursor_id[0]);
    else
        assert(query.cursor_ms >= 0 && query.cursor_id[0]);
}

static void try_key(const char *text)
{
    char *key = malloc(PD_IDEMPOTENCY_KEY_BYTES); /* so that writing past the end is seen */

    if (pd_idempotency_key_parse(text, key)) {
        assert(key[0] && memchr(key, '\0', PD_IDEMPOTENCY_KEY_BYTES));
        for (const char *p = key; *p; p++)
            assert(*p >= ' ' && *p <= '~');
    }
    free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pd_autofree char *text = NULL;

    if (size == 0)
        return 0;
    text = pd_strndup((const char *)data + 1, size - 1);
    switch (*data) {
    case 'q':
        try_query(text, strlen(text));
        break;
    case 'c':
        try_cursor(text);
        break;
    case 'k':
        try_key(text);
        break;
    default:
        (void)pd_records_time_parse(text);
    }
    return 0;
}
