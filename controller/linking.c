/* From a sandbox that runs to one that is warm: a stream from the provider, a
 * link over it, the agent's hello; and back, when the link breaks. */
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/decide.h"
#include "controller/state.h"

#define LINK_TIMEOUT_MS (20 * 1000)
#define RELINKS_MAX 3
#define RELINK_PAUSE_MS 100 /* lets the news that it is dead come first; then four times that */
#define EPOCH_BASE_MS INT64_C(1577836800000) /* 2020-01-01T00:00:00Z */
#define EPOCH_UNIT_MS 250                    /* 32 bits of it last until 2054 */

/* Newer than any before: by the wall clock, and where an earlier life may have
 * linked it just now, by one more. */
static uint32_t next_epoch(const struct pd_sandbox_state *state)
{
    int64_t epoch = (pd_wall_ms() - EPOCH_BASE_MS) / EPOCH_UNIT_MS + (state->adopted ? 1 : 0);

    return epoch > (int64_t)state->epoch ? (uint32_t)epoch : state->epoch + 1;
}

static void on_link_closed(void *arg)
{
    pd_controller_release(arg);
}

void pd_linking_close(struct pd_sandbox_state *state)
{
    struct pd_link *link = state->link;

    state->link = NULL;
    state->sandbox->link = NULL;
    if (!link)
        return;
    state->controller->handles++;
    pd_link_close(link, on_link_closed, state->controller);
}

/* It goes back to starting, which asks for a new link in a moment. */
static void link_again(struct pd_sandbox_state *state)
{
    struct pd_sandbox *sandbox = state->sandbox;
    int64_t pause_ms = (int64_t)RELINK_PAUSE_MS << (2 * state->relinks++);

    if (sandbox->phase == PD_SANDBOX_WARM)
        pd_store_sandbox_move(state->controller->store, sandbox, PD_SANDBOX_STARTING);
    state->retry_at = pd_time_add_ms(state->controller->now(), pause_ms);
    pd_life_step_at(state, state->retry_at);
}

static bool may_relink(const struct pd_sandbox_state *state)
{
    const struct pd_sandbox *sandbox = state->sandbox;
    const struct pd_pool *pool = pd_life_pool(state);
    bool one_run = pool->hello.isolation > pool->spec->isolation;

    return state->relinks < RELINKS_MAX && sandbox->phase != PD_SANDBOX_CLAIMED &&
           !sandbox->recycle && !(one_run && sandbox->runs > 0);
}

/* The agent does not answer, or not any more. A provider in trouble takes its
 * streams down and may leave its sandboxes running, so the end of a stream is
 * not the end of a sandbox; anything else that goes wrong with a link is. */
void pd_linking_failed(struct pd_sandbox_state *state, const struct pd_err *err)
{
    struct pd_sandbox *sandbox = state->sandbox;

    if (sandbox->phase == PD_SANDBOX_TERMINATING)
        return;
    if (err->kind == PD_UNAVAILABLE && may_relink(state)) {
        pd_linking_close(state);
        link_again(state);
        return;
    }
    pd_life_mourn(state, err->msg);
    pd_life_end(sandbox, err->msg);
}

/* Versions are asked of one sandbox of a template only: what it said is kept
 * when another one says nothing about them. */
static void keep_versions(struct pd_hello *hello, const struct pd_hello *old)
{
    for (size_t i = 0; i < hello->n_languages; i++) {
        struct pd_hello_language *language = &hello->languages[i];
        for (size_t j = 0; j < old->n_languages && language->version[0] == '\0'; j++) {
            if (strcmp(old->languages[j].name, language->name) == 0)
                *language = old->languages[j];
        }
    }
}

/* Returns whether the pool's hello has changed. */
static bool take_hello(struct pd_sandbox_state *state, const struct pd_hello *hello)
{
    struct pd_pool *pool = pd_life_pool(state);
    struct pd_pool_state *pool_state = pd_pool_state_of(pool);
    struct pd_hello merged = *hello;

    if (strcmp(pool_state->hello_hash, state->sandbox->template_hash) == 0)
        keep_versions(&merged, &pool->hello);
    pd_strcpy(pool_state->hello_hash, sizeof pool_state->hello_hash, state->sandbox->template_hash);
    if (memcmp(&pool->hello, &merged, sizeof merged) == 0)
        return false;
    pool->hello = merged;
    return true;
}

/* Whose runs an earlier life's sandbox has served is not known any more. One that the
 * provider handed out as new may be such a one, too: it has served before it was met. */
static void take_over_runs(struct pd_sandbox_state *state, uint64_t runs)
{
    struct pd_sandbox *sandbox = state->sandbox;
    const struct pd_pool_spec *spec = pd_life_pool(state)->spec;

    if (state->was_ready || runs == 0)
        return;
    sandbox->runs = (uint32_t)runs;
    if (!spec->recycle.share || pd_sandbox_serves_one_run(spec, sandbox)) {
        sandbox->recycle = true;
        pd_strcpy(sandbox->reason, sizeof sandbox->reason, "it served an earlier life");
    }
}

static void learn_start_time(struct pd_sandbox_state *state, int64_t took_ms)
{
    struct pd_pool_state *pool_state = pd_pool_state_of(pd_life_pool(state));

    if (state->adopted || state->was_ready)
        return;
    pool_state->start_ms = (pool_state->start_ms * 3 + took_ms) / 4;
    pd_reserve_started(&pool_state->reserve, took_ms);
}

static void on_link_ready(void *arg, struct pd_link *link, const struct pd_hello *hello)
{
    struct pd_sandbox_state *state = arg;
    struct pd_sandbox *sandbox = state->sandbox;
    int64_t took_ms = pd_time_ms_between(sandbox->created, state->controller->now());
    const char *weaker = hello->isolation_reason[0] ? hello->isolation_reason : NULL;
    bool fresh = !state->adopted && !state->was_ready;

    if (sandbox->phase != PD_SANDBOX_STARTING)
        return;
    sandbox->link = link;
    take_hello(state, hello);
    take_over_runs(state, hello->runs);
    learn_start_time(state, took_ms);
    if (fresh)
        pd_metrics_observe(state->controller->metrics, PD_M_SANDBOX_START,
                           PD_LABELS(sandbox->pool), (double)took_ms / 1e3);
    pd_life_ready(state);
    state->relinks = 0;
    pd_log(PD_LOG_INFO, "controller", "sandbox ready", "pool", sandbox->pool, "id", sandbox->id,
           "took_ms", fresh ? PD_NUM(took_ms) : NULL, "isolation",
           pd_isolation_name(hello->isolation), "weaker", weaker, NULL);
    pd_store_sandbox_move(state->controller->store, sandbox, PD_SANDBOX_WARM);
}

/* The next interpreter is waiting, for the first time since the last run's end. */
static void note_refill(struct pd_sandbox_state *state, struct pd_link *link,
                        const struct pd_hello *hello)
{
    const struct pd_sandbox *sandbox = state->sandbox;
    struct pd_time now = state->controller->now();

    if (sandbox->phase != PD_SANDBOX_WARM || state->refilled == sandbox->runs)
        return;
    for (size_t i = 0; i < hello->n_languages; i++) {
        if (pd_link_spares(link, hello->languages[i].name) == 0)
            continue;
        state->refilled = sandbox->runs;
        pd_metrics_observe(state->controller->metrics, PD_M_REFILL_SECONDS,
                           PD_LABELS(sandbox->pool),
                           (double)(now.ns - sandbox->phase_since.ns) / 1e9);
        return;
    }
}

/* Versions come in after a while; the number of spares is asked for when needed. */
static void on_link_changed(void *arg, struct pd_link *link)
{
    struct pd_sandbox_state *state = arg;
    const struct pd_hello *hello = pd_link_hello(link);

    if (hello)
        note_refill(state, link, hello);
    if (hello && take_hello(state, hello))
        pd_store_touch(state->controller->store, state->sandbox->pool);
}

static void on_link_down(void *arg, struct pd_link *link, const struct pd_err *err)
{
    struct pd_sandbox_state *state = arg;

    if (state->link != link)
        return;
    pd_log(PD_LOG_INFO, "controller", "link lost", "pool", state->sandbox->pool, "id",
           state->sandbox->id, "err", err->msg, NULL);
    pd_linking_failed(state, err);
}

static const struct pd_link_events link_events = {
    .ready = on_link_ready,
    .changed = on_link_changed,
    .down = on_link_down,
};

static void open_link(struct pd_sandbox_state *state, struct pd_stream *stream)
{
    struct pd_controller *controller = state->controller;
    struct pd_pool *pool = pd_life_pool(state);
    bool known = pool->hello.n_languages > 0 && pool->hello.languages[0].version[0] &&
                 strcmp(pd_pool_state_of(pool)->hello_hash, state->sandbox->template_hash) == 0;
    struct pd_link_config config = {
        .spec = pool->spec,
        .languages = controller->languages,
        .epoch = state->epoch = next_epoch(state),
        .want_versions = !known,
    };

    state->attempts = 0;
    state->link = pd_link_open(controller->loop, stream, &config, &link_events, state);
}

static void on_stream(void *arg, const struct pd_err *err, struct pd_stream *stream)
{
    struct pd_op *op = arg;
    struct pd_sandbox_state *state = pd_op_asker(op);
    bool wanted = state && state->sandbox->phase == PD_SANDBOX_STARTING;

    if (state)
        pd_op_settle(state);
    if (!err && !wanted)
        stream->ops->close(stream, NULL, NULL);
    else if (!err)
        open_link(state, stream);
    else if (wanted)
        pd_linking_failed(state, err);
    if (state && !wanted)
        pd_life_step(state->sandbox);
    pd_op_free(op);
}

/* A container that was created runs; a task that was created has yet to start. */
static int64_t link_timeout_ms(const struct pd_sandbox_state *state)
{
    enum pd_provider_kind kind = pd_life_pool(state)->spec->provider;

    return kind == PD_PROVIDER_ECS ? pd_start_deadline_ms(kind) : LINK_TIMEOUT_MS;
}

void pd_linking_ask(struct pd_sandbox_state *state)
{
    struct pd_provider *provider = state->at->provider;
    struct pd_err err = {0};
    struct pd_op *op = pd_op_ask(state, PD_OP_LINK, link_timeout_ms(state));

    if (provider->ops->link(provider, state->sandbox->provider_id, on_stream, op, &err) < 0) {
        pd_op_free(op);
        pd_op_settle(state);
        pd_linking_failed(state, &err);
    }
}
