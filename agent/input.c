/* A run's standard input, from frames into its pipe, and the credit for more. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/sys.h"

static void grant_stdin(struct agent *agent, size_t bytes)
{
    struct pd_wire wire = wire_begin(agent, PD_FRAME_WINDOW);

    pd_wire_number(&wire, PD_FIELD_CREDIT, bytes);
    wire_end(agent, &wire);
}

void input_on_writable(struct agent *agent)
{
    struct run *run = &agent->run;
    struct slot *slot = run->slot;
    size_t freed = 0;
    bool waits;

    if (run->state != RUN_ACTIVE || slot->stdin_w < 0 || run->compiling)
        return;
    while (run->stdin_at < run->stdin_len) {
        ssize_t n =
            write(slot->stdin_w, run->stdin_data + run->stdin_at, run->stdin_len - run->stdin_at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) /* nobody reads it any more: it is as good as read */
            n = (ssize_t)(run->stdin_len - run->stdin_at);
        run->stdin_at += (size_t)n;
        freed += (size_t)n;
    }
    if (run->stdin_at == run->stdin_len)
        run->stdin_at = run->stdin_len = 0;
    if (run->stdin_len == 0 && run->stdin_eof && run->tty && !run->stdin_ended)
        run->stdin_ended = terminal_end_input(slot->stdin_w);
    if (run->stdin_len == 0 && run->stdin_eof && !run->tty)
        sys_close(&slot->stdin_w);
    waits = run->stdin_len > 0 || (run->tty && run->stdin_eof && !run->stdin_ended);
    if (slot->stdin_w >= 0 && run->stdin_polled != waits)
        poll_change(agent, slot->stdin_w, waits ? EPOLLOUT : 0, EVENT_SLOT, slot_index(agent, slot),
                    SLOT_STDIN);
    run->stdin_polled = waits;
    if (freed > 0 && run->stdin_open)
        grant_stdin(agent, freed);
}

void input_on_frame(struct agent *agent, const struct pd_frame *frame)
{
    struct run *run = &agent->run;
    struct pd_fields fields;
    struct pd_field field;

    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag != PD_FIELD_DATA)
            continue;
        if (run->stdin_at > 0) {
            memmove(run->stdin_data, run->stdin_data + run->stdin_at,
                    run->stdin_len - run->stdin_at);
            run->stdin_len -= run->stdin_at;
            run->stdin_at = 0;
        }
        if (field.len > STDIN_BYTES_MAX - run->stdin_len) {
            wire_fault(agent, "more stdin than was granted");
            return;
        }
        memcpy(run->stdin_data + run->stdin_len, field.data, field.len);
        run->stdin_len += field.len;
    }
    input_on_writable(agent);
}
