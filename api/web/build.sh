#!/bin/sh
# build.sh CACHE OUT: builds the console into OUT.
#
# Packages and the bundle are kept in CACHE, which all presets share, and made
# again only when something that they depend on has changed: a bundle of these very
# sources that is there already (in an image, say) needs neither npm nor node. Where the packages
# cannot be fetched OUT gets empty files, older than everything, so that the next
# build tries again; the service then says that its console was left out.
set -eu
LC_ALL=C # the order of files
export LC_ALL

here=$(cd "$(dirname "$0")" && pwd)
cache=$1
out=$2
names="index.html login.html licenses.txt console.js console.css login.js icon.svg"

leave_out() {
    echo "console: left out of this build: $1" >&2
    for name in $names; do
        : >"$out/$name"
        : >"$out/$name.gz"
        touch -d @1 "$out/$name" "$out/$name.gz"
    done
    exit 0
}

mkdir -p "$cache" "$out"
cache=$(cd "$cache" && pwd)
out=$(cd "$out" && pwd)
exec 9>"$cache/lock"
flock 9

packages=$(cat "$here/package.json" "$here/package-lock.json" | sha256sum)
sources=$(cat "$here/build.mjs" "$here"/src/* | sha256sum)
cp -R "$here/package.json" "$here/package-lock.json" "$here/build.mjs" "$cache/"
rm -rf "$cache/src" && cp -R "$here/src" "$cache/src"
cd "$cache"

if [ "$(cat bundle.stamp 2>/dev/null)" != "$packages $sources" ] &&
    [ "$(cat packages.stamp 2>/dev/null)" != "$packages" ]; then
    command -v npm >/dev/null && command -v node >/dev/null ||
        leave_out "there is no npm, and no bundle of these sources in $cache"
    rm -f packages.stamp bundle.stamp
    # No package's own scripts: esbuild's binary is a package of its own.
    timeout 600 npm ci --ignore-scripts --no-audit --no-fund --fetch-retries=1 \
        --fetch-timeout=60000 >npm.log 2>&1 ||
        leave_out "npm ci failed; see $cache/npm.log"
    echo "$packages" >packages.stamp
fi
if [ "$(cat bundle.stamp 2>/dev/null)" != "$packages $sources" ]; then
    rm -rf dist
    node build.mjs dist >build.log || { cat build.log >&2; exit 1; }
    echo "$packages $sources" >bundle.stamp
fi
for name in $names; do
    cp "dist/$name" "dist/$name.gz" "$out/"
done
