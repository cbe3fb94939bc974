/* HTTP requests by libcurl's multi interface on the libuv loop: the one place
 * where the two meet (libcurl-multi(3): uv_poll for its sockets, one uv_timer
 * for its timeouts).
 *
 * Redirects are never followed; only http and https are spoken. Everything
 * belongs to one loop and one thread. */
#ifndef PD_COMMON_LOOP_CURL_H
#define PD_COMMON_LOOP_CURL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/err.h"

struct pd_http;         /* a client: connections are kept and reused within it */
struct pd_http_request; /* one request under way */

/* Most bytes of one response's header section. */
#define PD_HTTP_HEADERS_BYTES_MAX (64u * 1024)

struct pd_http_response {
    int status;       /* 100..599 */
    const char *body; /* terminated; "" when streamed by on_data */
    size_t body_len;
    const char *headers; /* "Name: value\r\n" lines of the last response; see pd_http_header */
};

/* The end of a request. err is NULL once a whole response has come, whatever
 * its status; `response` is NULL exactly when err is not. Borrowed for the
 * call. PD_UNAVAILABLE: no connection, or it broke; PD_TIMEOUT; PD_LIMIT: the
 * response is longer than allowed; PD_DENIED: TLS does not trust the peer;
 * PD_CANCELED. */
typedef void (*pd_http_cb)(void *arg, const struct pd_err *err,
                           const struct pd_http_response *response);

/* Files in PEM. NULL: the system's authorities, no client certificate. The
 * peer's name and certificate are always verified. */
struct pd_http_tls {
    const char *ca_file;
    const char *cert_file;
    const char *key_file;
};

/* Everything is copied by pd_http_send. Zero means none for every limit in
 * time; a zero response_bytes_max allows no body. */
struct pd_http_params {
    const char *method;         /* "GET", "PUT", ... */
    const char *url;            /* http:// or https:// */
    const char *unix_socket;    /* connect to this path instead of the URL's host; or NULL */
    const char *const *headers; /* "Name: value", NULL at the end; or NULL */
    const void *body;
    size_t body_len;               /* sent, with its length, when not 0 or for POST and PUT */
    const struct pd_http_tls *tls; /* for https; NULL is all defaults */
    bool direct;                   /* never through a proxy named by the environment */
    int64_t timeout_ms;            /* for all of it */
    int64_t connect_timeout_ms;    /* 0: curl's default, 300 s */
    int64_t stall_timeout_ms;      /* without a byte either way; rounded up to seconds */
    size_t response_bytes_max;     /* of body, when collected */
    /* Streaming: on_data gets the body as it comes and nothing is collected;
     * on_start fires once before, with the status. Either may be NULL. Inside
     * them sending, cancelling and closing are allowed. */
    void (*on_start)(void *arg, int status);
    void (*on_data)(void *arg, const void *data, size_t len);
};

/* Abort without memory; never NULL. */
struct pd_http *pd_http_new(uv_loop_t *loop);

/* Idempotent. Requests under way end as PD_CANCELED, then `closed` (may be
 * NULL) fires once from the loop, and the client is gone. */
void pd_http_close(struct pd_http *http, void (*closed)(void *arg), void *arg);

/* 0: cb fires exactly once from the loop. Negative (PD_INVALID: a URL or header
 * that cannot be sent; PD_CANCELED: closing): it never does. ret_request may be
 * NULL; *ret_request is valid until cb has been called. */
int pd_http_send(struct pd_http *http, const struct pd_http_params *params, pd_http_cb cb,
                 void *arg, struct pd_http_request **ret_request, struct pd_err *err);

/* cb fires from the loop with PD_CANCELED, or with the outcome where that came
 * first; on_data fires no more. Idempotent. */
void pd_http_cancel(struct pd_http_request *request);

/* A response header's value by name (case does not count) into `out`, without
 * the blanks around it. false, `out` untouched: absent, or too long for it. */
bool pd_http_header(const struct pd_http_response *response, const char *name, char *out,
                    size_t out_bytes);

#endif
