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

int pd_records_env_age(const char *name, int64_t fallback_ms, int64_t *ret_ms, struct pd_err *err)
{
    const char *text = getenv(name);

    *ret_ms = fallback_ms;
    if (text && *text && parse_age(text, ret_ms, err) < 0)
        return pd_err_wrap(err, "%s", name);
    return 0;
}

int pd_records_env(struct pd_records_config *config, struct pd_err *err)
{
    const char *size = getenv("PADDOCK_RECORDS_SIZE");
    const char *code = getenv("PADDOCK_RECORDS_CODE");
    const char *url = getenv("DATABASE_URL");

    config->ship = url && *url;
    config->size_bytes = SIZE_DEFAULT_BYTES;
    config->keep_code = code && strcmp(code, "1") == 0;
    if (pd_records_env_age("PADDOCK_RECORDS_AGE", AGE_DEFAULT_MS, &config->age_ms, err) < 0)
        return PD_INVALID;
    if (size && *size && parse_size(size, &config->size_bytes, err) < 0)
        return pd_err_wrap(err, "PADDOCK_RECORDS_SIZE");
    return 0;
}
