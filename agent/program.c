#include "agent/program.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/sys.h"

static bool make_pipe(int *read_end, int *write_end)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return false;
    *read_end = fds[0];
    *write_end = fds[1];
    return true;
}

void program_close_ends(struct program_ends *ends)
{
    sys_close(&ends->stdin_r);
    sys_close(&ends->stdout_w);
    sys_close(&ends->stderr_w);
    sys_close(&ends->go_r);
    sys_close(&ends->ready_w);
}

bool program_make_pipes(struct slot *slot, struct program_ends *ends, bool spare)
{
    *ends = (struct program_ends){-1, -1, -1, -1, -1};
    sys_close(&slot->stdin_w);
    sys_close(&slot->stdout_r);
    sys_close(&slot->stderr_r);
    if (!make_pipe(&ends->stdin_r, &slot->stdin_w) ||
        !make_pipe(&slot->stdout_r, &ends->stdout_w) ||
        !make_pipe(&slot->stderr_r, &ends->stderr_w) ||
        (spare &&
         (!make_pipe(&ends->go_r, &slot->go_w) || !make_pipe(&slot->ready_r, &ends->ready_w)))) {
        program_close_ends(ends);
        return false;
    }
    sys_set_nonblock(slot->stdin_w);
    sys_set_nonblock(slot->stdout_r);
    sys_set_nonblock(slot->stderr_r);
    sys_set_nonblock(slot->ready_r); /* -1 without a spare: no harm */
    return true;
}

bool program_make_terminal(struct agent *agent, struct slot *slot, struct program_ends *ends)
{
    int master, slave;

    *ends = (struct program_ends){-1, -1, -1, -1, -1};
    if (terminal_open(&agent->platform, slot, &master, &slave) < 0)
        return false;
    terminal_resize(master, agent->run.rows, agent->run.cols);
    sys_close(&slot->stdin_w);
    sys_close(&slot->stdout_r);
    sys_close(&slot->stderr_r);
    slot->stdout_r = master;
    slot->stdin_w = fcntl(master, F_DUPFD_CLOEXEC, 0);
    sys_set_nonblock(master);
    ends->stdin_r = slave;
    ends->stdout_w = fcntl(slave, F_DUPFD_CLOEXEC, 0);
    ends->stderr_w = fcntl(slave, F_DUPFD_CLOEXEC, 0);
    return slot->stdin_w >= 0 && ends->stdout_w >= 0 && ends->stderr_w >= 0;
}

void program_join_fds(const struct slot *slot, const struct program_ends *ends,
                      int fds[PD_JOIN_COUNT])
{
    memcpy(fds, slot->cell.ns, sizeof slot->cell.ns);
    fds[PD_JOIN_STDIN] = ends->stdin_r;
    fds[PD_JOIN_STDOUT] = ends->stdout_w;
    fds[PD_JOIN_STDERR] = ends->stderr_w;
    fds[PD_JOIN_GO] = ends->go_r;
    fds[PD_JOIN_READY] = ends->ready_w;
}

static _Noreturn void child_main(const struct agent *agent, const struct slot *slot, const int *fds,
                                 const char *const *argv, const char *const *env)
{
    bool on_terminal = fds[PD_JOIN_STDIN] >= 0 && isatty(fds[PD_JOIN_STDIN]);
    struct pd_confine confine = agent->confine;
    sigset_t none;
    int result;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    umask(022);
    confine.uid = slot->uid;
    confine.oom_score = slot->state == SLOT_JOINING ? OOM_SCORE_SPARE : OOM_SCORE_RUN;
    result = pd_confine_enter(&confine, fds);
    if (result < 0) {
        dprintf(STDERR_FILENO, "paddock: the sandbox could not be entered: %s\n",
                strerror(-result));
        _exit(126);
    }
    if (on_terminal) /* it leads a session of its own: this is the session's now */
        ioctl(STDIN_FILENO, TIOCSCTTY, 0);
    execvpe(argv[0], (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
    dprintf(STDERR_FILENO, "paddock: %s: %s\n", argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

/* The program's parent must be the agent, but an agent that aims its children
 * at a cell's pid namespace could never take its aim back: so a vforked
 * intermediary aims, forks and exits, and its orphan comes to pid 1. */
pid_t program_fork(const struct agent *agent, const struct slot *slot, const int *fds,
                   const char *const *argv, const char *const *env)
{
    volatile pid_t prog = -1;
    pid_t intermediary;

    if (!agent->confine.has_cell) {
        prog = fork();
        if (prog == 0)
            child_main(agent, slot, fds, argv, env);
        return prog;
    }
    intermediary = vfork();
    if (intermediary == 0) {
        if (pd_confine_aim(slot->cell.ns[PD_JOIN_PID]) == 0) {
            pid_t pid = sys_clone(SIGCHLD);
            if (pid == 0)
                child_main(agent, slot, fds, argv, env);
            prog = pid;
        }
        _exit(0);
    }
    if (intermediary > 0)
        waitpid(intermediary, NULL, 0);
    return prog;
}
