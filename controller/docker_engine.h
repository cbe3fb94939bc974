/* One Docker engine: what it is (version, security options) and calls to its
 * API, by HTTP and JSON. */
#ifndef PD_CONTROLLER_DOCKER_ENGINE_H
#define PD_CONTROLLER_DOCKER_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/err.h"
#include "common/node.h"
#include "controller/docker_address.h"
#include "controller/docker_reply.h"

#define PD_DOCKER_REPLY_BYTES_MAX (64u * 1024 * 1024) /* a list of some 30,000 containers */
#define PD_DOCKER_LINE_BYTES_MAX (256u * 1024)        /* one message of a streamed answer */
#define PD_DOCKER_CALL_TIMEOUT_MS 60000

struct pd_docker_engine;

/* An answer: whole on success (2xx, 304), err otherwise, as
 * pd_docker_status_err has it. Borrowed for the call. */
struct pd_docker_answer {
    const struct pd_node *json; /* NULL when empty, raw or streamed */
    const char *raw;
    size_t raw_len;
};
typedef void (*pd_docker_answer_cb)(void *arg, const struct pd_err *err,
                                    const struct pd_docker_answer *answer);

struct pd_docker_call {
    const char *method;
    const char *path;           /* after the version: "/containers/json?all=1" */
    const struct pd_node *json; /* body; or NULL */
    const void *tar;            /* body; or NULL */
    size_t tar_len;
    int64_t timeout_ms;       /* 0: PD_DOCKER_CALL_TIMEOUT_MS; negative: none */
    int64_t stall_timeout_ms; /* 0: none */
    bool raw_answer;          /* do not parse it */
    /* Streamed answers: each JSON message as it comes. on_start: once before
     * them, when the engine has agreed. Both or neither. */
    void (*on_start)(void *arg);
    void (*on_message)(void *arg, const struct pd_node *message);
};

struct pd_docker_engine *pd_docker_engine_new(uv_loop_t *loop,
                                              struct pd_docker_address *address /* taken over */);

/* Count calls there (common/metrics.h); it outlives the engine. */
struct pd_metrics;
void pd_docker_engine_set_metrics(struct pd_docker_engine *engine, struct pd_metrics *metrics);

/* Calls under way end as PD_CANCELED, then `closed` fires from the loop and the
 * engine is gone. Once. */
void pd_docker_engine_close(struct pd_docker_engine *engine, void (*closed)(void *arg), void *arg);

/* 0: cb fires exactly once from the loop. Learns the engine's facts first where
 * they are not known. The engine's not answering makes them unknown again. */
int pd_docker_engine_call(struct pd_docker_engine *engine, const struct pd_docker_call *call,
                          pd_docker_answer_cb cb, void *arg, struct pd_err *err);

/* Abandon the streamed call of this arg: cb fires with PD_CANCELED. Nothing
 * happens when there is none. */
void pd_docker_engine_cancel(struct pd_docker_engine *engine, const void *arg);

/* NULL while unknown. */
const struct pd_docker_facts *pd_docker_engine_facts(const struct pd_docker_engine *engine);
/* Grows each time that facts are learnt: whatever was found out about an engine
 * before may not be true of this one. */
unsigned pd_docker_engine_generation(const struct pd_docker_engine *engine);
const struct pd_docker_address *pd_docker_engine_address(const struct pd_docker_engine *engine);

#endif
