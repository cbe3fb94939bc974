/* pd_decide: when it wants to be asked again, and the status and conditions that it tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/time.h"
#include "controller/decide.h"
#include "tests/lib/decide_row.h"
#include "tests/lib/pool_sim.h"

static void test_wakes_at_the_drain_deadline(void **state)
{
    struct decide_row row = {.members = "C!", .deleting = true, .drain_ms = 20000};
    struct pd_plan plan;

    (void)state;
    decide_row(&row, &plan);
    assert_int_equal(plan.wake.ns / PD_NS_PER_MS, DECIDE_NOW_MS + 40000);
}

static void test_wakes_when_a_start_is_overdue(void **state)
{
    struct decide_row row = {.members = "WWs"};
    struct pd_plan plan;

    (void)state;
    decide_row(&row, &plan);
    assert_int_equal(plan.wake.ns / PD_NS_PER_MS,
                     DECIDE_NOW_MS - 498 + pd_start_deadline_ms(PD_PROVIDER_DOCKER));
}

static void test_wakes_when_the_pause_is_over(void **state)
{
    struct decide_row row = {.members = "WW", .failures = 1, .pausing = true};
    struct pd_plan plan;

    (void)state;
    decide_row(&row, &plan);
    assert_int_equal(plan.wake.ns / PD_NS_PER_MS, DECIDE_NOW_MS + 1000);
}

static void test_wakes_before_the_age_is_reached(void **state)
{
    struct decide_row row = {.members = "WWW"};
    struct pd_plan plan;
    int64_t age_ms;

    (void)state;
    decide_row(&row, &plan);
    age_ms = plan.wake.ns / PD_NS_PER_MS - (DECIDE_NOW_MS - 1000);
    assert_in_range(age_ms, 3600 * 1000 * 9 / 10, 3600 * 1000);
}

static void test_more_actions_than_fit_wake_at_once(void **state)
{
    struct pd_view_member members[100];
    char ids[100][8];
    char text[101];
    struct decide_row row = {.min = 1, .max = 100};
    struct pd_pool_spec spec = decide_row_spec(&row);
    struct pd_growth growth = {.window = 1};
    struct pd_pool_status previous = {0};
    struct pd_view view = {.members = members,
                           .may_act = true,
                           .growth = &growth,
                           .previous = &previous,
                           .provider_error = "",
                           .isolation_error = "",
                           .source_error = "",
                           .conflict = ""};
    struct pd_time now = {DECIDE_NOW_MS * PD_NS_PER_MS};
    struct pd_plan plan;

    (void)state;
    memset(text, 'W', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    view.n_members = decide_members_read(text, members, ids);
    pd_decide(&spec, &view, now, &plan);
    assert_int_equal(plan.n_actions, PD_PLAN_ACTIONS_MAX);
    assert_int_equal(plan.wake.ns, now.ns);
}

static void test_status_counts_everything_once(void **state)
{
    struct decide_row row = {.members = "W~WW!CC!sscT", .expected = 1, .min = 3, .max = 20};
    struct pd_plan plan;
    const struct pd_pool_status *status = &plan.status;

    (void)state;
    decide_row(&row, &plan);
    assert_int_equal(status->replicas, 10);
    assert_int_equal(status->ready, 2);
    assert_int_equal(status->claimed, 2);
    assert_int_equal(status->starting, 4);
    assert_int_equal(status->terminating, 2);
    assert_int_equal(status->updated, 6);
    assert_int_equal(status->ready + status->claimed + status->starting + status->terminating,
                     status->replicas);
}

/* ---- conditions ---- */

struct condition_row {
    const char *what;
    struct decide_row row;
    const char *available, *progressing, *degraded; /* "+Reason" for true, "-Reason" for false */
};

/* clang-format off */
static const struct condition_row condition_rows[] = {
    {"settled", {.members = "WWW"}, "+SandboxesReady", "-Settled", "-AsExpected"},
    {"filling", {.members = "W"}, "-TooFewSandboxes", "+Resizing", "-AsExpected"},
    {"empty by wish", {.members = "", .max = 2}, "+ScaledToZero", "-Settled", "-AsExpected"},
    {"rolling", {.members = "W~W~WW"}, "+SandboxesReady", "+Updating", "-AsExpected"},
    {"rolling without room", {.members = "W~W~s", .min = 3, .max = 3}, "+SandboxesReady",
     "+Updating", "-AsExpected"},
    {"failing", {.members = "", .failures = 2, .pausing = true}, "-TooFewSandboxes",
     "-BackingOff", "+CreateFailed"},
    {"failing to roll", {.members = "W~W~W~", .failures = 2, .pausing = true}, "+SandboxesReady",
     "-UpdateStopped", "+CreateFailed"},
    {"no capacity", {.members = "WW", .failures = 1, .pausing = true, .held = true},
     "-TooFewSandboxes", "-Held", "+NoCapacity"},
    {"going", {.members = "W", .deleting = true}, "-Deleting", "+Draining", "-AsExpected"},
};

/* clang-format on */

static int check_condition(const char *what, const char *want, const struct pd_condition *got)
{
    if ((want[0] == '+') == (got->status == 1) && strcmp(want + 1, got->reason) == 0)
        return 0;
    print_error("%s: want %s, got %d %s (%s)\n", what, want, got->status, got->reason,
                got->message);
    return 1;
}

static void test_conditions(void **state)
{
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < PD_COUNT(condition_rows); i++) {
        const struct condition_row *row = &condition_rows[i];
        struct pd_plan plan;

        decide_row(&row->row, &plan);
        wrong += check_condition(row->what, row->available, &plan.status.available);
        wrong += check_condition(row->what, row->progressing, &plan.status.progressing);
        wrong += check_condition(row->what, row->degraded, &plan.status.degraded);
    }
    assert_int_equal(wrong, 0);
}

static void test_conditions_date_from_their_last_change(void **state)
{
    struct pool_sim sim;
    struct pd_view_member members[POOL_SIM_MEMBERS_MAX];
    struct pd_view view;
    struct pd_plan plan;

    (void)state;
    pool_sim_init(&sim, 1);
    view = pool_sim_view(&sim, members);
    view.wall_ms = 1000;
    pd_decide(&sim.spec, &view, sim.now, &plan);
    assert_int_equal(plan.status.available.since_wall_ms, 1000);
    sim.previous = plan.status;
    view.wall_ms = 2000;
    pd_decide(&sim.spec, &view, sim.now, &plan);
    assert_int_equal(plan.status.available.since_wall_ms, 1000);
    view.provider_error = "docker does not answer";
    pd_decide(&sim.spec, &view, sim.now, &plan);
    assert_int_equal(plan.status.degraded.since_wall_ms, 2000);
    assert_string_equal(plan.status.degraded.reason, "ProviderUnavailable");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wakes_at_the_drain_deadline),
        cmocka_unit_test(test_wakes_when_a_start_is_overdue),
        cmocka_unit_test(test_wakes_when_the_pause_is_over),
        cmocka_unit_test(test_wakes_before_the_age_is_reached),
        cmocka_unit_test(test_more_actions_than_fit_wake_at_once),
        cmocka_unit_test(test_status_counts_everything_once),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_conditions_date_from_their_last_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
