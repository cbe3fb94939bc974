#include "common/utf8.h"

#include <stdint.h>

/* Length by lead byte, and the range of the second byte. */
struct lead {
    unsigned length;
    unsigned char low, high;
};

static struct lead lead_of(unsigned char byte)
{
    if (byte < 0x80)
        return (struct lead){1, 0, 0};
    if (byte < 0xc2)
        return (struct lead){0, 0, 0};
    if (byte < 0xe0)
        return (struct lead){2, 0x80, 0xbf};
    if (byte < 0xf0)
        return (struct lead){3, byte == 0xe0 ? 0xa0 : 0x80, byte == 0xed ? 0x9f : 0xbf};
    if (byte < 0xf5)
        return (struct lead){4, byte == 0xf0 ? 0x90 : 0x80, byte == 0xf4 ? 0x8f : 0xbf};
    return (struct lead){0, 0, 0};
}

/* How many bytes from `text` belong together, of the lead.length wanted. */
static unsigned match(const unsigned char *text, size_t len, struct lead lead)
{
    unsigned have = 1;

    if (lead.length < 2 || len < 2 || text[1] < lead.low || text[1] > lead.high)
        return have;
    for (have = 2; have < lead.length && have < len; have++) {
        if (text[have] < 0x80 || text[have] > 0xbf)
            break;
    }
    return have;
}

size_t pd_utf8_next(const char *text, size_t len, bool *ret_ok)
{
    struct lead lead = lead_of((unsigned char)text[0]);
    unsigned have = match((const unsigned char *)text, len, lead);

    *ret_ok = have == lead.length;
    return have;
}

bool pd_utf8_is_valid(const char *text, size_t len)
{
    bool ok = true;

    for (size_t i = 0; i < len && ok;)
        i += pd_utf8_next(text + i, len - i, &ok);
    return ok;
}

size_t pd_utf8_count(const char *text, size_t len)
{
    size_t count = 0;
    bool ok;

    for (size_t i = 0; i < len; count++)
        i += (unsigned char)text[i] < 0x80 ? 1 : pd_utf8_next(text + i, len - i, &ok);
    return count;
}

size_t pd_utf8_incomplete(const char *text, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        const unsigned char *at = (const unsigned char *)text + len - back;
        struct lead lead = lead_of(*at);
        if ((*at & 0xc0) == 0x80)
            continue;
        return lead.length > back && match(at, back, lead) == back ? back : 0;
    }
    return 0;
}

int pd_utf8_clean(const char *text, size_t len, struct pd_buf *out, struct pd_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < len && rc == 0;) {
        bool ok;
        size_t step = pd_utf8_next(text + i, len - i, &ok);
        rc = ok ? pd_buf_add(out, text + i, step, err)
                : pd_buf_add(out, PD_UTF8_REPLACEMENT, 3, err);
        i += step;
    }
    return rc;
}
