/* Theory of operation. A call goes round this circle until it is told:
 *
 *   waiting  its turn (the buckets say when), or the pause after a failure
 *   keyless  there is no key to sign with yet
 *   sent     an answer is waited for
 *
 * Every attempt is signed anew, since the clock and the key may have changed. A
 * call owns one timer, which is also what it lives as long as. */
#include "controller/ecs_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "common/json.h"
#include "common/log.h"
#include "common/loop_curl.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/time.h"
#include "controller/aws_credentials.h"
#include "controller/aws_post.h"
#include "controller/ecs_bucket.h"
#include "controller/ecs_error.h"

#define TARGET "AmazonEC2ContainerServiceV20141113"
#define TIMEOUT_MS 20000
#define CONNECT_TIMEOUT_MS 5000

static const struct {
    const char *name;
    enum pd_ecs_bucket_kind bucket;
} operations[] = {
    [PD_ECS_RUN_TASK] = {"RunTask", PD_ECS_BUCKET_MODIFY},
    [PD_ECS_STOP_TASK] = {"StopTask", PD_ECS_BUCKET_MODIFY},
    [PD_ECS_LIST_TASKS] = {"ListTasks", PD_ECS_BUCKET_READ},
    [PD_ECS_DESCRIBE_TASKS] = {"DescribeTasks", PD_ECS_BUCKET_READ},
    [PD_ECS_DESCRIBE_CLUSTERS] = {"DescribeClusters", PD_ECS_BUCKET_READ},
    [PD_ECS_REGISTER_TASK_DEFINITION] = {"RegisterTaskDefinition", PD_ECS_BUCKET_REGISTER},
    [PD_ECS_DESCRIBE_TASK_DEFINITION] = {"DescribeTaskDefinition", PD_ECS_BUCKET_DEFINED},
};

enum call_state { CALL_WAITING, CALL_KEYLESS, CALL_SENT, CALL_TOLD };

struct call {
    TAILQ_ENTRY(call) entry;
    struct pd_ecs_client *client;
    enum pd_ecs_operation operation;
    enum call_state state;
    int launches;
    int attempts, attempts_max;
    bool key_changed, clock_changed; /* each helps once */
    char key_id[PD_AWS_KEY_ID_MAX];
    struct pd_time sent_at;
    struct pd_buf body;
    uv_timer_t timer;
    struct pd_http_request *request;
    pd_ecs_cb cb;
    void *arg;
};

struct pd_ecs_client {
    uv_loop_t *loop;
    struct pd_http *http;
    struct pd_aws_credentials *credentials;
    char region[64];
    char *endpoint;
    struct pd_ecs_bucket buckets[PD_ECS_BUCKETS];
    double factor;
    struct pd_metrics *metrics;
    TAILQ_HEAD(, call) calls;
    size_t n_calls;
    uint64_t sent, throttled;
    bool closing, http_closed, credentials_closed;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void maybe_closed(struct pd_ecs_client *client);

/* ---- telling ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct call *call = handle->data;
    struct pd_ecs_client *client = call->client;

    TAILQ_REMOVE(&client->calls, call, entry);
    client->n_calls--;
    pd_buf_fini(&call->body);
    free(call);
    maybe_closed(client);
}

static void tell(struct call *call, const struct pd_err *err, const struct pd_node *answer)
{
    if (call->state == CALL_TOLD)
        return;
    call->state = CALL_TOLD;
    call->cb(call->arg, err, answer);
    uv_close((uv_handle_t *)&call->timer, on_timer_closed);
}

static void tell_canceled(struct call *call)
{
    struct pd_err err;

    pd_err_set(&err, PD_CANCELED, "the ECS client is closing");
    tell(call, &err, NULL);
}

/* ---- trying again ---- */

static void attempt(struct call *call);

static void on_timer(uv_timer_t *timer)
{
    attempt(timer->data);
}

static int64_t random_below(int64_t bound)
{
    uint32_t random;

    if (getrandom(&random, sizeof random, 0) != sizeof random)
        abort();
    return (int64_t)(random % (uint64_t)(bound > 0 ? bound : 1));
}

/* Full jitter: anything between nothing and the doubled pause. */
static int64_t pause_ms(const struct call *call)
{
    int64_t pause = (int64_t)PD_ECS_PAUSE_MIN_MS << (call->attempts < 12 ? call->attempts : 12);
    int64_t most = pause < PD_ECS_PAUSE_MAX_MS ? pause : PD_ECS_PAUSE_MAX_MS;

    return (int64_t)((double)random_below(most) / call->client->factor);
}

/* The buckets' turn, and this much later at least. */
static void wait_turn(struct call *call, int64_t at_least_ms)
{
    struct pd_ecs_client *client = call->client;
    struct pd_time now = pd_time_now();
    enum pd_ecs_bucket_kind kind = operations[call->operation].bucket;
    int64_t wait = pd_ecs_bucket_take(&client->buckets[kind], 1, now), more;

    if (call->launches > 0) {
        more = pd_ecs_bucket_take(&client->buckets[PD_ECS_BUCKET_FARGATE], 1, now);
        wait = more > wait ? more : wait;
        more = pd_ecs_bucket_take(&client->buckets[PD_ECS_BUCKET_LAUNCH], call->launches, now);
        wait = more > wait ? more : wait;
    }
    wait = at_least_ms > wait ? at_least_ms : wait;
    call->state = CALL_WAITING;
    uv_update_time(client->loop); /* else a timer set late in a turn fires early */
    uv_timer_start(&call->timer, on_timer, (uint64_t)wait, 0);
}

static void try_again(struct call *call, const struct pd_err *err)
{
    if (call->client->closing)
        tell_canceled(call);
    else if (++call->attempts >= call->attempts_max)
        tell(call, err, NULL);
    else
        wait_turn(call, pause_ms(call));
}

/* ---- the answer ---- */

/* An attempt has ended: ECS's own code where it gave one, else the status. */
static void count(const struct call *call, const char *code)
{
    const char *name = operations[call->operation].name;

    pd_metrics_add(call->client->metrics, PD_M_PROVIDER_CALLS, PD_LABELS("ecs", name, code), 1);
    pd_metrics_observe(call->client->metrics, PD_M_PROVIDER_SECONDS, PD_LABELS("ecs", name),
                       (double)(pd_time_now().ns - call->sent_at.ns) / 1e9);
}

static void count_failure(const struct call *call, const struct pd_ecs_failure *failure, int status)
{
    char text[16];

    snprintf(text, sizeof text, "%d", status);
    count(call, failure->code[0] ? failure->code : text);
}

static bool note_clock(struct call *call, const struct pd_http_response *response)
{
    char date[64];

    return pd_http_header(response, "Date", date, sizeof date) &&
           pd_aws_credentials_note_date(call->client->credentials, date);
}

static void on_failure(struct call *call, const struct pd_http_response *response)
{
    struct pd_ecs_client *client = call->client;
    struct pd_ecs_failure failure;
    struct pd_err err;

    pd_ecs_error_read(operations[call->operation].name, response, &failure, &err);
    count_failure(call, &failure, response->status);
    switch (failure.remedy) {
    case PD_ECS_SLOW:
        client->throttled++;
        pd_ecs_bucket_drain(&client->buckets[operations[call->operation].bucket], pd_time_now());
        try_again(call, &err);
        return;
    case PD_ECS_RETRY:
        try_again(call, &err);
        return;
    case PD_ECS_KEY:
        if (call->key_changed)
            break;
        call->key_changed = true;
        pd_aws_credentials_refused(client->credentials, call->key_id);
        try_again(call, &err);
        return;
    case PD_ECS_CLOCK:
        if (call->clock_changed || !note_clock(call, response))
            break;
        call->clock_changed = true;
        try_again(call, &err);
        return;
    case PD_ECS_TELL:
        break;
    }
    tell(call, &err, NULL);
}

static void on_success(struct call *call, const struct pd_http_response *response)
{
    pd_autonode struct pd_node *answer = NULL;
    struct pd_err err;

    count(call, "200");
    if (pd_json_parse(response->body, response->body_len, &answer, &err) < 0 ||
        answer->kind != PD_NODE_MAP) {
        pd_err_set(&err, PD_UNAVAILABLE, "ecs:%s: the answer is no JSON object",
                   operations[call->operation].name);
        try_again(call, &err);
        return;
    }
    tell(call, NULL, answer);
}

static void on_response(void *arg, const struct pd_err *err,
                        const struct pd_http_response *response)
{
    struct call *call = arg;
    struct pd_err wrapped;

    call->request = NULL;
    if (err && err->kind != PD_CANCELED) {
        count(call, "none");
        wrapped = *err;
        pd_err_wrap(&wrapped, "ecs:%s", operations[call->operation].name);
        if (pd_err_retryable(err->kind))
            try_again(call, &wrapped);
        else
            tell(call, &wrapped, NULL);
    } else if (err) {
        tell_canceled(call);
    } else if (response->status == 200) {
        on_success(call, response);
    } else {
        on_failure(call, response);
    }
}

/* ---- an attempt ---- */

static void send_signed(struct call *call, const struct pd_aws_key *key)
{
    struct pd_ecs_client *client = call->client;
    pd_autofree char *target = pd_asprintf(TARGET ".%s", operations[call->operation].name);
    const struct pd_aws_post post = {
        .endpoint = client->endpoint,
        .region = client->region,
        .service = "ecs",
        .content_type = "application/x-amz-json-1.1",
        .target = target,
        .body = &call->body,
        .key = key,
        .wall_ms = pd_aws_credentials_wall_ms(client->credentials),
        .timeout_ms = TIMEOUT_MS,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .response_bytes_max = PD_ECS_ANSWER_BYTES_MAX,
    };
    struct pd_err err;

    call->state = CALL_SENT;
    client->sent++;
    call->sent_at = pd_time_now();
    pd_strcpy(call->key_id, sizeof call->key_id, key->id);
    if (pd_aws_post(client->http, &post, on_response, call, &call->request, &err) < 0)
        tell(call, &err, NULL);
}

static void on_key(void *arg, const struct pd_err *err, const struct pd_aws_key *key)
{
    struct call *call = arg;

    if (call->client->closing || (err && err->kind == PD_CANCELED))
        tell_canceled(call);
    else if (err)
        tell(call, err, NULL);
    else
        send_signed(call, key);
}

static void attempt(struct call *call)
{
    const struct pd_aws_key *key = pd_aws_credentials_now(call->client->credentials);

    if (key) {
        send_signed(call, key);
        return;
    }
    call->state = CALL_KEYLESS;
    pd_aws_credentials_want(call->client->credentials, on_key, call);
}

static int begin_call(struct pd_ecs_client *client, enum pd_ecs_operation operation,
                      const struct pd_node *body, int launches, int attempts_max, pd_ecs_cb cb,
                      void *arg, struct pd_err *err)
{
    struct call *call;
    int rc;

    if (client->closing)
        return pd_err_set(err, PD_CANCELED, "the ECS client is closing");
    if (client->n_calls == PD_ECS_CALLS_MAX)
        return pd_err_set(err, PD_LIMIT, "more than %d calls of ECS under way", PD_ECS_CALLS_MAX);
    call = PD_NEW(struct call);
    pd_buf_init(&call->body, PD_ECS_BODY_BYTES_MAX);
    rc = pd_json_format(body, &call->body, err);
    if (rc < 0) {
        pd_buf_fini(&call->body);
        free(call);
        return pd_err_wrap(err, "ecs:%s", operations[operation].name);
    }
    call->client = client;
    call->operation = operation;
    call->launches = launches;
    call->attempts_max = attempts_max;
    call->cb = cb;
    call->arg = arg;
    uv_timer_init(client->loop, &call->timer);
    call->timer.data = call;
    TAILQ_INSERT_TAIL(&client->calls, call, entry);
    client->n_calls++;
    wait_turn(call, 0);
    return 0;
}

int pd_ecs_call(struct pd_ecs_client *client, enum pd_ecs_operation operation,
                const struct pd_node *body, int launches, pd_ecs_cb cb, void *arg,
                struct pd_err *err)
{
    return begin_call(client, operation, body, launches, PD_ECS_ATTEMPTS_MAX, cb, arg, err);
}

int pd_ecs_try(struct pd_ecs_client *client, enum pd_ecs_operation operation,
               const struct pd_node *body, pd_ecs_cb cb, void *arg, struct pd_err *err)
{
    return begin_call(client, operation, body, 0, PD_ECS_TRIES_MAX, cb, arg, err);
}

/* ---- life ---- */

const char *pd_ecs_client_origin(const struct pd_ecs_client *client)
{
    return pd_aws_credentials_origin(client->credentials);
}

void pd_ecs_client_counts(const struct pd_ecs_client *client, uint64_t *ret_sent,
                          uint64_t *ret_throttled)
{
    *ret_sent = client->sent;
    *ret_throttled = client->throttled;
}

struct pd_ecs_client *pd_ecs_client_new(uv_loop_t *loop, const struct pd_ecs_client_config *config)
{
    struct pd_ecs_client *client = PD_NEW(struct pd_ecs_client);

    client->loop = loop;
    client->factor = config->rate_factor > 0 ? config->rate_factor : 1;
    client->metrics = config->metrics;
    client->http = pd_http_new(loop);
    client->credentials =
        pd_aws_credentials_new(loop, client->http, config->metrics, config->region);
    client->endpoint = pd_strdup(config->endpoint);
    pd_strcpy(client->region, sizeof client->region, config->region);
    pd_ecs_buckets_init(client->buckets, client->factor, pd_time_now());
    TAILQ_INIT(&client->calls);
    return client;
}

static void maybe_closed(struct pd_ecs_client *client)
{
    void (*closed)(void *arg) = client->closed;
    void *arg = client->closed_arg;

    if (!client->http_closed || client->n_calls > 0)
        return;
    free(client->endpoint);
    free(client);
    if (closed)
        closed(arg);
}

static void on_http_closed(void *arg)
{
    struct pd_ecs_client *client = arg;

    client->http_closed = true;
    maybe_closed(client);
}

static void on_credentials_closed(void *arg)
{
    struct pd_ecs_client *client = arg;

    client->credentials_closed = true;
    pd_http_close(client->http, on_http_closed, client);
}

void pd_ecs_client_close(struct pd_ecs_client *client, void (*closed)(void *arg), void *arg)
{
    struct call *call, *next;

    client->closing = true;
    client->closed = closed;
    client->closed_arg = arg;
    for (call = TAILQ_FIRST(&client->calls); call; call = next) {
        next = TAILQ_NEXT(call, entry);
        if (call->state == CALL_WAITING)
            tell_canceled(call);
        else if (call->request)
            pd_http_cancel(call->request);
    }
    pd_aws_credentials_close(client->credentials, on_credentials_closed, client);
}
