#include "cli/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/mem.h"

#define PD_INSTANCE_FILE_MAX 256

char *pd_state_dir(const char *flag)
{
    const char *env = getenv("PADDOCK_STATE_DIR");
    const char *xdg = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");

    if (flag && *flag)
        return pd_strdup(flag);
    if (env && *env)
        return pd_strdup(env);
    if (geteuid() == 0)
        return pd_strdup("/var/lib/paddock");
    if (xdg && *xdg)
        return pd_asprintf("%s/paddock", xdg);
    return pd_asprintf("%s/.local/state/paddock", home && *home ? home : "/tmp");
}

/* mkdir -p: every missing folder on the way; only the last is private. */
static int make_folders(const char *dir, struct pd_err *err)
{
    pd_autofree char *path = pd_strdup(dir);

    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return pd_err_os(err, PD_DENIED, errno, "make folder '%s'", path);
        *p = '/';
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return pd_err_os(err, PD_DENIED, errno, "make folder '%s'", path);
    return 0;
}

int pd_state_prepare(const char *dir, struct pd_err *err)
{
    struct stat st;

    if (make_folders(dir, err) < 0)
        return pd_err_wrap(err, "state folder");
    if (stat(dir, &st) < 0)
        return pd_err_os(err, PD_INTERNAL, errno, "state folder '%s'", dir);
    if (!S_ISDIR(st.st_mode))
        return pd_err_set(err, PD_INVALID, "state folder '%s' is not a folder", dir);
    if (st.st_uid != geteuid() || (st.st_mode & 022) != 0)
        return pd_err_set(err, PD_DENIED,
                          "state folder '%s' belongs to user %u with mode %03o; it must belong to "
                          "the user who runs paddock (%u) and be writable by nobody else",
                          dir, (unsigned)st.st_uid, (unsigned)st.st_mode & 0777,
                          (unsigned)geteuid());
    if ((st.st_mode & 0777) != 0700 && chmod(dir, 0700) < 0)
        return pd_err_os(err, PD_DENIED, errno, "close state folder '%s' to others", dir);
    return 0;
}

static int take_lock(const char *dir, int *ret_fd, struct pd_err *err)
{
    pd_autofree char *path = pd_asprintf("%s/lock", dir);
    char holder[24] = "";
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return pd_err_os(err, PD_DENIED, errno, "open '%s'", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        ssize_t n = read(fd, holder, sizeof holder - 1);
        holder[n > 0 ? strcspn(holder, "\n") : 0] = '\0';
        close(fd);
        return pd_err_set(err, PD_CONFLICT,
                          "state folder '%s' is in use by another paddock service (process %s); "
                          "stop it, or give this one a folder of its own with --state-dir",
                          dir, *holder ? holder : "unknown");
    }
    if (ftruncate(fd, 0) < 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0) {
        close(fd);
        return pd_err_os(err, PD_INTERNAL, errno, "write '%s'", path);
    }
    *ret_fd = fd;
    return 0;
}

static int make_instance(const char *path, char *ret_name, struct pd_err *err)
{
    unsigned char bytes[(PD_INSTANCE_BYTES - 1) / 2];
    char text[PD_INSTANCE_BYTES + 1];

    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return pd_err_os(err, PD_INTERNAL, errno, "get random bytes");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    memcpy(ret_name, text, PD_INSTANCE_BYTES);
    text[PD_INSTANCE_BYTES - 1] = '\n';
    return pd_file_write_atomic(path, text, PD_INSTANCE_BYTES, 0600, err);
}

static int load_instance(const char *dir, char *ret_name, struct pd_err *err)
{
    pd_autofree char *path = pd_asprintf("%s/instance", dir);
    pd_autofree char *text = NULL;
    size_t len;
    int result = pd_file_read(path, PD_INSTANCE_FILE_MAX, &text, &len, err);

    if (result == PD_NOT_FOUND)
        return make_instance(path, ret_name, err);
    if (result < 0)
        return result;
    if (strspn(text, "0123456789abcdef") != PD_INSTANCE_BYTES - 1 ||
        text[PD_INSTANCE_BYTES - 1 + strspn(text + PD_INSTANCE_BYTES - 1, "\n")] != '\0')
        return pd_err_set(err, PD_INVALID,
                          "'%s' does not hold an instance name (16 hex digits); sandboxes of an "
                          "earlier service are found by it: restore it, or remove it to start anew",
                          path);
    memcpy(ret_name, text, PD_INSTANCE_BYTES - 1);
    ret_name[PD_INSTANCE_BYTES - 1] = '\0';
    return 0;
}

int pd_state_open(const char *dir, struct pd_state *ret_state, struct pd_err *err)
{
    struct pd_state state = {.lock = -1};

    if (pd_state_prepare(dir, err) < 0 || take_lock(dir, &state.lock, err) < 0)
        return err ? err->kind : PD_INTERNAL;
    if (load_instance(dir, state.instance, err) < 0) {
        close(state.lock);
        return err ? err->kind : PD_INTERNAL;
    }
    state.dir = pd_strdup(dir);
    *ret_state = state;
    return 0;
}

void pd_state_close(struct pd_state *state)
{
    if (!state->dir)
        return;
    close(state->lock);
    free(state->dir);
    *state = (struct pd_state){.lock = -1};
}
