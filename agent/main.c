/* The agent of a sandbox: PID 1 of its container.
 *
 * Theory of operation. The agent speaks frames (common/proto.h) on its stdin and
 * stdout with the one service that is attached. The first ATTACH tells what the
 * sandbox is for; the agent finds out what the platform allows (platform.c) and
 * answers with HELLO. From then on, while nothing runs, it prepares: cells, that
 * is namespaces with a root of their own (cell.c), and in them interpreters that
 * have started and wait for a program (spare.c), forked where possible from a
 * zygote that has imported everything already (zygote.c, spares/). A RUN takes
 * the best of what is there, puts the program's file into the cell's workspace
 * and says go (run.c); output flows back under credit. When the program ends the
 * cell is killed, the EXIT is sent, and a new cell is made. No cell is used
 * twice. One run at a time.
 *
 * One process, one thread, one epoll set. All memory is static. What can fail
 * ends in a FAULT frame, and the service then destroys the sandbox: the agent
 * never tries to go on from a state that it does not know. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#ifdef PD_AGENT_ECS
#include "agent/ecs/ecs.h"
#endif
#include "agent/sys.h"
#include "common/slice.h"

#define EVENTS_AT_ONCE 32

/* The one global of the program; everything else gets a pointer to it. */
static struct agent the_agent;

static uint64_t tag(enum event_kind kind, unsigned index, unsigned which)
{
    return (uint64_t)kind << 32 | (uint64_t)index << 8 | which;
}

/* No events: the descriptor leaves the set, since a hang-up would be told for
 * ever otherwise. */
void poll_change(struct agent *agent, int fd, unsigned events, enum event_kind kind, unsigned index,
                 unsigned which)
{
    struct epoll_event event = {.events = events, .data.u64 = tag(kind, index, which)};

    if (fd < 0)
        return;
    if (events == 0)
        epoll_ctl(agent->epoll, EPOLL_CTL_DEL, fd, &event);
    else if (epoll_ctl(agent->epoll, EPOLL_CTL_ADD, fd, &event) < 0) /* most often it is not in */
        epoll_ctl(agent->epoll, EPOLL_CTL_MOD, fd, &event);
}

static void arm(struct agent *agent, int64_t at_us)
{
    struct itimerspec spec = {.it_value = {at_us / 1000000, (at_us % 1000000) * 1000}};

    agent->timer_armed_us = at_us;
    timerfd_settime(agent->timer, TFD_TIMER_ABSTIME, &spec, NULL);
}

/* Most deadlines are put off or dropped long before they come: an armed timer that is
 * too early is left as it is, and looks again when it fires. */
void timer_set(struct agent *agent, int64_t at_us)
{
    agent->timer_us = at_us;
    if (at_us && (!agent->timer_armed_us || at_us < agent->timer_armed_us))
        arm(agent, at_us);
}

void hold_timer_set(struct agent *agent, int64_t at_us)
{
    struct itimerspec spec = {.it_value = {at_us / 1000000, (at_us % 1000000) * 1000}};

    if (at_us == agent->hold_timer_us)
        return;
    agent->hold_timer_us = at_us;
    timerfd_settime(agent->hold_timer, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void on_child_end(struct agent *agent, const siginfo_t *info, const struct rusage *usage)
{
    struct run *run = &agent->run;
    struct end end = {
        .known = true,
        .by_signal = info->si_code != CLD_EXITED,
        .status = info->si_status,
        .cpu_us = (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000 +
                  usage->ru_utime.tv_usec + usage->ru_stime.tv_usec,
        .maxrss_bytes = usage->ru_maxrss * 1024,
    };

    if (run->slot && run->slot->state == SLOT_RUNNING && run->slot->prog == info->si_pid)
        run_on_prog_end(agent, &end);
    if (!slots_on_exit(agent, info->si_pid))
        zygotes_on_exit(agent, info->si_pid);
}

/* On ECS the task may stop because its capacity is reclaimed, with some time to
 * go: a run ends first, and its last words go out. On Docker somebody wants it gone. */
static void leave_soon(struct agent *agent)
{
    if (agent->front == 0)
        _exit(0);
    agent->leaving = true;
    kill(agent->front, SIGTERM);
}

static void on_signals(struct agent *agent)
{
    struct signalfd_siginfo ignored;
    struct rusage usage;
    siginfo_t info;

    while (read(agent->signals, &ignored, sizeof ignored) > 0) {
        if (ignored.ssi_signo == SIGTERM && ignored.ssi_pid == 0)
            leave_soon(agent); /* the engine stops the container; a program in it has a pid */
    }
    for (;;) {
        info.si_pid = 0;
        if (syscall(SYS_waitid, P_ALL, 0, &info, WEXITED | WNOHANG, &usage) < 0 || info.si_pid == 0)
            return;
        on_child_end(agent, &info, &usage);
    }
}

static void on_timer(struct agent *agent)
{
    uint64_t expirations;

    if (read(agent->timer, &expirations, sizeof expirations) <= 0)
        return;
    agent->timer_armed_us = 0;
    if (!agent->timer_us || sys_now_us() < agent->timer_us) {
        timer_set(agent, agent->timer_us);
        return;
    }
    agent->timer_us = 0;
    version_on_timer(agent);
    run_on_timer(agent);
}

static void on_hold_timer(struct agent *agent)
{
    uint64_t expirations;

    (void)!read(agent->hold_timer, &expirations, sizeof expirations);
    agent->hold_timer_us = 0; /* what was held is settled after every round */
}

static void on_event(struct agent *agent, uint64_t event)
{
    unsigned index = (event >> 8) & 0xffffff, which = event & 0xff;

    switch ((enum event_kind)(event >> 32)) {
    case EVENT_STDIN:
        wire_on_readable(agent);
        break;
    case EVENT_DIRECT:
        wire_on_direct_readable(agent);
        break;
    case EVENT_STDOUT:
        break; /* flushed after every round */
    case EVENT_SIGNALS:
        on_signals(agent);
        break;
    case EVENT_TIMER:
        on_timer(agent);
        break;
    case EVENT_HOLD:
        on_hold_timer(agent);
        break;
    case EVENT_SLOT:
        slot_on_event(agent, &agent->slots[index], which);
        break;
    case EVENT_ZYGOTE:
        zygote_on_readable(agent, &agent->langs[index],
                           which ? &agent->langs[index].next : &agent->langs[index].zygote);
        break;
    }
}

/* What follows from a round of events: answers first, preparations after. */
static void settle(struct agent *agent)
{
    if (agent->out_is_urgent)
        wire_flush(agent);
    run_poke(agent);
    if (!agent->in_paused && agent->in_len > 0)
        wire_process(agent);
    spares_refill(agent);
    version_poke(agent);
    hold_settle(agent);
    if (agent->leaving && agent->run.state == RUN_NONE && agent->out_at == agent->out_len)
        shutdown(STDOUT_FILENO, SHUT_WR); /* the front ends, then we */
}

static void set_up(struct agent *agent)
{
    sigset_t signals;

    umask(0);
    pd_slice_be_short();
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    agent->epoll = epoll_create1(EPOLL_CLOEXEC);
    agent->signals = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    agent->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    agent->hold_timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (agent->epoll < 0 || agent->signals < 0 || agent->timer < 0 || agent->hold_timer < 0)
        abort();
    agent->run.file_fd = -1;
    slots_init(agent);
    poll_change(agent, agent->signals, EPOLLIN, EVENT_SIGNALS, 0, 0);
    poll_change(agent, agent->timer, EPOLLIN, EVENT_TIMER, 0, 0);
    poll_change(agent, agent->hold_timer, EPOLLIN, EVENT_HOLD, 0, 0);
    wire_init(agent);
}

int main(int argc, char **argv)
{
    struct agent *agent = &the_agent;
    struct epoll_event events[EVENTS_AT_ONCE];

#ifdef PD_AGENT_ECS
    agent->front = ecs_begin(argc, argv);
#else
    (void)argc;
    (void)argv;
#endif
    set_up(agent);
    for (;;) {
        int n = epoll_wait(agent->epoll, events, EVENTS_AT_ONCE, -1);
        for (int i = 0; i < n; i++)
            on_event(agent, events[i].data.u64);
        if (n < 0 && errno != EINTR)
            return 1;
        settle(agent);
    }
}
