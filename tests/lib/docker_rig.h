/* The Docker provider against the real engine, a step at a time: each waits for its callback, and
 * what that said is in the rig. A test that needs the engine begins with NEED_ENGINE(). */
#ifndef PD_TESTS_LIB_DOCKER_RIG_H
#define PD_TESTS_LIB_DOCKER_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "common/buf.h"
#include "common/time.h"
#include "controller/provider.h"

#define DOCKER_RIG_WAIT_MS 60000
#define EVENTS_MAX 64

struct docker_rig {
    uv_loop_t loop;
    struct pd_provider *provider;
    char instance[40];
    bool own_volume;
    const char *cert_path; /* with it: TLS */
    struct pd_pool_spec *spec;
    bool done;
    int kind; /* of the last callback's err, 0 without */
    char msg[PD_ERR_MSG_MAX];
    char id[PD_PROVIDER_ID_MAX];
    char full_id[PD_SANDBOX_ID_MAX];
    struct pd_instance instances[32];
    size_t count;
    struct pd_stream *stream;
    struct pd_buf data;
    bool ended;
    bool streamed; /* want_bytes have come, or one piece, or the end */
    size_t want_bytes;
    bool one_piece; /* stop reading after each piece */
    size_t pieces;
    struct pd_provider_event events[EVENTS_MAX];
    struct pd_time event_times[EVENTS_MAX];
    size_t n_events;
    enum { WAIT_NONE, WAIT_UP, WAIT_DOWN, WAIT_DEAD } wait_for;
    bool seen;
};

/* An entrypoint in the agent's place: it says what it is told. */
extern const char *const docker_rig_cat[];

/* For cmocka: a rig without a provider; afterwards everything that it made is destroyed. */
int docker_rig_set_up(void **state);
int docker_rig_tear_down(void **state);
/* Else it has printed that the test is skipped. */
bool docker_rig_has_engine(void);

#define NEED_ENGINE()                                                                              \
    do {                                                                                           \
        if (!docker_rig_has_engine())                                                              \
            skip();                                                                                \
    } while (0)

/* host NULL: the environment's. entrypoint ends with NULL; NULL: the agent. */
void docker_rig_open(struct docker_rig *ctx, const char *host, const char *const *entrypoint);
void docker_rig_close(struct docker_rig *ctx);
void docker_rig_ensure_ready(struct docker_rig *ctx);
/* 0 or negative, then msg says why. Ids are the engine's, so every test has its own:
 * "<instance>-<id>". */
int docker_rig_create(struct docker_rig *ctx, const char *id);
void docker_rig_create_well(struct docker_rig *ctx, const char *id);
void docker_rig_list(struct docker_rig *ctx);
int docker_rig_destroy(struct docker_rig *ctx, const char *provider_id);
void docker_rig_destroy_all(struct docker_rig *ctx);
/* Then nothing is read before stream->ops->read. */
int docker_rig_link(struct docker_rig *ctx, const char *provider_id);
void docker_rig_unlink(struct docker_rig *ctx);
/* Write, and wait until so much has been read, or the end. */
void docker_rig_say(struct docker_rig *ctx, const char *text, size_t want_bytes);
void docker_rig_wait_done(struct docker_rig *ctx);
void docker_rig_wait_streamed(struct docker_rig *ctx);

/* Callbacks of the provider's, with the rig as `arg`; docker_rig_on_closed's is a bool. */
void docker_rig_on_done(void *arg, const struct pd_err *err);
void docker_rig_on_create(void *arg, const struct pd_err *err, const char *provider_id);
void docker_rig_on_list(void *arg, const struct pd_err *err, const struct pd_instance *instances,
                        size_t count);
void docker_rig_on_link(void *arg, const struct pd_err *err, struct pd_stream *stream);
void docker_rig_on_event(void *arg, const struct pd_provider_event *event);
void docker_rig_on_closed(void *arg);

#endif
