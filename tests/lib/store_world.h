/* A store of simulated time, with one pool "p": for the tests of the store. */
#ifndef PD_TESTS_LIB_STORE_WORLD_H
#define PD_TESTS_LIB_STORE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/store.h"

static struct pd_time clock_now;

static inline struct pd_time fixed_now(void)
{
    return clock_now;
}

static inline struct pd_pool_spec *spec_new(const char *name)
{
    struct pd_pool_spec *spec = PD_NEW(struct pd_pool_spec);

    pd_strcpy(spec->name, sizeof spec->name, name);
    pd_strcpy(spec->template_hash, sizeof spec->template_hash, "aaaa");
    spec->image = pd_strdup("image");
    spec->runtime = pd_strdup("");
    spec->max_size = 10;
    spec->recycle.after_runs = 3;
    spec->recycle.after_age_ms = 10000;
    spec->refs = 1;
    return spec;
}

struct world {
    uv_loop_t loop;
    struct pd_store *store;
    struct pd_pool_spec *spec; /* of the pool "p"; the store shares it */
};

static inline int open_world(void **state)
{
    struct world *world = PD_NEW(struct world);

    clock_now = (struct pd_time){1000 * PD_NS_PER_MS};
    uv_loop_init(&world->loop);
    world->store = pd_store_new(&world->loop, fixed_now);
    world->spec = spec_new("p");
    assert_int_equal(pd_store_pool_put(world->store, world->spec, "test", NULL), 0);
    *state = world;
    return 0;
}

static inline void count_closed(void *arg)
{
    ++*(int *)arg;
}

static inline int close_world(void **state)
{
    struct world *world = *state;
    int closed = 0;

    pd_store_close(world->store, count_closed, &closed);
    assert_int_equal(closed, 0);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(closed, 1);
    pd_pool_spec_unref(world->spec);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    free(world);
    return 0;
}

static inline struct pd_sandbox *add_warm(struct world *world, const char *id)
{
    struct pd_sandbox *sandbox = pd_store_sandbox_add(world->store, id, "p", "aaaa");

    clock_now = pd_time_add_ms(clock_now, 1);
    pd_store_sandbox_move(world->store, sandbox, PD_SANDBOX_STARTING);
    pd_store_sandbox_move(world->store, sandbox, PD_SANDBOX_WARM);
    return sandbox;
}

#define store_test(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

#endif
