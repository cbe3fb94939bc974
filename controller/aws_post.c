#include "controller/aws_post.h"

#include <string.h>

#include "common/mem.h"
#include "controller/aws_sigv4.h"

#define HEADERS_MAX 6

static char *host_of(const char *endpoint)
{
    const char *mark = strstr(endpoint, "://");
    const char *host = mark ? mark + 3 : endpoint;

    return pd_strndup(host, strcspn(host, "/"));
}

static int sign(const struct pd_aws_post *post, struct pd_sigv4 *sigv4, struct pd_err *err)
{
    pd_autofree char *host = host_of(post->endpoint);
    const struct pd_sigv4_header headers[] = {
        {"Content-Type", post->content_type},
        {"Host", host},
        {"X-Amz-Target", post->target},
    };
    const struct pd_sigv4_request signing = {
        .method = "POST",
        .target = "/",
        .headers = headers,
        .n_headers = post->target ? 3 : 2,
        .body = post->body->data,
        .body_len = post->body->len,
        .region = post->region,
        .service = post->service,
        .key_id = post->key->id,
        .secret = &post->key->secret,
        .token = &post->key->token,
        .wall_ms = post->wall_ms,
    };

    return pd_sigv4_sign(&signing, sigv4, err);
}

/* The headers of a signature, which the caller wipes and frees. */
static size_t add_signature(const struct pd_aws_post *post, const struct pd_sigv4 *sigv4,
                            char **headers)
{
    size_t n = 0;

    headers[n++] = pd_asprintf("X-Amz-Date: %s", sigv4->date);
    headers[n++] = pd_asprintf("Authorization: %s", sigv4->authorization);
    if (post->key->token.len > 0)
        headers[n++] = pd_asprintf("X-Amz-Security-Token: %s", post->key->token.bytes);
    return n;
}

int pd_aws_post(struct pd_http *http, const struct pd_aws_post *post, pd_http_cb cb, void *arg,
                struct pd_http_request **ret_request, struct pd_err *err)
{
    pd_autofree char *url = pd_asprintf("%s/", post->endpoint);
    char *headers[HEADERS_MAX + 1] = {NULL};
    const struct pd_http_params params = {
        .method = "POST",
        .url = url,
        .headers = (const char *const *)headers,
        .body = post->body->data,
        .body_len = post->body->len,
        .timeout_ms = post->timeout_ms,
        .connect_timeout_ms = post->connect_timeout_ms,
        .response_bytes_max = post->response_bytes_max,
    };
    size_t n = 0;
    int rc = 0;

    headers[n++] = pd_asprintf("Content-Type: %s", post->content_type);
    headers[n++] = pd_strdup("Accept:"); /* none is sent */
    if (post->target)
        headers[n++] = pd_asprintf("X-Amz-Target: %s", post->target);
    if (post->key) {
        struct pd_sigv4 sigv4 = {.canonical = NULL};
        rc = sign(post, &sigv4, err);
        if (rc == 0)
            n += add_signature(post, &sigv4, headers + n);
        pd_sigv4_fini(&sigv4);
    }
    if (rc == 0)
        rc = pd_http_send(http, &params, cb, arg, ret_request, err);
    while (n-- > 0) {
        pd_wipe(headers[n], strlen(headers[n]));
        free(headers[n]);
    }
    return rc;
}
