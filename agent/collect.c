/* Artifacts, the agent's side: ask whoever reads the run's files, and forward
 * what comes under the same credit as output. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/artifact.h"
#include "agent/sys.h"

_Static_assert(ARTIFACT_PATH_BYTES == ARTIFACT_PATH_MAX, "one bound for an artifact's path");
_Static_assert(ARTIFACT_GLOBS_BYTES == ARTIFACT_GLOBS_BYTES_MAX, "one bound for the globs");

/* Without an init a child reads them, as the run's own user. */
static int fork_reader(struct agent *agent, const char *request, size_t len)
{
    static char globs[ARTIFACT_GLOBS_BYTES_MAX];
    struct slot *slot = agent->run.slot;
    int socks[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
        return -errno;
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (slot->uid && (setresgid(slot->uid, slot->uid, slot->uid) < 0 ||
                          setresuid(slot->uid, slot->uid, slot->uid) < 0))
            _exit(1);
        memcpy(globs, request + 1, len - 1);
        artifact_collect(socks[1], slot->cell.dirfd, globs, len - 1);
        _exit(0);
    }
    close(socks[1]);
    slot->cell.ctl = socks[0];
    poll_change(agent, socks[0], EPOLLIN, EVENT_SLOT, slot_index(agent, slot), SLOT_CTL);
    return pid < 0 ? -EAGAIN : 0;
}

int artifact_ask(struct agent *agent, const char *request, size_t len)
{
    struct slot *slot = agent->run.slot;

    if (slot->cell.init > 0 && slot->cell.ctl >= 0)
        return sys_send_fds(slot->cell.ctl, request, len, NULL, 0);
    if (agent->confine.has_cell)
        return -ECHILD; /* the init is gone, and the files with it */
    return fork_reader(agent, request, len);
}

static void forward(struct agent *agent, char type, const char *data, size_t len)
{
    struct run *run = &agent->run;
    struct pd_wire wire = wire_begin(agent, PD_FRAME_ARTIFACT);
    const char *reason = type == 'X' ? memchr(data, '\0', len) : NULL;

    pd_wire_text(&wire, PD_FIELD_PATH, run->artifact_path);
    if (type == 'D')
        pd_wire_bytes(&wire, PD_FIELD_DATA, data, len);
    if (reason)
        pd_wire_text(&wire, PD_FIELD_ERROR, reason + 1);
    if (type != 'D')
        pd_wire_flag(&wire, PD_FIELD_LAST);
    wire_end(agent, &wire);
    if (type == 'D')
        run->window -= (int64_t)len;
}

static void keep_path(struct run *run, const char *data, size_t len)
{
    size_t path_len = strnlen(data, len);

    if (path_len >= sizeof run->artifact_path)
        path_len = sizeof run->artifact_path - 1;
    memcpy(run->artifact_path, data, path_len);
    run->artifact_path[path_len] = '\0';
}

static void watch(struct agent *agent, bool on)
{
    struct slot *slot = agent->run.slot;

    if (slot->cell.ctl >= 0)
        poll_change(agent, slot->cell.ctl, on ? EPOLLIN : 0, EVENT_SLOT, slot_index(agent, slot),
                    SLOT_CTL);
}

void artifact_resume(struct agent *agent)
{
    watch(agent, true);
}

bool artifact_forward(struct agent *agent)
{
    static char message[ARTIFACT_PIECE_MAX + 2];
    struct run *run = &agent->run;
    size_t none = 0;
    ssize_t len;

    if (run->window <= 0 || wire_room(agent) <= PD_FRAME_BYTES_MAX) {
        watch(agent, false);
        return true;
    }
    len = sys_recv_fds(run->slot->cell.ctl, message, sizeof message - 1, NULL, &none, SYS_NO_WAIT);
    if (len == -EINTR || len == -EAGAIN)
        return true;
    if (len <= 0 || message[0] == 'Z')
        return false;
    message[len] = '\0';
    if (message[0] == 'F' || message[0] == 'X')
        keep_path(run, message + 1, (size_t)len - 1);
    if (message[0] != 'F')
        forward(agent, message[0], message + 1, (size_t)len - 1);
    return true;
}
