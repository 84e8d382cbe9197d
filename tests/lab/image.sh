#!/bin/bash
# image.sh OUT KERNELS [GUEST-TOOL] - builds what every machine of the lab starts with:
#
#   OUT/NAME/vmlinuz, OUT/NAME/base.cpio    for each amd64 kernel: the lab's own machine (L1) on that kernel
#   OUT/guest-NAME.cpio                     /guests/NAME/{vmlinuz,initrd,version} for each kernel of kernels.txt
#
# KERNELS is the folder that kernels.sh made. The kernel takes archives joined end to end, so run.sh puts the
# guests that it needs, the project's programs and the scenarios behind the base.
set -eu
. "$(dirname "$0")/lib.sh"
out=$1
kernels=$2
tool=${3:-}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# put_modules KERNEL ROOT WHO...: the modules of WHO, with what modprobe needs.
put_modules() {
	local k=$1 root=$2 v f
	shift 2
	v=$(cat "$k/version")
	mkdir -p "$root/lib/modules/$v"
	# shellcheck disable=SC2046
	closure "$k/lib" $(modules_for "$@") | while read -r f; do
		cp "$f" "$root/lib/modules/$v/"
	done
	cp "$k/lib/modules/$v"/modules.* "$root/lib/modules/$v/"
}

# userland ROOT BUSYBOX
userland() {
	mkdir -p "$1/bin" "$1/etc"
	cp "$2" "$1/bin/busybox"
	echo 'root:x:0:0:root:/:/bin/sh' >"$1/etc/passwd"
	echo 'root:x:0:' >"$1/etc/group"
}

guest() {
	local name=$1 arch=$2 g=$tmp/guest bb
	bb=$(command -v busybox)
	[ "$arch" = i386 ] && bb=$kernels/busybox-i386/busybox
	rm -rf "$g"
	userland "$g" "$bb"
	cp "$lab/guest/init" "$g/init"
	[ "$arch" = amd64 ] && [ -n "$tool" ] && cp "$tool" "$g/bin/guest-tool"
	put_modules "$kernels/$name" "$g" guest "$name"
	rm -rf "$tmp/guests"
	mkdir -p "$tmp/guests/guests/$name"
	cp "$kernels/$name/vmlinuz" "$kernels/$name/version" "$tmp/guests/guests/$name/"
	archive "$g" >"$tmp/guests/guests/$name/initrd"
	archive "$tmp/guests" >"$out/guest-$name.cpio.new"
	mv "$out/guest-$name.cpio.new" "$out/guest-$name.cpio"
}

l1() {
	local name=$1 r=$tmp/l1
	rm -rf "$r"
	userland "$r" "$(command -v busybox)"
	cp "$lab/init" "$r/init"
	put_modules "$kernels/$name" "$r" l1
	mkdir -p "$out/$name"
	archive "$r" >"$out/$name/base.cpio.new"
	mv "$out/$name/base.cpio.new" "$out/$name/base.cpio"
	cp "$kernels/$name/vmlinuz" "$out/$name/vmlinuz"
}

mkdir -p "$out"
while read -r name suite arch package; do
	case $package in linux-image*) ;; *) continue ;; esac
	guest "$name" "$arch"
	[ "$arch" = amd64 ] && l1 "$name"
done < <(rows kernels.txt)
