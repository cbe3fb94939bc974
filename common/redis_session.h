/* One connection to Redis, from its opening to its end: authenticated, its
 * database selected, commands pipelined and answered in order. It does not come
 * back; loop_redis.h opens the next one. */
#ifndef PD_COMMON_REDIS_SESSION_H
#define PD_COMMON_REDIS_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "common/err.h"
#include "common/redis_reply.h"
#include "common/redis_url.h"

#define PD_REDIS_PIPELINE_MAX 8192                     /* commands not yet answered */
#define PD_REDIS_UNSENT_BYTES_MAX (64u * 1024 * 1024)  /* of commands not yet sent */
#define PD_REDIS_COMMAND_BYTES_MAX (32u * 1024 * 1024) /* of one command */
#define PD_REDIS_ARGS_MAX 4096
#define PD_REDIS_RUN_ID_BYTES 64

struct pd_redis_arg {
    const void *data;
    size_t len;
};
#define PD_REDIS_TEXT(text) ((struct pd_redis_arg){(text), strlen(text)})

/* err is NULL and reply what Redis answered, never of type error; or err tells
 * (pd_redis_reply_err, PD_UNAVAILABLE, PD_TIMEOUT, PD_CANCELED) and reply is the
 * error it answered, or NULL. After PD_UNAVAILABLE, PD_TIMEOUT and PD_CANCELED
 * without a reply nobody knows whether it was carried out. The reply is borrowed
 * for the call. */
typedef void (*pd_redis_cb)(void *arg, const struct pd_err *err,
                            const struct pd_redis_reply *reply);

struct pd_redis_session;

enum pd_redis_session_kind {
    PD_REDIS_COMMANDS,
    PD_REDIS_SUBSCRIBER, /* every answer, once ready, goes to `push` */
};

struct pd_redis_session_config {
    uv_loop_t *loop;
    const struct pd_redis_url *url; /* borrowed for the session's life */
    const char *ca_file;            /* rediss: as in pd_tls_config; borrowed for the call */
    const char *cert_file;
    const char *key_file;
    int connect_timeout_ms; /* up to being ready */
    int command_timeout_ms; /* for each; one that is late ends the session */
    int ping_interval_ms;   /* of silence, then it is asked whether it is there */
};

struct pd_redis_session_events {
    void (*ready)(void *arg);
    void (*push)(void *arg, const struct pd_redis_reply *reply);
    /* Once; every command's cb has been called before. The user closes it. */
    void (*ended)(void *arg, const struct pd_err *err);
};

/* `events` is static. They fire from the loop, never before this returns. */
struct pd_redis_session *pd_redis_session_open(const struct pd_redis_session_config *config,
                                               enum pd_redis_session_kind kind,
                                               const struct pd_redis_session_events *events,
                                               void *arg);
/* Once ready. 0: cb (subscriber: must be NULL) fires exactly once, from the
 * loop. PD_UNAVAILABLE, PD_LIMIT: it never does. Commands of one turn of the
 * loop are sent together. */
int pd_redis_session_send(struct pd_redis_session *session, const struct pd_redis_arg *args,
                          size_t n_args, pd_redis_cb cb, void *arg, struct pd_err *err)
    __attribute__((warn_unused_result));
/* As if the connection were lost now, for this reason: from the loop, but not from a command's
 * cb. Nothing, when it has ended. */
void pd_redis_session_end(struct pd_redis_session *session, const struct pd_err *err);
/* Commands not yet answered. */
size_t pd_redis_session_in_flight(const struct pd_redis_session *session);
/* Which server process it is ("" where Redis does not tell); a restart changes it. */
const char *pd_redis_session_run_id(const struct pd_redis_session *session);
/* What waits fails with PD_CANCELED before `closed`, which fires once from the
 * loop. No event fires after the call. */
void pd_redis_session_close(struct pd_redis_session *session, void (*closed)(void *arg), void *arg);

#endif
