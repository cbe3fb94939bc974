#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/deadline.h"
#include "common/mem.h"
#include "tests/lib/loop_until.h"

enum { QUICK, SLOW, KINDS };

struct item {
    struct pd_deadline deadline;
    char name;
};

struct ctx {
    uv_loop_t loop;
    struct pd_deadlines set;
    struct item items[4];
    char expired[32];
    bool again; /* set what has expired anew, once */
};

static void on_expired(void *arg, struct pd_deadline *deadline)
{
    struct ctx *ctx = arg;
    struct item *item = PD_CONTAINER_OF(deadline, struct item, deadline);

    assert_false(pd_deadline_is_set(deadline));
    snprintf(ctx->expired + strlen(ctx->expired), 2, "%c", item->name);
    if (ctx->again) {
        ctx->again = false;
        pd_deadline_set(&ctx->set, deadline, QUICK);
    }
}

static int set_up(void **state)
{
    struct ctx *ctx = PD_NEW(struct ctx);

    uv_loop_init(&ctx->loop);
    pd_deadlines_init(&ctx->set, &ctx->loop, (const int64_t[KINDS]){40, 120}, KINDS, on_expired,
                      ctx);
    for (int i = 0; i < 4; i++)
        ctx->items[i].name = (char)('a' + i);
    *state = ctx;
    return 0;
}

static int tear_down(void **state)
{
    struct ctx *ctx = *state;

    for (int i = 0; i < 4; i++)
        pd_deadline_clear(&ctx->items[i].deadline);
    pd_deadlines_close(&ctx->set, NULL);
    assert_true(pd_loop_finish(&ctx->loop, 1000));
    free(ctx);
    return 0;
}

static void set(struct ctx *ctx, int i, unsigned kind)
{
    uv_update_time(&ctx->loop);
    pd_deadline_set(&ctx->set, &ctx->items[i].deadline, kind);
}

static void test_in_order(void **state)
{
    struct ctx *ctx = *state;

    set(ctx, 0, SLOW);
    set(ctx, 1, QUICK);
    set(ctx, 2, QUICK);
    assert_ptr_equal(pd_deadline_first(&ctx->set, QUICK), &ctx->items[1].deadline);
    assert_ptr_equal(pd_deadline_first(&ctx->set, SLOW), &ctx->items[0].deadline);
    uv_run(&ctx->loop, UV_RUN_DEFAULT); /* ends when none is set */
    assert_string_equal(ctx->expired, "bca");
    assert_null(pd_deadline_first(&ctx->set, QUICK));
}

static void test_set_again_takes_the_place(void **state)
{
    struct ctx *ctx = *state;

    set(ctx, 0, QUICK);
    set(ctx, 1, QUICK);
    set(ctx, 0, QUICK);
    assert_ptr_equal(pd_deadline_first(&ctx->set, QUICK), &ctx->items[1].deadline);
    set(ctx, 1, SLOW);
    uv_run(&ctx->loop, UV_RUN_DEFAULT);
    assert_string_equal(ctx->expired, "ab");
}

static void test_cleared_does_not_fire(void **state)
{
    struct ctx *ctx = *state;

    set(ctx, 0, QUICK);
    set(ctx, 1, QUICK);
    set(ctx, 2, QUICK);
    pd_deadline_clear(&ctx->items[1].deadline);
    pd_deadline_clear(&ctx->items[1].deadline);
    uv_run(&ctx->loop, UV_RUN_DEFAULT);
    assert_string_equal(ctx->expired, "ac");
}

static void test_set_from_its_own_callback(void **state)
{
    struct ctx *ctx = *state;

    ctx->again = true;
    set(ctx, 0, QUICK);
    uv_run(&ctx->loop, UV_RUN_DEFAULT);
    assert_string_equal(ctx->expired, "aa");
}

static void test_not_early(void **state)
{
    struct ctx *ctx = *state;
    uint64_t began;

    set(ctx, 0, SLOW);
    began = uv_now(&ctx->loop);
    uv_run(&ctx->loop, UV_RUN_DEFAULT);
    assert_true(uv_now(&ctx->loop) - began >= 120);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_set_again_takes_the_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cleared_does_not_fire, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_set_from_its_own_callback, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_early, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("deadline", tests, NULL, NULL);
}
