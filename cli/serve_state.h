/* What the files of `paddock serve` know of each other: serve.c its life; serve_parts.c
 * how each part is opened; serve_announce.c what it says once it serves. Nobody else
 * includes this. */
#ifndef PD_CLI_SERVE_STATE_H
#define PD_CLI_SERVE_STATE_H

#include <stdbool.h>
#include <uv.h>

#include "api/api.h"
#include "api/keys.h"
#include "api/kube_keep.h"
#include "api/kube_shared.h"
#include "api/ledger.h"
#include "api/records.h"
#include "api/shipper.h"
#include "cli/declared.h"
#include "cli/loop_watch.h"
#include "cli/notify.h"
#include "cli/options.h"
#include "cli/source_redis.h"
#include "cli/sources.h"
#include "cli/state.h"
#include "common/db.h"
#include "common/languages.h"
#include "common/loop_redis.h"
#include "common/metrics.h"
#include "common/store.h"
#include "controller/controller.h"
#include "controller/provider.h"

enum stage { STARTING, SERVING, DRAINING, CLOSING, STOPPED };

struct service {
    uv_loop_t loop;
    struct pd_options options;
    struct pd_state state;
    struct pd_db *db;
    struct pd_records *records;
    struct pd_ledger *ledger;   /* in `records`, or in Redis */
    struct pd_shipper *shipper; /* NULL: records stay here */
    struct pd_kube_keep *kube_keep;
    struct pd_kube_peers kube_peers;
    struct pd_languages *languages;
    struct pd_keys *keys;
    struct pd_metrics *metrics;
    struct pd_loop_watch loop_watch;
    struct pd_notify notify; /* the service manager */
    struct pd_store *store;
    struct pd_sources *sources;   /* NULL: no files (`paddock api`) */
    struct pd_store *files;       /* what they declare, among replicas; NULL: straight into store */
    struct pd_declared *declared; /* NULL likewise */
    struct pd_redis *redis;       /* NULL: no REDIS_URL */
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

/* ---- serve_parts.c ---- */

/* Whether this command can do what it is for. PD_INVALID says why not. */
int pd_service_check(const struct service *service, struct pd_err *err);
void pd_service_open_metrics(struct service *service);
/* Opens every part in order. What is open when it fails is the caller's to close. */
int pd_service_open(struct service *service, struct pd_err *err);

/* ---- serve_announce.c ---- */

/* The log, `paddock kubeconfig`'s file, and the person at the terminal. */
void pd_service_announce(const struct service *service);

#endif
