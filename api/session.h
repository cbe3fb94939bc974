/* Sessions of browsers, and the links by which they begin.
 *
 * A browser that has shown an API key, or a login link, gets a token in a
 * cookie; the token stands for the key until the session ends: PD_SESSION_IDLE_MS
 * after its last request, PD_SESSION_LIFE_MS after its first, by logging out, or
 * with the service, which keeps sessions in memory only; what shares them with other
 * replicas is shared_sessions.h. A login link is good
 * once and for PD_LINK_LIFE_MS. Of tokens and links only SHA-256 digests are
 * kept. Pure but for random bytes: time is what the caller says it is. */
#ifndef PD_API_SESSION_H
#define PD_API_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/time.h"

#define PD_SESSIONS_MAX 256 /* one more ends the one that is idle longest */
#define PD_LINKS_MAX 16     /* not used yet; one more ends the oldest */
#define PD_SESSION_IDLE_MS INT64_C(7200000)
#define PD_SESSION_LIFE_MS INT64_C(43200000)
#define PD_LINK_LIFE_MS INT64_C(60000)
#define PD_TOKEN_BYTES 65  /* 256 random bits in hex and the NUL */
#define PD_DIGEST_BYTES 32
#define PD_SESSION_TOLD_MS INT64_C(60000) /* how often a use is told, at most */
#define PD_KEY_ID_BYTES 64 /* of the key that a session stands for, with the NUL */

struct pd_sessions;

struct pd_sessions *pd_sessions_new(void);
void pd_sessions_free(struct pd_sessions *sessions); /* NULL is fine */

/* A login link for the key with this id; the caller shows the token once and
 * wipes it. */
void pd_sessions_offer(struct pd_sessions *sessions, const char *key_id, struct pd_time now,
                       char ret_link[static PD_TOKEN_BYTES]);
/* Use a link up. False when it is none, was used, or is too old. */
bool pd_sessions_redeem(struct pd_sessions *sessions, const char *link, struct pd_time now,
                        char ret_key_id[static PD_KEY_ID_BYTES]);

/* Begin a session for the key with this id; the token is for the cookie. */
void pd_sessions_begin(struct pd_sessions *sessions, const char *key_id, struct pd_time now,
                       char ret_token[static PD_TOKEN_BYTES]);
/* The key id that a token stands for (borrowed until the next call), or NULL.
 * It counts as a use. */
const char *pd_sessions_find(struct pd_sessions *sessions, const char *token, struct pd_time now);
/* Milliseconds until a session ends if it is not used again; 0: there is none. */
int64_t pd_sessions_left_ms(const struct pd_sessions *sessions, const char *token,
                            struct pd_time now);
void pd_sessions_end(struct pd_sessions *sessions, const char *token);

/* ---- for who shares them ---- */

/* A new token and its digest. */
void pd_sessions_make_token(char ret_token[static PD_TOKEN_BYTES],
                            unsigned char ret_digest[static PD_DIGEST_BYTES]);
void pd_sessions_digest(const char *token, unsigned char ret_digest[static PD_DIGEST_BYTES]);
/* A session begun or used elsewhere: it ends in idle_ms if it is not used, in life_ms
 * at the latest. A known one is corrected. */
void pd_sessions_put(struct pd_sessions *sessions, const unsigned char *digest, const char *key_id,
                     struct pd_time now, int64_t idle_ms, int64_t life_ms);
void pd_sessions_drop(struct pd_sessions *sessions, const unsigned char *digest);
void pd_sessions_drop_all(struct pd_sessions *sessions);
/* Who is told, from pd_sessions_find, that a session is in use: once in
 * PD_SESSION_TOLD_MS. NULL: nobody. */
void pd_sessions_on_use(struct pd_sessions *sessions,
                        void (*used)(void *arg, const unsigned char *digest), void *arg);

#endif
