/* API keys: who may do what here, and how much of it.
 *
 * There is always one: $EXECUTION_API_KEY, or else a key made at the first start
 * and kept in the state folder (file "key", mode 0600), unless others are there
 * (key_file.h), which come and go while the service runs. Only SHA-256 digests
 * are compared, so nothing of a key shows in the time that an answer takes. */
#ifndef PD_API_KEYS_H
#define PD_API_KEYS_H

#include <stddef.h>
#include <uv.h>

#include "api/key_file.h"
#include "common/err.h"
#include "common/time.h"

struct pd_keys;

/* One key, as it is now. Records live as long as `keys`, those of revoked keys
 * too: pointers to them and to their ids stay good. */
struct pd_key {
    struct pd_key_record record;
    bool revoked;

    unsigned seen; /* keys.c's own */
    bool fixed; /* not of a file in keys.d */
};

/* env_key: the environment's, NULL or "" for none; then the key is read from
 * state_dir, where one is made if there is no key at all. PD_INVALID for a key
 * that is too short or long or has spaces or control characters in it. */
int pd_keys_open(const char *state_dir, const char *env_key, struct pd_keys **ret_keys,
                 struct pd_err *err);
void pd_keys_free(struct pd_keys *keys); /* NULL is fine; not while it watches */

/* Read the folder again, now and whenever it changes. What cannot be read stays
 * as it was, and is logged. */
void pd_keys_reload(struct pd_keys *keys);
void pd_keys_watch(struct pd_keys *keys, uv_loop_t *loop);
/* Stop watching; `closed` fires once from the loop. */
void pd_keys_unwatch(struct pd_keys *keys, void (*closed)(void *arg), void *arg);

/* Whose key this is; NULL when it is nobody's or was revoked. */
const struct pd_key *pd_keys_check(const struct pd_keys *keys, const char *text, size_t len);
/* By its id, likewise. */
const struct pd_key *pd_keys_find(const struct pd_keys *keys, const char *id);

/* How many are in force; a listener beyond loopback wants one. */
size_t pd_keys_count(const struct pd_keys *keys);

/* Where limits are divided, they are among so many replicas (1 at first): each has its
 * part of them, and one at least. */
void pd_keys_divide(struct pd_keys *keys, size_t replicas);
int pd_keys_replicas(const struct pd_keys *keys);
/* Of `whole`, what is for this replica; 0 stays 0, which is no bound. */
int pd_keys_part(const struct pd_keys *keys, int whole);

/* The key kept in state_dir, made where there is none; for `paddock key show`.
 * The caller wipes it. */
int pd_keys_load(const char *state_dir, char ret_text[static PD_KEY_TEXT_MAX + 1],
                 struct pd_err *err);
/* A new random key: its text (wiped by the caller) and the digest and id of the
 * record. */
void pd_keys_make(char ret_text[static PD_KEY_TEXT_MAX + 1], struct pd_key_record *record);
/* The id of a key's text. */
void pd_keys_id_of(const char *text, char out[static PD_KEY_ID_MAX]);

#endif
