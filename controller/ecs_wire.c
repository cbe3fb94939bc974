/* Links. One that is asked for waits until its task runs and has an address, then
 * opens the wire to the agent; an agent that is not there yet is tried again for a
 * while. */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/ecs_link.h"
#include "controller/ecs_state.h"

#define TRY_AGAIN_MS 300
#define ANSWER_MS (60 * 1000) /* from the first attempt on */

struct pd_ecs_wire {
    TAILQ_ENTRY(pd_ecs_wire) entry;
    struct pd_ecs *ecs;
    char arn[PD_ECS_ARN_MAX];
    uv_timer_t timer; /* the next look */
    struct pd_ecs_link *opening;
    struct pd_time first_attempt;
    struct pd_err failure;
    struct pd_stream *stream;
    bool ended;
    pd_provider_link_cb cb;
    void *arg;
};

static void look(struct pd_ecs_wire *wire);

static void on_timer_closed(uv_handle_t *handle)
{
    struct pd_ecs_wire *wire = handle->data;
    struct pd_ecs *ecs = wire->ecs;

    TAILQ_REMOVE(&ecs->wires, wire, entry);
    if (wire->stream)
        wire->cb(wire->arg, NULL, wire->stream);
    else
        wire->cb(wire->arg, &wire->failure, NULL);
    free(wire);
    pd_ecs_maybe_closed(ecs);
}

static void end(struct pd_ecs_wire *wire)
{
    if (wire->ended)
        return;
    wire->ended = true;
    uv_close((uv_handle_t *)&wire->timer, on_timer_closed);
}

static void fail(struct pd_ecs_wire *wire, int kind, const char *what, const char *detail)
{
    const char *slash = strrchr(wire->arn, '/');

    pd_err_set(&wire->failure, kind, "task %.12s: %s%.300s", slash ? slash + 1 : wire->arn, what,
               detail);
    end(wire);
}

static void on_timer(uv_timer_t *timer)
{
    look(timer->data);
}

static void on_opened(void *arg, const struct pd_err *err, struct pd_stream *stream,
                      const unsigned char *pin)
{
    struct pd_ecs_wire *wire = arg;
    struct pd_time now = pd_time_now();
    struct pd_ecs_entry *entry = pd_ecs_book_find(&wire->ecs->book, wire->arn);

    wire->opening = NULL;
    if (err && entry)
        entry->described = (struct pd_time){0}; /* perhaps it runs no more: asked at once */
    if (!err) {
        pd_ecs_keys_pinned(wire->ecs->keys, wire->arn, pin);
        wire->stream = stream;
        end(wire);
    } else if (err->kind == PD_CANCELED || wire->ecs->closing) {
        fail(wire, PD_CANCELED, "given up", "");
    } else if (err->kind == PD_DENIED ||
               (double)pd_time_ms_between(wire->first_attempt, now) * wire->ecs->factor >=
                   ANSWER_MS) {
        fail(wire, err->kind == PD_DENIED ? PD_DENIED : PD_TIMEOUT, "", err->msg);
    } else {
        uv_timer_start(&wire->timer, on_timer, TRY_AGAIN_MS, 0);
    }
}

static void open_link(struct pd_ecs_wire *wire, const struct pd_ecs_entry *entry)
{
    struct pd_ecs *ecs = wire->ecs;

    if (!pd_time_is_set(wire->first_attempt))
        wire->first_attempt = pd_time_now();
    wire->opening = pd_ecs_link_open(ecs->loop, entry->task.address, PD_ECS_LINK_PORT,
                                     pd_ecs_keys_identity(ecs->keys),
                                     pd_ecs_keys_pin(ecs->keys, wire->arn), on_opened, wire);
}

static void look(struct pd_ecs_wire *wire)
{
    const struct pd_ecs_entry *entry = pd_ecs_book_find(&wire->ecs->book, wire->arn);

    if (wire->ended || wire->opening)
        return;
    if (!entry)
        fail(wire, PD_NOT_FOUND, "it is not known", "");
    else if (pd_ecs_entry_has_ended(entry))
        fail(wire, PD_CONFLICT, "it has ended: ", entry->task.reason);
    else if (entry->task.stage != PD_ECS_COMING && entry->task.address[0])
        open_link(wire, entry);
    else
        pd_ecs_poll_soon(wire->ecs);
}

int pd_ecs_wire_begin(struct pd_ecs *ecs, const char *arn, pd_provider_link_cb cb, void *arg,
                      struct pd_err *err)
{
    struct pd_ecs_wire *wire;

    if (!pd_ecs_book_find(&ecs->book, arn))
        return pd_err_set(err, PD_NOT_FOUND, "no task '%.200s' is known", arn);
    wire = PD_NEW(struct pd_ecs_wire);
    wire->ecs = ecs;
    wire->cb = cb;
    wire->arg = arg;
    pd_strcpy(wire->arn, sizeof wire->arn, arn);
    uv_timer_init(ecs->loop, &wire->timer);
    wire->timer.data = wire;
    TAILQ_INSERT_TAIL(&ecs->wires, wire, entry);
    uv_timer_start(&wire->timer, on_timer, 0, 0);
    return 0;
}

void pd_ecs_wires_look(struct pd_ecs *ecs, const char *arn)
{
    struct pd_ecs_wire *wire;

    TAILQ_FOREACH(wire, &ecs->wires, entry)
    {
        if (!wire->ended && !wire->opening && strcmp(wire->arn, arn) == 0)
            uv_timer_start(&wire->timer, on_timer, 0, 0);
    }
}

void pd_ecs_wires_cancel(struct pd_ecs *ecs)
{
    struct pd_ecs_wire *wire;

    TAILQ_FOREACH(wire, &ecs->wires, entry)
    {
        if (wire->opening)
            pd_ecs_link_cancel(wire->opening);
        else
            fail(wire, PD_CANCELED, "given up", "");
    }
}
