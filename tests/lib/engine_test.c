#include "tests/lib/engine_test.h"

#include <stdlib.h>
#include <string.h>

#include "common/loop_curl.h"
#include "common/mem.h"
#include "controller/docker_address.h"
#include "tests/lib/loop_until.h"

const char *pd_test_docker_host(void)
{
    const char *host = getenv("DOCKER_HOST");
    return host && *host ? host : PD_DOCKER_HOST_DEFAULT;
}

const char *pd_test_image(void)
{
    const char *image = getenv("PADDOCK_TEST_IMAGE");
    return image && *image ? image : "python:3.11-slim";
}

struct outcome {
    int status;
    char *answer;
    size_t answer_bytes;
    bool done;
};

static void on_answer(void *arg, const struct pd_err *err, const struct pd_http_response *response)
{
    struct outcome *outcome = arg;

    outcome->status = err ? -1 : response->status;
    if (outcome->answer)
        pd_strcpy(outcome->answer, outcome->answer_bytes, err ? err->msg : response->body);
    outcome->done = true;
}

int pd_test_engine_call_at(const char *host, const char *method, const char *path, const void *body,
                           size_t body_len, char *answer, size_t answer_bytes)
{
    const char *const headers[] = {"Content-Type: application/json", NULL};
    struct outcome outcome = {-1, answer, answer_bytes, false};
    struct pd_docker_address address;
    pd_autofree char *url = NULL;
    struct pd_http *http;
    uv_loop_t loop;

    if (pd_docker_address_parse(host, false, NULL, &address, NULL) < 0)
        return -1;
    uv_loop_init(&loop);
    http = pd_http_new(&loop);
    url = pd_asprintf("%s%s", address.base_url, path);
    if (pd_http_send(http,
                     &(struct pd_http_params){.method = method,
                                              .url = url,
                                              .unix_socket = address.socket_path,
                                              .headers = headers,
                                              .body = body,
                                              .body_len = body_len,
                                              .timeout_ms = 30000,
                                              .response_bytes_max = 16 << 20},
                     on_answer, &outcome, NULL, NULL) < 0 ||
        !pd_loop_until(&loop, &outcome.done, 31000))
        outcome.status = -1;
    pd_http_close(http, NULL, NULL);
    if (!pd_loop_finish(&loop, 5000))
        abort();
    pd_docker_address_fini(&address);
    return outcome.status;
}

int pd_test_engine_call(const char *method, const char *path, const char *body, char *answer,
                        size_t answer_bytes)
{
    return pd_test_engine_call_at(pd_test_docker_host(), method, path, body,
                                  body ? strlen(body) : 0, answer, answer_bytes);
}

struct pd_pool_spec *pd_test_spec(const char *name, enum pd_isolation isolation)
{
    struct pd_pool_spec *spec = PD_NEW(struct pd_pool_spec);

    pd_strcpy(spec->name, sizeof spec->name, name);
    pd_strcpy(spec->template_hash, sizeof spec->template_hash, "0123456789abcdef");
    spec->refs = 1;
    spec->image = pd_strdup(pd_test_image());
    spec->runtime = pd_strdup("");
    spec->isolation = isolation;
    spec->network = PD_NETWORK_NONE;
    spec->resources.cpu_milli = 1000;
    spec->resources.memory_bytes = 64 << 20;
    spec->resources.pids = 64;
    spec->resources.disk_bytes = 16 << 20;
    return spec;
}
