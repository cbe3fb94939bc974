/* Any bytes as a pool and as a catalogue of languages: refused with a reason, or
 * the canonical form means the same. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "common/languages.h"
#include "common/mem.h"
#include "common/pool.h"
#include "common/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_canonical(const struct pd_schema *schema, const struct pd_pool_spec *spec)
{
    pd_autonode struct pd_node *node = NULL;
    struct pd_problems problems = {0};
    struct pd_pool_spec *again = NULL;
    struct pd_buf text pd_autobuf;
    int rc;

    pd_buf_init(&text, 64 << 20);
    rc = pd_yaml_format(spec->node, &text, NULL);
    assert(rc == 0);
    rc = pd_yaml_parse(text.data, text.len, &node, NULL);
    assert(rc == 0);
    /* the other default: the canonical form depends on none */
    rc = pd_pool_spec_parse(schema, node, PD_PROVIDER_ECS, &again, &problems);
    assert(rc == 0 && pd_node_equal(spec->node, again->node));
    assert(strcmp(spec->template_hash, again->template_hash) == 0);
    pd_pool_spec_unref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pd_schema *schema; /* compiled once, for speed */
    pd_autonode struct pd_node *node = NULL;
    struct pd_problems problems = {0}, more = {0};
    struct pd_languages *languages = NULL;
    struct pd_pool_spec *spec = NULL;
    int rc = schema ? 0 : pd_pool_schema_new(&schema, NULL);

    assert(rc == 0);
    if (pd_yaml_parse((const char *)data, size, &node, NULL) < 0)
        return 0;
    rc = pd_pool_spec_parse(schema, node, PD_PROVIDER_DOCKER, &spec, &problems);
    assert((rc < 0) == (problems.count > 0));
    if (rc == 0)
        check_canonical(schema, spec);
    pd_pool_spec_unref(spec);
    rc = pd_languages_parse_node(node, &languages, &more);
    assert((rc < 0) == (more.count > 0));
    pd_languages_free(languages);
    return 0;
}
