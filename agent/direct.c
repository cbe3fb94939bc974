/* The direct pipes: a shorter way to the service than the engine's attach
 * stream, where both see one file system.
 *
 * The container has a folder of the service's, bound read-only. Asked to (MOVE),
 * the agent opens the two FIFOs in it, says the secret that the MOVE brought, and
 * both go on with their frames there; nothing is on the way then, since a MOVE
 * comes right after the first HELLO, and the FIFOs have no name from then on.
 * When the service's end closes, or a new attacher speaks on stdin, the agent is
 * back on stdin and stdout, and whatever ran is given up.
 *
 * The folder is covered before the first cell is made, so the agent keeps it
 * open. Pipes, not a socket: a socket shows in /proc/net/unix of every program. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/sys.h"

void direct_init(struct agent *agent)
{
    agent->direct_dir = open(PD_DIRECT_FOLDER, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int open_end(const struct agent *agent, const char *name, int mode)
{
    return openat(agent->direct_dir, name, mode | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
}

/* 0, or an errno. What was said before must have left first. */
static int open_direct(struct agent *agent, const struct pd_frame *frame, int *ret_in, int *ret_out)
{
    struct pd_fields fields;
    struct pd_field field;

    wire_flush(agent);
    if (agent->run.state != RUN_NONE || wire_is_direct(agent) || agent->out_len > agent->out_at)
        return EBUSY;
    pd_fields_init(&fields, frame->payload, frame->payload_len);
    if (!pd_fields_next(&fields, &field) || field.tag != PD_FIELD_DATA ||
        field.len != PD_DIRECT_SECRET_BYTES)
        return EINVAL;
    *ret_in = open_end(agent, PD_DIRECT_TO_AGENT, O_RDONLY);
    if (*ret_in >= 0)
        *ret_out = open_end(agent, PD_DIRECT_TO_SERVICE, O_WRONLY);
    if (*ret_in < 0 || *ret_out < 0)
        return errno;
    return write(*ret_out, field.data, field.len) == (ssize_t)field.len ? 0 : EIO;
}

void direct_on_move(struct agent *agent, const struct pd_frame *frame)
{
    int in = -1, out = -1;
    int error = open_direct(agent, frame, &in, &out);
    struct pd_wire wire = wire_begin(agent, PD_FRAME_MOVED);

    if (error)
        pd_wire_text(&wire, PD_FIELD_ERROR, strerror(error));
    wire_end(agent, &wire);
    wire_flush(agent);
    if (error) {
        sys_close(&in);
        sys_close(&out);
        return;
    }
    if (agent->out_len > agent->out_at)
        _exit(1); /* the pipe was empty before this frame: something is very wrong */
    wire_use(agent, in, out);
}

void direct_end(struct agent *agent)
{
    int in = agent->in_fd, out = agent->out_fd;

    run_abandon(agent);
    agent->attached = false;
    agent->in_len = 0;
    agent->out_at = agent->out_len = 0;
    poll_change(agent, in, 0, EVENT_DIRECT, 0, 0);
    poll_change(agent, out, 0, EVENT_STDOUT, 0, 0);
    wire_use(agent, STDIN_FILENO, STDOUT_FILENO);
    close(in);
    close(out);
}
