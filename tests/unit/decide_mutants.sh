#!/bin/sh
# Break decide.c and census.c in one place after another: their unit tests must notice each
# time.
# A mutant that lives means that a promise of decide.h is not tested; one that
# cannot be applied means that this list is out of date.
#
#   decide_mutants.sh [compiler]
set -eu
cc=${1:-cc}
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

flags="-std=gnu11 -D_GNU_SOURCE -I. -O1 -w"
tests="decide_test decide_status_test decide_properties_test" # the quickest to notice first
rig=""
object() { # of a source
    echo "$work/$(basename "$1" .c).o"
}
for source in tests/lib/decide_row.c tests/lib/pool_sim.c controller/condition.c \
    controller/growth.c controller/peak.c common/mem.c common/time.c common/err.c; do
    $cc $flags -c "$source" -o "$(object "$source")"
    rig="$rig $(object "$source")"
done
for test in $tests; do
    $cc $flags -c "tests/unit/$test.c" -o "$(object "$test")"
done

build() { # decide.c and census.c of this folder
    $cc $flags -c "$1/decide.c" -o "$work/decide.o" 2>"$work/log" &&
        $cc $flags -c "$1/census.c" -o "$work/census.o" 2>"$work/log"
}

runs_clean() { # no further than the first failure
    for test in $tests; do
        $cc "$(object "$test")" $rig "$work/decide.o" "$work/census.o" -lcmocka -o "$work/$test"
        CMOCKA_TEST_ABORT=1 timeout 60 "$work/$test" >"$work/log" 2>&1 || return 1
    done
}

alive=0
mutate() { # what the mutant does wrong | sed program
    sed "$2" controller/decide.c >"$work/decide.c"
    sed "$2" controller/census.c >"$work/census.c"
    if cmp -s controller/decide.c "$work/decide.c" && cmp -s controller/census.c "$work/census.c" ||
        ! build "$work"; then
        echo "OUT OF DATE  $1"
        alive=$((alive + 1))
    elif runs_clean; then
        echo "ALIVE        $1"
        alive=$((alive + 1))
    else
        echo "killed       $1"
    fi
}

build controller && runs_clean || { cat "$work/log"; echo "the test fails without any mutant"; exit 1; }

mutate "terminating ones do not count against maxSize" \
    's/^    return (int)census->n + census->view->expected;/    return census->live;/'
mutate "creates one more than there is room for" \
    's/int room = census->spec->max_size - existing(census)/& + 1/'
mutate "creates one too few" \
    's/int missing = min_of(census->target - current/int missing = -1 + min_of(census->target - current/'
mutate "does not count what is expected" \
    's/census->live += view->expected;//'
mutate "expected ones do not fill the window" \
    's/census->creating += view->expected;//'
mutate "destroys claimed ones to scale down" \
    's/if (!entry->live || entry->member->phase == PD_SANDBOX_CLAIMED || rank < best_rank)/if (!entry->live || rank < best_rank)/; /assert(entry->member->phase != PD_SANDBOX_CLAIMED)/d'
mutate "destroys claimed ones to roll" \
    's/            pd_census_retire(census, busy, why_outdated/            pd_census_destroy(census, busy, why_outdated/; /assert(entry->member->phase != PD_SANDBOX_CLAIMED)/d'
mutate "never retires busy ones: a roll under load does not end" \
    's/: next_outdated(census, PD_SANDBOX_CLAIMED, worn)/: NULL/'
mutate "scales down the oldest first" \
    's/|| rank < best_rank)$/|| rank <= best_rank)/'
mutate "unready ones are no better to scale down" \
    's/int rank = pd_member_is_starting(entry->member) ? 2 : /int rank = pd_member_is_starting(entry->member) ? 0 : /'
mutate "forgets what was in use lately" \
    's/max_of(view->peak_in_use, busy) + queue/busy + queue/'
mutate "forgets what was needed lately" \
    's/int peak = max_of(census->view->peak_needed, census->plan->needed)/int peak = census->plan->needed/'
mutate "never scales down" \
    's/census->live > to_keep(census)/false/'
mutate "a pool that may be empty never is" \
    's/bool unused = demand == 0 .*/bool unused = false;/'
mutate "every queued run counts" \
    's/in_time = view->queued \* view->start_ms/in_time = 0 \* view->start_ms/'
mutate "no queued run counts" \
    's/return max_of(1, view->queued - (int)in_time);/return 0;/'
mutate "a queue does not wake an empty pool" \
    's/return in_use(census) == 0; .*/return 0;/'
mutate "sizes beyond maxSize" \
    's/return clamp(unused ? 0 : demand + spec->target_idle, spec->min_size, spec->max_size)/return max_of(unused ? 0 : demand + spec->target_idle, spec->min_size)/'
mutate "forgets the idle ones beside the busy ones" \
    's/unused ? 0 : demand + spec->target_idle/demand/'
mutate "leaves spent ones" \
    's/^    sort_out_spent(census);//'
mutate "counts spent ones as if they would serve" \
    's/if (member->spent || member->phase == PD_SANDBOX_TERMINATING)/if (member->phase == PD_SANDBOX_TERMINATING)/'
mutate "waits for stuck ones for ever" \
    's/^    sort_out_stuck(census);//'
mutate "replaces stuck ones though capacity is wanting" \
    's/if (census->view->growth->held)/if (false)/'
mutate "makes others at once where one was stuck" \
    's/if (census->failing \&\& growth->failures == 0)/if (false)/'
mutate "takes long idleness for being stuck" \
    's/if (entry->live && pd_member_is_starting(entry->member) \&\&$/if (entry->live \&\& entry->member->phase != PD_SANDBOX_CLAIMED \&\&/'
mutate "ignores the window" \
    's/pd_growth_allowance(growth, census->now, census->creating, census->starting))/1000)/'
mutate "does not wake when the pause is over" \
    's/pd_census_wake_at(census, growth->retry_at);/;/'
mutate "does not wake for what did not fit" \
    's/pd_census_wake_at(census, census->now);/;/'
mutate "wakes late for what is due" \
    's/^        pd_census_wake_at(census, due);//'
mutate "rolls as if one more might be missing" \
    's/roll_serving(census, false, census->target - tolerated(census));/roll_serving(census, false, census->target - tolerated(census) - 1);/'
mutate "does not begin to roll without room" \
    's/return can_surge ? spec->update.max_unavailable : max_of(1, spec->update.max_unavailable);/return spec->update.max_unavailable;/'
mutate "does not surge" \
    's/return recreates(census) ? 0 : min_of(census->spec->update.max_surge, census->outdated);/return 0;/'
mutate "surges without end" \
    's/return recreates(census) ? 0 : min_of(census->spec->update.max_surge, census->outdated);/return recreates(census) ? 0 : census->outdated;/'
mutate "goes on rolling to a template that fails" \
    's/if (census->failing)$/if (false)/'
mutate "leaves unready ones of an earlier template" \
    's/^    roll_unready(census);//'
mutate "takes every template for the current one" \
    's/return strcmp(member->template_hash, spec->template_hash) != 0;/return false;/'
mutate "recreates without waiting for the old ones" \
    's/|| waits_for_recreate(census))/)/'
mutate "recreates bit by bit" \
    's/^        roll_recreate(census);/        ;/'
mutate "does not notice age" \
    's/pd_member_is_stale(census->spec, member) || is_old(census, member);/pd_member_is_stale(census->spec, member);/'
mutate "does not notice wear" \
    's/!due \&\& member->worn \&\& !pd_member_is_starting(member);/false;/'
mutate "replaces the worn before another serves" \
    's/roll_serving(census, true, census->target);/roll_serving(census, true, census->target - tolerated(census));/'
mutate "makes no room for another key" \
    's/^    make_room(census);//'
mutate "gives up sandboxes for another key though there is room" \
    's/while (census->live + missing > spec->max_size/while (missing-- > 0/'
mutate "gives up more than wait" \
    's/return min_of(max_of(census->view->blocked, refused(census)), census->view->queued);/return max_of(census->view->blocked, refused(census));/'
mutate "gives up what is being given out" \
    's/pd_census_is_past(census, entry->member->phase_since, REFUSED_AFTER_MS);/true;/'
mutate "lets a key that never pauses keep the others out" \
    's/struct pd_census_entry \*busy = idle ? NULL : oldest_busy(census);/struct pd_census_entry *busy = NULL;/'
mutate "gives up the wrong one for another key" \
    's/pd_time_before(entry->member->phase_since, longest->member->phase_since)/pd_time_before(longest->member->phase_since, entry->member->phase_since)/'
mutate "gives up working ones for another key while new ones fail" \
    's/> spec->max_size \&\& !census->failing \&\&/> spec->max_size \&\&/'
mutate "the order of observation decides" \
    's/^    qsort(census->entries.*//'
mutate "a lowered maxSize does not reach the busy ones" \
    's/if (entry \&\& census->live > census->spec->max_size)/if (false)/'
mutate "acts on a provider that does not answer" \
    's/else if (view->may_act)/else if (true)/'
mutate "a deleted pool does not drain" \
    's/pd_census_destroy(census, entry, PD_WHY_POOL_GONE);/;/'
mutate "a deleted pool goes before its runs" \
    's/census->plan->drained = existing(census) == 0;/census->plan->drained = true;/'
mutate "a drain has no deadline" \
    's/bool overdue = drain_is_overdue(census);/bool overdue = false;/'
mutate "a drain lets no run finish" \
    's/bool overdue = drain_is_overdue(census);/bool overdue = true;/'
mutate "a drain may take as long as a run" \
    's/return spec->run.max_timeout_ms < PD_DRAIN_MS_MAX ? .*/return spec->run.max_timeout_ms;/'
mutate "a drain makes sandboxes" \
    's/^        drain(&census);/        plan_size(\&census);/'
mutate "counts spent ones as ready" \
    's/member->phase == PD_SANDBOX_WARM \&\& !ends;/member->phase == PD_SANDBOX_WARM;/'

test "$alive" -eq 0 || { echo "$alive mutants live or are out of date"; exit 1; }
