#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/redis_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pd_autofree char *text = pd_strndup((const char *)data, size);
    struct pd_redis_url url, again;
    struct pd_err err;

    if (pd_redis_url_parse(text, &url, &err) < 0) {
        assert(err.kind == PD_INVALID && err.msg[0]);
        return 0;
    }
    assert(!url.socket_path != !url.host);
    assert(!url.user || url.password.len > 0);
    /* What is shown has neither user nor password, and means the same place. */
    assert(pd_redis_url_parse(url.shown, &again, &err) == 0);
    assert(!again.user && again.password.len == 0);
    assert(again.db == url.db && again.tls == url.tls && again.port == url.port);
    assert(strcmp(again.shown, url.shown) == 0);
    pd_redis_url_fini(&again);
    again = pd_redis_url_copy(&url);
    assert(strcmp(again.shown, url.shown) == 0 && again.password.len == url.password.len);
    pd_redis_url_fini(&again);
    pd_redis_url_fini(&url);
    return 0;
}
