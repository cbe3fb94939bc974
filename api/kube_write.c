/* Theory of operation.
 *
 * Whatever the verb, a write is: the pool as it is (the live object), what the
 * client makes of it (the candidate), the candidate checked (fields known, rules
 * met, version as the client knew it), and put into the store. The answer waits
 * until the database has it (kube_keep.h), so that what was acknowledged is
 * there after a crash. From the body's end to the store nothing waits: two
 * writes cannot come between each other. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/kube_fields.h"
#include "api/kube_inside.h"
#include "api/kube_object.h"
#include "api/kube_patch.h"
#include "api/kube_prune.h"
#include "api/server.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/time.h"
#include "common/yaml.h"

#define BODY_BYTES_MAX (512u * 1024)
#define TYPE_MERGE "application/merge-patch+json"
#define TYPE_JSON "application/json-patch+json"
#define TYPE_APPLY "application/apply-patch+yaml"

struct write {
    struct pd_kube *kube;
    struct pd_exchange *exchange; /* NULL: the client is gone */
    struct pd_kube_request request;
    struct pd_kube_warnings warnings;
    struct pd_node *live;      /* the object as it is; NULL: there is none */
    struct pd_node *candidate; /* as it is to be */
    struct pd_node *applied;   /* of a server-side apply: what the client said */
    struct pd_pool_spec *spec; /* the candidate, checked */
    struct pd_node *managed;   /* who has which field then */
    bool answered;
    /* while the database is at it */
    struct pd_node *result;
    int status;
};

static void write_free(struct write *write)
{
    pd_kube_request_fini(&write->request);
    pd_node_free(write->live);
    pd_node_free(write->candidate);
    pd_node_free(write->applied);
    pd_pool_spec_unref(write->spec);
    pd_node_free(write->managed);
    pd_node_free(write->result);
    free(write);
}

static void release_note(void *note)
{
    write_free(note);
}

/* ---- refusing ---- */

#define REFUSE(write, code, ...)                                                                   \
    refuse(write, &(struct pd_kube_refusal){.status = (code)}, __VA_ARGS__)

static int refuse(struct write *write, const struct pd_kube_refusal *refusal, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int refuse(struct write *write, const struct pd_kube_refusal *refusal, const char *fmt, ...)
{
    struct pd_kube_refusal full = *refusal;
    char message[1500];
    va_list args;

    assert(!write->answered);
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    full.kind = write->request.target.kind;
    full.name = write->request.target.name;
    write->answered = true;
    pd_kube_refuse(write->exchange, &full, "%s", message);
    return -1;
}

static int refuse_conflict(struct write *write, const char *why)
{
    char resource[PD_KUBE_RESOURCE_BYTES];

    return REFUSE(write, 409, "Operation cannot be fulfilled on %s \"%s\": %s",
                  pd_kube_resource(write->request.target.kind, resource),
                  write->request.target.name, why);
}

/* Clients take the reason Conflict for a race, and try again for minutes. */
static int refuse_for_good(struct write *write, const char *why)
{
    char resource[PD_KUBE_RESOURCE_BYTES];

    return refuse(write, &(struct pd_kube_refusal){.status = 409, .reason = "Forbidden"},
                  "%s \"%s\" cannot be changed: %s",
                  pd_kube_resource(write->request.target.kind, resource),
                  write->request.target.name, why);
}

static int refuse_absent(struct write *write)
{
    write->answered = true;
    pd_kube_refuse_absent(write->exchange, &write->request.target);
    return -1;
}

static int refuse_invalid(struct write *write, const struct pd_problems *problems)
{
    struct pd_err err;

    pd_problems_err(problems, &err);
    return refuse(write, &(struct pd_kube_refusal){.status = 422, .problems = problems},
                  "%s.%s \"%s\" is invalid: %s", write->request.target.kind->kind,
                  write->request.target.kind->group, write->request.target.name, err.msg);
}

/* ---- what the client makes of it ---- */

static const char *text_at(const struct pd_node *object, const char *key)
{
    const struct pd_node *node = pd_node_at(object, "metadata", key, NULL);

    return node && node->kind == PD_NODE_STRING ? node->string.text : "";
}

/* JSON; YAML where that may come. */
static int parse_body(struct write *write, const char *body, size_t len, struct pd_node **ret)
{
    bool yaml = strcmp(write->request.content_type, TYPE_APPLY) == 0 ||
                strcmp(write->request.content_type, "application/yaml") == 0;
    struct pd_err err;
    int rc = pd_json_parse(body, len, ret, &err);

    if (rc < 0 && yaml)
        rc = pd_yaml_parse(body, len, ret, &err);
    return rc < 0 ? REFUSE(write, 400, "the body cannot be read: %s", err.msg) : 0;
}

static int parse_map(struct write *write, const char *body, size_t len, struct pd_node **ret)
{
    if (parse_body(write, body, len, ret) < 0)
        return -1;
    return (*ret)->kind == PD_NODE_MAP ? 0 : REFUSE(write, 400, "the body is no object");
}

static int refuse_media(struct write *write)
{
    return REFUSE(write, 415,
                  "the body of the request was in an unknown format - accepted media types "
                  "include: %s",
                  write->request.target.part == PD_KUBE_SCALE ? TYPE_JSON ", " TYPE_MERGE
                  : write->request.method == PD_METHOD_PATCH
                      ? TYPE_JSON ", " TYPE_MERGE ", " TYPE_APPLY
                      : "application/json, application/yaml");
}

/* A patch of any kind but apply, of `node`. */
static int patch(struct write *write, struct pd_node **node, const char *body, size_t len)
{
    pd_autonode struct pd_node *change = NULL;
    struct pd_err err;
    int rc = 0;

    if (strcmp(write->request.content_type, TYPE_MERGE) != 0 &&
        strcmp(write->request.content_type, TYPE_JSON) != 0)
        return refuse_media(write);
    if (parse_body(write, body, len, &change) < 0)
        return -1;
    if (strcmp(write->request.content_type, TYPE_JSON) == 0)
        rc = pd_patch_json(node, change, &err);
    else if (change->kind != PD_NODE_MAP)
        return REFUSE(write, 400, "a merge patch is an object");
    else
        pd_patch_merge(node, change);
    if (rc == PD_CONFLICT)
        return REFUSE(write, 422, "the patch cannot be applied: %s", err.msg);
    if (rc < 0)
        return REFUSE(write, rc == PD_LIMIT ? 413 : 422, "the patch cannot be applied: %s",
                      err.msg);
    return (*node)->kind == PD_NODE_MAP ? 0 : REFUSE(write, 422, "what remains is no object");
}

static int take_applied(struct write *write, const char *body, size_t len)
{
    struct pd_node *metadata;

    if (parse_map(write, body, len, &write->applied) < 0)
        return -1;
    metadata = pd_node_get(write->applied, "metadata");
    if (pd_node_count(pd_node_get(metadata, "managedFields")) > 0)
        return REFUSE(write, 400, "metadata.managedFields must be nil");
    if (metadata && metadata->kind == PD_NODE_MAP && !pd_node_get(metadata, "name"))
        pd_node_set_string(metadata, "name", write->request.target.name);
    return 0;
}

/* minSize as a Scale has it. */
static int take_scale(struct write *write, const char *body, size_t len)
{
    const char *name = write->request.target.name;
    pd_autonode struct pd_node *scale =
        pd_kube_scale_object(pd_store_pool(write->kube->store, name));
    struct pd_node *replicas, *spec;
    const char *version;

    if (write->request.method == PD_METHOD_PATCH) {
        if (patch(write, &scale, body, len) < 0)
            return -1;
    } else {
        pd_node_free(PD_STEAL(scale));
        if (parse_map(write, body, len, &scale) < 0)
            return -1;
    }
    spec = pd_node_get(scale, "spec");
    replicas = pd_node_get(spec, "replicas");
    if (spec && !replicas)
        return REFUSE(write, 422, "spec.replicas: is required");
    if (!replicas || replicas->kind != PD_NODE_INT)
        return REFUSE(write, 422, "spec.replicas: must be a whole number");
    write->candidate = pd_node_copy(write->live);
    pd_node_set_int(pd_node_get(write->candidate, "spec"), "minSize", replicas->integer);
    version = text_at(scale, "resourceVersion");
    if (*version)
        pd_node_set_string(pd_node_get(write->candidate, "metadata"), "resourceVersion", version);
    return 0;
}

static int take_candidate(struct write *write, const char *body, size_t len)
{
    const struct pd_kube_request *request = &write->request;

    if (request->target.part == PD_KUBE_SCALE)
        return take_scale(write, body, len);
    if (request->method != PD_METHOD_PATCH)
        return parse_map(write, body, len, &write->candidate);
    if (strcmp(request->content_type, TYPE_APPLY) == 0)
        return take_applied(write, body, len);
    if (strcmp(request->content_type, TYPE_MERGE) != 0 &&
        strcmp(request->content_type, TYPE_JSON) != 0)
        return refuse_media(write);
    if (!write->live)
        return refuse_absent(write);
    write->candidate = pd_node_copy(write->live);
    return patch(write, &write->candidate, body, len);
}

/* ---- checking ---- */

/* POST says the name in its body only. */
static int take_name(struct write *write, const struct pd_node *said)
{
    struct pd_kube_target *target = &write->request.target;
    const char *name = text_at(said, "name"), *namespace = text_at(said, "namespace");

    if (*namespace && strcmp(namespace, PD_KUBE_NAMESPACE) != 0)
        return REFUSE(write, 400,
                      "the namespace of the provided object does not match the namespace sent on "
                      "the request");
    if (*target->name && *name && strcmp(name, target->name) != 0)
        return REFUSE(write, 400,
                      "the name of the object (%.64s) does not match the name on the "
                      "URL (%.64s)",
                      name, target->name);
    if (!*target->name) {
        if (!*name)
            return REFUSE(write, 422, "metadata.name: is required");
        if (strlen(name) >= PD_POOL_NAME_MAX)
            return REFUSE(write, 422, "metadata.name: must have at most %d characters",
                          PD_POOL_NAME_MAX - 1);
        pd_strcpy(target->name, sizeof target->name, name);
        write->live = pd_kube_find(write->kube, target);
    }
    return 0;
}

static int check_versions(struct write *write, const struct pd_node *said)
{
    const char *uid = text_at(said, "uid"), *version = text_at(said, "resourceVersion");

    if (!write->live)
        return 0;
    if (*uid && strcmp(uid, text_at(write->live, "uid")) != 0)
        return refuse_conflict(write, "the uid in the precondition is not that of the object");
    if (*version && strcmp(version, text_at(write->live, "resourceVersion")) != 0)
        return refuse_conflict(write,
                               "the object has been modified; please apply your changes to "
                               "the latest version and try again");
    return 0;
}

static int check_owner(struct write *write)
{
    const struct pd_pool *pool = pd_store_pool(write->kube->store, write->request.target.name);
    char why[256];

    if (!pool || strcmp(pool->source, PD_KUBE_SOURCE) == 0)
        return 0;
    snprintf(why, sizeof why, "the pool belongs to %s and can be changed only there", pool->source);
    return refuse_for_good(write, why);
}

static int check_existence(struct write *write)
{
    const struct pd_kube_request *request = &write->request;
    char resource[PD_KUBE_RESOURCE_BYTES];
    bool deleting = write->live && *text_at(write->live, "deletionTimestamp");

    if (request->method == PD_METHOD_POST && write->live) {
        const struct pd_pool *pool = pd_store_pool(write->kube->store, request->target.name);
        return refuse(write, &(struct pd_kube_refusal){.status = 409, .reason = "AlreadyExists"},
                      "%s%s \"%s\" already exists, and belongs to %s",
                      deleting ? "object is being deleted: " : "",
                      pd_kube_resource(request->target.kind, resource), request->target.name,
                      pool ? pool->source : "nobody");
    }
    if (request->method == PD_METHOD_PUT && !write->live)
        return refuse_absent(write);
    if (deleting)
        return refuse_for_good(write, "it is being deleted");
    return 0;
}

static int note_unknown(struct write *write, const struct pd_pruned *pruned)
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
    return REFUSE(write, 400,
                  "%s in version \"%s\" cannot be handled as a %s: strict decoding error: %s",
                  write->request.target.kind->kind, write->request.target.kind->version,
                  write->request.target.kind->kind, list);
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

static int check_spec(struct write *write)
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

static int take_managed(struct write *write)
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
            return REFUSE(write, 409, "%s", err.msg);
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
static void take_said_managed(struct write *write)
{
    const struct pd_node *said = pd_node_at(write->candidate, "metadata", "managedFields", NULL);

    if (said && strcmp(write->request.content_type, TYPE_JSON) == 0)
        write->managed = pd_node_copy(said);
}

/* ---- carrying out ---- */

/* The pool as it would be. */
static struct pd_node *imagine(struct write *write)
{
    const struct pd_pool *pool = pd_store_pool(write->kube->store, write->request.target.name);
    struct pd_pool imagined = {.generation = 1};

    if (pool) {
        imagined = *pool;
        if (!pd_node_equal(pd_node_get(pool->spec->node, "spec"),
                           pd_node_get(write->spec->node, "spec")))
            imagined.generation++;
    } else {
        pd_uid_random(imagined.uid);
        imagined.created_wall_ms = pd_wall_ms();
        imagined.status.warm_hit_ratio = -1;
        imagined.status.refill_p99_ms = -1;
        pd_strcpy(imagined.source, sizeof imagined.source, PD_KUBE_SOURCE);
    }
    imagined.spec = write->spec;
    return write->request.target.part == PD_KUBE_SCALE
               ? pd_kube_scale_object(&imagined)
               : pd_kube_pool_object(&imagined, write->managed);
}

static void reply(struct write *write, int status, struct pd_node *object)
{
    write->answered = true;
    pd_kube_reply_object(write->kube, write->exchange, &write->request, status, object,
                         &write->warnings);
}

static void on_gone(void *arg)
{
    struct write *write = arg;

    write->exchange = NULL;
}

static void on_kept(void *arg, const struct pd_err *err)
{
    struct write *write = arg;

    if (err)
        pd_log(PD_LOG_ERROR, "kube", "a change is in force, but not kept", "pool",
               write->request.target.name, "err", err->msg, NULL);
    if (write->exchange && err)
        REFUSE(write, 503, "the change is in force, but could not be kept: %s", err->msg);
    else if (write->exchange)
        reply(write, write->status, write->result);
    write_free(write);
}

/* Answer with this object, taken over, when the pool is kept. Takes the write
 * over, too. */
static void reply_when_kept(struct write *write, int status, struct pd_node *object)
{
    const struct pd_pool *pool = pd_store_pool(write->kube->store, write->request.target.name);
    struct pd_err err;

    write->result = object;
    write->status = status;
    if (!pd_kube_keep_lasts(write->kube->keep)) {
        reply(write, status, object);
        write_free(write);
        return;
    }
    if (pd_kube_keep_put(write->kube->keep, pool, on_kept, write, &err) < 0) {
        on_kept(write, &err);
        return;
    }
    pd_exchange_on_gone(write->exchange, on_gone, write);
}

static void carry_out(struct write *write)
{
    const char *name = write->request.target.name;
    const struct pd_pool *pool;
    struct pd_err err;
    bool is_new = !write->live;

    if (write->request.dry_run) {
        pd_autonode struct pd_node *object = imagine(write);
        reply(write, is_new ? 201 : 200, object);
        write_free(write);
        return;
    }
    if (pd_store_pool_put(write->kube->store, write->spec, PD_KUBE_SOURCE, &err) < 0) {
        refuse_for_good(write, err.msg);
        write_free(write);
        return;
    }
    pd_kube_keep_set_managed(write->kube->keep, name, PD_STEAL(write->managed));
    pool = pd_store_pool(write->kube->store, name);
    reply_when_kept(write, is_new ? 201 : 200,
                    write->request.target.part == PD_KUBE_SCALE
                        ? pd_kube_scale_object(pool)
                        : pd_kube_pool_object(pool, pd_kube_keep_managed(write->kube->keep, name)));
}

/* The candidate, from the body to a checked spec. 0, or it has been refused. */
static int prepare(struct write *write, const char *body, size_t len)
{
    const struct pd_node *said;
    struct pd_pruned pruned;

    if (*write->request.target.name)
        write->live = pd_kube_find(write->kube, &write->request.target);
    if (!write->live && write->request.target.part == PD_KUBE_SCALE)
        return refuse_absent(write);
    if (take_candidate(write, body, len) < 0)
        return -1;
    pd_prune(pd_schema_node(write->kube->pool_schema),
             write->applied ? write->applied : write->candidate, &pruned);
    said = write->applied ? write->applied : write->candidate;
    if (note_unknown(write, &pruned) < 0 || take_name(write, said) < 0 ||
        check_existence(write) < 0 || check_versions(write, said) < 0 || check_owner(write) < 0)
        return -1;
    if (write->applied)
        write->candidate =
            pd_fields_apply(pd_node_at(write->live, "metadata", "managedFields", NULL), write->live,
                            write->applied, write->request.manager);
    take_said_managed(write);
    return check_spec(write) < 0 || take_managed(write) < 0 ? -1 : 0;
}

/* ---- deleting ---- */

static int take_options(struct write *write, const char *body, size_t len)
{
    pd_autonode struct pd_node *options = NULL;
    const struct pd_node *wanted, *dry;
    pd_autonode struct pd_node *said = NULL;

    if (len == 0)
        return 0;
    if (parse_map(write, body, len, &options) < 0)
        return -1;
    dry = pd_node_get(options, "dryRun");
    if (pd_node_count(dry) > 0)
        write->request.dry_run = true;
    wanted = pd_node_get(options, "preconditions");
    if (!wanted || wanted->kind != PD_NODE_MAP)
        return 0;
    said = pd_node_map_new();
    pd_node_set(said, "metadata", pd_node_copy(wanted));
    return check_versions(write, said);
}

static void on_delete(struct write *write, const char *body, size_t len)
{
    struct pd_kube *kube = write->kube;
    const char *name = write->request.target.name;
    struct pd_err err;

    write->live = pd_kube_find(kube, &write->request.target);
    if (!write->live) {
        refuse_absent(write);
    } else if (take_options(write, body, len) < 0 || check_owner(write) < 0) {
        /* refused */
    } else if (write->request.dry_run || *text_at(write->live, "deletionTimestamp")) {
        reply(write, 200, write->live);
    } else if (pd_store_pool_delete(kube->store, name, PD_KUBE_SOURCE, &err) < 0) {
        refuse_for_good(write, err.msg);
    } else {
        reply_when_kept(write, 200,
                        pd_kube_pool_object(pd_store_pool(kube->store, name),
                                            pd_kube_keep_managed(kube->keep, name)));
        return;
    }
    write_free(write);
}

/* ---- beginning ---- */

/* The note is ours again: from here on the write ends by itself. */
static struct write *own(struct pd_exchange *exchange, struct write *note)
{
    struct write *write = PD_NEW(struct write);

    *write = *note;
    note->request.labels.count = note->request.fields.count = 0;
    pd_exchange_set_note(exchange, NULL, NULL);
    return write;
}

static void on_body(void *arg, struct pd_exchange *exchange, const char *body, size_t len)
{
    struct write *write = own(exchange, arg);

    if (write->request.method == PD_METHOD_DELETE)
        on_delete(write, body, len);
    else if (prepare(write, body, len) < 0)
        write_free(write);
    else
        carry_out(write);
}

static bool is_method_right(const struct pd_kube_request *request)
{
    const struct pd_kube_target *target = &request->target;

    if (!target->kind->writable || target->part == PD_KUBE_STATUS)
        return false;
    switch (request->method) {
    case PD_METHOD_POST:
        return !*target->name && *target->namespace;
    case PD_METHOD_PUT:
    case PD_METHOD_PATCH:
        return *target->name != '\0';
    case PD_METHOD_DELETE:
        return *target->name && target->part == PD_KUBE_WHOLE;
    default:
        return false;
    }
}

static bool is_type_right(const struct pd_kube_request *request)
{
    const char *type = request->content_type;

    if (request->method == PD_METHOD_DELETE)
        return true;
    if (request->method == PD_METHOD_PATCH)
        return strcmp(type, TYPE_MERGE) == 0 || strcmp(type, TYPE_JSON) == 0 ||
               (strcmp(type, TYPE_APPLY) == 0 && request->target.part == PD_KUBE_WHOLE);
    return !*type || strcmp(type, "application/json") == 0 ||
           (strcmp(type, "application/yaml") == 0 && request->target.part == PD_KUBE_WHOLE);
}

void pd_kube_write(struct pd_kube *kube, struct pd_exchange *exchange,
                   struct pd_kube_request *request)
{
    struct write *write = PD_NEW(struct write);

    write->kube = kube;
    write->exchange = exchange;
    write->request = *request;
    if (!is_method_right(request))
        REFUSE(write, 405, "the server does not allow this method on the requested resource");
    else if (!is_type_right(request))
        refuse_media(write);
    else if (strcmp(request->target.namespace, PD_KUBE_NAMESPACE) != 0)
        REFUSE(write, 404, "namespaces \"%s\" not found", request->target.namespace);
    if (write->answered) {
        write_free(write);
        return;
    }
    pd_exchange_set_note(exchange, write, release_note);
    pd_exchange_want_body(exchange, BODY_BYTES_MAX, on_body, write);
}
