/* Any bytes as a field of the objects that Redis has, and its value, parted by a NUL:
 * refused with a reason, or an entry whose own text means the same, and whose pool, if
 * it is one, is a good one or is refused. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "api/kube_entry.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct pd_kube_entry *entry)
{
    char field[PD_KUBE_FIELD_BYTES];
    struct pd_kube_entry again;
    struct pd_buf text pd_autobuf;
    struct pd_err err;
    int rc;

    pd_buf_init(&text, 64 << 20);
    rc = pd_kube_entry_format(entry, &text, &err);
    assert(rc == 0);
    if (text.len > PD_KUBE_ENTRY_BYTES_MAX)
        return;
    pd_kube_entry_field(entry->kind, entry->name, field);
    rc = pd_kube_entry_parse(field, strlen(field), text.data, text.len, &again, &err);
    assert(rc == 0);
    assert(again.kind == entry->kind && strcmp(again.name, entry->name) == 0);
    assert(pd_node_equal(again.object, entry->object));
    assert(strcmp(again.pool, entry->pool) == 0 && strcmp(again.owner, entry->owner) == 0);
    if (entry->kind == PD_ENTRY_API || entry->kind == PD_ENTRY_POOL)
        assert(memcmp(&again.identity, &entry->identity, sizeof again.identity) == 0);
    pd_kube_entry_fini(&again);
}

static void check_pool(const struct pd_schema *schema, const struct pd_kube_entry *entry)
{
    struct pd_pool_spec *spec;
    struct pd_err err;

    if (pd_kube_entry_spec(entry, schema, PD_PROVIDER_DOCKER, &spec, &err) < 0) {
        assert(err.msg[0]);
        return;
    }
    assert(strcmp(spec->name, entry->name) == 0);
    pd_pool_spec_unref(spec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pd_schema *schema; /* compiled once, for speed */
    const char *bytes = (const char *)data;
    const char *end = size > 0 ? memchr(data, '\0', size) : NULL;
    struct pd_kube_entry entry;
    struct pd_err err;
    int rc = schema ? 0 : pd_pool_schema_new(&schema, NULL);

    assert(rc == 0);
    if (!end)
        return 0;
    if (pd_kube_entry_parse(bytes, (size_t)(end - bytes), end + 1, size - (size_t)(end - bytes) - 1,
                            &entry, &err) < 0) {
        assert(err.msg[0]);
        return 0;
    }
    check_again(&entry);
    if (entry.kind == PD_ENTRY_API || entry.kind == PD_ENTRY_POOL)
        check_pool(schema, &entry);
    pd_kube_entry_fini(&entry);
    return 0;
}
