/* How each part of the service is opened (cli/serve.c says in which order they close). */
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/ledger_records.h"
#include "api/ledger_redis.h"
#include "cli/ecs.h"
#include "cli/ledger_env.h"
#include "cli/manifest_keep.h"
#include "cli/records_env.h"
#include "cli/redis_env.h"
#include "cli/serve_state.h"
#include "common/asset.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/process.h"
#include "controller/ecs_intent.h"
#include "controller/provider_docker.h"
#include "controller/provider_shared.h"

#define LANGUAGES_BYTES_MAX (256u * 1024)

int pd_service_check(const struct service *service, struct pd_err *err)
{
    if (service->options.part == PD_REPLICA_ALL || pd_redis_env_is_set())
        return 0;
    return pd_err_set(err, PD_INVALID,
                      "%s through Redis: set REDIS_URL, or run paddock serve, "
                      "which does everything in one process",
                      service->options.part == PD_REPLICA_LEADS ? "it leads other processes"
                                                                : "another process leads it");
}

void pd_service_open_metrics(struct service *service)
{
    service->metrics = pd_metrics_new();
    pd_metrics_set(
        service->metrics, PD_M_BUILD_INFO,
        PD_LABELS(PD_VERSION, uv_version_string(), curl_version_info(CURLVERSION_NOW)->version), 1);
    pd_metrics_on_collect(service->metrics, pd_process_collect, NULL);
}

static int parse_languages(struct service *service, const char *name, const char *text, size_t len,
                           struct pd_err *err)
{
    struct pd_problems problems = {.count = 0};

    if (pd_languages_parse(text, len, &service->languages, &problems) == 0)
        return 0;
    pd_problems_err(&problems, err);
    return pd_err_wrap(err, "%s", name);
}

static int load_languages(struct service *service, struct pd_err *err)
{
    struct pd_asset built_in = pd_asset_find("conf/languages.yaml");
    const char *path = service->options.languages;
    pd_autofree char *text = NULL;
    size_t len;

    if (path && access(path, F_OK) == 0) {
        int rc = pd_file_read(path, LANGUAGES_BYTES_MAX, &text, &len, err);
        return rc < 0 ? rc : parse_languages(service, path, text, len, err);
    }
    if (!built_in.name)
        return pd_err_set(err, PD_INTERNAL, "no language catalogue is built into this program");
    return parse_languages(service, "conf/languages.yaml", (const char *)built_in.data,
                           built_in.len, err);
}

static void on_db_trouble(void *arg, const struct pd_err *err)
{
    (void)arg;
    if (err)
        pd_log(PD_LOG_ERROR, "db", "the database cannot be written; it is tried again", "err",
               err->msg, NULL);
    else
        pd_log(PD_LOG_INFO, "db", "the database is written again", NULL);
}

/* What must last, by part. */
static const struct pd_db_schema *const schemas[] = {&pd_kube_keep_schema, &pd_records_schema,
                                                     &pd_manifest_keep_schema,
                                                     &pd_ecs_intents_schema, NULL};

static int open_db(struct service *service, struct pd_err *err)
{
    pd_autofree char *path = pd_asprintf("%s/paddock.db", service->state.dir);
    const struct pd_db_config config = {
        .loop = &service->loop,
        .path = path,
        .schemas = schemas,
        .trouble = on_db_trouble,
    };

    return pd_db_open(&config, &service->db, err);
}

static int open_records(struct service *service, struct pd_err *err)
{
    struct pd_records_config config = {.db = service->db};

    if (service->options.part == PD_REPLICA_LEADS) /* it runs nothing */
        return 0;
    if (pd_records_env(&config, err) < 0)
        return err->kind;
    service->records = pd_records_new(&config);
    pd_metrics_on_collect(service->metrics, pd_records_collect, service->records);
    return 0;
}

static int open_shipper(struct service *service, struct pd_err *err)
{
    const char *url = getenv("DATABASE_URL");
    struct pd_shipper_config config = {
        .loop = &service->loop, .records = service->records, .url = url};

    if (!url || !*url || !service->records)
        return 0;
    if (pd_records_env_age("PADDOCK_DATABASE_AGE", 0, &config.age_ms, err) < 0)
        return err->kind;
    if (pd_shipper_open(&config, &service->shipper, err) < 0)
        return err->kind;
    pd_metrics_on_collect(service->metrics, pd_shipper_collect, service->shipper);
    return 0;
}

static int open_keys(struct service *service, struct pd_err *err)
{
    const char *env_key = getenv("EXECUTION_API_KEY");
    pd_autofree char *path = pd_asprintf("%s/key", service->state.dir);

    bool is_env = env_key && *env_key;
    bool was_there = access(path, F_OK) == 0;

    /* Replicas would each make one of their own, and none would be the users'. */
    if (!is_env && !was_there && pd_redis_env_is_set())
        return pd_err_set(err, PD_INVALID,
                          "REDIS_URL is set and there is no API key: give one to all replicas by "
                          "EXECUTION_API_KEY");
    if (pd_keys_open(service->state.dir, env_key, &service->keys, err) < 0)
        return err->kind;
    pd_keys_watch(service->keys, &service->loop);
    service->keys_watched = true;
    service->key_is_kept = !is_env && access(path, F_OK) == 0;
    service->key_is_new = service->key_is_kept && !was_there;
    return 0;
}

static int open_redis(struct service *service, struct pd_err *err)
{
    if (!pd_redis_env_is_set())
        return 0;
    if (pd_redis_env_open(&service->loop, &service->redis, err) < 0)
        return err->kind;
    pd_redis_env_log(service->redis);
    return 0;
}

static int open_source_redis(struct service *service, struct pd_err *err)
{
    const struct pd_source_redis_config config = {
        .loop = &service->loop,
        .store = service->store,
        .redis = service->redis,
        .default_provider = service->options.provider,
    };

    return service->redis ? pd_source_redis_open(&config, &service->source_redis, err) : 0;
}

static int open_sources(struct service *service, struct pd_err *err)
{
    const struct pd_sources_config config = {
        .loop = &service->loop,
        .store = service->files ? service->files : service->store,
        .config = service->options.config,
        .pools_dir = service->options.pools_dir,
        .default_provider = service->options.provider,
        .db = service->db,
    };

    if (service->options.part != PD_REPLICA_OWNS &&
        pd_sources_open(&config, &service->sources, err) < 0)
        return err->kind;
    return open_source_redis(service, err);
}

static bool is_healthy(void *arg, const char **ret_sentence)
{
    struct service *service = arg;

    if (!service->controller) {
        *ret_sentence = "paddock is starting or stopping";
        return false;
    }
    return pd_controller_is_healthy(service->controller, ret_sentence) &&
           (!service->below || pd_provider_shared_is_ready(service->docker, ret_sentence));
}

/* Pools made by the API come first: what they own, files do not take away. */
static int open_kept(struct service *service, struct pd_err *err)
{
    const struct pd_kube_keep_config config = {
        .store = service->store,
        .db = service->db,
        .default_provider = service->options.provider,
    };

    return pd_kube_keep_open(&config, &service->kube_keep, err);
}

static const char *engine_of(void *arg)
{
    const struct service *service = arg;

    return pd_provider_docker_engine_id(service->below);
}

/* For the sandboxes of another replica. */
static int open_guest(void *arg, const char *instance, struct pd_provider **ret_provider,
                      struct pd_err *err)
{
    struct service *service = arg;
    const struct pd_docker_config docker = {
        .host = service->options.docker.host,
        .tls_verify = service->options.docker.tls_verify,
        .cert_path = service->options.docker.cert_path,
        .instance = instance,
        .metrics = service->metrics,
    };

    return pd_provider_docker_new(&service->loop, &docker, ret_provider, err);
}

/* Then the files of the one that leads count. */
static int open_declared(struct service *service, struct pd_err *err)
{
    const struct pd_declared_config config = {
        .loop = &service->loop,
        .store = service->store,
        .files = service->files,
        .sources = service->sources,
        .redis = service->redis,
        .shared = service->docker,
        .default_provider = service->options.provider,
    };

    return service->below ? pd_declared_open(&config, &service->declared, err) : 0;
}

/* With Redis the engine is shared with other replicas. */
static void share_docker(struct service *service)
{
    const struct pd_provider_shared_config config = {
        .loop = &service->loop,
        .redis = service->redis,
        .store = service->store,
        .part = service->options.part,
        .below = service->docker,
        .scope = engine_of,
        .guest = open_guest,
        .arg = service,
    };

    if (!service->redis || !service->docker)
        return;
    service->below = service->docker;
    service->docker = pd_provider_shared_new(&config);
}

static struct pd_share share_of(void *arg, const struct pd_pool_spec *spec)
{
    const struct service *service = arg;

    if (service->options.part == PD_REPLICA_LEADS)
        return (struct pd_share){0, 0, 0};
    if (spec->provider != PD_PROVIDER_DOCKER)
        return (struct pd_share){spec->min_size, spec->max_size, spec->target_idle};
    return pd_provider_shared_share(service->docker, spec);
}

static int others_of(void *arg, const char *pool)
{
    const struct service *service = arg;

    return pd_provider_shared_others(service->docker, pool);
}

/* What an earlier life left may be of a pool that only Redis knows. */
static bool has_heard(void *arg)
{
    const struct service *service = arg;

    return !service->api || pd_api_knows_pools(service->api);
}

/* Whether there is an engine to try. */
static bool has_docker(const struct service *service)
{
    return service->options.provider != PD_PROVIDER_ECS || service->options.docker.host ||
           access("/var/run/docker.sock", F_OK) == 0;
}

static int open_controller(struct service *service, struct pd_err *err)
{
    pd_autofree char *state_dir = realpath(service->state.dir, NULL);
    pd_autofree char *direct_dir = state_dir ? pd_asprintf("%s/direct", state_dir) : NULL;
    const struct pd_docker_config docker = {
        .host = service->options.docker.host,
        .tls_verify = service->options.docker.tls_verify,
        .cert_path = service->options.docker.cert_path,
        .instance = service->state.instance,
        .metrics = service->metrics,
        .direct_dir = direct_dir,
    };
    struct pd_controller_config config = {
        .loop = &service->loop,
        .store = service->store,
        .languages = service->languages,
        .metrics = service->metrics,
    };
    const struct pd_ecs_service aws = {
        .loop = &service->loop,
        .instance = service->state.instance,
        .state_dir = service->state.dir,
        .db = service->db,
        .metrics = service->metrics,
    };

    if (pd_ecs_open(&aws, service->options.provider == PD_PROVIDER_ECS, &service->ecs, err) < 0)
        return err->kind;
    config.ecs = service->ecs;
    if (has_docker(service) &&
        pd_provider_docker_new(&service->loop, &docker, &service->docker, err) < 0)
        return err->kind;
    share_docker(service);
    config.docker = service->docker;
    config.share = service->below ? share_of : NULL;
    config.others = service->below ? others_of : NULL;
    config.heard = service->below ? has_heard : NULL;
    config.share_arg = service;
    if (service->options.part != PD_REPLICA_ALL && !service->below)
        return pd_err_set(err, PD_INVALID,
                          "there is no Docker engine here (DOCKER_HOST): ECS pools are not shared "
                          "among processes; paddock serve keeps them");
    service->controller = pd_controller_new(&config);
    return 0;
}

/* ---- those who share the engine, for the pools of the API ---- */

/* The API is opened before the provider, and closed before it. */
static const char *peers_prefix(void *arg)
{
    const struct service *service = arg;

    return service->below ? pd_provider_shared_prefix(service->docker) : NULL;
}

static const char *peers_lease(void *arg)
{
    const struct service *service = arg;

    return service->below && pd_provider_shared_leads(service->docker)
               ? pd_provider_shared_lease(service->docker)
               : NULL;
}

static bool peers_is_live(void *arg, const char *instance)
{
    const struct service *service = arg;

    return service->below && pd_provider_shared_is_live(service->docker, instance);
}

/* An engine that is shared is one that Redis and Docker are there for. */
static bool is_shared(const struct service *service)
{
    return service->redis && has_docker(service);
}

static const struct pd_kube_peers *peers_of(struct service *service)
{
    service->kube_peers = (struct pd_kube_peers){
        .redis = service->redis,
        .instance = service->state.instance,
        .prefix = peers_prefix,
        .lease = peers_lease,
        .is_live = peers_is_live,
        .others = others_of,
        .arg = service,
    };
    return is_shared(service) ? &service->kube_peers : NULL;
}

static int open_api(struct service *service, struct pd_err *err)
{
    const struct pd_api_config config = {
        .loop = &service->loop,
        .store = service->store,
        .languages = service->languages,
        .keys = service->keys,
        .listen_address = service->options.address,
        .listen_port = service->options.port,
        .kube_address = service->options.kube_address,
        .kube_port = service->options.kube_port,
        .kube_optional = service->options.kube_is_default,
        .state_dir = service->state.dir,
        .tls_ca_file = service->options.tls_ca_file,
        .kube_keep = service->kube_keep,
        .kube_peers = peers_of(service),
        .redis = service->redis,
        .records = service->records,
        .ledger = service->ledger,
        .runs_nothing = service->options.part == PD_REPLICA_LEADS,
        .default_provider = service->options.provider,
        .host_names = service->options.host_names,
        .metrics = service->metrics,
        .healthy = is_healthy,
        .healthy_arg = service,
    };

    return pd_api_open(&config, &service->api, err);
}

/* Without Redis this process is alone, and its own database is enough. */
static int open_ledger(struct service *service, struct pd_err *err)
{
    struct pd_ledger_redis_config config = {
        .loop = &service->loop,
        .redis = service->redis,
        .records = service->records,
        .store = service->store,
        .instance = service->state.instance,
    };

    if (!service->records)
        return 0;
    if (pd_ledger_env(&config, err) < 0)
        return err->kind;
    service->ledger =
        service->redis ? pd_ledger_redis_new(&config) : pd_ledger_records_new(service->records);
    return 0;
}

int pd_service_open(struct service *service, struct pd_err *err)
{
    if (pd_state_open(service->options.state_dir, &service->state, err) < 0 ||
        open_db(service, err) < 0 || open_records(service, err) < 0 ||
        open_shipper(service, err) < 0 || load_languages(service, err) < 0 ||
        open_keys(service, err) < 0 || open_redis(service, err) < 0)
        return err->kind;
    service->store = pd_store_new(&service->loop, NULL);
    if (open_ledger(service, err) < 0)
        return err->kind;
    if (is_shared(service) && service->options.part != PD_REPLICA_OWNS)
        service->files = pd_store_new(&service->loop, NULL);
    if (open_kept(service, err) < 0 || open_sources(service, err) < 0 ||
        open_api(service, err) < 0 || open_controller(service, err) < 0)
        return err->kind;
    return open_declared(service, err);
}
