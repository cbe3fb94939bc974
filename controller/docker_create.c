/* Making a container: image facts, create, start; what did not start is removed. */
#include <string.h>

#include "common/asset.h"
#include "common/direct.h"
#include "common/log.h"
#include "common/mem.h"
#include "controller/docker_provider.h"
#include "controller/docker_reply.h"

#define APPARMOR_PROFILE "paddock-sandbox"

static void create_end(struct pd_docker_op *op, const struct pd_err *err)
{
    struct pd_err wrapped;

    if (err) {
        wrapped = *err;
        pd_err_wrap(&wrapped, "create sandbox %s", op->id);
    }
    op->cb.create(op->arg, err ? &wrapped : NULL, err ? NULL : op->container);
    pd_docker_op_free(op);
}

static int create_container(struct pd_docker_op *op, struct pd_err *err);

static void on_remains_removed(void *arg, const struct pd_err *err,
                               const struct pd_docker_answer *answer)
{
    (void)err; /* what is left of it is in the next list */
    (void)answer;
    create_end(arg, &((struct pd_docker_op *)arg)->failure);
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

static int remove_container(struct pd_docker_op *op, pd_docker_answer_cb cb, struct pd_err *err)
{
    pd_autofree char *path = pd_asprintf("/containers/%s?force=1&v=1", op->container);
    struct pd_docker_call call = {.method = "DELETE", .path = path};

    return pd_docker_engine_call(op->docker->engine, &call, cb, op, err);
}

/* The profile is not loaded: Docker's own is stricter for the agent (it denies
 * mount, so cells cannot be had there), never weaker. */
static bool lacks_apparmor_profile(struct pd_docker_op *op, const struct pd_err *err)
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

static void start_failed(struct pd_docker_op *op, const struct pd_err *err)
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

static void start_container(struct pd_docker_op *op)
{
    pd_autofree char *path = pd_asprintf("/containers/%s/start", op->container);
    struct pd_docker_call call = {.method = "POST", .path = path};
    struct pd_err err;

    if (pd_docker_engine_call(op->docker->engine, &call, on_started, op, &err) < 0)
        create_end(op, &err);
}

static bool take_container_id(struct pd_docker_op *op, const struct pd_node *json,
                              struct pd_err *err)
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
    struct pd_docker_op *op = arg;
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

static void inspect_container(struct pd_docker_op *op)
{
    pd_autofree char *path = pd_asprintf("/containers/%s/json", op->name);
    struct pd_docker_call call = {.method = "GET", .path = path};
    struct pd_err err;

    if (pd_docker_engine_call(op->docker->engine, &call, on_inspected, op, &err) < 0)
        create_end(op, &err);
}

/* An engine on another machine, or we in a container: it does not have our folders. */
static bool lacks_direct_folder(struct pd_docker_op *op, const struct pd_err *err)
{
    struct pd_docker *docker = op->docker;

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
    struct pd_docker_op *op = arg;
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
static char *make_direct_folder(struct pd_docker_op *op)
{
    const char *dir = op->docker->direct_dir;
    struct pd_err err;

    op->with_direct = dir && pd_direct_folder_make(dir, op->id, &err) == 0;
    return op->with_direct ? pd_asprintf("%s/%s", dir, op->id) : NULL;
}

static int create_body(struct pd_docker_op *op, struct pd_node **ret_body, struct pd_err *err)
{
    struct pd_docker *docker = op->docker;
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

static int create_container(struct pd_docker_op *op, struct pd_err *err)
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
int pd_docker_create(struct pd_provider *provider, const struct pd_pool_spec *spec, const char *id,
                     pd_provider_create_cb cb, void *arg, struct pd_err *err)
{
    struct pd_docker *docker = pd_docker_of(provider);
    bool known = pd_docker_engine_facts(docker->engine) &&
                 pd_docker_images_volumes(docker->images, spec->image);
    struct pd_docker_op *op;
    int rc = pd_docker_check_spec(spec, err);

    if (rc < 0)
        return rc;
    op = pd_docker_op_new(docker, arg);
    op->cb.create = cb;
    op->spec = pd_docker_spec_ref(spec);
    rc = pd_docker_container_name(id, op->name, err);
    if (rc == 0) {
        pd_strcpy(op->id, sizeof op->id, id);
        rc = known ? create_container(op, err)
                   : pd_docker_images_ensure(docker->images, spec->image, on_image_known, op, err);
    }
    if (rc < 0)
        pd_docker_op_free(op);
    return rc;
}
