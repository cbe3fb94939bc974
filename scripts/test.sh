#!/usr/bin/env bash
# Sets up what the tests need and runs all of them:
#
#   ./scripts/test.sh [quick]
#
# Builds dev, asan, release and (for its warnings) clang; runs unit,
# integration and fuzz corpora in dev and asan, the end-to-end tests against
# release and asan, and, where clang has it, libFuzzer for a few seconds each.
# "quick" leaves out asan, clang and libFuzzer. The last line is
# "N passed, N failed, N skipped". With CI set, a skipped test that
# tests/allowed-skips does not name counts as failed.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for part in say packages engine image build apparmor tally; do
    # shellcheck source=/dev/null
    . "$ROOT/scripts/lib/$part.sh"
done

QUICK=no
case ${1:-} in
    quick) QUICK=yes ;;
    '') ;;
    *) die "unknown argument '$1'" "./scripts/test.sh [quick]" ;;
esac
FUZZ_SECONDS=${FUZZ_SECONDS:-10}
E2E_SECONDS=2400 # three times what one preset takes: whoever waits for ever is told to stop
LOGS=$ROOT/build/test-logs
mkdir -p "$LOGS"
rm -f "$LOGS"/*.log

need_packages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
need_node
need_engine
load_apparmor_profile
mapfile -t images < <(configured_images "$ROOT/conf/default.yaml" "$ROOT"/conf/pools.d/*.yaml)
for image in "${images[@]}"; do
    need_image "$image"
done
need_image_all

# run_ctest PRESET [FLAG...]: ctest of one preset, then its count.
run_ctest() {
    say "unit, integration and fuzz corpora: $1"
    (cd "$ROOT" && ctest --preset "$@" -j 2 --no-tests=error) >"$LOGS/ctest-$1.log" 2>&1 || true
    tally_ctest "$1" "$LOGS/ctest-$1.log" "$ROOT/build/$1/Testing/Temporary/LastTest.log"
}

# The end-to-end tests against the service of one preset.
run_e2e() {
    local sanitized=0
    [ "$1" = asan ] && sanitized=1
    say "end to end: $1"
    PADDOCK_BINARY=$ROOT/build/$1/paddock PADDOCK_SANITIZED=$sanitized \
        ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1 \
        timeout -k 10 "$E2E_SECONDS" python3 "$ROOT/tests/e2e/run.py" -j "$(($(nproc) + 1 - sanitized))" \
        >"$LOGS/e2e-$1.log" || true # what it is at goes to stderr
    tally_e2e "$1" "$LOGS/e2e-$1.log"
}

# One fuzz target for a while, from its corpus and what was found before.
fuzz_one() {
    local name=${1##*/fuzz_} status=0
    mkdir -p "$ROOT/build/fuzz/found/$name"
    (cd "$ROOT/build/fuzz" && "$1" -max_total_time="$FUZZ_SECONDS" -timeout=10 \
        -artifact_prefix="$LOGS/fuzz-$name-" "found/$name" "$ROOT/tests/fuzz/corpus/$name") \
        >"$LOGS/fuzz-$name.log" 2>&1 || status=$?
    echo $status >"$LOGS/fuzz-$name.status"
}

# All of them, as many at a time as there are processors.
run_fuzzers() {
    local target name targets=("$ROOT"/build/fuzz/tests/fuzz_*)
    say "fuzzing ${#targets[@]} parsers for $FUZZ_SECONDS s each"
    rm -f "$LOGS"/fuzz-*.status
    for target in "${targets[@]}"; do
        while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
            wait -n || true
        done
        fuzz_one "$target" &
    done
    wait
    for target in "${targets[@]}"; do
        name=${target##*/fuzz_}
        if [ "$(cat "$LOGS/fuzz-$name.status")" = 0 ]; then
            tally_pass
        else
            tally_fail "fuzz/$name" "$LOGS/fuzz-$name.log"
        fi
    done
}

has_libfuzzer() {
    have clang && printf 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n);
int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d && n > 1u << 30; }' |
        clang -x c -fsanitize=fuzzer - -o "$LOGS/libfuzzer-probe" >/dev/null 2>&1
}

# A preset that does not build is one failure; the others go on.
builds() { (build_preset "$@") || { tally_fail "build/$1"; false; }; }

if builds dev; then run_ctest dev; fi
if builds release paddock pd_agent_ecs changelog; then run_e2e release; fi
if [ $QUICK = no ]; then
    if builds asan; then
        run_ctest asan -E decide_mutants # which builds its own, once is enough
        run_e2e asan
    fi
    if builds clang; then tally_pass; fi
    if ! has_libfuzzer; then
        tally_skip fuzz/libfuzzer "clang's fuzzer runtime is not installed"
    elif builds fuzz; then
        run_fuzzers
    fi
fi

tally_print
