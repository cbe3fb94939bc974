/* A controller over a provider in simulated time (provider_sim.h), the real store
 * and the real links, with one pool "p": for the tests of the controller. */
#ifndef PD_TESTS_LIB_CONTROLLER_WORLD_H
#define PD_TESTS_LIB_CONTROLLER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/languages.h"
#include "common/log.h"
#include "common/mem.h"
#include "controller/decide.h"
#include "controller/state.h"
#include "tests/lib/provider_sim.h"

static struct pd_time clock_now;

static inline struct pd_time fixed_now(void)
{
    return clock_now;
}

#define CLAIMS_MAX 64

struct world {
    uv_loop_t loop;
    struct pd_store *store;
    struct pd_controller *controller;
    struct provider_sim *sim;
    struct pd_provider *provider; /* what the controller gets: the sim, or what stands before it */
    struct pd_pool_spec *spec;    /* of the pool "p" */
    struct pd_languages languages;
    char claims[CLAIMS_MAX][PD_SANDBOX_ID_MAX];
    bool harmed[CLAIMS_MAX]; /* the test itself has ended it, or cut its link */
    size_t n_claims;
    uint64_t random;
    bool closed;
};

static inline int dice(struct world *world, int n)
{
    world->random = world->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((world->random >> 33) % (uint64_t)n);
}

/* A spec as the parser would make it, without a manifest. */
static inline struct pd_pool_spec *spec_new(const char *name, const char *hash)
{
    struct pd_pool_spec *spec = PD_NEW(struct pd_pool_spec);

    pd_strcpy(spec->name, sizeof spec->name, name);
    pd_strcpy(spec->template_hash, sizeof spec->template_hash, hash);
    spec->image = pd_strdup("image");
    spec->runtime = pd_strdup("");
    spec->min_size = 3;
    spec->max_size = 6;
    spec->target_idle = 1;
    spec->recycle.after_runs = 100;
    spec->recycle.after_age_ms = 3600 * 1000;
    spec->scale_down_after_ms = 60 * 1000;
    spec->run.max_timeout_ms = 5 * 60 * 1000;
    spec->update.max_surge = 1;
    spec->refs = 1;
    return spec;
}

/* ---- turning the world ---- */

/* Until nothing more happens at this instant. */
static inline void settle(struct world *world)
{
    for (int i = 0; i < 100000; i++) {
        bool any = provider_sim_run(world->sim);
        uv_run(&world->loop, UV_RUN_NOWAIT);
        if (!any && (!uv_loop_alive(&world->loop) || uv_backend_timeout(&world->loop) != 0))
            return;
    }
    fail_msg("it never settles");
}

static inline struct pd_time earlier(struct pd_time a, struct pd_time b)
{
    if (!pd_time_is_set(a))
        return b;
    return pd_time_is_set(b) && pd_time_before(b, a) ? b : a;
}

static inline struct pd_time next_due(struct world *world)
{
    struct pd_time next = provider_sim_next(world->sim);

    return world->controller ? earlier(next, pd_workqueue_next(world->controller->queue)) : next;
}

static inline void advance(struct world *world, int64_t ms)
{
    struct pd_time target = pd_time_add_ms(clock_now, ms);

    settle(world);
    while (pd_time_before(clock_now, target)) {
        struct pd_time next = next_due(world);
        if (!pd_time_is_set(next) || pd_time_before(target, next))
            next = target;
        clock_now = pd_time_before(clock_now, next) ? next : pd_time_add_ms(clock_now, 1);
        if (world->controller)
            pd_controller_tick(world->controller);
        settle(world);
    }
}

static inline void start(struct world *world)
{
    struct pd_controller_config config = {
        .loop = &world->loop,
        .languages = &world->languages,
        .docker = world->provider,
        .fixed_now = fixed_now,
    };

    world->store = config.store = pd_store_new(&world->loop, fixed_now);
    assert_int_equal(pd_store_pool_put(world->store, world->spec, "test", NULL), 0);
    world->controller = pd_controller_new(&config);
}

static inline void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static inline void on_controller_closed(void *arg)
{
    struct world *world = arg;

    world->controller = NULL;
}

static inline void stop(struct world *world, bool destroy_all)
{
    pd_controller_close(world->controller, destroy_all, on_controller_closed, world);
    settle(world);
    while (world->controller)
        advance(world, 1000);
    assert_null(world->sim->event_cb);
    world->closed = false;
    pd_store_close(world->store, on_closed, &world->closed);
    settle(world);
    assert_true(world->closed);
    world->n_claims = 0;
}

/* As kill -9: whatever is under way at the provider goes on, nobody hears of it. */
static inline void crash(struct world *world)
{
    stop(world, false);
}

static inline void open_world(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    pd_log_level_set(getenv("PD_TEST_LOG") ? PD_LOG_DEBUG : PD_LOG_ERROR);
    clock_now = (struct pd_time){1000000 * PD_NS_PER_MS};
    uv_loop_init(&world->loop);
    world->random = seed * 2 + 1;
    world->sim = provider_sim_new(&world->loop, fixed_now, seed);
    world->provider = &world->sim->provider;
    world->spec = spec_new("p", "aaaa");
    world->languages.count = 1;
    world->languages.items[0] =
        (struct pd_language){.name = "python", .file = (char *)"main.py", .spare = (char *)""};
    start(world);
}

static inline void close_world(struct world *world)
{
    stop(world, false);
    provider_sim_free(world->sim);
    pd_pool_spec_unref(world->spec);
    uv_run(&world->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
}

static inline const struct pd_pool_status *status(struct world *world)
{
    return &pd_store_pool(world->store, "p")->status;
}

/* ---- what the API would do ---- */

static inline bool claim(struct world *world, const char *key)
{
    struct pd_sandbox *sandbox =
        world->n_claims < CLAIMS_MAX ? pd_store_claim(world->store, "p", "python", key) : NULL;

    if (sandbox) {
        world->harmed[world->n_claims] = false;
        pd_strcpy(world->claims[world->n_claims++], PD_SANDBOX_ID_MAX, sandbox->id);
    }
    return sandbox != NULL;
}

/* The test is about to harm this instance, or with -1 all of them. */
static inline void note_harm(struct world *world, int at)
{
    for (size_t i = 0; i < world->n_claims; i++) {
        if (at < 0 || strcmp(world->claims[i], world->sim->instances[at]->instance.id) == 0)
            world->harmed[i] = true;
    }
}

/* What nobody harmed still has its run in it: scaling, rolling and the rest let
 * it finish. */
static inline void assert_claims_kept(struct world *world)
{
    for (size_t i = 0; i < world->n_claims; i++) {
        const struct pd_sandbox *sandbox = pd_store_sandbox(world->store, world->claims[i]);
        if (!world->harmed[i] && (!sandbox || sandbox->phase != PD_SANDBOX_CLAIMED))
            fail_msg("%s was taken from under its run: %s", world->claims[i],
                     sandbox ? sandbox->reason : "it is gone");
    }
}

static inline void release(struct world *world, size_t i, bool usable)
{
    const struct provider_sim_instance *instance =
        pd_strmap_get(&world->sim->by_id, world->claims[i]);

    if (instance)
        world->sim->instances[instance->index]->runs++;
    pd_store_release(world->store, world->claims[i], usable, usable ? NULL : "its run was lost");
    memmove(world->claims[i], world->claims[world->n_claims - 1], PD_SANDBOX_ID_MAX);
    world->harmed[i] = world->harmed[world->n_claims - 1];
    world->n_claims--;
}

static inline void replace_spec(struct world *world, const char *hash, int min, int max)
{
    struct pd_pool_spec *spec = spec_new("p", hash);

    spec->min_size = min;
    spec->max_size = max;
    pd_pool_spec_unref(world->spec);
    world->spec = spec;
    assert_int_equal(pd_store_pool_put(world->store, spec, "test", NULL), 0);
}

static inline const struct pd_event *event_of(struct world *world, const char *reason)
{
    const struct pd_event *event = pd_events_newest(pd_store_events(world->store));

    while (event && strcmp(event->reason, reason) != 0)
        event = pd_events_older(event);
    return event;
}

static inline void assert_event(struct world *world, const char *reason)
{
    if (!event_of(world, reason))
        fail_msg("no event %s", reason);
}

/* Every sandbox of the provider is known and warm, and there are so many. */
static inline void assert_settled(struct world *world, int count)
{
    assert_int_equal(status(world)->ready, count);
    assert_int_equal(status(world)->replicas, count);
    assert_int_equal(world->sim->count, count);
    for (size_t i = 0; i < world->sim->count; i++) {
        const struct pd_instance *instance = &world->sim->instances[i]->instance;
        struct pd_sandbox *sandbox = pd_store_sandbox(world->store, instance->id);
        assert_non_null(sandbox);
        assert_string_equal(sandbox->provider_id, instance->provider_id);
        assert_int_equal(sandbox->phase, PD_SANDBOX_WARM);
        assert_non_null(sandbox->link);
    }
}

#endif
