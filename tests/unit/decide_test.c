/* pd_decide: what it does, as a table (tests/lib/decide_row.h). What it never does:
 * decide_properties_test.c. tests/unit/decide_mutants.sh breaks decide.c in one place
 * after another and sees to it that these programs notice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "controller/decide.h"
#include "tests/lib/decide_row.h"

/* clang-format off */
static const struct decide_row rows[] = {
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

static void test_table(void **state)
{
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < PD_COUNT(rows); i++) {
        struct pd_plan plan;
        char text[512];

        decide_row(&rows[i], &plan);
        decide_plan_write(&plan, text, sizeof text);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_a_drain_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
