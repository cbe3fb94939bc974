/* What replicas tell each other of sessions. */
#include <stdlib.h>
#include <string.h>

#include "api/shared_sessions.h"

#define MESSAGE_BYTES_MAX 256
#define LIFE_DIGITS_MAX 9 /* of milliseconds: eleven days */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Moves past a digest and the space or end after it. */
static bool take_digest(const char **at, unsigned char out[static PD_DIGEST_BYTES])
{
    const char *text = *at;

    for (size_t i = 0; i < PD_DIGEST_BYTES; i++, text += 2) {
        int high = hex_digit(text[0]);
        int low = high < 0 ? -1 : hex_digit(text[1]);
        if (low < 0)
            return false;
        out[i] = (unsigned char)(high << 4 | low);
    }
    if (*text && *text != ' ')
        return false;
    *at = text + (*text == ' ');
    return true;
}

static bool take_ms(const char **at, int64_t *ret)
{
    size_t digits = strspn(*at, "0123456789");

    if (digits == 0 || digits > LIFE_DIGITS_MAX || (*at)[digits] != ' ')
        return false;
    *ret = strtol(*at, NULL, 10);
    *at += digits + 1;
    return true;
}

bool pd_shared_sessions_take(struct pd_sessions *sessions, const char *text, size_t len,
                             struct pd_time now)
{
    unsigned char digest[PD_DIGEST_BYTES];
    char message[MESSAGE_BYTES_MAX];
    const char *at = message + 4;
    int64_t idle_ms, life_ms;

    if (len < 4 || len >= sizeof message || memchr(text, '\0', len))
        return false;
    memcpy(message, text, len);
    message[len] = '\0';
    if (memcmp(message, "end ", 4) == 0) {
        if (!take_digest(&at, digest) || *at)
            return false;
        pd_sessions_drop(sessions, digest);
        return true;
    }
    if (memcmp(message, "put ", 4) != 0 || !take_digest(&at, digest) || !take_ms(&at, &idle_ms) ||
        !take_ms(&at, &life_ms) || !*at || strlen(at) >= PD_KEY_ID_BYTES ||
        idle_ms > PD_SESSION_IDLE_MS || life_ms > PD_SESSION_LIFE_MS)
        return false;
    pd_sessions_put(sessions, digest, at, now, idle_ms, life_ms);
    return true;
}
