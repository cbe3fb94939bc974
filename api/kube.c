#include "api/kube.h"

#include <stdio.h>
#include <string.h>

#include "api/kube_discovery.h"
#include "api/kube_inside.h"
#include "api/kube_object.h"
#include "api/kube_openapi_v2.h"
#include "api/kube_route.h"
#include "api/server.h"
#include "common/mem.h"
#include "common/time.h"

/* ---- which requests ---- */

static bool is_under(const char *path, const char *root)
{
    size_t len = strlen(root);

    return strncmp(path, root, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

bool pd_kube_owns(const char *path)
{
    return is_under(path, "/apis") || is_under(path, "/api") || is_under(path, "/openapi/v3") ||
           is_under(path, "/openapi/v2") || strcmp(path, "/version") == 0;
}

bool pd_kube_is_discovery(const char *path)
{
    size_t slashes = 0;

    for (const char *p = path; *p; p++)
        slashes += *p == '/' && p[1];
    return strncmp(path, "/openapi/", 9) == 0 || strcmp(path, "/version") == 0 ||
           slashes <= (strncmp(path, "/apis", 5) == 0 ? 3 : 2);
}

bool pd_kube_is_write(enum pd_method method)
{
    return method != PD_METHOD_GET && method != PD_METHOD_HEAD && method != PD_METHOD_OPTIONS;
}

static const char *verb_of(enum pd_method method)
{
    switch (method) {
    case PD_METHOD_POST:
        return "create";
    case PD_METHOD_PUT:
        return "update";
    case PD_METHOD_PATCH:
        return "patch";
    case PD_METHOD_DELETE:
        return "delete";
    default:
        return "get";
    }
}

void pd_kube_deny(struct pd_kube *kube, struct pd_exchange *exchange, int status,
                  const char *detail)
{
    struct pd_kube_target target;
    char resource[PD_KUBE_RESOURCE_BYTES];

    if (status == 401 || !pd_kube_target_parse(&kube->kinds, pd_exchange_path(exchange), &target)) {
        pd_kube_refuse(exchange, &(struct pd_kube_refusal){.status = status}, "%s", detail);
        return;
    }
    pd_exchange_set_route(exchange, pd_kube_route(&target, pd_exchange_method(exchange), false));
    pd_kube_refuse(
        exchange,
        &(struct pd_kube_refusal){.status = status, .kind = target.kind, .name = target.name},
        "%s%s%s%s is forbidden: cannot %s it: %s", pd_kube_resource(target.kind, resource),
        *target.name ? " \"" : "", target.name, *target.name ? "\"" : "",
        verb_of(pd_exchange_method(exchange)), detail);
}

/* ---- answering ---- */

void pd_kube_refuse_absent(struct pd_exchange *exchange, const struct pd_kube_target *target)
{
    char resource[PD_KUBE_RESOURCE_BYTES];

    pd_kube_refuse(
        exchange,
        &(struct pd_kube_refusal){.status = 404, .kind = target->kind, .name = target->name},
        "%s \"%s\" not found", pd_kube_resource(target->kind, resource), target->name);
}

void pd_kube_reply_object(struct pd_kube *kube, struct pd_exchange *exchange,
                          const struct pd_kube_request *request, int status, struct pd_node *object,
                          const struct pd_kube_warnings *warnings)
{
    pd_autonode struct pd_node *table = NULL;
    char version[PD_KUBE_VERSION_BYTES];
    struct pd_node *metadata;

    if (!request->table || request->target.part == PD_KUBE_SCALE) {
        pd_kube_reply(exchange, status, object, warnings);
        return;
    }
    metadata = pd_node_map_new();
    pd_node_set_string(metadata, "resourceVersion",
                       pd_kube_version(pd_kube_watch_version(kube->watch), version));
    table = pd_kube_table(request->target.kind, &object, 1, metadata, true, request->include,
                          pd_wall_ms());
    pd_kube_reply(exchange, status, table, warnings);
}

static void get(struct pd_kube *kube, struct pd_exchange *exchange,
                const struct pd_kube_request *request)
{
    const struct pd_kube_target *target = &request->target;
    pd_autonode struct pd_node *object = pd_kube_find(kube, target);

    if (!object) {
        pd_kube_refuse_absent(exchange, target);
        return;
    }
    if (target->part == PD_KUBE_SCALE) {
        struct pd_node *scale = pd_kube_scale_object(object);
        pd_node_free(object);
        object = scale;
    }
    pd_kube_reply_object(kube, exchange, request, 200, object, NULL);
}

static void read_objects(struct pd_kube *kube, struct pd_exchange *exchange,
                         struct pd_kube_request *request)
{
    if (*request->target.name)
        get(kube, exchange, request);
    else if (request->watch)
        pd_kube_watch_begin(kube->watch, exchange, request);
    else
        pd_kube_list(kube, exchange, request);
}

/* ---- reading among replicas ---- */

struct reading {
    struct pd_kube *kube;
    struct pd_exchange *exchange; /* NULL: the client is gone */
    struct pd_kube_request request;
};

static void on_reader_gone(void *arg)
{
    struct reading *reading = arg;

    reading->exchange = NULL;
}

/* Where Redis cannot be read, what is known is told. */
static void on_fresh(void *arg, const struct pd_err *err)
{
    struct reading *reading = arg;

    (void)err;
    if (reading->exchange)
        read_objects(reading->kube, reading->exchange, &reading->request);
    pd_kube_request_fini(&reading->request);
    free(reading);
}

/* Whatever any replica has answered before is seen. False: nothing is to be waited for. */
static bool read_when_fresh(struct pd_kube *kube, struct pd_exchange *exchange,
                            struct pd_kube_request *request)
{
    struct reading *reading;
    struct pd_err err;

    if (!kube->shared || request->watch)
        return false;
    reading = PD_NEW(struct reading);
    *reading = (struct reading){kube, exchange, *request};
    if (pd_kube_shared_refresh(kube->shared, on_fresh, reading, &err) < 0) {
        free(reading);
        return false;
    }
    request->labels.count = request->fields.count = 0; /* taken over */
    pd_exchange_on_gone(exchange, on_reader_gone, reading);
    return true;
}

static void handle_objects(struct pd_kube *kube, struct pd_exchange *exchange,
                           const struct pd_kube_target *target)
{
    struct pd_kube_request request;
    struct pd_err err;

    pd_exchange_set_route(exchange, pd_kube_route(target, pd_exchange_method(exchange), false));
    if (pd_kube_request_read(exchange, target, &request, &err) < 0) {
        pd_kube_refuse(exchange, &(struct pd_kube_refusal){.status = 400, .kind = target->kind},
                       "%s", err.msg);
    } else if (pd_kube_is_write(request.method)) {
        pd_kube_write(kube, exchange, &request);
        return;
    } else {
        pd_exchange_set_route(exchange, pd_kube_route(target, request.method, request.watch));
        if (!read_when_fresh(kube, exchange, &request))
            read_objects(kube, exchange, &request);
    }
    pd_kube_request_fini(&request);
}

static void reply_openapi_v2(struct pd_kube *kube, struct pd_exchange *exchange)
{
    struct pd_buf body;

    pd_buf_init(&body, PD_KUBE_OPENAPI_V2_BYTES_MAX);
    pd_kube_openapi_v2(&kube->kinds, &body);
    pd_exchange_reply(exchange, 200, PD_KUBE_OPENAPI_V2_TYPE, NULL, &body);
}

void pd_kube_handle(struct pd_kube *kube, struct pd_exchange *exchange)
{
    const char *path = pd_exchange_path(exchange);
    pd_autonode struct pd_node *document = NULL;
    struct pd_kube_target target;

    if (pd_exchange_method(exchange) == PD_METHOD_OPTIONS) {
        pd_kube_refuse(exchange, &(struct pd_kube_refusal){.status = 405},
                       "the server does not allow this method on the requested resource");
        return;
    }
    if (pd_kube_target_parse(&kube->kinds, path, &target)) {
        handle_objects(kube, exchange, &target);
        return;
    }
    if (strcmp(path, "/openapi/v2") == 0 && !pd_kube_is_write(pd_exchange_method(exchange))) {
        reply_openapi_v2(kube, exchange);
        return;
    }
    document = pd_kube_discovery(&kube->kinds, path);
    if (!document)
        pd_kube_refuse(exchange, &(struct pd_kube_refusal){.status = 404},
                       "the server could not find the requested resource");
    else if (pd_kube_is_write(pd_exchange_method(exchange)))
        pd_kube_refuse(exchange, &(struct pd_kube_refusal){.status = 405},
                       "the server does not allow this method on the requested resource");
    else
        pd_kube_reply(exchange, 200, document, NULL);
}

/* ---- life ---- */

bool pd_kube_knows_pools(const struct pd_kube *kube)
{
    return !kube->shared || pd_kube_shared_is_settled(kube->shared);
}

int pd_kube_open(const struct pd_kube_config *config, struct pd_kube **ret_kube, struct pd_err *err)
{
    struct pd_kube *kube = PD_NEW(struct pd_kube);
    int rc = pd_kube_kinds_load(&kube->kinds, err);

    if (rc == 0)
        rc = pd_pool_schema_new(&kube->pool_schema, err);
    if (rc < 0) {
        pd_kube_kinds_fini(&kube->kinds);
        free(kube);
        return rc;
    }
    kube->loop = config->loop;
    kube->store = config->store;
    kube->keep = config->keep;
    kube->default_provider = config->default_provider;
    kube->watch = pd_kube_watch_new(config->loop, config->store, config->keep);
    if (config->peers) {
        const struct pd_kube_shared_config shared = {
            .loop = config->loop,
            .store = config->store,
            .keep = config->keep,
            .watch = kube->watch,
            .peers = config->peers,
            .default_provider = config->default_provider,
        };
        rc = pd_kube_shared_open(&shared, &kube->shared, err);
    }
    *ret_kube = kube;
    return rc;
}

static void on_watch_closed(void *arg)
{
    struct pd_kube *kube = arg;
    void (*closed)(void *arg) = kube->closed;
    void *closed_arg = kube->closed_arg;

    pd_schema_free(kube->pool_schema);
    pd_kube_kinds_fini(&kube->kinds);
    free(kube);
    if (closed)
        closed(closed_arg);
}

static void on_shared_closed(void *arg)
{
    struct pd_kube *kube = arg;

    pd_kube_watch_close(kube->watch, on_watch_closed, kube);
}

void pd_kube_close(struct pd_kube *kube, void (*closed)(void *arg), void *arg)
{
    kube->closed = closed;
    kube->closed_arg = arg;
    if (kube->shared)
        pd_kube_shared_close(PD_STEAL(kube->shared), on_shared_closed, kube);
    else
        on_shared_closed(kube);
}
