/* A secret: nothing formats it, nothing logs it, and its bytes are overwritten
 * when it is freed. */
#ifndef PD_COMMON_SECRET_H
#define PD_COMMON_SECRET_H

#include <stdbool.h>
#include <stddef.h>

struct pd_secret {
    char *bytes; /* owned; terminated by a NUL that `len` does not count; NULL when empty */
    size_t len;
};

/* A copy; the caller wipes what it copied from where that is its own. */
struct pd_secret pd_secret_new(const char *bytes, size_t len);
struct pd_secret pd_secret_copy(const struct pd_secret *secret);
/* Wipes and frees; the secret is empty afterwards. Harmless on an empty one. */
void pd_secret_free(struct pd_secret *secret);

/* In a time that depends on the candidate's length only. An empty secret equals
 * nothing. */
bool pd_secret_equals(const struct pd_secret *secret, const char *candidate, size_t len);

#define pd_autosecret __attribute__((cleanup(pd_secret_free)))

#endif
