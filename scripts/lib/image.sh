# Sandbox images: pulled where a registry is in reach, else an equivalent made
# from Debian packages (Python, JavaScript, Bash and what they need).
# shellcheck shell=bash

IMAGE_INCLUDE=python3,python-is-python3,nodejs,procps,bash,ca-certificates,tzdata
# Every language of conf/languages.yaml, for their tests.
IMAGE_INCLUDE_ALL=$IMAGE_INCLUDE,esbuild,gcc,g++,libc6-dev,default-jdk-headless,golang-go,ruby,php-cli,perl,lua5.4,r-base-core,python3-matplotlib
IMAGE_ALL=paddock-sandbox:all
IMAGE_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/paddock
PULL_ANSWER_S=20  # a registry that says nothing for so long is out of reach
PULL_TOTAL_S=900

image_exists() { docker image inspect "$1" >/dev/null 2>&1; }

# Pull, but give up at once when nobody answers: the first line comes only
# after the registry has.
image_pull() {
    local image=$1 log pid tries=$((PULL_ANSWER_S * 5)) status=0
    log=$(mktemp)
    timeout "$PULL_TOTAL_S" docker pull "$image" >"$log" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null && ! grep -q 'Pulling from' "$log"; do
        tries=$((tries - 1))
        if [ $tries -le 0 ]; then
            kill "$pid" 2>/dev/null || true
            echo "no answer within $PULL_ANSWER_S s" >>"$log"
            break
        fi
        sleep 0.2
    done
    wait "$pid" || status=$?
    [ $status -eq 0 ] || note "cannot pull $image: $(tail -n 1 "$log" | cut -c1-200)"
    rm -f "$log"
    return $status
}

debian_suite() {
    # shellcheck disable=SC1091
    (. /etc/os-release 2>/dev/null; echo "${VERSION_CODENAME:-bookworm}")
}

# What the tarball is made from decides its name. Here and below: of which packages.
image_recipe_hash() {
    printf '%s\n' "1 $(debian_suite) $(dpkg --print-architecture) $1" |
        sha256sum | cut -c1-12
}

# Build the tarball, unless the cache has it; prints its path. (The folder for
# manual pages is one that a JDK's package does not do without.)
image_tarball() {
    local include=$1 tar log
    tar=$IMAGE_CACHE/sandbox-$(image_recipe_hash "$include").tar
    if [ ! -s "$tar" ]; then
        need_packages "${IMAGE_PACKAGES[@]}"
        say "building a sandbox image from Debian packages ($include)"
        mkdir -p "$IMAGE_CACHE"
        log=$(mktemp)
        # shellcheck disable=SC2016
        if ! as_root mmdebstrap --variant=minbase --include="$include" \
                --essential-hook='mkdir -p "$1/usr/share/man/man1"' \
                --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
                --format=tar "$(debian_suite)" - >"$tar.part" 2>"$log"; then
            tail -n 10 "$log" >&2
            rm -f "$tar.part" "$log"
            die "mmdebstrap could not build the sandbox image" \
                "it needs a Debian mirror: check the network, or load an image yourself (docker load)"
        fi
        rm -f "$log"
        mv "$tar.part" "$tar"
    fi
    printf '%s\n' "$tar"
}

# The equivalent image; prints its name.
image_equivalent() {
    local include=$1 name tar
    name=paddock-sandbox:$(image_recipe_hash "$include")
    if ! image_exists "$name"; then
        tar=$(image_tarball "$include") || exit 1
        docker import -c 'CMD ["bash"]' -c 'LABEL paddock.dev/made-from=debian-packages' \
            "$tar" "$name" >/dev/null ||
            die "docker import of $tar failed" "remove that file if it is damaged, and run this again"
    fi
    printf '%s\n' "$name"
}

# need_image NAME: there, or pulled, or replaced by the equivalent. Only the
# official images that the shipped pools name have one.
need_image() {
    local image=$1 made
    image_exists "$image" && return 0
    say "pulling $image"
    image_pull "$image" && return 0
    case $image in
        python:* | node:* | debian:*) ;;
        *)
            note "there is no equivalent for $image: its pool stays unavailable until it can be pulled"
            return 0
            ;;
    esac
    made=$(image_equivalent "$IMAGE_INCLUDE") || exit 1
    docker tag "$made" "$image"
    say "no registry in reach: $image is now an equivalent made from Debian packages"
    note "docker rmi $image, and run this again with a registry in reach, to have the real one"
}

# The image that the tests of all languages need.
need_image_all() {
    local made
    made=$(image_equivalent "$IMAGE_INCLUDE_ALL") || exit 1
    docker tag "$made" "$IMAGE_ALL"
}

# The images that these configuration files name.
configured_images() {
    cat "$@" 2>/dev/null |
        sed -nE 's/^[[:space:]]*(default_image|image):[[:space:]]*["'\'']?([^"'\''[:space:]#]+).*/\2/p' | sort -u
}
