#include "api/reference.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/context.h"
#include "api/route.h"
#include "api/server.h"
#include "common/asset.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/yaml.h"

#define DOCUMENT "api/reference/openapi.yaml"
#define EXECUTE_SCHEMA "api/schemas/execute.yaml"
#define DOCUMENT_BYTES_MAX (1024u * 1024)

/* Scripts and styles are our own and nobody else's. */
#define POLICY                                                                                     \
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "           \
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"          \
    "Referrer-Policy: no-referrer\r\n"

struct pd_reference {
    struct pd_buf json;
};

/* ---- the document ---- */

/* Our schemas say exclusiveMinimum: true beside minimum, as CRDs do; OpenAPI 3.1 is
 * JSON Schema 2020-12, where the bound itself is exclusive. */
static void modernize(struct pd_node *node)
{
    const struct pd_node *exclusive, *minimum;

    for (size_t i = 0; node->kind == PD_NODE_LIST && i < node->list.count; i++)
        modernize(node->list.items[i]);
    if (node->kind != PD_NODE_MAP)
        return;
    for (size_t i = 0; i < node->map.count; i++)
        modernize(node->map.members[i].value);
    exclusive = pd_node_get(node, "exclusiveMinimum");
    minimum = pd_node_get(node, "minimum");
    if (!exclusive || exclusive->kind != PD_NODE_BOOL || !minimum)
        return;
    pd_node_set_number(node, "exclusiveMinimum", pd_node_number(minimum, 0));
    pd_node_remove(node, "minimum");
}

/* What is built in is our own: that it is whole is asserted. */
static struct pd_node *asset(const char *name)
{
    struct pd_node *node = NULL;
    int rc = pd_yaml_parse_asset(name, &node, NULL);

    assert(rc == 0);
    return node;
}

static struct pd_node *compose(void)
{
    struct pd_node *document = asset(DOCUMENT);
    struct pd_node *execute = asset(EXECUTE_SCHEMA);

    modernize(execute);
    pd_node_set_bool(execute, "additionalProperties", false);
    pd_node_set(pd_node_at(document, "components", "schemas", NULL), "ExecuteRequest", execute);
    pd_node_set_string(pd_node_get(document, "info"), "version", PD_VERSION);
    return document;
}

struct pd_reference *pd_reference_new(void)
{
    pd_autonode struct pd_node *document = compose();
    struct pd_reference *reference = PD_NEW(struct pd_reference);
    int rc;

    pd_buf_init(&reference->json, DOCUMENT_BYTES_MAX);
    rc = pd_json_format(document, &reference->json, NULL);
    assert(rc == 0);
    return reference;
}

void pd_reference_free(struct pd_reference *reference)
{
    if (!reference)
        return;
    pd_buf_fini(&reference->json);
    free(reference);
}

/* ---- answers ---- */

static void reply(struct pd_exchange *exchange, const char *type, const void *data, size_t len)
{
    struct pd_buf body;

    pd_buf_init(&body, DOCUMENT_BYTES_MAX);
    if (pd_buf_add(&body, data, len, NULL) < 0)
        pd_buf_clear(&body);
    pd_exchange_reply(exchange, 200, type, POLICY, &body);
}

static void reply_asset(struct pd_exchange *exchange, const char *name, const char *type)
{
    struct pd_asset asset = pd_asset_find(name);

    reply(exchange, type, asset.data, asset.name ? asset.len : 0);
}

void pd_openapi_handle(void *arg, struct pd_exchange *exchange)
{
    const struct pd_api_context *api = arg;

    reply(exchange, "application/json", api->reference->json.data, api->reference->json.len);
}

void pd_asyncapi_handle(void *arg, struct pd_exchange *exchange)
{
    (void)arg;
    reply_asset(exchange, "api/reference/asyncapi.yaml", "application/yaml"); /* RFC 9512 */
}

void pd_docs_handle(void *arg, struct pd_exchange *exchange)
{
    (void)arg;
    reply_asset(exchange, "api/reference/docs.html", "text/html; charset=utf-8");
}

void pd_docs_file_handle(void *arg, struct pd_exchange *exchange)
{
    char name[PD_SEGMENT_BYTES];

    (void)arg;
    pd_route_segment("/docs/{}", pd_exchange_path(exchange), name);
    if (strcmp(name, "reference.js") == 0)
        reply_asset(exchange, "api/reference/reference.js", "text/javascript; charset=utf-8");
    else if (strcmp(name, "reference.css") == 0)
        reply_asset(exchange, "api/reference/reference.css", "text/css; charset=utf-8");
    else
        pd_exchange_problem(exchange, &(struct pd_problem_details){
                                          .status = 404, .detail = "there is nothing here"});
}
