# The images that the Dockerfiles and docker-compose.yml begin with: pulled where a
# registry is in reach, else equivalents made from Debian packages, under the same
# names. Kept outside the tree, named by what they are made from. Needs image.sh.
# shellcheck shell=bash

# base_image_tarball NAME INCLUDE [FLAG...]: flags go to mmdebstrap; prints the path.
base_image_tarball() {
    local name=$1 include=$2 tar log
    shift 2
    tar=$IMAGE_CACHE/base-$name-$( (image_recipe_hash "$include"; cat "$ROOT/scripts/lib/postgres-entrypoint.sh") |
        sha256sum | cut -c1-12).tar
    if [ ! -s "$tar" ]; then
        need_packages "${IMAGE_PACKAGES[@]}"
        say "building an equivalent of $name from Debian packages"
        mkdir -p "$IMAGE_CACHE"
        log=$(mktemp)
        # shellcheck disable=SC2016
        if ! as_root mmdebstrap --variant=minbase --include="$include" \
                --essential-hook='mkdir -p "$1/usr/share/man/man1" "$1/usr/share/man/man7"' \
                --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
                "$@" --format=tar "$(debian_suite)" - >"$tar.part" 2>"$log"; then
            tail -n 10 "$log" >&2
            rm -f "$tar.part" "$log"
            die "mmdebstrap could not build $name" "it needs a Debian mirror: check the network"
        fi
        rm -f "$log"
        mv "$tar.part" "$tar"
    fi
    printf '%s\n' "$tar"
}

# need_base_image IMAGE: what docker-compose.yml or a Dockerfile names.
need_base_image() {
    local image=$1 tar changes
    image_exists "$image" && return 0
    say "pulling $image"
    image_pull "$image" && return 0
    case $image in
        debian:*)
            tar=$(base_image_tarball debian ca-certificates) || exit 1
            changes=(-c 'CMD ["bash"]') ;;
        redis:*)
            tar=$(base_image_tarball redis redis-server,redis-tools) || exit 1
            changes=(-c 'WORKDIR /data' -c 'VOLUME /data' -c 'CMD ["redis-server"]') ;;
        postgres:*)
            tar=$(base_image_tarball postgres postgresql \
                --customize-hook="copy-in '$ROOT/scripts/lib/postgres-entrypoint.sh' /usr/local/bin") || exit 1
            changes=(-c 'ENV PGDATA=/var/lib/postgresql/data' -c 'VOLUME /var/lib/postgresql/data'
                -c 'ENTRYPOINT ["/usr/local/bin/postgres-entrypoint.sh"]') ;;
        *)
            need_image "$image"
            return ;;
    esac
    docker import "${changes[@]}" -c 'LABEL paddock.dev/made-from=debian-packages' "$tar" "$image" >/dev/null ||
        die "docker import of $tar failed" "remove that file if it is damaged, and run this again"
}
