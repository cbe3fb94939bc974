/* Redis on libuv: one client that keeps itself connected. hiredis reads and
 * writes the protocol; the sockets, TLS included, are ours (peer.h), because
 * Debian's hiredis has no TLS and its libuv adapter leaks.
 *
 * A command goes out when the client is up, and is refused when it is not: it
 * keeps nothing for later and repeats nothing by itself. A connection that
 * ends, or answers late, fails what waits (nobody knows then whether it was
 * carried out, so what users send must bear repeating) and is made anew after
 * a pause that doubles from 50 ms to 5 s, each shortened by chance. So is one
 * on which a script is told that the server is read-only, once in
 * PD_REDIS_READONLY_MS: after a failover the name may mean another. */
#ifndef PD_COMMON_LOOP_REDIS_H
#define PD_COMMON_LOOP_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "common/err.h"
#include "common/redis_reply.h"
#include "common/redis_session.h"
#include "common/redis_url.h"

#define PD_REDIS_CONNECT_TIMEOUT_MS 5000
#define PD_REDIS_COMMAND_TIMEOUT_MS 5000
#define PD_REDIS_PING_INTERVAL_MS 5000
#define PD_REDIS_PAUSE_MIN_MS 50
#define PD_REDIS_PAUSE_MAX_MS 5000
#define PD_REDIS_READONLY_MS 30000
#define PD_REDIS_OBSERVERS_MAX 16
#define PD_REDIS_SUBSCRIPTIONS_MAX 4096

struct pd_redis;

struct pd_redis_config {
    uv_loop_t *loop;
    const struct pd_redis_url *url; /* copied */
    const char *ca_file;            /* PEM, for rediss; NULL: the system's; copied */
    const char *cert_file;          /* PEM, with key_file; NULL: none; copied */
    const char *key_file;
    int command_timeout_ms; /* 0: PD_REDIS_COMMAND_TIMEOUT_MS */
};

/* What a user of the client wants to be told; either may be NULL. `down` fires
 * for each failed attempt too, so that the last reason is known. */
struct pd_redis_observer {
    void (*up)(void *arg);
    void (*down)(void *arg, const struct pd_err *err);
    void *arg;
};

/* Begins to connect. Never fails: what is wrong comes through `down`. */
struct pd_redis *pd_redis_open(const struct pd_redis_config *config);
/* What waits fails with PD_CANCELED; `closed` fires once from the loop. */
void pd_redis_close(struct pd_redis *redis, void (*closed)(void *arg), void *arg);

/* Copied. When it is up already, `up` fires in the next turn for nobody: ask
 * pd_redis_is_up. */
void pd_redis_observe(struct pd_redis *redis, const struct pd_redis_observer *observer);
void pd_redis_unobserve(struct pd_redis *redis, const void *arg);

bool pd_redis_is_up(const struct pd_redis *redis);
/* Why it is not up; "" when it is, or when nothing was tried yet. */
const char *pd_redis_why_down(const struct pd_redis *redis);
/* Connections lost and attempts failed since it was up last. */
unsigned pd_redis_failures(const struct pd_redis *redis);
/* redis://host:port/db, without user and password. */
const char *pd_redis_shown_url(const struct pd_redis *redis);
/* Of the server process that this connection talks to, "" where unknown: data
 * read from another one may be older. */
const char *pd_redis_run_id(const struct pd_redis *redis);

/* 0: cb fires exactly once, from the loop (redis_session.h says with what).
 * PD_UNAVAILABLE (not up), PD_LIMIT: it never does. cb may be NULL. */
int pd_redis_command(struct pd_redis *redis, const struct pd_redis_arg *args, size_t n_args,
                     pd_redis_cb cb, void *arg, struct pd_err *err)
    __attribute__((warn_unused_result));

/* ---- scripts ---- */

/* A Lua script, known to Redis by its hash. */
struct pd_redis_script {
    const char *source; /* static */
    char sha1[41];
};
struct pd_redis_script pd_redis_script_of(const char *source);
/* EVALSHA, and EVAL where Redis does not know it (a restart forgets scripts);
 * `args` are keys first, `n_keys` of them. As pd_redis_command. One that had to
 * be sent a second time runs after commands that were sent meanwhile. */
int pd_redis_eval(struct pd_redis *redis, const struct pd_redis_script *script, size_t n_keys,
                  const struct pd_redis_arg *args, size_t n_args, pd_redis_cb cb, void *arg,
                  struct pd_err *err) __attribute__((warn_unused_result));

/* ---- channels ---- */

struct pd_redis_subscription;

struct pd_redis_subscriber {
    /* It has taken effect (again): from here on messages come. What was said
     * before was missed, so read whatever they tell of. May be NULL. */
    void (*begun)(void *arg);
    void (*message)(void *arg, const void *data, size_t len);
};

/* Lasts over reconnects; on a connection of its own. `subscriber` is static.
 * PD_LIMIT. */
int pd_redis_subscribe(struct pd_redis *redis, const char *channel,
                       const struct pd_redis_subscriber *subscriber, void *arg,
                       struct pd_redis_subscription **ret_subscription, struct pd_err *err)
    __attribute__((warn_unused_result));
/* Nothing of it fires afterwards. Before pd_redis_close, or never. */
void pd_redis_unsubscribe(struct pd_redis_subscription *subscription);

#endif
