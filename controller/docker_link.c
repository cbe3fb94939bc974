/* A stream to a container's agent: attach, and see whether it runs. */
#include <string.h>
#include <unistd.h>

#include "common/direct.h"
#include "common/mem.h"
#include "controller/docker_provider.h"
#include "controller/docker_reply.h"

static void link_end(struct pd_docker_op *op, const struct pd_err *err, struct pd_stream *stream)
{
    struct pd_docker *docker = op->docker;
    struct pd_err wrapped;

    if (err) {
        wrapped = *err;
        pd_err_wrap(&wrapped, "attach to container %.12s", op->container);
    }
    TAILQ_REMOVE(&docker->links, op, entry);
    op->cb.link(op->arg, err ? &wrapped : NULL, stream);
    pd_docker_op_free(op);
    pd_docker_maybe_closed(docker);
}

static void on_stream_dropped(void *arg)
{
    struct pd_docker_op *op = arg;

    link_end(op, &op->failure, NULL);
}

static void link_fail(struct pd_docker_op *op, const struct pd_err *err)
{
    op->failure = *err;
    op->stream->ops->close(op->stream, on_stream_dropped, op);
}

/* What the container has of ours; NULL where it has none or was linked before. */
static const char *direct_folder_of(const struct pd_docker *docker, const struct pd_node *json)
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
    struct pd_docker_op *op = arg;
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
    struct pd_docker_op *op = arg;
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

static void attach(struct pd_docker_op *op)
{
    struct pd_docker *docker = op->docker;
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
    struct pd_docker_op *op = arg;
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

int pd_docker_link(struct pd_provider *provider, const char *provider_id, pd_provider_link_cb cb,
                   void *arg, struct pd_err *err)
{
    struct pd_docker *docker = pd_docker_of(provider);
    struct pd_docker_call ping = {.method = "GET", .path = "/_ping", .raw_answer = true};
    struct pd_docker_op *op;
    int rc = pd_docker_check_container_id(provider_id, err);

    if (rc < 0)
        return rc;
    if (docker->closing)
        return pd_err_set(err, PD_CANCELED, "the provider is closing");
    op = pd_docker_op_new(docker, arg);
    op->cb.link = cb;
    pd_strcpy(op->container, sizeof op->container, provider_id);
    if (pd_docker_engine_facts(docker->engine)) {
        attach(op);
    } else if ((rc = pd_docker_engine_call(docker->engine, &ping, on_facts_for_link, op, err)) <
               0) {
        pd_docker_op_free(op);
        return rc;
    }
    TAILQ_INSERT_TAIL(&docker->links, op, entry);
    return 0;
}
