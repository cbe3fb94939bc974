/* Answers that hand out keys: the first byte says which kind. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "controller/aws_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pd_aws_key key = {.expires_wall_ms = 0};
    pd_autofree char *text = NULL;
    char code[64];
    int rc;

    if (size == 0 || size > PD_AWS_ANSWER_BYTES_MAX)
        return 0;
    text = pd_strndup((const char *)data + 1, size - 1);
    if (data[0] == 's')
        rc = pd_aws_key_from_sts(text, size - 1, &key, NULL);
    else
        rc = pd_aws_key_from_json(text, size - 1, data[0] == 'p', &key, NULL);
    if (rc == 0 && (!key.id[0] || key.secret.len == 0 || strchr(key.id, '\n')))
        __builtin_trap();
    pd_aws_key_fini(&key);
    pd_aws_sts_code(text, code, sizeof code);
    pd_aws_time_parse(text);
    return 0;
}
