#include "api/record_query.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/mem.h"

#define PARAMETER_BYTES 8192 /* a whole head is no longer */

bool pd_idempotency_key_parse(const char *sent, char out[static PD_IDEMPOTENCY_KEY_BYTES])
{
    size_t len = strlen(sent);
    size_t used = 0;

    if (len >= 2 && sent[0] == '"' && sent[len - 1] == '"') {
        sent++;
        len -= 2;
    }
    for (size_t i = 0; i < len; i++) {
        if (sent[i] == '\\' && i + 1 < len)
            i++;
        if (sent[i] < ' ' || sent[i] > '~' || used == PD_IDEMPOTENCY_KEY_BYTES - 1)
            return false;
        out[used++] = sent[i];
    }
    out[used] = '\0';
    return used > 0;
}

int64_t pd_records_time_parse(const char *text)
{
    struct tm utc = {0};
    char *end;
    double seconds = strtod(text, &end);

    if (end != text && !*end && seconds > 0 && seconds < 1e11)
        return (int64_t)(seconds * 1000);
    end = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
    if (!end)
        return 0;
    if (*end == '.')
        end += 1 + strspn(end + 1, "0123456789");
    return strcmp(end, "Z") == 0 ? (int64_t)timegm(&utc) * 1000 : 0;
}

/* A filter that is longer than anything it could find must not find everything. */
static int take_text(pd_parameter_cb get, const void *source, const char *name, char *out,
                     size_t out_bytes, struct pd_err *err)
{
    char text[PARAMETER_BYTES];

    if (!get(source, name, text, sizeof text))
        return 0;
    if (strlen(text) >= out_bytes)
        return pd_err_set(err, PD_INVALID, "%s: longer than %zu characters", name, out_bytes - 1);
    pd_strcpy(out, out_bytes, text);
    return 0;
}

static int take_time(pd_parameter_cb get, const void *source, const char *name, int64_t *ret_ms,
                     struct pd_err *err)
{
    char text[64] = "";

    if (take_text(get, source, name, text, sizeof text, err) < 0)
        return PD_INVALID;
    if (*text && !(*ret_ms = pd_records_time_parse(text)))
        return pd_err_set(err, PD_INVALID, "%s: seconds since 1970, or 2026-01-31T12:00:00Z", name);
    return 0;
}

static int take_limit(pd_parameter_cb get, const void *source, int *ret_limit, struct pd_err *err)
{
    char text[32] = "";
    char *end;
    long limit;

    *ret_limit = PD_RECORDS_PAGE_DEFAULT;
    if (take_text(get, source, "limit", text, sizeof text, err) < 0)
        return PD_INVALID;
    if (!*text)
        return 0;
    limit = strtol(text, &end, 10);
    if (*end || limit < 1 || limit > PD_RECORDS_PAGE_MAX)
        return pd_err_set(err, PD_INVALID, "limit: must be 1 to %d", PD_RECORDS_PAGE_MAX);
    *ret_limit = (int)limit;
    return 0;
}

int pd_records_query_parse(pd_parameter_cb get, const void *source,
                           struct pd_records_query *ret_query, struct pd_err *err)
{
    struct pd_records_query query = {.limit = 0};
    char cursor[PD_RECORD_ID_BYTES + 32] = "";

    if (take_text(get, source, "status", query.status, sizeof query.status, err) < 0 ||
        take_text(get, source, "pool", query.pool, sizeof query.pool, err) < 0 ||
        take_text(get, source, "language", query.language, sizeof query.language, err) < 0 ||
        take_text(get, source, "key", query.key_id, sizeof query.key_id, err) < 0 ||
        take_limit(get, source, &query.limit, err) < 0 ||
        take_text(get, source, "cursor", cursor, sizeof cursor, err) < 0 ||
        (*cursor && pd_records_cursor_parse(cursor, &query, err) < 0) ||
        take_time(get, source, "from", &query.from_wall_ms, err) < 0 ||
        take_time(get, source, "to", &query.to_wall_ms, err) < 0)
        return PD_INVALID;
    *ret_query = query;
    return 0;
}

int pd_records_cursor_parse(const char *text, struct pd_records_query *query, struct pd_err *err)
{
    char *end;
    long long ms = strtoll(text, &end, 10);

    if (end == text || *end != '.' || ms < 0 || !end[1] ||
        strlen(end + 1) >= sizeof query->cursor_id)
        return pd_err_set(err, PD_INVALID, "cursor: is none that this service gave");
    query->cursor_ms = ms;
    pd_strcpy(query->cursor_id, sizeof query->cursor_id, end + 1);
    return 0;
}
