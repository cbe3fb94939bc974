/* A dispatcher over the real store and links that do what their runs' code says
 * (tests/lib/fake_link.h), with one pool "p". Include it in one source of a test program. */
#ifndef PD_TESTS_LIB_DISPATCH_RIG_H
#define PD_TESTS_LIB_DISPATCH_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/dispatch.h"
#include "api/problem.h"
#include "common/mem.h"
#include "tests/lib/fake_link.h"
#include "tests/lib/loop_until.h"
#include "tests/lib/manifest.h"

#define WAIT_MS 5000
#define JOBS_MAX 64
#define LINKS_MAX 8

/* One run asked for, and what became of it. */
struct want {
    struct world *world;
    struct pd_run_request run;
    struct pd_job *job;
    const char *name;
    bool done;
    enum { RAN, FAILED } how;
    enum pd_cause cause;
    int kind; /* of the failure */
    int retry_after_s;
    int64_t queue_us;
    size_t output;
    int abouts;
};

struct world {
    uv_loop_t loop;
    struct pd_store *store;
    struct pd_dispatch *dispatch;
    struct pd_link *links[LINKS_MAX];
    char ids[LINKS_MAX][16];
    size_t n_links;
    struct want wants[JOBS_MAX];
    size_t n_wants;
    char order[256];                    /* names of those that ended, in order */
    const struct pd_job_events *events; /* for the next submit; NULL: job_events */
    bool patient;                       /* of the next submit */
    bool closed;
    int idles;
};

/* ---- what the dispatcher says ---- */

static inline void on_output(void *arg, int stream, const void *data, size_t len)
{
    struct want *want = arg;

    (void)stream;
    (void)data;
    want->output += len;
    pd_job_grant(want->job, len);
}

static inline void note(struct want *want)
{
    char *order = want->world->order;
    size_t used = strlen(order);

    assert_false(want->done);
    want->done = true;
    snprintf(order + used, sizeof want->world->order - used, "%s ", want->name);
}

static inline void on_ended(void *arg, const struct pd_run_result *result,
                            const struct pd_job_times *times)
{
    struct want *want = arg;

    want->how = RAN;
    want->cause = result->cause;
    want->queue_us = times->queue_us;
    note(want);
}

static inline void on_failed(void *arg, const struct pd_err *err, int retry_after_s)
{
    struct want *want = arg;

    want->how = FAILED;
    want->kind = err->kind;
    want->retry_after_s = retry_after_s;
    note(want);
}

static const struct pd_job_events job_events = {
    .output = on_output,
    .ended = on_ended,
    .failed = on_failed,
};

/* ---- the world ---- */

static inline void put_pool(struct world *world, const char *spec_text)
{
    pd_autofree char *text = pd_asprintf(
        "apiVersion: paddock.dev/v1\nkind: SandboxPool\n"
        "metadata: {name: p}\nspec: {image: i, %s}\n",
        spec_text);

    pd_test_put_pools(world->store, text);
}

static inline void add_sandbox(struct world *world)
{
    size_t i = world->n_links++;
    struct pd_sandbox *sandbox;

    snprintf(world->ids[i], sizeof world->ids[i], "s%zu", i);
    sandbox = pd_store_sandbox_add(world->store, world->ids[i], "p", "hash");
    world->links[i] = fake_link_new(&world->loop);
    sandbox->link = world->links[i];
    pd_store_sandbox_move(world->store, sandbox, PD_SANDBOX_STARTING);
    pd_store_sandbox_move(world->store, sandbox, PD_SANDBOX_WARM);
}

static inline struct world *world_new(const char *spec_text, size_t sandboxes)
{
    struct world *world = PD_NEW(struct world);

    uv_loop_init(&world->loop);
    world->store = pd_store_new(&world->loop, NULL);
    put_pool(world, spec_text);
    world->dispatch = pd_dispatch_new(&world->loop, world->store, &pd_dispatch_links_real);
    while (sandboxes-- > 0)
        add_sandbox(world);
    return world;
}

static inline void on_closed(void *arg)
{
    struct world *world = arg;

    world->closed = true;
}

static inline void world_free(struct world *world)
{
    if (world->dispatch) {
        pd_dispatch_close(world->dispatch, on_closed, world);
        assert_true(pd_loop_until(&world->loop, &world->closed, WAIT_MS));
    }
    for (size_t i = 0; i < world->n_links; i++)
        pd_link_close(world->links[i], NULL, NULL);
    world->closed = false;
    pd_store_close(world->store, on_closed, world);
    assert_true(pd_loop_finish(&world->loop, WAIT_MS));
    free(world);
}

/* Returns what submit says; the want is the last one. */
static inline int submit(struct world *world, const char *name, const char *key_id,
                         const char *code)
{
    struct want *want = &world->wants[world->n_wants++];
    struct pd_job_request request = {
        .pool = "p", .key_id = key_id, .run = &want->run, .patient = world->patient};
    struct pd_err err = {.msg = ""};
    int rc;

    assert_true(world->n_wants <= JOBS_MAX);
    *want = (struct want){
        .world = world,
        .name = name,
        .run = {.id = name,
                .language = "python",
                .timeout_ms = 1000,
                .code = code,
                .code_len = strlen(code),
                .stdin_data = ""},
    };
    rc = pd_dispatch_submit(world->dispatch, &request, world->events ? world->events : &job_events,
                            want, &want->job, &want->retry_after_s, &err);
    assert_false(want->done);
    if (rc < 0) {
        assert_int_equal(rc, err.kind);
        assert_true(*err.msg);
    }
    return rc;
}

static inline struct want *want_named(struct world *world, const char *name)
{
    for (size_t i = 0; i < world->n_wants; i++) {
        if (strcmp(world->wants[i].name, name) == 0)
            return &world->wants[i];
    }
    fail_msg("nobody is named %s", name);
    return NULL;
}

static inline void until(struct world *world, const char *name)
{
    if (!pd_loop_until(&world->loop, &want_named(world, name)->done, WAIT_MS))
        fail_msg("%s never ended; so far: %s", name, world->order);
}

static inline int warm_count(struct world *world)
{
    struct pd_sandbox *sandbox;
    int count = 0;

    for (size_t i = 0; (sandbox = pd_store_sandbox_at(world->store, "p", i)); i++)
        count += sandbox->phase == PD_SANDBOX_WARM && !sandbox->recycle;
    return count;
}

static inline struct pd_demand *demand(struct world *world)
{
    return &pd_store_pool(world->store, "p")->demand;
}

#define SHARED "recycle: {share: true, afterRuns: 1000000}"

#endif
