#!/usr/bin/env bash
# Half an hour of mixed load and faults, then: are memory, descriptors, threads,
# containers and disk as they were? On a release build and the real engine.
#
#   ./scripts/soak.sh [SECONDS]      1800 by default
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for part in say packages engine image build; do
    # shellcheck source=/dev/null
    . "$ROOT/scripts/lib/$part.sh"
done

case ${1:-1800} in
    *[!0-9]*) die "how long, in seconds: '$1' is no number" "./scripts/soak.sh [SECONDS]" ;;
esac
need_packages "${BUILD_PACKAGES[@]}" python3
build_preset release paddock
need_engine
need_image python:3.11-slim
PADDOCK_BINARY=$ROOT/build/release/paddock exec python3 "$ROOT/tests/soak/soak.py" "${1:-1800}"
