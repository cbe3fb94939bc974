# A virtual machine of the tests' own, made from Debian packages: a kernel with cgroup
# v2 and AppArmor, systemd, a Docker engine. Its disk is kept outside the tree, named by
# what it is made from; a run writes to a layer that is thrown away. Needs image.sh.
# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2153

VM_PACKAGES=(qemu-system-x86 seabios e2fsprogs mmdebstrap)
VM_INCLUDE=linux-image-amd64,systemd-sysv,udev,dbus,dbus-user-session,libpam-systemd,kmod
VM_INCLUDE+=,docker.io,containerd,runc,crun,apparmor,iptables
VM_INCLUDE+=,python3,python3-yaml,python3-jsonschema,procps,psmisc,iproute2,curl,ca-certificates,passwd
VM_INCLUDE+=,libuv1,libcurl4,libyaml-0-2,libjansson4,libssl3,libsqlite3-0,libpq5,libhiredis0.14,libwslay1
VM_DISK_BYTES=12G
VM_MEMORY_MIB=3072
VM_CPUS=2
VM_KVM_CPU=host,-arch-capabilities # which not every KVM lets be set
VM_CMDLINE="root=/dev/vda rw console=ttyS0 panic=5 net.ifnames=0 apparmor=1 security=apparmor"
VM_CMDLINE+=" systemd.unified_cgroup_hierarchy=1 systemd.show_status=false quiet"

# What the folder tests/vm/root is, is laid over the packages.
vm_recipe_hash() {
    (image_recipe_hash "$VM_INCLUDE,$VM_DISK_BYTES"; cd "$ROOT/tests/vm/root" &&
        find . -type f | sort | xargs sha256sum) | sha256sum | cut -c1-12
}

# vm_base: the disk with the packages, its kernel and initrd; prints the path without suffix.
vm_base() {
    local base root log
    base=$IMAGE_CACHE/vm-$(vm_recipe_hash)
    if [ ! -s "$base.disk" ]; then
        say "building the tests' virtual machine from Debian packages (once; some minutes)"
        mkdir -p "$IMAGE_CACHE"
        log=$(mktemp)
        root=$(mktemp -d "$IMAGE_CACHE/vm-root.XXXXXX")
        if ! as_root mmdebstrap --variant=minbase --include="$VM_INCLUDE" \
                --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
                --customize-hook="cp -r '$ROOT/tests/vm/root/.' \"\$1\"" \
                --customize-hook='chroot "$1" systemctl enable paddock-vm.service' \
                "$(debian_suite)" "$root" >"$log" 2>&1; then
            tail -n 10 "$log" >&2
            as_root rm -rf "$root" "$log"
            die "mmdebstrap could not build the virtual machine" "it needs a Debian mirror: check the network"
        fi
        cp "$root"/boot/vmlinuz-* "$base.kernel"
        cp "$root"/boot/initrd.img-* "$base.initrd"
        as_root mke2fs -q -t ext4 -d "$root" "$base.disk.part" "$VM_DISK_BYTES"
        as_root rm -rf "$root" "$log"
        mv "$base.disk.part" "$base.disk"
    fi
    printf '%s\n' "$base"
}

# vm_with_images BASE IMAGE...: a disk whose engine has these images; prints its path. An
# engine of its own, on a network of its own, puts them there.
vm_with_images() {
    local base=$1 disk ids
    shift
    ids=$(docker image inspect -f '{{.Id}}' "$@" | sha256sum | cut -c1-12)
    disk=${base%.disk}-$ids.disk
    if [ ! -s "$disk" ]; then
        say "putting $# images into the virtual machine (once)"
        rm -f "$base"-*.disk # with other images, and of no use any more
        cp --sparse=always "$base.disk" "$disk.part"
        as_root bash "$ROOT/tests/vm/put_images.sh" "$disk.part" "$@" >&2 || {
            rm -f "$disk.part"
            die "the images could not be put into the virtual machine"
        }
        mv "$disk.part" "$disk"
    fi
    printf '%s\n' "$disk"
}

# vm_accelerator BASE: how this machine runs another: kvm, where that boots a kernel in a
# few seconds (some that offer /dev/kvm do not), else emulation, loudly.
vm_accelerator() {
    if [ -w /dev/kvm ] && timeout --foreground 20 qemu-system-x86_64 -machine pc -accel kvm \
            -cpu "$VM_KVM_CPU" -m 512 -nodefaults -no-user-config -display none -no-reboot \
            -kernel "$1.kernel" -initrd "$1.initrd" -append "panic=-1 rdinit=/bin/true" \
            </dev/null >/dev/null 2>&1; then
        echo kvm
        return
    fi
    say "WARNING: no KVM that works here: the virtual machine is emulated, some fifteen times slower"
    echo tcg,thread=multi,tb-size=1024
}

# vm_boot BASE DISK JOB REPORT ACCELERATOR SECONDS: run until the guest powers off. What it
# writes to the disk is thrown away. JOB/run is what it does, read-only at /job; REPORT is
# /report, and gets the console. 124: it took too long.
vm_boot() {
    local base=$1 disk=$2 job=$3 report=$4 accel=$5 seconds=$6 cpu=max
    [ "$accel" != kvm ] || cpu=$VM_KVM_CPU
    TMPDIR=$IMAGE_CACHE timeout --foreground -k 10 "$seconds" qemu-system-x86_64 \
        -machine pc -accel "$accel" -cpu "$cpu" -m "$VM_MEMORY_MIB" -smp "$VM_CPUS" \
        -nodefaults -no-user-config -display none -serial "file:$report/console" \
        -kernel "$base.kernel" -initrd "$base.initrd" -append "$VM_CMDLINE" \
        -drive "file=$disk,format=raw,if=virtio,snapshot=on,cache=unsafe" \
        -device virtio-rng-pci -nic none \
        -virtfs "local,path=$job,mount_tag=job,security_model=none,readonly=on,multidevs=remap" \
        -virtfs "local,path=$report,mount_tag=report,security_model=none,multidevs=remap" \
        </dev/null >"$report/qemu" 2>&1
}
