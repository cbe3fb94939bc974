/* The filter of a run, by running its instructions: what it lets through is what
 * the languages of the catalogue were seen to need (tests/fixtures/syscalls,
 * written by scripts/trace_syscalls.py), and no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/filter.c"
#include "tests/lib/bpf.h"

#define CALLS 512
#define FIXTURE PD_SOURCE_DIR "/tests/fixtures/syscalls/x86_64"

static struct sock_filter filter[PD_FILTER_INSNS_MAX];

static uint32_t answer_to(size_t len, const struct seccomp_data *data)
{
    uint32_t answer = bpf_answer(filter, len, data);

    assert_int_not_equal(answer, BPF_NO_ANSWER);
    return answer;
}

static uint32_t call(bool unix_sockets, bool inet_sockets, long number, uint64_t a, uint64_t b,
                     uint64_t c)
{
    struct seccomp_data data = {.nr = (int)number, .arch = ARCH, .args = {a, b, c}};
    size_t len = pd_filter_build(unix_sockets, inet_sockets, filter, PD_FILTER_INSNS_MAX);

    assert_in_range(len, 1, PD_FILTER_INSNS_MAX);
    return answer_to(len, &data);
}

#define ANSWER(...) call(true, false, __VA_ARGS__)
#define ERRNO(e) (SECCOMP_RET_ERRNO | (e))

/* Not seen in a trace, and yet in the list. */
static const struct {
    long number;
    const char *why;
} untraced[] = {
    {__NR_preadv, "preadv() of C libraries other than glibc"},
    {__NR_pwritev, "pwritev() likewise"},
    {__NR_faccessat, "what faccessat2 falls back to"},
    {__NR_llistxattr, "of the same tools as listxattr"},
    {__NR_membarrier, "musl, when a library with thread-local storage is loaded"},
    {__NR_timerfd_create, "os.timerfd_create of Python 3.13"},
    {__NR_timerfd_settime, "likewise"},
    {__NR_timerfd_gettime, "likewise"},
    {__NR_getcpu, "sched_getcpu() where the vDSO does not answer"},
    {__NR_gettimeofday, "where the clock source is not readable from the vDSO"},
    {__NR_sendmmsg, "glibc's resolver, in pools with network: egress"},
    {__NR_recvmmsg, "likewise"},
    {__NR_restart_syscall, "made by the kernel when an interrupted sleep goes on"},
#ifdef __x86_64__
    {__NR_time, "as gettimeofday"},
    {__NR_select, "select() of musl"},
    {__NR_pause, "pause() of C libraries"},
    {__NR_lstat, "lstat() of musl"},
    {__NR_stat, "stat() of musl"},
    {__NR_mknod, "mkfifo() of musl"},
#endif
};

static bool is_excused(long number)
{
    for (size_t i = 0; i < COUNT(untraced); i++) {
        if (untraced[i].number == number)
            return true;
    }
    return false;
}

/* Calls of a trace that are denied on purpose, and what the caller does then. */
static const struct {
    const char *name, *then;
} refused[] = {
    {"clone3", "C libraries use clone"},
    {"fsetxattr", "cp -a and sed -i copy permissions without access lists"},
    {"mbind", "OpenBLAS leaves memory where it is"},
    {"pkey_alloc", "V8 goes without protection keys"},
    {"ioctl:FICLONE", "cp copies by hand"},
    {"sched_setscheduler", "the policy stays"},
    {"io_uring_setup", "libuv uses threads"},
};

static bool is_refused(const char *name)
{
    for (size_t i = 0; i < COUNT(refused); i++) {
        if (strcmp(refused[i].name, name) == 0)
            return true;
    }
    return false;
}

/* Decided by arguments: allowed with harmless ones. */
static bool depends_on_arguments(long number)
{
    static const long list[] = {__NR_clone,     __NR_ioctl,      __NR_prctl,
                                __NR_socket,    __NR_socketpair, __NR_prlimit64,
                                __NR_setrlimit, __NR_setsockopt, __NR_personality};

    for (size_t i = 0; i < COUNT(list); i++) {
        if (list[i] == number)
            return true;
    }
    return false;
}

static void allows_what_languages_need_and_no_more(void **state)
{
    bool is_traced[CALLS] = {false};
    char line[512], name[64];
    unsigned number;
    size_t seen = 0;
    FILE *file;

    (void)state;
#ifndef __x86_64__
    skip();
#endif
    file = fopen(FIXTURE, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        uint32_t answer;
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%63s %u", name, &number), 2);
        seen++;
        if (strncmp(name, "prctl:", 6) == 0)
            answer = ANSWER(__NR_prctl, number, 0, 0);
        else if (strncmp(name, "ioctl:", 6) == 0)
            answer = ANSWER(__NR_ioctl, 0, number, 0);
        else if (number == __NR_socket || number == __NR_socketpair)
            answer = ANSWER((long)number, FAMILY_UNIX, 0, 0);
        else if (depends_on_arguments((long)number))
            answer = ALLOW;
        else
            answer = ANSWER((long)number, 0, 0, 0);
        if (!strchr(name, ':') && number < CALLS)
            is_traced[number] = true;
        if ((answer == ALLOW) == is_refused(name))
            fail_msg("%s is made by: %sthe filter answers %x", name, strchr(line, ' ') + 1, answer);
    }
    fclose(file);
    assert_in_range(seen, 150, 400);
    for (long i = 0; i < CALLS; i++) {
        if (ANSWER(i, 0, 0, 0) == ALLOW && !is_traced[i] && !is_excused(i) &&
            !depends_on_arguments(i))
            fail_msg("call %ld is allowed and nothing needs it", i);
        if (is_traced[i] && is_excused(i))
            fail_msg("call %ld is needed, and excused as if it were not", i);
    }
}

static void denies_what_leads_out(void **state)
{
    static const long calls[] = {
        __NR_ptrace,
        __NR_process_vm_readv,
        __NR_process_vm_writev,
        __NR_bpf,
        __NR_keyctl,
        __NR_add_key,
        __NR_request_key,
        __NR_userfaultfd,
        __NR_mount,
        __NR_umount2,
        __NR_pivot_root,
        __NR_chroot,
        __NR_unshare,
        __NR_setns,
        __NR_perf_event_open,
        __NR_init_module,
        __NR_kexec_load,
        __NR_reboot,
        __NR_swapon,
        __NR_open_by_handle_at,
        __NR_kcmp,
        __NR_seccomp,
        __NR_vmsplice,
        __NR_shmget,
        __NR_msgget,
        __NR_semget,
        __NR_mq_open,

        __NR_settimeofday,
        __NR_clock_settime,
        __NR_sethostname,
        __NR_acct,
        __NR_syslog,
        __NR_fanotify_init,
        __NR_setuid,
        __NR_capset,
        __NR_quotactl,
        __NR_mbind,
        __NR_move_pages,
        __NR_sched_setscheduler,
    };
    static const long newer[] = {
        __NR_clone3,         __NR_io_uring_setup,     437 /* openat2 */,   438 /* pidfd_getfd */,
        428 /* open_tree */, 442 /* mount_setattr */, 452 /* fchmodat2 */, 511};

    (void)state;
    for (size_t i = 0; i < COUNT(calls); i++)
        assert_int_equal(ANSWER(calls[i], 0, 0, 0), DENY);
    for (size_t i = 0; i < COUNT(newer); i++)
        assert_int_equal(ANSWER(newer[i], 0, 0, 0), ABSENT);
}

static void decides_by_arguments(void **state)
{
    static const struct {
        const char *what;
        long number;
        uint64_t a, b, c;
        uint32_t answer;
    } cases[] = {
        {"fork", __NR_clone, 17, 0, 0, ALLOW},
        {"a thread", __NR_clone, 0x3d0f00, 0, 0, ALLOW},
        {"a user namespace", __NR_clone, CLONE_NEWUSER | 17, 0, 0, DENY},
        {"a mount namespace", __NR_clone, CLONE_NEWNS, 0, 0, DENY},
        {"a pid namespace", __NR_clone, CLONE_NEWPID, 0, 0, DENY},
        {"a network namespace", __NR_clone, CLONE_NEWNET, 0, 0, DENY},
        {"a cgroup namespace", __NR_clone, CLONE_NEWCGROUP, 0, 0, DENY},
        {"TCGETS", __NR_ioctl, 0, TCGETS, 0, ALLOW},
        {"TIOCSTI", __NR_ioctl, 0, TIOCSTI, 0, ERRNO(ENOTTY)},
        {"TIOCLINUX", __NR_ioctl, 0, TIOCLINUX, 0, ERRNO(ENOTTY)},
        {"TIOCSETD", __NR_ioctl, 0, TIOCSETD, 0, ERRNO(ENOTTY)},
        {"TIOCSTI with a high half", __NR_ioctl, 0, UINT64_C(1) << 32 | TIOCSTI, 0, ERRNO(ENOTTY)},
        {"own soft limit", __NR_prlimit64, 0, RLIMIT_NOFILE, 1, ALLOW},
        {"another's limit", __NR_prlimit64, 1, RLIMIT_NOFILE, 0, DENY},
        {"core limit read", __NR_prlimit64, 0, RLIMIT_CORE, 0, ALLOW},
        {"core limit set", __NR_prlimit64, 0, RLIMIT_CORE, 4096, ERRNO(0)},
        {"core limit set, high address", __NR_prlimit64, 0, RLIMIT_CORE, UINT64_C(1) << 40,
         ERRNO(0)},
        {"core limit set, old call", __NR_setrlimit, RLIMIT_CORE, 0, 0, ERRNO(0)},
        {"stack limit, old call", __NR_setrlimit, RLIMIT_STACK, 0, 0, ALLOW},
        {"a thread's name", __NR_prctl, PR_SET_NAME, 0, 0, ALLOW},
        {"a filter of its own", __NR_prctl, PR_SET_SECCOMP, 0, 0, ERRNO(EINVAL)},
        {"keeping orphans", __NR_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, ERRNO(EINVAL)},
        {"ambient capabilities", __NR_prctl, PR_CAP_AMBIENT, 0, 0, ERRNO(EINVAL)},
        {"receive buffer", __NR_setsockopt, 0, 1, SO_RCVBUF, ALLOW},
        {"packet filter", __NR_setsockopt, 0, 1, SO_ATTACH_FILTER, DENY},
        {"personality asked", __NR_personality, 0xffffffff, 0, 0, ALLOW},
        {"no address randomization", __NR_personality, 0x40000, 0, 0, DENY},
        {"an attribute", __NR_fsetxattr, 0, 0, 0, ERRNO(EOPNOTSUPP)},
        {"splice", __NR_splice, 0, 0, 0, ERRNO(EINVAL)},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint32_t answer = ANSWER(cases[i].number, cases[i].a, cases[i].b, cases[i].c);
        if (answer != cases[i].answer)
            fail_msg("%s: %x, not %x", cases[i].what, answer, cases[i].answer);
    }
}

static void opens_only_the_families_of_its_network(void **state)
{
    (void)state;
    for (uint64_t family = 0; family < 64; family++) {
        bool is_inet = family == FAMILY_INET || family == FAMILY_INET6;
        assert_int_equal(call(true, false, __NR_socket, family, 1, 0) == ALLOW,
                         family == FAMILY_UNIX);
        assert_int_equal(call(false, true, __NR_socket, family, 1, 0) == ALLOW, is_inet);
        assert_int_equal(call(false, true, __NR_socketpair, family, 1, 0) == ALLOW,
                         family == FAMILY_UNIX);
    }
}

static void kills_what_speaks_another_architecture(void **state)
{
    struct seccomp_data data = {.nr = 1, .arch = AUDIT_ARCH_I386};
    size_t len = pd_filter_build(true, false, filter, PD_FILTER_INSNS_MAX);

    (void)state;
    assert_int_equal(answer_to(len, &data), SECCOMP_RET_KILL_PROCESS);
#ifdef __x86_64__
    assert_int_equal(ANSWER((long)(X32_BIT | __NR_read), 0, 0, 0), ABSENT);
#endif
    assert_int_equal(pd_filter_build(true, false, filter, 10), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allows_what_languages_need_and_no_more),
        cmocka_unit_test(denies_what_leads_out),
        cmocka_unit_test(decides_by_arguments),
        cmocka_unit_test(opens_only_the_families_of_its_network),
        cmocka_unit_test(kills_what_speaks_another_architecture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
