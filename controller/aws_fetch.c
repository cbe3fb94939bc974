/* Theory of operation. A fetch is a chain of at most three questions over HTTP
 * (the metadata service asks for a token, a name and then the key), or a process
 * whose output is read (aws_process.c). Assuming a role first fetches the key of
 * another source, by a fetch of its own. Every way ends in `settle`, which tells
 * on the loop's next turn, so that nothing is told from within a call. */
#include "controller/aws_fetch.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/time.h"
#include "controller/aws_post.h"
#include "controller/aws_process.h"
#include "controller/aws_sts.h"

#define TIMEOUT_MS 5000
#define CONNECT_TIMEOUT_MS 2000
#define STS_TIMEOUT_MS 20000
#define TOKEN_BYTES_MAX (16u * 1024)
#define FORM_BYTES_MAX (32u * 1024)
#define ROLE_NAME_MAX 128
#define IMDS_KEYS "/latest/meta-data/iam/security-credentials/"

struct pd_aws_fetch {
    struct pd_aws_asker asker;
    const struct pd_aws_source *source;
    uv_timer_t turn; /* tells */
    struct pd_http_request *request;
    const char *operation; /* that is under way, for those who count */
    struct pd_time asked_at;
    struct pd_aws_fetch *from; /* fetches the key that a role is assumed with */
    struct pd_aws_process *process;
    char imds_token[256];
    struct pd_aws_key key;
    struct pd_err err;
    bool canceled, settled;
    pd_aws_fetch_cb cb;
    void *arg;
};

/* ---- the end ---- */

static void on_turn_closed(uv_handle_t *handle)
{
    struct pd_aws_fetch *fetch = handle->data;

    if (fetch->canceled && fetch->err.kind == 0)
        pd_err_set(&fetch->err, PD_CANCELED, "asking for AWS credentials was given up");
    fetch->cb(fetch->arg, fetch->err.kind ? &fetch->err : NULL,
              fetch->err.kind ? NULL : &fetch->key);
    pd_aws_key_fini(&fetch->key);
    pd_wipe(fetch->imds_token, sizeof fetch->imds_token);
    free(fetch);
}

static void settle(struct pd_aws_fetch *fetch)
{
    if (fetch->settled)
        return;
    fetch->settled = true;
    uv_close((uv_handle_t *)&fetch->turn, on_turn_closed);
}

static void fail(struct pd_aws_fetch *fetch, const struct pd_err *err)
{
    fetch->err = *err;
    pd_err_wrap(&fetch->err, "AWS credentials from %s", fetch->source->name);
    settle(fetch);
}

/* ---- HTTP ---- */

/* What an answer other than 200 means. Nothing of its body is told. */
static int status_err(const struct pd_http_response *response, struct pd_err *err)
{
    int kind = response->status >= 500 || response->status == 429 ? PD_UNAVAILABLE : PD_DENIED;

    return pd_err_set(err, kind, "the endpoint answers %d", response->status);
}

static void count(const struct pd_aws_fetch *fetch, const char *code)
{
    struct pd_metrics *metrics = fetch->asker.metrics;

    pd_metrics_add(metrics, PD_M_PROVIDER_CALLS, PD_LABELS("aws", fetch->operation, code), 1);
    pd_metrics_observe(metrics, PD_M_PROVIDER_SECONDS, PD_LABELS("aws", fetch->operation),
                       (double)(pd_time_now().ns - fetch->asked_at.ns) / 1e9);
}

static void answered(struct pd_aws_fetch *fetch, const struct pd_err *err,
                     const struct pd_http_response *response)
{
    char code[16] = "none";

    fetch->request = NULL;
    if (err && err->kind == PD_CANCELED)
        return;
    if (!err)
        snprintf(code, sizeof code, "%d", response->status);
    count(fetch, code);
}

static void begin(struct pd_aws_fetch *fetch, const char *operation)
{
    fetch->operation = operation;
    fetch->asked_at = pd_time_now();
}

static void ask(struct pd_aws_fetch *fetch, const char *operation,
                const struct pd_http_params *params, pd_http_cb cb)
{
    struct pd_err err;

    begin(fetch, operation);
    if (pd_http_send(fetch->asker.http, params, cb, fetch, &fetch->request, &err) < 0)
        fail(fetch, &err);
}

static void on_json_key(void *arg, const struct pd_err *err,
                        const struct pd_http_response *response)
{
    struct pd_aws_fetch *fetch = arg;
    struct pd_err failure;

    answered(fetch, err, response);
    if (!err && response->status != 200 && status_err(response, &failure) < 0)
        err = &failure;
    if (!err &&
        pd_aws_key_from_json(response->body, response->body_len, 0, &fetch->key, &failure) < 0)
        err = &failure;
    if (err)
        fail(fetch, err);
    else
        settle(fetch);
}

/* A token in a file is read anew each time: it is rotated there. */
static int read_token(const char *path, struct pd_secret *ret_token, struct pd_err *err)
{
    char *text = NULL;
    size_t len = 0, end;
    int rc = pd_file_read(path, TOKEN_BYTES_MAX, &text, &len, err);

    if (rc < 0)
        return rc;
    for (end = len; end > 0 && isspace((unsigned char)text[end - 1]);)
        end--;
    text[end] = '\0';
    if (end == 0 || strlen(text) != end || text[strcspn(text, "\r\n")])
        rc = pd_err_set(err, PD_INVALID, "%s holds no token of one line", path);
    else
        *ret_token = pd_secret_new(text, end);
    pd_wipe(text, len);
    free(text);
    return rc;
}

/* ---- container ---- */

static void begin_container(struct pd_aws_fetch *fetch)
{
    const struct pd_aws_source *source = fetch->source;
    pd_autosecret struct pd_secret token = pd_secret_copy(&source->token);
    pd_autosecret struct pd_secret line = {0};
    const char *headers[] = {"Accept: application/json", NULL, NULL};
    const struct pd_http_params params = {
        .method = "GET",
        .url = source->url,
        .headers = headers,
        .direct = true,
        .timeout_ms = TIMEOUT_MS,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .response_bytes_max = PD_AWS_ANSWER_BYTES_MAX,
    };
    struct pd_err err;

    if (source->token_file && read_token(source->token_file, &token, &err) < 0) {
        fail(fetch, &err);
        return;
    }
    if (token.len > 0) {
        pd_autofree char *text = pd_asprintf("Authorization: %s", token.bytes);
        line = pd_secret_new(text, strlen(text));
        pd_wipe(text, strlen(text));
        headers[1] = line.bytes;
    }
    ask(fetch, "container_key", &params, on_json_key);
}

/* ---- instance metadata, version 2 ---- */

/* The token is PUT for, everything else is GET. */
static void ask_imds(struct pd_aws_fetch *fetch, const char *operation, const char *path,
                     const char *header, pd_http_cb cb)
{
    pd_autofree char *url = pd_asprintf("%s%s", fetch->source->url, path);
    const char *headers[] = {header, NULL};
    const struct pd_http_params params = {
        .method = strcmp(operation, "imds_token") == 0 ? "PUT" : "GET",
        .url = url,
        .headers = headers,
        .direct = true,
        .timeout_ms = TIMEOUT_MS,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .response_bytes_max = PD_AWS_ANSWER_BYTES_MAX,
    };

    ask(fetch, operation, &params, cb);
}

static void ask_imds_with_token(struct pd_aws_fetch *fetch, const char *operation, const char *path,
                                pd_http_cb cb)
{
    char header[320];

    snprintf(header, sizeof header, "X-aws-ec2-metadata-token: %s", fetch->imds_token);
    ask_imds(fetch, operation, path, header, cb);
    pd_wipe(header, sizeof header);
}

static bool take_line(const struct pd_http_response *response, char *out, size_t out_bytes)
{
    size_t len = strcspn(response->body, "\r\n");

    if (response->status != 200 || len == 0 || len >= out_bytes)
        return false;
    memcpy(out, response->body, len);
    out[len] = '\0';
    for (const char *p = out; *p; p++) {
        if (*p <= ' ' || *p > '~')
            return false;
    }
    return true;
}

static void on_imds_role(void *arg, const struct pd_err *err,
                         const struct pd_http_response *response)
{
    struct pd_aws_fetch *fetch = arg;
    char role[ROLE_NAME_MAX];
    struct pd_err failure;

    answered(fetch, err, response);
    if (!err && response->status == 404)
        pd_err_set(&failure, PD_NOT_FOUND, "the instance has no role");
    else if (!err && (!take_line(response, role, sizeof role) || strchr(role, '/')))
        status_err(response, &failure);
    else if (!err) {
        pd_autofree char *path = pd_asprintf(IMDS_KEYS "%s", role);
        ask_imds_with_token(fetch, "imds_key", path, on_json_key);
        return;
    }
    fail(fetch, err ? err : &failure);
}

static void on_imds_token(void *arg, const struct pd_err *err,
                          const struct pd_http_response *response)
{
    struct pd_aws_fetch *fetch = arg;
    struct pd_err failure;

    answered(fetch, err, response);
    if (!err && !take_line(response, fetch->imds_token, sizeof fetch->imds_token)) {
        status_err(response, &failure);
        err = &failure;
    }
    if (err)
        fail(fetch, err);
    else
        ask_imds_with_token(fetch, "imds_role", IMDS_KEYS, on_imds_role);
}

/* ---- STS ---- */

static void on_sts(void *arg, const struct pd_err *err, const struct pd_http_response *response)
{
    struct pd_aws_fetch *fetch = arg;
    struct pd_err failure;
    char code[64];

    answered(fetch, err, response);
    if (!err && response->status != 200) {
        status_err(response, &failure);
        pd_aws_sts_code(response->body, code, sizeof code);
        pd_err_wrap(&failure, "STS, role %.200s, %s", fetch->source->role_arn,
                    *code ? code : "no code");
        err = &failure;
    }
    if (!err && pd_aws_key_from_sts(response->body, response->body_len, &fetch->key, &failure) < 0)
        err = &failure;
    if (err)
        fail(fetch, err);
    else
        settle(fetch);
}

/* Signed with `key`, unsigned where it is NULL. */
static int send_sts(struct pd_aws_fetch *fetch, const struct pd_buf *form,
                    const struct pd_aws_key *key, struct pd_err *err)
{
    pd_autofree char *endpoint = pd_aws_endpoint("sts", fetch->asker.region);
    const struct pd_aws_post post = {
        .endpoint = endpoint,
        .region = fetch->asker.region,
        .service = "sts",
        .content_type = "application/x-www-form-urlencoded",
        .body = form,
        .key = key,
        .wall_ms = pd_wall_ms() + fetch->asker.skew_ms,
        .timeout_ms = STS_TIMEOUT_MS,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS * 2,
        .response_bytes_max = PD_AWS_ANSWER_BYTES_MAX,
    };

    begin(fetch, key ? "AssumeRole" : "AssumeRoleWithWebIdentity");
    return pd_aws_post(fetch->asker.http, &post, on_sts, fetch, &fetch->request, err);
}

static void assume(struct pd_aws_fetch *fetch, const struct pd_aws_key *key, const char *token)
{
    struct pd_buf form;
    struct pd_err err;

    pd_buf_init(&form, FORM_BYTES_MAX);
    if (pd_aws_sts_form(fetch->source, token, &form, &err) < 0 ||
        send_sts(fetch, &form, key, &err) < 0)
        fail(fetch, &err);
    if (form.data)
        pd_wipe(form.data, form.len);
    pd_buf_fini(&form);
}

static void on_from(void *arg, const struct pd_err *err, const struct pd_aws_key *key)
{
    struct pd_aws_fetch *fetch = arg;

    fetch->from = NULL;
    if (err)
        fail(fetch, err);
    else if (fetch->canceled)
        settle(fetch);
    else
        assume(fetch, key, NULL);
}

static void begin_web_identity(struct pd_aws_fetch *fetch)
{
    pd_autosecret struct pd_secret token = {0};
    struct pd_err err;

    if (read_token(fetch->source->token_file, &token, &err) < 0)
        fail(fetch, &err);
    else
        assume(fetch, NULL, token.bytes);
}

/* ---- process ---- */

static void on_process(void *arg, const struct pd_err *err, const char *text, size_t len)
{
    struct pd_aws_fetch *fetch = arg;
    struct pd_err failure;

    fetch->process = NULL;
    if (!err || err->kind != PD_CANCELED)
        count(fetch, err ? "failed" : "ok");
    if (!err && pd_aws_key_from_json(text, len, 1, &fetch->key, &failure) < 0)
        err = &failure;
    if (err)
        fail(fetch, err);
    else
        settle(fetch);
}

static void begin_process(struct pd_aws_fetch *fetch)
{
    char **words = pd_aws_words(fetch->source->command);
    struct pd_err err;

    begin(fetch, "credential_process");
    if (!words)
        pd_err_set(&err, PD_INVALID, "credential_process is no command");
    if (!words || pd_aws_process_begin(fetch->asker.loop, words, on_process, fetch, &fetch->process,
                                       &err) < 0)
        fail(fetch, &err);
    for (char **word = words; word && *word; word++)
        free(*word);
    free(words);
}

/* ---- beginning ---- */

struct pd_aws_fetch *pd_aws_fetch_begin(const struct pd_aws_asker *asker,
                                        const struct pd_aws_source *source, pd_aws_fetch_cb cb,
                                        void *arg)
{
    struct pd_aws_fetch *fetch = PD_NEW(struct pd_aws_fetch);

    fetch->asker = *asker;
    fetch->source = source;
    fetch->cb = cb;
    fetch->arg = arg;
    uv_timer_init(asker->loop, &fetch->turn);
    fetch->turn.data = fetch;
    switch (source->kind) {
    case PD_AWS_STATIC:
        fetch->key = pd_aws_key_copy(&source->key);
        settle(fetch);
        break;
    case PD_AWS_PROCESS:
        begin_process(fetch);
        break;
    case PD_AWS_ASSUME_ROLE:
        fetch->from = pd_aws_fetch_begin(asker, source->from, on_from, fetch);
        break;
    case PD_AWS_WEB_IDENTITY:
        begin_web_identity(fetch);
        break;
    case PD_AWS_CONTAINER:
        begin_container(fetch);
        break;
    case PD_AWS_IMDS:
        ask_imds(fetch, "imds_token", "/latest/api/token",
                 "X-aws-ec2-metadata-token-ttl-seconds: 21600", on_imds_token);
        break;
    }
    return fetch;
}

void pd_aws_fetch_cancel(struct pd_aws_fetch *fetch)
{
    fetch->canceled = true;
    if (fetch->from)
        pd_aws_fetch_cancel(fetch->from);
    if (fetch->request)
        pd_http_cancel(fetch->request);
    if (fetch->process)
        pd_aws_process_kill(fetch->process);
}
