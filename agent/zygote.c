/* Zygotes: an interpreter that has started and imported, and forks spares. It
 * never runs a program. It lives in the agent's namespaces, with what it takes
 * to put a child into a cell (CAP_SYS_ADMIN and CAP_SYS_CHROOT in the agent's
 * user namespace only); the child gives all of it up before it runs anything. */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/sys.h"
#include "agent/zygote_proto.h"

static unsigned index_of(const struct agent *agent, const struct lang *lang)
{
    return (unsigned)(lang - agent->langs);
}

/* Ambient, so that they outlive the exec of the interpreter. */
static bool keep_capabilities(void)
{
    static const int needed[] = {CAP_SYS_ADMIN, CAP_SYS_CHROOT};
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];

    if (syscall(SYS_capget, &header, data) < 0)
        return false;
    data[0].inheritable = data[0].permitted;
    data[1].inheritable = data[1].permitted;
    if (syscall(SYS_capset, &header, data) < 0)
        return false;
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, needed[i], 0, 0) < 0)
            return false;
    }
    return true;
}

static _Noreturn void zygote_main(struct agent *agent, const struct lang *lang, int sock)
{
    const char *env[RUN_ENV_MAX];
    char preload[1024] = "PADDOCK_PRELOAD=";
    sigset_t none;
    size_t n;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(022);
    if (agent->confine.has_cell && !keep_capabilities())
        _exit(1);
    if (dup2(sock, PD_ZYGOTE_FD) < 0 || syscall(SYS_close_range, PD_ZYGOTE_FD + 1, ~0U, 0) < 0)
        _exit(1);
    (void)!freopen("/dev/null", "r", stdin);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    (void)!chdir(CELL_WORKSPACE);
    lang_env(agent, lang, env, RUN_ENV_MAX - 2);
    for (n = 0; env[n]; n++)
        continue;
    for (size_t i = 0; agent->preload[i]; i++) {
        size_t used = strlen(preload);
        snprintf(preload + used, sizeof preload - used, "%s%s", i ? "," : "", agent->preload[i]);
    }
    env[n] = "PADDOCK_SPARE=zygote";
    env[n + 1] = preload;
    env[n + 2] = NULL;
    execvpe(lang->spare[0], (char *const *)(uintptr_t)lang->spare, (char *const *)(uintptr_t)env);
    _exit(127);
}

static void send_confine(const struct agent *agent, struct zygote *zygote)
{
    struct {
        struct zygote_message head;
        struct pd_confine confine;
    } message = {.head = {.type = ZYGOTE_CONFINE}, .confine = agent->confine};

    message.confine.oom_score = OOM_SCORE_SPARE;
    sys_send_fds(zygote->sock, &message,
                 offsetof(__typeof__(message), confine) + PD_CONFINE_BYTES(&agent->confine), NULL,
                 0);
}

void zygote_start(struct agent *agent, struct lang *lang, struct zygote *zygote)
{
    int socks[2];

    zygote->state = ZYGOTE_FAILED;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
        return;
    zygote->pid = fork();
    if (zygote->pid == 0)
        zygote_main(agent, lang, socks[1]);
    close(socks[1]);
    if (zygote->pid < 0) {
        close(socks[0]);
        return;
    }
    zygote->state = ZYGOTE_STARTING;
    zygote->sock = socks[0];
    zygote->forks = 0;
    poll_change(agent, zygote->sock, EPOLLIN, EVENT_ZYGOTE, index_of(agent, lang),
             zygote == &lang->next);
    send_confine(agent, zygote);
}

static void lose_joining(struct agent *agent, const struct lang *lang, const struct zygote *zygote)
{
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &agent->slots[i];
        if (slot->zygote == zygote && slot->lang == lang && slot->state == SLOT_JOINING) {
            slot_end(agent, slot);
            run_on_slot_lost(agent, slot);
        }
    }
}

void zygote_fork(struct agent *agent, struct slot *slot, const int *fds)
{
    struct zygote *zygote = &slot->lang->zygote;
    struct zygote_message message = {
        .type = ZYGOTE_FORK,
        .ticket = ++agent->tickets,
        .uid = slot->uid,
    };
    int first = agent->confine.has_cell ? 0 : PD_JOIN_STDIN;

    slot->zygote = zygote;
    slot->ticket = message.ticket;
    sys_send_fds(zygote->sock, &message, sizeof message, fds + first,
                 (size_t)(PD_JOIN_COUNT - first));
    if (++zygote->forks >= ZYGOTE_FORKS_MAX && slot->lang->next.state == ZYGOTE_NONE)
        zygote_start(agent, slot->lang, &slot->lang->next);
}

static struct slot *slot_of(struct agent *agent, pid_t pid)
{
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        if (agent->slots[i].prog == pid && agent->slots[i].state != SLOT_FREE)
            return &agent->slots[i];
    }
    return NULL;
}

static struct slot *slot_of_ticket(struct agent *agent, uint32_t ticket)
{
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &agent->slots[i];
        if (slot->zygote && slot->ticket == ticket && slot->state == SLOT_JOINING)
            return slot;
    }
    return NULL;
}

static void on_forked(struct agent *agent, const struct zygote_message *message)
{
    struct slot *slot = slot_of_ticket(agent, message->ticket);

    if (!slot)
        return; /* given up meanwhile; the child died with its cell */
    if (message->pid > 0) {
        slot->prog = message->pid;
        spare_check_ready(agent, slot);
        return;
    }
    slot->zygote = NULL;
    slot_end(agent, slot);
    run_on_slot_lost(agent, slot);
}

static void on_ended(struct agent *agent, const struct zygote_message *message)
{
    struct slot *slot = slot_of(agent, message->pid);
    struct end end = {
        .known = true,
        .by_signal = message->by_signal != 0,
        .status = message->status,
        .cpu_us = message->cpu_us,
        .maxrss_bytes = message->maxrss_bytes,
    };

    if (!slot)
        return;
    if (slot->state == SLOT_RUNNING)
        run_on_prog_end(agent, &end);
    slots_on_exit(agent, message->pid);
}

/* What a dead zygote has said, and what it has kept to itself: it may have waited for a
 * child of its own and died before it told. The others' ends come to the agent. */
static void settle_dead(struct agent *agent, const struct zygote *zygote)
{
    struct zygote_message message;
    size_t none = 0;

    while (waitpid(zygote->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    while (sys_recv_fds(zygote->sock, &message, sizeof message, NULL, &none, SYS_NO_WAIT) ==
           (ssize_t)sizeof message) {
        if (message.type == ZYGOTE_ENDED)
            on_ended(agent, &message);
    }
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &agent->slots[i];
        if (slot->state == SLOT_FREE || slot->zygote != zygote || slot->prog <= 0 ||
            kill(slot->prog, 0) == 0 || errno != ESRCH)
            continue;
        if (slot->state == SLOT_RUNNING)
            wire_fault(agent, "a zygote died with the end of a program");
        slots_on_exit(agent, slot->prog);
    }
}

/* The next one stands ready beside the old one: it takes over. What the old one forked
 * stays; its orphans come to the agent. */
static void replace(struct agent *agent, struct lang *lang)
{
    int failed = lang->spares_failed;

    if (lang->zygote.sock >= 0) { /* else it is gone already */
        lose_joining(agent, lang, &lang->zygote);
        kill(lang->zygote.pid, SIGKILL);
        settle_dead(agent, &lang->zygote);
        close(lang->zygote.sock);
    }
    lang->spares_failed = failed; /* those that it was about to fork have not failed */
    poll_change(agent, lang->next.sock, 0, EVENT_ZYGOTE, 0, 0);
    lang->zygote = lang->next;
    lang->next = (struct zygote){.sock = -1};
    poll_change(agent, lang->zygote.sock, EPOLLIN, EVENT_ZYGOTE, index_of(agent, lang), 0);
}

void zygotes_take_over(struct agent *agent)
{
    for (size_t i = 0; i < agent->n_langs; i++) {
        if (agent->langs[i].next.state == ZYGOTE_READY)
            replace(agent, &agent->langs[i]);
    }
}

static void on_gone(struct agent *agent, struct lang *lang, struct zygote *zygote)
{
    bool was_starting = zygote->state == ZYGOTE_STARTING;

    poll_change(agent, zygote->sock, 0, EVENT_ZYGOTE, 0, 0);
    kill(zygote->pid, SIGKILL);
    settle_dead(agent, zygote);
    sys_close(&zygote->sock);
    /* One that cannot even start would fail again: spares are exec'd instead. */
    zygote->state = was_starting ? ZYGOTE_FAILED : ZYGOTE_NONE;
    lose_joining(agent, lang, zygote);
}

void zygote_on_readable(struct agent *agent, struct lang *lang, struct zygote *zygote)
{
    struct zygote_message message;
    size_t none = 0;
    ssize_t len;

    if (zygote->sock < 0)
        return;
    len = sys_recv_fds(zygote->sock, &message, sizeof message, NULL, &none, SYS_NO_WAIT);
    if (len == -EINTR || len == -EAGAIN)
        return;
    if (len != (ssize_t)sizeof message) {
        on_gone(agent, lang, zygote);
        return;
    }
    switch (message.type) {
    case ZYGOTE_IS_READY:
        zygote->state = ZYGOTE_READY;
        spares_refill(agent);
        break;
    case ZYGOTE_FORKED:
        on_forked(agent, &message);
        break;
    case ZYGOTE_ENDED:
        on_ended(agent, &message);
        break;
    default:
        break;
    }
}

static void stop_starting(struct agent *agent, struct lang *lang, struct zygote *zygote)
{
    if (zygote->state != ZYGOTE_STARTING)
        return;
    on_gone(agent, lang, zygote);
    zygote->state = ZYGOTE_NONE; /* it has not failed */
}

void zygotes_stop_starting(struct agent *agent)
{
    for (size_t i = 0; i < agent->n_langs; i++) {
        stop_starting(agent, &agent->langs[i], &agent->langs[i].zygote);
        stop_starting(agent, &agent->langs[i], &agent->langs[i].next);
    }
}

bool zygotes_on_exit(struct agent *agent, pid_t pid)
{
    for (size_t i = 0; i < agent->n_langs; i++) {
        struct lang *lang = &agent->langs[i];
        if (lang->zygote.pid == pid || lang->next.pid == pid)
            return true; /* its socket's end tells the rest */
    }
    return false;
}
