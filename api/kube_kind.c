#include "api/kube_kind.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/yaml.h"

static int read_kind(struct pd_node *definition, enum pd_kube_kind_id id, struct pd_kube_kind *kind,
                     struct pd_err *err)
{
    const struct pd_node *spec = pd_node_get(definition, "spec");
    const struct pd_node *names = pd_node_get(spec, "names");
    const struct pd_node *versions = pd_node_get(spec, "versions");
    const struct pd_node *version;

    kind->definition = definition;
    if (!names || pd_node_count(versions) != 1)
        return pd_err_set(err, PD_INTERNAL, "the definition of kind %d is not right", (int)id);
    version = versions->list.items[0];
    kind->id = id;
    kind->group = pd_node_text(pd_node_get(spec, "group"), "");
    kind->version = pd_node_text(pd_node_get(version, "name"), "");
    kind->owned_api_version =
        *kind->group ? pd_asprintf("%s/%s", kind->group, kind->version) : pd_strdup(kind->version);
    kind->api_version = kind->owned_api_version;
    kind->kind = pd_node_text(pd_node_get(names, "kind"), "");
    kind->list_kind = pd_node_text(pd_node_get(names, "listKind"), "");
    kind->plural = pd_node_text(pd_node_get(names, "plural"), "");
    kind->singular = pd_node_text(pd_node_get(names, "singular"), "");
    kind->short_names = pd_node_get(names, "shortNames");
    kind->categories = pd_node_get(names, "categories");
    kind->columns = pd_node_get(version, "additionalPrinterColumns");
    kind->schema = pd_node_at(version, "schema", "openAPIV3Schema", NULL);
    kind->scalable = pd_node_at(version, "subresources", "scale", NULL) != NULL;
    kind->writable = id == PD_KUBE_POOL;
    kind->namespaced = strcmp(pd_node_text(pd_node_get(spec, "scope"), ""), "Namespaced") == 0;
    return 0;
}

static int read_crd(struct pd_kube_kinds *kinds, enum pd_kube_kind_id id, const char *asset,
                    struct pd_err *err)
{
    struct pd_node *crd;
    int rc = pd_yaml_parse_asset(asset, &crd, err);

    return rc < 0 ? rc : read_kind(crd, id, &kinds->list[id], err);
}

int pd_kube_kinds_load(struct pd_kube_kinds *ret_kinds, struct pd_err *err)
{
    struct pd_kube_kinds kinds = {.metadata = NULL};
    int rc = pd_yaml_parse_asset("conf/schemas/objectmeta.yaml", &kinds.metadata, err);

    if (rc == 0)
        rc = read_crd(&kinds, PD_KUBE_POOL, "crds/sandboxpool.yaml", err);
    if (rc == 0)
        rc = read_crd(&kinds, PD_KUBE_SANDBOX, "crds/sandbox.yaml", err);
    if (rc == 0)
        rc = read_crd(&kinds, PD_KUBE_EVENT, "api/schemas/kube_event.yaml", err);
    if (rc == 0)
        rc = read_crd(&kinds, PD_KUBE_NAMESPACES, "api/schemas/kube_namespace.yaml", err);
    if (rc < 0)
        pd_kube_kinds_fini(&kinds);
    else
        *ret_kinds = kinds;
    return rc;
}

void pd_kube_kinds_fini(struct pd_kube_kinds *kinds)
{
    for (size_t i = 0; i < PD_KUBE_KINDS; i++) {
        pd_node_free(kinds->list[i].definition);
        free(kinds->list[i].owned_api_version);
    }
    pd_node_free(kinds->metadata);
    *kinds = (struct pd_kube_kinds){.metadata = NULL};
}

const char *pd_kube_resource(const struct pd_kube_kind *kind,
                             char out[static PD_KUBE_RESOURCE_BYTES])
{
    snprintf(out, PD_KUBE_RESOURCE_BYTES, "%s%s%s", kind->plural, *kind->group ? "." : "",
             kind->group);
    return out;
}
