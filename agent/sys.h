/* System calls that musl 1.2.3 has no wrapper or number for, and small file
 * helpers. No allocation. */
#ifndef PD_AGENT_SYS_H
#define PD_AGENT_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* CLOCK_MONOTONIC in microseconds. */
int64_t sys_now_us(void);

/* clone(2) without a new stack, as fork does it, with namespace flags. */
pid_t sys_clone(unsigned long flags);
int sys_pidfd_open(pid_t pid);
int sys_pidfd_send_signal(int pidfd, int signo);
/* Open below `dirfd` only: no symlink, no "..", no absolute path, no magic link
 * (openat2, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS). */
int sys_open_beneath(int dirfd, const char *path, int flags, mode_t mode);

/* What getdents64(2) fills a buffer with. */
struct linux_dirent64 {
    uint64_t ino;
    int64_t off;
    unsigned short reclen;
    unsigned char type;
    char name[];
};

/* Write a short text to a file that exists: 0 or -errno. */
int sys_write_file(const char *path, const char *text);
/* Read a file of at most `bytes` - 1; terminated. Length or -errno. */
ssize_t sys_read_file(const char *path, char *out, size_t bytes);
/* The number after `key` in "key value" lines, or -1. */
int64_t sys_keyed_number(const char *text, const char *key);

int sys_set_nonblock(int fd);
/* Send `len` bytes and up to 12 descriptors on a unix socket: 0 or -errno. */
int sys_send_fds(int sock, const void *data, size_t len, const int *fds, size_t n_fds);
/* Receive; descriptors are close-on-exec; *n_fds in: room, out: received.
 * Bytes, 0 at end of file, or -errno. Only the init of a cell may wait: the agent's own
 * events may be stale, of a descriptor that had this number before. */
enum sys_wait { SYS_WAIT, SYS_NO_WAIT };
ssize_t sys_recv_fds(int sock, void *data, size_t bytes, int *fds, size_t *n_fds,
                     enum sys_wait wait);

static inline void sys_close(int *fd)
{
    extern int close(int);
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

#endif
