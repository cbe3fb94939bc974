/* The HTTP API (docs/http.md) on the shared libuv loop. */
#ifndef PD_API_API_H
#define PD_API_API_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "api/session.h"
#include "common/err.h"
#include "common/languages.h"
#include "common/store.h"

struct pd_api;
struct pd_redis;
struct pd_dispatch_links;
struct pd_keys;
struct pd_ledger;
struct pd_metrics;
struct pd_records;
struct pd_server_limits;
struct pd_viewer_limits;

struct pd_api_config {
    uv_loop_t *loop;
    struct pd_store *store;
    const struct pd_languages *languages;
    struct pd_keys *keys;       /* api/keys.h */
    const char *listen_address; /* "127.0.0.1" */
    int listen_port;            /* 0: any free one */
    const char *host_names;     /* for browsers: api/origin.h; NULL for none */
    /* Is what runs need there? For /health and /readyz; sentence borrowed. */
    bool (*healthy)(void *arg, const char **ret_sentence);
    void *healthy_arg;
    /* For kubectl (kube_listener.h). */
    const char *kube_address; /* NULL: none */
    int kube_port;            /* 0: any free one */
    bool kube_optional;       /* where it cannot be had: a warning, and on without it */
    const char *state_dir;
    const char *tls_ca_file; /* NULL: an authority of its own */
    struct pd_kube_keep *kube_keep;         /* kube_keep.h; outlives the API */
    const struct pd_kube_peers *kube_peers; /* kube_shared.h; likewise; NULL: alone */
    enum pd_provider_kind default_provider; /* of pools that name none */
    struct pd_records *records; /* api/records.h; outlives the API; NULL: nothing is kept */
    struct pd_ledger *ledger;   /* api/ledger.h; likewise; with records */
    bool runs_nothing; /* only /health, /livez, /readyz, /metrics and kubectl's are there */
    struct pd_metrics *metrics; /* common/metrics.h; NULL: nobody counts */
    struct pd_redis *redis;     /* shared with other replicas; outlives the API; NULL: there are none */
    const struct pd_server_limits *limits; /* api/server.h; NULL: the defaults */
    const struct pd_viewer_limits *viewer_limits; /* api/viewer.h; likewise */
    const struct pd_dispatch_links *links; /* api/dispatch.h; NULL: the real ones */
};

/* Listens. PD_UNAVAILABLE when the port is taken: the message names the holder
 * where that can be found out; PD_DENIED for a listener beyond loopback without
 * a key. Where what was accepted before cannot be read, *ret_api is set all the same,
 * for the caller to close. */
int pd_api_open(const struct pd_api_config *config, struct pd_api **ret_api, struct pd_err *err);

/* Whether the pools that were made by the API are in the store: among replicas Redis has
 * been read once. */
bool pd_api_knows_pools(const struct pd_api *api);

/* The port that it listens on. */
int pd_api_port(const struct pd_api *api);
size_t pd_api_connections(const struct pd_api *api); /* of clients, while it is open */
/* The port for kubectl, 0 for none. */
int pd_api_kube_port(const struct pd_api *api);

/* A login link for a browser (api/session.h); for /login#LINK. */
void pd_api_login_link(struct pd_api *api, const char *key_id,
                       char ret_link[static PD_TOKEN_BYTES]);

/* Stop accepting work: /readyz says so, new runs get 503; those under way and
 * queued go on. `drained` fires once from the loop when none is left. */
void pd_api_drain(struct pd_api *api, void (*drained)(void *arg), void *arg);

/* Ends whatever is left. `closed` fires once from the loop. */
void pd_api_close(struct pd_api *api, void (*closed)(void *arg), void *arg);

#endif
