/* pd_decide: what it costs among many pools. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/time.h"
#include "controller/decide.h"
#include "tests/lib/pool_sim.h"

#define POOLS 1000
#define MEMBERS 10

static void test_a_thousand_pools_are_cheap(void **state)
{
    static struct pool_sim sims[POOLS];
    struct pd_view_member members[POOL_SIM_MEMBERS_MAX];
    struct pd_time begun;
    int64_t events = 0, took_ns;

    (void)state;
    for (size_t i = 0; i < POOLS; i++) {
        pool_sim_init(&sims[i], i);
        sims[i].spec.min_size = MEMBERS;
        sims[i].spec.max_size = MEMBERS * 2;
        for (int step = 0; step < 40; step++) {
            struct pd_view view = pool_sim_view(&sims[i], members);
            struct pd_plan plan;
            pd_decide(&sims[i].spec, &view, sims[i].now, &plan);
            pool_sim_apply(&sims[i], &plan);
            pool_sim_advance(&sims[i], 500);
        }
        assert_int_equal(pool_sim_count(&sims[i], PD_SANDBOX_WARM), MEMBERS);
    }
    begun = pd_time_now();
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < POOLS; i++, events++) {
            struct pd_view view;
            struct pd_plan plan;
            if (round % 2)
                pool_sim_release(&sims[i], true);
            else
                pool_sim_claim(&sims[i]);
            view = pool_sim_view(&sims[i], members);
            pd_decide(&sims[i].spec, &view, sims[i].now, &plan);
            pool_sim_apply(&sims[i], &plan);
        }
    }
    took_ns = pd_time_now().ns - begun.ns;
    print_message("decide: %d pools x %d sandboxes: %.2f us an event\n", POOLS, MEMBERS,
                  (double)took_ns / 1e3 / (double)events);
    assert_true(took_ns / events < PD_NS_PER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thousand_pools_are_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
