#include "api/catalogue.h"

#include <string.h>

#include "api/context.h"
#include "api/server.h"
#include "common/json.h"

#define BODY_BYTES_MAX (1024u * 1024)

/* What the pool's sandboxes said of it; "" when they have not. */
static const char *version_in(const struct pd_pool *pool, const char *language)
{
    for (size_t i = 0; i < pool->hello.n_languages; i++) {
        if (strcmp(pool->hello.languages[i].name, language) == 0)
            return pool->hello.languages[i].version;
    }
    return "";
}

/* One language, merged over all pools; NULL when none has it. */
static struct pd_node *language_node(const struct pd_api_context *api,
                                     const struct pd_language *language)
{
    struct pd_node *pools = pd_node_list_new();
    struct pd_node *node;
    struct pd_pool *pool;
    const char *version = "";

    for (size_t i = 0; (pool = pd_store_pool_at(api->store, i)); i++) {
        if (pool->deleting || pd_pool_has_language(pool, language->name) == PD_HAS_NOT)
            continue;
        pd_node_add(pools, pd_node_string_new(pool->spec->name));
        if (!*version)
            version = version_in(pool, language->name);
    }
    if (pd_node_count(pools) == 0) {
        pd_node_free(pools);
        return NULL;
    }
    node = pd_node_map_new();
    pd_node_set_string(node, "name", language->name);
    pd_node_set(node, "aliases", pd_strings_node(&language->aliases));
    pd_node_set_string(node, "version", version);
    pd_node_set(node, "pools", pools);
    return node;
}

static struct pd_node *pool_node(const struct pd_api_context *api, const struct pd_pool *pool)
{
    struct pd_node *languages = pd_node_list_new();
    struct pd_node *node = pd_node_map_new();

    for (size_t i = 0; i < api->languages->count; i++) {
        const char *name = api->languages->items[i].name;
        struct pd_node *item;
        if (pd_pool_has_language(pool, name) == PD_HAS_NOT)
            continue;
        item = pd_node_map_new();
        pd_node_set_string(item, "name", name);
        pd_node_set_string(item, "version", version_in(pool, name));
        pd_node_add(languages, item);
    }
    pd_node_set_string(node, "name", pool->spec->name);
    pd_node_set(node, "languages", languages);
    return node;
}

void pd_catalogue_handle(void *arg, struct pd_exchange *exchange)
{
    const struct pd_api_context *api = arg;
    pd_autonode struct pd_node *root = pd_node_map_new();
    struct pd_node *languages = pd_node_set(root, "languages", pd_node_list_new());
    struct pd_node *pools = pd_node_set(root, "pools", pd_node_list_new());
    struct pd_pool *pool;
    struct pd_buf body;

    for (size_t i = 0; i < api->languages->count; i++) {
        struct pd_node *node = language_node(api, &api->languages->items[i]);
        if (node)
            pd_node_add(languages, node);
    }
    for (size_t i = 0; (pool = pd_store_pool_at(api->store, i)); i++) {
        if (!pool->deleting)
            pd_node_add(pools, pool_node(api, pool));
    }
    pd_buf_init(&body, BODY_BYTES_MAX);
    if (pd_json_format(root, &body, NULL) < 0) {
        pd_buf_fini(&body);
        pd_exchange_problem(exchange, &(struct pd_problem_details){
                                          .status = 500, .detail = "too many pools to list"});
        return;
    }
    pd_exchange_reply(exchange, 200, "application/json", NULL, &body);
}
