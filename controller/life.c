/* The life of one sandbox. Its phase (common/store.h) says what is to be done
 * next, and pd_life_step does it, as often as it is called:
 *
 *   creating     ask the provider; its answer leads to starting
 *   starting     ask for a stream, open the link; the agent's word leads to warm
 *   warm         nothing; if its link breaks while the provider is in trouble it
 *                goes back to starting, once
 *   claimed      nothing; if its link breaks its run is lost, and it ends
 *   terminating  ask the provider; its answer removes the record
 *
 * One question to the provider waits at a time. A question that is not answered
 * in time is given up and asked again: every one of them is idempotent. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/decide.h"
#include "controller/state.h"

#define CREATE_TIMEOUT_MS (120 * 1000)
#define LINK_TIMEOUT_MS (20 * 1000)
#define DESTROY_TIMEOUT_MS (60 * 1000)
#define CREATE_ATTEMPTS_MAX 3
#define LINK_ATTEMPTS_MAX 3
#define RELINKS_MAX 3
#define RELINK_PAUSE_MS 100 /* lets the news that it is dead come first; then four times that */
#define RETRY_PAUSE_MIN_MS 250
#define RETRY_PAUSE_MAX_MS 30000
#define ID_RANDOM_CHARS 10
#define EPOCH_BASE_MS INT64_C(1577836800000) /* 2020-01-01T00:00:00Z */
#define EPOCH_UNIT_MS 250                    /* 32 bits of it last until 2054 */

static struct pd_sandbox_state *state_of(const struct pd_sandbox *sandbox)
{
    return sandbox->controller_data;
}

static struct pd_pool *pool_of(const struct pd_sandbox_state *state)
{
    return pd_store_pool(state->controller->store, state->sandbox->pool);
}

static void step_later(struct pd_sandbox_state *state, struct pd_time when)
{
    pd_controller_enqueue_at(state->controller, state->sandbox->pool, when);
}

/* ---- questions and answers ---- */

static struct pd_op *ask(struct pd_sandbox_state *state, enum pd_op_kind kind, int64_t timeout_ms)
{
    struct pd_op *op = pd_op_new(state->at, kind, state->sandbox->id);

    op->serial = ++state->op_serial;
    state->op = kind;
    state->op_until = pd_time_add_ms(state->controller->now(), timeout_ms);
    step_later(state, state->op_until);
    return op;
}

/* The sandbox that still waits for this answer, or NULL. */
static struct pd_sandbox_state *asker(const struct pd_op *op)
{
    struct pd_sandbox *sandbox =
        op->controller ? pd_store_sandbox(op->controller->store, op->id) : NULL;
    struct pd_sandbox_state *state = sandbox ? state_of(sandbox) : NULL;

    if (!state || state->op_serial != op->serial || state->op != op->kind)
        return NULL;
    return state;
}

/* The question is settled, by an answer or by giving up. */
static void settle(struct pd_sandbox_state *state)
{
    state->op = PD_OP_NONE;
    state->op_serial++;
}

static void retry_later(struct pd_sandbox_state *state)
{
    int64_t pause_ms = RETRY_PAUSE_MIN_MS;

    for (int i = 0; i < state->attempts && pause_ms < RETRY_PAUSE_MAX_MS; i++)
        pause_ms *= 2;
    state->attempts++;
    state->retry_at = pd_time_add_ms(state->controller->now(), pause_ms);
    step_later(state, state->retry_at);
}

/* A creation that failed, or a member that never became ready, slows growth. */
static void blame_growth(struct pd_sandbox_state *state, int kind, const char *message)
{
    struct pd_controller *controller = state->controller;
    struct pd_pool *pool = pool_of(state);

    if (strcmp(pool->spec->template_hash, state->sandbox->template_hash) != 0)
        return;
    pd_growth_failed(&pd_pool_state_of(pool)->growth, kind, message, controller->now(),
                     (uint64_t)(uintptr_t)pool ^ (uint64_t)controller->started.ns);
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
        pd_growth_created(&pd_pool_state_of(pool_of(state))->growth);
        pd_store_sandbox_move(state->controller->store, sandbox, PD_SANDBOX_STARTING);
    }
    pd_life_step(sandbox);
}

void pd_life_found(struct pd_sandbox *sandbox, const char *provider_id)
{
    struct pd_sandbox_state *state = state_of(sandbox);

    if (state->op == PD_OP_CREATE)
        settle(state);
    created(state, provider_id);
}

/* Something may exist nevertheless: it is looked for before it is forgotten. */
static void create_failed(struct pd_sandbox_state *state, const struct pd_err *err)
{
    struct pd_sandbox *sandbox = state->sandbox;

    if (sandbox->phase == PD_SANDBOX_CREATING) {
        pd_log(PD_LOG_WARN, "controller", "sandbox not created", "pool", sandbox->pool, "id",
               sandbox->id, "err", err->msg, NULL);
        blame_growth(state, err->kind, err->msg);
        pd_pool_state_of(pool_of(state))->ready_hash[0] = '\0';
        pd_life_end(sandbox, err->msg);
        return;
    }
    pd_life_step(sandbox);
}

static void on_created(void *arg, const struct pd_err *err, const char *provider_id)
{
    struct pd_op *op = arg;
    struct pd_sandbox_state *state = asker(op);

    if (state) {
        settle(state);
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
    struct pd_pool *pool = pool_of(state);
    struct pd_provider *provider = state->at->provider;
    struct pd_err err = {0};
    struct pd_op *op;

    if (strcmp(pool->spec->template_hash, state->sandbox->template_hash) != 0) {
        pd_life_end(state->sandbox, pd_why_text(PD_WHY_OUTDATED));
        return;
    }
    op = ask(state, PD_OP_CREATE, CREATE_TIMEOUT_MS);
    if (provider->ops->create(provider, pool->spec, state->sandbox->id, on_created, op, &err) < 0) {
        pd_op_free(op);
        settle(state);
        create_failed(state, &err);
    }
}

/* ---- starting ---- */

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

static void close_link(struct pd_sandbox_state *state)
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
    step_later(state, state->retry_at);
}

static bool may_relink(const struct pd_sandbox_state *state)
{
    const struct pd_sandbox *sandbox = state->sandbox;
    const struct pd_pool *pool = pool_of(state);
    bool one_run = pool->hello.isolation > pool->spec->isolation;

    return state->relinks < RELINKS_MAX && sandbox->phase != PD_SANDBOX_CLAIMED &&
           !sandbox->recycle && !(one_run && sandbox->runs > 0);
}

/* The agent does not answer, or not any more. A provider in trouble takes its
 * streams down and may leave its sandboxes running, so the end of a stream is
 * not the end of a sandbox; anything else that goes wrong with a link is. */
static void link_failed(struct pd_sandbox_state *state, const struct pd_err *err)
{
    struct pd_sandbox *sandbox = state->sandbox;

    if (sandbox->phase == PD_SANDBOX_TERMINATING)
        return;
    if (err->kind == PD_UNAVAILABLE && may_relink(state)) {
        close_link(state);
        link_again(state);
        return;
    }
    if (!state->was_ready && !state->adopted)
        blame_growth(state, err->kind == PD_LIMIT ? PD_INTERNAL : err->kind, err->msg);
    pd_life_end(sandbox, err->msg);
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
    struct pd_pool *pool = pool_of(state);
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

/* Whose runs an earlier life's sandbox has served is not known any more. */
static void take_over_runs(struct pd_sandbox_state *state, uint64_t runs)
{
    struct pd_sandbox *sandbox = state->sandbox;
    const struct pd_pool_spec *spec = pool_of(state)->spec;

    if (!state->adopted || state->was_ready || runs == 0)
        return;
    sandbox->runs = (uint32_t)runs;
    if (!spec->recycle.share || pd_sandbox_serves_one_run(spec, sandbox)) {
        sandbox->recycle = true;
        pd_strcpy(sandbox->reason, sizeof sandbox->reason, "it served an earlier life");
    }
}

static void learn_start_time(struct pd_sandbox_state *state, int64_t took_ms)
{
    struct pd_pool_state *pool_state = pd_pool_state_of(pool_of(state));

    if (!state->adopted && !state->was_ready)
        pool_state->start_ms = (pool_state->start_ms * 3 + took_ms) / 4;
    pd_growth_ready(&pool_state->growth);
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
    state->was_ready = true;
    state->relinks = 0;
    pd_log(PD_LOG_INFO, "controller", "sandbox ready", "pool", sandbox->pool, "id", sandbox->id,
           "took_ms", fresh ? PD_NUM(took_ms) : NULL, "isolation",
           pd_isolation_name(hello->isolation), "weaker", weaker, NULL);
    pd_store_sandbox_move(state->controller->store, sandbox, PD_SANDBOX_WARM);
}

/* Versions come in after a while; the number of spares is asked for when needed. */
static void on_link_changed(void *arg, struct pd_link *link)
{
    struct pd_sandbox_state *state = arg;
    const struct pd_hello *hello = pd_link_hello(link);

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
    link_failed(state, err);
}

static const struct pd_link_events link_events = {
    .ready = on_link_ready,
    .changed = on_link_changed,
    .down = on_link_down,
};

static void open_link(struct pd_sandbox_state *state, struct pd_stream *stream)
{
    struct pd_controller *controller = state->controller;
    struct pd_pool *pool = pool_of(state);
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
    struct pd_sandbox_state *state = asker(op);
    bool wanted = state && state->sandbox->phase == PD_SANDBOX_STARTING;

    if (state)
        settle(state);
    if (!err && !wanted)
        stream->ops->close(stream, NULL, NULL);
    else if (!err)
        open_link(state, stream);
    else if (wanted)
        link_failed(state, err);
    if (state && !wanted)
        pd_life_step(state->sandbox);
    pd_op_free(op);
}

static void ask_for_stream(struct pd_sandbox_state *state)
{
    struct pd_provider *provider = state->at->provider;
    struct pd_err err = {0};
    struct pd_op *op = ask(state, PD_OP_LINK, LINK_TIMEOUT_MS);

    if (provider->ops->link(provider, state->sandbox->provider_id, on_stream, op, &err) < 0) {
        pd_op_free(op);
        settle(state);
        link_failed(state, &err);
    }
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
    pd_store_sandbox_move(controller->store, sandbox, PD_SANDBOX_TERMINATING);
    pd_expect_set(controller->expect, sandbox->id, PD_EXPECT_VANISH, controller->now());
    if (state->op == PD_OP_LINK)
        settle(state);
    state->attempts = 0;
    state->retry_at = (struct pd_time){0};
    close_link(state);
    pd_life_step(sandbox);
}

void pd_life_dead(struct pd_sandbox *sandbox, const char *reason)
{
    struct pd_sandbox_state *state = state_of(sandbox);

    if (sandbox->phase == PD_SANDBOX_STARTING && !state->adopted && !state->was_ready)
        blame_growth(state, PD_UNAVAILABLE, reason[0] ? reason : "it died before it was ready");
    pd_life_end(sandbox, reason[0] ? reason : "it died");
}

void pd_life_detach(struct pd_sandbox *sandbox)
{
    struct pd_sandbox_state *state = state_of(sandbox);

    if (!state)
        return;
    close_link(state);
    sandbox->controller_data = NULL;
    free(state);
}

void pd_life_remove(struct pd_sandbox *sandbox)
{
    struct pd_controller *controller = state_of(sandbox)->controller;

    pd_life_detach(sandbox);
    pd_store_sandbox_remove(controller->store, sandbox);
}

static void on_destroyed(void *arg, const struct pd_err *err)
{
    struct pd_op *op = arg;
    struct pd_sandbox_state *state = asker(op);

    if (state) {
        settle(state);
        if (!err) {
            pd_life_remove(state->sandbox);
        } else {
            pd_log(state->attempts == 0 ? PD_LOG_WARN : PD_LOG_DEBUG, "controller",
                   "sandbox not destroyed, will try again", "pool", state->sandbox->pool, "id",
                   state->sandbox->id, "err", err->msg, NULL);
            retry_later(state);
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
    op = ask(state, PD_OP_DESTROY, DESTROY_TIMEOUT_MS);
    if (provider->ops->destroy(provider, state->sandbox->provider_id, on_destroyed, op, &err) < 0) {
        pd_op_free(op);
        settle(state);
        retry_later(state);
    }
}

/* ---- step ---- */

/* No answer in time: ask again, but not for ever. */
static void give_up(struct pd_sandbox_state *state)
{
    enum pd_op_kind kind = state->op;
    struct pd_err err;

    settle(state);
    state->attempts++;
    pd_err_set(&err, PD_TIMEOUT, "the provider did not answer in time");
    if (kind == PD_OP_CREATE && state->sandbox->phase == PD_SANDBOX_CREATING &&
        state->attempts >= CREATE_ATTEMPTS_MAX)
        create_failed(state, &err);
    else if (kind == PD_OP_LINK && state->attempts >= LINK_ATTEMPTS_MAX)
        link_failed(state, &err);
}

/* The queue keeps one time for a pool, its earliest, so whoever still waits
 * says so each time. */
static bool must_wait(struct pd_sandbox_state *state, struct pd_time now)
{
    if (state->op != PD_OP_NONE)
        step_later(state, state->op_until);
    else if (pd_time_before(now, state->retry_at))
        step_later(state, state->retry_at);
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
            ask_for_stream(state);
        break;
    case PD_SANDBOX_TERMINATING:
        ask_to_destroy(state);
        break;
    case PD_SANDBOX_WARM:
    case PD_SANDBOX_CLAIMED:
        break;
    }
}
