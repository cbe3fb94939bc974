/* A run's output, from its pipes into frames: under credit, up to its cap, and
 * counted beyond. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/sys.h"

static void count_output(struct run *run, int stream, ssize_t len)
{
    if (stream == 1)
        run->out_bytes += len;
    else
        run->err_bytes += len;
    if (!run->has_output) {
        run->has_output = true;
        run->first_output_us = sys_now_us();
    }
}

static void deliver(struct agent *agent, int stream, const char *data, size_t len)
{
    struct run *run = &agent->run;
    struct pd_wire wire;
    int64_t left = run->output_max - run->delivered;

    if ((int64_t)len > left)
        len = (size_t)left;
    if (len == 0)
        return;
    wire = wire_begin(agent, stream == 1 ? PD_FRAME_OUT : PD_FRAME_ERR);
    pd_wire_bytes(&wire, PD_FIELD_DATA, data, len);
    wire_end(agent, &wire);
    hold_output(agent);
    run->delivered += (int64_t)len;
    run->window -= (int64_t)len;
}

bool output_may_read(const struct agent *agent)
{
    const struct run *run = &agent->run;

    return run->delivered >= run->output_max ||
           (run->window > 0 && wire_room(agent) > PD_FRAME_BYTES_MAX);
}

/* Once around: false at the end of this stream, or when nothing is there now. */
static bool pump_once(struct agent *agent, int stream, int *fd)
{
    static char data[PD_FRAME_DATA_MAX];
    struct run *run = &agent->run;
    size_t want = sizeof data;
    ssize_t n;

    if (run->delivered < run->output_max && (int64_t)want > run->window)
        want = (size_t)run->window;
    n = read(*fd, data, want);
    if (n < 0 && errno != EIO) /* which a terminal says when the last has let go of it */
        return errno == EINTR;
    if (n <= 0) {
        sys_close(fd);
        return false;
    }
    count_output(run, stream, n);
    deliver(agent, stream, data, (size_t)n);
    if (run->out_bytes + run->err_bytes > run->output_max * OUTPUT_KILL_FACTOR &&
        run->out_bytes + run->err_bytes > OUTPUT_KILL_BYTES_MIN)
        run_kill(agent, CAUSE_OUTPUT);
    return true;
}

void output_drain(struct agent *agent)
{
    struct slot *slot = agent->run.slot;

    for (int stream = 1; stream <= 2; stream++) {
        int *fd = stream == 1 ? &slot->stdout_r : &slot->stderr_r;
        while (*fd >= 0 && output_may_read(agent) && pump_once(agent, stream, fd))
            continue;
    }
}

void output_on_readable(struct agent *agent, int stream)
{
    struct run *run = &agent->run;
    int *fd = stream == 1 ? &run->slot->stdout_r : &run->slot->stderr_r;

    /* A few rounds, then others get their turn. */
    for (int i = 0; i < 4 && *fd >= 0 && output_may_read(agent) && pump_once(agent, stream, fd);
         i++)
        continue;
    if (*fd >= 0 && !output_may_read(agent))
        slot_watch_output(agent, run->slot, false);
    if (run->state == RUN_DRAIN)
        run_advance(agent);
}
