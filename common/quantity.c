#include "common/quantity.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

#define EXACT_MAX (INT64_C(1) << 53)
#define TEXT_MAX 40

/* Arithmetic is exact: a decimal of at most 18 digits, in thousandths, times a
 * unit of at most 2^60 fits 128 bits. */
__extension__ typedef unsigned __int128 wide;

struct unit {
    const char *name;
    wide milli; /* thousandths of the base unit */
};

static const struct unit quantity_units[] = {
    {"m", 1},
    {"", 1000},
    {"k", 1000 * (wide)1000},
    {"M", 1000 * (wide)1000000},
    {"G", 1000 * (wide)1000000000},
    {"T", 1000 * (wide)1000000000000},
    {"P", 1000 * (wide)1000000000000000},
    {"Ki", (wide)1000 << 10},
    {"Mi", (wide)1000 << 20},
    {"Gi", (wide)1000 << 30},
    {"Ti", (wide)1000 << 40},
    {"Pi", (wide)1000 << 50},
};

/* Thousandths of a millisecond. */
static const struct unit duration_units[] = {
    {"h", 3600000 * (wide)1000},
    {"m", 60000 * (wide)1000},
    {"s", 1000 * (wide)1000},
    {"ms", 1000},
    {"us", 1},
};

/* digits x 10^-scale */
struct decimal {
    uint64_t digits;
    unsigned scale;
};

/* Reads "12", "12.", "1.5", ".5". NULL when there is none or it is too long. */
static const char *decimal_parse(const char *text, struct decimal *ret)
{
    struct decimal decimal = {0};
    unsigned count = 0;
    bool point = false;

    for (; isdigit((unsigned char)*text) || (*text == '.' && !point); text++) {
        if (*text == '.') {
            point = true;
            continue;
        }
        decimal.digits = decimal.digits * 10 + (uint64_t)(*text - '0');
        decimal.scale += point;
        if (decimal.digits >= UINT64_C(1000000000000000000) || decimal.scale > 15)
            return NULL;
        count++;
    }
    *ret = decimal;
    return count ? text : NULL;
}

/* decimal x unit, rounded up. */
static wide scaled(struct decimal decimal, wide unit_milli)
{
    wide value = decimal.digits * unit_milli;
    wide divisor = 1;

    for (unsigned i = 0; i < decimal.scale; i++)
        divisor *= 10;
    return (value + divisor - 1) / divisor;
}

static const struct unit *unit_find(const struct unit *units, size_t count, const char *name,
                                    size_t len)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(units[i].name) == len && memcmp(units[i].name, name, len) == 0)
            return &units[i];
    }
    return NULL;
}

static int quantity_parse(const char *text, wide *ret_milli, struct pd_err *err)
{
    struct decimal decimal;
    const char *unit_name = strlen(text) < TEXT_MAX ? decimal_parse(text, &decimal) : NULL;
    const struct unit *unit = NULL;

    if (unit_name)
        unit = unit_find(quantity_units, PD_COUNT(quantity_units), unit_name, strlen(unit_name));
    if (!unit)
        return pd_err_set(err, PD_INVALID,
                          "must be a quantity such as 500m, 2 or 256Mi, got \"%.*s\"", TEXT_MAX,
                          text);
    *ret_milli = scaled(decimal, unit->milli);
    return 0;
}

int pd_quantity_parse(const char *text, int64_t *ret_milli, struct pd_err *err)
{
    wide milli;
    int rc = quantity_parse(text, &milli, err);

    if (rc < 0)
        return rc;
    if (milli > (wide)EXACT_MAX * 1000 || milli > INT64_MAX)
        return pd_err_set(err, PD_INVALID, "is too large: \"%.*s\"", TEXT_MAX, text);
    *ret_milli = (int64_t)milli;
    return 0;
}

int pd_quantity_parse_bytes(const char *text, int64_t *ret_bytes, struct pd_err *err)
{
    wide milli;
    int rc = quantity_parse(text, &milli, err);

    if (rc < 0)
        return rc;
    if (milli > (wide)EXACT_MAX * 1000)
        return pd_err_set(err, PD_INVALID, "must be at most 2^53 bytes, got \"%.*s\"", TEXT_MAX,
                          text);
    *ret_bytes = (int64_t)((milli + 999) / 1000);
    return 0;
}

const char *pd_quantity_format(int64_t milli, char *out, size_t out_bytes)
{
    if (milli % 1000)
        snprintf(out, out_bytes, "%lldm", (long long)milli);
    else
        snprintf(out, out_bytes, "%lld", (long long)(milli / 1000));
    return out;
}

const char *pd_quantity_format_bytes(int64_t bytes, char *out, size_t out_bytes)
{
    static const char *const suffixes[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi"};
    size_t i = 0;

    while (bytes && bytes % 1024 == 0 && i + 1 < PD_COUNT(suffixes)) {
        bytes /= 1024;
        i++;
    }
    snprintf(out, out_bytes, "%lld%s", (long long)bytes, suffixes[i]);
    return out;
}

static int duration_invalid(const char *text, struct pd_err *err)
{
    return pd_err_set(err, PD_INVALID,
                      "must be a duration such as 500ms, 30s or 1h30m, got \"%.*s\"", TEXT_MAX,
                      text);
}

int pd_duration_parse(const char *text, int64_t *ret_ms, struct pd_err *err)
{
    const char *at = text;
    wide micro = 0;

    if (strcmp(text, "0") == 0)
        at = "0s";
    if (!*text || strlen(text) >= TEXT_MAX)
        return duration_invalid(text, err);
    while (*at) {
        struct decimal decimal;
        const struct unit *unit;
        size_t len;
        at = decimal_parse(at, &decimal);
        if (!at)
            return duration_invalid(text, err);
        len = strspn(at, "abcdefghijklmnopqrstuvwxyz");
        unit = unit_find(duration_units, PD_COUNT(duration_units), at, len);
        if (!unit)
            return duration_invalid(text, err);
        at += len;
        micro += scaled(decimal, unit->milli);
    }
    if (micro > (wide)EXACT_MAX * 1000)
        return pd_err_set(err, PD_INVALID, "is too long: \"%.*s\"", TEXT_MAX, text);
    *ret_ms = (int64_t)((micro + 999) / 1000);
    return 0;
}

const char *pd_duration_format(int64_t ms, char *out, size_t out_bytes)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t used = 0;

    snprintf(out, out_bytes, "0s");
    for (size_t i = 0; i < PD_COUNT(units); i++) {
        int64_t count = ms / units[i].ms;
        ms %= units[i].ms;
        if (count && used < out_bytes)
            used += (size_t)snprintf(out + used, out_bytes - used, "%lld%s", (long long)count,
                                     units[i].name);
    }
    return out;
}
