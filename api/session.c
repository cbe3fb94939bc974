#include "api/session.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "api/trace.h"
#include "common/mem.h"

/* A slot is free when its `until` is not set, or has passed. */
struct link {
    unsigned char digest[PD_DIGEST_BYTES];
    char key_id[PD_KEY_ID_BYTES];
    struct pd_time until;
};

struct session {
    unsigned char digest[PD_DIGEST_BYTES];
    char key_id[PD_KEY_ID_BYTES];
    struct pd_time idle_until;
    struct pd_time until;
    struct pd_time told; /* that it was used */
};

struct pd_sessions {
    struct link links[PD_LINKS_MAX];
    struct session sessions[PD_SESSIONS_MAX];
    void (*used)(void *arg, const unsigned char *digest);
    void *used_arg;
};

struct pd_sessions *pd_sessions_new(void)
{
    return PD_NEW(struct pd_sessions);
}

void pd_sessions_free(struct pd_sessions *sessions)
{
    if (!sessions)
        return;
    pd_wipe(sessions, sizeof *sessions);
    free(sessions);
}

void pd_sessions_digest(const char *token, unsigned char out[static PD_DIGEST_BYTES])
{
    if (!EVP_Digest(token, strlen(token), out, NULL, EVP_sha256(), NULL))
        abort(); /* SHA-256 of a few bytes of memory does not fail */
}

void pd_sessions_make_token(char token[static PD_TOKEN_BYTES],
                            unsigned char out[static PD_DIGEST_BYTES])
{
    pd_random_hex(token, PD_TOKEN_BYTES - 1);
    pd_sessions_digest(token, out);
}

static bool equal(const unsigned char *a, const unsigned char *b)
{
    return CRYPTO_memcmp(a, b, PD_DIGEST_BYTES) == 0;
}

/* ---- links ---- */

void pd_sessions_offer(struct pd_sessions *sessions, const char *key_id, struct pd_time now,
                       char ret_link[static PD_TOKEN_BYTES])
{
    struct link *slot = &sessions->links[0];

    assert(strlen(key_id) < PD_KEY_ID_BYTES);
    for (struct link *l = sessions->links; l < sessions->links + PD_LINKS_MAX; l++) {
        if (pd_time_before(l->until, slot->until))
            slot = l;
    }
    pd_sessions_make_token(ret_link, slot->digest);
    pd_strcpy(slot->key_id, sizeof slot->key_id, key_id);
    slot->until = pd_time_add_ms(now, PD_LINK_LIFE_MS);
}

bool pd_sessions_redeem(struct pd_sessions *sessions, const char *link, struct pd_time now,
                        char ret_key_id[static PD_KEY_ID_BYTES])
{
    unsigned char digest[PD_DIGEST_BYTES];

    pd_sessions_digest(link, digest);
    for (struct link *l = sessions->links; l < sessions->links + PD_LINKS_MAX; l++) {
        if (!pd_time_before(now, l->until) || !equal(l->digest, digest))
            continue;
        pd_strcpy(ret_key_id, PD_KEY_ID_BYTES, l->key_id);
        *l = (struct link){.until = {0}};
        return true;
    }
    return false;
}

/* ---- sessions ---- */

static bool is_alive(const struct session *session, struct pd_time now)
{
    return pd_time_before(now, session->until) && pd_time_before(now, session->idle_until);
}

static struct session *find_digest(const struct pd_sessions *sessions, const unsigned char *digest)
{
    const struct session *end = sessions->sessions + PD_SESSIONS_MAX;

    for (const struct session *s = sessions->sessions; s < end; s++) {
        if (pd_time_is_set(s->until) && equal(s->digest, digest))
            return (struct session *)s;
    }
    return NULL;
}

static struct session *find(const struct pd_sessions *sessions, const char *token)
{
    unsigned char digest[PD_DIGEST_BYTES];

    pd_sessions_digest(token, digest);
    return find_digest(sessions, digest);
}

/* A free slot, else that of the session that is idle longest. */
static struct session *slot_for_one(struct pd_sessions *sessions, struct pd_time now)
{
    struct session *slot = &sessions->sessions[0];
    struct session *end = sessions->sessions + PD_SESSIONS_MAX;

    for (struct session *s = sessions->sessions; s < end; s++) {
        if (!is_alive(s, now))
            return s;
        if (pd_time_before(s->idle_until, slot->idle_until))
            slot = s;
    }
    return slot;
}

void pd_sessions_begin(struct pd_sessions *sessions, const char *key_id, struct pd_time now,
                       char ret_token[static PD_TOKEN_BYTES])
{
    struct session *slot = slot_for_one(sessions, now);

    assert(strlen(key_id) < PD_KEY_ID_BYTES);
    pd_sessions_make_token(ret_token, slot->digest);
    pd_strcpy(slot->key_id, sizeof slot->key_id, key_id);
    slot->idle_until = pd_time_add_ms(now, PD_SESSION_IDLE_MS);
    slot->until = pd_time_add_ms(now, PD_SESSION_LIFE_MS);
    slot->told = now;
}

const char *pd_sessions_find(struct pd_sessions *sessions, const char *token, struct pd_time now)
{
    struct session *session = find(sessions, token);

    if (!session || !is_alive(session, now))
        return NULL;
    session->idle_until = pd_time_add_ms(now, PD_SESSION_IDLE_MS);
    if (sessions->used && pd_time_ms_between(session->told, now) >= PD_SESSION_TOLD_MS) {
        session->told = now;
        sessions->used(sessions->used_arg, session->digest);
    }
    return session->key_id;
}

int64_t pd_sessions_left_ms(const struct pd_sessions *sessions, const char *token,
                            struct pd_time now)
{
    const struct session *session = find(sessions, token);

    if (!session || !is_alive(session, now))
        return 0;
    return pd_time_ms_between(now, pd_time_before(session->until, session->idle_until)
                                       ? session->until
                                       : session->idle_until);
}

void pd_sessions_end(struct pd_sessions *sessions, const char *token)
{
    struct session *session = find(sessions, token);

    if (session)
        *session = (struct session){.until = {0}};
}

/* ---- shared ones ---- */

void pd_sessions_put(struct pd_sessions *sessions, const unsigned char *digest, const char *key_id,
                     struct pd_time now, int64_t idle_ms, int64_t life_ms)
{
    struct session *session = find_digest(sessions, digest);

    if (strlen(key_id) >= PD_KEY_ID_BYTES)
        return; /* no key of ours */
    if (!session) {
        session = slot_for_one(sessions, now);
        memcpy(session->digest, digest, PD_DIGEST_BYTES);
        session->told = now;
    }
    pd_strcpy(session->key_id, sizeof session->key_id, key_id);
    session->idle_until = pd_time_add_ms(now, idle_ms);
    session->until = pd_time_add_ms(now, life_ms);
}

void pd_sessions_drop(struct pd_sessions *sessions, const unsigned char *digest)
{
    struct session *session = find_digest(sessions, digest);

    if (session)
        *session = (struct session){.until = {0}};
}

void pd_sessions_drop_all(struct pd_sessions *sessions)
{
    pd_wipe(sessions->sessions, sizeof sessions->sessions);
}

void pd_sessions_on_use(struct pd_sessions *sessions,
                        void (*used)(void *arg, const unsigned char *digest), void *arg)
{
    sessions->used = used;
    sessions->used_arg = arg;
}
