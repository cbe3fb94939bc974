#include "common/curl_request.h"

#include <limits.h>
#include <string.h>

static long clamp_ms(int64_t ms)
{
    return ms < 0 ? 0 : ms > INT_MAX ? INT_MAX : (long)ms;
}

static void set_limits(CURL *easy, const struct pd_http_params *params)
{
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, clamp_ms(params->timeout_ms));
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, clamp_ms(params->connect_timeout_ms));
    if (params->stall_timeout_ms > 0) {
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME,
                         clamp_ms((params->stall_timeout_ms + 999) / 1000));
    }
}

static void set_tls(CURL *easy, const struct pd_http_tls *tls)
{
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (!tls)
        return;
    if (tls->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, tls->ca_file);
    if (tls->cert_file)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->cert_file);
    if (tls->key_file)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->key_file);
}

/* The body is ours until the request ends: POSTFIELDS does not copy it. */
static int set_body(CURL *easy, const struct pd_http_params *params, struct pd_buf *sent,
                    struct pd_err *err)
{
    bool expected = strcmp(params->method, "POST") == 0 || strcmp(params->method, "PUT") == 0;

    if (pd_buf_add(sent, params->body, params->body_len, err) < 0)
        return PD_LIMIT;
    if (params->body_len > 0 || expected) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, sent->data);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)params->body_len);
    }
    if (strcmp(params->method, "HEAD") == 0)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, params->method);
    return 0;
}

static int set_headers(CURL *easy, const char *const *lines, struct curl_slist **headers,
                       struct pd_err *err)
{
    /* "Expect:" is curl's way not to wait for a 100 Continue. */
    *headers = curl_slist_append(NULL, "Expect:");
    for (; lines && *lines; lines++) {
        if (strpbrk(*lines, "\r\n"))
            return pd_err_set(err, PD_INVALID, "a header with a line break in it");
        *headers = curl_slist_append(*headers, *lines);
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, *headers);
    return 0;
}

int pd_curl_request(CURL *easy, const struct pd_http_params *params, struct pd_buf *sent,
                    struct curl_slist **headers, struct pd_err *err)
{
    pd_buf_init(sent, params->body_len);
    *headers = NULL;
    if (curl_easy_setopt(easy, CURLOPT_URL, params->url) != CURLE_OK ||
        (strncmp(params->url, "http://", 7) != 0 && strncmp(params->url, "https://", 8) != 0))
        return pd_err_set(err, PD_INVALID, "no URL that can be requested: '%s'", params->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    if (params->unix_socket)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, params->unix_socket);
    if (params->direct)
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
    set_limits(easy, params);
    set_tls(easy, params->tls);
    if (set_body(easy, params, sent, err) < 0 ||
        set_headers(easy, params->headers, headers, err) < 0)
        return PD_INVALID;
    return 0;
}
