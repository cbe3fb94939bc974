/* What Redis answers (RESP2, https://redis.io/docs/reference/protocol-spec/),
 * read by hiredis from bytes as they come, bounded in size, items and depth. */
#ifndef PD_COMMON_REDIS_REPLY_H
#define PD_COMMON_REDIS_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* Of one whole answer, as sent. */
#define PD_REDIS_REPLY_BYTES_MAX (32u * 1024 * 1024)
/* Of one whole answer, nested ones included; the depth hiredis bounds (7). */
#define PD_REDIS_REPLY_ITEMS_MAX (512u * 1024)

enum pd_redis_type {
    PD_REDIS_NIL,
    PD_REDIS_STRING, /* a simple ("OK") or a bulk one */
    PD_REDIS_INTEGER,
    PD_REDIS_ARRAY,
    PD_REDIS_ERROR,
};

struct pd_redis_reply {
    enum pd_redis_type type;
    int64_t integer;
    char *text; /* string and error: terminated by a NUL that `len` does not count */
    size_t len; /* bytes of text */
    struct pd_redis_reply **items; /* array; an item is never NULL once the answer is whole */
    size_t count;
};

/* NULL is fine; frees nested ones. */
void pd_redis_reply_free(struct pd_redis_reply *reply);
/* The i-th item when reply is an array that long and the item is a string, else NULL. */
const struct pd_redis_reply *pd_redis_reply_string(const struct pd_redis_reply *reply, size_t i);
/* The i-th item as an integer (also one that is text), else `fallback`. */
int64_t pd_redis_reply_integer(const struct pd_redis_reply *reply, size_t i, int64_t fallback);
/* Whether it is this very string. */
bool pd_redis_reply_is(const struct pd_redis_reply *reply, const char *text);

/* What an error of Redis's means ("WRONGPASS ...", "OOM ...", "FENCED ..." of our
 * own scripts): sets err, returns its kind. reply is of type PD_REDIS_ERROR. */
int pd_redis_reply_err(const struct pd_redis_reply *reply, struct pd_err *err);

/* ---- reading ---- */

struct pd_redis_reader;

struct pd_redis_reader *pd_redis_reader_new(void);
void pd_redis_reader_free(struct pd_redis_reader *reader); /* NULL is fine */
/* Bytes that came; they are copied. */
void pd_redis_reader_feed(struct pd_redis_reader *reader, const void *data, size_t len);
/* 1: *ret_reply is the next whole answer, the caller's. 0: not whole yet.
 * PD_UNAVAILABLE: that is no RESP2; PD_LIMIT: too large. The reader is of no
 * use after either. */
int pd_redis_reader_next(struct pd_redis_reader *reader, struct pd_redis_reply **ret_reply,
                         struct pd_err *err) __attribute__((warn_unused_result));

#endif
