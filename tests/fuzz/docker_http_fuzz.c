#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "controller/docker_http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pd_docker_head head = {0}, again;
    struct pd_err err;
    int rc = pd_docker_head_parse((const char *)data, size, &head, &err);

    assert(rc == 0 || rc == PD_INVALID || rc == PD_LIMIT);
    if (rc == 0 && head.len > 0) {
        assert(head.len <= size && head.status >= 100 && head.status <= 599);
        /* The head alone says the same, and nothing shorter is one. */
        assert(pd_docker_head_parse((const char *)data, head.len, &again, &err) == 0);
        assert(again.len == head.len && again.status == head.status);
        assert(pd_docker_head_parse((const char *)data, head.len - 1, &again, &err) == 0);
        assert(again.len == 0);
    }
    return 0;
}
