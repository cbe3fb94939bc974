/* What the service says to the run: each frame to the part that it concerns. */
#include <signal.h>

#include "agent/agent.h"
#include "agent/sys.h"

static void on_window(struct agent *agent, const struct pd_frame *frame)
{
    struct run *run = &agent->run;
    struct pd_fields fields;
    struct pd_field field;

    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag == PD_FIELD_CREDIT)
            run->window += (int64_t)pd_field_number(&field);
    }
    if (run->state >= RUN_ACTIVE) {
        slot_watch_output(agent, run->slot, true);
        if (run->state == RUN_COLLECT)
            artifact_resume(agent);
    }
}

static void on_signal(struct agent *agent, const struct pd_frame *frame)
{
    struct slot *slot = agent->run.slot;
    struct pd_fields fields;
    struct pd_field field;

    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        uint64_t signo = pd_field_number(&field);
        if (field.tag == PD_FIELD_SIGNO && signo >= 1 && signo <= 31 &&
            agent->run.state == RUN_ACTIVE && slot->prog > 0)
            kill(-slot->prog, (int)signo); /* its session's group, as a terminal would */
    }
}

static void on_resize(struct agent *agent, const struct pd_frame *frame)
{
    struct run *run = &agent->run;
    struct pd_fields fields;
    struct pd_field field;

    if (!run->tty)
        return; /* only a terminal has a size */
    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag == PD_FIELD_ROWS)
            run->rows = (uint16_t)pd_field_number(&field);
        if (field.tag == PD_FIELD_COLS)
            run->cols = (uint16_t)pd_field_number(&field);
    }
    if (run->state == RUN_ACTIVE && !run->compiling)
        terminal_resize(run->slot->stdin_w, run->rows, run->cols);
}

static void on_ping(struct agent *agent)
{
    struct pd_wire wire = wire_begin(agent, PD_FRAME_PONG);

    wire_end(agent, &wire);
}

void run_on_frame(struct agent *agent, const struct pd_frame *frame)
{
    struct run *run = &agent->run;

    switch (frame->type) {
    case PD_FRAME_RUN:
        run_begin(agent, frame);
        break;
    case PD_FRAME_PING:
        on_ping(agent);
        break;
    case PD_FRAME_FILE:
        if (run->state == RUN_FILES)
            request_on_file(agent, frame);
        break;
    case PD_FRAME_DATA:
        if (run->state == RUN_FILES)
            request_on_data(agent, frame);
        break;
    case PD_FRAME_START:
        if (run->state == RUN_FILES) {
            sys_close(&run->file_fd);
            run_start(agent);
        }
        break;
    case PD_FRAME_STDIN:
        if (run->state != RUN_NONE)
            input_on_frame(agent, frame);
        break;
    case PD_FRAME_STDIN_EOF:
        run->stdin_eof = true;
        input_on_writable(agent);
        break;
    case PD_FRAME_SIGNAL:
        on_signal(agent, frame);
        break;
    case PD_FRAME_CANCEL:
        run_cancel(agent);
        break;
    case PD_FRAME_WINDOW:
        if (run->state != RUN_NONE)
            on_window(agent, frame);
        break;
    case PD_FRAME_RESIZE:
        on_resize(agent, frame);
        break;
    default:
        wire_fault(agent, "a frame that only agents send");
        break;
    }
}
