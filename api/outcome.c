#include "api/outcome.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/base64.h"
#include "common/json.h"
#include "common/mem.h"

#define SLACK_BYTES (64u * 1024)

void pd_outcome_init(struct pd_outcome *outcome, size_t output_max, size_t artifacts_max)
{
    *outcome = (struct pd_outcome){.artifact_bytes_left = artifacts_max};
    pd_buf_init(&outcome->output, output_max);
    pd_buf_init(&outcome->streams[0], output_max);
    pd_buf_init(&outcome->streams[1], output_max);
}

void pd_outcome_fini(struct pd_outcome *outcome)
{
    for (size_t i = 0; i < outcome->n_artifacts; i++) {
        free(outcome->artifacts[i].path);
        free(outcome->artifacts[i].error);
        pd_buf_fini(&outcome->artifacts[i].data);
    }
    free(outcome->artifacts);
    pd_buf_fini(&outcome->compile);
    pd_buf_fini(&outcome->output);
    pd_buf_fini(&outcome->streams[0]);
    pd_buf_fini(&outcome->streams[1]);
}

/* ---- collecting ---- */

/* Output of one stream alone is kept once; from the first byte of the other on,
 * each stream has its own copy besides what they printed together. */
static void split_streams(struct pd_outcome *outcome)
{
    struct pd_buf *own = &outcome->streams[outcome->only_stream - 1];

    if (pd_buf_add(own, outcome->output.data, outcome->output.len, NULL) < 0)
        outcome->cut = true;
    outcome->only_stream = -1;
}

/* The program's own stage begins: what came so far was the compiler's. */
void pd_outcome_stage(struct pd_outcome *outcome, const char *name)
{
    size_t output_max = outcome->output.max;

    if (strcmp(name, "run") != 0)
        return;
    pd_buf_fini(&outcome->compile);
    outcome->compile = outcome->output;
    pd_buf_init(&outcome->output, output_max);
    pd_buf_clear(&outcome->streams[0]);
    pd_buf_clear(&outcome->streams[1]);
    outcome->only_stream = 0;
}

void pd_outcome_output(struct pd_outcome *outcome, int stream, const void *data, size_t len)
{
    if (len == 0)
        return;
    if (outcome->only_stream == 0)
        outcome->only_stream = stream;
    else if (outcome->only_stream > 0 && outcome->only_stream != stream)
        split_streams(outcome);
    if (pd_buf_add(&outcome->output, data, len, NULL) < 0 ||
        (outcome->only_stream < 0 &&
         pd_buf_add(&outcome->streams[stream - 1], data, len, NULL) < 0))
        outcome->cut = true;
}

static struct pd_artifact *artifact_of(struct pd_outcome *outcome, const char *path)
{
    struct pd_artifact *artifact;

    if (outcome->n_artifacts > 0) {
        artifact = &outcome->artifacts[outcome->n_artifacts - 1];
        if (!artifact->done)
            return artifact;
    }
    if (outcome->n_artifacts == PD_ARTIFACTS_MAX)
        return NULL;
    outcome->artifacts =
        pd_realloc(outcome->artifacts, outcome->n_artifacts + 1, sizeof *outcome->artifacts);
    artifact = &outcome->artifacts[outcome->n_artifacts++];
    *artifact = (struct pd_artifact){.path = pd_strdup(path)};
    pd_buf_init(&artifact->data, outcome->artifact_bytes_left);
    return artifact;
}

struct pd_artifact *pd_outcome_artifact(struct pd_outcome *outcome, const char *path,
                                        const void *data, size_t len, bool last, const char *error)
{
    struct pd_artifact *artifact = artifact_of(outcome, path);

    if (!artifact)
        return NULL;
    artifact->done = last || error;
    if (!error && len > 0 && pd_buf_add(&artifact->data, data, len, NULL) < 0)
        error = "the artifacts of a run together are larger than its pool's run.maxFiles";
    if (error && !artifact->error) {
        artifact->error = pd_strdup(error);
        pd_buf_clear(&artifact->data);
    }
    if (!artifact->done)
        return NULL;
    outcome->artifact_bytes_left -= artifact->data.len;
    return artifact;
}

/* ---- telling ---- */

static int put_text(struct pd_buf *out, const char *name, const struct pd_buf *text,
                    struct pd_err *err)
{
    int rc = pd_buf_addf(out, err, ",\"%s\":", name);

    return rc < 0 ? rc : pd_json_format_string(text->data ? text->data : "", text->len, out, err);
}

/* What one stream printed. */
static const struct pd_buf *stream_of(const struct pd_outcome *outcome, int stream)
{
    static const struct pd_buf nothing;

    if (outcome->only_stream < 0)
        return &outcome->streams[stream - 1];
    return outcome->only_stream == stream ? &outcome->output : &nothing;
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

int pd_artifact_format(const struct pd_artifact *artifact, struct pd_buf *out, struct pd_err *err)
{
    int rc = pd_buf_addf(out, err, "\"path\":");

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
    return rc;
}

static int put_artifacts(struct pd_buf *out, const struct pd_outcome *outcome, struct pd_err *err)
{
    int rc = pd_buf_addf(out, err, ",\"artifacts\":[");

    for (size_t i = 0; rc == 0 && i < outcome->n_artifacts; i++) {
        rc = pd_buf_addf(out, err, i > 0 ? ",{" : "{");
        if (rc == 0)
            rc = pd_artifact_format(&outcome->artifacts[i], out, err);
        if (rc == 0)
            rc = pd_buf_add(out, "}", 1, err);
    }
    return rc < 0 ? rc : pd_buf_add(out, "]", 1, err);
}

static int put_compile(struct pd_buf *out, const struct pd_outcome *outcome,
                       const struct pd_run_result *result, struct pd_err *err)
{
    const struct pd_buf *text = result->compile_failed ? &outcome->output : &outcome->compile;
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

static int put_facts(struct pd_buf *out, const struct pd_run_result *result, bool cut,
                     struct pd_err *err)
{
    char signal[16] = "null";

    if (result->signal)
        snprintf(signal, sizeof signal, "%d", result->signal);
    return pd_buf_addf(out, err,
                       ",\"signal\":%s,\"stage\":\"%s\",\"truncated\":%s,\"stdout_bytes\":%lld,"
                       "\"stderr_bytes\":%lld",
                       signal, result->compile_failed ? "compile" : "run",
                       result->truncated || cut ? "true" : "false", (long long)result->stdout_bytes,
                       (long long)result->stderr_bytes);
}

static int put_verdict(struct pd_buf *out, const char *id, const struct pd_run_result *result,
                       struct pd_err *err)
{
    return pd_buf_addf(
        out, err, ",\"exit_code\":%d,\"execution_time\":%.6f,\"id\":\"%s\",\"status\":\"%s\"",
        result->exit_code, (double)result->usage.wall_us / 1e6, id, pd_cause_name(result->cause));
}

static int put_success(struct pd_buf *out, const struct pd_run_result *result, struct pd_err *err)
{
    bool success = result->cause == PD_CAUSE_EXITED && result->exit_code == 0;

    return pd_buf_addf(out, err, "\"success\":%s", success ? "true" : "false");
}

static int put_start(struct pd_buf *out, const struct pd_run_result *result,
                     const struct pd_job_times *times, struct pd_err *err)
{
    bool warm = result->start == PD_START_ZYGOTE || result->start == PD_START_SPARE;

    return pd_buf_addf(out, err, ",\"warm\":%s,\"start\":\"%s\",\"queue_time\":%.6f",
                       warm ? "true" : "false", pd_start_name(result->start),
                       (double)times->queue_us / 1e6);
}

int pd_outcome_format_exit(const char *id, const struct pd_run_result *result,
                           const struct pd_job_times *times, bool cut, struct pd_buf *out,
                           struct pd_err *err)
{
    int rc = put_success(out, result, err);

    if (rc == 0)
        rc = put_verdict(out, id, result, err);
    if (rc == 0)
        rc = put_facts(out, result, cut, err);
    if (rc == 0 && result->compile_us > 0)
        rc = pd_buf_addf(out, err, ",\"compile\":{\"exit_code\":%d,\"time\":%.6f}",
                         result->compile_failed ? result->exit_code : 0,
                         (double)result->compile_us / 1e6);
    if (rc == 0)
        rc = put_usage(out, result, times, err);
    return rc < 0 ? rc : put_start(out, result, times, err);
}

/* A byte of output may take six in JSON and stands there twice, and once more when
 * it was a compiler's; three of an artifact take four. */
static size_t bytes_max(const struct pd_outcome *outcome)
{
    size_t bytes = outcome->output.len * 18 + outcome->compile.len * 6 + SLACK_BYTES;

    for (size_t i = 0; i < outcome->n_artifacts; i++)
        bytes += outcome->artifacts[i].data.len * 2 + 4096;
    return bytes;
}

int pd_outcome_format(const struct pd_outcome *outcome, const char *id,
                      const struct pd_run_result *result, const struct pd_job_times *times,
                      struct pd_buf *out, struct pd_err *err)
{
    int rc;

    pd_buf_init(out, bytes_max(outcome));
    rc = pd_buf_add(out, "{", 1, err);
    if (rc == 0)
        rc = put_success(out, result, err);
    if (rc == 0)
        rc = put_text(out, "output", &outcome->output, err);
    if (rc == 0)
        rc = put_verdict(out, id, result, err);
    if (rc == 0)
        rc = put_text(out, "stdout", stream_of(outcome, 1), err);
    if (rc == 0)
        rc = put_text(out, "stderr", stream_of(outcome, 2), err);
    if (rc == 0)
        rc = put_facts(out, result, outcome->cut, err);
    if (rc == 0)
        rc = put_compile(out, outcome, result, err);
    if (rc == 0)
        rc = put_usage(out, result, times, err);
    if (rc == 0)
        rc = put_start(out, result, times, err);
    if (rc == 0)
        rc = put_artifacts(out, outcome, err);
    return rc < 0 ? rc : pd_buf_add(out, "}\n", 2, err);
}
