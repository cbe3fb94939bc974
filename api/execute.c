#include "api/execute.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/base64.h"
#include "api/context.h"
#include "api/server.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"

#define RUN_ID_BYTES 24
#define ARTIFACTS_MAX 256
#define REPLY_BYTES_SLACK (64u * 1024)
#define RETRY_AFTER_DEFAULT_S 1

struct artifact {
    char *path;
    struct pd_buf data;
    char *error; /* why it was not collected, NULL when it was */
    bool done;
};

/* One request from its body to its answer. */
struct execution {
    struct pd_api_context *api;
    struct pd_exchange *exchange;
    struct pd_request *request;
    struct pd_job *job;
    char id[RUN_ID_BYTES];
    struct pd_buf compile;      /* what a compiler that succeeded printed */
    struct pd_buf output;       /* of the last stage: both streams, as they came */
    struct pd_buf streams[2];   /* stdout, stderr; filled once both have been used */
    int only_stream;            /* 1 or 2: all of output is its; 0: nothing yet; -1: mixed */
    bool cut;                   /* more came than may be kept */
    struct artifact *artifacts; /* ARTIFACTS_MAX at most */
    size_t n_artifacts;
    size_t artifact_bytes_left;
};

static void execution_free(struct execution *execution)
{
    for (size_t i = 0; i < execution->n_artifacts; i++) {
        free(execution->artifacts[i].path);
        free(execution->artifacts[i].error);
        pd_buf_fini(&execution->artifacts[i].data);
    }
    free(execution->artifacts);
    pd_buf_fini(&execution->compile);
    pd_buf_fini(&execution->output);
    pd_buf_fini(&execution->streams[0]);
    pd_buf_fini(&execution->streams[1]);
    pd_request_free(execution->request);
    free(execution);
}

/* ---- collecting ---- */

/* Output of one stream alone is kept once; from the first byte of the other on,
 * each stream has its own copy besides what they printed together. */
static void split_streams(struct execution *execution)
{
    struct pd_buf *own = &execution->streams[execution->only_stream - 1];

    if (pd_buf_add(own, execution->output.data, execution->output.len, NULL) < 0)
        execution->cut = true;
    execution->only_stream = -1;
}

/* The program's own stage begins: what came so far was the compiler's. */
static void on_stage(void *arg, const char *name)
{
    struct execution *execution = arg;
    size_t output_max = execution->output.max;

    if (strcmp(name, "run") != 0)
        return;
    pd_buf_fini(&execution->compile);
    execution->compile = execution->output;
    pd_buf_init(&execution->output, output_max);
    pd_buf_clear(&execution->streams[0]);
    pd_buf_clear(&execution->streams[1]);
    execution->only_stream = 0;
}

static void on_output(void *arg, int stream, const void *data, size_t len)
{
    struct execution *execution = arg;

    pd_job_grant(execution->job, len);
    if (len == 0)
        return;
    if (execution->only_stream == 0)
        execution->only_stream = stream;
    else if (execution->only_stream > 0 && execution->only_stream != stream)
        split_streams(execution);
    if (pd_buf_add(&execution->output, data, len, NULL) < 0 ||
        (execution->only_stream < 0 &&
         pd_buf_add(&execution->streams[stream - 1], data, len, NULL) < 0))
        execution->cut = true;
}

static struct artifact *artifact_of(struct execution *execution, const char *path)
{
    struct artifact *artifact;

    if (execution->n_artifacts > 0) {
        artifact = &execution->artifacts[execution->n_artifacts - 1];
        if (!artifact->done)
            return artifact;
    }
    if (execution->n_artifacts == ARTIFACTS_MAX)
        return NULL;
    execution->artifacts =
        pd_realloc(execution->artifacts, execution->n_artifacts + 1, sizeof *execution->artifacts);
    artifact = &execution->artifacts[execution->n_artifacts++];
    *artifact = (struct artifact){.path = pd_strdup(path)};
    pd_buf_init(&artifact->data, execution->artifact_bytes_left);
    return artifact;
}

static void on_artifact(void *arg, const char *path, const void *data, size_t len, bool last,
                        const char *error)
{
    struct execution *execution = arg;
    struct artifact *artifact = artifact_of(execution, path);

    pd_job_grant(execution->job, len);
    if (!artifact)
        return;
    artifact->done = last || error;
    if (!error && len > 0 && pd_buf_add(&artifact->data, data, len, NULL) < 0)
        error = "the artifacts of a run together are larger than its pool's run.maxFiles";
    if (error && !artifact->error) {
        artifact->error = pd_strdup(error);
        pd_buf_clear(&artifact->data);
    }
    if (artifact->done)
        execution->artifact_bytes_left -= artifact->data.len;
}

/* ---- the answer ---- */

static int put_text(struct pd_buf *out, const char *name, const struct pd_buf *text,
                    struct pd_err *err)
{
    int rc = pd_buf_addf(out, err, ",\"%s\":", name);

    return rc < 0 ? rc : pd_json_format_string(text->data ? text->data : "", text->len, out, err);
}

/* What one stream printed. */
static const struct pd_buf *stream_of(const struct execution *execution, int stream)
{
    static const struct pd_buf nothing;

    if (execution->only_stream < 0)
        return &execution->streams[stream - 1];
    return execution->only_stream == stream ? &execution->output : &nothing;
}

static int put_usage(struct pd_buf *out, const struct pd_run_result *result,
                     const struct pd_job_times *times, struct pd_err *err)
{
    const struct pd_run_usage *usage = &result->usage;
    const int64_t *stage = usage->stage_us;
    int64_t compile_us = result->compile_failed ? 0 : result->compile_us;
    int64_t link_us = times->run_us - compile_us - stage[0] - stage[1] - stage[2] - stage[3];

    return pd_buf_addf(
        out, err,
        ",\"usage\":{\"wall\":%.6f,\"cpu\":%.6f,\"memory_peak\":%lld,"
        "\"memory_method\":\"%s\",\"stages_us\":{\"queue\":%lld,\"link\":%lld,"
        "\"start\":%lld,\"first_output\":%lld,\"run\":%lld,\"report\":%lld}}",
        (double)usage->wall_us / 1e6, (double)usage->cpu_us / 1e6,
        (long long)usage->memory_peak_bytes, usage->memory_method ? usage->memory_method : "none",
        (long long)times->queue_us, (long long)(link_us > 0 ? link_us : 0), (long long)stage[0],
        (long long)stage[1], (long long)stage[2], (long long)stage[3]);
}

static int put_artifact(struct pd_buf *out, const struct artifact *artifact, struct pd_err *err)
{
    int rc = pd_buf_addf(out, err, "{\"path\":");

    if (rc == 0)
        rc = pd_json_format_string(artifact->path, strlen(artifact->path), out, err);
    if (rc == 0 && artifact->error) {
        rc = pd_buf_addf(out, err, ",\"error\":");
        if (rc == 0)
            rc = pd_json_format_string(artifact->error, strlen(artifact->error), out, err);
    } else if (rc == 0) {
        rc = pd_buf_addf(out, err, ",\"size\":%zu,\"encoding\":\"base64\",\"content\":\"",
                         artifact->data.len);
        if (rc == 0)
            rc = pd_base64_encode(artifact->data.data, artifact->data.len, out, err);
        if (rc == 0)
            rc = pd_buf_add(out, "\"", 1, err);
    }
    return rc < 0 ? rc : pd_buf_add(out, "}", 1, err);
}

static int put_artifacts(struct pd_buf *out, const struct execution *execution, struct pd_err *err)
{
    int rc = pd_buf_addf(out, err, ",\"artifacts\":[");

    for (size_t i = 0; rc == 0 && i < execution->n_artifacts; i++) {
        if (i > 0)
            rc = pd_buf_add(out, ",", 1, err);
        if (rc == 0)
            rc = put_artifact(out, &execution->artifacts[i], err);
    }
    return rc < 0 ? rc : pd_buf_add(out, "]", 1, err);
}

static int put_compile(struct pd_buf *out, const struct execution *execution,
                       const struct pd_run_result *result, struct pd_err *err)
{
    const struct pd_buf *text = result->compile_failed ? &execution->output : &execution->compile;
    int rc;

    if (result->compile_us == 0)
        return 0;
    rc = pd_buf_addf(out, err, ",\"compile\":{\"exit_code\":%d,\"time\":%.6f",
                     result->compile_failed ? result->exit_code : 0,
                     (double)result->compile_us / 1e6);
    if (rc == 0)
        rc = put_text(out, "output", text, err);
    return rc < 0 ? rc : pd_buf_add(out, "}", 1, err);
}

static int put_facts(struct pd_buf *out, const struct execution *execution,
                     const struct pd_run_result *result, struct pd_err *err)
{
    char signal[16] = "null";

    if (result->signal)
        snprintf(signal, sizeof signal, "%d", result->signal);
    return pd_buf_addf(out, err,
                       ",\"signal\":%s,\"stage\":\"%s\",\"truncated\":%s,\"stdout_bytes\":%lld,"
                       "\"stderr_bytes\":%lld",
                       signal, result->compile_failed ? "compile" : "run",
                       result->truncated || execution->cut ? "true" : "false",
                       (long long)result->stdout_bytes, (long long)result->stderr_bytes);
}

static int format_result(const struct execution *execution, const struct pd_run_result *result,
                         const struct pd_job_times *times, struct pd_buf *out, struct pd_err *err)
{
    bool success = result->cause == PD_CAUSE_EXITED && result->exit_code == 0;
    bool warm = result->start == PD_START_ZYGOTE || result->start == PD_START_SPARE;
    int rc = pd_buf_addf(out, err, "{\"success\":%s", success ? "true" : "false");

    if (rc == 0)
        rc = put_text(out, "output", &execution->output, err);
    if (rc == 0)
        rc = pd_buf_addf(out, err,
                         ",\"exit_code\":%d,\"execution_time\":%.6f,\"id\":\"%s\","
                         "\"status\":\"%s\"",
                         result->exit_code, (double)result->usage.wall_us / 1e6, execution->id,
                         pd_cause_name(result->cause));
    if (rc == 0)
        rc = put_text(out, "stdout", stream_of(execution, 1), err);
    if (rc == 0)
        rc = put_text(out, "stderr", stream_of(execution, 2), err);
    if (rc == 0)
        rc = put_facts(out, execution, result, err);
    if (rc == 0)
        rc = put_compile(out, execution, result, err);
    if (rc == 0)
        rc = put_usage(out, result, times, err);
    if (rc == 0)
        rc = pd_buf_addf(out, err, ",\"warm\":%s,\"start\":\"%s\",\"queue_time\":%.6f",
                         warm ? "true" : "false", pd_start_name(result->start),
                         (double)times->queue_us / 1e6);
    if (rc == 0)
        rc = put_artifacts(out, execution, err);
    return rc < 0 ? rc : pd_buf_add(out, "}\n", 2, err);
}

/* A byte of output may take six in JSON and stands there twice, and once more when
 * it was a compiler's; three of an artifact take four. */
static size_t reply_bytes_max(const struct execution *execution)
{
    size_t bytes = execution->output.len * 18 + execution->compile.len * 6 + REPLY_BYTES_SLACK;

    for (size_t i = 0; i < execution->n_artifacts; i++)
        bytes += execution->artifacts[i].data.len * 2 + 4096;
    return bytes;
}

static void on_ended(void *arg, const struct pd_run_result *result,
                     const struct pd_job_times *times)
{
    struct execution *execution = arg;
    struct pd_buf body;
    struct pd_err err;

    pd_log(PD_LOG_DEBUG, "execute", "run ended", "run", execution->id, "cause",
           pd_cause_name(result->cause), NULL);
    pd_buf_init(&body, reply_bytes_max(execution));
    if (format_result(execution, result, times, &body, &err) < 0) {
        pd_buf_fini(&body);
        pd_exchange_problem(execution->exchange,
                            &(struct pd_problem_details){.status = 500, .detail = err.msg});
    } else {
        pd_exchange_reply(execution->exchange, 200, "application/json", NULL, &body);
    }
    execution_free(execution);
}

static void reply_failure(struct pd_exchange *exchange, const struct pd_err *err, int retry_after_s)
{
    struct pd_problem_details details = {
        .status = pd_err_http_status(err->kind),
        .detail = err->msg,
        .retry_after_s = retry_after_s,
    };

    /* Here a timeout is one of waiting for a sandbox: come back later. */
    if (err->kind == PD_TIMEOUT || err->kind == PD_NOT_FOUND)
        details.status = 503;
    if ((details.status == 503 || details.status == 429) && details.retry_after_s == 0)
        details.retry_after_s = RETRY_AFTER_DEFAULT_S;
    pd_exchange_problem(exchange, &details);
}

static void on_failed(void *arg, const struct pd_err *err, int retry_after_s)
{
    struct execution *execution = arg;

    reply_failure(execution->exchange, err, retry_after_s);
    execution_free(execution);
}

static const struct pd_job_events job_events = {
    .stage = on_stage,
    .output = on_output,
    .artifact = on_artifact,
    .ended = on_ended,
    .failed = on_failed,
};

/* ---- the request ---- */

/* The client hung up: nobody wants the result. */
static void on_gone(void *arg)
{
    struct execution *execution = arg;

    pd_log(PD_LOG_DEBUG, "execute", "client hung up", "run", execution->id, NULL);
    pd_job_cancel(execution->job);
    execution_free(execution);
}

static struct execution *execution_new(struct pd_api_context *api, struct pd_exchange *exchange,
                                       struct pd_request *request)
{
    struct execution *execution = PD_NEW(struct execution);
    struct pd_pool *pool = pd_store_pool(api->store, request->pool);
    size_t output_max = (size_t)request->run.output_max_bytes;

    execution->api = api;
    execution->exchange = exchange;
    execution->request = request;
    execution->artifact_bytes_left = (size_t)pool->spec->run.max_files_bytes;
    pd_strcpy(execution->id, sizeof execution->id, "run_");
    pd_random_hex(execution->id + 4, 16);
    request->run.id = execution->id;
    pd_buf_init(&execution->output, output_max);
    pd_buf_init(&execution->streams[0], output_max);
    pd_buf_init(&execution->streams[1], output_max);
    return execution;
}

static void start(struct pd_api_context *api, struct pd_exchange *exchange,
                  struct pd_request *request)
{
    struct execution *execution = execution_new(api, exchange, request);
    const struct pd_job_request job = {
        .pool = request->pool,
        .key_id = pd_exchange_key_id(exchange),
        .run = &request->run,
        .bytes = request->bytes,
    };
    struct pd_err err;
    int retry_after_s;

    if (pd_dispatch_submit(api->dispatch, &job, &job_events, execution, &execution->job,
                           &retry_after_s, &err) < 0) {
        reply_failure(exchange, &err, retry_after_s);
        execution_free(execution);
        return;
    }
    pd_exchange_on_gone(exchange, on_gone, execution);
}

static void on_body(void *arg, struct pd_exchange *exchange, const char *body, size_t len)
{
    struct pd_api_context *api = arg;
    struct pd_request *request;
    struct pd_refusal refusal;

    if (pd_request_parse(&api->rules, body, len, &request, &refusal) < 0)
        pd_exchange_problem(exchange, &(struct pd_problem_details){.status = refusal.status,
                                                                   .detail = refusal.detail,
                                                                   .errors = &refusal.problems});
    else
        start(api, exchange, request);
}

/* application/json, with no charset but UTF-8 (RFC 8259, section 11). */
static bool is_json(const struct pd_exchange *exchange)
{
    static const char type[] = "application/json";
    char text[128];
    const char *charset;

    if (!pd_exchange_header(exchange, "content-type", text, sizeof text) ||
        strncasecmp(text, type, sizeof type - 1) != 0 || !strchr("; \t", text[sizeof type - 1]))
        return false;
    charset = strcasestr(text, "charset=");
    if (!charset)
        return true;
    charset += strlen("charset=");
    charset += *charset == '"';
    return strncasecmp(charset, "utf-8", 5) == 0;
}

void pd_execute_handle(void *arg, struct pd_exchange *exchange)
{
    struct pd_api_context *api = arg;

    if (!is_json(exchange))
        pd_exchange_problem(
            exchange, &(struct pd_problem_details){.status = 415,
                                                   .detail = "send the program as JSON, with "
                                                             "Content-Type: application/json"});
    else if (api->draining)
        pd_exchange_problem(exchange,
                            &(struct pd_problem_details){.status = 503,
                                                         .detail = "the service is stopping",
                                                         .retry_after_s = RETRY_AFTER_DEFAULT_S});
    else
        pd_exchange_want_body(exchange, pd_request_bytes_max(api->store), on_body, api);
}
