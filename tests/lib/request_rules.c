#include "tests/lib/request_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/asset.h"
#include "common/mem.h"
#include "common/yaml.h"

#define POOL(name, spec)                                                                           \
    "---\napiVersion: paddock.dev/v1\nkind: SandboxPool\nmetadata: {name: " name                   \
    "}\n"                                                                                          \
    "spec: {image: i, " spec "}\n"

static const char pools[] =
    POOL("any", "minSize: 1") POOL("both", "languages: [python, javascript]")
        POOL("default", "languages: [python, bash]") POOL("node", "languages: [javascript]")
            POOL("small", "languages: [python], run: {maxCode: 1Ki, maxFiles: 2Ki}");

static void check(int rc, const struct pd_err *err)
{
    if (rc == 0)
        return;
    fprintf(stderr, "request_rules: %s\n", err->msg);
    abort();
}

static void put_pools(struct pd_store *store)
{
    struct pd_schema *schema = NULL;
    struct pd_node *list = NULL;
    struct pd_err err = {.msg = ""};

    check(pd_pool_schema_new(&schema, &err), &err);
    check(pd_yaml_parse_all(pools, strlen(pools), &list, &err), &err);
    for (size_t i = 0; i < pd_node_count(list); i++) {
        struct pd_problems problems = {.count = 0};
        struct pd_pool_spec *spec = NULL;
        if (pd_pool_spec_parse(schema, list->list.items[i], PD_PROVIDER_DOCKER, &spec, &problems) <
            0)
            check(pd_problems_err(&problems, &err), &err);
        check(pd_store_pool_put(store, spec, "test", &err), &err);
        pd_pool_spec_unref(spec);
    }
    pd_node_free(list);
    pd_schema_free(schema);
}

struct request_rules *request_rules_new_empty(void)
{
    struct request_rules *rules = PD_NEW(struct request_rules);
    struct pd_asset schema = pd_asset_find("api/schemas/execute.yaml");
    struct pd_asset languages = pd_asset_find("conf/languages.yaml");
    struct pd_problems problems = {.count = 0};
    struct pd_node *node = NULL;
    struct pd_err err = {.msg = ""};

    uv_loop_init(&rules->loop);
    check(pd_yaml_parse((const char *)schema.data, schema.len, &node, &err), &err);
    check(pd_schema_new(node, &rules->schema, &err), &err);
    pd_node_free(node);
    if (pd_languages_parse((const char *)languages.data, languages.len, &rules->languages,
                           &problems) < 0)
        check(pd_problems_err(&problems, &err), &err);
    rules->rules = (struct pd_request_rules){
        .schema = rules->schema,
        .languages = rules->languages,
        .store = pd_store_new(&rules->loop, NULL),
    };
    return rules;
}

struct request_rules *request_rules_new(void)
{
    struct request_rules *rules = request_rules_new_empty();

    put_pools(rules->rules.store);
    return rules;
}

static void on_store_closed(void *arg)
{
    (void)arg;
}

void request_rules_free(struct request_rules *rules)
{
    pd_store_close(rules->rules.store, on_store_closed, NULL);
    uv_run(&rules->loop, UV_RUN_DEFAULT);
    uv_loop_close(&rules->loop);
    pd_schema_free(rules->schema);
    pd_languages_free(rules->languages);
    free(rules);
}
