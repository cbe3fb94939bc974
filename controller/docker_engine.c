/* Theory of operation. Facts come first: a call made while they are unknown
 * waits, the first of them sends GET /version and then GET /info, and all of
 * them go or fail together. A connection that cannot be made forgets the
 * facts, because the engine that answers next may be another one. */
#include "controller/docker_engine.h"

#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/loop_curl.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/time.h"
#include "controller/docker_operation.h"
#include "controller/docker_reply.h"

#define CONNECT_TIMEOUT_MS 5000
#define FACTS_TIMEOUT_MS 10000
#define ERROR_BYTES_MAX 4096
#define STATUS_NOT_MODIFIED 304 /* "container already started": as it should be */

struct call {
    TAILQ_ENTRY(call) entry;
    struct pd_docker_engine *engine;
    struct pd_http_request *request; /* NULL while it waits for facts */
    char *method;
    char *path;
    struct pd_buf body;
    bool is_tar;
    bool raw_answer;
    int64_t timeout_ms;
    int64_t stall_timeout_ms;
    void (*on_start)(void *arg);
    void (*on_message)(void *arg, const struct pd_node *message);
    struct pd_time begun;
    int status;         /* of the answer; 0: none came */
    int stream_status;  /* streamed: of the answer */
    struct pd_buf line; /* streamed: the message that is not whole yet, or the error's text */
    pd_docker_answer_cb cb;
    void *arg;
};

TAILQ_HEAD(calls, call);

struct pd_docker_engine {
    struct pd_http *http;
    struct pd_metrics *metrics; /* NULL: nobody counts */
    struct pd_docker_address address;
    struct pd_docker_facts facts;
    bool known;
    bool asking;
    bool closing;
    unsigned generation;
    struct calls waiting; /* for facts */
    struct calls sent;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- calls ---- */

static void call_free(struct call *call)
{
    free(call->method);
    free(call->path);
    pd_buf_fini(&call->body);
    pd_buf_fini(&call->line);
    free(call);
}

static void note_call(const struct call *call)
{
    char operation[PD_DOCKER_OPERATION_BYTES];
    char code[16] = "none";

    if (!call->engine->metrics)
        return;
    pd_docker_operation(call->method, call->path, operation);
    if (call->status)
        snprintf(code, sizeof code, "%d", call->status);
    pd_metrics_add(call->engine->metrics, PD_M_PROVIDER_CALLS, PD_LABELS("docker", operation, code),
                   1);
    if (!call->on_message) /* else it lasts as long as somebody listens */
        pd_metrics_observe(call->engine->metrics, PD_M_PROVIDER_SECONDS,
                           PD_LABELS("docker", operation),
                           (double)(pd_time_now().ns - call->begun.ns) / 1e9);
}

/* Off the lists, told, gone. */
static void call_end(struct call *call, const struct pd_err *err,
                     const struct pd_docker_answer *answer)
{
    struct pd_docker_engine *engine = call->engine;

    TAILQ_REMOVE(call->request ? &engine->sent : &engine->waiting, call, entry);
    if (err && err->kind == PD_UNAVAILABLE && !answer)
        engine->known = false;
    note_call(call);
    call->cb(call->arg, err, err ? NULL : answer);
    call_free(call);
}

static void end_with_text(struct call *call, int status, const char *text, size_t len)
{
    struct pd_docker_answer answer = {.raw = text, .raw_len = len};
    pd_autonode struct pd_node *json = NULL;
    struct pd_err err;

    if ((status < 200 || status > 299) && status != STATUS_NOT_MODIFIED) {
        pd_docker_status_err(status, text, len, &err);
        call_end(call, &err, &answer); /* it did answer */
        return;
    }
    if (!call->raw_answer && !call->on_message && len > 0) {
        if (pd_json_parse(text, len, &json, &err) < 0) {
            pd_err_wrap(&err, "the engine's answer");
            err.kind = PD_UNAVAILABLE;
            call_end(call, &err, NULL);
            return;
        }
        answer.json = json;
    }
    call_end(call, NULL, &answer);
}

static void on_response(void *arg, const struct pd_err *err,
                        const struct pd_http_response *response)
{
    struct call *call = arg;
    struct pd_err wrapped;

    call->status = err ? 0 : response->status;
    if (!err && call->on_message && response->status > 299) {
        end_with_text(call, response->status, call->line.data ? call->line.data : "",
                      call->line.len);
    } else if (!err) {
        end_with_text(call, response->status, response->body, response->body_len);
    } else {
        wrapped = *err;
        pd_err_wrap(&wrapped, "engine at %s", call->engine->address.text);
        call_end(call, &wrapped, NULL);
    }
}

static void on_stream_start(void *arg, int status)
{
    struct call *call = arg;

    call->stream_status = status;
    if (status >= 200 && status <= 299)
        call->on_start(call->arg);
}

/* Deliver each whole line. A call whose messages cannot be understood is given
 * up: whoever watches must not go on blind. */
static void on_stream_data(void *arg, const void *data, size_t len)
{
    struct call *call = arg;
    size_t done = 0;
    char *end;

    if (call->stream_status > 299) {
        size_t room = ERROR_BYTES_MAX > call->line.len ? ERROR_BYTES_MAX - call->line.len : 0;
        if (pd_buf_add(&call->line, data, len < room ? len : room, NULL) < 0)
            pd_http_cancel(call->request);
        return;
    }
    if (pd_buf_add(&call->line, data, len, NULL) < 0) {
        pd_http_cancel(call->request);
        return;
    }
    while ((end = memchr(call->line.data + done, '\n', call->line.len - done))) {
        char *line = call->line.data + done;
        size_t line_len = (size_t)(end - line);
        pd_autonode struct pd_node *message = NULL;
        done += line_len + 1;
        if (line_len == 0 || (line_len == 1 && *line == '\r'))
            continue;
        if (pd_json_parse(line, line_len, &message, NULL) < 0) {
            pd_http_cancel(call->request);
            return;
        }
        call->on_message(call->arg, message);
    }
    pd_buf_consume(&call->line, done);
}

static int transmit(struct call *call, struct pd_err *err)
{
    struct pd_docker_engine *engine = call->engine;
    pd_autofree char *url =
        pd_asprintf("%s/v%s%s", engine->address.base_url, engine->facts.api_version, call->path);
    const char *const headers[] = {
        call->is_tar ? "Content-Type: application/x-tar" : "Content-Type: application/json", NULL};
    struct pd_http_params params = {
        .method = call->method,
        .url = url,
        .unix_socket = engine->address.socket_path,
        .headers = headers,
        .body = call->body.data,
        .body_len = call->body.len,
        .tls = &engine->address.tls_files,
        .direct = true,
        .timeout_ms = call->timeout_ms,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .stall_timeout_ms = call->stall_timeout_ms,
        .response_bytes_max = PD_DOCKER_REPLY_BYTES_MAX,
        .on_start = call->on_message ? on_stream_start : NULL,
        .on_data = call->on_message ? on_stream_data : NULL,
    };

    return pd_http_send(engine->http, &params, on_response, call, &call->request, err);
}

/* ---- facts ---- */

static void facts_failed(struct pd_docker_engine *engine, const struct pd_err *err)
{
    struct calls failed = TAILQ_HEAD_INITIALIZER(failed);
    struct call *call;

    engine->asking = false;
    TAILQ_CONCAT(&failed, &engine->waiting, entry);
    TAILQ_INIT(&engine->waiting);
    while ((call = TAILQ_FIRST(&failed))) {
        TAILQ_REMOVE(&failed, call, entry);
        call->cb(call->arg, err, NULL);
        call_free(call);
    }
}

static void send_waiting(struct pd_docker_engine *engine)
{
    struct call *call;
    struct pd_err err;

    while ((call = TAILQ_FIRST(&engine->waiting))) {
        if (transmit(call, &err) < 0) {
            call_end(call, &err, NULL);
            continue;
        }
        TAILQ_REMOVE(&engine->waiting, call, entry);
        TAILQ_INSERT_TAIL(&engine->sent, call, entry);
    }
}

static void learn(struct pd_docker_engine *engine, const struct pd_node *info)
{
    pd_docker_info_read(info, &engine->facts);
    engine->known = true;
    engine->asking = false;
    engine->generation++;
}

/* Both answers are JSON objects with status 200, or this is no engine. */
static int parse_facts(const struct pd_err *http_err, const struct pd_http_response *response,
                       struct pd_node **ret_json, struct pd_err *err)
{
    if (http_err) {
        *err = *http_err;
        return err->kind;
    }
    if (response->status != 200) {
        return pd_docker_status_err(response->status, response->body, response->body_len, err);
    }
    if (pd_json_parse(response->body, response->body_len, ret_json, err) < 0 ||
        (*ret_json)->kind != PD_NODE_MAP)
        return pd_err_set(err, PD_UNAVAILABLE, "what answers is no Docker engine");
    return 0;
}

static void facts_refused(struct pd_docker_engine *engine, struct pd_err *err)
{
    pd_err_wrap(err, "engine at %s", engine->address.text);
    facts_failed(engine, err);
}

static int ask(struct pd_docker_engine *engine, const char *path, pd_http_cb cb, struct pd_err *err)
{
    pd_autofree char *url = pd_asprintf("%s%s", engine->address.base_url, path);
    struct pd_http_params params = {
        .method = "GET",
        .url = url,
        .unix_socket = engine->address.socket_path,
        .tls = &engine->address.tls_files,
        .direct = true,
        .timeout_ms = FACTS_TIMEOUT_MS,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .response_bytes_max = 1 << 20,
    };

    return pd_http_send(engine->http, &params, cb, engine, NULL, err);
}

static void on_info(void *arg, const struct pd_err *http_err,
                    const struct pd_http_response *response)
{
    struct pd_docker_engine *engine = arg;
    pd_autonode struct pd_node *json = NULL;
    struct pd_err err;

    if (parse_facts(http_err, response, &json, &err) < 0) {
        facts_refused(engine, &err);
        return;
    }
    learn(engine, json);
    send_waiting(engine);
}

static void on_version(void *arg, const struct pd_err *http_err,
                       const struct pd_http_response *response)
{
    struct pd_docker_engine *engine = arg;
    pd_autonode struct pd_node *json = NULL;
    pd_autofree char *path = NULL;
    struct pd_err err;

    if (parse_facts(http_err, response, &json, &err) < 0 ||
        pd_docker_version_choose(json, engine->facts.api_version, sizeof engine->facts.api_version,
                                 &err) < 0) {
        facts_refused(engine, &err);
        return;
    }
    path = pd_asprintf("/v%s/info", engine->facts.api_version);
    if (ask(engine, path, on_info, &err) < 0)
        facts_refused(engine, &err);
}

/* ---- what others call ---- */

static int fill_body(struct call *call, const struct pd_docker_call *params, struct pd_err *err)
{
    pd_buf_init(&call->body, PD_DOCKER_REPLY_BYTES_MAX);
    if (params->json)
        return pd_json_format(params->json, &call->body, err);
    call->is_tar = params->tar != NULL;
    return call->is_tar ? pd_buf_add(&call->body, params->tar, params->tar_len, err) : 0;
}

static struct call *call_new(struct pd_docker_engine *engine, const struct pd_docker_call *params,
                             pd_docker_answer_cb cb, void *arg)
{
    struct call *call = PD_NEW(struct call);

    call->engine = engine;
    call->begun = pd_time_now();
    call->method = pd_strdup(params->method);
    call->path = pd_strdup(params->path);
    call->raw_answer = params->raw_answer;
    call->timeout_ms = params->timeout_ms ? params->timeout_ms : PD_DOCKER_CALL_TIMEOUT_MS;
    if (call->timeout_ms < 0)
        call->timeout_ms = 0;
    call->stall_timeout_ms = params->stall_timeout_ms;
    call->on_start = params->on_start;
    call->on_message = params->on_message;
    call->cb = cb;
    call->arg = arg;
    pd_buf_init(&call->line, PD_DOCKER_LINE_BYTES_MAX);
    return call;
}

int pd_docker_engine_call(struct pd_docker_engine *engine, const struct pd_docker_call *params,
                          pd_docker_answer_cb cb, void *arg, struct pd_err *err)
{
    struct call *call;
    int rc;

    if (engine->closing)
        return pd_err_set(err, PD_CANCELED, "the connection to the engine is closing");
    call = call_new(engine, params, cb, arg);
    rc = fill_body(call, params, err);
    if (rc == 0 && engine->known)
        rc = transmit(call, err);
    else if (rc == 0 && !engine->asking)
        rc = ask(engine, "/version", on_version, err);
    if (rc < 0) {
        call_free(call);
        return rc;
    }
    engine->asking = engine->asking || !engine->known;
    TAILQ_INSERT_TAIL(call->request ? &engine->sent : &engine->waiting, call, entry);
    return 0;
}

void pd_docker_engine_cancel(struct pd_docker_engine *engine, const void *arg)
{
    struct call *call;

    TAILQ_FOREACH(call, &engine->sent, entry)
    {
        if (call->arg == arg && call->on_message)
            pd_http_cancel(call->request);
    }
}

struct pd_docker_engine *pd_docker_engine_new(uv_loop_t *loop, struct pd_docker_address *address)
{
    struct pd_docker_engine *engine = PD_NEW(struct pd_docker_engine);

    engine->http = pd_http_new(loop);
    engine->address = *address;
    *address = (struct pd_docker_address){0};
    TAILQ_INIT(&engine->waiting);
    TAILQ_INIT(&engine->sent);
    return engine;
}

void pd_docker_engine_set_metrics(struct pd_docker_engine *engine, struct pd_metrics *metrics)
{
    engine->metrics = metrics;
}

/* Whoever waits for facts does so behind a request, which has ended by now. */
static void on_http_closed(void *arg)
{
    struct pd_docker_engine *engine = arg;
    void (*closed)(void *arg) = engine->closed;
    void *closed_arg = engine->closed_arg;

    pd_docker_address_fini(&engine->address);
    free(engine);
    if (closed)
        closed(closed_arg);
}

void pd_docker_engine_close(struct pd_docker_engine *engine, void (*closed)(void *arg), void *arg)
{
    engine->closing = true;
    engine->closed = closed;
    engine->closed_arg = arg;
    pd_http_close(engine->http, on_http_closed, engine);
}

const struct pd_docker_facts *pd_docker_engine_facts(const struct pd_docker_engine *engine)
{
    return engine->known ? &engine->facts : NULL;
}

unsigned pd_docker_engine_generation(const struct pd_docker_engine *engine)
{
    return engine->generation;
}

const struct pd_docker_address *pd_docker_engine_address(const struct pd_docker_engine *engine)
{
    return &engine->address;
}
