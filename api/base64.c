#include "api/base64.h"

#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* 0..63, or -1. */
static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters, of which the last `padding` are '='. */
static int decode_group(const char *text, size_t padding, unsigned char *out)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < 4; i++) {
        int value = i < 4 - padding ? value_of(text[i]) : 0;
        if (value < 0)
            return PD_INVALID;
        bits = bits << 6 | (uint32_t)value;
    }
    if (bits & ((1u << (8 * padding)) - 1))
        return PD_INVALID;
    for (size_t i = 0; i < 3 - padding; i++)
        out[i] = (unsigned char)(bits >> (16 - 8 * i));
    return 0;
}

int pd_base64_decode(const char *text, size_t len, void *out, size_t *ret_len)
{
    unsigned char *at = out;
    size_t padding = 0;

    if (len % 4 != 0)
        return PD_INVALID;
    while (padding < 2 && len > 0 && text[len - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < len; i += 4) {
        size_t here = i + 4 == len ? padding : 0;
        if (decode_group(text + i, here, at) < 0)
            return PD_INVALID;
        at += 3 - here;
    }
    *ret_len = (size_t)(at - (unsigned char *)out);
    return 0;
}

int pd_base64_encode(const void *data, size_t len, struct pd_buf *out, struct pd_err *err)
{
    const unsigned char *in = data;
    size_t text_len = (len + 2) / 3 * 4;
    char *at = pd_buf_reserve(out, text_len, err);

    if (!at)
        return PD_LIMIT;
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t bits = (uint32_t)in[i] << 16;
        bits |= left > 1 ? (uint32_t)in[i + 1] << 8 : 0;
        bits |= left > 2 ? in[i + 2] : 0;
        *at++ = alphabet[bits >> 18];
        *at++ = alphabet[bits >> 12 & 63];
        *at++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        *at++ = left > 2 ? alphabet[bits & 63] : '=';
    }
    *at = '\0';
    out->len += text_len;
    return 0;
}
