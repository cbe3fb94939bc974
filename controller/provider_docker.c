/* Theory of operation. Each operation of the provider is one `struct op`, a
 * chain of calls to the engine whose last one tells the caller:
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
#include <unistd.h>

#include "common/asset.h"
#include "common/direct.h"
#include "common/log.h"
#include "common/mem.h"
#include "controller/docker_engine.h"
#include "controller/docker_image.h"
#include "controller/docker_reply.h"
#include "controller/docker_request.h"
#include "controller/docker_stream.h"
#include "controller/docker_volume.h"
#include "controller/docker_watch.h"

#define APPARMOR_PROFILE "paddock-sandbox"
#define CONTAINER_ID_MAX 80

struct op {
    TAILQ_ENTRY(op) entry; /* links only */
    struct docker *docker;
    struct pd_pool_spec *spec;
    char id[PD_SANDBOX_ID_MAX];
    char name[PD_DOCKER_CONTAINER_NAME_MAX];
    char container[CONTAINER_ID_MAX];
    bool with_apparmor, with_direct;
    struct pd_err failure;           /* told once the remains are removed */
    struct pd_docker_attach *attach; /* links: until it is open */
    struct pd_stream *stream;        /* links: once it is open */
    union {
        pd_provider_done_cb done;
        pd_provider_create_cb create;
        pd_provider_list_cb list;
        pd_provider_link_cb link;
    } cb;
    void *arg;
};

struct docker {
    struct pd_provider provider;
    uv_loop_t *loop;
    char instance[PD_INSTANCE_NAME_MAX];
    struct pd_docker_engine *engine;
    struct pd_docker_images *images;
    struct pd_docker_volume *volume;
    struct pd_docker_watch *watch;
    struct pd_strings entrypoint;
    char *direct_dir;       /* NULL: none, or the engine does not have it */
    bool apparmor_refused;  /* the engine's host has AppArmor without our profile */
    TAILQ_HEAD(, op) links; /* under way */
    bool closing;
    bool engine_closed;
    bool watch_closed;
    void (*closed)(void *arg);
    void *closed_arg;
};

static struct docker *docker_of(struct pd_provider *provider)
{
    return PD_CONTAINER_OF(provider, struct docker, provider);
}

static struct op *op_new(struct docker *docker, void *arg)
{
    struct op *op = PD_NEW(struct op);

    op->docker = docker;
    op->arg = arg;
    return op;
}

static void op_free(struct op *op)
{
    pd_pool_spec_unref(op->spec);
    free(op);
}

/* Specs are immutable but for their count of references. */
static struct pd_pool_spec *spec_ref(const struct pd_pool_spec *spec)
{
    return pd_pool_spec_ref((struct pd_pool_spec *)(uintptr_t)spec);
}

/* ---- ensure_ready ---- */

static void ensure_end(struct op *op, const struct pd_err *err)
{
    op->cb.done(op->arg, err);
    op_free(op);
}

static void on_volume_ready(void *arg, const struct pd_err *err)
{
    ensure_end(arg, err);
}

static void on_image_ready(void *arg, const struct pd_err *err)
{
    struct op *op = arg;
    struct pd_err failure;

    if (err)
        ensure_end(op, err);
    else if (pd_docker_volume_ensure(op->docker->volume, op->spec->image, on_volume_ready, op,
                                     &failure) < 0)
        ensure_end(op, &failure);
}

/* What can never be had is told here already, before any container is made. */
static int check_spec(const struct pd_pool_spec *spec, struct pd_err *err)
{
    struct pd_docker_sandbox sandbox = {
        .spec = spec, .id = "check", .instance = "check", .volume = "check"};
    pd_autonode struct pd_node *body = NULL;

    return pd_docker_create_body(&sandbox, &body, err);
}

static int docker_ensure_ready(struct pd_provider *provider, const struct pd_pool_spec *spec,
                               pd_provider_done_cb cb, void *arg, struct pd_err *err)
{
    struct docker *docker = docker_of(provider);
    struct op *op;
    int rc = check_spec(spec, err);

    if (rc < 0)
        return rc;
    op = op_new(docker, arg);
    op->cb.done = cb;
    op->spec = spec_ref(spec);
    rc = pd_docker_images_ensure(docker->images, spec->image, on_image_ready, op, err);
    if (rc < 0)
        op_free(op);
    return rc;
}

/* ---- create ---- */

static void create_end(struct op *op, const struct pd_err *err)
{
    struct pd_err wrapped;

    if (err) {
        wrapped = *err;
        pd_err_wrap(&wrapped, "create sandbox %s", op->id);
    }
    op->cb.create(op->arg, err ? &wrapped : NULL, err ? NULL : op->container);
    op_free(op);
}

static int create_container(struct op *op, struct pd_err *err);

static void on_remains_removed(void *arg, const struct pd_err *err,
                               const struct pd_docker_answer *answer)
{
    (void)err; /* what is left of it is in the next list */
    (void)answer;
    create_end(arg, &((struct op *)arg)->failure);
}

static void on_removed_for_retry(void *arg, const struct pd_err *err,
                                 const struct pd_docker_answer *answer)
{
    struct pd_err failure;

    (void)answer;
    if (err && err->kind != PD_NOT_FOUND)
        create_end(arg, err);
    else if (create_container(arg, &failure) < 0)
        create_end(arg, &failure);
}

static int remove_container(struct op *op, pd_docker_answer_cb cb, struct pd_err *err)
{
    pd_autofree char *path = pd_asprintf("/containers/%s?force=1&v=1", op->container);
    struct pd_docker_call call = {.method = "DELETE", .path = path};

    return pd_docker_engine_call(op->docker->engine, &call, cb, op, err);
}

/* The profile is not loaded: Docker's own is stricter for the agent (it denies
 * mount, so cells cannot be had there), never weaker. */
static bool lacks_apparmor_profile(struct op *op, const struct pd_err *err)
{
    if (!op->with_apparmor || !strstr(err->msg, "apparmor"))
        return false;
    if (!op->docker->apparmor_refused)
        pd_log(
            PD_LOG_WARN, "docker",
            "AppArmor profile " APPARMOR_PROFILE
            " is not loaded at the engine: sandboxes get "
            "the engine's own, which denies cells; load it with apparmor_parser, as the scripts do",
            "err", err->msg, NULL);
    op->docker->apparmor_refused = true;
    return true;
}

static void start_failed(struct op *op, const struct pd_err *err)
{
    if (err->kind == PD_CANCELED || err->kind == PD_TIMEOUT) {
        create_end(op, err); /* nobody knows whether it runs: the next list tells */
        return;
    }
    if (lacks_apparmor_profile(op, err) && remove_container(op, on_removed_for_retry, NULL) == 0)
        return;
    pd_docker_volume_doubt(op->docker->volume);
    op->failure = *err;
    if (remove_container(op, on_remains_removed, NULL) < 0)
        create_end(op, err);
}

static void on_started(void *arg, const struct pd_err *err, const struct pd_docker_answer *answer)
{
    (void)answer;
    if (err)
        start_failed(arg, err);
    else
        create_end(arg, NULL);
}

static void start_container(struct op *op)
{
    pd_autofree char *path = pd_asprintf("/containers/%s/start", op->container);
    struct pd_docker_call call = {.method = "POST", .path = path};
    struct pd_err err;

    if (pd_docker_engine_call(op->docker->engine, &call, on_started, op, &err) < 0)
        create_end(op, &err);
}

static bool take_container_id(struct op *op, const struct pd_node *json, struct pd_err *err)
{
    const char *id = pd_docker_text(json, "Id");

    if (!*id || strlen(id) >= sizeof op->container || id[strspn(id, "0123456789abcdef")]) {
        pd_err_set(err, PD_UNAVAILABLE, "the engine gives no usable container id");
        return false;
    }
    pd_strcpy(op->container, sizeof op->container, id);
    return true;
}

/* Its name is taken. Ours by an earlier call with this id: it is the answer. */
static void on_inspected(void *arg, const struct pd_err *err, const struct pd_docker_answer *answer)
{
    struct op *op = arg;
    const struct pd_node *json = err ? NULL : answer->json;
    const struct pd_node *labels = pd_docker_map(pd_docker_map(json, "Config"), "Labels");
    const char *status = pd_docker_text(pd_docker_map(json, "State"), "Status");
    struct pd_err failure;

    if (err) {
        create_end(op, err);
    } else if (!take_container_id(op, json, &failure)) {
        create_end(op, &failure);
    } else if (strcmp(pd_docker_text(labels, PD_DOCKER_LABEL_INSTANCE), op->docker->instance) ||
               strcmp(pd_docker_text(labels, PD_DOCKER_LABEL_SANDBOX), op->id)) {
        pd_err_set(&failure, PD_CONFLICT, "a container named %s exists and is not ours", op->name);
        create_end(op, &failure);
    } else if (strcmp(status, "created") == 0) {
        start_container(op);
    } else if (strcmp(status, "running") == 0) {
        create_end(op, NULL);
    } else {
        pd_err_set(&failure, PD_CONFLICT, "it exists already and is %.32s", status);
        create_end(op, &failure);
    }
}

static void inspect_container(struct op *op)
{
    pd_autofree char *path = pd_asprintf("/containers/%s/json", op->name);
    struct pd_docker_call call = {.method = "GET", .path = path};
    struct pd_err err;

    if (pd_docker_engine_call(op->docker->engine, &call, on_inspected, op, &err) < 0)
        create_end(op, &err);
}

/* An engine on another machine, or we in a container: it does not have our folders. */
static bool lacks_direct_folder(struct op *op, const struct pd_err *err)
{
    struct docker *docker = op->docker;

    if (!op->with_direct || err->kind != PD_INVALID || !strstr(err->msg, "bind source path"))
        return false;
    if (docker->direct_dir)
        pd_log(PD_LOG_INFO, "docker",
               "the engine does not see our state folder: every run's bytes go through the engine",
               "err", err->msg, NULL);
    free(docker->direct_dir);
    docker->direct_dir = NULL;
    return true;
}

static void on_created(void *arg, const struct pd_err *err, const struct pd_docker_answer *answer)
{
    struct op *op = arg;
    struct pd_err failure;

    if (err && err->kind == PD_CONFLICT)
        inspect_container(op);
    else if (err && lacks_direct_folder(op, err) && create_container(op, &failure) == 0)
        return;
    else if (err)
        create_end(op, err);
    else if (!take_container_id(op, answer->json, &failure))
        create_end(op, &failure);
    else
        start_container(op);
}

/* NULL: it goes without. */
static char *make_direct_folder(struct op *op)
{
    const char *dir = op->docker->direct_dir;
    struct pd_err err;

    op->with_direct = dir && pd_direct_folder_make(dir, op->id, &err) == 0;
    return op->with_direct ? pd_asprintf("%s/%s", dir, op->id) : NULL;
}

static int create_body(struct op *op, struct pd_node **ret_body, struct pd_err *err)
{
    struct docker *docker = op->docker;
    pd_autofree char *direct = NULL;
    const struct pd_docker_facts *facts = pd_docker_engine_facts(docker->engine);
    struct pd_asset seccomp = pd_asset_find("conf/seccomp.json");
    struct pd_docker_sandbox sandbox = {
        .spec = op->spec,
        .id = op->id,
        .instance = docker->instance,
        .volume = pd_docker_volume_name(docker->volume),
        .seccomp = (const char *)seccomp.data,
        .image_volumes = pd_docker_images_volumes(docker->images, op->spec->image),
        .entrypoint = docker->entrypoint.count > 0 ? &docker->entrypoint : NULL,
    };

    if (!facts || !sandbox.image_volumes)
        return pd_err_set(err, PD_UNAVAILABLE, "the engine has just gone");
    op->with_apparmor = facts->apparmor && !docker->apparmor_refused;
    sandbox.apparmor = op->with_apparmor ? APPARMOR_PROFILE : NULL;
    sandbox.cgroup_v2 = facts->cgroup_v2;
    sandbox.direct_folder = direct = make_direct_folder(op);
    return pd_docker_create_body(&sandbox, ret_body, err);
}

static int create_container(struct op *op, struct pd_err *err)
{
    pd_autofree char *path = pd_asprintf("/containers/create?name=%s", op->name);
    pd_autonode struct pd_node *body = NULL;
    struct pd_docker_call call = {.method = "POST", .path = path};
    int rc = create_body(op, &body, err);

    if (rc < 0)
        return rc;
    call.json = body;
    return pd_docker_engine_call(op->docker->engine, &call, on_created, op, err);
}

static void on_image_known(void *arg, const struct pd_err *err)
{
    struct pd_err failure;

    if (err)
        create_end(arg, err);
    else if (create_container(arg, &failure) < 0)
        create_end(arg, &failure);
}

/* Usually known from ensure_ready; then the container is asked for at once. */
static int docker_create(struct pd_provider *provider, const struct pd_pool_spec *spec,
                         const char *id, pd_provider_create_cb cb, void *arg, struct pd_err *err)
{
    struct docker *docker = docker_of(provider);
    bool known = pd_docker_engine_facts(docker->engine) &&
                 pd_docker_images_volumes(docker->images, spec->image);
    struct op *op;
    int rc = check_spec(spec, err);

    if (rc < 0)
        return rc;
    op = op_new(docker, arg);
    op->cb.create = cb;
    op->spec = spec_ref(spec);
    rc = pd_docker_container_name(id, op->name, err);
    if (rc == 0) {
        pd_strcpy(op->id, sizeof op->id, id);
        rc = known ? create_container(op, err)
                   : pd_docker_images_ensure(docker->images, spec->image, on_image_known, op, err);
    }
    if (rc < 0)
        op_free(op);
    return rc;
}

/* ---- list ---- */

static void on_listed(void *arg, const struct pd_err *err, const struct pd_docker_answer *answer)
{
    struct op *op = arg;
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
    op_free(op);
}

static int docker_list(struct pd_provider *provider, pd_provider_list_cb cb, void *arg,
                       struct pd_err *err)
{
    struct docker *docker = docker_of(provider);
    pd_autofree char *label = pd_asprintf(PD_DOCKER_LABEL_INSTANCE "=%s", docker->instance);
    pd_autofree char *filters = pd_docker_filters(label, NULL);
    pd_autofree char *path = pd_asprintf("/containers/json?all=1&%s", filters);
    struct pd_docker_call call = {.method = "GET", .path = path, .raw_answer = true};
    struct op *op = op_new(docker, arg);
    int rc;

    op->cb.list = cb;
    rc = pd_docker_engine_call(docker->engine, &call, on_listed, op, err);
    if (rc < 0)
        op_free(op);
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
    struct op *op = arg;

    (void)answer;
    op->cb.done(op->arg, err && !is_gone(err) ? err : NULL);
    op_free(op);
}

static int check_container_id(const char *id, struct pd_err *err)
{
    if (!*id || strlen(id) >= CONTAINER_ID_MAX || id[strspn(id, "0123456789abcdef")])
        return pd_err_set(err, PD_INVALID, "'%.80s' is no container id", id);
    return 0;
}

static int docker_destroy(struct pd_provider *provider, const char *provider_id,
                          pd_provider_done_cb cb, void *arg, struct pd_err *err)
{
    struct docker *docker = docker_of(provider);
    pd_autofree char *path = pd_asprintf("/containers/%.80s?force=1&v=1", provider_id);
    struct pd_docker_call call = {.method = "DELETE", .path = path};
    struct op *op;
    int rc = check_container_id(provider_id, err);

    if (rc < 0)
        return rc;
    op = op_new(docker, arg);
    op->cb.done = cb;
    rc = pd_docker_engine_call(docker->engine, &call, on_destroyed, op, err);
    if (rc < 0)
        op_free(op);
    return rc;
}

/* ---- link ---- */

static void maybe_closed(struct docker *docker);

static void link_end(struct op *op, const struct pd_err *err, struct pd_stream *stream)
{
    struct docker *docker = op->docker;
    struct pd_err wrapped;

    if (err) {
        wrapped = *err;
        pd_err_wrap(&wrapped, "attach to container %.12s", op->container);
    }
    TAILQ_REMOVE(&docker->links, op, entry);
    op->cb.link(op->arg, err ? &wrapped : NULL, stream);
    op_free(op);
    maybe_closed(docker);
}

static void on_stream_dropped(void *arg)
{
    struct op *op = arg;

    link_end(op, &op->failure, NULL);
}

static void link_fail(struct op *op, const struct pd_err *err)
{
    op->failure = *err;
    op->stream->ops->close(op->stream, on_stream_dropped, op);
}

/* What the container has of ours; NULL where it has none or was linked before. */
static const char *direct_folder_of(const struct docker *docker, const struct pd_node *json)
{
    const char *folder = pd_docker_mount_source(json, PD_DIRECT_FOLDER);
    size_t len = strlen(docker->direct_dir);

    if (!folder || strncmp(folder, docker->direct_dir, len) != 0 || folder[len] != '/' ||
        strchr(folder + len + 1, '/') || access(folder, F_OK) < 0)
        return NULL;
    return folder;
}

static void on_state(void *arg, const struct pd_err *err, const struct pd_docker_answer *answer)
{
    struct op *op = arg;
    const struct pd_node *state = err ? NULL : pd_docker_map(answer->json, "State");
    struct pd_err failure;

    if (!err && op->docker->direct_dir)
        op->stream->direct_folder = direct_folder_of(op->docker, answer->json);
    if (err) {
        link_fail(op, err);
    } else if (strcmp(pd_docker_text(state, "Status"), "running") != 0) {
        pd_err_set(&failure, PD_CONFLICT, "it is %.32s", pd_docker_text(state, "Status"));
        link_fail(op, &failure);
    } else {
        link_end(op, NULL, op->stream);
    }
}

/* The engine attaches to what has ended, too, and such a stream never says
 * anything. One that is attached to what still runs afterwards does end. */
static void on_attached(void *arg, const struct pd_err *err, struct pd_stream *stream)
{
    struct op *op = arg;
    pd_autofree char *path = pd_asprintf("/containers/%s/json", op->container);
    struct pd_docker_call call = {.method = "GET", .path = path};
    struct pd_err failure;

    op->attach = NULL;
    op->stream = stream;
    if (err)
        link_end(op, err, NULL);
    else if (pd_docker_engine_call(op->docker->engine, &call, on_state, op, &failure) < 0)
        link_fail(op, &failure);
}

static void attach(struct op *op)
{
    struct docker *docker = op->docker;
    const struct pd_docker_facts *facts = pd_docker_engine_facts(docker->engine);
    pd_autofree char *path =
        pd_asprintf("/v%s/containers/%s/attach?stream=1&stdin=1&stdout=1&stderr=1",
                    facts->api_version, op->container);
    char name[13];

    pd_strcpy(name, sizeof name, op->container);
    op->attach = pd_docker_attach_open(docker->loop, pd_docker_engine_address(docker->engine), path,
                                       name, on_attached, op);
}

static void on_facts_for_link(void *arg, const struct pd_err *err,
                              const struct pd_docker_answer *answer)
{
    struct op *op = arg;
    struct pd_err failure;

    (void)answer;
    if (!err && !pd_docker_engine_facts(op->docker->engine)) {
        pd_err_set(&failure, PD_UNAVAILABLE, "the engine has just gone");
        err = &failure;
    }
    if (!err && op->docker->closing) {
        pd_err_set(&failure, PD_CANCELED, "the provider is closing");
        err = &failure;
    }
    if (err)
        link_end(op, err, NULL);
    else
        attach(op);
}

static int docker_link(struct pd_provider *provider, const char *provider_id,
                       pd_provider_link_cb cb, void *arg, struct pd_err *err)
{
    struct docker *docker = docker_of(provider);
    struct pd_docker_call ping = {.method = "GET", .path = "/_ping", .raw_answer = true};
    struct op *op;
    int rc = check_container_id(provider_id, err);

    if (rc < 0)
        return rc;
    if (docker->closing)
        return pd_err_set(err, PD_CANCELED, "the provider is closing");
    op = op_new(docker, arg);
    op->cb.link = cb;
    pd_strcpy(op->container, sizeof op->container, provider_id);
    if (pd_docker_engine_facts(docker->engine)) {
        attach(op);
    } else if ((rc = pd_docker_engine_call(docker->engine, &ping, on_facts_for_link, op, err)) <
               0) {
        op_free(op);
        return rc;
    }
    TAILQ_INSERT_TAIL(&docker->links, op, entry);
    return 0;
}

/* ---- watch, life ---- */

static void docker_watch(struct pd_provider *provider, pd_provider_event_cb cb, void *arg)
{
    struct docker *docker = docker_of(provider);

    if (!cb) {
        if (docker->watch)
            pd_docker_watch_mute(docker->watch);
        return;
    }
    assert(!docker->watch && !docker->closing);
    docker->watch = pd_docker_watch_open(docker->loop, docker->engine, docker->instance, cb, arg);
}

static void maybe_closed(struct docker *docker)
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
    struct docker *docker = arg;

    docker->engine_closed = true;
    maybe_closed(docker);
}

static void on_watch_closed(void *arg)
{
    struct docker *docker = arg;

    docker->watch_closed = true;
    maybe_closed(docker);
}

static void docker_close(struct pd_provider *provider, void (*closed)(void *arg), void *arg)
{
    struct docker *docker = docker_of(provider);
    struct op *op;

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
    .create = docker_create,
    .list = docker_list,
    .destroy = docker_destroy,
    .watch = docker_watch,
    .link = docker_link,
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

static void copy_entrypoint(struct docker *docker, const struct pd_strings *entrypoint)
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
    struct docker *docker;

    if (!is_instance_name(config->instance))
        return pd_err_set(err, PD_INVALID,
                          "an instance is named by 1 to %d letters, digits, '_', '.' and '-'",
                          PD_INSTANCE_NAME_MAX - 1);
    if (pd_docker_address_parse(config->host, config->tls_verify, config->cert_path, &address,
                                err) < 0)
        return PD_INVALID;
    docker = PD_NEW(struct docker);
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
