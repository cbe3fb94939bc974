#!/bin/sh
# What the virtual machine does at each boot (75: boot again), from what scripts/test_vm.sh
# brought it.
if [ "$1" = 1 ]; then
    mkdir -p /paddock
    tar -xf /job/tree.tar -C /paddock --no-same-owner
fi
cd /paddock || exit 1
export PADDOCK_BINARY=/paddock/build/release/paddock PYTHONDONTWRITEBYTECODE=1
[ "$(cat /job/accelerator)" = kvm ] || export PADDOCK_PATIENCE=10
# shellcheck disable=SC2046
python3 tests/vm/guest.py --boot "$1" $(cat /job/parts) >>/report/log 2>&1
status=$?
journalctl -u paddock -o cat >"/report/paddock.$1" 2>&1
[ $status -eq 75 ] || echo $status >/report/status
exit $status
