/* Questions to a provider, and whom their answers belong to. */
#include <stdlib.h>

#include "common/mem.h"
#include "controller/state.h"

#define RETRY_PAUSE_MIN_MS 250
#define RETRY_PAUSE_MAX_MS 30000

struct pd_op *pd_op_new(struct pd_provider_state *at, enum pd_op_kind kind, const char *id)
{
    struct pd_controller *controller = at->controller;
    struct pd_op *op = PD_NEW(struct pd_op);

    op->controller = controller;
    op->at = at;
    op->provider = at->provider;
    op->kind = kind;
    pd_strcpy(op->id, sizeof op->id, id);
    op->next = controller->ops;
    op->link = &controller->ops;
    if (op->next)
        op->next->link = &op->next;
    controller->ops = op;
    return op;
}

void pd_op_free(struct pd_op *op)
{
    if (op->controller) {
        *op->link = op->next;
        if (op->next)
            op->next->link = op->link;
    }
    free(op);
}

void pd_op_abandon_all(struct pd_controller *controller)
{
    for (struct pd_op *op = controller->ops, *next; op; op = next) {
        next = op->next;
        op->controller = NULL;
    }
    controller->ops = NULL;
}

/* ---- of a sandbox ---- */

struct pd_op *pd_op_ask(struct pd_sandbox_state *state, enum pd_op_kind kind, int64_t timeout_ms)
{
    struct pd_op *op = pd_op_new(state->at, kind, state->sandbox->id);

    op->serial = ++state->op_serial;
    state->op = kind;
    state->op_until = pd_time_add_ms(state->controller->now(), timeout_ms);
    pd_life_step_at(state, state->op_until);
    return op;
}

struct pd_sandbox_state *pd_op_asker(const struct pd_op *op)
{
    struct pd_sandbox *sandbox =
        op->controller ? pd_store_sandbox(op->controller->store, op->id) : NULL;
    struct pd_sandbox_state *state = sandbox ? sandbox->controller_data : NULL;

    if (!state || state->op_serial != op->serial || state->op != op->kind)
        return NULL;
    return state;
}

void pd_op_settle(struct pd_sandbox_state *state)
{
    state->op = PD_OP_NONE;
    state->op_serial++;
}

void pd_op_retry_later(struct pd_sandbox_state *state)
{
    int64_t pause_ms = RETRY_PAUSE_MIN_MS;

    for (int i = 0; i < state->attempts && pause_ms < RETRY_PAUSE_MAX_MS; i++)
        pause_ms *= 2;
    state->attempts++;
    state->retry_at = pd_time_add_ms(state->controller->now(), pause_ms);
    pd_life_step_at(state, state->retry_at);
}
