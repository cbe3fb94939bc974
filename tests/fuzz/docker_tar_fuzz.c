#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "controller/docker_tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *tar = (const char *)data;
    struct pd_tar_entry entry;
    size_t offset = 0, before = 0;

    while (pd_tar_next(tar, size, &offset, &entry, NULL) > 0) {
        assert(offset > before && offset <= size);
        assert(entry.data >= tar && entry.len <= size - (size_t)(entry.data - tar));
        before = offset;
    }
    return 0;
}
