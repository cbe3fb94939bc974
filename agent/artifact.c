#include "agent/artifact.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/cell.h"
#include "agent/sys.h"

struct walk {
    int sock;
    const char *globs;
    size_t globs_len;
    unsigned entries, files;
    uint64_t bytes;
    bool stopped; /* a bound was reached and reported */
};

static void say(struct walk *walk, char type, const char *path, const char *reason)
{
    char message[ARTIFACT_PATH_MAX + 128];
    int len = snprintf(message, sizeof message, "%c%s%c%s", type, path, '\0', reason ? reason : "");

    if (len > 0)
        sys_send_fds(walk->sock, message, reason ? (size_t)len : strlen(message), NULL, 0);
}

/* "**" crosses folders; "*" does not. */
static bool is_wanted(const struct walk *walk, const char *path)
{
    size_t at = 0;

    while (at < walk->globs_len) {
        const char *glob = walk->globs + at;
        int flags = strstr(glob, "**") ? 0 : FNM_PATHNAME;
        if (fnmatch(glob, path, flags) == 0)
            return true;
        at += strlen(glob) + 1;
    }
    return false;
}

static void send_content(struct walk *walk, int fd)
{
    char piece[ARTIFACT_PIECE_MAX + 1];
    ssize_t n;

    piece[0] = 'D';
    while ((n = read(fd, piece + 1, ARTIFACT_PIECE_MAX)) > 0)
        sys_send_fds(walk->sock, piece, (size_t)n + 1, NULL, 0);
    sys_send_fds(walk->sock, "E", 1, NULL, 0);
}

static void send_file(struct walk *walk, int dirfd, const char *name, const char *path)
{
    struct stat st;
    int fd = sys_open_beneath(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        say(walk, 'X', path, fd < 0 ? strerror(-fd) : "not a regular file");
    } else if ((uint64_t)st.st_size > ARTIFACT_FILE_BYTES_MAX) {
        say(walk, 'X', path, "larger than 8 MiB");
    } else if (++walk->files > ARTIFACT_FILES_MAX ||
               (walk->bytes += (uint64_t)st.st_size) > ARTIFACT_TOTAL_BYTES_MAX) {
        say(walk, 'X', path, "more than 64 files or 16 MiB in all");
        walk->stopped = true;
    } else {
        say(walk, 'F', path, NULL);
        send_content(walk, fd);
    }
    sys_close(&fd);
}

static void walk_folder(struct walk *walk, int dirfd, const char *prefix, unsigned depth);

static void visit(struct walk *walk, int dirfd, const struct linux_dirent64 *entry,
                  const char *prefix, unsigned depth)
{
    char path[ARTIFACT_PATH_MAX];
    struct stat st;
    int len;

    if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
        return;
    if (++walk->entries > ARTIFACT_ENTRIES_MAX) {
        walk->stopped = true;
        say(walk, 'X', prefix, "more than 10,000 entries in the workspace");
        return;
    }
    len = snprintf(path, sizeof path, "%s%s", prefix, entry->name);
    if (len >= (int)sizeof path - 1 || fstatat(dirfd, entry->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    if (S_ISDIR(st.st_mode)) {
        int fd = sys_open_beneath(dirfd, entry->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
        path[len] = '/';
        path[len + 1] = '\0';
        if (fd >= 0 && depth < ARTIFACT_DEPTH_MAX)
            walk_folder(walk, fd, path, depth + 1);
        sys_close(&fd);
    } else if (is_wanted(walk, path)) {
        send_file(walk, dirfd, entry->name, path);
    }
}

static void walk_folder(struct walk *walk, int dirfd, const char *prefix, unsigned depth)
{
    _Alignas(struct linux_dirent64) char entries[4096];
    long n;

    while (!walk->stopped && (n = syscall(SYS_getdents64, dirfd, entries, sizeof entries)) > 0) {
        for (long at = 0; at < n && !walk->stopped;) {
            const struct linux_dirent64 *entry = (const void *)(entries + at);
            visit(walk, dirfd, entry, prefix, depth);
            at += entry->reclen;
        }
    }
}

void artifact_collect(int sock, int dirfd, char *globs, size_t len)
{
    struct walk walk = {.sock = sock, .globs = globs, .globs_len = len};
    int fd = sys_open_beneath(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);

    if (fd >= 0)
        walk_folder(&walk, fd, "", 0);
    sys_close(&fd);
    sys_send_fds(sock, "Z", 1, NULL, 0);
}

/* Everything in the cell but this process. SIGCHLD is ignored, so waiting ends
 * when the last child is gone. */
static void kill_everybody(void)
{
    while (kill(-1, SIGKILL) == 0) {
        while (wait4(-1, NULL, 0, NULL) > 0 || errno == EINTR)
            continue;
        /* A program's parent may be outside the cell: it is dead or dying, and
         * its zombie answers kill() until that parent has reaped it. */
        syscall(SYS_sched_yield);
    }
}

void artifact_serve(int sock)
{
    static char message[ARTIFACT_GLOBS_BYTES_MAX + 1];
    size_t none = 0;
    ssize_t len;

    while ((len = sys_recv_fds(sock, message, sizeof message - 1, NULL, &none, SYS_WAIT)) > 0) {
        int dirfd;
        message[len] = '\0';
        if (message[0] != 'A')
            continue;
        kill_everybody();
        dirfd = open(CELL_WORKSPACE, O_PATH | O_DIRECTORY | O_CLOEXEC);
        artifact_collect(sock, dirfd, message + 1, (size_t)len - 1);
        sys_close(&dirfd);
        none = 0;
    }
}
