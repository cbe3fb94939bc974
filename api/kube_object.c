#include "api/kube_object.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "api/kube_kind.h"
#include "common/mem.h"
#include "common/pool_status.h"
#include "common/time.h"

#define API_VERSION PD_KUBE_GROUP "/v1"
#define LABEL_POOL PD_KUBE_GROUP "/pool"
#define LABEL_TEMPLATE PD_KUBE_GROUP "/template-hash"
#define FINALIZER PD_KUBE_GROUP "/drain"

struct pd_node *pd_kube_time(int64_t wall_ms)
{
    char text[PD_RFC3339_BYTES];

    pd_wall_format(wall_ms, text);
    pd_strcpy(text + 19, sizeof text - 19, "Z"); /* instead of the fraction */
    return pd_node_string_new(text);
}

const char *pd_kube_version(uint64_t version, char out[static PD_KUBE_VERSION_BYTES])
{
    snprintf(out, PD_KUBE_VERSION_BYTES, "%llu", (unsigned long long)version);
    return out;
}

static struct pd_node *object(const char *kind, const char *api_version)
{
    struct pd_node *node = pd_node_map_new();

    pd_node_set_string(node, "apiVersion", api_version);
    pd_node_set_string(node, "kind", kind);
    return node;
}

static struct pd_node *metadata_of(const char *name, const char *uid, uint64_t version,
                                   int64_t created_wall_ms)
{
    char text[PD_KUBE_VERSION_BYTES];
    struct pd_node *metadata = pd_node_map_new();

    pd_node_set_string(metadata, "name", name);
    pd_node_set_string(metadata, "namespace", PD_KUBE_NAMESPACE);
    pd_node_set_string(metadata, "uid", uid);
    pd_node_set_string(metadata, "resourceVersion", pd_kube_version(version, text));
    pd_node_set(metadata, "creationTimestamp", pd_kube_time(created_wall_ms));
    return metadata;
}

/* ---- pools ---- */

static struct pd_node *pool_metadata(const struct pd_pool *pool,
                                     const struct pd_node *managed_fields)
{
    const struct pd_node *declared = pd_node_get(pool->spec->node, "metadata");
    const struct pd_node *labels = pd_node_get(declared, "labels");
    const struct pd_node *annotations = pd_node_get(declared, "annotations");
    struct pd_node *metadata =
        metadata_of(pool->spec->name, pool->uid, pool->resource_version, pool->created_wall_ms);
    struct pd_node *finalizers = pd_node_list_new();

    pd_node_set_int(metadata, "generation", pool->generation);
    if (pool->deletion_wall_ms) {
        pd_node_set(metadata, "deletionTimestamp", pd_kube_time(pool->deletion_wall_ms));
        pd_node_set_int(metadata, "deletionGracePeriodSeconds", 0);
    }
    pd_node_add(finalizers, pd_node_string_new(FINALIZER));
    pd_node_set(metadata, "finalizers", finalizers);
    if (pd_node_count(labels) > 0)
        pd_node_set(metadata, "labels", pd_node_copy(labels));
    if (pd_node_count(annotations) > 0)
        pd_node_set(metadata, "annotations", pd_node_copy(annotations));
    if (pd_node_count(managed_fields) > 0)
        pd_node_set(metadata, "managedFields", pd_node_copy(managed_fields));
    return metadata;
}

struct pd_node *pd_kube_pool_object(const struct pd_pool *pool,
                                    const struct pd_node *managed_fields)
{
    struct pd_node *node = object("SandboxPool", API_VERSION);

    pd_node_set(node, "metadata", pool_metadata(pool, managed_fields));
    pd_node_set(node, "spec", pd_node_copy(pd_node_get(pool->spec->node, "spec")));
    pd_node_set(node, "status", pd_pool_status_encode(pool));
    return node;
}

struct pd_node *pd_kube_scale_object(const struct pd_node *pool)
{
    static const char *const kept[] = {"name", "namespace", "uid", "resourceVersion",
                                       "creationTimestamp"};
    const struct pd_node *from = pd_node_get(pool, "metadata");
    struct pd_node *node = object("Scale", "autoscaling/v1"), *metadata = pd_node_map_new();
    struct pd_node *spec = pd_node_map_new(), *status = pd_node_map_new();
    pd_autofree char *selector =
        pd_asprintf(LABEL_POOL "=%s", pd_node_text(pd_node_get(from, "name"), ""));

    for (size_t i = 0; i < PD_COUNT(kept); i++)
        if (pd_node_get(from, kept[i]))
            pd_node_set(metadata, kept[i], pd_node_copy(pd_node_get(from, kept[i])));
    pd_node_set(node, "metadata", metadata);
    pd_node_set_int(spec, "replicas", pd_node_int(pd_node_at(pool, "spec", "minSize", NULL), 0));
    pd_node_set(node, "spec", spec);
    pd_node_set_int(status, "replicas",
                    pd_node_int(pd_node_at(pool, "status", "replicas", NULL), 0));
    pd_node_set_string(status, "selector", selector);
    pd_node_set(node, "status", status);
    return node;
}

/* ---- sandboxes ---- */

/* "warm" is Warm to Kubernetes. */
static void set_phase(struct pd_node *status, const char *phase)
{
    char text[32];

    pd_strcpy(text, sizeof text, phase);
    text[0] = (char)toupper((unsigned char)text[0]);
    pd_node_set_string(status, "phase", text);
}

static struct pd_node *owner(const struct pd_pool *pool)
{
    struct pd_node *list = pd_node_list_new(), *node = object("SandboxPool", API_VERSION);

    pd_node_set_string(node, "name", pool->spec->name);
    pd_node_set_string(node, "uid", pool->uid);
    pd_node_set_bool(node, "controller", true);
    pd_node_add(list, node);
    return list;
}

static struct pd_node *sandbox_begin(const struct pd_pool *pool, const char *id, uint64_t version,
                                     int64_t created_wall_ms, const char *template_hash)
{
    char uid[PD_UID_BYTES];
    struct pd_node *node = object("Sandbox", API_VERSION), *spec = pd_node_map_new(),
                   *labels = pd_node_map_new();
    struct pd_node *metadata = metadata_of(id, pd_uid_of_name(id, uid), version, created_wall_ms);

    pd_node_set_string(labels, LABEL_POOL, pool->spec->name);
    pd_node_set_string(labels, LABEL_TEMPLATE, template_hash);
    pd_node_set(metadata, "labels", labels);
    pd_node_set(metadata, "ownerReferences", owner(pool));
    pd_node_set(node, "metadata", metadata);
    pd_node_set_string(spec, "pool", pool->spec->name);
    pd_node_set_string(spec, "templateHash", template_hash);
    pd_node_set(node, "spec", spec);
    return node;
}

struct pd_node *pd_kube_sandbox_object(const struct pd_pool *pool, const struct pd_sandbox *sandbox)
{
    struct pd_node *node = sandbox_begin(pool, sandbox->id, sandbox->resource_version,
                                         sandbox->created_wall_ms, sandbox->template_hash);
    struct pd_node *status = pd_node_map_new();
    int64_t since_wall_ms = pd_wall_ms() - pd_time_ms_between(sandbox->phase_since, pd_time_now());

    set_phase(status, pd_sandbox_phase_name(sandbox->phase));
    pd_node_set(status, "phaseSince", pd_kube_time(since_wall_ms));
    if (*sandbox->provider_id)
        pd_node_set_string(status, "providerID", sandbox->provider_id);
    pd_node_set_int(status, "runs", sandbox->runs);
    if (sandbox->phase == PD_SANDBOX_CLAIMED)
        pd_node_set(status, "claimedAt", pd_kube_time(since_wall_ms));
    if (*sandbox->key_id)
        pd_node_set_string(status, "keyID", sandbox->key_id);
    if (sandbox->recycle)
        pd_node_set_bool(status, "retiring", true);
    if (*sandbox->reason)
        pd_node_set_string(status, "reason", sandbox->reason);
    pd_node_set(node, "status", status);
    return node;
}

struct pd_node *pd_kube_dead_object(const struct pd_pool *pool, const struct pd_dead_sandbox *dead)
{
    struct pd_node *node = sandbox_begin(pool, dead->id, dead->resource_version,
                                         dead->created_wall_ms, dead->template_hash);
    struct pd_node *status = pd_node_map_new();

    pd_node_set_string(status, "phase", "Dead");
    pd_node_set(status, "phaseSince", pd_kube_time(dead->died_wall_ms));
    if (*dead->provider_id)
        pd_node_set_string(status, "providerID", dead->provider_id);
    pd_node_set_int(status, "runs", dead->runs);
    pd_node_set(status, "diedAt", pd_kube_time(dead->died_wall_ms));
    if (*dead->reason)
        pd_node_set_string(status, "reason", dead->reason);
    pd_node_set(node, "status", status);
    return node;
}

/* ---- Kubernetes' own ---- */

const char *pd_kube_event_name(const struct pd_event *event, char out[static PD_KUBE_NAME_BYTES])
{
    snprintf(out, PD_KUBE_NAME_BYTES, "%s.%.16s", *event->pool ? event->pool : "paddock",
             event->uid);
    return out;
}

struct pd_node *pd_kube_event_object(const struct pd_event *event)
{
    char name[PD_KUBE_NAME_BYTES];
    struct pd_node *node = object("Event", "v1");
    struct pd_node *involved = object("SandboxPool", API_VERSION), *source = pd_node_map_new();

    pd_node_set(node, "metadata",
                metadata_of(pd_kube_event_name(event, name), event->uid, event->resource_version,
                            event->first_wall_ms));
    pd_node_set_string(involved, "namespace", PD_KUBE_NAMESPACE);
    pd_node_set_string(involved, "name", event->pool);
    pd_node_set_string(involved, "uid", event->pool_uid);
    if (*event->sandbox)
        pd_node_set_string(involved, "fieldPath", event->sandbox);
    pd_node_set(node, "involvedObject", involved);
    pd_node_set_string(node, "type", pd_event_type_name(event->type));
    pd_node_set_string(node, "reason", event->reason);
    pd_node_set_string(node, "message", event->message);
    pd_node_set_int(node, "count", event->count);
    pd_node_set(node, "firstTimestamp", pd_kube_time(event->first_wall_ms));
    pd_node_set(node, "lastTimestamp", pd_kube_time(event->last_wall_ms));
    pd_node_set_string(source, "component", "paddock");
    pd_node_set(node, "source", source);
    pd_node_set_string(node, "reportingComponent", "paddock");
    pd_node_set_string(node, "reportingInstance", "");
    return node;
}

struct pd_node *pd_kube_namespace_object(void)
{
    char uid[PD_UID_BYTES];
    struct pd_node *node = object("Namespace", "v1"), *metadata = pd_node_map_new(),
                   *status = pd_node_map_new();

    pd_node_set_string(metadata, "name", PD_KUBE_NAMESPACE);
    pd_node_set_string(metadata, "uid", pd_uid_of_name(PD_KUBE_NAMESPACE, uid));
    pd_node_set_string(metadata, "resourceVersion", "1");
    pd_node_set(metadata, "creationTimestamp", pd_kube_time(0));
    pd_node_set(node, "metadata", metadata);
    pd_node_set_string(status, "phase", "Active");
    pd_node_set(node, "status", status);
    return node;
}
