#include "common/yaml_scalar.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/mem.h"

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0)
            return true;
    }
    return false;
}

static bool parse_null(const char *text)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    return is_one_of(text, words, PD_COUNT(words));
}

static bool parse_bool(const char *text, bool *ret)
{
    static const char *const yes[] = {"true", "True", "TRUE"};
    static const char *const no[] = {"false", "False", "FALSE"};

    *ret = is_one_of(text, yes, PD_COUNT(yes));
    return *ret || is_one_of(text, no, PD_COUNT(no));
}

#define DIGITS "0123456789"

static bool looks_int(const char *text, int *ret_base)
{
    const char *digits = DIGITS;

    *ret_base = 10;
    if (strncmp(text, "0o", 2) == 0) {
        *ret_base = 8;
        digits = "01234567";
    } else if (strncmp(text, "0x", 2) == 0) {
        *ret_base = 16;
        digits = DIGITS "abcdefABCDEF";
    }
    if (*ret_base != 10)
        text += 2;
    else if (*text == '-' || *text == '+')
        text++;
    return *text && text[strspn(text, digits)] == '\0';
}

static bool looks_number(const char *text)
{
    size_t whole, fraction = 0;

    text += *text == '-' || *text == '+';
    whole = strspn(text, DIGITS);
    text += whole;
    if (*text == '.') {
        fraction = strspn(++text, DIGITS);
        text += fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '-' || *text == '+';
        if (!strspn(text, DIGITS))
            return false;
        text += strspn(text, DIGITS);
    }
    return *text == '\0';
}

static bool looks_unbounded(const char *text)
{
    static const char *const words[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"};
    return is_one_of(text + (*text == '-' || *text == '+'), words, PD_COUNT(words));
}

int pd_yaml_scalar(const char *text, size_t len, struct pd_node **ret_node)
{
    int base;
    bool truth;

    if (strlen(text) != len) {
        *ret_node = pd_node_string_new_len(text, len);
    } else if (parse_null(text)) {
        *ret_node = pd_node_null_new();
    } else if (parse_bool(text, &truth)) {
        *ret_node = pd_node_bool_new(truth);
    } else if (looks_int(text, &base)) {
        long long value;
        errno = 0;
        value = strtoll(base == 10 ? text : text + 2, NULL, base);
        if (errno)
            return PD_INVALID;
        *ret_node = pd_node_int_new(value);
    } else if (looks_number(text)) {
        double value = strtod(text, NULL);
        if (!isfinite(value))
            return PD_INVALID;
        *ret_node = pd_node_number_new(value);
    } else if (looks_unbounded(text)) {
        return PD_INVALID;
    } else {
        *ret_node = pd_node_string_new_len(text, len);
    }
    return 0;
}
