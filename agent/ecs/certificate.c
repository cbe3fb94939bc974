/* RFC 5280, version 1: serial number, algorithm, issuer, validity, subject, key.
 * Every length is known but the signature's. */
#include <bearssl.h>
#include <string.h>

#include "agent/ecs/ecs.h"

static const uint8_t algorithm[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86,
                                    0x48, 0xce, 0x3d, 0x04, 0x03, 0x02}; /* ecdsa-with-SHA256 */
static const uint8_t name[] = {0x30, 0x12, 0x31, 0x10, 0x30, 0x0e, 0x06, 0x03, 0x55, 0x04,
                               0x03, 0x0c, 0x07, 'p',  'a',  'd',  'd',  'o',  'c',  'k'};
static const uint8_t serial[] = {0x02, 0x01, 0x01};
static const char validity[] =
    "\x30\x20\x17\x0d"
    "200101000000Z\x18\x0f"
    "99991231235959Z";
static const uint8_t key_head[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                   0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                   0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};

const uint8_t *certificate_name(size_t *ret_len)
{
    *ret_len = sizeof name;
    return name;
}

static size_t add(uint8_t *out, size_t at, const void *bytes, size_t len)
{
    memcpy(out + at, bytes, len);
    return at + len;
}

/* A SEQUENCE of 128 to 65535 bytes. */
static size_t add_head(uint8_t *out, size_t at, size_t len)
{
    const uint8_t head[] = {0x30, 0x82, (uint8_t)(len >> 8), (uint8_t)len};

    return add(out, at, head, sizeof head);
}

size_t certificate_make(const uint8_t point[ECS_POINT_BYTES],
                        size_t (*sign)(const uint8_t hash[32], uint8_t *out),
                        uint8_t out[CERTIFICATE_BYTES_MAX])
{
    size_t inner = sizeof serial + sizeof algorithm + 2 * sizeof name + sizeof validity - 1 +
                   sizeof key_head + ECS_POINT_BYTES;
    uint8_t tbs[CERTIFICATE_BYTES_MAX], signature[80], hash[32];
    br_sha256_context sha;
    size_t len = add_head(tbs, 0, inner), signature_len, at;

    len = add(tbs, len, serial, sizeof serial);
    len = add(tbs, len, algorithm, sizeof algorithm);
    len = add(tbs, len, name, sizeof name);
    len = add(tbs, len, validity, sizeof validity - 1);
    len = add(tbs, len, name, sizeof name);
    len = add(tbs, len, key_head, sizeof key_head);
    len = add(tbs, len, point, ECS_POINT_BYTES);
    br_sha256_init(&sha);
    br_sha256_update(&sha, tbs, len);
    br_sha256_out(&sha, hash);
    signature_len = sign(hash, signature);
    if (signature_len == 0 || signature_len > sizeof signature)
        return 0;
    at = add_head(out, 0, len + sizeof algorithm + 3 + signature_len);
    at = add(out, at, tbs, len);
    at = add(out, at, algorithm, sizeof algorithm);
    at = add(out, at, (const uint8_t[]){0x03, (uint8_t)(signature_len + 1), 0x00}, 3);
    return add(out, at, signature, signature_len);
}
