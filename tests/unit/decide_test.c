/* pd_decide: what it does, as a table; what it never does, as properties over
 * random histories. tests/unit/decide_mutants.sh breaks decide.c in one place
 * after another and sees to it that this program notices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/mem.h"
#include "common/time.h"
#include "controller/decide.h"
#include "tests/lib/pool_sim.h"

#define NOW_MS 10000000

/* ---- the table ----
 *
 * Members are written oldest first, a letter each:
 *   c creating  s starting  W warm  C claimed  T terminating
 * followed by any of:
 *   !  spent      ~ of an earlier template    @ serves one key    $ too old    # worn
 *   %  in its phase for longer than a start may take
 *   &  in its phase since just now
 * and are numbered from 0. A plan is written "+n" for creations, "-i:why" for
 * the destruction, "^i:why" for the retirement and "!i:why" for the eviction of
 * member i, in order. */
struct row {
    const char *what;
    const char *members;
    const char *plan;
    int min, max, idle;     /* 0, 0, 0 stands for 3, 10, 1 */
    int surge, unavailable; /* 0, 0 stands for 1, 0; surge -1 for 0 */
    bool recreate, deleting, unknown, held;
    int failures; /* of growth; then the pause is over unless pausing */
    bool pausing;
    int window; /* of growth, 0 stands for 16 */
    int expected, peak, needed, queued, blocked;
    int64_t wait_ms;
    int64_t drain_ms; /* deleting: since when; a run may take a minute here */
    int wanted;       /* -1 stands for 0; 0: not looked at */
};

/* clang-format off */
static const struct row rows[] = {
    {.what = "an empty pool is filled up to minSize", .members = "", .plan = "+3", .wanted = 3},
    {.what = "a full pool is left alone", .members = "WWW", .plan = "", .wanted = 3},
    {.what = "slow start: the first batch is one", .members = "", .plan = "+1", .window = 1},
    {.what = "slow start: those under way fill the window", .members = "cc", .plan = "",
     .window = 2},
    {.what = "slow start: the window opens by what is answered", .members = "cs", .plan = "+1",
     .window = 2, .min = 5, .max = 10, .idle = 1},
    {.what = "starting ones count", .members = "Wsc", .plan = ""},
    {.what = "expected ones count though they are not to be seen", .members = "W", .plan = "",
     .expected = 2},
    {.what = "terminating ones leave a gap, which is filled", .members = "WWT", .plan = "+1"},
    {.what = "terminating ones count against maxSize", .members = "WTT", .plan = "", .min = 3,
     .max = 3, .idle = 0},
    {.what = "one in use wants an idle one beside it", .members = "CCC", .plan = "+1",
     .wanted = 4},
    {.what = "maxSize is the end", .members = "CCCCCCCCCC", .plan = "", .queued = 50,
     .wait_ms = 60000, .wanted = 10},
    {.what = "what was in use lately is kept", .members = "WWWWWW", .plan = "", .peak = 5,
     .needed = 5},
    {.what = "what was in use lately may be again", .members = "WWWW", .plan = "+2", .peak = 5},
    {.what = "what was needed lately is kept, though not made again", .members = "WWWWW",
     .plan = "", .needed = 9, .wanted = 3},
    {.what = "the rest goes, the newest first", .members = "WWWWW", .plan = "-4:excess -3:excess"},
    {.what = "unready ones go before the newest", .members = "WsWWc",
     .plan = "-4:excess -1:excess"},
    {.what = "the claimed stay, whatever their number", .members = "CCCCW", .plan = "", .min = 1,
     .max = 5, .idle = 1},
    {.what = "beyond a lowered maxSize idle ones go, then the claimed retire",
     .members = "CCCCW", .plan = "-4:excess ^3:excess ^2:excess", .min = 1, .max = 2, .idle = 0},

    {.what = "queue: a short wait makes no sandbox", .members = "CCC", .plan = "", .queued = 9,
     .wait_ms = 400, .idle = 0, .min = 3, .max = 10},
    {.what = "queue: half of those that wait twice a start count", .members = "CCC",
     .plan = "+2", .queued = 4, .wait_ms = 1000, .idle = 0, .min = 3, .max = 10},
    {.what = "queue: an empty pool makes one at once", .members = "", .plan = "+1", .queued = 1,
     .min = 0, .max = 2, .idle = 0},
    {.what = "queue: and waits for it", .members = "s", .plan = "", .queued = 1, .min = 0,
     .max = 2, .idle = 0},
    {.what = "an unused pool of minSize 0 has none, idle ones included", .members = "",
     .plan = "", .min = 0, .max = 2, .idle = 1, .wanted = -1},
    {.what = "a used one has its idle one too", .members = "C", .plan = "+1", .min = 0, .max = 2,
     .idle = 1, .peak = 1},

    {.what = "a spent one goes and is replaced ahead", .members = "WWW!", .plan = "-2:spent +1"},
    {.what = "with no room its replacement waits", .members = "WW!", .plan = "-1:spent", .min = 2,
     .max = 2, .idle = 0},
    {.what = "a worn one serves until its replacement does", .members = "WWW#", .plan = "+1"},
    {.what = "and goes then", .members = "WWW#W", .plan = "-2:worn"},
    {.what = "one in use retires where no worn one is idle", .members = "C#CWW",
     .plan = "^0:worn"},
    {.what = "nor while runs wait", .members = "WWW#W", .plan = "", .queued = 1, .wait_ms = 10},
    {.what = "with no room worn ones serve until they are spent", .members = "W#W#", .plan = "",
     .min = 2, .max = 2, .idle = 0},
    {.what = "what may be missing in a roll is not missing for wear", .members = "W#W#W",
     .plan = "+1", .unavailable = 1},
    {.what = "an earlier template goes before wear", .members = "W#W~WW", .plan = "-1:outdated +1"},
    {.what = "while new ones fail, worn ones stay", .members = "WWW#W", .plan = "", .failures = 1,
     .pausing = true, .min = 4, .max = 5},
    {.what = "the last run of a sandbox has its successor made meanwhile", .members = "WWC!",
     .plan = "+1"},
    {.what = "stuck ones are given up; that is a failure, so no other yet", .members = "WWs%",
     .plan = "-2:stuck"},
    {.what = "the creation may be stuck too", .members = "WWc%", .plan = "-2:stuck"},
    {.what = "a roll stops where a new one is stuck", .members = "W~W~W~s%",
     .plan = "-3:stuck", .surge = -1, .unavailable = 2},
    {.what = "stuck for want of capacity: they keep their place in the line",
     .members = "WWs%", .plan = "", .held = true, .failures = 1},
    {.what = "a long wait between runs is no fault", .members = "W%W%C%", .plan = ""},

    {.what = "after a failure nothing is made during the pause", .members = "", .plan = "",
     .failures = 1, .pausing = true},
    {.what = "after the pause one is tried", .members = "", .plan = "+1", .failures = 1,
     .window = 1},
    {.what = "and no second one before the first is ready", .members = "s", .plan = "",
     .failures = 1, .window = 1},

    {.what = "roll: a new one is made first", .members = "W~W~W~", .plan = "+1"},
    {.what = "roll: then an old one goes", .members = "W~W~W~W", .plan = "-0:outdated +1"},
    {.what = "roll: not before the new one is ready", .members = "W~W~W~s", .plan = ""},
    {.what = "roll: the old ones that go are in line with the new", .members = "TW~W~Ws",
     .plan = ""},
    {.what = "roll: what is not ready yet is no loss", .members = "WWs~", .plan = "-2:outdated +1"},
    {.what = "roll: maxUnavailable may be missing", .members = "W~W~W~", .plan = "-0:outdated +1",
     .surge = -1, .unavailable = 1},
    {.what = "roll: maxSurge at once", .members = "W~W~W~", .plan = "+2", .surge = 2},
    {.what = "roll: without room to surge one idle member goes", .members = "W~W~W~",
     .plan = "-0:outdated", .min = 3, .max = 3, .idle = 0},
    {.what = "roll: and only one", .members = "W~W~s", .plan = "", .min = 3, .max = 3, .idle = 0},
    {.what = "roll: and none while that one ends", .members = "TW~W~", .plan = "", .min = 3,
     .max = 3, .idle = 0},
    {.what = "roll: the claimed stay while idle ones can go", .members = "C~W~W~",
     .plan = "-1:outdated", .min = 3, .max = 3, .idle = 0},
    {.what = "roll: where all are claimed, one retires", .members = "C~C~C~", .plan = "^0:outdated",
     .min = 3, .max = 3, .idle = 0},
    {.what = "roll: a template that fails stops it", .members = "W~W~W~", .plan = "", .failures = 2,
     .pausing = true, .surge = -1, .unavailable = 2},
    {.what = "roll: a template that fails costs no sandbox that works", .members = "W~W~W~",
     .plan = "", .failures = 2, .pausing = true, .min = 3, .max = 3, .idle = 0},
    {.what = "recreate: all idle ones at once, the claimed after their runs", .members = "W~C~W~",
     .plan = "-0:outdated ^1:outdated -2:outdated", .recreate = true},
    {.what = "recreate: nothing new while an old one is there", .members = "C~!T~", .plan = "",
     .recreate = true},
    {.what = "recreate: then all", .members = "", .plan = "+3", .recreate = true},
    {.what = "too old: replaced like an old template, ahead", .members = "W$WW", .plan = "+1"},
    {.what = "too old: then it goes", .members = "W$WWW", .plan = "-0:old"},
    {.what = "too old, and new ones fail: it stays", .members = "W$WWW", .plan = "",
     .failures = 1, .pausing = true, .needed = 3},

    {.what = "another key waits: with room one is made", .members = "W@W@W@", .plan = "+1",
     .queued = 1},
    {.what = "another key waits: without room the longest idle goes", .members = "W@W@W@",
     .plan = "-0:key", .queued = 1, .min = 3, .max = 3, .idle = 0},
    {.what = "another key waits: unless it can still be given what is idle",
     .members = "W@&W@&W@&", .plan = "", .queued = 1, .min = 3, .max = 3, .idle = 0},
    {.what = "another key waits: and no other goes while that one ends", .members = "TW@W@",
     .plan = "", .queued = 1, .min = 3, .max = 3, .idle = 0},
    {.what = "another key waits: as many go as runs wait", .members = "W@W@W@",
     .plan = "-0:key -1:key", .queued = 2, .min = 3, .max = 3, .idle = 0},
    {.what = "another key waits: one that starts will do", .members = "sW@W@", .plan = "",
     .queued = 1, .min = 3, .max = 3, .idle = 0},
    {.what = "another key waits: an idle one of nobody's will do", .members = "WW@W@",
     .plan = "", .queued = 1, .min = 3, .max = 3, .idle = 0},
    {.what = "another key was passed over: without idle ones a busy one retires",
     .members = "C@C@C@", .plan = "^0:key", .queued = 5, .blocked = 1, .min = 3, .max = 3,
     .idle = 0},
    {.what = "another key was passed over: and no second one", .members = "C@!C@C@", .plan = "",
     .queued = 5, .blocked = 1, .min = 3, .max = 3, .idle = 0},
    {.what = "runs of the keys that are served wait: nobody gives way", .members = "C@C@C@",
     .plan = "", .queued = 5, .min = 3, .max = 3, .idle = 0},
    {.what = "nobody waits any more", .members = "W@W@W@", .plan = "", .blocked = 1, .min = 3,
     .max = 3, .idle = 0},

    {.what = "deleting: idle ones go, the claimed finish", .members = "WCsT",
     .plan = "-0:gone ^1:gone -2:gone", .deleting = true},
    {.what = "deleting: runs have as long as any run may take", .members = "CC!", .deleting = true,
     .plan = "^0:gone", .drain_ms = 59999},
    {.what = "deleting: then they are ended", .members = "CC!T", .deleting = true,
     .plan = "!0:overdue !1:overdue", .drain_ms = 60000},
    {.what = "deleting: an overdue drain ends idle ones as ever", .members = "WC!",
     .deleting = true, .plan = "-0:gone !1:overdue", .drain_ms = 600000},
    {.what = "deleting: nothing is made", .members = "", .plan = "", .deleting = true},
    {.what = "a provider that does not answer is left alone", .members = "W!W~", .plan = "",
     .unknown = true},
};

/* clang-format on */

static const char *const why_words[] = {
    [PD_WHY_SPENT] = "spent",       [PD_WHY_STUCK] = "stuck",     [PD_WHY_EXCESS] = "excess",
    [PD_WHY_OUTDATED] = "outdated", [PD_WHY_OLD] = "old",         [PD_WHY_OTHER_KEY] = "key",
    [PD_WHY_POOL_GONE] = "gone",    [PD_WHY_OVERDUE] = "overdue", [PD_WHY_WORN] = "worn",
};

static size_t read_members(const char *text, struct pd_view_member *members, char (*ids)[8])
{
    static const enum pd_sandbox_phase phases[128] = {
        ['c'] = PD_SANDBOX_CREATING, ['s'] = PD_SANDBOX_STARTING,    ['W'] = PD_SANDBOX_WARM,
        ['C'] = PD_SANDBOX_CLAIMED,  ['T'] = PD_SANDBOX_TERMINATING,
    };
    size_t count = 0;

    for (const char *p = text; *p; p++) {
        struct pd_view_member *member = &members[count == 0 ? 0 : count - 1];
        switch (*p) {
        case '!':
            member->spent = true;
            break;
        case '~':
            member->template_hash = "old";
            break;
        case '@':
            member->bound = true;
            break;
        case '$':
            member->created = (struct pd_time){1};
            break;
        case '#':
            member->worn = true;
            break;
        case '%':
            member->phase_since = (struct pd_time){1};
            break;
        case '&':
            member->phase_since = (struct pd_time){(NOW_MS - 5) * PD_NS_PER_MS};
            break;
        default:
            snprintf(ids[count], sizeof ids[count], "%zu", count);
            members[count] = (struct pd_view_member){
                .id = ids[count],
                .template_hash = "new",
                .phase = phases[(unsigned char)*p],
                .created = {(NOW_MS - 1000 + (int64_t)count) * PD_NS_PER_MS},
                .phase_since = {(NOW_MS - 500 + (int64_t)count) * PD_NS_PER_MS},
            };
            count++;
        }
    }
    return count;
}

static void write_plan(const struct pd_plan *plan, char *out, size_t out_bytes)
{
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < plan->n_actions; i++) {
        const struct pd_action *action = &plan->actions[i];
        len += (size_t)snprintf(out + len, out_bytes - len, "%s%c%s:%s", len ? " " : "",
                                "-^!"[action->type], action -> id, why_words[action->why]);
    }
    if (plan->create)
        snprintf(out + len, out_bytes - len, "%s+%d", len ? " " : "", plan->create);
}

static struct pd_pool_spec row_spec(const struct row *row)
{
    bool usual = row->min == 0 && row->max == 0;

    return (struct pd_pool_spec){
        .name = "table",
        .template_hash = "new",
        .min_size = usual ? 3 : row->min,
        .max_size = usual ? 10 : row->max,
        .target_idle = usual ? 1 : row->idle,
        .recycle = {.after_age_ms = 3600 * 1000},
        .scale_down_after_ms = 60000,
        .run = {.max_timeout_ms = 60000},
        .update = {.type = row->recreate ? PD_UPDATE_RECREATE : PD_UPDATE_ROLLING,
                   .max_surge = row->surge == 0    ? 1
                                : row->surge == -1 ? 0
                                                   : row->surge,
                   .max_unavailable = row->unavailable},
    };
}

static struct pd_growth row_growth(const struct row *row)
{
    return (struct pd_growth){
        .template_hash = "new",
        .window = row->window ? row->window : PD_GROWTH_WINDOW_MAX,
        .failures = row->failures,
        .held = row->held,
        .retry_at = {(NOW_MS + (row->pausing ? 1000 : -1000)) * PD_NS_PER_MS},
        .message = "it failed",
    };
}

static void decide_row(const struct row *row, struct pd_plan *plan)
{
    static char ids[16][8]; /* the plan borrows them */
    struct pd_view_member members[16];
    struct pd_growth growth = row_growth(row);
    struct pd_pool_spec spec = row_spec(row);
    struct pd_pool_status previous = {0};
    struct pd_view view = {
        .members = members,
        .n_members = read_members(row->members, members, ids),
        .expected = row->expected,
        .deleting = row->deleting,
        .drain_begun = {row->deleting ? (NOW_MS - row->drain_ms) * PD_NS_PER_MS : 0},
        .may_act = !row->unknown,
        .peak_in_use = row->peak,
        .peak_needed = row->needed,
        .queued = row->queued,
        .blocked = row->blocked,
        .wait_ms = row->wait_ms,
        .start_ms = 500,
        .growth = &growth,
        .previous = &previous,
        .provider_error = "",
        .isolation_error = "",
        .source_error = "",
        .conflict = "",
    };

    pd_decide(&spec, &view, (struct pd_time){NOW_MS * PD_NS_PER_MS}, plan);
}

static void test_table(void **state)
{
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < PD_COUNT(rows); i++) {
        struct pd_plan plan;
        char text[512];

        decide_row(&rows[i], &plan);
        write_plan(&plan, text, sizeof text);
        if (strcmp(text, rows[i].plan) != 0) {
            print_error("%s: members '%s': want '%s', got '%s'\n", rows[i].what, rows[i].members,
                        rows[i].plan, text);
            wrong++;
        }
        if (rows[i].wanted != 0 && plan.wanted != (rows[i].wanted == -1 ? 0 : rows[i].wanted)) {
            print_error("%s: wanted %d\n", rows[i].what, plan.wanted);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void test_a_drain_is_bounded(void **state)
{
    struct pd_pool_spec spec = {.run = {.max_timeout_ms = 60000}};

    (void)state;
    assert_int_equal(pd_drain_deadline_ms(&spec), 60000);
    spec.run.max_timeout_ms = 168 * 3600 * 1000;
    assert_int_equal(pd_drain_deadline_ms(&spec), 10 * 60 * 1000);
}

/* ---- wake-ups and status ---- */

static void test_wakes_at_the_drain_deadline(void **state)
{
    struct row row = {.members = "C!", .deleting = true, .drain_ms = 20000};
    struct pd_plan plan;

    (void)state;
    decide_row(&row, &plan);
    assert_int_equal(plan.wake.ns / PD_NS_PER_MS, NOW_MS + 40000);
}

static void test_wakes_when_a_start_is_overdue(void **state)
{
    struct row row = {.members = "WWs"};
    struct pd_plan plan;

    (void)state;
    decide_row(&row, &plan);
    assert_int_equal(plan.wake.ns / PD_NS_PER_MS,
                     NOW_MS - 498 + pd_start_deadline_ms(PD_PROVIDER_DOCKER));
}

static void test_wakes_when_the_pause_is_over(void **state)
{
    struct row row = {.members = "WW", .failures = 1, .pausing = true};
    struct pd_plan plan;

    (void)state;
    decide_row(&row, &plan);
    assert_int_equal(plan.wake.ns / PD_NS_PER_MS, NOW_MS + 1000);
}

static void test_wakes_before_the_age_is_reached(void **state)
{
    struct row row = {.members = "WWW"};
    struct pd_plan plan;
    int64_t age_ms;

    (void)state;
    decide_row(&row, &plan);
    age_ms = plan.wake.ns / PD_NS_PER_MS - (NOW_MS - 1000);
    assert_in_range(age_ms, 3600 * 1000 * 9 / 10, 3600 * 1000);
}

static void test_more_actions_than_fit_wake_at_once(void **state)
{
    struct pd_view_member members[100];
    char ids[100][8];
    char text[101];
    struct row row = {.min = 1, .max = 100};
    struct pd_pool_spec spec = row_spec(&row);
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
    struct pd_time now = {NOW_MS * PD_NS_PER_MS};
    struct pd_plan plan;

    (void)state;
    memset(text, 'W', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    view.n_members = read_members(text, members, ids);
    pd_decide(&spec, &view, now, &plan);
    assert_int_equal(plan.n_actions, PD_PLAN_ACTIONS_MAX);
    assert_int_equal(plan.wake.ns, now.ns);
}

static void test_status_counts_everything_once(void **state)
{
    struct row row = {.members = "W~WW!CC!sscT", .expected = 1, .min = 3, .max = 20};
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

struct condition_row {
    const char *what;
    struct row row;
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

/* ---- properties ---- */

#define HISTORIES 2000
#define STEPS 150

/* The plan for the world as it is; then the checks that hold for any plan. */
struct world {
    struct pool_sim sim;
    uint64_t seed;
    int step;
    struct pd_view_member members[POOL_SIM_MEMBERS_MAX];
    struct pd_view view;
    struct pd_plan plan;
    int64_t short_ms; /* how long fewer than minSize have served */
    bool calm;        /* nothing fails in this history */
};

static void show(const struct pd_pool_spec *spec, const struct pd_view *view,
                 const struct pd_plan *plan)
{
    char text[1024];

    print_error(
        "spec: min %d, max %d, idle %d, surge %d, unavailable %d, %s; view: ", spec->min_size,
        spec->max_size, spec->target_idle, spec->update.max_surge, spec->update.max_unavailable,
        spec->update.type == PD_UPDATE_RECREATE ? "recreate" : "rolling");
    for (size_t i = 0; i < view->n_members; i++)
        print_error("%s %c%s%s%s%s", view->members[i].id, "csWCT"[view->members[i].phase],
                    view -> members[i].spent ? "!" : "", view->members[i].bound ? "@" : "",
                    view->members[i].worn ? "#" : "",
                    strcmp(view->members[i].template_hash, spec->template_hash) ? "~, " : ", ");
    write_plan(plan, text, sizeof text);
    print_error("queued %d, blocked %d, peak %d, needed %d; wanted %d, plan: %s\n", view->queued,
                view->blocked, view->peak_in_use, view->peak_needed, plan->wanted, text);
}

#define check(world, condition)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            show(&(world)->sim.spec, &(world)->view, &(world)->plan);                              \
        if (!(condition))                                                                          \
            fail_msg("seed %llu, step %d: not " #condition, (unsigned long long)(world)->seed,     \
                     (world)->step);                                                               \
    } while (0)

static const struct pd_view_member *member_of(const struct world *world, const char *id)
{
    for (size_t i = 0; i < world->view.n_members; i++) {
        if (strcmp(world->members[i].id, id) == 0)
            return &world->members[i];
    }
    return NULL;
}

static bool drain_is_overdue(const struct world *world)
{
    return world->sim.deleting && pd_time_ms_between(world->sim.drain_begun, world->sim.now) >=
                                      pd_drain_deadline_ms(&world->sim.spec);
}

static void check_claimed_are_safe(const struct world *world)
{
    for (size_t i = 0; i < world->plan.n_actions; i++) {
        const struct pd_action *action = &world->plan.actions[i];
        bool claimed = member_of(world, action->id)->phase == PD_SANDBOX_CLAIMED;
        check(world, claimed == (action->type != PD_ACTION_DESTROY));
        check(world, action->type != PD_ACTION_EVICT || drain_is_overdue(world));
    }
}

static void check_nobody_twice(const struct world *world)
{
    for (size_t i = 0; i < world->plan.n_actions; i++) {
        for (size_t j = 0; j < i; j++)
            check(world, strcmp(world->plan.actions[i].id, world->plan.actions[j].id) != 0);
    }
}

static void check_max_size(const struct world *world)
{
    int exist = (int)world->view.n_members;

    check(world, world->plan.create >= 0);
    check(world, world->plan.create == 0 || exist + world->plan.create <= world->sim.spec.max_size);
}

static void check_growth(const struct world *world)
{
    const struct pd_growth *growth = &world->sim.growth;
    int window = growth->window > 0 ? growth->window : 1;
    int creating = pool_sim_count(&world->sim, PD_SANDBOX_CREATING);
    bool pausing = growth->failures > 0 && pd_time_before(world->sim.now, growth->retry_at);

    for (size_t i = 0; i < world->plan.n_actions; i++)
        creating -= member_of(world, world->plan.actions[i].id)->phase == PD_SANDBOX_CREATING;
    check(world, world->plan.create == 0 || creating + world->plan.create <= window);
    check(world, world->plan.create == 0 || !pausing);
    check(world, world->plan.create <= 1 || growth->failures == 0);
}

/* What works is not given up for what does not. */
static void check_failing_costs_nothing(const struct world *world)
{
    if (world->sim.growth.failures == 0 || world->sim.deleting ||
        world->sim.spec.update.type == PD_UPDATE_RECREATE)
        return;
    for (size_t i = 0; i < world->plan.n_actions; i++) {
        const struct pd_action *action = &world->plan.actions[i];
        bool serves = member_of(world, action->id)->phase == PD_SANDBOX_WARM ||
                      member_of(world, action->id)->phase == PD_SANDBOX_CLAIMED;
        check(world, !serves || action->why == PD_WHY_SPENT || action->why == PD_WHY_EXCESS);
    }
}

static int warm_and_good(const struct world *world)
{
    int count = 0;

    for (size_t i = 0; i < world->view.n_members; i++) {
        const struct pd_view_member *member = &world->members[i];
        count += !member->spent &&
                 (member->phase == PD_SANDBOX_WARM || member->phase == PD_SANDBOX_CLAIMED);
    }
    return count;
}

/* Old and outdated members go only as far as enough serve. */
static void check_roll_keeps_serving(const struct world *world)
{
    const struct pd_pool_spec *spec = &world->sim.spec;
    bool can_surge = spec->update.max_surge > 0 && spec->max_size > world->plan.wanted;
    int missing = can_surge || spec->update.max_unavailable > 0 ? spec->update.max_unavailable : 1;
    int left = warm_and_good(world);
    bool rolls = false;

    for (size_t i = 0; i < world->plan.n_actions; i++) {
        const struct pd_action *action = &world->plan.actions[i];
        enum pd_sandbox_phase phase = member_of(world, action->id)->phase;
        bool served = phase == PD_SANDBOX_WARM || phase == PD_SANDBOX_CLAIMED;
        left -= served && action->why != PD_WHY_SPENT;
        rolls |= served && (action->why == PD_WHY_OUTDATED || action->why == PD_WHY_OLD ||
                            action->why == PD_WHY_WORN);
    }
    if (spec->update.type == PD_UPDATE_ROLLING && !world->sim.deleting)
        check(world, !rolls || left >= world->plan.wanted - missing);
}

static bool same_plan(const struct pd_plan *a, const struct pd_plan *b)
{
    if (a->create != b->create || a->n_actions != b->n_actions || a->wanted != b->wanted)
        return false;
    for (size_t i = 0; i < a->n_actions; i++) {
        if (a->actions[i].why != b->actions[i].why ||
            strcmp(a->actions[i].id, b->actions[i].id) != 0)
            return false;
    }
    return memcmp(&a->status, &b->status, sizeof a->status) == 0 && a->wake.ns == b->wake.ns;
}

static void check_order_is_irrelevant(struct world *world)
{
    struct pd_view_member shuffled[POOL_SIM_MEMBERS_MAX];
    struct pd_view view = world->view;
    struct pd_plan plan;

    memcpy(shuffled, world->members, sizeof shuffled);
    for (size_t i = view.n_members; i > 1; i--) {
        size_t j = (size_t)pool_sim_random(&world->sim, (int)i);
        struct pd_view_member swap = shuffled[i - 1];
        shuffled[i - 1] = shuffled[j];
        shuffled[j] = swap;
    }
    view.members = shuffled;
    pd_decide(&world->sim.spec, &view, world->sim.now, &plan);
    check(world, same_plan(&plan, &world->plan));
}

/* Creations that are not to be seen yet, but known of, are not made again. */
static void check_stale_view(struct world *world)
{
    struct pd_view_member seen[POOL_SIM_MEMBERS_MAX];
    struct pd_view view = world->view;
    struct pd_plan plan;

    view.n_members = 0;
    for (size_t i = 0; i < world->view.n_members; i++) {
        const struct pd_view_member *member = &world->members[i];
        bool fresh = member->phase == PD_SANDBOX_CREATING && !member->spent &&
                     strcmp(member->template_hash, world->sim.spec.template_hash) == 0;
        if (fresh)
            view.expected++;
        else
            seen[view.n_members++] = *member;
    }
    view.members = seen;
    pd_decide(&world->sim.spec, &view, world->sim.now, &plan);
    check(world, plan.create <= world->plan.create);
    check(world, world->sim.deleting || plan.drained == world->plan.drained);
}

/* Its own plan carried out, decide wants nothing more at this moment. */
static void check_converges(struct world *world)
{
    struct pool_sim after = world->sim;
    struct pd_view_member members[POOL_SIM_MEMBERS_MAX];
    struct pd_view view;
    struct pd_plan plan;

    pool_sim_apply(&after, &world->plan);
    view = pool_sim_view(&after, members);
    pd_decide(&after.spec, &view, after.now, &plan);
    if (plan.n_actions > 0 || plan.create > 0)
        show(&after.spec, &view, &plan);
    check(world, plan.n_actions == 0);
    check(world, plan.create == 0);
}

static void decide(struct world *world)
{
    world->view = pool_sim_view(&world->sim, world->members);
    pd_decide(&world->sim.spec, &world->view, world->sim.now, &world->plan);
}

static void check_plan(struct world *world)
{
    check_claimed_are_safe(world);
    check_nobody_twice(world);
    check_max_size(world);
    check_growth(world);
    check_failing_costs_nothing(world);
    check_roll_keeps_serving(world);
    check_order_is_irrelevant(world);
    check_stale_view(world);
    check_converges(world);
}

static void random_spec(struct world *world)
{
    struct pool_sim *sim = &world->sim;
    struct pd_pool_spec *spec = &sim->spec;

    spec->min_size = pool_sim_random(sim, 5);
    spec->max_size = spec->min_size + pool_sim_random(sim, 8);
    if (spec->max_size == 0)
        spec->max_size = 1;
    spec->target_idle = pool_sim_random(sim, 4);
    spec->update.max_surge = pool_sim_random(sim, 3);
    spec->update.max_unavailable = pool_sim_random(sim, 3);
    spec->update.type = pool_sim_random(sim, 8) ? PD_UPDATE_ROLLING : PD_UPDATE_RECREATE;
    spec->scale_down_after_ms = pool_sim_random(sim, 4) * 5000;
    spec->recycle.after_age_ms = pool_sim_random(sim, 2) * 20000;
}

static void new_template(struct world *world)
{
    struct pool_sim *sim = &world->sim;

    snprintf(sim->spec.template_hash, sizeof sim->spec.template_hash, "t%d", world->step);
    if (!world->calm && pool_sim_random(sim, 3) == 0)
        pd_strcpy(sim->bad_template, sizeof sim->bad_template, sim->spec.template_hash);
}

static void random_event(struct world *world)
{
    struct pool_sim *sim = &world->sim;
    int dice = pool_sim_random(sim, 100);

    if (dice < 35)
        pool_sim_claim(sim);
    else if (dice < 65)
        pool_sim_release(sim, pool_sim_random(sim, 10) != 0);
    else if (dice < 75)
        sim->queued = pool_sim_random(sim, 8);
    else if (dice < 80)
        sim->wait_ms = pool_sim_random(sim, 3000);
    else if (dice < 85)
        sim->blocked = pool_sim_random(sim, 3);
    else if (dice < 88)
        new_template(world);
    else if (dice < 91 && !world->calm)
        pool_sim_die(sim);
    else if (dice < 93)
        random_spec(world);
}

static void begin_world(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    world->seed = seed;
    pool_sim_init(&world->sim, seed);
    random_spec(world);
    world->calm = seed % 2 == 0;
    world->sim.fail_percent = world->calm ? 0 : pool_sim_random(&world->sim, 60);
}

static void live(struct world *world)
{
    decide(world);
    check_plan(world);
    pool_sim_apply(&world->sim, &world->plan);
    pool_sim_advance(&world->sim, 1 + pool_sim_random(&world->sim, 300));
}

/* Left alone, a pool becomes what its spec says, and stays so. */
static void check_settles(struct world *world)
{
    struct pool_sim *sim = &world->sim;
    const struct pd_pool_status *status = &world->plan.status;

    sim->queued = sim->blocked = sim->fail_percent = 0;
    sim->bad_template[0] = '\0';
    sim->spec.recycle.after_age_ms = 0;
    for (size_t i = 0; i < sim->count; i++)
        sim->members[i].fails = false;
    while (pool_sim_release(sim, true))
        continue;
    for (int i = 0; i < 2000; i++) {
        live(world);
        world->step++;
    }
    decide(world);
    check(world, world->plan.n_actions == 0 && world->plan.create == 0);
    check(world, status->ready == world->plan.wanted && status->replicas == status->ready);
    check(world, status->updated == status->replicas);
    check(world,
          status->ready == (sim->spec.min_size == 0                      ? 0
                            : sim->spec.min_size > sim->spec.target_idle ? sim->spec.min_size
                            : sim->spec.target_idle < sim->spec.max_size ? sim->spec.target_idle
                                                                         : sim->spec.max_size));
    check(world, status->progressing.status == 0 && status->available.status == 1);
}

static void test_random_histories(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < HISTORIES; seed++) {
        struct world world;

        begin_world(&world, seed);
        for (world.step = 0; world.step < STEPS; world.step++) {
            random_event(&world);
            live(&world);
        }
        if (seed % 10 == 0)
            check_settles(&world);
    }
}

/* When members die or are spent but nothing fails, fewer than minSize serve for
 * no longer than it takes to end some and to start others. */
static void test_min_size_is_back_within_a_start(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < HISTORIES / 4; seed++) {
        struct world world;
        int64_t bound_ms;

        begin_world(&world, seed * 2);
        random_spec(&world);
        world.sim.spec.update.type = PD_UPDATE_ROLLING;
        world.sim.spec.recycle.after_age_ms = 0;
        bound_ms = 5 * (world.sim.start_ms + world.sim.end_ms + 100); /* batches of 1, 2, 4 */
        for (world.step = 0; world.step < STEPS; world.step++) {
            int before = pool_sim_random(&world.sim, 4);
            if (before == 0)
                pool_sim_claim(&world.sim);
            else if (before == 1)
                pool_sim_release(&world.sim, world.step % 30 != 0);
            if (world.step % 60 == 59)
                pool_sim_die(&world.sim);
            decide(&world);
            check_plan(&world);
            world.short_ms =
                warm_and_good(&world) < world.sim.spec.min_size ? world.short_ms + 100 : 0;
            check(&world, world.short_ms <= bound_ms);
            pool_sim_apply(&world.sim, &world.plan);
            pool_sim_advance(&world.sim, 100);
        }
    }
}

/* A pool that is deleted drains: runs finish, in one history of two; those that
 * do not are ended at the deadline, and not before. Then nothing is left. */
static void test_deleted_pools_drain(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < HISTORIES / 4; seed++) {
        struct world world;
        bool finish = seed % 2;
        int claimed;

        begin_world(&world, seed);
        for (world.step = 0; world.step < 40; world.step++) {
            random_event(&world);
            live(&world);
        }
        world.sim.deleting = true;
        world.sim.drain_begun = world.sim.now;
        claimed = pool_sim_count(&world.sim, PD_SANDBOX_CLAIMED);
        while (pool_sim_count(&world.sim, PD_SANDBOX_CLAIMED) > 0) {
            bool overdue = drain_is_overdue(&world);
            live(&world);
            check(&world, !world.plan.drained && world.plan.create == 0);
            check(&world,
                  overdue || finish || pool_sim_count(&world.sim, PD_SANDBOX_CLAIMED) == claimed);
            check(&world, !overdue || pool_sim_count(&world.sim, PD_SANDBOX_CLAIMED) == 0);
            if (finish && pool_sim_random(&world.sim, 10) == 0)
                pool_sim_release(&world.sim, true);
        }
        for (int i = 0; i < 20; i++)
            live(&world);
        check(&world, world.plan.drained && world.sim.count == 0);
    }
}

/* A roll replaces every member, one history in two of them while all the pool
 * is busy all the time. */
static void test_rolls_finish_under_load(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < HISTORIES / 10; seed++) {
        struct world world;
        bool busy = seed % 4 < 2;

        begin_world(&world, seed * 2);
        world.sim.spec.recycle.after_age_ms = 0;
        for (int i = 0; i < 60; i++)
            live(&world);
        new_template(&world);
        for (int i = 0; i < 600; i++) {
            if (busy && pool_sim_random(&world.sim, 2))
                pool_sim_release(&world.sim, true);
            while (busy && pool_sim_claim(&world.sim))
                continue;
            live(&world);
        }
        decide(&world);
        for (size_t i = 0; i < world.sim.count; i++)
            check(&world, world.sim.members[i].view.phase == PD_SANDBOX_TERMINATING ||
                              strcmp(world.sim.members[i].template_hash,
                                     world.sim.spec.template_hash) == 0);
    }
}

/* A template that never starts costs no sandbox of the one before it. */
static void test_a_bad_template_stops_the_roll(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < HISTORIES / 10; seed++) {
        struct world world;
        int least;

        begin_world(&world, seed * 2);
        world.sim.spec.update.type = PD_UPDATE_ROLLING;
        world.sim.spec.recycle.after_age_ms = 0;
        for (int i = 0; i < 100; i++)
            live(&world);
        least =
            pool_sim_count(&world.sim, PD_SANDBOX_WARM) -
            (world.sim.spec.update.max_unavailable > 1 ? world.sim.spec.update.max_unavailable : 1);
        new_template(&world);
        pd_strcpy(world.sim.bad_template, sizeof world.sim.bad_template,
                  world.sim.spec.template_hash);
        for (int i = 0; i < 400; i++) {
            live(&world);
            check(&world, pool_sim_count(&world.sim, PD_SANDBOX_WARM) >= least);
        }
    }
}

/* ---- cost ---- */

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
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_a_drain_is_bounded),
        cmocka_unit_test(test_wakes_at_the_drain_deadline),
        cmocka_unit_test(test_wakes_when_a_start_is_overdue),
        cmocka_unit_test(test_wakes_when_the_pause_is_over),
        cmocka_unit_test(test_wakes_before_the_age_is_reached),
        cmocka_unit_test(test_more_actions_than_fit_wake_at_once),
        cmocka_unit_test(test_status_counts_everything_once),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_conditions_date_from_their_last_change),
        cmocka_unit_test(test_random_histories),
        cmocka_unit_test(test_min_size_is_back_within_a_start),
        cmocka_unit_test(test_deleted_pools_drain),
        cmocka_unit_test(test_rolls_finish_under_load),
        cmocka_unit_test(test_a_bad_template_stops_the_roll),
        cmocka_unit_test(test_a_thousand_pools_are_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
