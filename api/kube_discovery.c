#include "api/kube_discovery.h"

#include <string.h>

#include "common/mem.h"

/* The release whose conventions these answers follow. */
#define KUBERNETES_MAJOR "1"
#define KUBERNETES_MINOR "31"

static struct pd_node *document(const char *kind, const char *api_version)
{
    struct pd_node *node = pd_node_map_new();

    pd_node_set_string(node, "kind", kind);
    if (api_version)
        pd_node_set_string(node, "apiVersion", api_version);
    return node;
}

static struct pd_node *list_of(const char *text)
{
    struct pd_node *list = pd_node_list_new();

    pd_node_add(list, pd_node_string_new(text));
    return list;
}

static struct pd_node *version(const struct pd_kube_kinds *kinds)
{
    struct pd_node *node = pd_node_map_new();

    (void)kinds;
    pd_node_set_string(node, "major", KUBERNETES_MAJOR);
    pd_node_set_string(node, "minor", KUBERNETES_MINOR);
    pd_node_set_string(node, "gitVersion",
                       "v" KUBERNETES_MAJOR "." KUBERNETES_MINOR ".0+paddock-" PD_VERSION);
    pd_node_set_string(node, "gitCommit", "");
    pd_node_set_string(node, "gitTreeState", "");
    pd_node_set_string(node, "buildDate", "1970-01-01T00:00:00Z");
    pd_node_set_string(node, "goVersion", "");
    pd_node_set_string(node, "compiler", "");
    pd_node_set_string(node, "platform", "linux");
    return node;
}

static struct pd_node *core_versions(const struct pd_kube_kinds *kinds)
{
    struct pd_node *node = document("APIVersions", NULL);

    (void)kinds;
    pd_node_set(node, "versions", list_of("v1"));
    pd_node_set(node, "serverAddressByClientCIDRs", pd_node_list_new());
    return node;
}

static struct pd_node *group_version(const struct pd_kube_kind *kind)
{
    struct pd_node *node = pd_node_map_new();

    pd_node_set_string(node, "groupVersion", kind->api_version);
    pd_node_set_string(node, "version", kind->version);
    return node;
}

static void describe_group(struct pd_node *node, const struct pd_kube_kind *kind)
{
    struct pd_node *versions = pd_node_list_new();

    pd_node_add(versions, group_version(kind));
    pd_node_set_string(node, "name", kind->group);
    pd_node_set(node, "versions", versions);
    pd_node_set(node, "preferredVersion", group_version(kind));
}

static struct pd_node *group(const struct pd_kube_kinds *kinds)
{
    struct pd_node *node = document("APIGroup", "v1");

    describe_group(node, &kinds->list[PD_KUBE_POOL]);
    return node;
}

static struct pd_node *groups(const struct pd_kube_kinds *kinds)
{
    struct pd_node *node = document("APIGroupList", "v1"), *list = pd_node_list_new(),
                   *ours = pd_node_map_new();

    describe_group(ours, &kinds->list[PD_KUBE_POOL]);
    pd_node_add(list, ours);
    pd_node_set(node, "groups", list);
    return node;
}

/* ---- resources ---- */

static struct pd_node *verbs(const char *const *names)
{
    struct pd_node *list = pd_node_list_new();

    for (; *names; names++)
        pd_node_add(list, pd_node_string_new(*names));
    return list;
}

static struct pd_node *resource(const struct pd_kube_kind *kind)
{
    static const char *const all[] = {"create", "delete", "get",   "list",
                                      "patch",  "update", "watch", NULL};
    static const char *const reading[] = {"get", "list", "watch", NULL};
    static const char *const fixed[] = {"get", "list", NULL};
    struct pd_node *node = pd_node_map_new();

    pd_node_set_string(node, "name", kind->plural);
    pd_node_set_string(node, "singularName", kind->singular);
    pd_node_set_bool(node, "namespaced", kind->namespaced);
    pd_node_set_string(node, "kind", kind->kind);
    pd_node_set(node, "verbs",
                verbs(kind->writable                   ? all
                      : kind->id == PD_KUBE_NAMESPACES ? fixed
                                                       : reading));
    if (kind->short_names)
        pd_node_set(node, "shortNames", pd_node_copy(kind->short_names));
    if (kind->categories)
        pd_node_set(node, "categories", pd_node_copy(kind->categories));
    return node;
}

static struct pd_node *subresource(const struct pd_kube_kind *kind, const char *name)
{
    static const char *const reading[] = {"get", NULL};
    static const char *const scaling[] = {"get", "patch", "update", NULL};
    struct pd_node *node = pd_node_map_new();
    pd_autofree char *full = pd_asprintf("%s/%s", kind->plural, name);
    bool scale = strcmp(name, "scale") == 0;

    pd_node_set_string(node, "name", full);
    pd_node_set_string(node, "singularName", "");
    pd_node_set_bool(node, "namespaced", true);
    if (scale) {
        pd_node_set_string(node, "group", "autoscaling");
        pd_node_set_string(node, "version", "v1");
    }
    pd_node_set_string(node, "kind", scale ? "Scale" : kind->kind);
    pd_node_set(node, "verbs", verbs(scale ? scaling : reading));
    return node;
}

static struct pd_node *resources(const struct pd_kube_kinds *kinds, const char *group_name)
{
    struct pd_node *node = document("APIResourceList", "v1"), *list = pd_node_list_new();

    for (size_t i = 0; i < PD_KUBE_KINDS; i++) {
        const struct pd_kube_kind *kind = &kinds->list[i];
        if (strcmp(kind->group, group_name) != 0)
            continue;
        pd_node_set_string(node, "groupVersion", kind->api_version);
        pd_node_add(list, resource(kind));
        if (kind->scalable) {
            pd_node_add(list, subresource(kind, "status"));
            pd_node_add(list, subresource(kind, "scale"));
        }
    }
    pd_node_set(node, "resources", list);
    return node;
}

static struct pd_node *core_resources(const struct pd_kube_kinds *kinds)
{
    return resources(kinds, "");
}

static struct pd_node *own_resources(const struct pd_kube_kinds *kinds)
{
    return resources(kinds, PD_KUBE_GROUP);
}

struct pd_node *pd_kube_discovery(const struct pd_kube_kinds *kinds, const char *path)
{
    static const struct {
        const char *path;
        struct pd_node *(*make)(const struct pd_kube_kinds *kinds);
    } documents[] = {
        {"/version", version},
        {"/api", core_versions},
        {"/api/v1", core_resources},
        {"/apis", groups},
        {"/apis/" PD_KUBE_GROUP, group},
        {"/apis/" PD_KUBE_GROUP "/v1", own_resources},
        {"/openapi/v3", pd_kube_openapi_index},
        {"/openapi/v3/apis/" PD_KUBE_GROUP "/v1", pd_kube_openapi},
    };
    size_t len = strlen(path);

    if (len > 1 && path[len - 1] == '/')
        len--;
    for (size_t i = 0; i < PD_COUNT(documents); i++) {
        if (strlen(documents[i].path) == len && strncmp(documents[i].path, path, len) == 0)
            return documents[i].make(kinds);
    }
    return NULL;
}
