#include "tests/lib/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/yaml.h"

static struct pd_pool_spec *read_pool(const struct pd_node *document,
                                      enum pd_provider_kind provider)
{
    struct pd_problems problems = {.count = 0};
    struct pd_pool_spec *spec = NULL;
    struct pd_schema *schema = NULL;

    assert_int_equal(pd_pool_schema_new(&schema, NULL), 0);
    if (pd_pool_spec_parse(schema, document, provider, &spec, &problems) < 0)
        fail_msg("pool: %s: %s", problems.items[0].path, problems.items[0].text);
    pd_schema_free(schema);
    return spec;
}

struct pd_pool_spec *pd_test_pool(const char *manifest, enum pd_provider_kind provider)
{
    pd_autonode struct pd_node *document = NULL;

    assert_int_equal(pd_yaml_parse(manifest, strlen(manifest), &document, NULL), 0);
    return read_pool(document, provider);
}

void pd_test_put_pools(struct pd_store *store, const char *manifests)
{
    pd_autonode struct pd_node *list = NULL;

    assert_int_equal(pd_yaml_parse_all(manifests, strlen(manifests), &list, NULL), 0);
    for (size_t i = 0; i < pd_node_count(list); i++) {
        struct pd_pool_spec *spec = read_pool(list->list.items[i], PD_PROVIDER_DOCKER);
        assert_int_equal(pd_store_pool_put(store, spec, "test", NULL), 0);
        pd_pool_spec_unref(spec);
    }
}
