# A Docker engine that answers. Where none runs: systemd's where there is
# systemd, else one started by hand, which stays when the script ends.
# shellcheck shell=bash

ENGINE_DIR=/var/lib/paddock/engine
ENGINE_RUN=/run/paddock-engine
ENGINE_LOG=/var/log/paddock-engine.log
ENGINE_WAIT_S=60
ENGINE_SPAWNED=no

engine_answers() { timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

engine_wait() {
    local tries=$((${1:-$ENGINE_WAIT_S} * 5))
    until engine_answers; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] && ! engine_gave_up || return 1
        sleep 0.2
    done
}

# The engine that engine_spawn started says that it cannot go on.
engine_gave_up() {
    [ "$ENGINE_SPAWNED" = yes ] && as_root grep -qs 'failed to start daemon' "$ENGINE_LOG"
}

# dockerd refuses to start where no control groups are mounted (bare virtual
# machines and containers whose init does not do it).
mount_cgroups() {
    grep -qE ' cgroup2? ' /proc/mounts && return 0
    say "mounting control groups at /sys/fs/cgroup"
    as_root mount -t cgroup2 cgroup2 /sys/fs/cgroup ||
        die "no control groups here, and mounting them failed" \
            "mount cgroup2 at /sys/fs/cgroup, or run on a machine that has control groups"
}

# Start dockerd on roots of paddock's own; extra arguments are passed on.
engine_spawn() {
    as_root mkdir -p "$ENGINE_DIR" "$ENGINE_RUN"
    as_root rm -f "$ENGINE_LOG"
    ENGINE_SPAWNED=yes
    # shellcheck disable=SC2016
    as_root sh -c 'log=$1; shift; setsid dockerd "$@" >"$log" 2>&1 </dev/null &' spawn "$ENGINE_LOG" \
        --data-root "$ENGINE_DIR" --exec-root "$ENGINE_RUN" -p "$ENGINE_RUN/dockerd.pid" "$@"
}

engine_start_by_hand() {
    mount_cgroups
    say "starting a Docker engine by hand (data in $ENGINE_DIR, log in $ENGINE_LOG)"
    engine_spawn
    engine_wait && return 0
    if as_root grep -qiE 'iptables|network controller|bridge' "$ENGINE_LOG"; then
        say "this kernel has no packet filter for Docker's bridge: starting the engine without one"
        note "sandboxes have no network anyway; pools with network: egress will be refused"
        engine_spawn --iptables=false --ip6tables=false --bridge=none
        engine_wait && return 0
    fi
    as_root tail -n 15 "$ENGINE_LOG" >&2
    die "the Docker engine did not come up" \
        "its log is $ENGINE_LOG; start one yourself, or set DOCKER_HOST to one that runs"
}

engine_start() {
    if [ -d /run/systemd/system ]; then
        say "starting the Docker engine (systemctl start docker)"
        as_root systemctl start docker && engine_wait && return 0
        die "systemd could not start docker" "see: journalctl -u docker"
    fi
    engine_wait 2 || engine_start_by_hand
}

# An engine that runs but does not let this user in.
engine_forbids() {
    [ -S /var/run/docker.sock ] && ! [ -w /var/run/docker.sock ]
}

need_engine() {
    have docker && engine_answers && return 0
    if [ -n "${DOCKER_HOST:-}" ]; then
        have docker || need_engine_packages
        engine_wait 5 || die "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST" \
            "start it, or unset DOCKER_HOST to use this machine's own"
        return 0
    fi
    need_engine_packages
    engine_answers && return 0
    if engine_forbids && as_root docker version >/dev/null 2>&1; then
        die "a Docker engine runs, but user $(id -un) may not use it" \
            "sudo usermod -aG docker $(id -un), log in again; or run this as root"
    fi
    engine_start
}
