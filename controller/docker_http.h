/* The head of one HTTP/1.1 response (RFC 9112, sections 4 and 5), as the
 * Docker engine answers a request to attach. Only this much is parsed by
 * ourselves: what follows the head is no HTTP any more (the connection is
 * hijacked), which libcurl cannot give us. */
#ifndef PD_CONTROLLER_DOCKER_HTTP_H
#define PD_CONTROLLER_DOCKER_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

/* A longer head is refused with PD_LIMIT. */
#define PD_DOCKER_HEAD_BYTES_MAX 8192

struct pd_docker_head {
    size_t len;      /* bytes of the head, its blank line included; 0: not complete yet */
    int status;      /* 100..599 */
    bool chunked;    /* a Transfer-Encoding is declared, so what follows is no raw stream */
    bool raw_stream; /* the content type says that the Docker stream follows */
};

/* Parse the head at the start of `data`. 0: *ret_head is filled; when its len
 * is 0, call again with more. PD_INVALID: this is no HTTP/1 response. Nothing
 * is kept between calls. */
int pd_docker_head_parse(const char *data, size_t len, struct pd_docker_head *ret_head,
                         struct pd_err *err) __attribute__((warn_unused_result));

/* Whether the raw stream follows this head: 101, or 200 with the stream's own
 * content type and no transfer coding. */
bool pd_docker_head_is_stream(const struct pd_docker_head *head);

#endif
