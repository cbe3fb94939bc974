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

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/serve_state.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/slice.h"
#include "controller/provider_shared.h"

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
    else if (service->declared)
        pd_declared_close(PD_STEAL(service->declared), stop_step, service);
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
    else if (service->files)
        pd_store_close(PD_STEAL(service->files), stop_step, service);
    else if (service->ledger) {
        struct pd_ledger *ledger = PD_STEAL(service->ledger);
        ledger->ops->close(ledger, stop_step, service);
    } else if (service->redis)
        pd_redis_close(PD_STEAL(service->redis), stop_step, service);
    else if (service->store) {
        pd_kube_keep_close(PD_STEAL(service->kube_keep));
        pd_store_close(PD_STEAL(service->store), stop_step, service);
    } else if (service->keys_watched) {
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
    if (service->sources)
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

    pd_slice_be_short();
    pd_service_open_metrics(service);
    open_loop(service);
    if (pd_service_open(service, &err) < 0) {
        fprintf(stderr, "paddock: %s\n", err.msg);
        status = err.kind == PD_INVALID ? 2 : 1;
        stop_closing(service);
    } else {
        service->stage = SERVING;
        pd_service_announce(service);
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
        fprintf(stderr, "paddock %s: %s\n\n", argv[0], err.msg);
        pd_options_help(stderr, service.options.part);
        pd_options_fini(&service.options);
        return 2;
    }
    if (service.options.help) {
        pd_options_help(stdout, service.options.part);
        pd_options_fini(&service.options);
        return 0;
    }
    if (pd_service_check(&service, &err) < 0) {
        fprintf(stderr, "paddock %s: %s\n", argv[0], err.msg);
        pd_options_fini(&service.options);
        return 2;
    }
    pd_log_level_set(service.options.log_level);
    pd_log_format_set(service.options.log_format);
    return run(&service);
}
