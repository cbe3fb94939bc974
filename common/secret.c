#include "common/secret.h"

#include <stdlib.h>

#include "common/mem.h"

struct pd_secret pd_secret_new(const char *bytes, size_t len)
{
    if (len == 0)
        return (struct pd_secret){0};
    return (struct pd_secret){pd_strndup(bytes, len), len};
}

struct pd_secret pd_secret_copy(const struct pd_secret *secret)
{
    return pd_secret_new(secret->bytes, secret->len);
}

void pd_secret_free(struct pd_secret *secret)
{
    if (secret->bytes)
        pd_wipe(secret->bytes, secret->len);
    free(secret->bytes);
    *secret = (struct pd_secret){0};
}

bool pd_secret_equals(const struct pd_secret *secret, const char *candidate, size_t len)
{
    unsigned char differ = secret->len != len || len == 0;

    for (size_t i = 0; i < len && secret->len > 0; i++)
        differ |= (unsigned char)(secret->bytes[i % secret->len] ^ candidate[i]);
    return !differ && secret->len > 0;
}
