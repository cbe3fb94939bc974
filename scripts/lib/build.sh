# Building by the presets of CMakePresets.json.
# shellcheck shell=bash

# Whether a build was configured before npm was there.
lacks_npm() {
    have npm && have node && grep -qE '^(NPM|NODE):FILEPATH=.*-NOTFOUND' "$1/CMakeCache.txt"
}

# build_preset NAME [TARGET...]: configure once, then build what is out of date.
build_preset() {
    local preset=$1 log status=0
    shift
    log=$(mktemp)
    if [ ! -f "$ROOT/build/$preset/build.ninja" ] || lacks_npm "$ROOT/build/$preset"; then
        say "configuring build/$preset"
        if ! (cd "$ROOT" && cmake --preset "$preset") >"$log" 2>&1; then
            tail -n 20 "$log" >&2
            rm -f "$log"
            die "cmake could not configure the preset '$preset'"
        fi
    fi
    (cd "$ROOT" && cmake --build --preset "$preset" ${1:+--target "$@"}) >"$log" 2>&1 || status=$?
    if [ $status -ne 0 ]; then
        grep -E 'error|warning|FAILED|undefined' "$log" | head -n 20 >&2 || tail -n 20 "$log" >&2
        rm -f "$log"
        die "the build of preset '$preset' failed" "see it in full: cmake --build --preset $preset"
    fi
    grep -q 'no work to do' "$log" || say "built build/$preset"
    rm -f "$log"
}
