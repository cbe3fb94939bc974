/* A decision written as a row of a table: a pool in short, and the plan that pd_decide makes of
 * it.
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
#ifndef PD_TESTS_LIB_DECIDE_ROW_H
#define PD_TESTS_LIB_DECIDE_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/decide.h"

#define DECIDE_NOW_MS 10000000 /* when it is decided */

struct decide_row {
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

/* Read members from their letters; ids get their names, which members borrow. How many. */
size_t decide_members_read(const char *text, struct pd_view_member *members, char (*ids)[8]);
/* The plan as a row has it. */
void decide_plan_write(const struct pd_plan *plan, char *out, size_t out_bytes);

struct pd_pool_spec decide_row_spec(const struct decide_row *row);
/* Ask pd_decide. The plan borrows ids that stand until the next call. */
void decide_row(const struct decide_row *row, struct pd_plan *plan);

#endif
