#include "common/direct.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "common/mem.h"

struct pd_direct {
    uv_idle_t idle; /* what is closed last */
    uv_pipe_t *from_agent;
    char *folder;
    uint8_t secret[PD_DIRECT_SECRET_BYTES];
    char said[PD_DIRECT_SECRET_BYTES];
    size_t said_len;
    pd_direct_cb cb; /* NULL: it has fired, or must not */
    void *arg;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- folders ---- */

static int make_folder(const char *path, struct pd_err *err)
{
    /* Whatever umask says: the agent has a user of its own. */
    if ((mkdir(path, 0711) < 0 && errno != EEXIST) || chmod(path, 0711) < 0)
        return pd_err_set(err, PD_INTERNAL, "make folder '%s': %s", path, strerror(errno));
    return 0;
}

int pd_direct_folder_make(const char *dir, const char *id, struct pd_err *err)
{
    pd_autofree char *path = pd_asprintf("%s/%s", dir, id);
    int rc = make_folder(dir, err);

    return rc < 0 ? rc : make_folder(path, err);
}

static void remove_folder(const char *folder)
{
    int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (dir < 0)
        return;
    unlinkat(dir, PD_DIRECT_TO_AGENT, 0);
    unlinkat(dir, PD_DIRECT_TO_SERVICE, 0);
    close(dir);
    rmdir(folder);
}

void pd_direct_sweep(const char *dir, int64_t age_s)
{
    DIR *stream = opendir(dir);
    const struct dirent *entry;

    while (stream && (entry = readdir(stream))) {
        pd_autofree char *path = pd_asprintf("%s/%s", dir, entry->d_name);
        struct stat st;

        if (entry->d_name[0] != '.' && lstat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
            time(NULL) - st.st_mtim.tv_sec >= age_s)
            remove_folder(path);
    }
    if (stream)
        closedir(stream);
}

/* ---- the pipes ---- */

static int make_pipe(int dir, const char *name)
{
    if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
        return -1;
    return mkfifoat(dir, name, 0600) < 0 ? -1 : fchmodat(dir, name, 0666, 0);
}

/* The descriptor to hear the agent by, or -1. */
static int make_pipes(const char *folder)
{
    int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), fd = -1;
    int error;

    if (dir < 0)
        return -1;
    if (make_pipe(dir, PD_DIRECT_TO_AGENT) == 0 && make_pipe(dir, PD_DIRECT_TO_SERVICE) == 0)
        fd = openat(dir, PD_DIRECT_TO_SERVICE, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    error = errno;
    close(dir);
    errno = error;
    return fd;
}

static uv_pipe_t *pipe_of(uv_loop_t *loop, int fd)
{
    uv_pipe_t *pipe = PD_NEW(uv_pipe_t);

    uv_pipe_init(loop, pipe, 0);
    if (uv_pipe_open(pipe, fd) < 0)
        abort(); /* one that was just opened */
    return pipe;
}

static void on_pipe_closed(uv_handle_t *handle)
{
    free(handle);
}

static void tell(struct pd_direct *direct, const struct pd_err *err, struct pd_stream *stream)
{
    pd_direct_cb cb = direct->cb;

    direct->cb = NULL;
    remove_folder(direct->folder); /* no way in for anybody else any more */
    cb(direct->arg, err, stream);
}

static void refuse(struct pd_direct *direct, enum pd_err_kind kind, const char *why)
{
    struct pd_err err;

    uv_close((uv_handle_t *)direct->from_agent, on_pipe_closed);
    direct->from_agent = NULL;
    pd_err_set(&err, kind, "the sandbox's pipes: %s", why);
    tell(direct, &err, NULL);
}

/* The agent has opened its end of the other one before it spoke. */
static void admit(struct pd_direct *direct)
{
    pd_autofree char *path = pd_asprintf("%s/" PD_DIRECT_TO_AGENT, direct->folder);
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    uv_pipe_t *from_agent = direct->from_agent;

    if (fd < 0) {
        refuse(direct, PD_UNAVAILABLE, strerror(errno));
        return;
    }
    uv_read_stop((uv_stream_t *)from_agent);
    direct->from_agent = NULL;
    tell(direct, NULL, pd_stream_of_pipes(from_agent, pipe_of(from_agent->loop, fd)));
}

/* No more than the secret: what follows is for the stream. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct pd_direct *direct = handle->data;

    (void)suggested;
    *buf = uv_buf_init(direct->said + direct->said_len,
                       (unsigned)(sizeof direct->said - direct->said_len));
}

static void on_said(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct pd_direct *direct = stream->data;

    (void)buf;
    if (n < 0) {
        refuse(direct, PD_UNAVAILABLE, "its agent has gone again");
        return;
    }
    direct->said_len += (size_t)n;
    if (direct->said_len < sizeof direct->said)
        return;
    if (CRYPTO_memcmp(direct->said, direct->secret, sizeof direct->said) == 0)
        admit(direct);
    else
        refuse(direct, PD_DENIED, "somebody who is not its agent is there");
}

/* ---- life ---- */

int pd_direct_open(uv_loop_t *loop, const char *folder,
                   const uint8_t secret[static PD_DIRECT_SECRET_BYTES], pd_direct_cb cb, void *arg,
                   struct pd_direct **ret_direct, struct pd_err *err)
{
    struct pd_direct *direct;
    int fd = make_pipes(folder);

    if (fd < 0)
        return pd_err_set(err, PD_UNAVAILABLE, "make pipes in '%s': %s", folder, strerror(errno));
    direct = PD_NEW(struct pd_direct);
    direct->folder = pd_strdup(folder);
    memcpy(direct->secret, secret, sizeof direct->secret);
    direct->cb = cb;
    direct->arg = arg;
    uv_idle_init(loop, &direct->idle);
    direct->idle.data = direct;
    direct->from_agent = pipe_of(loop, fd);
    direct->from_agent->data = direct;
    uv_read_start((uv_stream_t *)direct->from_agent, on_alloc, on_said);
    *ret_direct = direct;
    return 0;
}

static void on_idle_closed(uv_handle_t *handle)
{
    struct pd_direct *direct = handle->data;
    void (*closed)(void *arg) = direct->closed;
    void *arg = direct->closed_arg;

    OPENSSL_cleanse(direct->secret, sizeof direct->secret);
    free(direct->folder);
    free(direct);
    if (closed)
        closed(arg);
}

void pd_direct_close(struct pd_direct *direct, void (*closed)(void *arg), void *arg)
{
    direct->cb = NULL;
    direct->closed = closed;
    direct->closed_arg = arg;
    if (direct->from_agent) {
        uv_read_stop((uv_stream_t *)direct->from_agent);
        uv_close((uv_handle_t *)direct->from_agent, on_pipe_closed);
        direct->from_agent = NULL;
    }
    remove_folder(direct->folder);
    uv_close((uv_handle_t *)&direct->idle, on_idle_closed);
}
