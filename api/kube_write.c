/* Theory of operation.
 *
 * Whatever the verb, a write is: the pool as it is (the live object), what the
 * client makes of it (the candidate), the candidate checked (fields known, rules
 * met, version as the client knew it; kube_candidate.c), and put into the store. The answer waits
 * until the database has it (kube_keep.h), so that what was acknowledged is
 * there after a crash. From the body's end to the store nothing waits: two
 * writes cannot come between each other. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/kube_object.h"
#include "api/kube_write_state.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/time.h"

#define BODY_BYTES_MAX (512u * 1024)

void pd_kube_write_free(struct pd_kube_write *write)
{
    pd_kube_request_fini(&write->request);
    pd_node_free(write->live);
    pd_node_free(write->candidate);
    pd_node_free(write->applied);
    pd_pool_spec_unref(write->spec);
    pd_node_free(write->managed);
    pd_node_free(write->result);
    free(write->body);
    free(write);
}

static void release_note(void *note)
{
    pd_kube_write_free(note);
}

/* ---- refusing ---- */

int pd_kube_write_refuse(struct pd_kube_write *write, const struct pd_kube_refusal *refusal,
                         const char *fmt, ...)
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

int pd_kube_write_refuse_for_good(struct pd_kube_write *write, const char *why)
{
    char resource[PD_KUBE_RESOURCE_BYTES];

    return pd_kube_write_refuse(
        write, &(struct pd_kube_refusal){.status = 409, .reason = "Forbidden"},
        "%s \"%s\" cannot be changed: %s", pd_kube_resource(write->request.target.kind, resource),
        write->request.target.name, why);
}

int pd_kube_write_refuse_absent(struct pd_kube_write *write)
{
    write->answered = true;
    pd_kube_refuse_absent(write->exchange, &write->request.target);
    return -1;
}

int pd_kube_write_refuse_media(struct pd_kube_write *write)
{
    return PD_REFUSE(write, 415,
                     "the body of the request was in an unknown format - accepted media types "
                     "include: %s",
                     write->request.target.part == PD_KUBE_SCALE ? PD_KUBE_TYPE_JSON
                         ", " PD_KUBE_TYPE_MERGE
                     : write->request.method == PD_METHOD_PATCH
                         ? PD_KUBE_TYPE_JSON ", " PD_KUBE_TYPE_MERGE ", " PD_KUBE_TYPE_APPLY
                         : "application/json, application/yaml");
}

/* ---- carrying out ---- */

/* The pool's object, taken over, or what of it the client is to see. */
static struct pd_node *as_asked(const struct pd_kube_write *write, struct pd_node *pool)
{
    struct pd_node *scale;

    if (write->request.target.part != PD_KUBE_SCALE)
        return pool;
    scale = pd_kube_scale_object(pool);
    pd_node_free(pool);
    return scale;
}

/* The pool as it would be. */
static struct pd_node *imagine(struct pd_kube_write *write)
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
        imagined.status.start_p90_ms = -1;
        imagined.status.recommended_min = -1;
        pd_strcpy(imagined.source, sizeof imagined.source, PD_KUBE_SOURCE);
    }
    imagined.spec = write->spec;
    return as_asked(write, pd_kube_pool_object(&imagined, write->managed));
}

void pd_kube_write_reply(struct pd_kube_write *write, int status, struct pd_node *object)
{
    write->answered = true;
    pd_kube_reply_object(write->kube, write->exchange, &write->request, status, object,
                         &write->warnings);
}

static void on_gone(void *arg)
{
    struct pd_kube_write *write = arg;

    write->exchange = NULL;
}

static void on_kept(void *arg, const struct pd_err *err)
{
    struct pd_kube_write *write = arg;

    if (err)
        pd_log(PD_LOG_ERROR, "kube", "a change is in force, but not kept", "pool",
               write->request.target.name, "err", err->msg, NULL);
    if (write->exchange && err)
        PD_REFUSE(write, 503, "the change is in force, but could not be kept: %s", err->msg);
    else if (write->exchange)
        pd_kube_write_reply(write, write->status, write->result);
    pd_kube_write_free(write);
}

/* Answer with this object, taken over, when the pool is kept. Takes the write
 * over, too. */
static void reply_when_kept(struct pd_kube_write *write, int status, struct pd_node *object)
{
    const struct pd_pool *pool = pd_store_pool(write->kube->store, write->request.target.name);
    struct pd_err err;

    write->result = object;
    write->status = status;
    if (!pd_kube_keep_lasts(write->kube->keep)) {
        pd_kube_write_reply(write, status, object);
        pd_kube_write_free(write);
        return;
    }
    if (pd_kube_keep_put(write->kube->keep, pool, on_kept, write, &err) < 0) {
        on_kept(write, &err);
        return;
    }
    pd_exchange_on_gone(write->exchange, on_gone, write);
}

static void carry_out(struct pd_kube_write *write)
{
    const char *name = write->request.target.name;
    const struct pd_pool *pool;
    struct pd_err err;
    bool is_new = !write->live;

    if (write->request.dry_run) {
        pd_autonode struct pd_node *object = imagine(write);
        pd_kube_write_reply(write, is_new ? 201 : 200, object);
        pd_kube_write_free(write);
        return;
    }
    if (pd_store_pool_put(write->kube->store, write->spec, PD_KUBE_SOURCE, &err) < 0) {
        pd_kube_write_refuse_for_good(write, err.msg);
        pd_kube_write_free(write);
        return;
    }
    pd_kube_keep_set_managed(write->kube->keep, name, PD_STEAL(write->managed));
    pool = pd_store_pool(write->kube->store, name);
    reply_when_kept(
        write, is_new ? 201 : 200,
        as_asked(write, pd_kube_pool_object(pool, pd_kube_keep_managed(write->kube->keep, name))));
}

/* ---- deleting ---- */

static int take_options(struct pd_kube_write *write, const char *body, size_t len)
{
    pd_autonode struct pd_node *options = NULL;
    const struct pd_node *wanted, *dry;
    pd_autonode struct pd_node *said = NULL;

    if (len == 0)
        return 0;
    if (pd_kube_write_parse(write, body, len, &options) < 0)
        return -1;
    dry = pd_node_get(options, "dryRun");
    if (pd_node_count(dry) > 0)
        write->request.dry_run = true;
    wanted = pd_node_get(options, "preconditions");
    if (!wanted || wanted->kind != PD_NODE_MAP)
        return 0;
    said = pd_node_map_new();
    pd_node_set(said, "metadata", pd_node_copy(wanted));
    return pd_kube_write_check_versions(write, said);
}

int pd_kube_write_prepare_delete(struct pd_kube_write *write, const char *body, size_t len)
{
    write->live = pd_kube_find(write->kube, &write->request.target);
    if (!write->live)
        return pd_kube_write_refuse_absent(write);
    if (take_options(write, body, len) < 0 || pd_kube_write_check_owner(write) < 0)
        return -1;
    if (!write->request.dry_run && !*pd_kube_write_text(write->live, "deletionTimestamp"))
        return 0;
    pd_kube_write_reply(write, 200, write->live);
    return -1;
}

static void carry_out_delete(struct pd_kube_write *write)
{
    struct pd_kube *kube = write->kube;
    const char *name = write->request.target.name;
    struct pd_err err;

    if (pd_store_pool_delete(kube->store, name, PD_KUBE_SOURCE, &err) < 0) {
        pd_kube_write_refuse_for_good(write, err.msg);
        pd_kube_write_free(write);
        return;
    }
    reply_when_kept(write, 200,
                    pd_kube_pool_object(pd_store_pool(kube->store, name),
                                        pd_kube_keep_managed(kube->keep, name)));
}

/* ---- beginning ---- */

/* The note is ours again: from here on the write ends by itself. */
static struct pd_kube_write *own(struct pd_exchange *exchange, struct pd_kube_write *note)
{
    struct pd_kube_write *write = PD_NEW(struct pd_kube_write);

    *write = *note;
    note->request.labels.count = note->request.fields.count = 0;
    pd_exchange_set_note(exchange, NULL, NULL);
    return write;
}

static void on_body(void *arg, struct pd_exchange *exchange, const char *body, size_t len)
{
    struct pd_kube_write *write = own(exchange, arg);
    bool is_delete = write->request.method == PD_METHOD_DELETE;
    int rc;

    if (write->kube->shared) {
        pd_kube_write_shared(write, body, len);
        return;
    }
    rc = is_delete ? pd_kube_write_prepare_delete(write, body, len)
                   : pd_kube_write_prepare(write, body, len);
    if (rc < 0)
        pd_kube_write_free(write);
    else if (is_delete)
        carry_out_delete(write);
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
        return strcmp(type, PD_KUBE_TYPE_MERGE) == 0 || strcmp(type, PD_KUBE_TYPE_JSON) == 0 ||
               (strcmp(type, PD_KUBE_TYPE_APPLY) == 0 && request->target.part == PD_KUBE_WHOLE);
    return !*type || strcmp(type, "application/json") == 0 ||
           (strcmp(type, "application/yaml") == 0 && request->target.part == PD_KUBE_WHOLE);
}

void pd_kube_write(struct pd_kube *kube, struct pd_exchange *exchange,
                   struct pd_kube_request *request)
{
    struct pd_kube_write *write = PD_NEW(struct pd_kube_write);

    write->kube = kube;
    write->exchange = exchange;
    write->request = *request;
    if (!is_method_right(request))
        PD_REFUSE(write, 405, "the server does not allow this method on the requested resource");
    else if (!is_type_right(request))
        pd_kube_write_refuse_media(write);
    else if (strcmp(request->target.namespace, PD_KUBE_NAMESPACE) != 0)
        PD_REFUSE(write, 404, "namespaces \"%s\" not found", request->target.namespace);
    if (write->answered) {
        pd_kube_write_free(write);
        return;
    }
    pd_exchange_set_note(exchange, write, release_note);
    pd_exchange_want_body(exchange, BODY_BYTES_MAX, on_body, write);
}
