/* The insides of the Docker provider, shared by its source files and nobody else:
 *
 *   provider_docker.c  ensure_ready, list, destroy, watch, life
 *   docker_create.c    create
 *   docker_link.c      link */
#ifndef PD_CONTROLLER_DOCKER_PROVIDER_H
#define PD_CONTROLLER_DOCKER_PROVIDER_H

#include <stdbool.h>
#include <sys/queue.h>
#include <uv.h>

#include "controller/docker_engine.h"
#include "controller/docker_image.h"
#include "controller/docker_request.h"
#include "controller/docker_stream.h"
#include "controller/docker_volume.h"
#include "controller/docker_watch.h"
#include "controller/provider.h"
#include "controller/provider_docker.h"

#define PD_DOCKER_CONTAINER_ID_MAX 80

struct pd_docker_op {
    TAILQ_ENTRY(pd_docker_op) entry; /* links only */
    struct pd_docker *docker;
    struct pd_pool_spec *spec;
    char id[PD_SANDBOX_ID_MAX];
    char name[PD_DOCKER_CONTAINER_NAME_MAX];
    char container[PD_DOCKER_CONTAINER_ID_MAX];
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

struct pd_docker {
    struct pd_provider provider;
    uv_loop_t *loop;
    char instance[PD_INSTANCE_NAME_MAX];
    struct pd_docker_engine *engine;
    struct pd_docker_images *images;
    struct pd_docker_volume *volume;
    struct pd_docker_watch *watch;
    struct pd_strings entrypoint;
    char *direct_dir;                 /* NULL: none, or the engine does not have it */
    bool apparmor_refused;            /* the engine's host has AppArmor without our profile */
    TAILQ_HEAD(, pd_docker_op) links; /* under way */
    bool closing;
    bool engine_closed;
    bool watch_closed;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct pd_docker *pd_docker_of(struct pd_provider *provider);
struct pd_docker_op *pd_docker_op_new(struct pd_docker *docker, void *arg);
void pd_docker_op_free(struct pd_docker_op *op);
struct pd_pool_spec *pd_docker_spec_ref(const struct pd_pool_spec *spec);
/* PD_INVALID for what no container can be made from. */
int pd_docker_check_spec(const struct pd_pool_spec *spec, struct pd_err *err);
/* PD_INVALID for what cannot stand in a path. */
int pd_docker_check_container_id(const char *id, struct pd_err *err);
/* An operation has ended: the provider may be waiting for that to close. */
void pd_docker_maybe_closed(struct pd_docker *docker);

/* Members of struct pd_provider_ops. */
int pd_docker_create(struct pd_provider *provider, const struct pd_pool_spec *spec, const char *id,
                     pd_provider_create_cb cb, void *arg, struct pd_err *err);
int pd_docker_link(struct pd_provider *provider, const char *provider_id, pd_provider_link_cb cb,
                   void *arg, struct pd_err *err);

#endif
