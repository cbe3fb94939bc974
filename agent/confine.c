#include "agent/confine.h"

#include <asm/unistd.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>

/* One system call, its fifth argument 0: the result or -errno. */
static long call(long number, long a, long b, long c, long d)
{
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = 0;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
#else
#error "raw system calls are written for x86_64 and aarch64"
#endif
}

#define NOFILE_MAX 1024
#define SIGPENDING_MAX 1024
/* A core pattern that is a pipe starts a program on the host whatever the limit,
 * except at 1 (core(5)). The filter keeps programs from lowering it to 0. */
#define CORE_BYTES 1
#define CAPS                                                                                       \
    64 /* more than any kernel has; dropping one that is not there fails, and ends the loop */

int pd_confine_aim(int pid_namespace)
{
    return (int)call(__NR_setns, pid_namespace, CLONE_NEWPID, 0, 0);
}

static int limit(int resource, uint64_t value)
{
    struct rlimit64 both = {value, value};
    return (int)call(__NR_prlimit64, 0, resource, (long)&both, 0);
}

static int set_limits(const struct pd_confine *confine)
{
    int result = limit(RLIMIT_CORE, CORE_BYTES);

    if (result == -EPERM)
        result = limit(RLIMIT_CORE, 0);
    if (result == 0)
        result = limit(RLIMIT_NOFILE, NOFILE_MAX);
    if (result == 0)
        result = limit(RLIMIT_SIGPENDING, SIGPENDING_MAX);
    if (result == 0)
        result = limit(RLIMIT_MEMLOCK, 64 * 1024);
    if (result == 0)
        result = limit(RLIMIT_MSGQUEUE, 800 * 1024);
    if (result == 0)
        result = limit(RLIMIT_FSIZE, confine->file_bytes_max);
    if (result == 0 && confine->pids_max)
        result = limit(RLIMIT_NPROC, confine->pids_max);
    return result;
}

static int drop_held_capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};

    if (call(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0) < 0)
        return -1;
    return (int)call(__NR_capset, (long)&header, (long)none, 0, 0);
}

int pd_confine_drop_capabilities(void)
{
    for (long cap = 0; cap < CAPS; cap++) {
        if (call(__NR_prctl, PR_CAPBSET_DROP, cap, 0, 0) < 0) {
            if (call(__NR_prctl, PR_CAPBSET_READ, cap, 0, 0) >= 0)
                return -1;
            break;
        }
    }
    return drop_held_capabilities();
}

static int take_descriptors(const int *fds)
{
    int moved[PD_JOIN_COUNT];
    long first_unused = 3;

    /* Out of the way of 0..4 first, since any of them may be there now. */
    for (int i = PD_JOIN_STDIN; i < PD_JOIN_COUNT; i++) {
        moved[i] = fds[i] < 0 ? -1 : (int)call(__NR_fcntl, fds[i], 0 /* F_DUPFD */, 16, 0);
        if (fds[i] >= 0 && moved[i] < 0)
            return moved[i];
    }
    for (int i = PD_JOIN_STDIN; i < PD_JOIN_COUNT; i++) {
        long result;
        if (moved[i] < 0)
            continue;
        result = call(__NR_dup3, moved[i], i - PD_JOIN_STDIN, 0, 0);
        if (result < 0)
            return (int)result;
        first_unused = i - PD_JOIN_STDIN + 1;
    }
    return (int)call(__NR_close_range, first_unused, ~0U, 0, 0);
}

static int become(uint32_t uid)
{
    long result = call(__NR_setgroups, 0, 0, 0, 0);

    if (result == 0)
        result = call(__NR_setresgid, uid, uid, uid, 0);
    if (result == 0)
        result = call(__NR_setresuid, uid, uid, uid, 0);
    return (int)result;
}

/* What waits dies before the agent, and after a run.
 * The files of the container's /proc are writable; the cell's are not. */
static void offer_to_oom_killer(uint32_t score)
{
    /* Without a leading 0, which would mean octal. */
    char digits[4] = {'1', '0', '0', '0'};
    long fd = call(__NR_openat, -100 /* AT_FDCWD */, (long)"/proc/self/oom_score_adj", 1, 0);

    if (fd >= 0) {
        digits[score >= 1000] = (char)('0' + score / 100 % 10);
        call(__NR_write, fd, (long)digits, score >= 1000 ? 4 : 3, 0);
        call(__NR_close, fd, 0, 0, 0);
    }
}

static int enter_cell(const struct pd_confine *confine, const int *fds)
{
    long result = call(__NR_setsid, 0, 0, 0, 0);

    if (confine->has_cell) /* whose own /proc is read-only */
        offer_to_oom_killer(confine->oom_score);
    /* The user namespace first: it brings the capabilities for the others. */
    for (int i = PD_JOIN_USER; result >= 0 && confine->has_cell && i <= PD_JOIN_UTS; i++)
        result = call(__NR_setns, fds[i], 0, 0, 0);
    if (result >= 0)
        result = call(__NR_chdir, (long)"/workspace", 0, 0, 0);
    if (result >= 0)
        result = take_descriptors(fds);
    return result < 0 ? (int)result : 0;
}

int pd_confine_enter(const struct pd_confine *confine, const int *fds)
{
    struct {
        unsigned short len;
        const struct sock_filter *filter;
    } program = {(unsigned short)confine->filter_len, confine->filter};
    int result = enter_cell(confine, fds);

    if (result == 0)
        result = set_limits(confine);
    if (result == 0 && confine->uid)
        result = become(confine->uid);
    /* Outside a cell nobody has the capability to empty the bounding set: there
     * no_new_privs alone stands between a program and what is left in it. */
    if (result == 0)
        result = confine->has_cell ? pd_confine_drop_capabilities() : drop_held_capabilities();
    /* Its own files in /proc are its own, also where no exec follows. */
    if (result == 0)
        result = (int)call(__NR_prctl, PR_SET_DUMPABLE, 1, 0, 0);
    if (!confine->has_cell)
        offer_to_oom_killer(confine->oom_score);
    if (result == 0)
        result = (int)call(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0);
    if (result == 0)
        result = (int)call(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, (long)&program, 0);
    return result;
}
