#!/usr/bin/env bash
# put_images.sh DISK IMAGE...: load images into /var/lib/docker of a disk, by an engine
# that is started for it on that folder, and ended. As root.
set -euo pipefail

disk=$1
shift
folder=$(mktemp -d /var/tmp/pd-vm.XXXXXX)
mkdir "$folder/root" "$folder/exec"
engine=

clean_up() {
    if [ -n "$engine" ]; then
        kill "$engine" 2>/dev/null || true
        wait "$engine" 2>/dev/null || true
    fi
    umount "$folder/root/var/lib/docker/overlay2" 2>/dev/null || true
    umount "$folder/root" 2>/dev/null || true
    rm -rf --one-file-system "$folder"
}
trap clean_up EXIT

mount -o loop "$disk" "$folder/root"
# --bridge=none takes docker0 away, which is another engine's where the network is shared.
unshare --net dockerd --data-root "$folder/root/var/lib/docker" --exec-root "$folder/exec" \
    --pidfile "$folder/pid" -H "unix://$folder/socket" --storage-driver overlay2 \
    --iptables=false --ip6tables=false --bridge=none >"$folder/log" 2>&1 </dev/null &
engine=$!
tries=300
until docker -H "unix://$folder/socket" version >/dev/null 2>&1; do
    tries=$((tries - 1))
    if [ $tries -le 0 ] || ! kill -0 "$engine"; then
        tail -n 10 "$folder/log"
        exit 1
    fi
    sleep 0.2
done
docker save "$@" | docker -H "unix://$folder/socket" load -q
