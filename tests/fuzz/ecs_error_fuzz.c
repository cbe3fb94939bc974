/* ECS's error answers: a status, then headers and a body parted by a NUL. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/mem.h"
#include "controller/ecs_error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pd_autofree char *text = NULL;
    struct pd_http_response response;
    struct pd_ecs_failure failure;
    struct pd_err err;
    size_t head;

    if (size < 2)
        return 0;
    text = pd_strndup((const char *)data + 1, size - 1);
    head = strlen(text);
    response = (struct pd_http_response){
        .status = 400 + data[0] % 200,
        .headers = text,
        .body = head + 1 < size ? text + head + 1 : "",
        .body_len = head + 2 < size ? size - head - 2 : 0,
    };
    if (pd_ecs_error_read("RunTask", &response, &failure, &err) >= 0 || err.kind >= 0)
        __builtin_trap();
    return 0;
}
