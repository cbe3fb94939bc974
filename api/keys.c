#include "api/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/trace.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/strmap.h"

#define SETTLE_MS 20 /* after the folder's last change, until it is read */
#define KEY_HEX_DIGITS 48

struct pd_keys {
    struct pd_strmap by_id; /* of struct pd_key, revoked ones too */
    size_t in_force;
    unsigned readings;
    bool has_env_key;
    char *state_dir;
    EVP_MD *sha256; /* looked up once: that takes longer than a digest */
    EVP_MD_CTX *hash;

    uv_fs_event_t event;
    uv_timer_t settle;
    int open_handles;
    void (*closed)(void *arg);
    void *closed_arg;
    int replicas; /* among which limits are divided; 0: alone */
};

static int check_text(const char *text, const char *what, struct pd_err *err)
{
    size_t len = strlen(text);

    if (len < PD_KEY_TEXT_MIN || len > PD_KEY_TEXT_MAX)
        return pd_err_set(err, PD_INVALID, "%s must have %d to %d characters, has %zu", what,
                          PD_KEY_TEXT_MIN, PD_KEY_TEXT_MAX, len);
    for (const char *p = text; *p; p++) {
        if (*p <= ' ' || *p > '~')
            return pd_err_set(err, PD_INVALID, "%s may hold printable ASCII without spaces only",
                              what);
    }
    return 0;
}

static int read_key(const char *path, char text[static PD_KEY_TEXT_MAX + 1], struct pd_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t len;

    if (fd < 0)
        return pd_err_os(err, errno == ENOENT ? PD_NOT_FOUND : PD_INTERNAL, errno, "open '%s'",
                         path);
    len = read(fd, text, PD_KEY_TEXT_MAX);
    close(fd);
    if (len < 0)
        return pd_err_os(err, PD_INTERNAL, errno, "read '%s'", path);
    text[len] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    return check_text(text, path, err);
}

/* Written beside, then linked into place: two first starts end with one key,
 * and nobody ever reads half of one. */
static int make_key(const char *path, struct pd_err *err)
{
    char random[65];
    pd_autofree char *text = NULL;
    pd_autofree char *draft = NULL;
    int fd;
    int os = 0;

    pd_random_hex(random, 64);
    text = pd_asprintf("pd_%.*s\n", KEY_HEX_DIGITS, random);
    draft = pd_asprintf("%s.%.8s", path, random + KEY_HEX_DIGITS);
    fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return pd_err_os(err, PD_INTERNAL, errno, "make '%s'", draft);
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fsync(fd) < 0 ||
        (link(draft, path) < 0 && errno != EEXIST))
        os = errno ? errno : EIO;
    close(fd);
    unlink(draft);
    pd_wipe(text, strlen(text));
    pd_wipe(random, sizeof random);
    return os ? pd_err_os(err, PD_INTERNAL, os, "make '%s'", path) : 0;
}

int pd_keys_load(const char *state_dir, char ret_text[static PD_KEY_TEXT_MAX + 1],
                 struct pd_err *err)
{
    pd_autofree char *path = pd_asprintf("%s/key", state_dir);
    int rc = read_key(path, ret_text, err);

    if (rc != PD_NOT_FOUND)
        return rc;
    rc = make_key(path, err);
    return rc < 0 ? rc : read_key(path, ret_text, err);
}

/* ---- digests ---- */

static void digest(const struct pd_keys *keys, const char *text, size_t len,
                   unsigned char out[static PD_KEY_DIGEST_BYTES])
{
    if (!EVP_DigestInit_ex(keys->hash, keys->sha256, NULL) ||
        !EVP_DigestUpdate(keys->hash, text, len) || !EVP_DigestFinal_ex(keys->hash, out, NULL))
        abort(); /* SHA-256 of a few bytes of memory does not fail */
}

static void digest_once(const char *text, unsigned char out[static PD_KEY_DIGEST_BYTES])
{
    if (!EVP_Digest(text, strlen(text), out, NULL, EVP_sha256(), NULL))
        abort();
}

void pd_keys_id_of(const char *text, char out[static PD_KEY_ID_MAX])
{
    unsigned char sha[PD_KEY_DIGEST_BYTES];

    digest_once(text, sha);
    pd_key_id_of(sha, out);
}

void pd_keys_make(char ret_text[static PD_KEY_TEXT_MAX + 1], struct pd_key_record *record)
{
    char random[KEY_HEX_DIGITS + 1];

    pd_random_hex(random, KEY_HEX_DIGITS);
    snprintf(ret_text, PD_KEY_TEXT_MAX + 1, "pd_%s", random);
    pd_wipe(random, sizeof random);
    digest_once(ret_text, record->digest);
    pd_key_id_of(record->digest, record->id);
}

/* ---- the table ---- */

static void put_key(struct pd_keys *keys, const struct pd_key_record *record, bool fixed)
{
    struct pd_key *key = pd_strmap_get(&keys->by_id, record->id);
    bool is_new = !key;

    if (is_new) {
        key = PD_NEW(struct pd_key);
        key->record = *record;
        key->revoked = true;
        pd_strmap_add(&keys->by_id, key->record.id, key);
    }
    if (key->revoked)
        keys->in_force++;
    if (key->revoked && keys->readings > 1)
        pd_log(PD_LOG_INFO, "keys", "key added", "key", record->id, "name", record->name, NULL);
    key->revoked = false;
    key->fixed = fixed;
    key->seen = keys->readings;
    if (!fixed)
        key->record = *record; /* the id, which the map holds, is the same text */
}

static void on_record(void *arg, const char *id, const struct pd_key_record *record,
                      const struct pd_err *err)
{
    struct pd_keys *keys = arg;
    struct pd_key *key = pd_strmap_get(&keys->by_id, id);

    if (record) {
        if (!key || !key->fixed)
            put_key(keys, record, false);
        return;
    }
    pd_log(PD_LOG_WARN, "keys", "a key's file cannot be used; what was known of it stays", "err",
           err->msg, NULL);
    if (key)
        key->seen = keys->readings;
}

static void put_text(struct pd_keys *keys, const char *text, const char *name)
{
    struct pd_key_record record = {.scopes = PD_SCOPE_ALL, .share = 1};

    pd_strcpy(record.name, sizeof record.name, name);
    digest_once(text, record.digest);
    pd_key_id_of(record.digest, record.id);
    put_key(keys, &record, true);
}

/* The one in the state folder, where it is there and meant. */
static int put_kept(struct pd_keys *keys, struct pd_err *err)
{
    pd_autofree char *path = pd_asprintf("%s/key", keys->state_dir);
    char text[PD_KEY_TEXT_MAX + 1];
    int rc;

    if (keys->has_env_key)
        return 0;
    rc = read_key(path, text, err);
    if (rc == 0)
        put_text(keys, text, "kept");
    pd_wipe(text, sizeof text);
    return rc;
}

static void revoke_unseen(struct pd_keys *keys)
{
    for (size_t i = 0; i < keys->by_id.capacity; i++) {
        struct pd_key *key = keys->by_id.slots[i].key ? keys->by_id.slots[i].value : NULL;
        if (!key || key->revoked || key->seen == keys->readings ||
            (key->fixed && keys->has_env_key))
            continue;
        key->revoked = true;
        keys->in_force--;
        pd_log(PD_LOG_INFO, "keys", "key revoked", "key", key->record.id, "name", key->record.name,
               NULL);
    }
}

void pd_keys_reload(struct pd_keys *keys)
{
    struct pd_err err;
    int rc;

    keys->readings++;
    rc = put_kept(keys, &err);
    if (rc == 0 || rc == PD_NOT_FOUND)
        rc = pd_key_records_read(keys->state_dir, on_record, keys, &err);
    if (rc == 0)
        revoke_unseen(keys);
    else
        pd_log(PD_LOG_WARN, "keys", "keys cannot be read; those known stay in force", "err",
               err.msg, NULL);
}

/* ---- changes ---- */

static void on_settled(uv_timer_t *timer)
{
    pd_keys_reload(timer->data);
}

static void on_changed(uv_fs_event_t *event, const char *filename, int events, int status)
{
    struct pd_keys *keys = event->data;

    (void)filename;
    (void)events;
    if (status == 0)
        uv_timer_start(&keys->settle, on_settled, SETTLE_MS, 0);
}

void pd_keys_watch(struct pd_keys *keys, uv_loop_t *loop)
{
    pd_autofree char *folder = pd_key_folder(keys->state_dir);

    mkdir(folder, 0700); /* so that the first key is noticed, too */
    uv_timer_init(loop, &keys->settle);
    uv_fs_event_init(loop, &keys->event);
    keys->settle.data = keys;
    keys->event.data = keys;
    keys->open_handles = 2;
    if (uv_fs_event_start(&keys->event, on_changed, folder, 0) < 0)
        pd_log(PD_LOG_WARN, "keys", "the folder of keys is not watched; SIGHUP reads it again",
               "path", folder, NULL);
    pd_keys_reload(keys);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pd_keys *keys = handle->data;

    if (--keys->open_handles == 0)
        keys->closed(keys->closed_arg);
}

void pd_keys_unwatch(struct pd_keys *keys, void (*closed)(void *arg), void *arg)
{
    keys->closed = closed;
    keys->closed_arg = arg;
    uv_close((uv_handle_t *)&keys->settle, on_handle_closed);
    uv_close((uv_handle_t *)&keys->event, on_handle_closed);
}

/* ---- life ---- */

static int open_all(struct pd_keys *keys, const char *env_key, struct pd_err *err)
{
    char text[PD_KEY_TEXT_MAX + 1];
    int rc;

    keys->readings = 1;
    keys->has_env_key = env_key && *env_key;
    if (keys->has_env_key) {
        rc = check_text(env_key, "EXECUTION_API_KEY", err);
        if (rc < 0)
            return rc;
        put_text(keys, env_key, "environment");
    }
    rc = put_kept(keys, err);
    if (rc == 0 || rc == PD_NOT_FOUND)
        rc = pd_key_records_read(keys->state_dir, on_record, keys, err);
    if (rc < 0 || keys->in_force > 0)
        return rc;
    rc = pd_keys_load(keys->state_dir, text, err);
    if (rc == 0)
        put_text(keys, text, "kept");
    pd_wipe(text, sizeof text);
    return rc;
}

int pd_keys_open(const char *state_dir, const char *env_key, struct pd_keys **ret_keys,
                 struct pd_err *err)
{
    struct pd_keys *keys = PD_NEW(struct pd_keys);
    int rc;

    keys->state_dir = pd_strdup(state_dir);
    keys->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    keys->hash = EVP_MD_CTX_new();
    if (!keys->sha256 || !keys->hash)
        abort(); /* an OpenSSL without SHA-256 */
    rc = open_all(keys, env_key, err);
    if (rc < 0) {
        pd_keys_free(keys);
        return rc;
    }
    *ret_keys = keys;
    return 0;
}

void pd_keys_free(struct pd_keys *keys)
{
    struct pd_key *key;

    if (!keys)
        return;
    while ((key = pd_strmap_any(&keys->by_id))) {
        pd_strmap_remove(&keys->by_id, key->record.id);
        free(key);
    }
    pd_strmap_fini(&keys->by_id);
    EVP_MD_CTX_free(keys->hash);
    EVP_MD_free(keys->sha256);
    free(keys->state_dir);
    free(keys);
}

/* ---- asking ---- */

const struct pd_key *pd_keys_find(const struct pd_keys *keys, const char *id)
{
    const struct pd_key *key = pd_strmap_get(&keys->by_id, id);

    return key && !key->revoked ? key : NULL;
}

/* Found by the beginning of its digest, which nobody can choose; compared whole. */
const struct pd_key *pd_keys_check(const struct pd_keys *keys, const char *text, size_t len)
{
    unsigned char presented[PD_KEY_DIGEST_BYTES];
    char id[PD_KEY_ID_MAX];
    const struct pd_key *key;

    if (len == 0 || len > PD_KEY_TEXT_MAX)
        return NULL;
    digest(keys, text, len, presented);
    pd_key_id_of(presented, id);
    key = pd_keys_find(keys, id);
    return key && CRYPTO_memcmp(presented, key->record.digest, sizeof presented) == 0 ? key : NULL;
}

size_t pd_keys_count(const struct pd_keys *keys)
{
    return keys ? keys->in_force : 0;
}

void pd_keys_divide(struct pd_keys *keys, size_t replicas)
{
    keys->replicas = replicas > 0 ? (int)replicas : 1;
}

int pd_keys_replicas(const struct pd_keys *keys)
{
    return keys->replicas > 1 ? keys->replicas : 1;
}

int pd_keys_part(const struct pd_keys *keys, int whole)
{
    int replicas = pd_keys_replicas(keys);

    return whole > 0 && whole < replicas ? 1 : whole / replicas;
}
