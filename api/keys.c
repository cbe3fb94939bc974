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
#include "common/mem.h"

#define ID_DIGITS 12

#define DIGEST_BYTES 32

/* One key today; the table grows when keys can be added. */
struct pd_keys {
    char id[ID_DIGITS + 1];
    unsigned char digest[DIGEST_BYTES];
    EVP_MD *sha256; /* looked up once: that takes longer than a digest */
    EVP_MD_CTX *hash;
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
    text = pd_asprintf("pd_%.48s\n", random);
    draft = pd_asprintf("%s.%.8s", path, random + 48);
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

static void digest(const struct pd_keys *keys, const char *text, size_t len,
                   unsigned char out[static DIGEST_BYTES])
{
    if (!EVP_DigestInit_ex(keys->hash, keys->sha256, NULL) ||
        !EVP_DigestUpdate(keys->hash, text, len) || !EVP_DigestFinal_ex(keys->hash, out, NULL))
        abort(); /* SHA-256 of a few bytes of memory does not fail */
}

static void set_key(struct pd_keys *keys, const char *text)
{
    digest(keys, text, strlen(text), keys->digest);
    for (size_t i = 0; i < ID_DIGITS / 2; i++)
        snprintf(keys->id + 2 * i, 3, "%02x", keys->digest[i]);
}

int pd_keys_open(const char *state_dir, const char *env_key, struct pd_keys **ret_keys,
                 struct pd_err *err)
{
    char text[PD_KEY_TEXT_MAX + 1];
    struct pd_keys *keys;
    int rc;

    if (env_key && *env_key)
        rc = check_text(env_key, "EXECUTION_API_KEY", err);
    else
        rc = pd_keys_load(state_dir, text, err);
    if (rc < 0)
        return rc;
    keys = PD_NEW(struct pd_keys);
    keys->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    keys->hash = EVP_MD_CTX_new();
    if (!keys->sha256 || !keys->hash)
        abort(); /* an OpenSSL without SHA-256 */
    set_key(keys, env_key && *env_key ? env_key : text);
    pd_wipe(text, sizeof text);
    *ret_keys = keys;
    return 0;
}

void pd_keys_free(struct pd_keys *keys)
{
    if (!keys)
        return;
    EVP_MD_CTX_free(keys->hash);
    EVP_MD_free(keys->sha256);
    pd_wipe(keys, sizeof *keys);
    free(keys);
}

const char *pd_keys_check(const struct pd_keys *keys, const char *text, size_t len)
{
    unsigned char presented[DIGEST_BYTES];

    if (len == 0 || len > PD_KEY_TEXT_MAX)
        return NULL;
    digest(keys, text, len, presented);
    return CRYPTO_memcmp(presented, keys->digest, sizeof presented) == 0 ? keys->id : NULL;
}

const char *pd_keys_find(const struct pd_keys *keys, const char *id)
{
    return strcmp(keys->id, id) == 0 ? keys->id : NULL;
}

size_t pd_keys_count(const struct pd_keys *keys)
{
    return keys ? 1 : 0;
}
