/* The life of one sandbox. Its phase (common/store.h) says what is to be done
 * next, and pd_life_step does it, as often as it is called:
 *
 *   creating     ask the provider; its answer leads to starting
 *   starting     ask for a stream, open the link; the agent's word leads to warm
 *   warm         nothing; if its stream breaks it goes back to starting, for a new
 *                link, since an engine in trouble may leave its sandboxes running
 *   claimed      nothing; if its link breaks its run is lost, and it ends
 *   terminating  ask the provider; its answer removes the record
 *
 * One question to the provider waits at a time. A question that is not answered
 * in time is given up and asked again: every one of them is idempotent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/decide.h"
#include "controller/state.h"

#define CREATE_TIMEOUT_MS (120 * 1000)
#define DESTROY_TIMEOUT_MS (60 * 1000)
#define CREATE_ATTEMPTS_MAX 3
#define LINK_ATTEMPTS_MAX 3
#define ID_RANDOM_CHARS 10
#define SHORT_LIFE_MS 10000 /* from ready to dead, without a run */
#define SHORT_LIVES_MAX 5  /* generations in a row: something is wrong */

static struct pd_sandbox_state *state_of(const struct pd_sandbox *sandbox)
{
    return sandbox->controller_data;
}

void pd_life_step_at(struct pd_sandbox_state *state, struct pd_time when)
{
    pd_controller_enqueue_at(state->controller, state->sandbox->pool, when);
}

struct pd_pool *pd_life_pool(const struct pd_sandbox_state *state)
{
    return pd_store_pool(state->controller->store, state->sandbox->pool);
}

void pd_life_blame(struct pd_sandbox_state *state, int kind, const char *message)
{
    struct pd_controller *controller = state->controller;
    struct pd_pool *pool = pd_life_pool(state);

    if (strcmp(pool->spec->template_hash, state->sandbox->template_hash) != 0)
        return;
    pd_growth_failed(&pd_pool_state_of(pool)->growth, kind, message, controller->now(),
                     (uint64_t)(uintptr_t)pool ^ (uint64_t)controller->started.ns);
}

void pd_life_mourn(struct pd_sandbox_state *state, const char *message)
{
    struct pd_pool_state *pool_state = pd_pool_state_of(pd_life_pool(state));
    struct pd_time now = state->controller->now();

    pd_report_failure(state->controller, pd_life_pool(state), state->sandbox,
                      state->was_ready ? "SandboxDied" : "NeverReady", message);
    if (state->adopted)
        return;
    if (!state->was_ready) {
        pd_life_blame(state, PD_UNAVAILABLE, message);
        return;
    }
    if (state->sandbox->runs > 0 || state->sandbox->phase == PD_SANDBOX_CLAIMED ||
        pd_time_ms_between(state->ready_at, now) >= SHORT_LIFE_MS)
        return;
    /* Those that were ready beside the last one are of its generation. */
    if (!pd_time_before(state->ready_at, pool_state->short_life_at))
        pool_state->short_lives++;
    pool_state->short_life_at = now;
    if (pool_state->short_lives >= SHORT_LIVES_MAX)
        pd_life_blame(state, PD_UNAVAILABLE, message);
}

void pd_life_ready(struct pd_sandbox_state *state)
{
    struct pd_pool_state *pool_state = pd_pool_state_of(pd_life_pool(state));

    if (!state->was_ready) {
        state->ready_at = state->controller->now();
        if (!state->adopted)
            pd_refill_came(&pool_state->refill, state->ready_at);
    }
    state->was_ready = true;
    if (pool_state->short_lives < SHORT_LIVES_MAX)
        pd_growth_ready(&pool_state->growth);
}

/* One that became ready after the last short life, and lives on, ends the row. */
static void live_on(struct pd_sandbox_state *state)
{
    struct pd_pool_state *pool_state = pd_pool_state_of(pd_life_pool(state));
    struct pd_time proven = pd_time_add_ms(state->ready_at, SHORT_LIFE_MS);

    if (pool_state->short_lives == 0 || pd_time_before(state->ready_at, pool_state->short_life_at))
        return;
    if (pd_time_before(state->controller->now(), proven)) {
        pd_life_step_at(state, proven);
        return;
    }
    if (pool_state->short_lives >= SHORT_LIVES_MAX)
        pd_growth_ready(&pool_state->growth);
    pool_state->short_lives = 0;
}

/* ---- birth ---- */

static void random_id(const char *pool, char *out)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567"; /* RFC 4648, small */
    unsigned char bytes[ID_RANDOM_CHARS];
    char text[ID_RANDOM_CHARS + 1] = {0};

    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        abort();
    for (size_t i = 0; i < sizeof bytes; i++)
        text[i] = alphabet[bytes[i] % 32];
    snprintf(out, PD_SANDBOX_ID_MAX, "%s-%s", pool, text);
}

static struct pd_sandbox_state *attach(struct pd_controller *controller, struct pd_pool *pool,
                                       const char *id, const char *hash)
{
    struct pd_sandbox_state *state = PD_NEW(struct pd_sandbox_state);

    state->sandbox = pd_store_sandbox_add(controller->store, id, pool->spec->name, hash);
    state->sandbox->controller_data = state;
    state->controller = controller;
    state->at = &controller->providers[pool->spec->provider];
    return state;
}

void pd_life_begin(struct pd_controller *controller, struct pd_pool *pool)
{
    char id[PD_SANDBOX_ID_MAX];
    struct pd_sandbox_state *state;

    do {
        random_id(pool->spec->name, id);
    } while (pd_store_sandbox(controller->store, id));
    state = attach(controller, pool, id, pool->spec->template_hash);
    pd_expect_set(controller->expect, id, PD_EXPECT_APPEAR, controller->now());
    pd_metrics_add(controller->metrics, PD_M_SANDBOX_STARTED, PD_LABELS(pool->spec->name), 1);
    pd_metrics_add(controller->metrics, PD_M_SANDBOX_ENDED, PD_LABELS(pool->spec->name), 0);
    pd_log(PD_LOG_INFO, "controller", "sandbox wanted", "pool", pool->spec->name, "id", id, NULL);
    pd_life_step(state->sandbox);
}

void pd_life_adopt(struct pd_controller *controller, struct pd_pool *pool,
                   const struct pd_instance *instance)
{
    struct pd_sandbox_state *state =
        attach(controller, pool, instance->id, instance->template_hash);
    struct pd_sandbox *sandbox = state->sandbox;
    int64_t age_ms = pd_wall_ms() - instance->created_wall_ms;

    state->adopted = true;
    pd_strcpy(sandbox->provider_id, sizeof sandbox->provider_id, instance->provider_id);
    if (instance->created_wall_ms > 0 && age_ms > 0) {
        sandbox->created_wall_ms = instance->created_wall_ms;
        sandbox->created = pd_time_add_ms(controller->now(), -age_ms);
    }
    if (instance->phase != PD_INSTANCE_RUNNING) {
        pd_life_end(sandbox, instance->phase == PD_INSTANCE_DEAD ? "it died in an earlier life"
                                                                 : "it was never started");
        return;
    }
    pd_log(PD_LOG_INFO, "controller", "sandbox adopted", "pool", sandbox->pool, "id", sandbox->id,
           NULL);
    pd_store_sandbox_move(controller->store, sandbox, PD_SANDBOX_STARTING);
    pd_life_step(sandbox);
}

/* ---- creating ---- */

static void created(struct pd_sandbox_state *state, const char *provider_id)
{
    struct pd_sandbox *sandbox = state->sandbox;

    pd_strcpy(sandbox->provider_id, sizeof sandbox->provider_id, provider_id);
    state->attempts = 0;
    if (sandbox->phase == PD_SANDBOX_CREATING) {
        pd_growth_created(&pd_pool_state_of(pd_life_pool(state))->growth);
        pd_store_sandbox_move(state->controller->store, sandbox, PD_SANDBOX_STARTING);
    }
    pd_life_step(sandbox);
}

void pd_life_found(struct pd_sandbox *sandbox, const char *provider_id)
{
    struct pd_sandbox_state *state = state_of(sandbox);

    if (state->op == PD_OP_CREATE)
        pd_op_settle(state);
    created(state, provider_id);
}

/* Something may exist nevertheless: it is looked for before it is forgotten. */
static void create_failed(struct pd_sandbox_state *state, const struct pd_err *err)
{
    struct pd_sandbox *sandbox = state->sandbox;

    if (sandbox->phase == PD_SANDBOX_CREATING) {
        pd_log(PD_LOG_WARN, "controller", "sandbox not created", "pool", sandbox->pool, "id",
               sandbox->id, "err", err->msg, NULL);
        pd_life_blame(state, err->kind, err->msg);
        pd_report_failure(state->controller, pd_life_pool(state), sandbox,
                          err->kind == PD_LIMIT ? "NoCapacity" : "NotCreated", err->msg);
        pd_pool_state_of(pd_life_pool(state))->ready_hash[0] = '\0';
        pd_life_end(sandbox, err->msg);
        return;
    }
    pd_life_step(sandbox);
}

static void on_created(void *arg, const struct pd_err *err, const char *provider_id)
{
    struct pd_op *op = arg;
    struct pd_sandbox_state *state = pd_op_asker(op);

    if (state) {
        pd_op_settle(state);
        if (err)
            create_failed(state, err);
        else
            created(state, provider_id);
    } else if (op->controller && !err && !pd_store_sandbox(op->controller->store, op->id)) {
        pd_inventory_destroy_stray(op->at, op->id, provider_id, "its creation had been given up");
    }
    pd_op_free(op);
}

static void ask_to_create(struct pd_sandbox_state *state)
{
    struct pd_pool *pool = pd_life_pool(state);
    struct pd_provider *provider = state->at->provider;
    struct pd_err err = {0};
    struct pd_op *op;

    if (strcmp(pool->spec->template_hash, state->sandbox->template_hash) != 0) {
        pd_life_end(state->sandbox, pd_why_text(PD_WHY_OUTDATED));
        return;
    }
    op = pd_op_ask(state, PD_OP_CREATE, CREATE_TIMEOUT_MS);
    if (provider->ops->create(provider, pool->spec, state->sandbox->id, on_created, op, &err) < 0) {
        pd_op_free(op);
        pd_op_settle(state);
        create_failed(state, &err);
    }
}

void pd_life_provider_up(struct pd_sandbox *sandbox)
{
    struct pd_sandbox_state *state = state_of(sandbox);

    state->relinks = 0;
    state->attempts = 0;
    state->retry_at = (struct pd_time){0};
    if (sandbox->phase == PD_SANDBOX_STARTING || sandbox->phase == PD_SANDBOX_CREATING)
        sandbox->phase_since = state->controller->now();
}

/* ---- terminating ---- */

void pd_life_end(struct pd_sandbox *sandbox, const char *reason)
{
    struct pd_sandbox_state *state = state_of(sandbox);
    struct pd_controller *controller = state->controller;

    if (sandbox->phase == PD_SANDBOX_TERMINATING)
        return;
    if (sandbox->reason[0] == '\0')
        pd_strcpy(sandbox->reason, sizeof sandbox->reason, reason);
    pd_log(PD_LOG_INFO, "controller", "sandbox ends", "pool", sandbox->pool, "id", sandbox->id,
           "was", pd_sandbox_phase_name(sandbox->phase), "reason", sandbox->reason, NULL);
    if (sandbox->phase == PD_SANDBOX_WARM || sandbox->phase == PD_SANDBOX_CLAIMED)
        pd_refill_left(&pd_pool_state_of(pd_life_pool(state))->refill, controller->now());
    pd_store_sandbox_move(controller->store, sandbox, PD_SANDBOX_TERMINATING);
    pd_expect_set(controller->expect, sandbox->id, PD_EXPECT_VANISH, controller->now());
    if (state->op == PD_OP_LINK)
        pd_op_settle(state);
    state->attempts = 0;
    state->retry_at = (struct pd_time){0};
    pd_linking_close(state);
    pd_life_step(sandbox);
}

void pd_life_dead(struct pd_sandbox *sandbox, const char *reason)
{
    struct pd_sandbox_state *state = state_of(sandbox);

    if (sandbox->phase == PD_SANDBOX_TERMINATING)
        return;
    pd_life_mourn(state, reason[0] ? reason : "it died");
    pd_life_end(sandbox, reason[0] ? reason : "it died");
}

void pd_life_detach(struct pd_sandbox *sandbox)
{
    struct pd_sandbox_state *state = state_of(sandbox);

    if (!state)
        return;
    pd_linking_close(state);
    sandbox->controller_data = NULL;
    free(state);
}

void pd_life_remove(struct pd_sandbox *sandbox)
{
    struct pd_controller *controller = state_of(sandbox)->controller;

    pd_metrics_add(controller->metrics, PD_M_SANDBOX_ENDED, PD_LABELS(sandbox->pool), 1);
    pd_life_detach(sandbox);
    pd_store_sandbox_remove(controller->store, sandbox);
}

static void on_destroyed(void *arg, const struct pd_err *err)
{
    struct pd_op *op = arg;
    struct pd_sandbox_state *state = pd_op_asker(op);

    if (state) {
        pd_op_settle(state);
        if (!err) {
            pd_life_remove(state->sandbox);
        } else {
            pd_log(state->attempts == 0 ? PD_LOG_WARN : PD_LOG_DEBUG, "controller",
                   "sandbox not destroyed, will try again", "pool", state->sandbox->pool, "id",
                   state->sandbox->id, "err", err->msg, NULL);
            pd_op_retry_later(state);
        }
    }
    pd_op_free(op);
}

static void ask_to_destroy(struct pd_sandbox_state *state)
{
    struct pd_provider *provider = state->at->provider;
    struct pd_err err = {0};
    struct pd_op *op;

    if (state->sandbox->provider_id[0] == '\0') {
        pd_inventory_request(state->at); /* finds it, or finds that there is none */
        return;
    }
    op = pd_op_ask(state, PD_OP_DESTROY, DESTROY_TIMEOUT_MS);
    if (provider->ops->destroy(provider, state->sandbox->provider_id, on_destroyed, op, &err) < 0) {
        pd_op_free(op);
        pd_op_settle(state);
        pd_op_retry_later(state);
    }
}

/* ---- step ---- */

/* No answer in time: ask again, but not for ever. */
static void give_up(struct pd_sandbox_state *state)
{
    enum pd_op_kind kind = state->op;
    struct pd_err err;

    pd_op_settle(state);
    state->attempts++;
    pd_err_set(&err, PD_TIMEOUT, "the provider did not answer in time");
    if (kind == PD_OP_CREATE && state->sandbox->phase == PD_SANDBOX_CREATING &&
        state->attempts >= CREATE_ATTEMPTS_MAX)
        create_failed(state, &err);
    else if (kind == PD_OP_LINK && state->attempts >= LINK_ATTEMPTS_MAX)
        pd_linking_failed(state, &err);
}

/* The queue keeps one time for a pool, its earliest, so whoever still waits
 * says so each time. */
static bool must_wait(struct pd_sandbox_state *state, struct pd_time now)
{
    if (state->op != PD_OP_NONE)
        pd_life_step_at(state, state->op_until);
    else if (pd_time_before(now, state->retry_at))
        pd_life_step_at(state, state->retry_at);
    else
        return !state->at->up;
    return true;
}

void pd_life_step(struct pd_sandbox *sandbox)
{
    struct pd_sandbox_state *state = state_of(sandbox);
    struct pd_time now = state->controller->now();

    if (state->op != PD_OP_NONE && !pd_time_before(now, state->op_until))
        give_up(state);
    if (must_wait(state, now))
        return;
    switch (sandbox->phase) {
    case PD_SANDBOX_CREATING:
        ask_to_create(state);
        break;
    case PD_SANDBOX_STARTING:
        if (!state->link)
            pd_linking_ask(state);
        break;
    case PD_SANDBOX_TERMINATING:
        ask_to_destroy(state);
        break;
    case PD_SANDBOX_WARM:
        live_on(state);
        break;
    case PD_SANDBOX_CLAIMED:
        break;
    }
}
