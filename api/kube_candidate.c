/* What a write makes of the live object: the candidate, read from the body and checked. */
#include <stdio.h>
#include <string.h>

#include "api/kube_fields.h"
#include "api/kube_object.h"
#include "api/kube_patch.h"
#include "api/kube_prune.h"
#include "api/kube_write_state.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/time.h"
#include "common/yaml.h"

/* ---- what the client makes of it ---- */

const char *pd_kube_write_text(const struct pd_node *object, const char *key)
{
    const struct pd_node *node = pd_node_at(object, "metadata", key, NULL);

    return node && node->kind == PD_NODE_STRING ? node->string.text : "";
}

/* JSON; YAML where that may come. */
static int parse_body(struct pd_kube_write *write, const char *body, size_t len,
                      struct pd_node **ret)
{
    bool yaml = strcmp(write->request.content_type, PD_KUBE_TYPE_APPLY) == 0 ||
                strcmp(write->request.content_type, "application/yaml") == 0;
    struct pd_err err;
    int rc = pd_json_parse(body, len, ret, &err);

    if (rc < 0 && yaml)
        rc = pd_yaml_parse(body, len, ret, &err);
    return rc < 0 ? PD_REFUSE(write, 400, "the body cannot be read: %s", err.msg) : 0;
}

int pd_kube_write_parse(struct pd_kube_write *write, const char *body, size_t len,
                        struct pd_node **ret)
{
    if (parse_body(write, body, len, ret) < 0)
        return -1;
    return (*ret)->kind == PD_NODE_MAP ? 0 : PD_REFUSE(write, 400, "the body is no object");
}

/* A patch of any kind but apply, of `node`. */
static int patch(struct pd_kube_write *write, struct pd_node **node, const char *body, size_t len)
{
    pd_autonode struct pd_node *change = NULL;
    struct pd_err err;
    int rc = 0;

    if (strcmp(write->request.content_type, PD_KUBE_TYPE_MERGE) != 0 &&
        strcmp(write->request.content_type, PD_KUBE_TYPE_JSON) != 0)
        return pd_kube_write_refuse_media(write);
    if (parse_body(write, body, len, &change) < 0)
        return -1;
    if (strcmp(write->request.content_type, PD_KUBE_TYPE_JSON) == 0)
        rc = pd_patch_json(node, change, &err);
    else if (change->kind != PD_NODE_MAP)
        return PD_REFUSE(write, 400, "a merge patch is an object");
    else
        pd_patch_merge(node, change);
    if (rc == PD_CONFLICT)
        return PD_REFUSE(write, 422, "the patch cannot be applied: %s", err.msg);
    if (rc < 0)
        return PD_REFUSE(write, rc == PD_LIMIT ? 413 : 422, "the patch cannot be applied: %s",
                         err.msg);
    return (*node)->kind == PD_NODE_MAP ? 0 : PD_REFUSE(write, 422, "what remains is no object");
}

static int take_applied(struct pd_kube_write *write, const char *body, size_t len)
{
    struct pd_node *metadata;

    if (pd_kube_write_parse(write, body, len, &write->applied) < 0)
        return -1;
    metadata = pd_node_get(write->applied, "metadata");
    if (pd_node_count(pd_node_get(metadata, "managedFields")) > 0)
        return PD_REFUSE(write, 400, "metadata.managedFields must be nil");
    if (metadata && metadata->kind == PD_NODE_MAP && !pd_node_get(metadata, "name"))
        pd_node_set_string(metadata, "name", write->request.target.name);
    return 0;
}

/* minSize as a Scale has it. */
static int take_scale(struct pd_kube_write *write, const char *body, size_t len)
{
    pd_autonode struct pd_node *scale = pd_kube_scale_object(write->live);
    struct pd_node *replicas, *spec;
    const char *version;

    if (write->request.method == PD_METHOD_PATCH) {
        if (patch(write, &scale, body, len) < 0)
            return -1;
    } else {
        pd_node_free(PD_STEAL(scale));
        if (pd_kube_write_parse(write, body, len, &scale) < 0)
            return -1;
    }
    spec = pd_node_get(scale, "spec");
    replicas = pd_node_get(spec, "replicas");
    if (spec && !replicas)
        return PD_REFUSE(write, 422, "spec.replicas: is required");
    if (!replicas || replicas->kind != PD_NODE_INT)
        return PD_REFUSE(write, 422, "spec.replicas: must be a whole number");
    write->candidate = pd_node_copy(write->live);
    pd_node_set_int(pd_node_get(write->candidate, "spec"), "minSize", replicas->integer);
    version = pd_kube_write_text(scale, "resourceVersion");
    if (*version)
        pd_node_set_string(pd_node_get(write->candidate, "metadata"), "resourceVersion", version);
    return 0;
}

static int take_candidate(struct pd_kube_write *write, const char *body, size_t len)
{
    const struct pd_kube_request *request = &write->request;

    if (request->target.part == PD_KUBE_SCALE)
        return take_scale(write, body, len);
    if (request->method != PD_METHOD_PATCH)
        return pd_kube_write_parse(write, body, len, &write->candidate);
    if (strcmp(request->content_type, PD_KUBE_TYPE_APPLY) == 0)
        return take_applied(write, body, len);
    if (strcmp(request->content_type, PD_KUBE_TYPE_MERGE) != 0 &&
        strcmp(request->content_type, PD_KUBE_TYPE_JSON) != 0)
        return pd_kube_write_refuse_media(write);
    if (!write->live)
        return pd_kube_write_refuse_absent(write);
    write->candidate = pd_node_copy(write->live);
    return patch(write, &write->candidate, body, len);
}

/* ---- checking ---- */

/* POST says the name in its body only. */
static int take_name(struct pd_kube_write *write, const struct pd_node *said)
{
    struct pd_kube_target *target = &write->request.target;
    const char *name = pd_kube_write_text(said, "name"),
               *namespace = pd_kube_write_text(said, "namespace");

    if (*namespace && strcmp(namespace, PD_KUBE_NAMESPACE) != 0)
        return PD_REFUSE(
            write, 400,
            "the namespace of the provided object does not match the namespace sent on "
            "the request");
    if (*target->name && *name && strcmp(name, target->name) != 0)
        return PD_REFUSE(write, 400,
                         "the name of the object (%.64s) does not match the name on the "
                         "URL (%.64s)",
                         name, target->name);
    if (!*target->name) {
        if (!*name)
            return PD_REFUSE(write, 422, "metadata.name: is required");
        if (strlen(name) >= PD_POOL_NAME_MAX)
            return PD_REFUSE(write, 422, "metadata.name: must have at most %d characters",
                             PD_POOL_NAME_MAX - 1);
        pd_strcpy(target->name, sizeof target->name, name);
        write->live = pd_kube_find(write->kube, target);
    }
    return 0;
}

static int refuse_conflict(struct pd_kube_write *write, const char *why)
{
    char resource[PD_KUBE_RESOURCE_BYTES];

    return PD_REFUSE(write, 409, "Operation cannot be fulfilled on %s \"%s\": %s",
                     pd_kube_resource(write->request.target.kind, resource),
                     write->request.target.name, why);
}

int pd_kube_write_check_versions(struct pd_kube_write *write, const struct pd_node *said)
{
    const char *uid = pd_kube_write_text(said, "uid"),
               *version = pd_kube_write_text(said, "resourceVersion");

    if (!write->live)
        return 0;
    if (*uid && strcmp(uid, pd_kube_write_text(write->live, "uid")) != 0)
        return refuse_conflict(write, "the uid in the precondition is not that of the object");
    if (*version && strcmp(version, pd_kube_write_text(write->live, "resourceVersion")) != 0)
        return refuse_conflict(write,
                               "the object has been modified; please apply your changes to "
                               "the latest version and try again");
    return 0;
}

/* Whose the pool is; "" where there is none. */
static const char *source_of(const struct pd_kube_write *write)
{
    const char *name = write->request.target.name;
    const struct pd_pool *pool = pd_store_pool(write->kube->store, name);
    const char *source =
        write->kube->shared ? pd_kube_shared_source(write->kube->shared, name) : "";

    return *source ? source : pool ? pool->source : "";
}

int pd_kube_write_check_owner(struct pd_kube_write *write)
{
    const char *source = source_of(write);
    char why[256];

    if (!*source || strcmp(source, PD_KUBE_SOURCE) == 0)
        return 0;
    snprintf(why, sizeof why, "the pool belongs to %s and can be changed only there", source);
    return pd_kube_write_refuse_for_good(write, why);
}

static int check_existence(struct pd_kube_write *write)
{
    const struct pd_kube_request *request = &write->request;
    char resource[PD_KUBE_RESOURCE_BYTES];
    bool deleting = write->live && *pd_kube_write_text(write->live, "deletionTimestamp");

    if (request->method == PD_METHOD_POST && write->live) {
        return pd_kube_write_refuse(
            write, &(struct pd_kube_refusal){.status = 409, .reason = "AlreadyExists"},
            "%s%s \"%s\" already exists, and belongs to %s",
            deleting ? "object is being deleted: " : "",
            pd_kube_resource(request->target.kind, resource), request->target.name,
            source_of(write));
    }
    if (request->method == PD_METHOD_PUT && !write->live)
        return pd_kube_write_refuse_absent(write);
    if (deleting)
        return pd_kube_write_refuse_for_good(write, "it is being deleted");
    return 0;
}

static int note_unknown(struct pd_kube_write *write, const struct pd_pruned *pruned)
{
    char list[PD_PRUNED_MAX * (PD_PRUNED_BYTES + 24)] = "";
    size_t len = 0;

    if (pruned->count == 0 || write->request.validation == PD_KUBE_VALIDATE_IGNORE)
        return 0;
    for (size_t i = 0; i < pruned->count; i++) {
        if (write->request.validation == PD_KUBE_VALIDATE_STRICT)
            len += (size_t)snprintf(list + len, sizeof list - len, "%sunknown field \"%s\"",
                                    i ? ", " : "", pruned->paths[i]);
        else
            snprintf(write->warnings.texts[write->warnings.count++], PD_KUBE_WARNING_BYTES,
                     "unknown field \"%s\"", pruned->paths[i]);
    }
    if (len == 0)
        return 0;
    return PD_REFUSE(write, 400,
                     "%s in version \"%s\" cannot be handled as a %s: strict decoding error: %s",
                     write->request.target.kind->kind, write->request.target.kind->version,
                     write->request.target.kind->kind, list);
}

static int refuse_invalid(struct pd_kube_write *write, const struct pd_problems *problems)
{
    struct pd_err err;

    pd_problems_err(problems, &err);
    return pd_kube_write_refuse(
        write, &(struct pd_kube_refusal){.status = 422, .problems = problems},
        "%s.%s \"%s\" is invalid: %s", write->request.target.kind->kind,
        write->request.target.kind->group, write->request.target.name, err.msg);
}

/* Of an object's metadata, what a client decides. */
static void keep_declared(struct pd_node *object)
{
    static const char *const kept[] = {"name", "labels", "annotations"};
    struct pd_node *from = pd_node_get(object, "metadata"), *to = pd_node_map_new();

    for (size_t i = 0; i < PD_COUNT(kept); i++) {
        const struct pd_node *value = pd_node_get(from, kept[i]);
        if (value)
            pd_node_set(to, kept[i], pd_node_copy(value));
    }
    pd_node_set_string(to, "namespace", PD_KUBE_NAMESPACE);
    pd_node_set(object, "metadata", to);
    pd_node_remove(object, "status");
}

static int check_spec(struct pd_kube_write *write)
{
    struct pd_problems problems = {.count = 0};
    struct pd_node *metadata = pd_node_get(write->candidate, "metadata");

    if (!metadata || metadata->kind != PD_NODE_MAP)
        metadata = pd_node_set(write->candidate, "metadata", pd_node_map_new());
    pd_node_set_string(metadata, "name", write->request.target.name);
    keep_declared(write->candidate);
    if (pd_pool_spec_parse(write->kube->pool_schema, write->candidate,
                           write->kube->default_provider, &write->spec, &problems) < 0)
        return refuse_invalid(write, &problems);
    return 0;
}

/* ---- who has which field ---- */

static int take_managed(struct pd_kube_write *write)
{
    const struct pd_node *own = pd_node_at(write->live, "metadata", "managedFields", NULL);
    const struct pd_node *base = own;
    pd_autonode struct pd_node *said = NULL;
    const struct pd_fields_writer writer = {
        .manager = write->request.manager,
        .api_version = write->request.target.kind->api_version,
        .wall_ms = pd_wall_ms(),
    };
    struct pd_err err;

    if (write->applied) {
        if (pd_fields_after_apply(base, write->live, write->applied, write->spec->node,
                                  write->request.force, &writer, &write->managed, &err) < 0)
            return PD_REFUSE(write, 409, "%s", err.msg);
        return 0;
    }
    said = PD_STEAL(write->managed); /* what a JSON patch made of them */
    if (pd_fields_are_valid(said))
        base = said;
    write->managed = pd_fields_after_update(base, write->live, write->spec->node, &writer);
    return 0;
}

/* A client may put the list right by itself, as kubectl does when it goes over
 * to server-side apply. */
static void take_said_managed(struct pd_kube_write *write)
{
    const struct pd_node *said = pd_node_at(write->candidate, "metadata", "managedFields", NULL);

    if (said && strcmp(write->request.content_type, PD_KUBE_TYPE_JSON) == 0)
        write->managed = pd_node_copy(said);
}

/* ---- all of it ---- */

int pd_kube_write_prepare(struct pd_kube_write *write, const char *body, size_t len)
{
    const struct pd_node *said;
    struct pd_pruned pruned;

    if (*write->request.target.name)
        write->live = pd_kube_find(write->kube, &write->request.target);
    if (!write->live && write->request.target.part == PD_KUBE_SCALE)
        return pd_kube_write_refuse_absent(write);
    if (take_candidate(write, body, len) < 0)
        return -1;
    pd_prune(pd_schema_node(write->kube->pool_schema),
             write->applied ? write->applied : write->candidate, &pruned);
    said = write->applied ? write->applied : write->candidate;
    if (note_unknown(write, &pruned) < 0 || take_name(write, said) < 0 ||
        check_existence(write) < 0 || pd_kube_write_check_versions(write, said) < 0 ||
        pd_kube_write_check_owner(write) < 0)
        return -1;
    if (write->applied)
        write->candidate =
            pd_fields_apply(pd_node_at(write->live, "metadata", "managedFields", NULL), write->live,
                            write->applied, write->request.manager);
    take_said_managed(write);
    return check_spec(write) < 0 || take_managed(write) < 0 ? -1 : 0;
}
