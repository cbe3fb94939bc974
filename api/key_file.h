/* API keys on disk: one file for each, <state folder>/keys.d/<id>.json (mode
 * 0600, the folder 0700), with the key's SHA-256 and never the key itself.
 *
 *   {"id": "4f1c9a7d2b60", "name": "ci", "hash": "sha256:<64 hex>",
 *    "scopes": ["execute", "read"], "rate": {"runs": 100, "seconds": 60},
 *    "concurrency": 4, "share": 2, "created": 1767225600000}
 *
 * A key is 192 random bits, so its hash needs neither salt nor stretching. */
#ifndef PD_API_KEY_FILE_H
#define PD_API_KEY_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/store.h"

#define PD_KEY_TEXT_MAX 256 /* bytes of a key, without the NUL */
#define PD_KEY_TEXT_MIN 8
#define PD_KEY_NAME_BYTES 64
#define PD_KEY_DIGEST_BYTES 32
#define PD_KEY_FILES_MAX 10000
#define PD_KEY_SHARE_MAX 100

/* What a key may be used for; a set of bits. */
enum pd_scope {
    PD_SCOPE_OPEN = 0,    /* of a route: needs no key */
    PD_SCOPE_EXECUTE = 1, /* run programs, and see and cancel one's own */
    PD_SCOPE_READ = 2,    /* see pools, events and everybody's history */
    PD_SCOPE_ADMIN = 4,   /* change pools */
    PD_SCOPE_ALL = 7,
};

/* What is declared of a key. */
struct pd_key_record {
    char id[PD_KEY_ID_MAX];
    char name[PD_KEY_NAME_BYTES]; /* for people; need not be unique */
    unsigned char digest[PD_KEY_DIGEST_BYTES];
    unsigned scopes;
    int rate_runs;    /* so many runs ... */
    int rate_seconds; /* ... in so many seconds; 0: no limit */
    int concurrency;  /* runs at a time; 0: no limit */
    int share;        /* of the queue: turns in a row, 1..PD_KEY_SHARE_MAX */
    int64_t created_wall_ms;
};

/* "execute,read" into bits, and back (at least 32 bytes). */
int pd_scopes_parse(const char *text, unsigned *ret_scopes, struct pd_err *err);
const char *pd_scopes_format(unsigned scopes, char *out, size_t out_bytes);
/* "100/m", "5/s", "1000/h". */
int pd_rate_parse(const char *text, int *ret_runs, int *ret_seconds, struct pd_err *err);

/* From a file's text. PD_INVALID says what is wrong. */
int pd_key_record_parse(const char *text, size_t len, struct pd_key_record *ret_record,
                        struct pd_err *err);

/* The id of a key with this digest, and the file's path; the caller frees. */
void pd_key_id_of(const unsigned char digest[static PD_KEY_DIGEST_BYTES],
                  char out[static PD_KEY_ID_MAX]);
char *pd_key_folder(const char *state_dir);
char *pd_key_path(const char *state_dir, const char *id);

/* Written whole or not at all, synced. PD_CONFLICT when the id exists. */
int pd_key_record_write(const char *state_dir, const struct pd_key_record *record,
                        struct pd_err *err);

/* Every file of the folder in name order: either its record, or why it cannot be
 * used. 0, also where there is no folder. */
typedef void (*pd_key_record_cb)(void *arg, const char *id, const struct pd_key_record *record,
                                 const struct pd_err *err);
int pd_key_records_read(const char *state_dir, pd_key_record_cb cb, void *arg, struct pd_err *err);

#endif
