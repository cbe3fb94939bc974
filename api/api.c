#include "api/api.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/answered.h"
#include "api/async.h"
#include "api/async_inside.h"
#include "api/auth.h"
#include "api/book.h"
#include "api/catalogue.h"
#include "api/context.h"
#include "api/execute.h"
#include "api/execution.h"
#include "api/health.h"
#include "api/kube.h"
#include "api/kube_listener.h"
#include "api/listener.h"
#include "api/login.h"
#include "api/metrics.h"
#include "api/mirror.h"
#include "api/rates.h"
#include "api/reference.h"
#include "api/server.h"
#include "api/shared_sessions.h"
#include "api/slots.h"
#include "api/stream.h"
#include "api/viewer.h"
#include "api/web.h"
#include "common/asset.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/yaml.h"

#define DRAIN_LOOK_MS 20
#define STREAMS_LOOKS 250 /* then streams that do not end are cut off */
#define MACHINE_BYTES 256
#define EXECUTE_SCHEMA "api/schemas/execute.yaml"

struct pd_api {
    struct pd_api_context context;
    struct pd_schema *execute_schema;
    struct pd_server *server;
    struct pd_kube *kube;
    struct pd_kube_listener *kube_listener; /* NULL: none */
    char machine[MACHINE_BYTES];
    char *host_names;
    int streams_looks; /* while nothing but streams was left */
    uv_timer_t soon;   /* tells of a drain that had nothing to wait for */
    bool runs_nothing;
    bool closing;      /* no drain is told of any more */
    void (*drained)(void *arg);
    void *drained_arg;
    void (*closed)(void *arg);
    void *closed_arg;
};

static const struct pd_route routes[] = {
    {PD_METHOD_POST, "/execute", PD_SCOPE_EXECUTE, pd_execute_handle},
    {PD_METHOD_GET, "/execute/stream", PD_SCOPE_EXECUTE, pd_stream_run_handle},
    {PD_METHOD_POST, "/executions", PD_SCOPE_EXECUTE, pd_async_post_handle},
    {PD_METHOD_GET, "/executions", PD_SCOPE_READ | PD_SCOPE_EXECUTE, pd_async_list_handle},
    {PD_METHOD_GET, "/executions/{}", PD_SCOPE_READ | PD_SCOPE_EXECUTE, pd_async_get_handle},
    {PD_METHOD_DELETE, "/executions/{}", PD_SCOPE_EXECUTE | PD_SCOPE_ADMIN, pd_async_delete_handle},
    {PD_METHOD_GET, "/executions/{}/stream", PD_SCOPE_READ | PD_SCOPE_EXECUTE,
     pd_stream_watch_handle},
    {PD_METHOD_GET, "/languages", PD_SCOPE_ALL, pd_catalogue_handle},
    {PD_METHOD_GET, "/health", PD_SCOPE_OPEN, pd_health_handle},
    {PD_METHOD_GET, "/livez", PD_SCOPE_OPEN, pd_livez_handle},
    {PD_METHOD_GET, "/readyz", PD_SCOPE_OPEN, pd_readyz_handle},
    {PD_METHOD_POST, "/login", PD_SCOPE_OPEN, pd_login_handle},
    {PD_METHOD_GET, "/session", PD_SCOPE_ALL, pd_session_get_handle},
    {PD_METHOD_DELETE, "/session", PD_SCOPE_ALL, pd_session_delete_handle},
    {PD_METHOD_POST, "/session/links", PD_SCOPE_ALL, pd_session_link_handle},
    {PD_METHOD_GET, "/metrics", PD_SCOPE_READ, pd_metrics_handle},
    {PD_METHOD_GET, "/openapi.json", PD_SCOPE_OPEN, pd_openapi_handle},
    {PD_METHOD_GET, "/asyncapi.yaml", PD_SCOPE_OPEN, pd_asyncapi_handle},
    {PD_METHOD_GET, "/docs", PD_SCOPE_OPEN, pd_docs_handle},
    {PD_METHOD_GET, "/docs/{}", PD_SCOPE_OPEN, pd_docs_file_handle},
    {.path = NULL},
};

/* Of `paddock controller`, beside kubectl's. */
static const struct pd_route controller_routes[] = {
    {PD_METHOD_GET, "/health", PD_SCOPE_OPEN, pd_health_handle},
    {PD_METHOD_GET, "/livez", PD_SCOPE_OPEN, pd_livez_handle},
    {PD_METHOD_GET, "/readyz", PD_SCOPE_OPEN, pd_readyz_handle},
    {PD_METHOD_GET, "/metrics", PD_SCOPE_READ, pd_metrics_handle},
    {.path = NULL},
};

/* ---- requests ---- */

static void problem(struct pd_exchange *exchange, int status, const char *detail, const char *allow)
{
    pd_exchange_problem(
        exchange, &(struct pd_problem_details){.status = status, .detail = detail, .allow = allow});
}

static void handle(struct pd_api *api, struct pd_exchange *exchange, const struct pd_route *route)
{
    const struct pd_key *key;
    const char *detail;
    int status = pd_auth_check(&api->context, exchange, route->needs, &key, &detail);

    pd_exchange_set_route(exchange, route->path);
    if (status) {
        problem(exchange, status, detail, NULL);
    } else {
        pd_exchange_set_key_id(exchange, key ? key->record.id : NULL);
        route->handler(&api->context, exchange);
    }
}

/* Discovery is for whoever has a key at all. */
static unsigned kube_needs(const struct pd_exchange *exchange)
{
    if (pd_kube_is_write(pd_exchange_method(exchange)))
        return PD_SCOPE_ADMIN;
    return pd_kube_is_discovery(pd_exchange_path(exchange)) ? PD_SCOPE_ALL
                                                            : PD_SCOPE_READ | PD_SCOPE_ADMIN;
}

static void handle_kube(struct pd_api *api, struct pd_exchange *exchange)
{
    const struct pd_key *key;
    const char *detail;
    int status = pd_auth_check(&api->context, exchange, kube_needs(exchange), &key, &detail);

    pd_exchange_set_route(exchange, "/apis");
    if (status) {
        pd_kube_deny(api->kube, exchange, status, detail);
    } else {
        pd_exchange_set_key_id(exchange, key ? key->record.id : NULL);
        pd_kube_handle(api->kube, exchange);
    }
}

static void on_request(void *arg, struct pd_exchange *exchange)
{
    struct pd_api *api = arg;
    const struct pd_route *route;
    char allow[PD_ALLOW_BYTES];
    char line[PD_ALLOW_BYTES + 16];

    if (!api->runs_nothing && pd_web_serve(api->context.web, exchange))
        return;
    if (pd_kube_owns(pd_exchange_path(exchange))) {
        handle_kube(api, exchange);
        return;
    }
    switch (pd_route_find(api->runs_nothing ? controller_routes : routes, pd_exchange_method(exchange), pd_exchange_path(exchange), &route,
                          allow)) {
    case PD_ROUTE_FOUND:
        handle(api, exchange, route);
        break;
    case PD_ROUTE_OPTIONS:
        snprintf(line, sizeof line, "Allow: %s\r\n", allow);
        pd_exchange_reply(exchange, 204, NULL, line, NULL);
        break;
    case PD_ROUTE_NO_METHOD:
        problem(exchange, 405, "this resource has other methods; see Allow", allow);
        break;
    case PD_ROUTE_NO_PATH:
        problem(exchange, 404,
                api->runs_nothing ? "there is nothing here: this is paddock controller, which runs "
                                    "nothing; ask a paddock api"
                                  : "there is nothing here",
                NULL);
        break;
    }
}

static void on_answer(void *arg, const struct pd_exchange *exchange, int status)
{
    const struct pd_api *api = arg;

    pd_answered(api->context.metrics, exchange, status);
}

/* ---- life ---- */

static int load_schema(struct pd_schema **ret_schema, struct pd_err *err)
{
    struct pd_asset text = pd_asset_find(EXECUTE_SCHEMA);
    pd_autonode struct pd_node *node = NULL;

    if (!text.name)
        return pd_err_set(err, PD_INTERNAL, "%s is not built into this program", EXECUTE_SCHEMA);
    if (pd_yaml_parse((const char *)text.data, text.len, &node, err) < 0 ||
        pd_schema_new(node, ret_schema, err) < 0)
        return pd_err_wrap(err, "%s", EXECUTE_SCHEMA);
    return 0;
}

static int open_server(struct pd_api *api, const struct pd_api_config *config, struct pd_err *err)
{
    const struct pd_server_config server = {
        .loop = config->loop,
        .address = config->listen_address,
        .port = config->listen_port,
        .limits = config->limits ? config->limits : &pd_server_limits_default,
        .on_request = on_request,
        .on_answer = on_answer,
        .arg = api,
    };

    return pd_server_open(&server, &api->server, err);
}

static void on_kube_accept(void *arg, int fd)
{
    struct pd_api *api = arg;

    pd_server_adopt(api->server, fd);
}

static int open_kube_listener(struct pd_api *api, const struct pd_api_config *config,
                              struct pd_err *err)
{
    const struct pd_kube_listener_config kube = {
        .loop = config->loop,
        .address = config->kube_address,
        .port = config->kube_port,
        .state_dir = config->state_dir,
        .ca_file = config->tls_ca_file,
        .names = config->host_names,
        .on_accept = on_kube_accept,
        .arg = api,
    };
    struct pd_err own;
    int rc;

    if (!config->kube_address)
        return 0;
    rc = pd_kube_listener_open(&kube, &api->kube_listener, &own);
    if (rc == 0)
        return 0;
    if (!config->kube_optional || rc != PD_UNAVAILABLE)
        return pd_err_set(err, rc, "for kubectl: %s", own.msg);
    pd_log(PD_LOG_WARN, "api", "no listener for kubectl; --kube-listen chooses another", "err",
           own.msg, NULL);
    return 0;
}

static void collect(void *arg, struct pd_metrics *metrics)
{
    struct pd_api *api = arg;

    pd_api_collect(&api->context, metrics);
    pd_rates_collect(api->context.rates, metrics);
    pd_metrics_set(metrics, PD_M_SOCKETS, NULL, (double)pd_server_connections(api->server));
}

/* A key that is revoked keeps its place until its last run is over. */
static struct pd_key_limits limits_of(void *arg, const char *key_id)
{
    struct pd_api_context *api = arg;
    const struct pd_key *key = pd_keys_find(api->keys, key_id);

    if (!key)
        return (struct pd_key_limits){.share = 1};
    return (struct pd_key_limits){.share = key->record.share,
                                  .concurrency = pd_slots_limit(api->slots, key)};
}

static int open_book(struct pd_api *api, const struct pd_api_config *config, struct pd_err *err)
{
    const struct pd_book_config book = {
        .loop = config->loop,
        .store = config->store,
        .executions = api->context.executions,
        .ledger = config->ledger,
        .rules = &api->context.rules,
    };

    api->context.records = config->records;
    api->context.ledger = config->ledger;
    return pd_book_open(&book, &api->context.book, err);
}

/* What has no ledger runs nothing that others know of. */
static int open_mirror(struct pd_api *api, const struct pd_api_config *config, struct pd_err *err)
{
    const struct pd_mirror_config mirror = {
        .loop = config->loop,
        .redis = config->redis,
        .executions = api->context.executions,
        .ledger = config->ledger,
        .local = &pd_async_mirror_local,
        .arg = &api->context,
    };

    if (!config->redis || !config->ledger || config->runs_nothing)
        return 0;
    return pd_mirror_open(&mirror, &api->context.mirror, err);
}

int pd_api_open(const struct pd_api_config *config, struct pd_api **ret_api, struct pd_err *err)
{
    struct pd_api *api;
    struct pd_schema *schema;
    int rc;

    if (pd_keys_count(config->keys) == 0)
        return pd_err_set(err, PD_DENIED, "nothing is served without an API key");
    rc = load_schema(&schema, err);
    if (rc < 0)
        return rc;
    api = PD_NEW(struct pd_api);
    rc = pd_kube_open(&(struct pd_kube_config){.loop = config->loop,
                                               .store = config->store,
                                               .keep = config->kube_keep,
                                               .peers = config->kube_peers,
                                               .default_provider = config->default_provider},
                      &api->kube, err);
    if (rc == 0)
        rc = open_server(api, config, err);
    if (rc == 0) {
        rc = open_kube_listener(api, config, err);
        if (rc < 0)
            pd_server_close(api->server, NULL, NULL);
    }
    if (rc < 0) {
        if (api->kube)
            pd_kube_close(api->kube, NULL, NULL);
        pd_schema_free(schema);
        free(api);
        return rc;
    }
    if (gethostname(api->machine, sizeof api->machine - 1) < 0)
        api->machine[0] = '\0';
    api->host_names = config->host_names ? pd_strdup(config->host_names) : NULL;
    api->execute_schema = schema;
    api->runs_nothing = config->runs_nothing;
    api->context = (struct pd_api_context){
        .store = config->store,
        .languages = config->languages,
        .keys = config->keys,
        .dispatch = pd_dispatch_new(config->loop, config->store,
                                    config->links ? config->links : &pd_dispatch_links_real),
        .rules = {schema, config->languages, config->store},
        .sessions = pd_sessions_new(),
        .guesses = pd_guesses_new(),
        .web = pd_web_new(),
        .reference = pd_reference_new(),
        .hosts = {api->machine, api->host_names},
        .metrics = config->metrics,
        .healthy = config->healthy,
        .healthy_arg = config->healthy_arg,
    };
    if (config->redis) /* replicas behind one name may listen on different ports */
        pd_strcpy(api->context.cookie, sizeof api->context.cookie, "paddock");
    else
        snprintf(api->context.cookie, sizeof api->context.cookie, "paddock_%d",
                 pd_server_port(api->server));
    pd_dispatch_set_metrics(api->context.dispatch, config->metrics);
    api->context.executions = pd_executions_new(api->context.dispatch, config->store);
    api->context.slots =
        pd_slots_open(config->loop, config->keys, config->redis, api->context.dispatch);
    pd_dispatch_set_limits(api->context.dispatch, limits_of, &api->context);
    api->context.viewers =
        pd_viewers_new(config->loop, &api->context,
                       config->viewer_limits ? config->viewer_limits : &pd_viewer_limits_default);
    pd_metrics_on_collect(config->metrics, collect, api);
    uv_timer_init(config->loop, &api->soon);
    api->soon.data = api;
    *ret_api = api;
    api->context.rates = pd_rates_open(config->loop, config->keys, config->redis);
    if (config->redis && pd_shared_sessions_open(config->redis, api->context.sessions,
                                                 &api->context.shared_sessions, err) < 0)
        return err->kind;
    rc = config->ledger ? open_book(api, config, err) : 0;
    return rc == 0 ? open_mirror(api, config, err) : rc;
}

int pd_api_port(const struct pd_api *api)
{
    return pd_server_port(api->server);
}

size_t pd_api_connections(const struct pd_api *api)
{
    return pd_server_connections(api->server);
}

bool pd_api_knows_pools(const struct pd_api *api)
{
    return pd_kube_knows_pools(api->kube);
}

int pd_api_kube_port(const struct pd_api *api)
{
    return api->kube_listener ? pd_kube_listener_port(api->kube_listener) : 0;
}

void pd_api_login_link(struct pd_api *api, const char *key_id, char ret_link[static PD_TOKEN_BYTES])
{
    pd_sessions_offer(api->context.sessions, key_id, pd_time_now(), ret_link);
}

static void tell_drained(struct pd_api *api)
{
    void (*drained)(void *arg) = api->drained;

    api->drained = NULL;
    if (drained)
        drained(api->drained_arg);
}

static bool is_watched(const struct pd_api *api)
{
    return pd_server_streaming(api->server) > 0 ||
           (api->context.mirror && pd_mirror_telling(api->context.mirror) > 0);
}

static void on_soon(uv_timer_t *timer)
{
    struct pd_api *api = timer->data;

    if (pd_dispatch_busy(api->context.dispatch) > 0)
        return; /* idleness will be told again */
    if ((api->context.book && pd_book_ending(api->context.book) > 0) ||
        pd_server_writing(api->server) > 0 ||
        (is_watched(api) && api->streams_looks++ < STREAMS_LOOKS))
        uv_timer_start(&api->soon, on_soon, DRAIN_LOOK_MS, 0);
    else
        tell_drained(api);
}

static void on_idle(void *arg)
{
    struct pd_api *api = arg;

    if (api->closing)
        return;
    /* Not at once: the answer to the last run is still being written. */
    uv_timer_start(&api->soon, on_soon, 1, 0);
}

void pd_api_drain(struct pd_api *api, void (*drained)(void *arg), void *arg)
{
    api->context.draining = true;
    api->drained = drained;
    api->drained_arg = arg;
    pd_server_drain(api->server);
    pd_dispatch_on_idle(api->context.dispatch, on_idle, api);
    if (api->context.book)
        pd_book_drain(api->context.book);
    if (pd_dispatch_busy(api->context.dispatch) == 0)
        on_idle(api);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct pd_api *api = handle->data;
    void (*closed)(void *arg) = api->closed;
    void *arg = api->closed_arg;

    pd_schema_free(api->execute_schema);
    pd_shared_sessions_close(api->context.shared_sessions);
    pd_rates_close(api->context.rates);
    pd_sessions_free(api->context.sessions);
    pd_guesses_free(api->context.guesses);
    pd_web_free(api->context.web);
    pd_reference_free(api->context.reference);
    free(api->host_names);
    free(api);
    if (closed)
        closed(arg);
}

static void on_dispatch_closed(void *arg)
{
    struct pd_api *api = arg;

    pd_book_close(api->context.book);
    pd_executions_free(api->context.executions);
    uv_close((uv_handle_t *)&api->soon, on_timer_closed);
}

static void on_mirror_closed(void *arg)
{
    struct pd_api *api = arg;

    pd_slots_close(api->context.slots);
    pd_dispatch_close(api->context.dispatch, on_dispatch_closed, api);
}

static void on_viewers_closed(void *arg)
{
    struct pd_api *api = arg;

    if (api->context.mirror)
        pd_mirror_close(PD_STEAL(api->context.mirror), on_mirror_closed, api);
    else
        on_mirror_closed(api);
}

static void on_watches_closed(void *arg)
{
    struct pd_api *api = arg;

    pd_viewers_close(api->context.viewers, on_viewers_closed, api);
}

/* Clients first: whoever hangs up takes its run along. */
static void on_server_closed(void *arg)
{
    struct pd_api *api = arg;

    pd_kube_close(api->kube, on_watches_closed, api);
}

static void on_kube_closed(void *arg)
{
    struct pd_api *api = arg;

    pd_server_close(api->server, on_server_closed, api);
}

void pd_api_close(struct pd_api *api, void (*closed)(void *arg), void *arg)
{
    pd_metrics_off_collect(api->context.metrics, collect, api);
    api->closing = true;
    uv_timer_stop(&api->soon);
    api->closed = closed;
    api->closed_arg = arg;
    if (api->kube_listener)
        pd_kube_listener_close(api->kube_listener, on_kube_closed, api);
    else
        on_kube_closed(api);
}
