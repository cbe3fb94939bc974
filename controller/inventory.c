/* What exists at a provider, joined with the store. The list is the truth about
 * existence, the store about purpose:
 *
 *   in both            the record learns what it did not know (its provider id,
 *                      that it is dead)
 *   at the provider    a leftover of an earlier life: adopted by its pool, which
 *                      destroys it unless it runs; of no pool: destroyed
 *   in the store       lost: its record ends, unless it is only too new
 *
 * A provider is listed when it comes up, when something does not add up, and
 * every few minutes in case an event was missed. */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/strmap.h"
#include "controller/state.h"

#define RESYNC_MS (3 * 60 * 1000)
#define LIST_PAUSE_MS 1000
#define LIST_DOUBLINGS_MAX 5 /* of the pause, after failures */
#define LIST_TIMEOUT_MS (60 * 1000)
/* After a start the sources of pools need a moment; what belongs to none of
 * them by then is a leftover. */
#define STRAY_GRACE_MS 3000

/* ---- strays ---- */

static void on_stray_destroyed(void *arg, const struct pd_err *err)
{
    struct pd_op *op = arg;

    if (op->controller && err) {
        pd_log(PD_LOG_WARN, "controller", "leftover not destroyed, will try again", "id", op->id,
               "err", err->msg, NULL);
        pd_expect_met(op->controller->expect, op->id, PD_EXPECT_VANISH);
        pd_inventory_request(op->at);
    }
    pd_op_free(op);
}

void pd_inventory_destroy_stray(struct pd_provider_state *at, const char *id,
                                const char *provider_id, const char *why)
{
    struct pd_controller *controller = at->controller;
    struct pd_op *op;
    struct pd_err err;

    pd_log(PD_LOG_INFO, "controller", "leftover destroyed", "id", id, "reason", why, NULL);
    pd_expect_set(controller->expect, id, PD_EXPECT_VANISH, controller->now());
    op = pd_op_new(at, PD_OP_DESTROY, id);
    if (at->provider->ops->destroy(at->provider, provider_id, on_stray_destroyed, op, &err) < 0) {
        pd_op_free(op);
        pd_expect_met(controller->expect, id, PD_EXPECT_VANISH);
        pd_inventory_request(at);
    }
}

/* Exists, and no record knows it. */
static void take_stray(struct pd_provider_state *at, const struct pd_instance *instance)
{
    struct pd_controller *controller = at->controller;
    struct pd_pool *pool = pd_store_pool(controller->store, instance->pool);
    struct pd_time now = controller->now();
    struct pd_time grace_ends = pd_time_add_ms(controller->started, STRAY_GRACE_MS);

    if (controller->heard && !controller->heard(controller->share_arg))
        grace_ends = pd_time_add_ms(now, STRAY_GRACE_MS);
    if (pd_expect_is_pending(controller->expect, instance->id, PD_EXPECT_VANISH, now) &&
        !(pd_time_is_set(at->last_look) && instance->phase == PD_INSTANCE_RUNNING))
        return;
    if (pool && &controller->providers[pool->spec->provider] == at) {
        pd_life_adopt(controller, pool, instance);
        if (controller->destroy_all)
            pd_life_end(pd_store_sandbox(controller->store, instance->id), "the service stops");
    } else if (instance->phase != PD_INSTANCE_RUNNING || !pd_time_before(now, grace_ends)) {
        pd_inventory_destroy_stray(at, instance->id, instance->provider_id, "its pool is unknown");
    } else {
        at->list_wanted = true;
        pd_controller_enqueue_at(controller, at->key, grace_ends);
    }
}

/* ---- the join ---- */

static void meet(struct pd_provider_state *at, struct pd_sandbox *sandbox,
                 const struct pd_instance *instance)
{
    bool unanswered = sandbox->provider_id[0] == '\0';

    pd_expect_met(at->controller->expect, sandbox->id, PD_EXPECT_APPEAR);
    if (!unanswered && strcmp(sandbox->provider_id, instance->provider_id) != 0) {
        if (instance->phase != PD_INSTANCE_DEAD)
            pd_inventory_destroy_stray(at, instance->id, instance->provider_id, "it is a double");
        return;
    }
    if (sandbox->phase == PD_SANDBOX_TERMINATING && unanswered)
        pd_life_found(sandbox, instance->provider_id);
    else if (instance->phase == PD_INSTANCE_DEAD && !unanswered)
        pd_life_dead(sandbox, instance->reason);
}

static bool is_at(const struct pd_sandbox *sandbox, const struct pd_provider_state *at)
{
    const struct pd_sandbox_state *state = sandbox->controller_data;

    return state && state->at == at;
}

/* Not in a list that was asked for after it had been made. */
static void miss(struct pd_provider_state *at, struct pd_sandbox *sandbox)
{
    struct pd_controller *controller = at->controller;
    const struct pd_sandbox_state *state = sandbox->controller_data;
    bool ends = sandbox->phase == PD_SANDBOX_TERMINATING;
    struct pd_time known_since = ends ? sandbox->phase_since : sandbox->created;

    if (state->op == PD_OP_CREATE || state->op == PD_OP_DESTROY ||
        !pd_time_before(known_since, at->list_begun))
        return;
    if (ends) {
        /* Nothing was there to vanish: should it be made after all, by whoever read the
         * wish late, it is a leftover like any other. */
        if (sandbox->provider_id[0] == '\0')
            pd_expect_met(controller->expect, sandbox->id, PD_EXPECT_VANISH);
        pd_life_remove(sandbox);
    } else if (sandbox->phase != PD_SANDBOX_CREATING &&
               !pd_expect_is_pending(controller->expect, sandbox->id, PD_EXPECT_APPEAR,
                                     controller->now()))
        pd_life_dead(sandbox, "it vanished");
}

static void miss_absent(struct pd_provider_state *at, const struct pd_strmap *present)
{
    struct pd_controller *controller = at->controller;
    struct pd_pool *pool;

    for (size_t i = 0; (pool = pd_store_pool_at(controller->store, i)); i++) {
        for (size_t j = pd_store_sandbox_count(controller->store, pool->spec->name); j-- > 0;) {
            struct pd_sandbox *sandbox =
                pd_store_sandbox_at(controller->store, pool->spec->name, j);
            if (is_at(sandbox, at) && !pd_strmap_get(present, sandbox->id))
                miss(at, sandbox);
        }
        pd_controller_enqueue(controller, pool->spec->name);
    }
}

static int by_age(const void *a, const void *b)
{
    const struct pd_instance *first = *(const struct pd_instance *const *)a;
    const struct pd_instance *second = *(const struct pd_instance *const *)b;

    return (first->created_wall_ms > second->created_wall_ms) -
           (first->created_wall_ms < second->created_wall_ms);
}

static void join(struct pd_provider_state *at, const struct pd_instance *instances, size_t count)
{
    const struct pd_instance **sorted = pd_calloc(count, sizeof(*sorted));
    struct pd_strmap present = {0};

    for (size_t i = 0; i < count; i++)
        sorted[i] = &instances[i];
    qsort(sorted, count, sizeof(*sorted), by_age);
    for (size_t i = 0; i < count; i++) {
        struct pd_sandbox *sandbox = pd_store_sandbox(at->controller->store, sorted[i]->id);
        if (!pd_strmap_get(&present, sorted[i]->id))
            pd_strmap_add(&present, sorted[i]->id, (void *)(uintptr_t)sorted[i]);
        if (sandbox && is_at(sandbox, at))
            meet(at, sandbox, sorted[i]);
        else if (!sandbox)
            take_stray(at, sorted[i]);
    }
    miss_absent(at, &present);
    pd_strmap_fini(&present);
    free(sorted);
}

/* ---- listing ---- */

static void on_listed(void *arg, const struct pd_err *err, const struct pd_instance *instances,
                      size_t count)
{
    struct pd_op *op = arg;
    struct pd_provider_state *at = op->at;
    struct pd_controller *controller = op->controller;
    bool heard = controller && op->serial == at->list_serial && at->listing;

    pd_op_free(op);
    if (!heard)
        return;
    at->listing = false;
    pd_controller_enqueue(controller, at->key);
    if (err) {
        pd_log(at->list_failures == 0 ? PD_LOG_WARN : PD_LOG_DEBUG, "controller",
               "provider not listed, will try again", "provider", at->provider->ops->name, "err",
               err->msg, NULL);
        pd_strcpy(at->error, sizeof at->error, err->msg);
        at->list_failures++;
        at->list_wanted = true;
        return;
    }
    at->list_failures = 0;
    if (!at->listed)
        pd_log(PD_LOG_INFO, "controller", "provider listed", "provider", at->provider->ops->name,
               "sandboxes", PD_NUM(count), NULL);
    at->listed = true;
    at->error[0] = '\0';
    pd_expect_prune(controller->expect, controller->now());
    join(at, instances, count);
}

static void begin_list(struct pd_provider_state *at, struct pd_time now)
{
    struct pd_op *op = pd_op_new(at, PD_OP_NONE, at->key);
    struct pd_err err = {0};

    op->serial = ++at->list_serial;
    at->listing = true;
    at->list_wanted = false;
    at->list_begun = now;
    pd_controller_enqueue(at->controller, at->key);
    if (at->provider->ops->list(at->provider, on_listed, op, &err) < 0)
        on_listed(op, &err, NULL, 0);
}

void pd_inventory_request(struct pd_provider_state *at)
{
    if (at->list_wanted)
        return;
    at->list_wanted = true;
    pd_controller_enqueue(at->controller, at->key);
}

/* From the beginning of one list to that of the next. */
static int64_t list_interval_ms(const struct pd_provider_state *at)
{
    int failures = at->list_failures < LIST_DOUBLINGS_MAX ? at->list_failures : LIST_DOUBLINGS_MAX;

    if (at->listing)
        return LIST_TIMEOUT_MS;
    return at->list_wanted || !at->listed ? (int64_t)LIST_PAUSE_MS << failures : RESYNC_MS;
}

void pd_inventory_step(struct pd_provider_state *at)
{
    struct pd_time now = at->controller->now();
    struct pd_time due = pd_time_add_ms(at->list_begun, list_interval_ms(at));

    if (!at->up)
        return;
    if (pd_time_is_set(at->list_begun) && pd_time_before(now, due))
        pd_controller_enqueue_at(at->controller, at->key, due);
    else
        begin_list(at, now);
}
