#include "api/form.h"

#include <string.h>

#include "common/hex.h"

/* The byte at *at, which is moved past it; negative when it cannot be had. */
static int next_byte(const char *text, size_t len, size_t *at)
{
    char c = text[(*at)++];
    int high, low;

    if (c == '+')
        return ' ';
    if (c != '%')
        return c ? (unsigned char)c : -1;
    if (len - *at < 2)
        return -1;
    high = pd_hex_digit(text[*at]);
    low = pd_hex_digit(text[*at + 1]);
    *at += 2;
    return high < 0 || low < 0 || (high == 0 && low == 0) ? -1 : high << 4 | low;
}

static bool decode(const char *text, size_t len, char *out, size_t out_bytes)
{
    size_t used = 0;

    for (size_t at = 0; at < len;) {
        int byte = next_byte(text, len, &at);
        if (byte < 0 || used + 1 >= out_bytes)
            return false;
        out[used++] = (char)byte;
    }
    out[used] = '\0';
    return true;
}

bool pd_form_find(const char *form, size_t len, const char *name, char *out, size_t out_bytes)
{
    size_t name_len = strlen(name);
    const char *end = form + len;
    const char *value = NULL;
    size_t value_len = 0;

    for (const char *pair = form; pair < end;) {
        const char *stop = memchr(pair, '&', (size_t)(end - pair));
        size_t pair_len = (size_t)((stop ? stop : end) - pair);
        if (pair_len > name_len && pair[name_len] == '=' && memcmp(pair, name, name_len) == 0) {
            if (value)
                return false;
            value = pair + name_len + 1;
            value_len = pair_len - name_len - 1;
        }
        pair += pair_len + 1;
    }
    return value && decode(value, value_len, out, out_bytes);
}
