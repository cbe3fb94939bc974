/* Any bytes as the leader's record of a pool: refused with a reason, or one whose own
 * text means the same. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "cli/declared_record.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct pd_schema *schema, const struct pd_declared_record *record)
{
    struct pd_pool pool = {.spec = record->spec, .generation = record->identity.generation};
    struct pd_declared_record again;
    struct pd_buf text pd_autobuf;
    struct pd_err err;
    int rc;

    memcpy(pool.uid, record->identity.uid, sizeof pool.uid);
    memcpy(pool.source, record->source, sizeof pool.source);
    memcpy(pool.source_error, record->source_error, sizeof pool.source_error);
    pool.created_wall_ms = record->identity.created_wall_ms;
    pool.deletion_wall_ms = record->identity.deletion_wall_ms;
    pd_buf_init(&text, 64 << 20);
    rc = pd_declared_record_format(&pool, &text, &err);
    assert(rc == 0);
    if (text.len > PD_DECLARED_BYTES_MAX)
        return;
    rc = pd_declared_record_parse(schema, PD_PROVIDER_ECS, record->spec->name, text.data, text.len,
                                  &again, &err);
    assert(rc == 0);
    assert(pd_node_equal(again.spec->node, record->spec->node));
    assert(again.identity.generation == record->identity.generation);
    pd_declared_record_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pd_schema *schema; /* compiled once, for speed */
    struct pd_declared_record record;
    struct pd_err err;
    int rc = schema ? 0 : pd_pool_schema_new(&schema, NULL);

    assert(rc == 0);
    if (pd_declared_record_parse(schema, PD_PROVIDER_DOCKER, "python", (const char *)data, size,
                                 &record, &err) < 0) {
        assert(err.msg[0]);
        return 0;
    }
    check_again(schema, &record);
    pd_declared_record_fini(&record);
    return 0;
}
