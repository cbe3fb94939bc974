/* Any bytes as a field of the hash of pools in Redis: refused with a reason, or a pool of
 * the field's name whose own canonical form means the same. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "cli/source_redis.h"
#include "common/json.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct pd_schema *schema, const struct pd_pool_spec *spec)
{
    struct pd_pool_spec *again = NULL;
    struct pd_buf text pd_autobuf;
    struct pd_err err;
    int rc;

    pd_buf_init(&text, 64 << 20);
    rc = pd_json_format(spec->node, &text, &err);
    assert(rc == 0);
    rc = pd_source_redis_parse(schema, spec->name, text.data, text.len, PD_PROVIDER_ECS, &again,
                               &err);
    if (rc < 0) /* longer than a field may be, by its defaults and escapes */
        return;
    assert(pd_node_equal(again->node, spec->node));
    pd_pool_spec_unref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pd_schema *schema; /* compiled once, for speed */
    struct pd_pool_spec *spec = NULL;
    struct pd_err err;
    int rc = schema ? 0 : pd_pool_schema_new(&schema, NULL);

    assert(rc == 0);
    if (pd_source_redis_parse(schema, "python", (const char *)data, size, PD_PROVIDER_DOCKER, &spec,
                              &err) < 0) {
        assert(err.msg[0]);
        return 0;
    }
    assert(strcmp(spec->name, "python") == 0);
    check_again(schema, spec);
    pd_pool_spec_unref(spec);
    return 0;
}
