/* Theory of operation.
 *
 * Starting goes through a list of parts: state folder, database, languages, keys, store,
 * pools from files, API, Docker provider, controller. The API listens before
 * the controller begins, so that a busy port costs no sandbox; requests wait
 * for the first one like for any other. Stopping ends the API, then the
 * controller, then the rest, one asynchronous close after another: `stop_step`
 * is called by each `closed` and closes the next part that is still there. A
 * start that fails half way stops the same way.
 *
 * A signal to stop first drains the API (nothing new is accepted, what runs may
 * finish), for PD_SERVE_DRAIN_MS at most; a second signal cuts that short. What
 * cannot be closed within PD_SERVE_CLOSE_MS is left to the next start, which
 * collects it by its labels. */
#include "cli/serve.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "api/api.h"
#include "api/keys.h"
#include "api/records.h"
#include "api/shipper.h"
#include "api/kube_keep.h"
#include "cli/loop_watch.h"
#include "cli/manifest_keep.h"
#include "cli/ecs.h"
#include "cli/notify.h"
#include "cli/options.h"
#include "cli/records_env.h"
#include "cli/redis_env.h"
#include "cli/source_redis.h"
#include "cli/sources.h"
#include "cli/state.h"
#include "common/asset.h"
#include "common/db.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/metrics.h"
#include "common/process.h"
#include "controller/controller.h"
#include "controller/provider_docker.h"
#include "controller/provider_shared.h"

#define LANGUAGES_BYTES_MAX (256u * 1024)

enum stage { STARTING, SERVING, DRAINING, CLOSING, STOPPED };

struct service {
    uv_loop_t loop;
    struct pd_options options;
    struct pd_state state;
    struct pd_db *db;
    struct pd_records *records;
    struct pd_shipper *shipper; /* NULL: records stay here */
    struct pd_kube_keep *kube_keep;
    struct pd_languages *languages;
    struct pd_keys *keys;
    struct pd_metrics *metrics;
    struct pd_loop_watch loop_watch;
    struct pd_notify notify; /* the service manager */
    struct pd_store *store;
    struct pd_sources *sources;
    struct pd_redis *redis; /* NULL: no REDIS_URL */
    struct pd_source_redis *source_redis;
    struct pd_provider *docker; /* with Redis the shared one */
    struct pd_provider *below;  /* then the one below it, closed by it; else NULL */
    struct pd_provider *ecs;
    struct pd_controller *controller;
    struct pd_api *api;
    uv_signal_t sigterm, sigint, sighup;
    uv_timer_t deadline;
    enum stage stage;
    bool keys_watched;
    bool key_is_kept; /* the API key is the state folder's */
    bool key_is_new;  /* made by this start */
    bool left_behind; /* something did not close in time */
};

/* ---- stopping ---- */

static void stop_step(void *arg);

static void on_close_overdue(uv_timer_t *timer)
{
    struct service *service = timer->data;

    pd_log(PD_LOG_WARN, "serve", "stopping takes too long; the next start collects what is left",
           NULL);
    service->left_behind = true;
    uv_stop(&service->loop);
}

static void close_handles(struct service *service)
{
    service->stage = STOPPED;
    uv_close((uv_handle_t *)&service->sigterm, NULL);
    uv_close((uv_handle_t *)&service->sigint, NULL);
    uv_close((uv_handle_t *)&service->sighup, NULL);
    uv_close((uv_handle_t *)&service->deadline, NULL);
    pd_loop_watch_close(&service->loop_watch);
    pd_notify_close(&service->notify);
}

/* Close the topmost part that is still there; its `closed` comes back here. */
static void stop_step(void *arg)
{
    struct service *service = arg;

    if (service->api)
        pd_api_close(PD_STEAL(service->api), stop_step, service);
    else if (service->controller) {
        if (service->below)
            pd_provider_shared_withdraw(service->docker);
        pd_controller_close(PD_STEAL(service->controller), true, stop_step, service);
    } else if (service->ecs) {
        struct pd_provider *ecs = PD_STEAL(service->ecs);
        ecs->ops->close(ecs, stop_step, service);
    } else if (service->docker) {
        struct pd_provider *docker = PD_STEAL(service->docker);
        docker->ops->close(docker, stop_step, service);
    } else if (service->source_redis)
        pd_source_redis_close(PD_STEAL(service->source_redis), stop_step, service);
    else if (service->sources)
        pd_sources_close(PD_STEAL(service->sources), stop_step, service);
    else if (service->redis)
        pd_redis_close(PD_STEAL(service->redis), stop_step, service);
    else if (service->store) {
        pd_kube_keep_close(PD_STEAL(service->kube_keep));
        pd_store_close(PD_STEAL(service->store), stop_step, service);
    }
    else if (service->keys_watched) {
        service->keys_watched = false;
        pd_keys_unwatch(service->keys, stop_step, service);
    } else if (service->shipper)
        pd_shipper_close(PD_STEAL(service->shipper), stop_step, service);
    else if (service->db)
        pd_db_close(PD_STEAL(service->db), stop_step, service);
    else
        close_handles(service);
}

static void stop_closing(struct service *service)
{
    if (service->stage >= CLOSING)
        return;
    service->stage = CLOSING;
    uv_timer_start(&service->deadline, on_close_overdue, PD_SERVE_CLOSE_MS, 0);
    stop_step(service);
}

static void on_drained(void *arg)
{
    stop_closing(arg);
}

static void on_drain_overdue(uv_timer_t *timer)
{
    pd_log(PD_LOG_WARN, "serve", "runs still under way at the end of the grace are ended", NULL);
    stop_closing(timer->data);
}

static void on_stop_signal(uv_signal_t *handle, int signo)
{
    struct service *service = handle->data;

    if (service->stage == DRAINING) {
        pd_log(PD_LOG_INFO, "serve", "second signal: not waiting for runs", NULL);
        stop_closing(service);
    } else if (service->stage == SERVING) {
        pd_log(PD_LOG_INFO, "serve", "stopping: finishing what was accepted", "signal",
               signo == SIGTERM ? "SIGTERM" : "SIGINT", NULL);
        service->stage = DRAINING;
        pd_notify(&service->notify, "STOPPING=1\nSTATUS=finishing what was accepted");
        uv_timer_start(&service->deadline, on_drain_overdue, PD_SERVE_DRAIN_MS, 0);
        pd_api_drain(service->api, on_drained, service);
    }
}

static void on_reload_signal(uv_signal_t *handle, int signo)
{
    struct service *service = handle->data;

    (void)signo;
    if (service->stage != SERVING)
        return;
    pd_log(PD_LOG_INFO, "serve", "SIGHUP: reading the files again", NULL);
    pd_sources_reload(service->sources);
    if (service->source_redis)
        pd_source_redis_reload(service->source_redis);
    pd_keys_reload(service->keys);
}

/* ---- starting ---- */

static void listen_signal(struct service *service, uv_signal_t *handle, uv_signal_cb cb, int signo)
{
    uv_signal_init(&service->loop, handle);
    handle->data = service;
    uv_signal_start(handle, cb, signo);
}

static void open_loop(struct service *service)
{
    if (uv_loop_init(&service->loop) < 0)
        abort();
    signal(SIGPIPE, SIG_IGN);
    listen_signal(service, &service->sigterm, on_stop_signal, SIGTERM);
    listen_signal(service, &service->sigint, on_stop_signal, SIGINT);
    listen_signal(service, &service->sighup, on_reload_signal, SIGHUP);
    uv_timer_init(&service->loop, &service->deadline);
    service->deadline.data = service;
    pd_loop_watch_start(&service->loop_watch, &service->loop, service->metrics);
    pd_notify_open(&service->notify, &service->loop);
}

static void open_metrics(struct service *service)
{
    service->metrics = pd_metrics_new();
    pd_metrics_set(service->metrics, PD_M_BUILD_INFO,
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
                                                     &pd_manifest_keep_schema, NULL};

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

    if (pd_records_env(&config, err) < 0)
        return err->kind;
    service->records = pd_records_new(&config);
    return 0;
}

static int open_shipper(struct service *service, struct pd_err *err)
{
    const char *url = getenv("DATABASE_URL");
    struct pd_shipper_config config = {
        .loop = &service->loop, .records = service->records, .url = url};

    if (!url || !*url)
        return 0;
    if (pd_records_env_age("PADDOCK_DATABASE_AGE", 0, &config.age_ms, err) < 0)
        return err->kind;
    return pd_shipper_open(&config, &service->shipper, err);
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
        .store = service->store,
        .config = service->options.config,
        .pools_dir = service->options.pools_dir,
        .default_provider = service->options.provider,
        .db = service->db,
    };

    if (pd_sources_open(&config, &service->sources, err) < 0)
        return err->kind;
    return open_source_redis(service, err);
}

static bool is_healthy(void *arg, const char **ret_sentence)
{
    struct service *service = arg;

    if (service->controller)
        return pd_controller_is_healthy(service->controller, ret_sentence);
    *ret_sentence = "paddock is starting or stopping";
    return false;
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

/* With Redis the engine is shared with other replicas. */
static void share_docker(struct service *service)
{
    const struct pd_provider_shared_config config = {
        .loop = &service->loop,
        .redis = service->redis,
        .store = service->store,
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

    if (spec->provider != PD_PROVIDER_DOCKER)
        return (struct pd_share){spec->min_size, spec->max_size, spec->target_idle};
    return pd_provider_shared_share(service->docker, spec);
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

    bool ecs = service->options.provider == PD_PROVIDER_ECS;

    if (pd_ecs_open(&service->loop, ecs, service->state.instance, service->state.dir, &service->ecs,
                    err) < 0)
        return err->kind;
    config.ecs = service->ecs;
    if ((!ecs || docker.host || access("/var/run/docker.sock", F_OK) == 0) &&
        pd_provider_docker_new(&service->loop, &docker, &service->docker, err) < 0)
        return err->kind;
    share_docker(service);
    config.docker = service->docker;
    config.share = service->below ? share_of : NULL;
    config.share_arg = service;
    service->controller = pd_controller_new(&config);
    return 0;
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
        .records = service->records,
        .default_provider = service->options.provider,
        .host_names = service->options.host_names,
        .metrics = service->metrics,
        .healthy = is_healthy,
        .healthy_arg = service,
    };

    return pd_api_open(&config, &service->api, err);
}

static int start(struct service *service, struct pd_err *err)
{
    if (pd_state_open(service->options.state_dir, &service->state, err) < 0 ||
        open_db(service, err) < 0 || open_records(service, err) < 0 ||
        open_shipper(service, err) < 0 ||
        load_languages(service, err) < 0 || open_keys(service, err) < 0 ||
        open_redis(service, err) < 0)
        return err->kind;
    service->store = pd_store_new(&service->loop, NULL);
    if (open_kept(service, err) < 0 || open_sources(service, err) < 0 || open_api(service, err) < 0 ||
        open_controller(service, err) < 0)
        return err->kind;
    service->stage = SERVING;
    return 0;
}

/* Where kubectl finds this service, for `paddock kubeconfig`. */
static void announce_kube(const struct service *service)
{
    const char *address = service->options.kube_address;
    int port = pd_api_kube_port(service->api);
    pd_autofree char *path = pd_asprintf("%s/kube-url", service->state.dir);
    pd_autofree char *url = NULL;
    struct pd_err err;

    if (port == 0) {
        unlink(path);
        return;
    }
    url = pd_asprintf(strchr(address, ':') ? "https://[%s]:%d\n" : "https://%s:%d\n", address, port);
    if (pd_file_write_atomic(path, url, strlen(url), 0600, &err) < 0)
        pd_log(PD_LOG_WARN, "serve", "paddock kubeconfig will not know the port", "err", err.msg,
               NULL);
    url[strlen(url) - 1] = '\0';
    pd_log(PD_LOG_INFO, "serve", "kubectl connects here: paddock kubeconfig", "kube", url, NULL);
}

/* A browser's way in, good once and for a minute: for the person at the terminal. */
static void print_link(const struct service *service, const char *url, const char *key)
{
    const struct pd_key *record = key ? pd_keys_check(service->keys, key, strlen(key)) : NULL;
    char link[PD_TOKEN_BYTES];

    if (!record)
        return;
    pd_api_login_link(service->api, record->record.id, link);
    fprintf(stderr, "\n    console: %s/login#%s\n    (once, within %d s; another one: paddock login)\n\n",
            url, link, (int)(PD_LINK_LIFE_MS / 1000));
    pd_wipe(link, sizeof link);
}

/* Secrets are shown only to a person, on a terminal: the key at its making. */
static void announce_key(const struct service *service, const char *url)
{
    pd_autofree char *path = pd_asprintf("%s/key", service->state.dir);
    const char *env_key = getenv("EXECUTION_API_KEY");
    char text[PD_KEY_TEXT_MAX + 1] = "";

    if (service->key_is_kept)
        pd_log(PD_LOG_INFO, "serve", "the API key is shown by: paddock key show", "path", path,
               NULL);
    if (!isatty(STDERR_FILENO))
        return;
    if (service->key_is_kept && pd_keys_load(service->state.dir, text, NULL) < 0)
        return;
    if (service->key_is_new)
        fprintf(stderr, "\n    API key: %s\n", text);
    print_link(service, url, service->key_is_kept ? text : env_key);
    pd_wipe(text, sizeof text);
}

/* What a person who has just started it wants to know. */
static void announce(const struct service *service)
{
    pd_autofree char *url = pd_asprintf(strchr(service->options.address, ':') ? "http://[%s]:%d"
                                                                              : "http://%s:%d",
                                        service->options.address, pd_api_port(service->api));

    pd_log(PD_LOG_INFO, "serve", "serving", "url", url, "version", PD_VERSION, "state_dir",
           service->state.dir, "instance", service->state.instance, NULL);
    announce_key(service, url);
}

static void free_all(struct service *service)
{
    pd_metrics_free(service->metrics);
    pd_records_free(service->records);
    pd_keys_free(service->keys);
    pd_languages_free(service->languages);
    pd_state_close(&service->state);
    pd_options_fini(&service->options);
}

static int run(struct service *service)
{
    struct pd_err err = {.kind = 0};
    int status = 0;

    open_metrics(service);
    open_loop(service);
    if (start(service, &err) < 0) {
        fprintf(stderr, "paddock: %s\n", err.msg);
        status = err.kind == PD_INVALID ? 2 : 1;
        stop_closing(service);
    } else {
        announce_kube(service);
        announce(service);
        pd_notify(&service->notify, "READY=1\nSTATUS=serving");
    }
    uv_run(&service->loop, UV_RUN_DEFAULT);
    if (service->left_behind)
        return 1; /* handles are still open: the process's end is what closes them */
    uv_loop_close(&service->loop);
    free_all(service);
    if (status == 0)
        pd_log(PD_LOG_INFO, "serve", "stopped", NULL);
    return status;
}

int pd_serve_main(int argc, char **argv)
{
    struct service service = {.stage = STARTING};
    struct pd_err err;

    if (pd_options_parse(argc, argv, &service.options, &err) < 0) {
        fprintf(stderr, "paddock serve: %s\n\n%s", err.msg, pd_options_help);
        pd_options_fini(&service.options);
        return 2;
    }
    if (service.options.help) {
        fputs(pd_options_help, stdout);
        pd_options_fini(&service.options);
        return 0;
    }
    pd_log_level_set(service.options.log_level);
    pd_log_format_set(service.options.log_format);
    return run(&service);
}
