#!/usr/bin/env bash
# What a platform makes of paddock that this machine need not be: Debian 12 under systemd,
# cgroup v2, AppArmor with our profile, crun, a rootless engine, the unit of the package,
# a reboot. In a virtual machine of the tests' own, made from Debian packages.
#
#   ./scripts/test_vm.sh [PART...]     parts: tests/vm/guest.py; all by default
#
# Emulated where KVM does not work, which takes long: not a part of scripts/test.sh. Its
# last line is "N passed, N failed, N skipped". VM_SECONDS bounds it (3600, by KVM 900).
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for part in say packages engine image build vm; do
    # shellcheck source=/dev/null
    . "$ROOT/scripts/lib/$part.sh"
done

need_packages "${BUILD_PACKAGES[@]}" "${VM_PACKAGES[@]}" dpkg-dev
need_node
build_preset release paddock pd_agent bench_cgroup_cost
need_engine
need_image python:3.11-slim
need_image_all

base=$(vm_base)
disk=$(vm_with_images "$base" python:3.11-slim "$IMAGE_ALL")
accel=$(vm_accelerator "$base")
seconds=900
[ "$accel" = kvm ] || seconds=3600

# What goes in, and what comes out.
report=$ROOT/build/test-vm
rm -rf "$report"
mkdir -p "$report"
job=$(mktemp -d)
trap 'rm -rf "$job"' EXIT
(cd "$ROOT" && git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf "$job/tree.tar" \
    && tar -rf "$job/tree.tar" build/release/paddock build/release/paddock-agent \
        build/release/tests/bench_cgroup_cost)
(cd "$ROOT/build/release" && cpack -G DEB -B "$job/package" >"$report/cpack" 2>&1) ||
    die "the package could not be built" "see $report/cpack"
mv "$job"/package/*.deb "$job/paddock.deb"
rm -rf "$job/package"
printf '%s\n' "$@" >"$job/parts"
printf '%s\n' "$accel" >"$job/accelerator"
install -m 755 "$ROOT/tests/vm/job.sh" "$job/run"

say "the virtual machine runs ($accel); its words: $report/log, its console: $report/console"
status=0
vm_boot "$base" "$disk" "$job" "$report" "$accel" "${VM_SECONDS:-$seconds}" || status=$?
[ ! -s "$report/log" ] || cat "$report/log"
if [ $status -ne 0 ] || [ ! -s "$report/status" ]; then
    tail -n 20 "$report/console" >&2
    die "the virtual machine ended with $status before its tests did" "see $report"
fi
exit "$(cat "$report/status")"
