/* One run: from its RUN frame to its EXIT frame.
 *
 *   NONE -> WAIT -> FILES -> ACTIVE -> DRAIN -> (COLLECT) -> NONE
 *
 * A run has exactly one cause of its end. Its slot's cell is killed before the
 * EXIT is sent, and no further run begins until everything in it is gone. */
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/sweep.h"
#include "agent/sys.h"

#define WAIT_US INT64_C(1000000) /* for a spare that is coming; then without it */
/* For so long a program that was waited for with a spare is left alone with its
 * pipes: most small ones are done by then, and each look at what they print as they
 * print it would take the processor from them twice. */
#define UNWATCHED_US 1000
#define CPU_CHECK_US INT64_C(20000)

/* ---- starting ---- */

static void say_stage(struct agent *agent, const char *name)
{
    struct pd_wire wire = wire_begin(agent, PD_FRAME_STAGE);

    pd_wire_text(&wire, PD_FIELD_NAME, name);
    wire_end(agent, &wire);
}

static void arm_timer(struct agent *agent)
{
    struct run *run = &agent->run;
    int64_t at = run->deadline_us;

    if (run->cpu_us && !run->compiling && run->cpu_check_us < at)
        at = run->cpu_check_us;
    timer_set(agent, at);
}

static void stage_begin(struct agent *agent)
{
    struct run *run = &agent->run;

    run->end = (struct end){.known = false};
    run->state = RUN_ACTIVE;
    run->deadline_us = sys_now_us() + (run->compiling ? run->compile_us : run->timeout_us);
    if (run->cpu_us) {
        run->cpu_before_us = platform_cpu_us(&agent->platform);
        run->cpu_check_us = sys_now_us() + CPU_CHECK_US;
    }
    arm_timer(agent);
}

static void could_not_start(struct agent *agent)
{
    struct run *run = &agent->run;

    run->end = (struct end){.known = true, .status = 126};
    run->ended_us = sys_now_us();
    run->state = RUN_DRAIN;
    sys_close(&run->slot->stdout_r);
    sys_close(&run->slot->stderr_r);
    run_advance(agent);
}

static void begin_program(struct agent *agent)
{
    static char message[GO_BYTES_MAX];
    struct run *run = &agent->run;
    struct slot *slot = run->slot;
    size_t len;
    bool ok;

    stage_begin(agent);
    if (slot->is_ready) {
        /* Before it is told to begin: what it forks is to die first too. What is exec'd
         * was told at its start. */
        proc_set_oom_score(&slot->proc, OOM_SCORE_RUN);
        ok = request_go(run, message, &len) && write(slot->go_w, message, len) == (ssize_t)len;
        sys_close(&slot->go_w);
    } else {
        ok = request_launch(agent, run->lang->run, true);
    }
    if (!ok) {
        could_not_start(agent);
        return;
    }
    if (slot->is_ready) {
        poll_change(agent, slot->ready_r, EPOLLIN, EVENT_SLOT, slot_index(agent, slot), SLOT_READY_FD);
        run->watch_at_us = run->started_us + UNWATCHED_US;
    } else {
        slot_watch_output(agent, slot, true);
    }
    input_on_writable(agent);
}

static void begin_compiler(struct agent *agent)
{
    struct run *run = &agent->run;

    run->compiling = true;
    stage_begin(agent);
    say_stage(agent, "compile");
    if (!request_launch(agent, run->lang->compile, false)) {
        could_not_start(agent);
        return;
    }
    sys_close(&run->slot->stdin_w);
    slot_watch_output(agent, run->slot, true);
}

void run_start(struct agent *agent)
{
    struct run *run = &agent->run;
    struct pd_wire wire = wire_begin(agent, PD_FRAME_STARTED);

    pd_wire_number(&wire, PD_FIELD_START, run->slot->start);
    wire_end(agent, &wire);
    run->started_us = sys_now_us();
    if (run->lang->compile[0])
        begin_compiler(agent);
    else
        begin_program(agent);
}

static void take_slot(struct agent *agent, struct slot *slot)
{
    struct run *run = &agent->run;

    if (slot->state == SLOT_READY)
        hold_spares(agent);
    slot->state = SLOT_RUNNING;
    run->slot = slot;
    run->state = RUN_FILES;
    timer_set(agent, 0);
    if (!agent->confine.has_cell)
        slots_stop_starting(agent);
    if (!sweep_files(agent, slot->uid)) {
        wire_fault(agent, "the workspace could not be emptied");
        return;
    }
    request_write_code(agent);
    wire_pause(agent, false);
    if (!run->more)
        run_start(agent);
}

/* ---- choosing a slot ---- */

static struct slot *find_slot(struct agent *agent, const struct lang *lang, enum slot_state from,
                              enum slot_state to)
{
    struct slot *best = NULL;

    for (size_t i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &agent->slots[i];
        if (slot->lang != lang || slot->state < from || slot->state > to)
            continue;
        if (!best || slot->state > best->state ||
            (slot->state == best->state && slot->since_us < best->since_us))
            best = slot;
    }
    return best;
}

static void choose_slot(struct agent *agent)
{
    struct run *run = &agent->run;
    struct slot *slot = NULL;

    if (slots_ending(agent))
        return; /* until the last run is gone for good */
    if (request_fits_spare(run))
        slot = find_slot(agent, run->lang, SLOT_MAKING, SLOT_READY);
    if (!slot)
        slot = find_slot(agent, NULL, SLOT_MAKING, SLOT_BARE);
    if (!slot) {
        slot = slot_make(agent, NULL);
        if (slot)
            slot->start = START_COLD;
    }
    run->slot = slot;
    if (!slot) {
        wire_fault(agent, "no cell could be made");
        run->state = RUN_NONE;
        return;
    }
    if (slot->state == SLOT_READY || slot->state == SLOT_BARE)
        take_slot(agent, slot);
}

void run_on_slot_ready(struct agent *agent, struct slot *slot)
{
    struct run *run = &agent->run;

    if (run->state == RUN_WAIT && run->slot == slot)
        take_slot(agent, slot);
}

void run_on_slot_lost(struct agent *agent, struct slot *slot)
{
    struct run *run = &agent->run;

    if (run->slot == slot && run->state == RUN_WAIT)
        run->slot = NULL; /* another is chosen when this one is gone */
}

void run_begin(struct agent *agent, const struct pd_frame *frame)
{
    struct run *run = &agent->run;
    struct pd_fields fields;
    struct pd_field field;
    struct lang *lang = NULL;

    if (run->state != RUN_NONE) {
        wire_fault(agent, "a second run");
        return;
    }
    if (agent->platform.isolation == ISOLATION_CONTAINER && agent->runs > 0) {
        wire_fault(agent, "a second run, where nothing would stand between it and the first");
        return;
    }
    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag == PD_FIELD_NAME)
            lang = lang_find(agent, (const char *)field.data, field.len);
    }
    if (!lang || fields.malformed) {
        wire_fault(agent, "a run of no known language");
        return;
    }
    version_abandon(agent);
    memset(run, 0, offsetof(struct run, frame));
    memcpy(run->frame, frame->payload, frame->payload_len);
    run->frame_len = frame->payload_len;
    run->lang = lang;
    run->file_fd = -1;
    run->compile_us = COMPILE_US;
    run->received_us = sys_now_us();
    lang->used_us = run->received_us;
    request_read(run);
    run->state = RUN_WAIT;
    choose_slot(agent);
    if (run->state == RUN_WAIT) {
        wire_pause(agent, true);
        timer_set(agent, run->received_us + WAIT_US);
    }
}

/* ---- killing ---- */

/* Where no init takes everybody with it. */
static void empty_cell(struct agent *agent)
{
    if (!sweep_processes(agent, agent->run.slot->uid))
        wire_fault(agent, "a program's processes could not be ended");
}

void run_kill(struct agent *agent, enum cause cause)
{
    struct run *run = &agent->run;

    if (run->killed || run->state < RUN_ACTIVE)
        return;
    run->killed = true;
    run->cause = cause;
    if (run->wants_artifacts && run->slot->cell.init > 0 && run->slot->prog > 0)
        kill(run->slot->prog, SIGKILL); /* the init kills the others before it collects */
    else
        cell_kill(&run->slot->cell);
    if (run->slot->prog > 0)
        kill(run->slot->prog, SIGKILL);
    empty_cell(agent);
}

/* ---- the end ---- */

static void finish(struct agent *agent)
{
    struct run *run = &agent->run;
    struct slot *slot = run->slot;

    sys_close(&run->file_fd);
    timer_set(agent, 0);
    agent->runs++;
    run_report(agent);
    if (agent->spares_changed)
        wire_tell_spares(agent);
    wire_flush(agent);
    run->state = RUN_NONE;
    run->slot = NULL;
    slot_end(agent, slot);
    /* At once: what is started from now on must not find what the run left. */
    if (!sweep_files(agent, 0))
        wire_fault(agent, "the workspace could not be emptied");
}

static void collect(struct agent *agent)
{
    static char request[ARTIFACT_GLOBS_BYTES];
    struct run *run = &agent->run;
    const char *globs[64];
    size_t n, len = 1;

    request[0] = 'A';
    n = request_texts(run, PD_FIELD_GLOB, request + 1, sizeof request - 1, globs, 64);
    for (size_t i = 0; i < n; i++)
        len += strlen(globs[i]) + 1;
    run->state = RUN_COLLECT;
    if (n == 0 || artifact_ask(agent, request, len) < 0)
        run->wants_artifacts = false;
}

static bool is_drained(const struct slot *slot)
{
    return slot->stdout_r < 0 && slot->stderr_r < 0;
}

/* The program's own stage: its output has a bound of its own. */
static void begin_anew(struct run *run)
{
    run->compile_truncated = run_is_truncated(run);
    run->out_bytes = run->err_bytes = run->delivered = 0;
    run->has_output = false;
    run->started_us = run->ended_us;
}

static void end_of_compiler(struct agent *agent)
{
    struct run *run = &agent->run;

    sys_close(&run->slot->stdout_r);
    sys_close(&run->slot->stderr_r);
    run->compiling = false;
    run->compile_took_us = run->ended_us - run->started_us;
    if (!run->killed && !run->end.by_signal && run->end.status == 0) {
        begin_anew(run);
        say_stage(agent, "run");
        begin_program(agent);
        return;
    }
    run->compile_failed = true;
    run_advance(agent);
}

/* What remains to be done after a program's end, as far as it can be done now. */
void run_advance(struct agent *agent)
{
    struct run *run = &agent->run;

    if (run->state == RUN_DRAIN && run->compiling) {
        output_drain(agent);
        if (output_may_read(agent)) /* else credit follows, and the rest with it */
            end_of_compiler(agent);
        return;
    }
    if (run->state == RUN_DRAIN && run->wants_artifacts && !run->compile_failed)
        collect(agent);
    if (run->state == RUN_COLLECT && run->wants_artifacts)
        return;
    if (run->end.known && is_drained(run->slot))
        finish(agent);
}

void run_on_prog_end(struct agent *agent, const struct end *end)
{
    struct run *run = &agent->run;

    if (run->state != RUN_ACTIVE)
        return;
    run->end = *end;
    run->ended_us = sys_now_us();
    run->state = RUN_DRAIN;
    timer_set(agent, 0);
    /* Others of the run may live and hold its pipes: they die with the cell. A
     * compiler's cell goes on to the program, an artifact's is the init's work. */
    if (!run->compiling && (!run->wants_artifacts || run->slot->cell.init <= 0)) {
        cell_kill(&run->slot->cell);
        empty_cell(agent);
    }
    output_drain(agent);
    slot_watch_output(agent, run->slot, output_may_read(agent));
    run_advance(agent);
}

void run_on_prog_done(struct agent *agent, int status)
{
    struct run *run = &agent->run;
    struct slot *slot = run->slot;
    struct end end = {.known = true, .status = status};

    if (run->state != RUN_ACTIVE || run->killed)
        return;
    proc_usage(&slot->proc, &end.cpu_us, &end.maxrss_bytes);
    /* All that it printed is in its pipes; their end would come with its own. */
    output_drain(agent);
    if (output_may_read(agent)) {
        sys_close(&slot->stdout_r);
        sys_close(&slot->stderr_r);
    }
    if (slot->prog > 0)
        kill(slot->prog, SIGKILL);
    run_on_prog_end(agent, &end);
}

void run_on_ctl(struct agent *agent)
{
    struct run *run = &agent->run;

    if (run->state != RUN_COLLECT)
        return;
    if (!artifact_forward(agent)) {
        run->wants_artifacts = false;
        cell_kill(&run->slot->cell);
        run_advance(agent);
    }
}

void run_on_timer(struct agent *agent)
{
    struct run *run = &agent->run;
    int64_t now = sys_now_us();

    if (run->state == RUN_WAIT && run->slot) {
        struct slot *late = run->slot;
        run->slot = NULL;
        slot_end(agent, late);
    } else if (run->state == RUN_ACTIVE && now >= run->deadline_us) {
        run_kill(agent, CAUSE_TIMED_OUT);
    } else if (run->state == RUN_ACTIVE && run->cpu_us && !run->compiling) {
        run->cpu_check_us = now + CPU_CHECK_US;
        if (platform_cpu_us(&agent->platform) - run->cpu_before_us > run->cpu_us)
            run_kill(agent, CAUSE_CPU);
        else
            arm_timer(agent);
    }
}

void run_poke(struct agent *agent)
{
    if (agent->run.state == RUN_WAIT && !agent->run.slot)
        choose_slot(agent);
}

void run_abandon(struct agent *agent)
{
    struct run *run = &agent->run;

    if (run->state == RUN_NONE)
        return;
    sys_close(&run->file_fd);
    if (run->state > RUN_WAIT)
        agent->runs++;
    if (run->slot)
        slot_end(agent, run->slot);
    run->slot = NULL;
    run->state = RUN_NONE;
    if (!sweep_files(agent, 0))
        wire_fault(agent, "the workspace could not be emptied");
    timer_set(agent, 0);
    wire_pause(agent, false);
}

void run_cancel(struct agent *agent)
{
    struct run *run = &agent->run;

    if (run->state == RUN_FILES) {
        /* Nothing has begun: there is no program whose end would be told. */
        run->killed = true;
        run->cause = CAUSE_CANCELED;
        run->started_us = run->ended_us = sys_now_us();
        run->end = (struct end){.known = true, .by_signal = true, .status = SIGKILL};
        finish(agent);
        return;
    }
    run_kill(agent, CAUSE_CANCELED);
}
