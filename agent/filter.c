#include "agent/filter.h"

#include <asm/ioctls.h>
#include <asm/socket.h>
#include <asm/unistd.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "the filter knows x86_64 and aarch64"
#endif

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define X32_BIT 0x40000000u
#define ALLOW SECCOMP_RET_ALLOW
#define DENY (SECCOMP_RET_ERRNO | EPERM)
#define ABSENT (SECCOMP_RET_ERRNO | ENOSYS)
#define PRETEND (SECCOMP_RET_ERRNO | 0)
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

#define FAMILY_UNIX 1
#define FAMILY_INET 2
#define FAMILY_INET6 10
#define NEW_NAMESPACES                                                                             \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |  \
     CLONE_NEWNET)

/* Each is made by a language of the catalogue in tests/fixtures/syscalls, or
 * stands in tests/unit/filter_test.c with the reason why it is here. */
static const uint16_t allowed[] = {
    /* memory */
    __NR_brk,
    __NR_mmap,
    __NR_munmap,
    __NR_mremap,
    __NR_mprotect,
    __NR_madvise,
    __NR_msync,
    __NR_membarrier,
    __NR_memfd_create,
    /* files */
    __NR_openat,
    __NR_close,
    __NR_close_range,
    __NR_read,
    __NR_write,
    __NR_readv,
    __NR_writev,
    __NR_pread64,
    __NR_pwrite64,
    __NR_preadv,
    __NR_pwritev,
    __NR_preadv2,
    __NR_pwritev2,
    __NR_lseek,
    __NR_fstat,
    __NR_newfstatat,
    __NR_statx,
    __NR_fstatfs,
    __NR_statfs,
    __NR_faccessat,
    __NR_faccessat2,
    __NR_readlinkat,
    __NR_getdents64,
    __NR_getcwd,
    __NR_chdir,
    __NR_fchdir,
    __NR_mkdirat,
    __NR_unlinkat,
    __NR_renameat,
    __NR_renameat2,
    __NR_linkat,
    __NR_symlinkat,
    __NR_fchmod,
    __NR_fchmodat,
    __NR_fchown,
    __NR_fchownat,
    __NR_umask,
    __NR_utimensat,
    __NR_truncate,
    __NR_ftruncate,
    __NR_fallocate,
    __NR_fadvise64,
    __NR_fsync,
    __NR_fdatasync,
    __NR_flock,
    __NR_fcntl,
    __NR_dup,
    __NR_dup3,
    __NR_pipe2,
    __NR_sendfile,
    __NR_copy_file_range,
    __NR_mknodat,
    __NR_getxattr,
    __NR_lgetxattr,
    __NR_fgetxattr,
    __NR_listxattr,
    __NR_llistxattr,
    __NR_flistxattr,
    __NR_inotify_init1,
    __NR_inotify_add_watch,
    __NR_inotify_rm_watch,
    /* waiting */
    __NR_ppoll,
    __NR_pselect6,
    __NR_epoll_create1,
    __NR_epoll_ctl,
    __NR_epoll_pwait,
    __NR_eventfd2,
    __NR_timerfd_create,
    __NR_timerfd_settime,
    __NR_timerfd_gettime,
    /* processes and threads */
    __NR_execve,
    __NR_exit,
    __NR_exit_group,
    __NR_wait4,
    __NR_waitid,
    __NR_getpid,
    __NR_getppid,
    __NR_gettid,
    __NR_getpgid,
    __NR_setpgid,
    __NR_getsid,
    __NR_setsid,
    __NR_set_tid_address,
    __NR_set_robust_list,
    __NR_rseq,
    __NR_futex,
    __NR_sched_yield,
    __NR_sched_getaffinity,
    __NR_sched_setaffinity,
    __NR_sched_getparam,
    __NR_sched_getscheduler,
    __NR_sched_get_priority_max,
    __NR_sched_get_priority_min,
    __NR_getpriority,
    __NR_setpriority,
    __NR_getrlimit,
    __NR_getrusage,
    __NR_times,
    __NR_pidfd_open,
    __NR_pidfd_send_signal,
    __NR_getcpu,
    /* signals */
    __NR_kill,
    __NR_tkill,
    __NR_tgkill,
    __NR_rt_sigaction,
    __NR_rt_sigprocmask,
    __NR_rt_sigreturn,
    __NR_rt_sigsuspend,
    __NR_rt_sigpending,
    __NR_rt_sigtimedwait,
    __NR_sigaltstack,
    __NR_restart_syscall,
    /* identity */
    __NR_getuid,
    __NR_geteuid,
    __NR_getgid,
    __NR_getegid,
    __NR_getresuid,
    __NR_getresgid,
    __NR_getgroups,
    __NR_capget,
    /* time and randomness */
    __NR_clock_gettime,
    __NR_clock_getres,
    __NR_clock_nanosleep,
    __NR_nanosleep,
    __NR_gettimeofday,
    __NR_getitimer,
    __NR_setitimer,
    __NR_timer_create,
    __NR_timer_settime,
    __NR_timer_gettime,
    __NR_timer_getoverrun,
    __NR_timer_delete,
    __NR_getrandom,
    /* the system */
    __NR_uname,
    __NR_sysinfo,
    /* sockets: which families and options, below */
    __NR_bind,
    __NR_connect,
    __NR_listen,
    __NR_accept,
    __NR_accept4,
    __NR_getsockname,
    __NR_getpeername,
    __NR_getsockopt,
    __NR_sendto,
    __NR_recvfrom,
    __NR_sendmsg,
    __NR_recvmsg,
    __NR_sendmmsg,
    __NR_recvmmsg,
    __NR_shutdown,
#ifdef __x86_64__
    /* what newer architectures no longer have */
    __NR_open,
    __NR_creat,
    __NR_stat,
    __NR_lstat,
    __NR_access,
    __NR_readlink,
    __NR_mkdir,
    __NR_rmdir,
    __NR_unlink,
    __NR_rename,
    __NR_link,
    __NR_symlink,
    __NR_chmod,
    __NR_chown,
    __NR_lchown,
    __NR_dup2,
    __NR_pipe,
    __NR_poll,
    __NR_select,
    __NR_epoll_wait,
    __NR_fork,
    __NR_vfork,
    __NR_getpgrp,
    __NR_pause,
    __NR_alarm,
    __NR_time,
    __NR_arch_prctl,
    __NR_mknod,
    __NR_inotify_init,
#endif
};

/* Terminals and the flags of a descriptor: nothing of a device. */
static const uint32_t allowed_ioctls[] = {
    TCGETS,    TCSETS,     TCSETSW,    TCSETSF,  TCSBRK,  TCFLSH,  TIOCGPGRP, TIOCSPGRP, TIOCSCTTY,
    TIOCNOTTY, TIOCGWINSZ, TIOCSWINSZ, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX,  FIOASYNC,
};

static const uint32_t allowed_prctls[] = {
    PR_SET_NAME,     PR_GET_NAME,     PR_SET_PDEATHSIG,   PR_GET_PDEATHSIG,
    PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_CAPBSET_READ,    PR_SET_NO_NEW_PRIVS,
    PR_SET_VMA,      PR_GET_SECCOMP,  PR_SET_THP_DISABLE, PR_GET_NO_NEW_PRIVS,
};

/* Programs of a packet filter: a compiler in the kernel. */
static const uint32_t denied_sockopts[] = {
    SO_ATTACH_FILTER,
    SO_ATTACH_BPF,
    SO_ATTACH_REUSEPORT_CBPF,
    SO_ATTACH_REUSEPORT_EBPF,
};

/* From this number on (Linux 5.1) architectures agree, and a C library asks
 * before it relies on a call: what is not allowed is absent rather than denied. */
#define FIRST_OF_ALL 424

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

/* `number` is decided by one of its arguments: one of `list` gets `listed`,
 * everything else `other`. */
static void rule_by_argument(struct program *p, uint32_t number, unsigned index,
                             const uint32_t *list, size_t n, uint32_t listed, uint32_t other)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, number, 0, (uint8_t)(2 + 2 * n));
    load_arg(p, index);
    for (size_t i = 0; i < n; i++)
        answer(p, list[i], listed);
    ret(p, other);
}

/* A limit on core files stays (agent/confine.c); that it could not be changed is
 * no program's business. */
static void rule_setrlimit(struct program *p)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, __NR_setrlimit, 0, 4);
    load_arg(p, 0);
    answer(p, RLIMIT_CORE, PRETEND);
    ret(p, ALLOW);
}

/* Likewise, and only of oneself: pid 0. */
static void rule_prlimit(struct program *p)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, __NR_prlimit64, 0, 12);
    load_arg(p, 0);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
    ret(p, DENY);
    load_arg(p, 1);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, RLIMIT_CORE, 1, 0);
    ret(p, ALLOW);
    load_arg(p, 2); /* reading it is no change: the new limit is NULL */
    put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3);
    load(p, (uint32_t)offsetof(struct seccomp_data, args) + 8 * 2 + 4);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1);
    ret(p, ALLOW);
    ret(p, PRETEND);
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
 * remember those that are always allowed. So the list is a binary search over the
 * ranges of numbers that are allowed. */

#define NUMBERS_MAX 512
#define RANGES_MAX 160

struct range {
    uint32_t first, last; /* inclusive */
};

static size_t find_ranges(struct range *ranges)
{
    bool is_allowed[NUMBERS_MAX + 1] = {false};
    size_t n = 0;

    for (size_t i = 0; i < COUNT(allowed); i++) {
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
    /* As on a file system without them: tools then do with permissions alone. */
    answer(&p, __NR_setxattr, SECCOMP_RET_ERRNO | EOPNOTSUPP);
    answer(&p, __NR_lsetxattr, SECCOMP_RET_ERRNO | EOPNOTSUPP);
    answer(&p, __NR_fsetxattr, SECCOMP_RET_ERRNO | EOPNOTSUPP);
    /* Not between what these descriptors are: whoever asks copies by hand. */
    answer(&p, __NR_splice, SECCOMP_RET_ERRNO | EINVAL);
    answer(&p, __NR_tee, SECCOMP_RET_ERRNO | EINVAL);
    rule_clone(&p);
    rule_by_argument(&p, __NR_ioctl, 1, allowed_ioctls, COUNT(allowed_ioctls), ALLOW,
                     SECCOMP_RET_ERRNO | ENOTTY);
    rule_by_argument(&p, __NR_prctl, 0, allowed_prctls, COUNT(allowed_prctls), ALLOW,
                     SECCOMP_RET_ERRNO | EINVAL);
    rule_by_argument(&p, __NR_setsockopt, 2, denied_sockopts, COUNT(denied_sockopts), DENY, ALLOW);
    rule_setrlimit(&p);
    rule_prlimit(&p);
    rule_personality(&p);
    rule_socket(&p, __NR_socket, unix_sockets, inet_sockets);
    rule_socket(&p, __NR_socketpair, true, false);
    put(&p, BPF_JMP | BPF_JGE | BPF_K, FIRST_OF_ALL, 0, 1);
    ret(&p, ABSENT);
    ret(&p, DENY);
    return p.len <= cap ? p.len : 0;
}
