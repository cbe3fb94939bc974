/* Bodies of POST /execute. What is accepted must keep what request.h promises. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "api/request.h"
#include "tests/lib/request_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_path(const char *path)
{
    assert(*path && *path != '/' && strlen(path) <= 255);
    assert(strcmp(path, "..") != 0 && strncmp(path, "../", 3) != 0);
    assert(!strstr(path, "/../") && !strstr(path, "//"));
}

static void check_request(const struct pd_request *request)
{
    const struct pd_run_request *run = &request->run;

    assert(run->timeout_ms >= 1 && run->timeout_ms <= 300000);
    assert(run->code_len >= 1 && strlen(run->code) == run->code_len);
    for (size_t i = 0; i < run->env.count; i++)
        assert(strchr(run->env.items[i], '=') > run->env.items[i]);
    for (size_t i = 0; i < run->n_files; i++)
        check_path(run->files[i].path);
    for (size_t i = 0; i < run->artifacts.count; i++)
        check_path(run->artifacts.items[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct request_rules *rules; /* made once: a fuzzer has no end to free it at */
    struct pd_request *request = NULL;
    struct pd_refusal refusal;

    if (!rules)
        rules = request_rules_new();
    if (pd_request_parse(&rules->rules, (const char *)data, size, &request, &refusal) < 0) {
        assert(refusal.status == 400 || refusal.status == 413 || refusal.status == 422);
        assert(*refusal.detail);
        return 0;
    }
    check_request(request);
    pd_request_free(request);
    return 0;
}
