/* Errors as values: one convention for the whole program.
 *
 * A fallible function returns 0 or a negative enum pd_err_kind and takes a
 * caller-owned `struct pd_err *err` last (NULL is allowed: the kind is still
 * returned). Callers wrap with what they were doing; the outermost handler
 * logs, once. What to do about a kind (retry it, which HTTP status) comes from
 * one table, below. */
#ifndef PD_COMMON_ERR_H
#define PD_COMMON_ERR_H

#include <stdbool.h>

enum pd_err_kind {
    PD_INVALID = -1,     /* the input is wrong; repeating it cannot help */
    PD_DENIED = -2,      /* not allowed */
    PD_NOT_FOUND = -3,   /* no such thing */
    PD_CONFLICT = -4,    /* it exists already, or changed meanwhile */
    PD_THROTTLED = -5,   /* too many requests, by our own or a peer's count */
    PD_UNAVAILABLE = -6, /* a peer is not there now */
    PD_TIMEOUT = -7,     /* took longer than allowed */
    PD_LIMIT = -8,       /* a named bound would be exceeded */
    PD_CANCELED = -9,    /* given up by its owner, or by a close */
    PD_INTERNAL = -10,   /* our own fault, or the operating system's */
};

#define PD_ERR_MSG_MAX 512

struct pd_err {
    int kind;                 /* enum pd_err_kind, or 0 */
    int os;                   /* errno where there was one, else 0 */
    char msg[PD_ERR_MSG_MAX]; /* bounded, always terminated, may quote outside text */
};

/* Set err and return kind. */
int pd_err_set(struct pd_err *err, int kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Likewise, with an errno whose text is appended. */
int pd_err_os(struct pd_err *err, int kind, int os, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Put "fmt: " before the message; the kind stays and is returned. With err
 * NULL the kind is unknown here and PD_INTERNAL is returned. */
int pd_err_wrap(struct pd_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "invalid", "not found", ...; "ok" for 0. Static storage. */
const char *pd_err_kind_name(int kind);

/* The HTTP status that answers this kind (RFC 9110). */
int pd_err_http_status(int kind);

/* Whether the same call may succeed later without anybody's intervention. */
bool pd_err_retryable(int kind);

#endif
