/* OpenAPI v3 (spec.openapis.org/oas/v3.0.0) of the paddock.dev group, as kubectl
 * reads it: explain walks the schemas, and apply looks whether PATCH knows
 * fieldValidation before it leaves validation to the server. */
#include <stdio.h>
#include <string.h>

#include "api/kube_discovery.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"

#define META_NAME "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
#define PATH_BYTES 160

static struct pd_node *map_of(const char *key, struct pd_node *value)
{
    struct pd_node *map = pd_node_map_new();

    pd_node_set(map, key, value);
    return map;
}

static struct pd_node *text_map(const char *key, const char *text)
{
    return map_of(key, pd_node_string_new(text));
}

static struct pd_node *kind_mark(const struct pd_kube_kind *kind)
{
    struct pd_node *mark = pd_node_map_new();

    pd_node_set_string(mark, "group", kind->group);
    pd_node_set_string(mark, "version", kind->version);
    pd_node_set_string(mark, "kind", kind->kind);
    return mark;
}

/* ---- schemas ---- */

/* The server's own rules tell a client nothing; everything else may. */
static void strip(struct pd_node *node)
{
    if (node->kind == PD_NODE_LIST) {
        for (size_t i = 0; i < node->list.count; i++)
            strip(node->list.items[i]);
    } else if (node->kind == PD_NODE_MAP) {
        pd_node_remove(node, "x-kubernetes-validations");
        pd_node_remove(node, "propertyNames");
        for (size_t i = 0; i < node->map.count; i++)
            strip(node->map.members[i].value);
    }
}

static void add_schema(struct pd_node *schemas, const struct pd_kube_kind *kind)
{
    pd_autofree char *name = pd_asprintf("dev.paddock.%s.%s", kind->version, kind->kind);
    struct pd_node *schema = pd_node_copy(kind->schema), *marks = pd_node_list_new(),
                   *refs = pd_node_list_new(), *metadata;

    strip(schema);
    pd_node_add(refs, text_map("$ref", "#/components/schemas/" META_NAME));
    metadata = map_of("allOf", refs);
    pd_node_set_string(metadata, "description", "Standard object metadata.");
    pd_node_set(pd_node_get(schema, "properties"), "metadata", metadata);
    pd_node_add(marks, kind_mark(kind));
    pd_node_set(schema, "x-kubernetes-group-version-kind", marks);
    pd_node_set(schemas, name, schema);
}

static struct pd_node *schemas(const struct pd_kube_kinds *kinds)
{
    struct pd_node *all = pd_node_map_new(), *metadata = pd_node_copy(kinds->metadata);

    for (size_t i = 0; i < PD_KUBE_KINDS; i++) {
        if (kinds->list[i].schema)
            add_schema(all, &kinds->list[i]);
    }
    strip(metadata);
    pd_node_set(all, META_NAME, metadata);
    return all;
}

/* ---- paths ---- */

static struct pd_node *parameter(const char *name, const char *in, const char *type)
{
    struct pd_node *node = pd_node_map_new();

    pd_node_set_string(node, "name", name);
    pd_node_set_string(node, "in", in);
    if (strcmp(in, "path") == 0)
        pd_node_set_bool(node, "required", true);
    pd_node_set(node, "schema", text_map("type", type));
    return node;
}

static struct pd_node *parameters(const char *action)
{
    static const char *const listing[] = {"labelSelector", "fieldSelector", "continue",
                                          "resourceVersion", NULL};
    static const char *const writing[] = {"dryRun", "fieldManager", "fieldValidation", NULL};
    struct pd_node *list = pd_node_list_new();
    bool lists = strcmp(action, "list") == 0;

    if (lists) {
        pd_node_add(list, parameter("limit", "query", "integer"));
        pd_node_add(list, parameter("watch", "query", "boolean"));
        pd_node_add(list, parameter("timeoutSeconds", "query", "integer"));
        pd_node_add(list, parameter("allowWatchBookmarks", "query", "boolean"));
    }
    if (strcmp(action, "patch") == 0)
        pd_node_add(list, parameter("force", "query", "boolean"));
    if (lists || strcmp(action, "get") != 0) {
        for (const char *const *name = lists ? listing : writing; *name; name++)
            pd_node_add(list, parameter(*name, "query", "string"));
    }
    return list;
}

static struct pd_node *content_of(const char *const *types, const char *name)
{
    struct pd_node *content = pd_node_map_new();
    pd_autofree char *ref = pd_asprintf("#/components/schemas/%s", name);

    for (; *types; types++)
        pd_node_set(content, *types, map_of("schema", text_map("$ref", ref)));
    return map_of("content", content);
}

static struct pd_node *operation(const struct pd_kube_kind *kind, const char *action)
{
    static const char *const json[] = {"application/json", NULL};
    static const char *const patches[] = {"application/merge-patch+json",
                                          "application/json-patch+json",
                                          "application/apply-patch+yaml", NULL};
    pd_autofree char *name = pd_asprintf("dev.paddock.%s.%s", kind->version, kind->kind);
    pd_autofree char *id = pd_asprintf("%s%s", action, kind->kind);
    struct pd_node *node = pd_node_map_new(), *answer;

    pd_node_set_string(node, "operationId", id);
    pd_node_set(node, "parameters", parameters(action));
    if (strcmp(action, "patch") == 0)
        pd_node_set(node, "requestBody", content_of(patches, name));
    else if (strcmp(action, "post") == 0 || strcmp(action, "put") == 0)
        pd_node_set(node, "requestBody", content_of(json, name));
    answer = content_of(json, name);
    pd_node_set_string(answer, "description", "OK");
    pd_node_set(node, "responses", map_of("200", answer));
    pd_node_set_string(node, "x-kubernetes-action", action);
    pd_node_set(node, "x-kubernetes-group-version-kind", kind_mark(kind));
    return node;
}

static void add_paths(struct pd_node *paths, const struct pd_kube_kind *kind)
{
    char path[PATH_BYTES];
    struct pd_node *collection = pd_node_map_new(), *item = pd_node_map_new();

    pd_node_set(collection, "get", operation(kind, "list"));
    pd_node_set(item, "get", operation(kind, "get"));
    if (kind->writable) {
        pd_node_set(collection, "post", operation(kind, "post"));
        pd_node_set(item, "put", operation(kind, "put"));
        pd_node_set(item, "patch", operation(kind, "patch"));
        pd_node_set(item, "delete", operation(kind, "delete"));
    }
    pd_node_set(collection, "parameters", pd_node_list_new());
    pd_node_add(pd_node_get(collection, "parameters"), parameter("namespace", "path", "string"));
    pd_node_set(item, "parameters", pd_node_copy(pd_node_get(collection, "parameters")));
    pd_node_add(pd_node_get(item, "parameters"), parameter("name", "path", "string"));
    snprintf(path, sizeof path, "/apis/%s/namespaces/{namespace}/%s", kind->api_version,
             kind->plural);
    pd_node_set(paths, path, collection);
    snprintf(path, sizeof path, "/apis/%s/namespaces/{namespace}/%s/{name}", kind->api_version,
             kind->plural);
    pd_node_set(paths, path, item);
}

struct pd_node *pd_kube_openapi(const struct pd_kube_kinds *kinds)
{
    struct pd_node *node = pd_node_map_new(), *info = pd_node_map_new(), *paths = pd_node_map_new();

    pd_node_set_string(node, "openapi", "3.0.0");
    pd_node_set_string(info, "title", "paddock");
    pd_node_set_string(info, "version", PD_VERSION);
    pd_node_set(node, "info", info);
    for (size_t i = 0; i < PD_KUBE_KINDS; i++) {
        if (kinds->list[i].schema)
            add_paths(paths, &kinds->list[i]);
    }
    pd_node_set(node, "paths", paths);
    pd_node_set(node, "components", map_of("schemas", schemas(kinds)));
    return node;
}

struct pd_node *pd_kube_openapi_index(const struct pd_kube_kinds *kinds)
{
    (void)kinds;
    /* Without a hash in the address clients keep no copy that grows old. */
    return map_of("paths",
                  map_of("apis/" PD_KUBE_GROUP "/v1",
                         text_map("serverRelativeURL", "/openapi/v3/apis/" PD_KUBE_GROUP "/v1")));
}
