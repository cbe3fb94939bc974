#!/usr/bin/env bash
# Measures paddock beside the floors of this very machine, in one run:
#
#   ./scripts/bench.sh [quick] [WORD...]
#
# "quick" takes fewer samples; words choose among: cells execute saturation fill
# memory stream records redis ecs (all of them without any). Prints medians over interleaved rounds and
# their ratio to the floor, each beside its target.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for part in say packages engine image build apparmor; do
    # shellcheck source=/dev/null
    . "$ROOT/scripts/lib/$part.sh"
done

need_packages "${BUILD_PACKAGES[@]}" python3
need_engine
load_apparmor_profile
mapfile -t images < <(configured_images "$ROOT/conf/default.yaml" "$ROOT"/conf/pools.d/*.yaml)
for image in "${images[@]}"; do
    need_image "$image"
done
build_preset release paddock pd_agent_ecs bench_client bench_spawn bench_cell_cost bench_ledger
[ "$(id -u)" -eq 0 ] || die "the floor is measured in a chroot, which needs root" "sudo $0 $*"

PADDOCK_BINARY=$ROOT/build/release/paddock exec python3 "$ROOT/tests/bench/bench.py" "$@"
