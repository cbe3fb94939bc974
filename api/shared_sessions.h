/* Sessions of browsers, shared by the replicas of one Redis.
 *
 * Redis is the truth: paddock:session:DIGEST holds when a session ends at the latest
 * and whose it is, and lives as long as the session (its TTL); paddock:sessions lists
 * them by when they end, PD_SESSIONS_MAX at most. What begins, is used (told once a
 * minute) or ends is said on the channel paddock:sessions, from which every replica
 * keeps a copy of all in its pd_sessions, read whole again after each reconnect: a
 * request asks nobody. Login links are only in Redis, and taken out by whoever uses
 * them. Tokens are in Redis as SHA-256 digests only.
 *
 * While Redis is away sessions go on from the copy, none begins, and one that ends
 * here is taken out of Redis when it is back. */
#ifndef PD_API_SHARED_SESSIONS_H
#define PD_API_SHARED_SESSIONS_H

#include "api/session.h"
#include "common/loop_redis.h"

#define PD_SESSIONS_UNTOLD_MAX 64 /* ends that Redis does not know of; the oldest is forgotten */

struct pd_shared_sessions;

/* Both are borrowed for its life. PD_LIMIT: too many subscriptions. */
int pd_shared_sessions_open(struct pd_redis *redis, struct pd_sessions *sessions,
                            struct pd_shared_sessions **ret_shared, struct pd_err *err)
    __attribute__((warn_unused_result));
/* Before Redis is closed. What waits still gets its answer. NULL is fine. */
void pd_shared_sessions_close(struct pd_shared_sessions *shared);

/* key_id: NULL, or (of redeem) whose link it was; borrowed for the call. */
typedef void (*pd_shared_sessions_cb)(void *arg, const struct pd_err *err, const char *key_id);

/* Tell of a session that pd_sessions_begin has begun. 0: cb fires once, from the loop,
 * when every replica that is there is told of it. PD_UNAVAILABLE: it never does. */
int pd_shared_sessions_begin(struct pd_shared_sessions *shared, const char *token,
                             const char *key_id, pd_shared_sessions_cb cb, void *arg,
                             struct pd_err *err) __attribute__((warn_unused_result));
/* End it everywhere, at once where Redis is there. */
void pd_shared_sessions_end(struct pd_shared_sessions *shared, const char *token);

/* A login link, and using it up: cb gets the key's id, or NULL where it is none or was
 * used. As above. */
int pd_shared_sessions_offer(struct pd_shared_sessions *shared, const char *key_id,
                             char ret_link[static PD_TOKEN_BYTES], pd_shared_sessions_cb cb,
                             void *arg, struct pd_err *err) __attribute__((warn_unused_result));
int pd_shared_sessions_redeem(struct pd_shared_sessions *shared, const char *link,
                              pd_shared_sessions_cb cb, void *arg, struct pd_err *err)
    __attribute__((warn_unused_result));

/* ---- the channel ---- */

/* Take a message: "put DIGEST IDLE_MS LIFE_MS KEY" or "end DIGEST". False: it is neither. */
bool pd_shared_sessions_take(struct pd_sessions *sessions, const char *text, size_t len,
                             struct pd_time now);

#endif
