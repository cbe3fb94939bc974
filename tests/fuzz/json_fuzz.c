/* Any bytes as JSON: refused, or written back to an equal tree. */
#include <assert.h>
#include <stdint.h>

#include "common/json.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pd_autonode struct pd_node *node = NULL, *again = NULL;
    struct pd_buf text pd_autobuf;
    struct pd_err err;
    int rc;

    pd_buf_init(&text, 16 << 20);
    if (pd_json_parse((const char *)data, size, &node, &err) < 0)
        return 0;
    rc = pd_json_format(node, &text, &err);
    assert(rc == 0);
    rc = pd_json_parse(text.data, text.len, &again, &err);
    assert(rc == 0 && pd_node_equal(node, again));
    return 0;
}
