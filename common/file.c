#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/mem.h"

#define CHUNK_BYTES 65536

static int fail(struct pd_err *err, int os, const char *path)
{
    int kind = PD_INTERNAL;

    if (os == ENOENT || os == ENOTDIR)
        kind = PD_NOT_FOUND;
    else if (os == EACCES || os == EPERM || os == EROFS)
        kind = PD_DENIED;
    else if (os == ENOSPC || os == EDQUOT)
        kind = PD_LIMIT;
    else if (os == EISDIR)
        kind = PD_INVALID;
    return pd_err_os(err, kind, os, "%.200s", path);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define autoclose __attribute__((cleanup(close_fd)))

/* One byte past the bound is asked for, to know that there is more. */
static int read_all(int fd, const char *path, struct pd_buf *buf, struct pd_err *err)
{
    for (;;) {
        size_t room = buf->max - buf->len < CHUNK_BYTES ? buf->max - buf->len : CHUNK_BYTES;
        char *to = pd_buf_reserve(buf, room, err);
        ssize_t got;
        if (!to)
            return PD_LIMIT;
        got = read(fd, to, room);
        if (got < 0 && errno != EINTR)
            return fail(err, errno, path);
        if (got == 0)
            return 0;
        buf->len += got > 0 ? (size_t)got : 0;
        if (buf->len == buf->max)
            return pd_err_set(err, PD_LIMIT, "%.200s: more than %zu bytes", path, buf->max - 1);
    }
}

int pd_file_read(const char *path, size_t max_bytes, char **ret_text, size_t *ret_len,
                 struct pd_err *err)
{
    struct pd_buf buf pd_autobuf;
    autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int rc;

    pd_buf_init(&buf, max_bytes + 1);
    if (fd < 0)
        return fail(err, errno, path);
    rc = read_all(fd, path, &buf, err);
    if (rc < 0)
        return rc;
    if (pd_buf_add(&buf, "", 0, err) < 0)
        return PD_LIMIT;
    *ret_len = buf.len;
    *ret_text = pd_buf_steal(&buf);
    return 0;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t put = write(fd, data, len);
        if (put < 0 && errno != EINTR)
            return -1;
        if (put > 0) {
            data += put;
            len -= (size_t)put;
        }
    }
    return 0;
}

/* The new content under a name of its own in the same folder. */
static int write_beside(const char *beside, const void *data, size_t len, mode_t mode)
{
    autoclose int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);

    if (fd < 0)
        return -1;
    if (fchmod(fd, mode) < 0 || write_all(fd, data, len) < 0 || fsync(fd) < 0)
        return -1;
    return 0;
}

static int sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    pd_autofree char *folder = NULL;
    autoclose int fd = -1;

    if (!slash)
        folder = pd_strdup(".");
    else
        folder = pd_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

int pd_file_write_atomic(const char *path, const void *data, size_t len, mode_t mode,
                         struct pd_err *err)
{
    pd_autofree char *beside = pd_asprintf("%s.%d.new", path, (int)getpid());

    if (unlink(beside) < 0 && errno != ENOENT)
        return fail(err, errno, path);
    if (write_beside(beside, data, len, mode) < 0 || rename(beside, path) < 0) {
        int os = errno;
        unlink(beside);
        return fail(err, os, path);
    }
    return sync_folder(path) < 0 ? fail(err, errno, path) : 0;
}
