#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

#define BUF_CAP_MIN 256

void pd_buf_init(struct pd_buf *buf, size_t max_bytes)
{
    *buf = (struct pd_buf){.max = max_bytes};
}

void pd_buf_fini(struct pd_buf *buf)
{
    free(buf->data);
    *buf = (struct pd_buf){.max = buf->max};
}

char *pd_buf_reserve(struct pd_buf *buf, size_t len, struct pd_err *err)
{
    size_t need;

    if (len > buf->max || buf->len > buf->max - len) {
        pd_err_set(err, PD_LIMIT, "more than %zu bytes", buf->max);
        return NULL;
    }
    need = buf->len + len + 1;
    if (need > buf->cap) {
        size_t cap = buf->cap ? buf->cap : BUF_CAP_MIN;
        while (cap < need)
            cap *= 2;
        if (cap > buf->max + 1)
            cap = buf->max + 1;
        buf->data = pd_realloc(buf->data, cap, 1);
        buf->cap = cap;
    }
    return buf->data + buf->len;
}

int pd_buf_add(struct pd_buf *buf, const void *data, size_t len, struct pd_err *err)
{
    char *to = pd_buf_reserve(buf, len, err);

    if (!to)
        return PD_LIMIT;
    if (len)
        memcpy(to, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return 0;
}

/* Most often it fits into what is allocated: formatted once. */
int pd_buf_addf(struct pd_buf *buf, struct pd_err *err, const char *fmt, ...)
{
    size_t room = buf->cap - buf->len;
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(room > 0 ? buf->data + buf->len : NULL, room, fmt, ap);
    va_end(ap);
    if (len < 0)
        return pd_err_set(err, PD_INTERNAL, "format");
    if ((size_t)len >= room) {
        char *to;
        if (room > 0)
            buf->data[buf->len] = '\0';
        to = pd_buf_reserve(buf, (size_t)len, err);
        if (!to)
            return PD_LIMIT;
        va_start(ap, fmt);
        vsnprintf(to, (size_t)len + 1, fmt, ap);
        va_end(ap);
    }
    buf->len += (size_t)len;
    return 0;
}

void pd_buf_consume(struct pd_buf *buf, size_t len)
{
    if (len >= buf->len) {
        pd_buf_clear(buf);
        return;
    }
    memmove(buf->data, buf->data + len, buf->len - len + 1);
    buf->len -= len;
}

void pd_buf_clear(struct pd_buf *buf)
{
    buf->len = 0;
    if (buf->data)
        buf->data[0] = '\0';
}

char *pd_buf_steal(struct pd_buf *buf)
{
    char *data = buf->data ? buf->data : pd_strdup("");
    *buf = (struct pd_buf){.max = buf->max};
    return data;
}
