/* Slots: cells, and what is in them.
 *
 *   FREE -> MAKING -> BARE ---------------------> RUNNING -> ENDING -> FREE
 *                 \-> JOINING -> READY ---------/
 *
 * Whatever fails on the way goes to ENDING: the init is killed, the kernel
 * kills the rest, and the slot is free when both have been waited for. */
#include <signal.h>
#include <sys/epoll.h>

#include "agent/agent.h"
#include "agent/program.h"
#include "agent/sweep.h"
#include "agent/sys.h"

static void reset(struct slot *slot)
{
    *slot = (struct slot){.state = SLOT_FREE,
                          .stdin_w = -1,
                          .stdout_r = -1,
                          .stderr_r = -1,
                          .go_w = -1,
                          .ready_r = -1};
    cell_init(&slot->cell);
    proc_init(&slot->proc);
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
    proc_close(&slot->proc);
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

void slot_watch_output(struct agent *agent, struct slot *slot, bool on)
{
    unsigned i = slot_index(agent, slot);
    unsigned events = on ? EPOLLIN : 0;

    if (slot->stdout_r >= 0)
        poll_change(agent, slot->stdout_r, events, EVENT_SLOT, i, SLOT_OUT);
    if (slot->stderr_r >= 0)
        poll_change(agent, slot->stderr_r, events, EVENT_SLOT, i, SLOT_ERR);
}

bool slot_launch(struct agent *agent, struct slot *slot, const char *const *argv,
                 const char *const *env, bool on_terminal)
{
    struct program_ends ends;
    int fds[PD_JOIN_COUNT];

    if (!(on_terminal ? program_make_terminal(agent, slot, &ends)
                      : program_make_pipes(slot, &ends, false))) {
        program_close_ends(&ends);
        return false;
    }
    program_join_fds(slot, &ends, fds);
    slot->prog = program_fork(agent, slot, fds, argv, env);
    program_close_ends(&ends);
    if (slot->prog <= 0) {
        slot->prog = 0;
        return false;
    }
    return true;
}

/* ---- making ---- */

static void on_cell_ready(struct agent *agent, struct slot *slot)
{
    if (!slot->lang) {
        slot->state = SLOT_BARE;
        run_on_slot_ready(agent, slot);
    } else if (!spare_start(agent, slot)) {
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
            poll_change(agent, slot->cell.ctl, EPOLLIN, EVENT_SLOT, i, SLOT_CTL);
        else
            on_cell_ready(agent, slot);
        return slot->state == SLOT_FREE || slot->state == SLOT_ENDING ? NULL : slot;
    }
    return NULL;
}

/* ---- events ---- */

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
        spare_on_readable(agent, slot);
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
