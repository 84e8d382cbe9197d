#!/bin/bash
# image/chroot.sh - the two trees of Debian that the image is made with, both from one release.
#
#   image/chroot.sh build     a chroot with a compiler and the tools of the image: image/build-packages.txt
#   image/chroot.sh parts     the packages of rootfs/packages.txt, unpacked and not set up
#
# Prints the folder, below .cache/image (FREEHOLD_CACHE=dir for another place). A tree is made once for each list and
# mirror; delete it for newer packages. Works as root, in a container too; mounts nothing. Release files are
# checked with debian-archive-keyring, every package by them. Mirror: see packages.sh.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
cache=${FREEHOLD_CACHE:-$top/.cache}/image
suite=trixie

die() {
	echo "image/chroot.sh: $*" >&2
	exit 1
}

names() {
	sed 's/#.*//' "$1" | awk 'NF { print $1 }'
}

sources() {
	local keys=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -e $keys ] || keys=${keys%.gpg}.pgp
	[ -e $keys ] || die "install debian-archive-keyring"
	echo "deb [signed-by=$keys] $mirror $suite main"
	echo "deb-src [signed-by=$keys] $mirror $suite main"
}

# make_tree NAME LIST OPTION...: makes the tree once; in $tree.
make_tree() {
	local name=$1 list=$2 key
	shift 2
	key=$({ names "$list"; echo "$suite $mirror $*"; } | sha256sum | cut -c 1-12)
	tree=$cache/$name-$key
	mkdir -p "$cache"
	exec 9>"$cache/$name.lock"
	flock 9
	[ -e "$tree" ] && return 0
	[ "$(id -u)" = 0 ] || die "run as root: a chroot is made"
	echo "image: unpacking $(names "$list" | wc -l) packages and what they need, from Debian $suite" >&2
	rm -rf "$tree.part"
	sources | SOURCE_DATE_EPOCH=0 mmdebstrap --quiet --mode=root --architectures=amd64 --skip=output/dev \
		--aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
		--include="$(names "$list" | paste -sd,)" "$@" "$suite" "$tree.part" - >"$cache/$name.log" 2>&1 ||
		die "mmdebstrap failed: $(tail -n 20 "$cache/$name.log")"
	rm -rf "$cache/$name"-????????????
	mv "$tree.part" "$tree"
}

command -v mmdebstrap >/dev/null || die "install mmdebstrap"
mirror=$("$top/packages.sh" mirror)
case ${1:-} in
build)
	# shellcheck disable=SC2016 # expanded by the hook's shell
	make_tree build "$top/image/build-packages.txt" --variant=essential \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--customize-hook='cd "$1/usr/src" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -q source --download-only busybox'
	;;
parts)
	# What was unpacked, with versions: /packages in the tree.
	# shellcheck disable=SC2016
	make_tree parts "$top/rootfs/packages.txt" --variant=extract \
		--extract-hook='for d in "$1"/var/cache/apt/archives/*.deb; do dpkg-deb -W --showformat "\${Package} \${Version}\n" "$d"; done | sort >"$1/packages"'
	;;
*) die "usage: chroot.sh build | parts" ;;
esac
echo "$tree"
