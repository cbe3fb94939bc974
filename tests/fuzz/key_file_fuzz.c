#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "api/key_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A file of keys.d: whatever it says, the record is within its bounds. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pd_key_record record;
    struct pd_err err = {.kind = 0};

    if (pd_key_record_parse((const char *)data, size, &record, &err) < 0) {
        assert(err.kind < 0 && err.msg[0]);
        return 0;
    }
    assert(memchr(record.id, '\0', sizeof record.id));
    assert(memchr(record.name, '\0', sizeof record.name));
    assert((record.scopes & ~(unsigned)PD_SCOPE_ALL) == 0);
    assert(record.rate_runs >= 0 && record.rate_seconds >= 0);
    assert((record.rate_runs == 0) == (record.rate_seconds == 0));
    assert(record.concurrency >= 0);
    assert(record.share >= 1 && record.share <= PD_KEY_SHARE_MAX);
    return 0;
}
