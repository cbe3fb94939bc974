#include "api/trace.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/mem.h"

static const char hex_digits[] = "0123456789abcdef";

void pd_random_hex(char *out, size_t digits)
{
    unsigned char bytes[32];

    assert(digits % 2 == 0 && digits <= 2 * sizeof bytes);
    /* Requests of up to 256 bytes are never cut short (getrandom(2)). */
    if (getrandom(bytes, digits / 2, 0) != (ssize_t)(digits / 2))
        abort();
    for (size_t i = 0; i < digits / 2; i++) {
        out[2 * i] = hex_digits[bytes[i] >> 4];
        out[2 * i + 1] = hex_digits[bytes[i] & 15];
    }
    out[digits] = '\0';
}

static bool is_request_id(const char *text)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        "0123456789._:+/=@-";
    size_t len = strlen(text);

    return len >= 1 && len < PD_REQUEST_ID_BYTES && strspn(text, allowed) == len;
}

static bool is_id(const char *text, size_t digits)
{
    return strspn(text, hex_digits) == digits && strspn(text, "0") < digits;
}

static bool is_traceparent(const char *text)
{
    return strlen(text) == PD_TRACEPARENT_BYTES - 1 && memcmp(text, "00-", 3) == 0 &&
           is_id(text + 3, 32) && text[35] == '-' && is_id(text + 36, 16) && text[52] == '-' &&
           strspn(text + 53, hex_digits) == 2;
}

void pd_trace_init(struct pd_trace *trace, const char *request_id, const char *traceparent)
{
    char random[49];

    if (request_id && is_request_id(request_id) && traceparent && is_traceparent(traceparent)) {
        pd_strcpy(trace->request_id, sizeof trace->request_id, request_id);
        pd_strcpy(trace->traceparent, sizeof trace->traceparent, traceparent);
        return;
    }
    pd_random_hex(random, 48);
    if (traceparent && is_traceparent(traceparent))
        pd_strcpy(trace->traceparent, sizeof trace->traceparent, traceparent);
    else
        snprintf(trace->traceparent, sizeof trace->traceparent, "00-%.32s-%.16s-00", random,
                 random + 32);
    /* A request id of our own is the trace id: one thing to search logs for. */
    if (request_id && is_request_id(request_id))
        pd_strcpy(trace->request_id, sizeof trace->request_id, request_id);
    else
        snprintf(trace->request_id, sizeof trace->request_id, "%.32s", trace->traceparent + 3);
}
