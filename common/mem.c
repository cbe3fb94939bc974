#include "common/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void *pd_calloc(size_t count, size_t size)
{
    void *mem = calloc(count ? count : 1, size ? size : 1);
    if (!mem)
        abort();
    return mem;
}

void *pd_realloc(void *old, size_t count, size_t size)
{
    void *mem;
    assert(size == 0 || count <= SIZE_MAX / size);
    mem = realloc(old, count && size ? count * size : 1);
    if (!mem)
        abort();
    return mem;
}

char *pd_strdup(const char *text)
{
    return pd_strndup(text, strlen(text));
}

char *pd_strndup(const char *text, size_t len)
{
    char *copy = pd_calloc(len + 1, 1);
    memcpy(copy, text, len);
    return copy;
}

char *pd_asprintf(const char *fmt, ...)
{
    va_list ap;
    char *text;
    int len;

    va_start(ap, fmt);
    len = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (len < 0)
        abort();
    return text;
}

void pd_wipe(void *data, size_t len)
{
    explicit_bzero(data, len);
}

void pd_strcpy(char *dst, size_t dst_bytes, const char *src)
{
    size_t len = strnlen(src, dst_bytes - 1);
    memcpy(dst, src, len);
    dst[len] = '\0';
}
