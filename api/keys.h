/* API keys: who may run programs here.
 *
 * There is always one: $EXECUTION_API_KEY, or else a key made at the first
 * start and kept in the state folder (file "key", mode 0600). Only SHA-256
 * digests are compared, in constant time, so neither the length nor the
 * beginning of a key shows in the time that an answer takes. */
#ifndef PD_API_KEYS_H
#define PD_API_KEYS_H

#include <stddef.h>

#include "common/err.h"

#define PD_KEY_TEXT_MAX 256 /* bytes of a key, without the NUL */
#define PD_KEY_TEXT_MIN 8

struct pd_keys;

/* env_key: the environment's, NULL or "" for none; then the key is read from
 * state_dir, where one is made if there is none. PD_INVALID for a key that is
 * too short or long or has spaces or control characters in it. */
int pd_keys_open(const char *state_dir, const char *env_key, struct pd_keys **ret_keys,
                 struct pd_err *err);
void pd_keys_free(struct pd_keys *keys); /* NULL is fine */

/* Whose key this is: an id for claims and logs that tells nothing about the key
 * (borrowed for the life of `keys`), or NULL when it is nobody's. */
const char *pd_keys_check(const struct pd_keys *keys, const char *text, size_t len);

/* The id of a key that is still one of ours, by a copy of it; else NULL. */
const char *pd_keys_find(const struct pd_keys *keys, const char *id);

/* How many there are; a listener beyond loopback wants one. */
size_t pd_keys_count(const struct pd_keys *keys);

/* The key kept in state_dir, made where there is none; for `paddock key show`.
 * The caller wipes it. */
int pd_keys_load(const char *state_dir, char ret_text[static PD_KEY_TEXT_MAX + 1],
                 struct pd_err *err);

#endif
