/* Theory of operation
 *
 * Whatever happens (a pool or a sandbox changes in the store, a provider has
 * news, a time has come) puts a key in line and nothing else. Keys are worked on
 * from an idle handle, a few each turn so that the loop stays free for runs:
 *
 *   "python"           look at the pool, decide, act (reconcile.c)
 *   "provider:docker"  see what exists there, if that is due (inventory.c)
 *
 * Acting means asking the provider. Its answers change the store, which puts the
 * pool's key in line again, until what exists is what is wanted. */
#include "controller/controller.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "controller/state.h"

#define KEYS_PER_TURN 64
#define CLOSE_TIMEOUT_MS (7 * 1000) /* within PD_SERVE_CLOSE_MS of cli/serve.h */

/* ---- the line ---- */

static void arm(struct pd_controller *controller);

static void work_on(struct pd_controller *controller, const char *key)
{
    struct pd_time begun;

    for (size_t i = 0; i < PD_PROVIDER_KINDS; i++) {
        struct pd_provider_state *at = &controller->providers[i];
        if (strcmp(key, at->key) == 0) {
            pd_inventory_step(at);
            return;
        }
    }
    begun = pd_time_now();
    pd_reconcile_pool(controller, key);
    pd_metrics_observe(controller->metrics, PD_M_RECONCILE_SECONDS, NULL,
                       (double)(pd_time_now().ns - begun.ns) / 1e9);
}

static void work(struct pd_controller *controller)
{
    const char *key;

    for (int i = 0; i < KEYS_PER_TURN && (key = pd_workqueue_get(controller->queue)); i++) {
        work_on(controller, key);
        pd_workqueue_done(controller->queue, key);
    }
}

static void check_closing(struct pd_controller *controller);

static void on_idle(uv_idle_t *idle)
{
    struct pd_controller *controller = idle->data;

    work(controller);
    arm(controller);
    check_closing(controller);
}

static void on_timer(uv_timer_t *timer)
{
    pd_controller_tick(timer->data);
}

/* Be called again when there is something to do, and not before. */
static void arm(struct pd_controller *controller)
{
    struct pd_time next = pd_workqueue_next(controller->queue);
    int64_t wait_ms;

    if (uv_is_closing((uv_handle_t *)&controller->timer))
        return;
    if (pd_workqueue_length(controller->queue) > 0)
        uv_idle_start(&controller->idle, on_idle);
    else
        uv_idle_stop(&controller->idle);
    if (!pd_time_is_set(next)) {
        uv_timer_stop(&controller->timer);
        return;
    }
    wait_ms = pd_time_ms_between(controller->now(), next) + 1;
    uv_update_time(controller->loop);
    uv_timer_start(&controller->timer, on_timer, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
}

void pd_controller_tick(struct pd_controller *controller)
{
    pd_workqueue_advance(controller->queue, controller->now());
    arm(controller);
    check_closing(controller);
}

void pd_controller_enqueue(struct pd_controller *controller, const char *key)
{
    pd_workqueue_add(controller->queue, key);
    if (!uv_is_closing((uv_handle_t *)&controller->idle))
        uv_idle_start(&controller->idle, on_idle);
}

void pd_controller_enqueue_at(struct pd_controller *controller, const char *key,
                              struct pd_time when)
{
    struct pd_time next = pd_workqueue_next(controller->queue);

    pd_workqueue_add_at(controller->queue, key, when);
    if (!pd_time_is_set(next) || pd_time_before(when, next))
        arm(controller);
}

static void on_store_changed(void *arg, const char *pool)
{
    pd_controller_enqueue(arg, pool);
}

/* ---- the providers' events ---- */

static void enqueue_pools_of(struct pd_provider_state *at)
{
    struct pd_controller *controller = at->controller;
    struct pd_pool *pool;

    for (size_t i = 0; (pool = pd_store_pool_at(controller->store, i)); i++) {
        if (&controller->providers[pool->spec->provider] == at)
            pd_controller_enqueue(controller, pool->spec->name);
    }
}

/* What failed while the provider was in trouble need not fail any more. */
static void forgive_pools_of(struct pd_provider_state *at)
{
    struct pd_controller *controller = at->controller;
    struct pd_pool *pool;

    for (size_t i = 0; (pool = pd_store_pool_at(controller->store, i)); i++) {
        if (&controller->providers[pool->spec->provider] == at)
            pd_growth_ready(&pd_pool_state_of(pool)->growth);
    }
}

static void each_sandbox(struct pd_controller *controller, void (*fn)(struct pd_sandbox *sandbox))
{
    struct pd_pool *pool;

    for (size_t i = 0; (pool = pd_store_pool_at(controller->store, i)); i++) {
        for (size_t j = pd_store_sandbox_count(controller->store, pool->spec->name); j-- > 0;) {
            struct pd_sandbox *sandbox =
                pd_store_sandbox_at(controller->store, pool->spec->name, j);
            if (sandbox->controller_data)
                fn(sandbox);
        }
    }
}

static void on_provider_up(struct pd_provider_state *at)
{
    if (!at->up)
        pd_log(PD_LOG_INFO, "controller", "provider up", "provider", at->provider->ops->name, NULL);
    at->up = true;
    at->listed = false;
    at->listing = false; /* a question from before is not worth waiting for */
    at->list_begun = (struct pd_time){0};
    at->list_failures = 0;
    at->error[0] = '\0';
    each_sandbox(at->controller, pd_life_provider_up);
    forgive_pools_of(at);
    pd_inventory_request(at);
    pd_controller_enqueue(at->controller, at->key);
    enqueue_pools_of(at);
}

static void on_provider_down(struct pd_provider_state *at, const char *reason)
{
    const char *name = at->provider->ops->name;

    if (at->up || at->error[0] == '\0')
        pd_log(PD_LOG_WARN, "controller", "provider down, waiting for it", "provider", name,
               "reason", reason, NULL);
    at->up = false;
    at->listed = false;
    snprintf(at->error, sizeof at->error, "%s does not answer%s%.100s", name, reason[0] ? ": " : "",
             reason);
    enqueue_pools_of(at);
}

/* Its platform takes it away soon: a run in it may end, none begins any more. */
static void retire(struct pd_controller *controller, struct pd_sandbox *sandbox, const char *reason)
{
    if (sandbox->recycle || sandbox->phase == PD_SANDBOX_TERMINATING)
        return;
    sandbox->recycle = true;
    pd_strcpy(sandbox->reason, sizeof sandbox->reason, reason[0] ? reason : "it is taken away");
    pd_log(PD_LOG_INFO, "controller", "sandbox is taken away", "pool", sandbox->pool, "id",
           sandbox->id, "reason", sandbox->reason, NULL);
    pd_controller_enqueue(controller, sandbox->pool);
}

static void on_provider_changed(struct pd_provider_state *at, const struct pd_provider_event *event)
{
    struct pd_controller *controller = at->controller;
    struct pd_sandbox *sandbox =
        event->id[0] ? pd_store_sandbox(controller->store, event->id) : NULL;

    if (sandbox && sandbox->controller_data) {
        pd_expect_met(controller->expect, event->id, PD_EXPECT_APPEAR);
        if (event->dead && sandbox->provider_id[0])
            pd_life_dead(sandbox, event->reason);
        else if (event->leaving)
            retire(controller, sandbox, event->reason);
        else if (sandbox->phase == PD_SANDBOX_TERMINATING && !sandbox->provider_id[0])
            pd_inventory_request(at); /* given up, and made nevertheless */
    } else if (event->id[0] == '\0' ||
               (!event->dead && !pd_expect_is_pending(controller->expect, event->id,
                                                      PD_EXPECT_VANISH, controller->now()))) {
        pd_inventory_request(at);
    }
}

static void on_provider_event(void *arg, const struct pd_provider_event *event)
{
    struct pd_provider_state *at = arg;

    if (event->type != PD_PROVIDER_CHANGED)
        pd_metrics_set(at->controller->metrics, PD_M_PROVIDER_UP,
                       PD_LABELS(at->provider->ops->name), event->type == PD_PROVIDER_UP);
    switch (event->type) {
    case PD_PROVIDER_UP:
        on_provider_up(at);
        break;
    case PD_PROVIDER_DOWN:
        on_provider_down(at, event->reason);
        break;
    case PD_PROVIDER_CHANGED:
        on_provider_changed(at, event);
        break;
    }
}

/* ---- health ---- */

static bool is_used(const struct pd_controller *controller, const struct pd_provider_state *at)
{
    struct pd_pool *pool;

    for (size_t i = 0; (pool = pd_store_pool_at(controller->store, i)); i++) {
        if (&controller->providers[pool->spec->provider] == at)
            return true;
    }
    return false;
}

bool pd_controller_is_healthy(const struct pd_controller *controller, const char **ret_sentence)
{
    for (size_t i = 0; i < PD_PROVIDER_KINDS; i++) {
        const struct pd_provider_state *at = &controller->providers[i];
        if ((at->up && at->listed) || !is_used(controller, at))
            continue;
        *ret_sentence = !at->provider  ? "a pool asks for a provider that is not configured"
                        : at->error[0] ? at->error
                        : at->up       ? "looking at what the provider has"
                                       : "the provider has not answered yet";
        return false;
    }
    *ret_sentence = "every provider answers";
    return true;
}

/* ---- life ---- */

static void provider_begin(struct pd_controller *controller, enum pd_provider_kind kind,
                           struct pd_provider *provider)
{
    static const char *const keys[] = {
        [PD_PROVIDER_DOCKER] = "provider:docker",
        [PD_PROVIDER_ECS] = "provider:ecs",
    };
    struct pd_provider_state *at = &controller->providers[kind];

    at->controller = controller;
    at->provider = provider;
    at->key = keys[kind];
    if (!provider)
        return;
    pd_provider_check(provider);
    provider->ops->watch(provider, on_provider_event, at);
}

struct pd_controller *pd_controller_new(const struct pd_controller_config *config)
{
    struct pd_controller *controller = PD_NEW(struct pd_controller);
    struct pd_pool *pool;

    controller->loop = config->loop;
    controller->store = config->store;
    controller->languages = config->languages;
    controller->metrics = config->metrics;
    controller->share = config->share;
    controller->share_arg = config->share_arg;
    controller->others = config->others;
    controller->heard = config->heard;
    controller->now = config->fixed_now ? config->fixed_now : pd_time_now;
    controller->started = controller->now();
    controller->queue = pd_workqueue_new();
    controller->expect = pd_expect_new();
    uv_timer_init(config->loop, &controller->timer);
    uv_idle_init(config->loop, &controller->idle);
    controller->timer.data = controller->idle.data = controller;
    controller->handles = 2;
    pd_store_observe(config->store, on_store_changed, controller);
    for (size_t i = 0; (pool = pd_store_pool_at(config->store, i)); i++)
        pd_controller_enqueue(controller, pool->spec->name);
    provider_begin(controller, PD_PROVIDER_DOCKER, config->docker);
    provider_begin(controller, PD_PROVIDER_ECS, config->ecs);
    return controller;
}

/* ---- the end ---- */

void pd_controller_release(struct pd_controller *controller)
{
    void (*closed)(void *arg) = controller->closed;
    void *arg = controller->closed_arg;

    assert(controller->handles > 0);
    if (--controller->handles > 0)
        return;
    pd_workqueue_free(controller->queue);
    pd_expect_free(controller->expect);
    free(controller);
    if (closed)
        closed(arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
    pd_controller_release(handle->data);
}

static void free_pool_states(struct pd_controller *controller)
{
    struct pd_pool *pool;

    for (size_t i = 0; (pool = pd_store_pool_at(controller->store, i)); i++) {
        free(pool->controller_data);
        pool->controller_data = NULL;
    }
}

static void finish(struct pd_controller *controller)
{
    for (size_t i = 0; i < PD_PROVIDER_KINDS; i++) {
        struct pd_provider *provider = controller->providers[i].provider;
        if (provider)
            provider->ops->watch(provider, NULL, NULL);
    }
    pd_store_unobserve(controller->store, on_store_changed, controller);
    pd_op_abandon_all(controller);
    each_sandbox(controller, pd_life_detach);
    free_pool_states(controller);
    uv_close((uv_handle_t *)&controller->timer, on_handle_closed);
    uv_close((uv_handle_t *)&controller->idle, on_handle_closed);
}

/* Whether something is left that its provider can still be asked to destroy. */
static bool has_sandboxes(const struct pd_controller *controller)
{
    struct pd_pool *pool;

    for (size_t i = 0; (pool = pd_store_pool_at(controller->store, i)); i++) {
        const struct pd_sandbox *sandbox =
            pd_store_sandbox_at(controller->store, pool->spec->name, 0);
        const struct pd_sandbox_state *state = sandbox ? sandbox->controller_data : NULL;
        if (state && state->at->up)
            return true;
    }
    return false;
}

/* Whether a provider may have more of ours than we know of: a service that stops
 * right after its start has not seen what an earlier life left. */
static bool is_finding_out(const struct pd_controller *controller)
{
    for (size_t i = 0; i < PD_PROVIDER_KINDS; i++) {
        const struct pd_provider_state *at = &controller->providers[i];
        if (at->provider && !at->listed && at->error[0] == '\0')
            return true;
    }
    return false;
}

/* Whether the engine was listed once more after the last record had gone: what was
 * given up while another replica, or the engine, was about to make it has none.
 * Not for ECS, whose lists show for a while what has ended. */
static bool has_looked_again(struct pd_controller *controller)
{
    struct pd_provider_state *at = &controller->providers[PD_PROVIDER_DOCKER];

    if (!at->provider || !at->up || !at->listed)
        return true;
    if (!pd_time_is_set(at->last_look)) {
        at->last_look = controller->now();
        pd_inventory_request(at);
    }
    if (at->list_failures > 0)
        return true; /* the next start looks */
    return !at->listing && !at->list_wanted && !pd_time_before(at->list_begun, at->last_look);
}

/* With destroy_all, wait for what the providers still have, within reason. */
static void check_closing(struct pd_controller *controller)
{
    bool in_time;

    if (!controller->closing || uv_is_closing((uv_handle_t *)&controller->timer))
        return;
    in_time = pd_time_before(controller->now(), controller->close_until);
    if (controller->destroy_all && in_time &&
        (is_finding_out(controller) || has_sandboxes(controller) || !has_looked_again(controller)))
        return;
    finish(controller);
}

static void end_for_close(struct pd_sandbox *sandbox)
{
    pd_life_end(sandbox, "the service stops");
}

void pd_controller_close(struct pd_controller *controller, bool destroy_all,
                         void (*closed)(void *arg), void *arg)
{
    if (controller->closing)
        return;
    controller->closing = true;
    controller->destroy_all = destroy_all;
    controller->closed = closed;
    controller->closed_arg = arg;
    controller->close_until = pd_time_add_ms(controller->now(), CLOSE_TIMEOUT_MS);
    if (destroy_all)
        each_sandbox(controller, end_for_close);
    /* Looked at again whenever a record goes, and at the latest then. */
    pd_controller_enqueue_at(controller, "", controller->close_until);
    pd_controller_enqueue(controller, "");
}
