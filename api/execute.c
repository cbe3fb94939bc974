#include "api/execute.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/admission.h"
#include "api/answered.h"
#include "api/async.h"
#include "api/context.h"
#include "api/execution.h"
#include "api/ledger.h"
#include "api/outcome.h"
#include "api/plain.h"
#include "api/records.h"
#include "api/server.h"
#include "api/stream.h"
#include "common/log.h"
#include "common/mem.h"

/* One request from its body to its answer. */
struct execution {
    struct pd_api_context *api;
    struct pd_exchange *exchange;
    const char *key_id; /* outlives the exchange */
    struct pd_request *request;
    struct pd_job *job;
    char id[PD_EXECUTION_ID_BYTES];
    struct pd_plain *plain;
};

static void execution_free(struct execution *execution)
{
    pd_plain_free(execution->plain);
    pd_request_free(execution->request);
    free(execution);
}

static void on_stage(void *arg, const char *name)
{
    struct execution *execution = arg;

    pd_plain_stage(execution->plain, name);
}

static void on_output(void *arg, int stream, const void *data, size_t len)
{
    struct execution *execution = arg;

    pd_job_grant(execution->job, len);
    pd_plain_output(execution->plain, stream, data, len);
}

static void on_artifact(void *arg, const char *path, const void *data, size_t len, bool last,
                        const char *error)
{
    struct execution *execution = arg;

    pd_job_grant(execution->job, len);
    pd_outcome_artifact(&execution->plain->outcome, path, data, len, last, error);
}

static void record(const struct execution *execution, const struct pd_run_result *result,
                   const struct pd_job_times *times)
{
    const struct pd_request *request = execution->request;

    struct pd_ledger *ledger = execution->api->ledger;

    ledger->ops->add(ledger, &(struct pd_record){
                                 .id = execution->id,
                                 .key_id = execution->key_id,
                                 .pool = request->pool,
                                 .language = request->language->name,
                                 .sandbox = times->sandbox,
                                 .kind = PD_RECORD_PLAIN,
                                 .code = request->run.code,
                                 .code_len = request->run.code_len,
                                 .ended_wall_ms = pd_wall_ms(),
                                 .queue_us = times->queue_us,
                                 .run_us = times->run_us,
                                 .cause = pd_cause_name(result->cause),
                                 .result = result,
                             });
}

static void on_ended(void *arg, const struct pd_run_result *result,
                     const struct pd_job_times *times)
{
    struct execution *execution = arg;
    struct pd_buf body;
    struct pd_err err;

    pd_log(PD_LOG_DEBUG, "execute", "run ended", "run", execution->id, "cause",
           pd_cause_name(result->cause), NULL);
    if (pd_outcome_format(&execution->plain->outcome, execution->id, result, times, &body, &err) <
        0) {
        pd_buf_fini(&body);
        pd_exchange_problem(execution->exchange,
                            &(struct pd_problem_details){.status = 500, .detail = err.msg});
    } else {
        pd_exchange_reply(execution->exchange, 200, "application/json", NULL, &body);
    }
    /* The answer first: nobody waits for the record. */
    if (execution->api->ledger)
        record(execution, result, times);
    pd_plain_keep(execution->api->executions, PD_STEAL(execution->plain), execution->id,
                  execution->key_id, result, times);
    execution_free(execution);
}

static void reply_failure(struct pd_exchange *exchange, const struct pd_err *err, int retry_after_s)
{
    struct pd_problem_details details;

    pd_failure_details(err, retry_after_s, &details);
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

    execution->api = api;
    execution->exchange = exchange;
    execution->key_id = pd_exchange_key_id(exchange);
    execution->request = request;
    execution->plain = pd_plain_new((size_t)request->run.output_max_bytes,
                                    (size_t)pool->spec->run.max_files_bytes);
    pd_execution_make_id(execution->id);
    request->run.id = execution->id;
    pd_answered_run(exchange, execution->id);
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

bool pd_execute_is_open(const struct pd_api_context *api, struct pd_exchange *exchange)
{
    if (!is_json(exchange))
        pd_exchange_problem(
            exchange, &(struct pd_problem_details){.status = 415,
                                                   .detail = "send the program as JSON, with "
                                                             "Content-Type: application/json"});
    else if (api->draining)
        pd_exchange_problem(
            exchange, &(struct pd_problem_details){.status = 503,
                                                   .detail = "the service is stopping",
                                                   .retry_after_s = PD_RETRY_AFTER_DEFAULT_S});
    else
        return true;
    return false;
}

void pd_execute_handle(void *arg, struct pd_exchange *exchange)
{
    struct pd_api_context *api = arg;
    bool wants_stream = pd_stream_is_wanted(exchange);
    bool has_key, ok;

    if (!pd_execute_is_open(api, exchange))
        return;
    has_key = pd_async_has_key(exchange, &ok);
    if (has_key && wants_stream)
        pd_exchange_problem(exchange,
                            &(struct pd_problem_details){
                                .status = 400,
                                .detail = "an Idempotency-Key goes with one answer, not with "
                                          "events: POST /executions, and watch it"});
    else if (ok && pd_admission_take(api, exchange))
        pd_exchange_want_body(exchange, pd_request_bytes_max(api->store),
                              has_key        ? pd_async_execute_on_body
                              : wants_stream ? pd_stream_on_body
                                             : on_body,
                              api);
}
