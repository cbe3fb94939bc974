# An image without glibc: musl's loader, and Lua linked to it, compiled here from Debian's
# source package. Kept outside the tree, named by what it is made from. Needs image.sh.
# shellcheck shell=bash

IMAGE_MUSL=paddock-sandbox:musl
MUSL_SOURCE=lua5.4

# Where this machine's packages of a suite come from.
debian_mirror() {
    local found
    # shellcheck disable=SC2016
    found=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 2>/dev/null |
        sed -n "s/^$1 //p" | sort -u | head -n 1)
    printf '%s\n' "${found:-http://deb.debian.org/debian/}"
}

# musl_source FOLDER: Lua's source package, unpacked in FOLDER/lua*. The machine's own
# sources need not have deb-src, so apt gets a list of its own.
musl_source() {
    local folder=$1 suite options
    suite=$(debian_suite)
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
    printf 'deb-src %s %s main\n' "$(debian_mirror "$suite")" "$suite" >"$folder/sources.list"
    options=(-q -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update && (cd "$folder" && apt-get "${options[@]}" source "$MUSL_SOURCE")
}

# musl_root FOLDER: the image's root in FOLDER/root. A user "named" is in its passwd.
musl_root() (
    set -e
    folder=$1 root=$1/root
    loader=$(basename "$(ls /lib/ld-musl-*.so.1)")
    mkdir -p "$root"/{bin,etc,lib,tmp,usr/bin}
    for source in "$folder"/lua*/src; do # which Debian's build would make
        printf '#define DEB_HOST_MULTIARCH "musl"\n' >"$source/lua5.4-deb-multiarch.h"
    done
    # shellcheck disable=SC2046
    musl-gcc -O2 -DLUA_USE_POSIX -o "$root/usr/bin/lua" \
        $(find "$folder"/lua*/src -name 'l*.c' ! -name luac.c) -lm
    cp -L "/lib/$loader" "$root/lib/$loader"
    printf 'root:x:0:0:root:/:/bin/false\nnamed:x:1234:1234::/:/bin/false\n' >"$root/etc/passwd"
    printf 'root:x:0:\nnamed:x:1234:\n' >"$root/etc/group"
    if grep -rq ld-linux "$root"; then
        die "the image without glibc has something of it"
    fi
)

# The image, and its twins with other users: :musl-root, -named, -numeric, -nobody.
need_musl_image() {
    local work log tar
    tar=$IMAGE_CACHE/musl-$(image_recipe_hash "$(cat "$ROOT/scripts/lib/musl_image.sh")").tar
    if [ ! -s "$tar" ]; then
        need_packages musl musl-tools dpkg-dev
        say "building an image without glibc"
        mkdir -p "$IMAGE_CACHE"
        work=$(mktemp -d)
        log=$(mktemp)
        if ! { musl_source "$work" >"$log" 2>&1 && bash -c "$(declare -f die musl_root); musl_root '$work'" >>"$log" 2>&1; }; then
            tail -n 10 "$log" >&2
            rm -rf "$work" "$log"
            die "the image without glibc could not be built" "it needs a Debian mirror: check the network"
        fi
        tar -C "$work/root" --owner=0 --group=0 --mtime=@0 --sort=name -cf "$tar.part" .
        rm -rf "$work" "$log"
        mv "$tar.part" "$tar"
    fi
    musl_import "$tar" "$IMAGE_MUSL" 'CMD ["lua"]'
    musl_import "$tar" "$IMAGE_MUSL-root" 'USER root'
    musl_import "$tar" "$IMAGE_MUSL-named" 'USER named'
    musl_import "$tar" "$IMAGE_MUSL-numeric" 'USER 4321:8765'
    musl_import "$tar" "$IMAGE_MUSL-nosuch" 'USER nosuchuser'
}

# musl_import TAR NAME CHANGE: unless it is there, made from the same.
musl_import() {
    local label=paddock.dev/made-from recipe
    recipe=$(basename "$1" .tar)
    [ "$(docker image inspect -f "{{index .Config.Labels \"$label\"}}" "$2" 2>/dev/null)" = "$recipe" ] ||
        docker import -c "$3" -c "LABEL $label=$recipe" "$1" "$2" >/dev/null
}
