#include "api/kube_listener.h"

#include <string.h>

#include "api/tls_identity.h"
#include "api/tls_listener.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/time.h"
#include "common/tls.h"

#define LOOK_MS (24 * 3600 * 1000ull)

struct pd_kube_listener {
    char *dir, *ca_file, *names;
    struct pd_tls_listener *tls;
    uv_timer_t daily;
    unsigned open_parts;
    void (*closed)(void *arg);
    void *closed_arg;
};

static int load(const struct pd_kube_listener *listener, struct pd_tls_server **ret_server,
                bool *ret_changed, struct pd_err *err)
{
    const struct pd_identity_config identity = {
        .dir = listener->dir,
        .ca_file = listener->ca_file,
        .names = listener->names,
        .now_s = pd_wall_ms() / 1000,
    };
    pd_autofree char *path = NULL;
    int rc = pd_identity_prepare(&identity, &path, ret_changed, err);

    return rc < 0 ? rc : pd_tls_server_new(path, ret_server, err);
}

static void on_day(uv_timer_t *timer)
{
    struct pd_kube_listener *listener = timer->data;
    struct pd_tls_server *server;
    struct pd_err err;
    bool changed;

    if (load(listener, &server, &changed, &err) < 0) {
        pd_log(PD_LOG_ERROR, "tls", "the certificate could not be looked after; the old one stays",
               "err", err.msg, NULL);
        return;
    }
    if (changed)
        pd_log(PD_LOG_INFO, "tls", "the certificate was renewed", NULL);
    pd_tls_listener_set_server(listener->tls, server);
}

static void free_all(struct pd_kube_listener *listener)
{
    free(listener->dir);
    free(listener->ca_file);
    free(listener->names);
    free(listener);
}

static int open_tls(struct pd_kube_listener *listener, const struct pd_kube_listener_config *config,
                    struct pd_err *err)
{
    struct pd_tls_listener_config tls = {
        .loop = config->loop,
        .address = config->address,
        .port = config->port,
        .on_accept = config->on_accept,
        .arg = config->arg,
    };
    int rc = load(listener, &tls.server, NULL, err);

    if (rc == 0) {
        rc = pd_tls_listener_open(&tls, &listener->tls, err);
        if (rc < 0)
            pd_tls_server_free(tls.server);
    }
    return rc;
}

int pd_kube_listener_open(const struct pd_kube_listener_config *config,
                          struct pd_kube_listener **ret_listener, struct pd_err *err)
{
    struct pd_kube_listener *listener = PD_NEW(struct pd_kube_listener);
    int rc;

    listener->dir = pd_asprintf("%s/tls", config->state_dir);
    listener->ca_file = config->ca_file ? pd_strdup(config->ca_file) : NULL;
    listener->names = config->names ? pd_strdup(config->names) : NULL;
    rc = open_tls(listener, config, err);
    if (rc < 0) {
        free_all(listener);
        return rc;
    }
    uv_timer_init(config->loop, &listener->daily);
    listener->daily.data = listener;
    uv_timer_start(&listener->daily, on_day, LOOK_MS, LOOK_MS);
    *ret_listener = listener;
    return 0;
}

int pd_kube_listener_port(const struct pd_kube_listener *listener)
{
    return pd_tls_listener_port(listener->tls);
}

static void part_closed(struct pd_kube_listener *listener)
{
    void (*closed)(void *arg) = listener->closed;
    void *arg = listener->closed_arg;

    if (--listener->open_parts > 0)
        return;
    free_all(listener);
    closed(arg);
}

static void on_tls_closed(void *arg)
{
    part_closed(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

void pd_kube_listener_close(struct pd_kube_listener *listener, void (*closed)(void *arg), void *arg)
{
    listener->closed = closed;
    listener->closed_arg = arg;
    listener->open_parts = 2;
    pd_tls_listener_close(listener->tls, on_tls_closed, listener);
    uv_close((uv_handle_t *)&listener->daily, on_timer_closed);
}
