#include "api/cookie.h"

#include <string.h>

bool pd_cookie_find(const char *header, const char *name, char *out, size_t out_bytes)
{
    size_t name_len = strlen(name);
    const char *value = NULL;
    size_t len = 0;

    for (const char *pair = header; *pair;) {
        size_t pair_len;
        pair += strspn(pair, " \t;");
        pair_len = strcspn(pair, ";");
        if (pair_len > name_len && pair[name_len] == '=' && memcmp(pair, name, name_len) == 0) {
            if (value)
                return false;
            value = pair + name_len + 1;
            len = pair_len - name_len - 1;
        }
        pair += pair_len;
    }
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
        len--;
    if (len == 0 || len >= out_bytes)
        return false;
    memcpy(out, value, len);
    out[len] = '\0';
    return true;
}
