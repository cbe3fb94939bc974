/* Theory of operation. ECS is asked and never tells, so the provider keeps a book
 * of tasks (ecs_book.c) that every answer is entered into; operations read it, and
 * what changes in it becomes an event.
 *
 *   ensure   preflight -> definition looked up, registered   (ecs_ready.c)
 *   create   batch -> intent -> RunTask -> book              (ecs_run.c, ecs_batch.c)
 *   list     ListTasks, DescribeTasks -> book -> snapshot    (ecs_list.c)
 *   destroy  StopTask -> book: gone
 *   link     the book says RUNNING -> TLS to its address     (ecs_wire.c)
 *   watch    probe until AWS answers; then what the book says (ecs_poll.c)
 *
 * Closing ends the client's calls as canceled, so every chain ends by itself. */
#include "controller/provider_ecs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "controller/ecs_state.h"

#define PROBE_PAUSE_MIN_MS 2000
#define PROBE_PAUSE_MAX_MS 60000

static struct pd_ecs *ecs_of(struct pd_provider *provider)
{
    return PD_CONTAINER_OF(provider, struct pd_ecs, provider);
}

/* ---- clusters ---- */

const char *pd_ecs_cluster_of(const struct pd_ecs *ecs, const struct pd_pool_spec *spec)
{
    return *spec->ecs.cluster ? spec->ecs.cluster : ecs->cluster;
}

bool pd_ecs_meet_cluster(struct pd_ecs *ecs, const char *cluster)
{
    for (size_t i = 0; i < ecs->n_clusters; i++) {
        if (strcmp(ecs->clusters[i], cluster) == 0)
            return false;
    }
    if (!*cluster || ecs->n_clusters == PD_ECS_CLUSTERS_MAX)
        return false;
    pd_strcpy(ecs->clusters[ecs->n_clusters++], PD_ECS_CLUSTER_MAX, cluster);
    return true;
}

/* One that is spoken of for the first time may hold tasks of an earlier life. */
static void meet_cluster_of(struct pd_ecs *ecs, const struct pd_pool_spec *spec)
{
    const struct pd_provider_event look = {.type = PD_PROVIDER_CHANGED};

    if (pd_ecs_meet_cluster(ecs, pd_ecs_cluster_of(ecs, spec)))
        pd_ecs_emit(ecs, &look);
}

void pd_ecs_emit(struct pd_ecs *ecs, const struct pd_provider_event *event)
{
    if (ecs->event && !ecs->closing)
        ecs->event(ecs->event_arg, event);
}

/* ---- operations ---- */

static bool is_listed(const struct pd_ecs *ecs, const char *cluster)
{
    size_t i = 0;

    while (i < ecs->n_clusters && strcmp(ecs->clusters[i], cluster) != 0)
        i++;
    return i < ecs->n_listed || i == ecs->n_clusters;
}

struct survey {
    struct pd_ecs *ecs;
    struct pd_pool_spec *spec;
    pd_provider_done_cb cb;
    void *arg;
};

static void on_surveyed(void *arg, const struct pd_err *err)
{
    struct survey *survey = arg;
    struct pd_err failure;

    if (err ||
        (pd_ecs_ready_ensure(survey->ecs, survey->spec, survey->cb, survey->arg, &failure) < 0 &&
         (err = &failure)))
        survey->cb(survey->arg, err);
    pd_pool_spec_unref(survey->spec);
    free(survey);
}

/* What an earlier life has in a cluster that no list has covered yet is found before
 * anything is made there. */
static int ecs_ensure_ready(struct pd_provider *provider, const struct pd_pool_spec *spec,
                            pd_provider_done_cb cb, void *arg, struct pd_err *err)
{
    struct pd_ecs *ecs = ecs_of(provider);
    struct survey *survey;
    int rc;

    meet_cluster_of(ecs, spec);
    if (is_listed(ecs, pd_ecs_cluster_of(ecs, spec)))
        return pd_ecs_ready_ensure(ecs, spec, cb, arg, err);
    survey = PD_NEW(struct survey);
    *survey = (struct survey){.ecs = ecs,
                              .spec = pd_pool_spec_ref((struct pd_pool_spec *)(uintptr_t)spec),
                              .cb = cb,
                              .arg = arg};
    rc = pd_ecs_list_survey(ecs, on_surveyed, survey, err);
    if (rc < 0) {
        pd_pool_spec_unref(survey->spec);
        free(survey);
    }
    return rc;
}

static int ecs_create(struct pd_provider *provider, const struct pd_pool_spec *spec, const char *id,
                      pd_provider_create_cb cb, void *arg, struct pd_err *err)
{
    struct pd_ecs *ecs = ecs_of(provider);
    struct pd_ecs_launch launch;
    int rc = pd_ecs_ready_launch(ecs, spec, &launch, err);

    if (rc < 0)
        return rc;
    if (!*launch.definition)
        return pd_err_set(err, PD_UNAVAILABLE, "its task definition is not registered yet");
    meet_cluster_of(ecs, spec);
    return pd_ecs_run_create(ecs->run, spec, &launch, id, cb, arg, err);
}

static int ecs_list(struct pd_provider *provider, pd_provider_list_cb cb, void *arg,
                    struct pd_err *err)
{
    return pd_ecs_list_begin(ecs_of(provider), cb, arg, err);
}

struct stop {
    struct pd_ecs *ecs;
    char arn[PD_ECS_ARN_MAX];
    pd_provider_done_cb cb;
    void *arg;
};

/* "The referenced task was not found." is an InvalidParameterException. */
static bool is_gone(const struct pd_err *err)
{
    return err->kind == PD_NOT_FOUND || (err->kind == PD_INVALID && strstr(err->msg, "not found"));
}

static void on_stopped(void *arg, const struct pd_err *err, const struct pd_node *answer)
{
    struct stop *stop = arg;
    struct pd_ecs_entry *entry = pd_ecs_book_find(&stop->ecs->book, stop->arn);

    (void)answer;
    if (err && is_gone(err))
        err = NULL;
    if (!err && entry && !pd_time_is_set(entry->gone))
        entry->gone = pd_time_now();
    stop->cb(stop->arg, err);
    free(stop);
}

static const char *cluster_in(const struct pd_ecs *ecs, const char *arn)
{
    const struct pd_ecs_entry *entry = pd_ecs_book_find(&ecs->book, arn);

    return entry ? entry->cluster : ecs->cluster;
}

static int ecs_destroy(struct pd_provider *provider, const char *provider_id,
                       pd_provider_done_cb cb, void *arg, struct pd_err *err)
{
    struct pd_ecs *ecs = ecs_of(provider);
    pd_autonode struct pd_node *body = pd_node_map_new();
    struct stop *stop = PD_NEW(struct stop);
    int rc;

    *stop = (struct stop){.ecs = ecs, .cb = cb, .arg = arg};
    pd_strcpy(stop->arn, sizeof stop->arn, provider_id);
    pd_node_set_string(body, "cluster", cluster_in(ecs, provider_id));
    pd_node_set_string(body, "task", provider_id);
    pd_node_set_string(body, "reason", "paddock: its pool does not need this sandbox any more");
    rc = pd_ecs_call(ecs->client, PD_ECS_STOP_TASK, body, 0, on_stopped, stop, err);
    if (rc < 0)
        free(stop);
    return rc;
}

static int ecs_link(struct pd_provider *provider, const char *provider_id, pd_provider_link_cb cb,
                    void *arg, struct pd_err *err)
{
    struct pd_ecs *ecs = ecs_of(provider);

    if (ecs->closing)
        return pd_err_set(err, PD_CANCELED, "the provider is closing");
    return pd_ecs_wire_begin(ecs, provider_id, cb, arg, err);
}

/* ---- watch: up once AWS answers ---- */

static void on_probe(uv_timer_t *timer);

static void go_up(struct pd_ecs *ecs)
{
    const struct pd_provider_event event = {.type = PD_PROVIDER_UP};

    ecs->up = true;
    ecs->failures = 0;
    pd_ecs_emit(ecs, &event);
}

static void on_probed(void *arg, const struct pd_err *err, const struct pd_node *answer)
{
    struct pd_ecs *ecs = arg;
    struct pd_provider_event event = {.type = PD_PROVIDER_DOWN};
    int64_t pause;

    (void)answer;
    if (ecs->closing)
        return;
    if (!err) {
        go_up(ecs);
        return;
    }
    pause = (int64_t)PROBE_PAUSE_MIN_MS << (ecs->failures < 5 ? ecs->failures : 5);
    ecs->failures++;
    pd_strcpy(event.reason, sizeof event.reason, err->msg);
    pd_ecs_emit(ecs, &event);
    uv_timer_start(&ecs->probe, on_probe,
                   (uint64_t)(pause < PROBE_PAUSE_MAX_MS ? pause : PROBE_PAUSE_MAX_MS), 0);
}

static void on_probe(uv_timer_t *timer)
{
    struct pd_ecs *ecs = timer->data;
    pd_autonode struct pd_node *body = pd_node_map_new();
    struct pd_err err;

    if (ecs->n_clusters == 0) { /* no pool of ours yet: nothing to be asked */
        go_up(ecs);
        return;
    }
    pd_node_set_string(body, "cluster", ecs->clusters[0]);
    pd_node_set_string(body, "startedBy", ecs->started_by);
    if (pd_ecs_call(ecs->client, PD_ECS_LIST_TASKS, body, 0, on_probed, ecs, &err) < 0)
        on_probed(ecs, &err, NULL);
}

static void ecs_watch(struct pd_provider *provider, pd_provider_event_cb cb, void *arg)
{
    struct pd_ecs *ecs = ecs_of(provider);

    ecs->event = cb;
    ecs->event_arg = arg;
    if (cb)
        uv_timer_start(&ecs->probe, on_probe, 0, 0);
}

/* ---- life ---- */

static void ecs_free(struct pd_ecs *ecs)
{
    pd_ecs_book_fini(&ecs->book);
    pd_ecs_intents_free(ecs->intents);
    pd_ecs_keys_free(ecs->keys);
    pd_strings_fini(&ecs->subnets);
    pd_strings_fini(&ecs->security_groups);
    free(ecs->cluster);
    free(ecs->agent_image);
    free(ecs->execution_role_arn);
    free(ecs);
}

void pd_ecs_maybe_closed(struct pd_ecs *ecs)
{
    void (*closed)(void *arg) = ecs->closed;
    void *arg = ecs->closed_arg;

    if (!ecs->closing || ecs->handles > 0 || !TAILQ_EMPTY(&ecs->wires))
        return;
    pd_ecs_ready_free(ecs->ready);
    ecs_free(ecs);
    if (closed)
        closed(arg);
}

static void on_part_closed(void *arg)
{
    struct pd_ecs *ecs = arg;

    ecs->handles--;
    pd_ecs_maybe_closed(ecs);
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

static void on_client_closed(void *arg)
{
    struct pd_ecs *ecs = arg;

    pd_ecs_run_close(ecs->run, on_part_closed, ecs);
}

static void ecs_close(struct pd_provider *provider, void (*closed)(void *arg), void *arg)
{
    struct pd_ecs *ecs = ecs_of(provider);

    assert(!ecs->closing);
    ecs->closing = true;
    ecs->closed = closed;
    ecs->closed_arg = arg;
    uv_close((uv_handle_t *)&ecs->poll, on_timer_closed);
    uv_close((uv_handle_t *)&ecs->probe, on_timer_closed);
    pd_ecs_wires_cancel(ecs);
    pd_ecs_client_close(ecs->client, on_client_closed, ecs);
}

static const struct pd_provider_ops ecs_ops = {
    .name = "ecs",
    .ensure_ready = ecs_ensure_ready,
    .create = ecs_create,
    .list = ecs_list,
    .destroy = ecs_destroy,
    .watch = ecs_watch,
    .link = ecs_link,
    .close = ecs_close,
};

/* ---- beginning ---- */

static void open_parts(struct pd_ecs *ecs, const struct pd_ecs_config *config, const char *region)
{
    pd_autofree char *endpoint = pd_aws_endpoint("ecs", region);
    const struct pd_ecs_client_config client = {.region = region,
                                                .endpoint = endpoint,
                                                .rate_factor = ecs->factor,
                                                .metrics = config->metrics};

    ecs->client = pd_ecs_client_new(ecs->loop, &client);
    ecs->run = pd_ecs_run_new(ecs->loop, ecs->client, &ecs->book, ecs->intents, ecs->instance,
                              ecs->started_by);
    ecs->ready = pd_ecs_ready_new(ecs);
    uv_timer_init(ecs->loop, &ecs->poll);
    uv_timer_init(ecs->loop, &ecs->probe);
    ecs->poll.data = ecs->probe.data = ecs;
    ecs->handles = 3; /* two timers, and what makes tasks */
}

int pd_provider_ecs_new(uv_loop_t *loop, const struct pd_ecs_config *config,
                        struct pd_provider **ret_provider, struct pd_err *err)
{
    char region[PD_AWS_REGION_MAX];
    struct pd_ecs *ecs;
    int rc;

    if (!pd_ecs_config_region(config, region))
        return pd_err_set(err, PD_INVALID, "no AWS region: set AWS_REGION");
    ecs = PD_NEW(struct pd_ecs);
    ecs->loop = loop;
    pd_ecs_book_init(&ecs->book);
    TAILQ_INIT(&ecs->wires);
    rc = pd_ecs_configure(ecs, config, err);
    if (rc < 0) {
        ecs_free(ecs);
        return rc;
    }
    open_parts(ecs, config, region);
    ecs->provider.ops = &ecs_ops;
    ecs->provider.instance = ecs->instance;
    *ret_provider = &ecs->provider;
    return 0;
}
