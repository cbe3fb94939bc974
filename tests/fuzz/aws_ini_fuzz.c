/* Shared AWS files are a person's text. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "controller/aws_ini.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pd_aws_ini ini;

    if (size > PD_AWS_INI_BYTES_MAX || pd_aws_ini_parse((const char *)data, size, &ini, NULL) < 0)
        return 0;
    for (size_t i = 0; i < ini.count; i++) {
        const struct pd_aws_ini_entry *entry = &ini.entries[i];
        if (!pd_aws_ini_has(&ini, entry->section) ||
            !pd_aws_ini_get(&ini, entry->section, entry->name))
            __builtin_trap();
    }
    pd_aws_ini_fini(&ini);
    return 0;
}
