#!/bin/bash
# image/build.sh OUT - the whole image: everything in it comes from one Debian release, whatever this machine runs.
#
# Makes the two trees of image/chroot.sh, copies the project into the build chroot, runs image/assemble.sh there,
# and copies the results to OUT: freehold.iso, medium/ (what is on it), sizes.txt, packages.txt. Needs root, mounts
# nothing. Objects are kept in the chroot. COMPRESSION=3 makes a larger image in a fraction of the time.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
out=${1:?usage: build.sh OUT}
cd "$top"
build=$(image/chroot.sh build)
parts=$(image/chroot.sh parts)
exec 9>"$build.lock"
flock 9

# Time and name of the commit; a tree that differs from it says so.
epoch=$(git log -1 --format=%ct)
commit=$(git rev-parse --short=8 HEAD)
version=0.1-$commit
[ -z "$(git status --porcelain -uno)" ] || version=$version-dirty

rm -rf "$build/src.new" "$build/parts"
mkdir -p "$build/src" "$build/build" "$build/out"
# What is the same keeps its time, so that make rebuilds only what changed.
git ls-files -co --exclude-standard -z | while IFS= read -r -d '' f; do [ -e "$f" ] || [ -L "$f" ] && printf '%s\0' "$f"; done >"$build/src.files"
(cd "$build/src" && find . \( -type f -o -type l \) -printf '%P\0' | sort -z) | comm -z -23 - <(sort -z "$build/src.files") | (cd "$build/src" && xargs -0r rm -f)
tar -c --null -T "$build/src.files" | tar -x -C "$build/src"
cp -al "$parts" "$build/parts"
trap 'rm -rf "$build/parts"' EXIT
chroot "$build" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root SOURCE_DATE_EPOCH="$epoch" VERSION="$version" COMMIT="$commit" COMPRESSION="${COMPRESSION:-19}" \
	bash /src/image/assemble.sh
mkdir -p "$out"
rm -rf "$out/medium"
cp -a "$build/out/." "$out/"
