#include "agent/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif

#define FDS_MAX 12

/* musl's CMSG macros convert signs in the code that uses them. */
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wconversion"

int64_t sys_now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

pid_t sys_clone(unsigned long flags)
{
#if defined(__aarch64__) || defined(__x86_64__)
    return (pid_t)syscall(SYS_clone, flags, 0, 0, 0, 0);
#else
#error "the agent knows clone's argument order on x86_64 and aarch64"
#endif
}

int sys_pidfd_open(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

int sys_pidfd_send_signal(int pidfd, int signo)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0);
}

int sys_open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC),
        .mode = flags & O_CREAT ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
    return fd < 0 ? -errno : fd;
}

int sys_write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int result = 0;

    if (fd < 0)
        return -errno;
    if (write(fd, text, strlen(text)) < 0)
        result = -errno;
    close(fd);
    return result;
}

ssize_t sys_read_file(const char *path, char *out, size_t bytes)
{
    size_t len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    while (len < bytes - 1) {
        ssize_t n = read(fd, out + len, bytes - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    out[len] = '\0';
    close(fd);
    return (ssize_t)len;
}

int64_t sys_keyed_number(const char *text, const char *key)
{
    size_t len = strlen(key);

    while (text && *text) {
        if (strncmp(text, key, len) == 0 && text[len] == ' ')
            return strtoll(text + len + 1, NULL, 10);
        text = strchr(text, '\n');
        if (text)
            text++;
    }
    return -1;
}

int sys_set_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -errno : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int sys_send_fds(int sock, const void *data, size_t len, const int *fds, size_t n_fds)
{
    struct iovec iov = {(void *)(uintptr_t)data, len};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (n_fds > FDS_MAX)
        return -EINVAL;
    if (n_fds > 0) {
        struct cmsghdr *header;
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        header = CMSG_FIRSTHDR(&msg);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * n_fds);
    }
    return sendmsg(sock, &msg, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -(errno ? errno : EIO);
}

ssize_t sys_recv_fds(int sock, void *data, size_t bytes, int *fds, size_t *n_fds,
                     enum sys_wait wait)
{
    struct iovec iov = {data, bytes};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
    } control;
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    size_t room = *n_fds;
    ssize_t n;

    if (room > 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof control.bytes;
    }
    *n_fds = 0;
    n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | (wait == SYS_NO_WAIT ? MSG_DONTWAIT : 0));
    if (n < 0)
        return -errno;
    if (room == 0)
        return n;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&msg); h; h = CMSG_NXTHDR(&msg, h)) {
        size_t count;
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof fd);
            if (*n_fds < room)
                fds[(*n_fds)++] = fd;
            else
                close(fd);
        }
    }
    return n;
}
