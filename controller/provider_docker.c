/* Theory of operation. Each operation of the provider is one `struct pd_docker_op`, a
 * chain of calls to the engine whose last one tells the caller:
 *
 * (create: docker_create.c, link: docker_link.c, the rest here)
 *
 *   ensure   image (looked up, pulled) -> agent volume (checked, filled)
 *   create   image facts -> create -> start        -> container id
 *                             | 409    | fails
 *                          inspect   remove, tell
 *   list, destroy            one call
 *   link     facts -> attach (docker_stream.c) -> does it run?
 *
 * Closing the engine's connection ends every call as canceled, so every chain
 * ends by itself; attaches have connections of their own and are canceled one
 * by one. */
#include "controller/provider_docker.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <sys/queue.h>

#include "common/direct.h"
#include "common/mem.h"
#include "controller/docker_provider.h"
#include "controller/docker_reply.h"

struct pd_docker *pd_docker_of(struct pd_provider *provider)
{
    return PD_CONTAINER_OF(provider, struct pd_docker, provider);
}

struct pd_docker_op *pd_docker_op_new(struct pd_docker *docker, void *arg)
{
    struct pd_docker_op *op = PD_NEW(struct pd_docker_op);

    op->docker = docker;
    op->arg = arg;
    return op;
}

void pd_docker_op_free(struct pd_docker_op *op)
{
    pd_pool_spec_unref(op->spec);
    free(op);
}

/* Specs are immutable but for their count of references. */
struct pd_pool_spec *pd_docker_spec_ref(const struct pd_pool_spec *spec)
{
    return pd_pool_spec_ref((struct pd_pool_spec *)(uintptr_t)spec);
}

/* ---- ensure_ready ---- */

static void ensure_end(struct pd_docker_op *op, const struct pd_err *err)
{
    op->cb.done(op->arg, err);
    pd_docker_op_free(op);
}

static void on_volume_ready(void *arg, const struct pd_err *err)
{
    ensure_end(arg, err);
}

static void on_image_ready(void *arg, const struct pd_err *err)
{
    struct pd_docker_op *op = arg;
    struct pd_err failure;

    if (err)
        ensure_end(op, err);
    else if (pd_docker_volume_ensure(op->docker->volume, op->spec->image, on_volume_ready, op,
                                     &failure) < 0)
        ensure_end(op, &failure);
}

/* What can never be had is told here already, before any container is made. */
int pd_docker_check_spec(const struct pd_pool_spec *spec, struct pd_err *err)
{
    struct pd_docker_sandbox sandbox = {
        .spec = spec, .id = "check", .instance = "check", .volume = "check"};
    pd_autonode struct pd_node *body = NULL;

    return pd_docker_create_body(&sandbox, &body, err);
}

static int docker_ensure_ready(struct pd_provider *provider, const struct pd_pool_spec *spec,
                               pd_provider_done_cb cb, void *arg, struct pd_err *err)
{
    struct pd_docker *docker = pd_docker_of(provider);
    struct pd_docker_op *op;
    int rc = pd_docker_check_spec(spec, err);

    if (rc < 0)
        return rc;
    op = pd_docker_op_new(docker, arg);
    op->cb.done = cb;
    op->spec = pd_docker_spec_ref(spec);
    rc = pd_docker_images_ensure(docker->images, spec->image, on_image_ready, op, err);
    if (rc < 0)
        pd_docker_op_free(op);
    return rc;
}

/* ---- list ---- */

static void on_listed(void *arg, const struct pd_err *err, const struct pd_docker_answer *answer)
{
    struct pd_docker_op *op = arg;
    struct pd_instance *instances = NULL;
    struct pd_err failure;
    size_t count = 0;

    if (!err && pd_docker_instances_parse(answer->raw, answer->raw_len, op->docker->instance,
                                          &instances, &count, &failure) < 0)
        err = &failure;
    op->cb.list(op->arg, err, err ? NULL : instances, count);
    if (op->docker->direct_dir)
        pd_direct_sweep(op->docker->direct_dir, PD_DIRECT_FOLDER_AGE_S);
    free(instances);
    pd_docker_op_free(op);
}

static int docker_list(struct pd_provider *provider, pd_provider_list_cb cb, void *arg,
                       struct pd_err *err)
{
    struct pd_docker *docker = pd_docker_of(provider);
    pd_autofree char *label = pd_asprintf(PD_DOCKER_LABEL_INSTANCE "=%s", docker->instance);
    pd_autofree char *filters = pd_docker_filters(label, NULL);
    pd_autofree char *path = pd_asprintf("/containers/json?all=1&%s", filters);
    struct pd_docker_call call = {.method = "GET", .path = path, .raw_answer = true};
    struct pd_docker_op *op = pd_docker_op_new(docker, arg);
    int rc;

    op->cb.list = cb;
    rc = pd_docker_engine_call(docker->engine, &call, on_listed, op, err);
    if (rc < 0)
        pd_docker_op_free(op);
    return rc;
}

/* ---- destroy ---- */

/* "removal of container X is already in progress": somebody is at it. */
static bool is_gone(const struct pd_err *err)
{
    return err->kind == PD_NOT_FOUND ||
           (err->kind == PD_CONFLICT && strstr(err->msg, "already in progress"));
}

static void on_destroyed(void *arg, const struct pd_err *err, const struct pd_docker_answer *answer)
{
    struct pd_docker_op *op = arg;

    (void)answer;
    op->cb.done(op->arg, err && !is_gone(err) ? err : NULL);
    pd_docker_op_free(op);
}

int pd_docker_check_container_id(const char *id, struct pd_err *err)
{
    if (!*id || strlen(id) >= PD_DOCKER_CONTAINER_ID_MAX || id[strspn(id, "0123456789abcdef")])
        return pd_err_set(err, PD_INVALID, "'%.80s' is no container id", id);
    return 0;
}

static int docker_destroy(struct pd_provider *provider, const char *provider_id,
                          pd_provider_done_cb cb, void *arg, struct pd_err *err)
{
    struct pd_docker *docker = pd_docker_of(provider);
    pd_autofree char *path = pd_asprintf("/containers/%.80s?force=1&v=1", provider_id);
    struct pd_docker_call call = {.method = "DELETE", .path = path};
    struct pd_docker_op *op;
    int rc = pd_docker_check_container_id(provider_id, err);

    if (rc < 0)
        return rc;
    op = pd_docker_op_new(docker, arg);
    op->cb.done = cb;
    rc = pd_docker_engine_call(docker->engine, &call, on_destroyed, op, err);
    if (rc < 0)
        pd_docker_op_free(op);
    return rc;
}

/* ---- watch, life ---- */

static void docker_watch(struct pd_provider *provider, pd_provider_event_cb cb, void *arg)
{
    struct pd_docker *docker = pd_docker_of(provider);

    if (!cb) {
        if (docker->watch)
            pd_docker_watch_mute(docker->watch);
        return;
    }
    assert(!docker->watch && !docker->closing);
    docker->watch = pd_docker_watch_open(docker->loop, docker->engine, docker->instance, cb, arg);
}

void pd_docker_maybe_closed(struct pd_docker *docker)
{
    void (*closed)(void *arg) = docker->closed;
    void *arg = docker->closed_arg;

    if (!docker->engine_closed || !docker->watch_closed || !TAILQ_EMPTY(&docker->links))
        return;
    pd_docker_images_free(docker->images);
    pd_docker_volume_free(docker->volume);
    for (size_t i = 0; i < docker->entrypoint.count; i++)
        free(docker->entrypoint.items[i]);
    free(docker->entrypoint.items);
    free(docker->direct_dir);
    free(docker);
    if (closed)
        closed(arg);
}

static void on_engine_closed(void *arg)
{
    struct pd_docker *docker = arg;

    docker->engine_closed = true;
    pd_docker_maybe_closed(docker);
}

static void on_watch_closed(void *arg)
{
    struct pd_docker *docker = arg;

    docker->watch_closed = true;
    pd_docker_maybe_closed(docker);
}

static void docker_close(struct pd_provider *provider, void (*closed)(void *arg), void *arg)
{
    struct pd_docker *docker = pd_docker_of(provider);
    struct pd_docker_op *op;

    assert(!docker->closing);
    docker->closing = true;
    docker->closed = closed;
    docker->closed_arg = arg;
    docker->watch_closed = !docker->watch;
    pd_docker_engine_close(docker->engine, on_engine_closed, docker);
    TAILQ_FOREACH(op, &docker->links, entry)
    {
        if (op->attach)
            pd_docker_attach_cancel(op->attach);
    }
    if (docker->watch)
        pd_docker_watch_close(docker->watch, on_watch_closed, docker);
}

static const struct pd_provider_ops docker_ops = {
    .name = "docker",
    .ensure_ready = docker_ensure_ready,
    .create = pd_docker_create,
    .list = docker_list,
    .destroy = docker_destroy,
    .watch = docker_watch,
    .link = pd_docker_link,
    .close = docker_close,
};

static bool is_instance_name(const char *name)
{
    if (!name || !*name || strlen(name) >= PD_INSTANCE_NAME_MAX)
        return false;
    for (const char *p = name; *p; p++) {
        if (!isalnum((unsigned char)*p) && !strchr("_.-", *p))
            return false;
    }
    return true;
}

static void copy_entrypoint(struct pd_docker *docker, const struct pd_strings *entrypoint)
{
    if (!entrypoint)
        return;
    docker->entrypoint.items = pd_calloc(entrypoint->count, sizeof *entrypoint->items);
    docker->entrypoint.count = entrypoint->count;
    for (size_t i = 0; i < entrypoint->count; i++)
        docker->entrypoint.items[i] = pd_strdup(entrypoint->items[i]);
}

int pd_provider_docker_new(uv_loop_t *loop, const struct pd_docker_config *config,
                           struct pd_provider **ret_provider, struct pd_err *err)
{
    struct pd_docker_address address;
    struct pd_docker *docker;

    if (!is_instance_name(config->instance))
        return pd_err_set(err, PD_INVALID,
                          "an instance is named by 1 to %d letters, digits, '_', '.' and '-'",
                          PD_INSTANCE_NAME_MAX - 1);
    if (pd_docker_address_parse(config->host, config->tls_verify, config->cert_path, &address,
                                err) < 0)
        return PD_INVALID;
    docker = PD_NEW(struct pd_docker);
    pd_strcpy(docker->instance, sizeof docker->instance, config->instance);
    docker->provider.ops = &docker_ops;
    docker->provider.instance = docker->instance;
    docker->loop = loop;
    docker->engine = pd_docker_engine_new(loop, &address);
    pd_docker_engine_set_metrics(docker->engine, config->metrics);
    docker->images = pd_docker_images_new(docker->engine);
    docker->volume = pd_docker_volume_new(docker->engine, docker->instance, config->own_volume);
    TAILQ_INIT(&docker->links);
    if (config->direct_dir && pd_docker_engine_address(docker->engine)->socket_path)
        docker->direct_dir = pd_strdup(config->direct_dir);
    copy_entrypoint(docker, config->entrypoint);
    *ret_provider = &docker->provider;
    return 0;
}

const char *pd_provider_docker_engine_id(const struct pd_provider *provider)
{
    const struct pd_docker *docker = PD_CONTAINER_OF(provider, const struct pd_docker, provider);

    return pd_docker_engine_facts(docker->engine)->id;
}
