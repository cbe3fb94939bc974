/* Any bytes as YAML: refused, or written back to an equal tree. */
#include <assert.h>
#include <stdint.h>

#include "common/mem.h"
#include "common/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_all(const char *text, size_t len)
{
    pd_autonode struct pd_node *list = NULL;
    int rc = pd_yaml_parse_all(text, len, &list, NULL);

    assert(rc < 0 || list->kind == PD_NODE_LIST);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pd_autonode struct pd_node *node = NULL, *again = NULL;
    struct pd_buf text pd_autobuf;
    struct pd_err err;
    int rc;

    pd_buf_init(&text, 64 << 20);
    parse_all((const char *)data, size);
    if (pd_yaml_parse((const char *)data, size, &node, &err) < 0)
        return 0;
    rc = pd_yaml_format(node, &text, &err);
    assert(rc == 0);
    if (text.len > PD_YAML_BYTES_MAX) /* aliases, written out */
        return 0;
    rc = pd_yaml_parse(text.data, text.len, &again, &err);
    assert(rc == 0 && pd_node_equal(node, again));
    return 0;
}
