/* What a browser, or somebody who plays one, sends for itself: cookies, forms,
 * Origin and Host, what proxies add
 * (X-Forwarded-For), and what replicas tell each other of sessions. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/cookie.h"
#include "api/form.h"
#include "api/guesses.h"
#include "api/origin.h"
#include "api/shared_sessions.h"

#define OUT_BYTES 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Exactly sized, so that writing past the end is seen. */
static void check_out(bool found, const char *out)
{
    if (found)
        assert(memchr(out, '\0', OUT_BYTES));
}

/* What is taken as a message is one of the two, and of a bounded length. */
static void check_message(const char *text, size_t size)
{
    struct pd_sessions *sessions = pd_sessions_new();

    if (pd_shared_sessions_take(sessions, text, size, (struct pd_time){1000000}))
        assert(size < 256 && (memcmp(text, "put ", 4) == 0 || memcmp(text, "end ", 4) == 0));
    pd_sessions_free(sessions);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct pd_hosts hosts = {"mole", "a.example,b.example"};
    char *text = malloc(size + 1);
    char *form = malloc(size ? size : 1);
    char *out = malloc(OUT_BYTES);
    struct pd_address address;
    char *line;
    bool found;

    memcpy(form, data, size);
    memcpy(text, data, size);
    text[size] = '\0';
    found = pd_form_find(form, size, "key", out, OUT_BYTES);
    check_out(found, out);
    found = pd_cookie_find(text, "paddock_8000", out, OUT_BYTES);
    check_out(found, out);
    assert(!found || (*out && !strchr(out, ';')));
    memset(&address, 0xa5, sizeof address);
    if (!pd_address_forwarded(text, &address))
        assert(address.bytes[0] == 0xa5 && address.bytes[15] == 0xa5);
    check_message(form, size);
    line = strchr(text, '\n');
    if (line)
        *line++ = '\0';
    /* An origin is the same as one host at most. */
    if (line && pd_origin_is_host(text, line))
        assert(strstr(text, "://") && *line);
    if (pd_host_is_ours(&hosts, text))
        assert(!strstr(text, "evil") || text[0] == '[');
    free(out);
    free(form);
    free(text);
    return 0;
}
