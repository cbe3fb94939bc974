/* Frames on stdin and stdout, or on the direct pipes (direct.c). What is written is bounded by the
 * credit that the service granted, so the buffer cannot fill unless the service breaks the
 * protocol; then the agent gives up, which ends the sandbox. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/sys.h"

void wire_init(struct agent *agent)
{
    sys_set_nonblock(STDIN_FILENO);
    sys_set_nonblock(STDOUT_FILENO);
    agent->in_fd = STDIN_FILENO;
    agent->out_fd = STDOUT_FILENO;
    poll_change(agent, STDIN_FILENO, EPOLLIN, EVENT_STDIN, 0, 0);
    direct_init(agent);
}

bool wire_is_direct(const struct agent *agent)
{
    return agent->in_fd != STDIN_FILENO;
}

/* From here on; stdin is listened to in any case. */
void wire_use(struct agent *agent, int in, int out)
{
    agent->in_paused = false;
    agent->out_polled = false;
    agent->in_fd = in;
    agent->out_fd = out;
    poll_change(agent, STDIN_FILENO, EPOLLIN, EVENT_STDIN, 0, 0);
    if (in != STDIN_FILENO)
        poll_change(agent, in, EPOLLIN, EVENT_DIRECT, 0, 0);
}

void wire_flush(struct agent *agent)
{
    while (agent->out_at < agent->out_len) {
        ssize_t n =
            write(agent->out_fd, agent->out + agent->out_at, agent->out_len - agent->out_at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break; /* full; or ended, which reading tells */
        agent->out_at += (size_t)n;
    }
    agent->out_is_urgent = false;
    agent->held_output_us = 0;
    if (agent->out_at == agent->out_len) {
        agent->out_at = agent->out_len = 0;
        if (agent->out_polled)
            poll_change(agent, agent->out_fd, 0, EVENT_STDOUT, 0, 0);
        agent->out_polled = false;
    } else if (!agent->out_polled) {
        poll_change(agent, agent->out_fd, EPOLLOUT, EVENT_STDOUT, 0, 0);
        agent->out_polled = true;
    }
}

size_t wire_room(const struct agent *agent)
{
    return OUT_BYTES_MAX - (agent->out_len - agent->out_at);
}

struct pd_wire wire_begin(struct agent *agent, enum pd_frame_type type)
{
    struct pd_wire wire;

    if (agent->out_at > 0 && OUT_BYTES_MAX - agent->out_len < PD_FRAME_BYTES_MAX) {
        memmove(agent->out, agent->out + agent->out_at, agent->out_len - agent->out_at);
        agent->out_len -= agent->out_at;
        agent->out_at = 0;
    }
    pd_wire_init(&wire, agent->out + agent->out_len, OUT_BYTES_MAX - agent->out_len);
    pd_wire_begin(&wire, type, agent->epoch, agent->seq_out);
    return wire;
}

void wire_end(struct agent *agent, struct pd_wire *wire)
{
    if (!pd_wire_end(wire)) {
        static const char text[] = "paddock-agent: the service does not read what it asked for\n";
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
        _exit(1);
    }
    switch (wire->data[4]) {
    case PD_FRAME_STARTED:
    case PD_FRAME_STAGE:
    case PD_FRAME_OUT:
    case PD_FRAME_ERR:
        break;
    default:
        agent->out_is_urgent = true;
        break;
    }
    agent->out_len += wire->len;
    agent->seq_out++;
}

void wire_tell_spares(struct agent *agent)
{
    struct pd_wire wire = wire_begin(agent, PD_FRAME_SPARES);

    agent->spares_changed = false;
    agent->held_spares_us = 0;
    for (size_t i = 0; i < agent->n_langs; i++) {
        int n = spares_ready(agent, &agent->langs[i]);
        if (n == 0)
            continue;
        pd_wire_text(&wire, PD_FIELD_NAME, agent->langs[i].name);
        pd_wire_number(&wire, PD_FIELD_COUNT, (uint64_t)n);
    }
    wire_end(agent, &wire);
}

void wire_fault(struct agent *agent, const char *text)
{
    struct pd_wire wire = wire_begin(agent, PD_FRAME_FAULT);

    pd_wire_text(&wire, PD_FIELD_TEXT, text);
    wire_end(agent, &wire);
    wire_flush(agent);
    agent->attached = false;
    agent->in_len = 0;
}

/* ---- attaching ---- */

static void send_hello(struct agent *agent)
{
    struct pd_wire wire = wire_begin(agent, PD_FRAME_HELLO);

    pd_wire_number(&wire, PD_FIELD_VERSION, AGENT_VERSION);
    pd_wire_number(&wire, PD_FIELD_ISOLATION, agent->platform.isolation);
    pd_wire_text(&wire, PD_FIELD_TEXT, agent->platform.reason);
    pd_wire_number(&wire, PD_FIELD_RUNS, agent->runs);
    for (size_t i = 0; i < agent->n_langs; i++) {
        if (agent->langs[i].found)
            pd_wire_text(&wire, PD_FIELD_NAME, agent->langs[i].name);
    }
    wire_end(agent, &wire);
    hold_spares(agent);
}

static void attach(struct agent *agent, const struct pd_frame *frame)
{
    struct pd_fields fields;
    struct pd_field field;
    uint8_t sync[PD_SYNC_BYTES] = {0};

    memcpy(sync, PD_SYNC_MAGIC, 8);
    pd_fields_init(&fields, frame->payload, frame->payload_len);
    while (pd_fields_next(&fields, &field)) {
        if (field.tag == PD_FIELD_NONCE && field.len == 8)
            memcpy(sync + 8, field.data, 8);
    }
    run_abandon(agent);
    agent->epoch = frame->epoch;
    agent->seq_in = 0;
    agent->seq_out = 0;
    agent->attached = true;
    /* Whole frames of the last epoch that are still here are nobody's. */
    agent->out_len = agent->out_at;
    memcpy(agent->out + agent->out_len, sync, sizeof sync);
    agent->out_len += sizeof sync;
    lang_configure(agent, frame);
    version_on_attach(agent, frame);
    send_hello(agent);
    spares_refill(agent);
}

static void on_frame(struct agent *agent, const struct pd_frame *frame)
{
    if (frame->type == PD_FRAME_ATTACH) {
        if (frame->epoch <= agent->epoch)
            wire_fault(agent, "attach with an epoch that is not newer");
        else
            attach(agent, frame);
    } else if (!agent->attached || frame->epoch != agent->epoch) {
        wire_fault(agent, "frame of another epoch");
    } else if (frame->sequence != agent->seq_in) {
        wire_fault(agent, "gap in the sequence of frames");
    } else {
        agent->seq_in++;
        if (frame->type == PD_FRAME_MOVE)
            direct_on_move(agent, frame);
        else
            run_on_frame(agent, frame);
    }
}

void wire_process(struct agent *agent)
{
    size_t at = 0;

    while (!agent->in_paused) {
        struct pd_frame frame;
        int64_t took = pd_frame_parse(agent->in + at, agent->in_len - at, &frame);
        if (took < 0) {
            wire_fault(agent, "bytes that are no frame");
            return;
        }
        if (took == 0)
            break;
        at += (size_t)took;
        on_frame(agent, &frame);
        if (agent->in_len == 0)
            return; /* a fault threw the rest away */
    }
    memmove(agent->in, agent->in + at, agent->in_len - at);
    agent->in_len -= at;
}

void wire_on_readable(struct agent *agent)
{
    ssize_t n;

    if (wire_is_direct(agent))
        direct_end(agent); /* only a new attacher has anything to say here */
    n = read(STDIN_FILENO, agent->in + agent->in_len, sizeof agent->in - agent->in_len);
    if (n == 0)
        _exit(0); /* the engine closed our stdin for good */
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            _exit(1);
        return;
    }
    agent->in_len += (size_t)n;
    wire_process(agent);
}

void wire_on_direct_readable(struct agent *agent)
{
    ssize_t n;

    if (!wire_is_direct(agent))
        return; /* left in this round */
    n = read(agent->in_fd, agent->in + agent->in_len, sizeof agent->in - agent->in_len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        direct_end(agent);
        return;
    }
    agent->in_len += (size_t)n;
    wire_process(agent);
}

void wire_pause(struct agent *agent, bool pause)
{
    enum event_kind kind = wire_is_direct(agent) ? EVENT_DIRECT : EVENT_STDIN;

    if (agent->in_paused == pause)
        return;
    agent->in_paused = pause;
    poll_change(agent, agent->in_fd, pause ? 0 : EPOLLIN, kind, 0, 0);
}
