#!/usr/bin/env bash
# From a fresh Debian or Ubuntu machine to a running service:
#
#   ./scripts/run_code_execution_server.sh [docker|ecs] [flags of `paddock serve`]
#
# Installs what is missing, builds a release, makes sure that a Docker engine
# answers and the sandbox images exist, then serves on 127.0.0.1:8000. Run
# again, it does nothing twice.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for part in say packages engine image build apparmor; do
    # shellcheck source=/dev/null
    . "$ROOT/scripts/lib/$part.sh"
done

usage() {
    sed -n '2,/^set -/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit "$1"
}

PROVIDER=${SANDBOX_PROVIDER:-docker}
case ${1:-} in
    docker | ecs) PROVIDER=$1; shift ;;
    -h | --help) usage 0 ;;
    -* | '') ;;
    *) usage 2 >&2 ;;
esac

CONFIG=${PADDOCK_CONFIG:-$ROOT/conf/default.yaml}

need_packages "${BUILD_PACKAGES[@]}"
if ! have node || ! have npm; then
    say "the browser console is left out; to have it: apt-get install nodejs npm, then run this again"
fi
build_preset release paddock

if [ "$PROVIDER" = docker ]; then
    need_engine
    load_apparmor_profile
    mapfile -t images < <(configured_images "$CONFIG" "$(dirname "$CONFIG")"/pools.d/*.yaml)
    for image in "${images[@]}"; do
        need_image "$image"
    done
fi

say "serving (stop with Ctrl-C)"
exec "$ROOT/build/release/paddock" serve "$PROVIDER" --config "$CONFIG" "$@"
