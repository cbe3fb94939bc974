#include "agent/filter.h"

#include <asm/unistd.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "the filter knows x86_64 and aarch64"
#endif

#define X32_BIT 0x40000000u
#define ALLOW SECCOMP_RET_ALLOW
#define DENY (SECCOMP_RET_ERRNO | EPERM)
#define ABSENT (SECCOMP_RET_ERRNO | ENOSYS)

#define FAMILY_UNIX 1
#define FAMILY_INET 2
#define FAMILY_INET6 10
#define NEW_NAMESPACES                                                                            \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
     CLONE_NEWNET)
#define TIOCSTI_REQUEST 0x5412   /* pushes bytes into a terminal's input */
#define TIOCLINUX_REQUEST 0x541c /* pastes into a console */

static const uint16_t allowed[] = {
    /* memory */
    __NR_brk, __NR_mmap, __NR_munmap, __NR_mremap, __NR_mprotect, __NR_madvise, __NR_mincore,
    __NR_msync, __NR_mlock, __NR_munlock, __NR_membarrier, __NR_memfd_create,
    /* files */
    __NR_openat, __NR_close, __NR_close_range, __NR_read, __NR_write, __NR_readv, __NR_writev,
    __NR_pread64, __NR_pwrite64, __NR_preadv, __NR_pwritev, __NR_preadv2, __NR_pwritev2,
    __NR_lseek, __NR_fstat, __NR_newfstatat, __NR_statx, __NR_fstatfs, __NR_statfs,
    __NR_faccessat, __NR_faccessat2, __NR_readlinkat, __NR_getdents64, __NR_getcwd, __NR_chdir,
    __NR_fchdir, __NR_mkdirat, __NR_unlinkat, __NR_renameat, __NR_renameat2, __NR_linkat,
    __NR_symlinkat, __NR_fchmod, __NR_fchmodat, __NR_fchown, __NR_fchownat, __NR_umask,
    __NR_utimensat, __NR_truncate, __NR_ftruncate, __NR_fallocate, __NR_fadvise64, __NR_fsync,
    __NR_fdatasync, __NR_flock, __NR_fcntl, __NR_dup, __NR_dup3, __NR_pipe2, __NR_sendfile,
    __NR_copy_file_range, __NR_splice, __NR_tee, __NR_mknodat, __NR_getxattr, __NR_lgetxattr,
    __NR_fgetxattr, __NR_listxattr, __NR_llistxattr, __NR_flistxattr, __NR_inotify_init1,
    __NR_inotify_add_watch, __NR_inotify_rm_watch,
    /* waiting */
    __NR_ppoll, __NR_pselect6, __NR_epoll_create1, __NR_epoll_ctl, __NR_epoll_pwait, __NR_eventfd2,
    __NR_signalfd4, __NR_timerfd_create, __NR_timerfd_settime, __NR_timerfd_gettime,
    /* processes and threads */
    __NR_execve, __NR_execveat, __NR_exit, __NR_exit_group, __NR_wait4, __NR_waitid, __NR_getpid,
    __NR_getppid, __NR_gettid, __NR_getpgid, __NR_setpgid, __NR_getsid, __NR_setsid,
    __NR_set_tid_address, __NR_set_robust_list, __NR_get_robust_list, __NR_rseq, __NR_futex,
    __NR_sched_yield, __NR_sched_getaffinity, __NR_sched_setaffinity, __NR_sched_getparam,
    __NR_sched_getscheduler, __NR_sched_get_priority_max, __NR_sched_get_priority_min,
    __NR_sched_setscheduler, __NR_getpriority, __NR_setpriority, __NR_prctl, __NR_prlimit64,
    __NR_getrlimit, __NR_setrlimit, __NR_getrusage, __NR_times, __NR_pidfd_open,
    __NR_pidfd_send_signal, __NR_getcpu,
    /* signals */
    __NR_kill, __NR_tkill, __NR_tgkill, __NR_rt_sigaction, __NR_rt_sigprocmask,
    __NR_rt_sigreturn, __NR_rt_sigsuspend, __NR_rt_sigpending, __NR_rt_sigtimedwait,
    __NR_rt_sigqueueinfo, __NR_rt_tgsigqueueinfo, __NR_sigaltstack, __NR_restart_syscall,
    /* identity (no capability is left to make use of the setters) */
    __NR_getuid, __NR_geteuid, __NR_getgid, __NR_getegid, __NR_getresuid, __NR_getresgid,
    __NR_getgroups, __NR_setuid, __NR_setgid, __NR_setreuid, __NR_setregid, __NR_setresuid,
    __NR_setresgid, __NR_capget,
    /* time and randomness */
    __NR_clock_gettime, __NR_clock_getres, __NR_clock_nanosleep, __NR_nanosleep,
    __NR_gettimeofday, __NR_getitimer, __NR_setitimer, __NR_timer_create, __NR_timer_settime,
    __NR_timer_gettime, __NR_timer_getoverrun, __NR_timer_delete, __NR_getrandom,
    /* the system */
    __NR_uname, __NR_sysinfo,
    /* sockets: which families, below */
    __NR_bind, __NR_connect, __NR_listen, __NR_accept, __NR_accept4, __NR_getsockname,
    __NR_getpeername, __NR_getsockopt, __NR_setsockopt, __NR_sendto, __NR_recvfrom, __NR_sendmsg,
    __NR_recvmsg, __NR_sendmmsg, __NR_recvmmsg, __NR_shutdown,
    /* System V and POSIX interprocess communication, in the cell's own namespace */
    __NR_shmget, __NR_shmat, __NR_shmdt, __NR_shmctl, __NR_semget, __NR_semop, __NR_semctl,
    __NR_semtimedop,
#ifdef __x86_64__
    /* what newer architectures no longer have */
    __NR_open, __NR_creat, __NR_stat, __NR_lstat, __NR_access, __NR_readlink, __NR_mkdir,
    __NR_rmdir, __NR_unlink, __NR_rename, __NR_link, __NR_symlink, __NR_chmod, __NR_chown,
    __NR_lchown, __NR_utime, __NR_utimes, __NR_futimesat, __NR_getdents, __NR_dup2, __NR_pipe,
    __NR_poll, __NR_select, __NR_epoll_create, __NR_epoll_wait, __NR_eventfd, __NR_inotify_init,
    __NR_fork, __NR_vfork, __NR_getpgrp, __NR_pause, __NR_alarm, __NR_time, __NR_arch_prctl,
    __NR_mknod,
#endif
};

struct program {
    struct sock_filter *out;
    size_t len, cap;
};

static void put(struct program *p, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
    if (p->len < p->cap)
        p->out[p->len] = (struct sock_filter){code, jt, jf, k};
    p->len++;
}

static void load(struct program *p, uint32_t offset)
{
    put(p, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
}

static void ret(struct program *p, uint32_t action)
{
    put(p, BPF_RET | BPF_K, action, 0, 0);
}

/* If the loaded number is `k`, that is the answer. */
static void answer(struct program *p, uint32_t k, uint32_t action)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, k, 0, 1);
    ret(p, action);
}

/* The low half of an argument; both architectures are little-endian. */
static void load_arg(struct program *p, unsigned index)
{
    load(p, (uint32_t)offsetof(struct seccomp_data, args) + 8 * index);
}

static void rule_clone(struct program *p)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, __NR_clone, 0, 4);
    load_arg(p, 0);
    put(p, BPF_JMP | BPF_JSET | BPF_K, (uint32_t)NEW_NAMESPACES, 0, 1);
    ret(p, DENY);
    ret(p, ALLOW);
}

static void rule_ioctl(struct program *p)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, __NR_ioctl, 0, 6);
    load_arg(p, 1);
    answer(p, TIOCSTI_REQUEST, DENY);
    answer(p, TIOCLINUX_REQUEST, DENY);
    ret(p, ALLOW);
}

static void rule_personality(struct program *p)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, __NR_personality, 0, 6);
    load_arg(p, 0);
    answer(p, 0, ALLOW);
    answer(p, 0xffffffffu, ALLOW);
    ret(p, DENY);
}

static void rule_socket(struct program *p, uint32_t number, bool unix_sockets, bool inet_sockets)
{
    uint8_t over = (uint8_t)(2 + (unix_sockets ? 2 : 0) + (inet_sockets ? 4 : 0));

    put(p, BPF_JMP | BPF_JEQ | BPF_K, number, 0, over);
    load_arg(p, 0);
    if (unix_sockets)
        answer(p, FAMILY_UNIX, ALLOW);
    if (inet_sockets) {
        answer(p, FAMILY_INET, ALLOW);
        answer(p, FAMILY_INET6, ALLOW);
    }
    ret(p, SECCOMP_RET_ERRNO | EAFNOSUPPORT);
}

/* ---- the allowlist as a search tree ----
 *
 * Loading a filter costs time in proportion to its length, and to the steps it
 * takes for every system call there is, since the kernel tries each once to
 * remember those that are always allowed. A list of 230 comparisons costs 0.4 ms
 * for every program; a binary search over the 60-odd ranges of numbers that are
 * allowed, a tenth of it. */

#define NUMBERS_MAX 512
#define RANGES_MAX 160

struct range {
    uint32_t first, last; /* inclusive */
};

static size_t find_ranges(struct range *ranges)
{
    bool is_allowed[NUMBERS_MAX + 1] = {false};
    size_t n = 0;

    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        if (allowed[i] < NUMBERS_MAX)
            is_allowed[allowed[i]] = true;
    }
    for (uint32_t number = 0; number < NUMBERS_MAX; number++) {
        if (!is_allowed[number])
            continue;
        if (n > 0 && ranges[n - 1].last + 1 == number)
            ranges[n - 1].last = number;
        else if (n < RANGES_MAX)
            ranges[n++] = (struct range){number, number};
    }
    return n;
}

/* Instructions that search() writes for `n` ranges. */
static size_t search_length(size_t n)
{
    return n == 1 ? 4 : 2 + search_length(n / 2) + search_length(n - n / 2);
}

/* Goes past its own end where the number is in no range. `after`: how many
 * instructions follow until there; a jump always spans any of them. */
static void search(struct program *p, const struct range *ranges, size_t n, size_t after)
{
    if (n == 1) {
        put(p, BPF_JMP | BPF_JGE | BPF_K, ranges[0].first, 0, 2);
        put(p, BPF_JMP | BPF_JGT | BPF_K, ranges[0].last, 1, 0);
        ret(p, ALLOW);
        put(p, BPF_JMP | BPF_JA, (uint32_t)after, 0, 0);
        return;
    }
    put(p, BPF_JMP | BPF_JGE | BPF_K, ranges[n / 2].first, 0, 1);
    put(p, BPF_JMP | BPF_JA, (uint32_t)search_length(n / 2), 0, 0);
    search(p, ranges, n / 2, search_length(n - n / 2) + after);
    search(p, ranges + n / 2, n - n / 2, after);
}

size_t pd_filter_build(bool unix_sockets, bool inet_sockets, struct sock_filter *out, size_t cap)
{
    struct range ranges[RANGES_MAX];
    size_t n_ranges = find_ranges(ranges);
    struct program p = {out, 0, cap};

    load(&p, offsetof(struct seccomp_data, arch));
    put(&p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
    ret(&p, SECCOMP_RET_KILL_PROCESS);
    load(&p, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
    put(&p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
    ret(&p, ABSENT);
#endif
    search(&p, ranges, n_ranges, 0);
    answer(&p, __NR_clone3, ABSENT);
    answer(&p, __NR_io_uring_setup, ABSENT);
    rule_clone(&p);
    rule_ioctl(&p);
    rule_personality(&p);
    rule_socket(&p, __NR_socket, unix_sockets, inet_sockets);
    rule_socket(&p, __NR_socketpair, true, false);
    ret(&p, DENY);
    return p.len <= cap ? p.len : 0;
}
