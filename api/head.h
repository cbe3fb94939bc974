/* Heads of HTTP/1.1 requests (RFC 9112), read strictly: what two readers could
 * understand differently is refused, so that nothing can hide between a proxy
 * and us. Pure: no I/O, no allocation. */
#ifndef PD_API_HEAD_H
#define PD_API_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/route.h"

#define PD_HEAD_BYTES_MAX 8192  /* request line and headers */
#define PD_HEADERS_MAX 64       /* in one request */
#define PD_HEAD_PATH_BYTES 1024 /* decoded, with the NUL; longer ones: 414 */

/* A header; both parts point into the text that was parsed. */
struct pd_header {
    const char *name; /* as sent */
    size_t name_len;
    const char *value; /* without white space around it */
    size_t value_len;
};

struct pd_head {
    enum pd_method method;
    char path[PD_HEAD_PATH_BYTES]; /* decoded, without the query; "*" only for OPTIONS */
    const char *query;             /* as sent, behind the "?"; NULL where there is none */
    size_t query_len;
    int minor; /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;
    bool expects_continue; /* waits for "100 Continue" */
    bool chunked;
    uint64_t content_length; /* 0 where there is none */
    struct pd_header headers[PD_HEADERS_MAX];
    size_t n_headers;
};

/* Where the head ends in text[0..len): the offset after its empty line, 0 while
 * it is not complete. The search begins at *from, which is moved on. Empty
 * lines before the request line are part of the head. */
size_t pd_head_end(const char *text, size_t len, size_t *from);

/* Parse a complete head. 0, or the status that refuses it (400, 414, 417, 431,
 * 501, 505) and *ret_reason, a static sentence. ret_head points into `text`.
 * What is in it after a refusal is undefined but for the path, which is
 * terminated. */
int pd_head_parse(const char *text, size_t len, struct pd_head *ret_head, const char **ret_reason);

/* The only header of this name (any case), or NULL; also NULL where it was sent
 * more than once. */
bool pd_head_has(const struct pd_head *head, const char *name); /* once or more often */
const struct pd_header *pd_head_find(const struct pd_head *head, const char *name);

/* Copy that header's value; false when there is none such, or it is longer than
 * fits. */
bool pd_head_copy(const struct pd_head *head, const char *name, char *out, size_t out_bytes);

/* Copy the first parameter of this name out of the query
 * (application/x-www-form-urlencoded). False when there is none, it is not well
 * encoded, or it does not fit. */
bool pd_head_query(const struct pd_head *head, const char *name, char *out, size_t out_bytes);

/* Whether a comma-separated list holds a token (any case); parameters are not
 * looked at. */
bool pd_header_has_token(const struct pd_header *header, const char *token);

#endif
