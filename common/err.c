#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int http_status;
    bool retryable;
} kinds[] = {
    [0] = {"ok", 200, false},
    [-PD_INVALID] = {"invalid", 422, false},
    [-PD_DENIED] = {"denied", 403, false},
    [-PD_NOT_FOUND] = {"not found", 404, false},
    [-PD_CONFLICT] = {"conflict", 409, false},
    [-PD_THROTTLED] = {"throttled", 429, true},
    [-PD_UNAVAILABLE] = {"unavailable", 503, true},
    [-PD_TIMEOUT] = {"timeout", 504, true},
    [-PD_LIMIT] = {"limit", 413, false},
    [-PD_CANCELED] = {"canceled", 503, false},
    [-PD_INTERNAL] = {"internal", 500, true},
};

static unsigned kind_index(int kind)
{
    return kind <= 0 && kind >= PD_INTERNAL ? (unsigned)-kind : (unsigned)-PD_INTERNAL;
}

const char *pd_err_kind_name(int kind)
{
    return kinds[kind_index(kind)].name;
}

int pd_err_http_status(int kind)
{
    return kinds[kind_index(kind)].http_status;
}

bool pd_err_retryable(int kind)
{
    return kinds[kind_index(kind)].retryable;
}

int pd_err_set(struct pd_err *err, int kind, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        err->kind = kind;
        err->os = 0;
        va_start(ap, fmt);
        vsnprintf(err->msg, sizeof err->msg, fmt, ap);
        va_end(ap);
    }
    return kind;
}

int pd_err_os(struct pd_err *err, int kind, int os, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        size_t used;
        err->kind = kind;
        err->os = os;
        va_start(ap, fmt);
        vsnprintf(err->msg, sizeof err->msg, fmt, ap);
        va_end(ap);
        used = strlen(err->msg);
        snprintf(err->msg + used, sizeof err->msg - used, ": %s", strerror(os));
    }
    return kind;
}

int pd_err_wrap(struct pd_err *err, const char *fmt, ...)
{
    char inner[PD_ERR_MSG_MAX];
    va_list ap;
    size_t used;

    if (!err)
        return PD_INTERNAL;
    memcpy(inner, err->msg, sizeof inner);
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    used = strlen(err->msg);
    snprintf(err->msg + used, sizeof err->msg - used, ": %s", inner);
    return err->kind;
}
