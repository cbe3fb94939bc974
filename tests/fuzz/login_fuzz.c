/* What a browser, or somebody who plays one, sends for itself: cookies, forms,
 * Origin and Host. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/cookie.h"
#include "api/form.h"
#include "api/origin.h"

#define OUT_BYTES 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Exactly sized, so that writing past the end is seen. */
static void check_out(bool found, const char *out)
{
    if (found)
        assert(memchr(out, '\0', OUT_BYTES));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct pd_hosts hosts = {"mole", "a.example,b.example"};
    char *text = malloc(size + 1);
    char *form = malloc(size ? size : 1);
    char *out = malloc(OUT_BYTES);
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
