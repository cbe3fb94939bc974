/* What may wait a moment before it is sent.
 *
 * A message through an engine's attach stream wakes three processes; for a small
 * run that is more work than the run itself. So what a run says in its first
 * milliseconds is held back, shortly, for what follows: STARTED, a first line and
 * the EXIT of a program that only prints a line leave as one message. A program
 * that lives longer is not held back at all. News of spares, which only help the
 * service to choose, wait longer, and go along with whatever is sent before. */
#include "agent/agent.h"
#include "agent/sys.h"

#define YOUNG_US 5000      /* a run's age up to which its words are held */
#define HOLD_OUTPUT_US 400 /* for so long, from the first that is not sent */
#define HOLD_STARTED_US 2000
#define HOLD_SPARES_US 20000
#define HOLD_BYTES_MAX 8192 /* more is worth a message of its own */

void hold_output(struct agent *agent)
{
    if (!agent->held_output_us)
        agent->held_output_us = sys_now_us();
}

void hold_spares(struct agent *agent)
{
    agent->spares_changed = true;
    if (!agent->held_spares_us)
        agent->held_spares_us = sys_now_us();
}

/* 0: now; else until when. */
static int64_t hold_frames(const struct agent *agent, int64_t now)
{
    const struct run *run = &agent->run;
    int64_t until = run->started_us + HOLD_STARTED_US;

    if (agent->out_is_urgent || agent->out_len - agent->out_at > HOLD_BYTES_MAX ||
        run->state != RUN_ACTIVE || now - run->started_us > YOUNG_US)
        return 0;
    if (agent->held_output_us)
        until = agent->held_output_us + HOLD_OUTPUT_US;
    return until > now ? until : 0;
}

/* Look at the pipes of a run that is no longer young; else when to. */
static int64_t watch(struct agent *agent, int64_t now)
{
    struct run *run = &agent->run;

    if (run->state != RUN_ACTIVE || !run->watch_at_us)
        return 0;
    if (now < run->watch_at_us)
        return run->watch_at_us;
    run->watch_at_us = 0;
    slot_watch_output(agent, run->slot, true);
    return 0;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a && (!b || a < b) ? a : b;
}

void hold_settle(struct agent *agent)
{
    int64_t now = sys_now_us(), frames = 0, spares = 0;

    if (agent->spares_changed && agent->attached)
        spares = agent->held_spares_us + HOLD_SPARES_US;
    if (agent->out_at < agent->out_len) {
        frames = hold_frames(agent, now);
        if (!frames)
            wire_flush(agent);
    }
    if (spares && now >= spares) {
        wire_tell_spares(agent);
        wire_flush(agent);
        spares = 0;
    }
    hold_timer_set(agent, earlier(watch(agent, now), earlier(frames, spares)));
}
