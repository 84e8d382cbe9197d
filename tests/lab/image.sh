#!/bin/bash
# image.sh OUT KERNELS GUEST-TOOL GUEST-TOOL32 - builds what every machine of the lab starts with:
#
#   OUT/NAME/vmlinuz, OUT/NAME/base.cpio    for each amd64 kernel: the lab's own machine (L1) on that kernel
#   OUT/guest-NAME.cpio                     /guests/NAME/{vmlinuz,initrd,version} for each kernel of kernels.txt
#   OUT/disks.cpio                          /disks/{root64,root32}.gz: file systems to boot from; /disks/{one,two}.iso;
#                                           /disks/programs-{6.12,6.1,pae}.gz: to chroot into, with Debian's hyperv-daemons and
#                                           ethtool
#
# KERNELS is the folder that kernels.sh made. The kernel takes archives joined end to end, so run.sh puts the
# guests that it needs, the project's programs and the scenarios behind the base.
set -eu
. "$(dirname "$0")/lib.sh"
out=$1
kernels=$2
tool=$3
tool32=$4
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
	[ "$arch" = i386 ] && bb=$kernels/busybox-i386/bin/busybox
	rm -rf "$g"
	userland "$g" "$bb"
	cp "$lab/guest/init" "$g/init"
	strip -o "$g/bin/guest-tool" "$(if [ "$arch" = i386 ]; then echo "$tool32"; else echo "$tool"; fi)"
	put_modules "$kernels/$name" "$g" guest "$name"
	rm -rf "$tmp/guests"
	mkdir -p "$tmp/guests/guests/$name"
	cp "$kernels/$name/vmlinuz" "$kernels/$name/version" "$tmp/guests/guests/$name/"
	archive "$g" >"$tmp/guests/guests/$name/initrd"
	archive "$tmp/guests" >"$out/guest-$name.cpio.new"
	mv "$out/guest-$name.cpio.new" "$out/guest-$name.cpio"
}

# root_disk NAME BUSYBOX GUEST-TOOL: the file system that a guest may have its root on, with all of its programs.
# Equal input gives equal bytes.
root_disk() {
	local r=$tmp/root
	rm -rf "$r"
	userland "$r" "$2"
	cp "$lab/guest/init" "$r/init"
	strip -o "$r/bin/guest-tool" "$3"
	mkdir "$r/proc" "$r/sys" "$r/dev" "$r/tmp"
	touch "$r/etc/on-disk"
	file_system "$1" "$r"
}

# file_system NAME FOLDER
file_system() {
	local id=4c414221-0000-4000-8000-00000000000f
	find "$2" -exec touch -h -d @0 {} +
	truncate -s 24M "$tmp/root.img"
	E2FSPROGS_FAKE_TIME=1 mke2fs -q -t ext4 -b 4096 -E "root_owner=0:0,hash_seed=$id,nodiscard" -U $id -L root -J size=4 -d "$2" \
		"$tmp/root.img"
	gzip -9n <"$tmp/root.img" >"$tmp/disks/disks/$1.gz"
	rm "$tmp/root.img"
}

# programs_disk NAME BUSYBOX SUFFIX: ethtool and, if there are any, the integration daemons of that Debian release, with the
# C library that they need and a shell for their scripts. SUFFIX: of ethtool's packages.
programs_disk() {
	local r=$tmp/programs f
	rm -rf "$r"
	userland "$r" "$2"
	for f in sh cat cut awk grep sed; do ln -s busybox "$r/bin/$f"; done
	mkdir -p "$r/sbin" "$r/lib" "$r/lib64" "$r/proc" "$r/sys" "$r/dev" "$r/tmp" "$r/var/lib/hyperv" "$r/usr/libexec/hypervkvpd"
	cp "$kernels/ethtool$3/sbin/ethtool" "$r/sbin/"
	cp -L "$kernels/libmnl$3"/usr/lib/*/libmnl.so.0 "$r/lib/"
	if [ -d "$kernels/hyperv-$1" ]; then
		cp "$kernels/hyperv-$1"/usr/sbin/hv_* "$r/sbin/"
		cp "$kernels/hyperv-$1"/usr/libexec/hypervkvpd/hv_* "$r/usr/libexec/hypervkvpd/"
	fi
	find "$kernels/libc-$1" \( -name libc.so.6 -o -name libm.so.6 \) -type f -exec cp {} "$r/lib/" \;
	find "$kernels/libc-$1" -name ld-linux-x86-64.so.2 -type f -exec cp {} "$r/lib64/" \;
	find "$kernels/libc-$1" -name ld-linux.so.2 -type f -exec cp {} "$r/lib/" \;
	printf 'NAME=Debian\nID=debian\nVERSION_ID=lab-%s\n' "$1" >"$r/etc/os-release"
	file_system "programs-$1" "$r"
}

medium() { # NAME TEXT
	mkdir -p "$tmp/medium"
	echo "$2" >"$tmp/medium/which"
	seq 200000 >"$tmp/medium/numbers"
	find "$tmp/medium" -exec touch -h -d @0 {} +
	SOURCE_DATE_EPOCH=0 xorriso -as mkisofs -quiet -V "$1" -o "$tmp/disks/disks/$1.iso" "$tmp/medium" 2>/dev/null
	rm -rf "$tmp/medium"
}

disks() {
	mkdir -p "$tmp/disks/disks"
	root_disk root64 "$(command -v busybox)" "$tool"
	root_disk root32 "$kernels/busybox-i386/bin/busybox" "$tool32"
	programs_disk 6.12 "$(command -v busybox)" ''
	programs_disk 6.1 "$(command -v busybox)" ''
	programs_disk pae "$kernels/busybox-i386/bin/busybox" -i386
	medium one "the first medium"
	medium two "the second medium"
	archive "$tmp/disks" >"$out/disks.cpio.new"
	mv "$out/disks.cpio.new" "$out/disks.cpio"
}

l1() {
	local name=$1 r=$tmp/l1
	rm -rf "$r"
	userland "$r" "$(command -v busybox)"
	cp "$lab/init" "$r/init"
	cp "$kernels/e2fsck/sbin/e2fsck.static" "$r/bin/e2fsck"
	strip -o "$r/bin/guest-tool" "$tool"
	put_modules "$kernels/$name" "$r" l1
	mkdir -p "$out/$name"
	archive "$r" >"$out/$name/base.cpio.new"
	mv "$out/$name/base.cpio.new" "$out/$name/base.cpio"
	cp "$kernels/$name/vmlinuz" "$out/$name/vmlinuz"
}

mkdir -p "$out"
disks
while read -r name suite arch package; do
	case $package in linux-image*) ;; *) continue ;; esac
	guest "$name" "$arch"
	[ "$arch" = amd64 ] && l1 "$name"
done < <(rows kernels.txt)
