#include "cli/records_env.h"

#include <stdlib.h>
#include <string.h>

#include "common/quantity.h"

#define DAY_MS INT64_C(86400000)
#define AGE_DEFAULT_MS (30 * DAY_MS)
#define SIZE_DEFAULT_BYTES (INT64_C(1) << 30)

/* Days, besides what durations are written in everywhere. */
static int parse_age(const char *text, int64_t *ret_ms, struct pd_err *err)
{
    char *end;
    long days = strtol(text, &end, 10);

    if (strcmp(text, "0") == 0) {
        *ret_ms = 0;
        return 0;
    }
    if (end != text && strcmp(end, "d") == 0 && days > 0 && days <= 36500) {
        *ret_ms = days * DAY_MS;
        return 0;
    }
    return pd_duration_parse(text, ret_ms, err);
}

static int parse_size(const char *text, int64_t *ret_bytes, struct pd_err *err)
{
    if (strcmp(text, "0") == 0) {
        *ret_bytes = 0;
        return 0;
    }
    return pd_quantity_parse_bytes(text, ret_bytes, err);
}

int pd_records_env(struct pd_records_config *config, struct pd_err *err)
{
    const char *age = getenv("PADDOCK_RECORDS_AGE");
    const char *size = getenv("PADDOCK_RECORDS_SIZE");
    const char *code = getenv("PADDOCK_RECORDS_CODE");

    config->age_ms = AGE_DEFAULT_MS;
    config->size_bytes = SIZE_DEFAULT_BYTES;
    config->keep_code = code && strcmp(code, "1") == 0;
    if (age && *age && parse_age(age, &config->age_ms, err) < 0)
        return pd_err_wrap(err, "PADDOCK_RECORDS_AGE");
    if (size && *size && parse_size(size, &config->size_bytes, err) < 0)
        return pd_err_wrap(err, "PADDOCK_RECORDS_SIZE");
    return 0;
}
