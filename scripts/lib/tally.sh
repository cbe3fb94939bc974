# Counting tests across their runners, and holding skips against the list of
# those that are allowed.
# shellcheck shell=bash

PASSED=0
FAILED=0
SKIPPED=0

tally_pass() { PASSED=$((PASSED + ${1:-1})); }

# tally_fail NAME [LOG]
tally_fail() {
    FAILED=$((FAILED + 1))
    printf 'FAIL %s\n' "$1"
    if [ -n "${2:-}" ]; then
        tail -n 60 "$2"
        printf '(in full: %s)\n' "$2"
    fi
}

# tests/allowed-skips: one name a line, "#" begins a comment.
skip_is_allowed() {
    sed 's/#.*//; s/[[:space:]]*$//' "$ROOT/tests/allowed-skips" | grep -qxF -- "$1"
}

# tally_skip NAME WHY
tally_skip() {
    printf 'SKIP %s: %s\n' "$1" "$2"
    SKIPPED=$((SKIPPED + 1))
    if [ -n "${CI:-}" ] && ! skip_is_allowed "$1"; then
        tally_fail "$1 (skipped, and tests/allowed-skips does not name it)"
    fi
}

# Every "SKIP name: why" line of a log.
tally_skips() {
    local line
    while IFS= read -r line; do
        line=${line#*SKIP }
        tally_skip "${line%%: *}" "${line#*: }"
    done < <(grep -aE '^ *SKIP [^ ]+: ' "$1" 2>/dev/null | sort -u)
}

# tally_ctest PRESET LOG FULL-LOG: cmocka counts the cases of each program, so
# they are what is counted; a program that fails counts once for each case.
tally_ctest() {
    local preset=$1 log=$2 full=$3 cases failed
    if ! grep -q 'tests passed' "$log"; then
        tally_fail "ctest/$preset" "$log"
        return
    fi
    tally_skips "$full"
    if grep -qaE '^\[ +SKIPPED \]' "$full" && ! grep -qaE '^ *SKIP [^ ]+: ' "$full"; then
        tally_fail "ctest/$preset: a test was skipped without a line that says why"
    fi
    cases=$(grep -acE '^\[ +OK \]|^[0-9]+ inputs$|^killed +' "$full" || true)
    tally_pass "$cases"
    # "  3 - unit/queue_test (Failed)"
    while IFS= read -r failed; do
        tally_fail "$preset $failed"
    done < <(sed -nE 's/^[[:space:]]+[0-9]+ - ([^ ]+) \((.*)\).*/\1: \2/p' "$log")
    if grep -qE '\(Failed\)|\(Timeout\)|Exception|SEGFAULT' "$log"; then
        grep -aE '^\[ +(FAILED|ERROR) |^\[ +LINE|Sanitizer|runtime error|Assert' "$full" | head -n 60 || true
        printf '(in full: %s)\n' "$full"
    fi
    printf '     %s: %s cases passed\n' "$preset" "$cases"
}

# tally_e2e PRESET LOG
tally_e2e() {
    local preset=$1 log=$2 last
    last=$(tail -n 1 "$log")
    if ! [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
        tally_fail "e2e/$preset" "$log"
        return
    fi
    tally_pass "${BASH_REMATCH[1]}"
    FAILED=$((FAILED + BASH_REMATCH[2]))
    [ "${BASH_REMATCH[2]}" -eq 0 ] || cat "$log"
    tally_skips "$log"
    printf '     %s: %s\n' "$preset" "$last"
}

# The last word.
tally_print() {
    printf '%d passed, %d failed, %d skipped\n' "$PASSED" "$FAILED" "$SKIPPED"
    [ "$FAILED" -eq 0 ]
}
