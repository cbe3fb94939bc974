#include "controller/ecs_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/strmap.h"

#define PEM_BYTES_MAX 8192
#define PINS_BYTES_MAX (32u * 1024 * 1024)
#define ARN_MAX 256

struct pin {
    TAILQ_ENTRY(pin) entry;
    char arn[ARN_MAX];
    unsigned char bytes[PD_TLS_PIN_BYTES];
};

struct pd_ecs_keys {
    struct pd_tls_identity *identity;
    char owner[PD_ECS_OWNER_KEY_BYTES];
    struct pd_strmap by_arn;
    TAILQ_HEAD(pins, pin) pins; /* oldest first */
    char *pins_path;            /* NULL: not kept */
};

/* ---- our key ---- */

static int load_identity(const char *path, struct pd_tls_identity **ret_identity,
                         struct pd_err *err)
{
    char *text = NULL;
    size_t len;
    int rc = pd_file_read(path, PEM_BYTES_MAX, &text, &len, err);

    if (rc < 0)
        return rc;
    rc = pd_tls_identity_parse(text, len, ret_identity, err);
    pd_wipe(text, len);
    free(text);
    return rc < 0 ? pd_err_wrap(err, "%s", path) : 0;
}

static int make_identity(const char *path, struct pd_tls_identity **ret_identity,
                         struct pd_err *err)
{
    struct pd_tls_identity *identity = pd_tls_identity_make();
    pd_autosecret struct pd_secret pem = pd_tls_identity_pem(identity);
    int rc = pd_file_write_atomic(path, pem.bytes, pem.len, 0600, err);

    if (rc < 0)
        pd_tls_identity_free(identity);
    else
        *ret_identity = identity;
    return rc;
}

static int open_identity(const char *dir, struct pd_tls_identity **ret_identity, struct pd_err *err)
{
    const char *given = getenv("PADDOCK_ECS_LINK_KEY");
    pd_autofree char *path = dir ? pd_asprintf("%s/ecs-link.pem", dir) : NULL;
    int rc;

    if (given && *given) {
        rc = pd_tls_identity_parse(given, strlen(given), ret_identity, err);
        return rc < 0 ? pd_err_wrap(err, "PADDOCK_ECS_LINK_KEY") : 0;
    }
    if (!path) {
        *ret_identity = pd_tls_identity_make();
        return 0;
    }
    rc = load_identity(path, ret_identity, err);
    return rc == PD_NOT_FOUND ? make_identity(path, ret_identity, err) : rc;
}

/* ---- pins ---- */

static void add_pin(struct pd_ecs_keys *keys, const char *arn, const unsigned char *bytes)
{
    struct pin *pin = PD_NEW(struct pin);

    pd_strcpy(pin->arn, sizeof pin->arn, arn);
    memcpy(pin->bytes, bytes, sizeof pin->bytes);
    TAILQ_INSERT_TAIL(&keys->pins, pin, entry);
    pd_strmap_add(&keys->by_arn, pin->arn, pin);
}

static bool read_pin(const char *text, unsigned char *out)
{
    if (strlen(text) != 2 * PD_TLS_PIN_BYTES || text[strspn(text, "0123456789abcdef")] != '\0')
        return false;
    for (size_t i = 0; i < PD_TLS_PIN_BYTES; i++) {
        char digits[] = {text[2 * i], text[2 * i + 1], '\0'};
        out[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
    return true;
}

static void load_pins(struct pd_ecs_keys *keys)
{
    pd_autofree char *text = NULL;
    char *rest, *line;
    size_t len, lines = 0;

    if (!keys->pins_path || pd_file_read(keys->pins_path, PINS_BYTES_MAX, &text, &len, NULL) < 0)
        return;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    for (rest = text; (line = strsep(&rest, "\n"));) {
        char *blank = strchr(line, ' ');
        unsigned char bytes[PD_TLS_PIN_BYTES];
        if (lines > 0 && lines-- > PD_ECS_PINS_MAX)
            continue;
        if (blank)
            *blank++ = '\0';
        if (blank && read_pin(blank, bytes) && strlen(line) < ARN_MAX &&
            !pd_strmap_get(&keys->by_arn, line))
            add_pin(keys, line, bytes);
    }
}

const unsigned char *pd_ecs_keys_pin(const struct pd_ecs_keys *keys, const char *arn)
{
    const struct pin *pin = pd_strmap_get(&keys->by_arn, arn);

    return pin ? pin->bytes : NULL;
}

/* One short write at the file's end: what a crash of the machine takes from it is
 * pinned again at the next handshake. */
static void keep_pin(const struct pd_ecs_keys *keys, const struct pin *pin)
{
    char line[ARN_MAX + 2 * PD_TLS_PIN_BYTES + 3];
    int fd = open(keys->pins_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    size_t at = (size_t)snprintf(line, sizeof line, "%s ", pin->arn);

    for (size_t i = 0; i < PD_TLS_PIN_BYTES; i++)
        at += (size_t)snprintf(line + at, sizeof line - at, "%02x", pin->bytes[i]);
    line[at++] = '\n';
    if (fd < 0 || write(fd, line, at) != (ssize_t)at)
        pd_log(PD_LOG_WARN, "ecs", "pin not kept", "path", keys->pins_path, "err", strerror(errno),
               NULL);
    if (fd >= 0)
        close(fd);
}

void pd_ecs_keys_pinned(struct pd_ecs_keys *keys, const char *arn, const unsigned char *pin)
{
    if (pd_strmap_get(&keys->by_arn, arn) || strlen(arn) >= ARN_MAX)
        return;
    add_pin(keys, arn, pin);
    if (keys->pins_path)
        keep_pin(keys, TAILQ_LAST(&keys->pins, pins));
}

/* ---- life ---- */

int pd_ecs_keys_open(const char *state_dir, struct pd_ecs_keys **ret_keys, struct pd_err *err)
{
    struct pd_ecs_keys *keys = PD_NEW(struct pd_ecs_keys);
    unsigned char point[PD_TLS_POINT_BYTES];
    int rc = open_identity(state_dir, &keys->identity, err);

    TAILQ_INIT(&keys->pins);
    if (rc < 0) {
        free(keys);
        return rc;
    }
    pd_tls_identity_point(keys->identity, point);
    for (size_t i = 0; i < sizeof point; i++)
        snprintf(keys->owner + 2 * i, 3, "%02x", point[i]);
    keys->pins_path = state_dir ? pd_asprintf("%s/ecs-pins", state_dir) : NULL;
    load_pins(keys);
    *ret_keys = keys;
    return 0;
}

void pd_ecs_keys_free(struct pd_ecs_keys *keys)
{
    struct pin *pin;

    if (!keys)
        return;
    while ((pin = TAILQ_FIRST(&keys->pins))) {
        TAILQ_REMOVE(&keys->pins, pin, entry);
        free(pin);
    }
    pd_strmap_fini(&keys->by_arn);
    pd_tls_identity_free(keys->identity);
    free(keys->pins_path);
    free(keys);
}

const struct pd_tls_identity *pd_ecs_keys_identity(const struct pd_ecs_keys *keys)
{
    return keys->identity;
}

const char *pd_ecs_keys_owner(const struct pd_ecs_keys *keys)
{
    return keys->owner;
}
