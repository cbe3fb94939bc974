/* Theory of operation. Curl asks for sockets to be watched (on_curl_socket) and
 * for one timeout (on_curl_timer); libuv's answers go back through
 * curl_multi_socket_action, after which every finished transfer is drained.
 *
 * Nothing is ever added to or removed from the multi handle inside one of
 * curl's own callbacks, where it refuses re-entry: send and cancel only queue
 * the request and arm `turn`, a timer of 0 ms that does the work at the top of
 * the loop. That also gives what the contract promises: no callback before the
 * call returned, none from within a cancel. */
#include "common/loop_curl.h"

#include <assert.h>
#include <curl/curl.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "common/buf.h"
#include "common/curl_request.h"
#include "common/mem.h"

#define CONNECTIONS_KEPT 32L

enum request_state {
    REQUEST_QUEUED,   /* on `turning`, to be added to the multi handle */
    REQUEST_ACTIVE,   /* on `active`, curl has it */
    REQUEST_CANCELED, /* on `turning`, to be taken from curl where it has it */
};

struct pd_http_request {
    TAILQ_ENTRY(pd_http_request) entry;
    struct pd_http *http;
    enum request_state state;
    bool in_multi;
    bool started; /* on_start has fired */
    bool over_limit;
    CURL *easy;
    struct curl_slist *headers;
    struct pd_buf sent;     /* our body */
    struct pd_buf received; /* theirs */
    struct pd_buf head;     /* header lines of the last response */
    void (*on_start)(void *arg, int status);
    void (*on_data)(void *arg, const void *data, size_t len);
    pd_http_cb cb;
    void *arg;
    char curl_text[CURL_ERROR_SIZE];
};

TAILQ_HEAD(requests, pd_http_request);

struct pd_http {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer; /* curl's */
    uv_timer_t turn;  /* ours */
    struct requests turning;
    struct requests active;
    int handles; /* libuv handles not yet closed */
    bool closing;
    bool torn_down; /* multi is gone, handles are closing */
    void (*closed)(void *arg);
    void *closed_arg;
};

/* A socket that curl has us watch. */
struct watched {
    uv_poll_t poll;
    struct pd_http *http;
    curl_socket_t fd;
};

static void on_turn(uv_timer_t *timer);

static void turn_soon(struct pd_http *http)
{
    if (!http->torn_down)
        uv_timer_start(&http->turn, on_turn, 0, 0);
}

/* ---- the end of a request ---- */

static void request_free(struct pd_http_request *request)
{
    curl_easy_cleanup(request->easy);
    curl_slist_free_all(request->headers);
    pd_buf_fini(&request->sent);
    pd_buf_fini(&request->received);
    pd_buf_fini(&request->head);
    free(request);
}

static void finish(struct pd_http_request *request, const struct pd_err *err)
{
    struct pd_http *http = request->http;
    struct pd_http_response response = {
        .body = request->received.data ? request->received.data : "",
        .body_len = request->received.len,
        .headers = request->head.data ? request->head.data : "",
    };
    long status = 0;

    TAILQ_REMOVE(request->state == REQUEST_ACTIVE ? &http->active : &http->turning, request, entry);
    if (request->in_multi)
        curl_multi_remove_handle(http->multi, request->easy);
    curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
    response.status = (int)status;
    request->cb(request->arg, err, err ? NULL : &response);
    request_free(request);
    if (http->closing)
        turn_soon(http);
}

/* CURLE_UNSUPPORTED_PROTOCOL is what the peer speaks when it is not HTTP/1: the
 * URL was looked at before. */
static int kind_of(CURLcode code)
{
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return PD_TIMEOUT;
    case CURLE_PEER_FAILED_VERIFICATION:
        return PD_DENIED;
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_URL_MALFORMAT:
        return PD_INVALID;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
        return PD_INTERNAL;
    default:
        return PD_UNAVAILABLE;
    }
}

static void finish_transfer(struct pd_http_request *request, CURLcode code)
{
    struct pd_err err;

    if (code == CURLE_OK) {
        finish(request, NULL);
        return;
    }
    if (request->over_limit)
        pd_err_set(&err, PD_LIMIT, "the response is longer than %zu bytes", request->received.max);
    else
        pd_err_set(&err, kind_of(code), "%s",
                   request->curl_text[0] ? request->curl_text : curl_easy_strerror(code));
    finish(request, &err);
}

/* Always after curl has worked, whether or not it says that any still run. */
static void drain(struct pd_http *http)
{
    CURLMsg *msg;
    int left;

    while (!http->torn_down && (msg = curl_multi_info_read(http->multi, &left))) {
        struct pd_http_request *request;
        CURLcode code = msg->data.result;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&request);
        if (request->state == REQUEST_ACTIVE)
            finish_transfer(request, code);
    }
}

/* ---- curl's sockets and timer on libuv ---- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watched *watched = poll->data;
    struct pd_http *http = watched->http;
    int flags = 0, running;

    if (status < 0)
        flags = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(http->multi, watched->fd, flags, &running);
    drain(http);
}

static void maybe_closed(struct pd_http *http)
{
    void (*closed)(void *arg) = http->closed;
    void *arg = http->closed_arg;

    if (http->handles > 0)
        return;
    free(http);
    curl_global_cleanup();
    if (closed)
        closed(arg);
}

static void on_watched_closed(uv_handle_t *handle)
{
    struct watched *watched = handle->data;
    struct pd_http *http = watched->http;

    free(watched);
    http->handles--;
    maybe_closed(http);
}

static struct watched *watch(struct pd_http *http, curl_socket_t fd)
{
    struct watched *watched = PD_NEW(struct watched);

    if (uv_poll_init_socket(http->loop, &watched->poll, fd) < 0) {
        free(watched);
        return NULL;
    }
    watched->poll.data = watched;
    watched->http = http;
    watched->fd = fd;
    http->handles++;
    curl_multi_assign(http->multi, fd, watched);
    return watched;
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct pd_http *http = arg;
    struct watched *watched = socket_arg;
    int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (watched) {
            curl_multi_assign(http->multi, fd, NULL);
            uv_poll_stop(&watched->poll);
            uv_close((uv_handle_t *)&watched->poll, on_watched_closed);
        }
        return 0;
    }
    if (!watched && !(watched = watch(http, fd)))
        return -1;
    if (what != CURL_POLL_OUT)
        events |= UV_READABLE;
    if (what != CURL_POLL_IN)
        events |= UV_WRITABLE;
    return uv_poll_start(&watched->poll, events, on_poll) < 0 ? -1 : 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct pd_http *http = timer->data;
    int running;

    curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    drain(http);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct pd_http *http = arg;

    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&http->timer);
    else if (!uv_is_closing((uv_handle_t *)&http->timer))
        uv_timer_start(&http->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

/* ---- what curl receives ---- */

static void start_once(struct pd_http_request *request)
{
    long status = 0;

    if (request->started || !request->on_start || request->state == REQUEST_CANCELED)
        return;
    curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) /* an interim response: the real one follows */
        return;
    request->started = true;
    request->on_start(request->arg, (int)status);
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct pd_http_request *request = arg;
    size_t len = size * count;

    if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) { /* the status line of another response */
        pd_buf_clear(&request->head);
        return len;
    }
    if (len <= 2) /* the blank line at their end */
        start_once(request);
    else if (pd_buf_add(&request->head, data, len, NULL) < 0)
        return 0;
    return len;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct pd_http_request *request = arg;
    size_t len = size * count;

    if (request->state == REQUEST_CANCELED)
        return CURL_WRITEFUNC_ERROR;
    if (request->on_data) {
        request->on_data(request->arg, data, len);
        return len;
    }
    if (pd_buf_add(&request->received, data, len, NULL) < 0) {
        request->over_limit = true;
        return CURL_WRITEFUNC_ERROR;
    }
    return len;
}

/* ---- asking ---- */

static int prepare(struct pd_http_request *request, const struct pd_http_params *params,
                   struct pd_err *err)
{
    CURL *easy = request->easy;

    curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->curl_text);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, request);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
    return pd_curl_request(easy, params, &request->sent, &request->headers, err);
}

int pd_http_send(struct pd_http *http, const struct pd_http_params *params, pd_http_cb cb,
                 void *arg, struct pd_http_request **ret_request, struct pd_err *err)
{
    struct pd_http_request *request;
    int rc;

    if (http->closing)
        return pd_err_set(err, PD_CANCELED, "the HTTP client is closing");
    request = PD_NEW(struct pd_http_request);
    request->http = http;
    request->cb = cb;
    request->arg = arg;
    request->on_start = params->on_start;
    request->on_data = params->on_data;
    request->easy = curl_easy_init();
    if (!request->easy)
        abort();
    pd_buf_init(&request->received, params->response_bytes_max);
    pd_buf_init(&request->head, PD_HTTP_HEADERS_BYTES_MAX);
    rc = prepare(request, params, err);
    if (rc < 0) {
        request_free(request);
        return rc;
    }
    TAILQ_INSERT_TAIL(&http->turning, request, entry);
    turn_soon(http);
    if (ret_request)
        *ret_request = request;
    return 0;
}

void pd_http_cancel(struct pd_http_request *request)
{
    struct pd_http *http = request->http;

    if (request->state == REQUEST_ACTIVE) {
        TAILQ_REMOVE(&http->active, request, entry);
        TAILQ_INSERT_TAIL(&http->turning, request, entry);
    }
    request->state = REQUEST_CANCELED;
    turn_soon(http);
}

/* ---- the top of the loop ---- */

static void activate(struct pd_http *http, struct pd_http_request *request)
{
    struct pd_err err;
    CURLMcode code = curl_multi_add_handle(http->multi, request->easy);

    if (code != CURLM_OK) {
        pd_err_set(&err, PD_INTERNAL, "%s", curl_multi_strerror(code));
        finish(request, &err);
        return;
    }
    TAILQ_REMOVE(&http->turning, request, entry);
    request->in_multi = true;
    request->state = REQUEST_ACTIVE;
    TAILQ_INSERT_TAIL(&http->active, request, entry);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pd_http *http = handle->data;

    http->handles--;
    maybe_closed(http);
}

static void tear_down(struct pd_http *http)
{
    http->torn_down = true;
    curl_multi_cleanup(http->multi);
    uv_close((uv_handle_t *)&http->timer, on_handle_closed);
    uv_close((uv_handle_t *)&http->turn, on_handle_closed);
}

static void on_turn(uv_timer_t *timer)
{
    struct pd_http *http = timer->data;
    struct pd_http_request *request;

    while ((request = TAILQ_FIRST(&http->turning))) {
        struct pd_err err;
        if (request->state == REQUEST_QUEUED) {
            activate(http, request);
            continue;
        }
        pd_err_set(&err, PD_CANCELED, "the request was canceled");
        finish(request, &err);
    }
    if (http->closing && !http->torn_down && TAILQ_EMPTY(&http->active))
        tear_down(http);
}

/* ---- life ---- */

struct pd_http *pd_http_new(uv_loop_t *loop)
{
    struct pd_http *http = PD_NEW(struct pd_http);

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(http->multi = curl_multi_init()))
        abort();
    http->loop = loop;
    TAILQ_INIT(&http->turning);
    TAILQ_INIT(&http->active);
    uv_timer_init(loop, &http->timer);
    uv_timer_init(loop, &http->turn);
    http->timer.data = http;
    http->turn.data = http;
    http->handles = 2;
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT);
    return http;
}

void pd_http_close(struct pd_http *http, void (*closed)(void *arg), void *arg)
{
    struct pd_http_request *request;

    if (http->closing)
        return;
    http->closing = true;
    http->closed = closed;
    http->closed_arg = arg;
    TAILQ_FOREACH(request, &http->turning, entry)
    request->state = REQUEST_CANCELED;
    while ((request = TAILQ_FIRST(&http->active)))
        pd_http_cancel(request);
    turn_soon(http);
}

/* ---- headers ---- */

bool pd_http_header(const struct pd_http_response *response, const char *name, char *out,
                    size_t out_bytes)
{
    size_t name_len = strlen(name);

    for (const char *line = response->headers; *line;) {
        size_t len = strcspn(line, "\r\n");
        if (len > name_len && line[name_len] == ':' && strncasecmp(line, name, name_len) == 0) {
            const char *value = line + name_len + 1, *end = line + len;
            while (value < end && (*value == ' ' || *value == '\t'))
                value++;
            while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
                end--;
            if ((size_t)(end - value) >= out_bytes)
                return false;
            memcpy(out, value, (size_t)(end - value));
            out[end - value] = '\0';
            return true;
        }
        line += len;
        line += strspn(line, "\r\n");
    }
    return false;
}
