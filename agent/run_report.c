/* How a run ended, and what it used: its EXIT frame. */
#include <signal.h>

#include "agent/agent.h"
#include "agent/sys.h"

static enum cause find_cause(struct agent *agent)
{
    struct run *run = &agent->run;
    int64_t kills = platform_oom_kills(&agent->platform);
    bool oom = kills > agent->oom_kills;
    bool killed =
        run->end.by_signal ? run->end.status == SIGKILL : run->end.status == 128 + SIGKILL;

    agent->oom_kills = kills;
    if (run->killed)
        return run->cause;
    if (oom && killed)
        return CAUSE_MEMORY;
    return run->end.by_signal ? CAUSE_SIGNALED : CAUSE_EXITED;
}

bool run_is_truncated(const struct run *run)
{
    return run->out_bytes + run->err_bytes > run->delivered;
}

/* What the program and those it waited for have used; where the limit of the
 * whole cell was passed, what was counted against that. */
static int64_t cpu_used(const struct agent *agent, enum cause cause)
{
    const struct run *run = &agent->run;

    if (cause == CAUSE_CPU)
        return platform_cpu_us(&agent->platform) - run->cpu_before_us;
    return run->end.cpu_us;
}

void run_report(struct agent *agent)
{
    struct run *run = &agent->run;
    int64_t now = sys_now_us();
    int64_t first = run->has_output ? run->first_output_us : run->ended_us;
    int64_t compiled_us = run->compile_failed ? 0 : run->compile_took_us;
    int64_t stages[4] = {run->started_us - run->received_us - compiled_us, first - run->started_us,
                         run->ended_us - first, now - run->ended_us};
    enum cause cause = find_cause(agent);
    struct pd_wire wire = wire_begin(agent, PD_FRAME_EXIT);

    pd_wire_number(&wire, PD_FIELD_CAUSE, cause);
    pd_wire_number(&wire, PD_FIELD_EXIT_CODE,
                   (uint64_t)(run->end.by_signal ? 128 + run->end.status : run->end.status));
    if (run->end.by_signal)
        pd_wire_number(&wire, PD_FIELD_SIGNO, (uint64_t)run->end.status);
    pd_wire_number(&wire, PD_FIELD_START, run->slot->start);
    if (run->compile_took_us > 0)
        pd_wire_number(&wire, PD_FIELD_COMPILE_US, (uint64_t)run->compile_took_us);
    if (run->compile_failed)
        pd_wire_flag(&wire, PD_FIELD_COMPILE_FAILED);
    pd_wire_number(&wire, PD_FIELD_STDOUT_BYTES, (uint64_t)run->out_bytes);
    pd_wire_number(&wire, PD_FIELD_STDERR_BYTES, (uint64_t)run->err_bytes);
    if (run->compile_truncated || run_is_truncated(run))
        pd_wire_flag(&wire, PD_FIELD_TRUNCATED);
    pd_wire_number(&wire, PD_FIELD_WALL_US, (uint64_t)(run->ended_us - run->started_us));
    pd_wire_number(&wire, PD_FIELD_CPU_US, (uint64_t)cpu_used(agent, cause));
    pd_wire_number(&wire, PD_FIELD_MEMORY_PEAK, (uint64_t)run->end.maxrss_bytes);
    pd_wire_number(&wire, PD_FIELD_MEMORY_METHOD, 1);
    for (int i = 0; i < 4; i++)
        pd_wire_number(&wire, PD_FIELD_STAGE_US, (uint64_t)(stages[i] > 0 ? stages[i] : 0));
    wire_end(agent, &wire);
}
