/* A provider makes sandboxes: Docker containers, ECS tasks, or a test's.
 *
 * Every call is asynchronous: a negative return refuses it and the callback
 * never fires; 0 means that the callback fires exactly once from the loop. A
 * callback's err is NULL on success. Strings and structs given to callbacks
 * are borrowed for the call. Providers keep no truth of their own: `list` is
 * what exists. */
#ifndef PD_CONTROLLER_PROVIDER_H
#define PD_CONTROLLER_PROVIDER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/pool.h"
#include "common/store.h"
#include "common/stream.h"

enum pd_instance_phase {
    PD_INSTANCE_CREATED, /* exists, not running yet */
    PD_INSTANCE_RUNNING,
    PD_INSTANCE_DEAD,    /* exists, ended or ending; reason says how */
};

/* One thing of ours that exists at the provider. */
struct pd_instance {
    char id[PD_SANDBOX_ID_MAX];           /* label paddock.dev/sandbox */
    char provider_id[PD_PROVIDER_ID_MAX]; /* container id, task ARN */
    char pool[PD_POOL_NAME_MAX];          /* label paddock.dev/pool */
    char template_hash[PD_TEMPLATE_HASH_BYTES];
    enum pd_instance_phase phase;
    int64_t created_wall_ms;
    char reason[PD_REASON_MAX];
};

/* A change seen at the provider, as it happens. Events only say where to look;
 * one that is missed costs time, never correctness. */
struct pd_provider_event {
    enum { PD_PROVIDER_CHANGED, PD_PROVIDER_DOWN, PD_PROVIDER_UP } type;
    char pool[PD_POOL_NAME_MAX];  /* changed: whose */
    char id[PD_SANDBOX_ID_MAX];   /* changed: which, "" when unknown */
    bool dead;                    /* changed: it has ended */
    bool leaving;                 /* changed: it will end soon, whatever we do; no new run */
    char reason[PD_REASON_MAX];
};

typedef void (*pd_provider_done_cb)(void *arg, const struct pd_err *err);
typedef void (*pd_provider_create_cb)(void *arg, const struct pd_err *err,
                                      const char *provider_id);
typedef void (*pd_provider_list_cb)(void *arg, const struct pd_err *err,
                                    const struct pd_instance *instances, size_t count);
typedef void (*pd_provider_link_cb)(void *arg, const struct pd_err *err, struct pd_stream *stream);
typedef void (*pd_provider_event_cb)(void *arg, const struct pd_provider_event *event);

struct pd_provider;

struct pd_provider_ops {
    const char *name; /* "docker" */
    /* Whatever must be there before one of this template can be created: the
     * image, the agent volume. Cheap when it is there. */
    int (*ensure_ready)(struct pd_provider *provider, const struct pd_pool_spec *spec,
                        pd_provider_done_cb cb, void *arg, struct pd_err *err);
    /* Create and start one, named by `id`; idempotent by it: when it exists
     * already, that one is the answer. PD_LIMIT: the provider has no capacity. */
    int (*create)(struct pd_provider *provider, const struct pd_pool_spec *spec, const char *id,
                  pd_provider_create_cb cb, void *arg, struct pd_err *err);
    /* Everything of this installation, of whatever pool. */
    int (*list)(struct pd_provider *provider, pd_provider_list_cb cb, void *arg,
                struct pd_err *err);
    /* Idempotent: success when it is gone, however it went. */
    int (*destroy)(struct pd_provider *provider, const char *provider_id, pd_provider_done_cb cb,
                   void *arg, struct pd_err *err);
    /* Deliver events, UP or DOWN first, until close or until called again with
     * a NULL cb. */
    void (*watch)(struct pd_provider *provider, pd_provider_event_cb cb, void *arg);
    /* A byte stream to the agent; the callback's receiver owns it. */
    int (*link)(struct pd_provider *provider, const char *provider_id, pd_provider_link_cb cb,
                void *arg, struct pd_err *err);
    /* Cancels what is under way (callbacks fire with PD_CANCELED), frees. */
    void (*close)(struct pd_provider *provider, void (*closed)(void *arg), void *arg);
};

struct pd_provider {
    const struct pd_provider_ops *ops; /* static, every member set: pd_provider_check asserts it */
    const char *instance;              /* label paddock.dev/instance: whose sandboxes these are */
};

void pd_provider_check(const struct pd_provider *provider);

#endif
