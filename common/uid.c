#include "common/uid.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char *format(unsigned char bytes[static 16], int version,
                          char out[static PD_UID_BYTES])
{
    size_t used = 0;

    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | (version << 4));
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[used++] = '-';
        snprintf(&out[used], PD_UID_BYTES - used, "%02x", bytes[i]);
        used += 2;
    }
    return out;
}

const char *pd_uid_random(char out[static PD_UID_BYTES])
{
    unsigned char bytes[16];

    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        abort();
    return format(bytes, 4, out);
}

const char *pd_uid_of_name(const char *name, char out[static PD_UID_BYTES])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];

    SHA256((const unsigned char *)name, strlen(name), digest);
    return format(digest, 8, out);
}
