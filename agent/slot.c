/* Slots: cells, and the interpreters that wait in them.
 *
 *   FREE -> MAKING -> BARE ---------------------> RUNNING -> ENDING -> FREE
 *                 \-> JOINING -> READY ---------/
 *
 * Whatever fails on the way goes to ENDING: the init is killed, the kernel
 * kills the rest, and the slot is free when both have been waited for. */
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/sweep.h"
#include "agent/sys.h"

#define SPARE_FAILURES_MAX 3 /* in a row, then a language keeps no spares */

static unsigned index_of(const struct agent *agent, const struct slot *slot)
{
    return (unsigned)(slot - agent->slots);
}

static void reset(struct slot *slot)
{
    *slot = (struct slot){.state = SLOT_FREE,
                          .stdin_w = -1,
                          .stdout_r = -1,
                          .stderr_r = -1,
                          .go_w = -1,
                          .ready_r = -1};
    cell_init(&slot->cell);
}

void slots_init(struct agent *agent)
{
    for (size_t i = 0; i < SLOTS_MAX; i++)
        reset(&agent->slots[i]);
}

static void free_if_gone(struct slot *slot)
{
    if (slot->state == SLOT_ENDING && slot->cell.init == 0 && slot->prog == 0)
        reset(slot);
}

void slot_end(struct agent *agent, struct slot *slot)
{
    bool has_run = slot->state == SLOT_RUNNING ||
                   (slot->state == SLOT_PROBING && agent->platform.isolation == ISOLATION_UID);

    if (slot->state == SLOT_FREE || slot->state == SLOT_ENDING)
        return;
    if (slot->state == SLOT_READY)
        hold_spares(agent);
    if (slot->state == SLOT_JOINING && slot->lang)
        slot->lang->spares_failed++;
    slot->state = SLOT_ENDING;
    cell_kill(&slot->cell);
    cell_close(&slot->cell);
    if (slot->cell.init == 0 && slot->prog > 0)
        kill(slot->prog, SIGKILL);
    if (has_run && !sweep_processes(agent, slot->uid))
        wire_fault(agent, "a program's processes could not be ended");
    sys_close(&slot->stdin_w);
    sys_close(&slot->stdout_r);
    sys_close(&slot->stderr_r);
    sys_close(&slot->go_w);
    sys_close(&slot->ready_r);
    /* A zygote that is gone cannot report the end of what it forked. */
    if (slot->zygote && slot->zygote->state == ZYGOTE_NONE)
        slot->prog = 0;
    free_if_gone(slot);
}

void slots_stop_starting(struct agent *agent)
{
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &agent->slots[i];
        if (slot == agent->run.slot || slot->state < SLOT_MAKING || slot->state > SLOT_JOINING)
            continue;
        slot_end(agent, slot);
        if (slot->lang && slot->lang->spares_failed > 0)
            slot->lang->spares_failed--; /* it has not failed */
    }
    zygotes_stop_starting(agent);
}

bool slots_ending(const struct agent *agent)
{
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        if (agent->slots[i].state == SLOT_ENDING)
            return true;
    }
    return false;
}

/* ---- putting a program in ---- */

struct child_pipes {
    int stdin_r, stdout_w, stderr_w, go_r, ready_w;
};

static bool make_pipe(int *read_end, int *write_end)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return false;
    *read_end = fds[0];
    *write_end = fds[1];
    return true;
}

static void close_child_pipes(struct child_pipes *pipes)
{
    sys_close(&pipes->stdin_r);
    sys_close(&pipes->stdout_w);
    sys_close(&pipes->stderr_w);
    sys_close(&pipes->go_r);
    sys_close(&pipes->ready_w);
}

static bool make_pipes(struct slot *slot, struct child_pipes *pipes, bool spare)
{
    *pipes = (struct child_pipes){-1, -1, -1, -1, -1};
    sys_close(&slot->stdin_w);
    sys_close(&slot->stdout_r);
    sys_close(&slot->stderr_r);
    if (!make_pipe(&pipes->stdin_r, &slot->stdin_w) ||
        !make_pipe(&slot->stdout_r, &pipes->stdout_w) ||
        !make_pipe(&slot->stderr_r, &pipes->stderr_w) ||
        (spare &&
         (!make_pipe(&pipes->go_r, &slot->go_w) || !make_pipe(&slot->ready_r, &pipes->ready_w)))) {
        close_child_pipes(pipes);
        return false;
    }
    sys_set_nonblock(slot->stdin_w);
    sys_set_nonblock(slot->stdout_r);
    sys_set_nonblock(slot->stderr_r);
    sys_set_nonblock(slot->ready_r); /* -1 without a spare: no harm */
    return true;
}

/* The master twice: what is typed, and what is printed. */
static bool make_terminal(struct agent *agent, struct slot *slot, struct child_pipes *pipes)
{
    int master, slave;

    *pipes = (struct child_pipes){-1, -1, -1, -1, -1};
    if (terminal_open(&agent->platform, slot, &master, &slave) < 0)
        return false;
    terminal_resize(master, agent->run.rows, agent->run.cols);
    sys_close(&slot->stdin_w);
    sys_close(&slot->stdout_r);
    sys_close(&slot->stderr_r);
    slot->stdout_r = master;
    slot->stdin_w = fcntl(master, F_DUPFD_CLOEXEC, 0);
    sys_set_nonblock(master);
    pipes->stdin_r = slave;
    pipes->stdout_w = fcntl(slave, F_DUPFD_CLOEXEC, 0);
    pipes->stderr_w = fcntl(slave, F_DUPFD_CLOEXEC, 0);
    return slot->stdin_w >= 0 && pipes->stdout_w >= 0 && pipes->stderr_w >= 0;
}

static void join_fds(const struct slot *slot, const struct child_pipes *pipes,
                     int fds[PD_JOIN_COUNT])
{
    memcpy(fds, slot->cell.ns, sizeof slot->cell.ns);
    fds[PD_JOIN_STDIN] = pipes->stdin_r;
    fds[PD_JOIN_STDOUT] = pipes->stdout_w;
    fds[PD_JOIN_STDERR] = pipes->stderr_w;
    fds[PD_JOIN_GO] = pipes->go_r;
    fds[PD_JOIN_READY] = pipes->ready_w;
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
static pid_t fork_into(const struct agent *agent, const struct slot *slot, const int *fds,
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

static void watch_program(struct agent *agent, struct slot *slot)
{
    unsigned i = index_of(agent, slot);

    poll_add(agent, slot->stdout_r, 0, EVENT_SLOT, i, SLOT_OUT);
    poll_add(agent, slot->stderr_r, 0, EVENT_SLOT, i, SLOT_ERR);
}

void slot_watch_output(struct agent *agent, struct slot *slot, bool on)
{
    unsigned i = index_of(agent, slot);
    unsigned events = on ? EPOLLIN : 0;

    if (slot->stdout_r >= 0)
        poll_change(agent, slot->stdout_r, events, EVENT_SLOT, i, SLOT_OUT);
    if (slot->stderr_r >= 0)
        poll_change(agent, slot->stderr_r, events, EVENT_SLOT, i, SLOT_ERR);
}

bool slot_launch(struct agent *agent, struct slot *slot, const char *const *argv,
                 const char *const *env, bool on_terminal)
{
    struct child_pipes pipes;
    int fds[PD_JOIN_COUNT];

    if (!(on_terminal ? make_terminal(agent, slot, &pipes) : make_pipes(slot, &pipes, false))) {
        close_child_pipes(&pipes);
        return false;
    }
    join_fds(slot, &pipes, fds);
    slot->prog = fork_into(agent, slot, fds, argv, env);
    close_child_pipes(&pipes);
    if (slot->prog <= 0) {
        slot->prog = 0;
        return false;
    }
    watch_program(agent, slot);
    return true;
}

/* ---- spares ---- */

static bool has_zygote(const struct agent *agent, const struct lang *lang)
{
    return agent->zygotes && lang->zygote_wanted && lang->zygote.state != ZYGOTE_FAILED;
}

/* Found by an interpreter that opens its script before its hook waits: one empty
 * line, for those that look at the first byte. */
static bool make_empty_file(const struct slot *slot)
{
    int fd = sys_open_beneath(slot->cell.dirfd, slot->lang->file,
                              O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644);
    bool ok = fd >= 0 && write(fd, "\n", 1) == 1;

    sys_close(&fd);
    return ok;
}

static bool start_spare(struct agent *agent, struct slot *slot)
{
    const char *env[RUN_ENV_MAX];
    struct child_pipes pipes;
    int fds[PD_JOIN_COUNT];
    size_t n;

    if ((slot->lang->spare_file && !make_empty_file(slot)) || !make_pipes(slot, &pipes, true))
        return false;
    join_fds(slot, &pipes, fds);
    slot->state = SLOT_JOINING;
    if (has_zygote(agent, slot->lang)) {
        slot->start = START_ZYGOTE;
        zygote_fork(agent, slot, fds);
    } else {
        slot->start = START_SPARE;
        lang_env(agent, slot->lang, env, RUN_ENV_MAX - 1);
        for (n = 0; env[n]; n++)
            continue;
        env[n] = "PADDOCK_SPARE=exec";
        env[n + 1] = NULL;
        slot->prog = fork_into(agent, slot, fds, slot->lang->spare, env);
        if (slot->prog <= 0)
            slot->prog = 0;
    }
    close_child_pipes(&pipes);
    watch_program(agent, slot);
    poll_add(agent, slot->ready_r, EPOLLIN, EVENT_SLOT, index_of(agent, slot), SLOT_READY_FD);
    return slot->prog > 0 || slot->zygote;
}

static void on_cell_ready(struct agent *agent, struct slot *slot)
{
    if (!slot->lang) {
        slot->state = SLOT_BARE;
        run_on_slot_ready(agent, slot);
    } else if (!start_spare(agent, slot)) {
        slot_end(agent, slot);
        run_on_slot_lost(agent, slot);
    }
}

struct slot *slot_make(struct agent *agent, struct lang *lang)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &agent->slots[i];
        if (slot->state != SLOT_FREE)
            continue;
        reset(slot);
        slot->lang = lang;
        slot->start = START_CELL;
        slot->since_us = sys_now_us();
        if (agent->platform.isolation == ISOLATION_UID)
            slot->uid = agent->next_uid++;
        if (cell_make(&slot->cell, &agent->platform, &agent->limits) < 0)
            return NULL;
        slot->state = SLOT_MAKING;
        if (slot->cell.ctl >= 0)
            poll_add(agent, slot->cell.ctl, EPOLLIN, EVENT_SLOT, i, SLOT_CTL);
        else
            on_cell_ready(agent, slot);
        return slot->state == SLOT_FREE || slot->state == SLOT_ENDING ? NULL : slot;
    }
    return NULL;
}

/* It has said that it waits, and its pid is known: the two come on different ways. */
void slot_check_ready(struct agent *agent, struct slot *slot)
{
    if (slot->state != SLOT_JOINING || !slot->is_ready || slot->prog <= 0)
        return;
    slot->lang->spares_failed = 0;
    slot->state = SLOT_READY;
    hold_spares(agent);
    run_on_slot_ready(agent, slot);
}

static void on_ready_byte(struct agent *agent, struct slot *slot)
{
    char byte;
    ssize_t n = read(slot->ready_r, &byte, 1);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n != 1) {
        /* The interpreter ended, or closed what it should write to. */
        slot_end(agent, slot);
        run_on_slot_lost(agent, slot);
        return;
    }
    /* Its end of the pipe may be closed from here on; what else may come on it
     * belongs to a run. */
    poll_change(agent, slot->ready_r, 0, EVENT_SLOT, index_of(agent, slot), SLOT_READY_FD);
    slot->is_ready = true;
    slot_check_ready(agent, slot);
}

/* The spare's interpreter has done all that its program can see. */
static void on_done(struct agent *agent, struct slot *slot)
{
    struct pd_spare_done done;
    ssize_t n = read(slot->ready_r, &done, sizeof done);

    if (n == (ssize_t)sizeof done && done.magic == PD_SPARE_DONE)
        run_on_prog_done(agent, done.status & 0xff);
    else
        sys_close(&slot->ready_r); /* its end will be told as any program's */
}

static void on_ctl(struct agent *agent, struct slot *slot)
{
    int result;

    if (slot->state != SLOT_MAKING) {
        run_on_ctl(agent);
        return;
    }
    result = cell_on_ctl(&slot->cell);
    if (result == 1) {
        on_cell_ready(agent, slot);
    } else if (result < 0) {
        slot_end(agent, slot);
        run_on_slot_lost(agent, slot);
    }
}

void slot_on_event(struct agent *agent, struct slot *slot, unsigned which)
{
    if (slot->state == SLOT_FREE || slot->state == SLOT_ENDING)
        return;
    switch (which) {
    case SLOT_CTL:
        on_ctl(agent, slot);
        break;
    case SLOT_READY_FD:
        if (slot->state == SLOT_JOINING)
            on_ready_byte(agent, slot);
        else if (slot->state == SLOT_RUNNING)
            on_done(agent, slot);
        break;
    case SLOT_STDIN:
        input_on_writable(agent);
        break;
    case SLOT_OUT:
    case SLOT_ERR:
        if (slot->state == SLOT_RUNNING)
            output_on_readable(agent, which == SLOT_OUT ? 1 : 2);
        else if (slot->state == SLOT_PROBING)
            version_on_output(agent, which == SLOT_OUT ? &slot->stdout_r : &slot->stderr_r);
        break;
    default:
        break;
    }
}

/* A child of the agent has ended and been reaped: whose was it? */
bool slots_on_exit(struct agent *agent, pid_t pid)
{
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &agent->slots[i];
        if (slot->state == SLOT_FREE)
            continue;
        if (slot->cell.init == pid) {
            slot->cell.init = 0;
            if (slot->state == SLOT_ENDING) {
                free_if_gone(slot);
            } else if (slot->state < SLOT_RUNNING) { /* else its program's end follows */
                slot_end(agent, slot);
                run_on_slot_lost(agent, slot);
            }
            return true;
        }
        if (slot->prog == pid) {
            slot->prog = 0;
            if (slot->state == SLOT_ENDING) {
                free_if_gone(slot);
            } else if (slot->state < SLOT_RUNNING) {
                slot_end(agent, slot);
                run_on_slot_lost(agent, slot);
            }
            return true;
        }
    }
    return false;
}

/* ---- how many ---- */

int slots_ready(const struct agent *agent, const struct lang *lang)
{
    int n = 0;

    for (size_t i = 0; i < SLOTS_MAX; i++)
        n += agent->slots[i].state == SLOT_READY && agent->slots[i].lang == lang;
    return n;
}

static int count_coming(const struct agent *agent, const struct lang *lang)
{
    int n = 0;

    for (size_t i = 0; i < SLOTS_MAX; i++) {
        const struct slot *slot = &agent->slots[i];
        n += slot->lang == lang && slot->state >= SLOT_MAKING && slot->state <= SLOT_READY;
    }
    return n;
}

static bool wants_spares(const struct agent *agent, struct lang *lang, const struct lang *first,
                         int64_t now)
{
    if (!lang->found || !lang->spare[0] || lang->spares_failed >= SPARE_FAILURES_MAX)
        return false;
    if (agent->platform.isolation == ISOLATION_CONTAINER && agent->runs > 0)
        return false;
    if (agent->platform.isolation == ISOLATION_UID && lang->spare_file)
        return false; /* all share one folder, which is emptied for each run */
    return lang == first || (lang->used_us && now - lang->used_us < SPARE_IDLE_US);
}

/* Keep, while no run is under way, `spares_wanted` interpreters waiting for the
 * first language of the pool and for each that was used lately, and one bare
 * cell for the rest. */
void slots_refill(struct agent *agent)
{
    const struct lang *first = NULL;
    int64_t now = sys_now_us();

    if (!agent->configured || agent->run.state != RUN_NONE)
        return;
    for (size_t i = 0; i < agent->n_langs; i++) {
        struct lang *lang = &agent->langs[i];
        if (!first && lang->found)
            first = lang;
        if (!wants_spares(agent, lang, first, now))
            continue;
        if (has_zygote(agent, lang) && lang->zygote.state != ZYGOTE_READY) {
            if (lang->zygote.state == ZYGOTE_NONE)
                zygote_start(agent, lang, &lang->zygote);
            continue;
        }
        for (int n = count_coming(agent, lang); n < agent->spares_wanted; n++) {
            if (!slot_make(agent, lang))
                break;
        }
    }
    if (agent->platform.isolation == ISOLATION_CELL && count_coming(agent, NULL) == 0)
        (void)!slot_make(agent, NULL);
}
