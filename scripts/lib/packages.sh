# Debian packages: installs what is missing, in one apt-get call.
# shellcheck shell=bash
# shellcheck disable=SC2034

BUILD_PACKAGES=(
    gcc libc6-dev cmake ninja-build pkg-config musl-tools linux-libc-dev libbearssl-dev
    libuv1-dev libcurl4-openssl-dev
    libyaml-dev libjansson-dev libssl-dev libcmocka-dev libsqlite3-dev libpq-dev libhiredis-dev libwslay-dev
)
TEST_PACKAGES=(clang libclang-rt-dev python3 procps iproute2 curl crun redis-server prometheus
    chromium fonts-dejavu-core python3-websockets python3-jsonschema python3-yaml docker-compose dpkg-dev systemd
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
    postgresql nginx-light caddy lintian sqlite3)
IMAGE_PACKAGES=(mmdebstrap ca-certificates)
# The Docker client is a package of its own from Debian 13 on.
ENGINE_PACKAGES=(docker.io)

# Of the names given, those that are not installed, one a line.
missing_packages() {
    comm -23 <(printf '%s\n' "$@" | sort -u) \
        <(dpkg-query -W -f '${binary:Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
            sed -n 's/^\([^: ]*\)[^ ]* installed$/\1/p' | sort -u)
}

# need_packages NAME... : make sure that all of them are installed.
need_packages() {
    local missing
    have dpkg-query || return 0
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -eq 0 ] && return 0
    say "installing ${#missing[@]} packages: ${missing[*]}"
    apt_install "${missing[@]}"
}

apt_install() {
    local log
    log=$(mktemp)
    # One unreachable third-party source makes update fail, and is none of our concern.
    as_root apt-get update -q >"$log" 2>&1 || true
    if ! as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -q --no-install-recommends "$@" >>"$log" 2>&1; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        die "apt-get could not install: $*" \
            "check the network and the sources in /etc/apt, then run this again"
    fi
    rm -f "$log"
}

# The browser console is built with Node.js and npm, from wherever they are. Debian's
# own npm brings very many packages, so it is asked for only where there is none, and
# by the tests only.
need_node() {
    have node && have npm && return 0
    need_packages nodejs npm
}

# What a machine without an engine needs for one.
need_engine_packages() {
    have docker && have dockerd && return 0
    if ! have docker && apt-cache show docker-cli >/dev/null 2>&1; then
        ENGINE_PACKAGES+=(docker-cli)
    fi
    need_packages "${ENGINE_PACKAGES[@]}"
}
