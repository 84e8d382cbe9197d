#!/bin/bash
# image/run.sh ISO-FOLDER FH-INSTALL GUEST-ARCHIVE - installs the appliance onto a disk image, puts a small guest's kernel
# and initrd into its /data/images, and boots it under emulation with its console on this terminal.
#
# The disk image is ISO-FOLDER/run.raw: kept, so that what was set up stays; made again when the image is newer.
# RUN_MEMORY=MiB, RUN_PORT: where the appliance's port 8443 is on this machine's loopback.
set -eu
folder=$1 install=$2 guest=$3
disk=$folder/run.raw
PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d)
trap 'rm -rf "$work"; [ -z "${terminal:-}" ] || stty "$terminal"' EXIT

# Where the data partition begins, in bytes.
data_start() {
	echo $(($(sfdisk -d "$1" | sed -n 's/.*start= *\([0-9]*\),.*name="freehold-data".*/\1/p') * 512))
}

make_disk() {
	local offset f
	rm -f "$disk.new"
	truncate -s 8G "$disk.new"
	echo '{ "disk": {}, "password": "freehold", "name": "freehold" }' >"$work/answers.json"
	"$install" --answers "$work/answers.json" --onto "$disk.new" --medium "$folder/medium"
	cpio --quiet -i -D "$work" <"$guest"
	offset=$(data_start "$disk.new")
	{
		echo 'mkdir /images'
		for f in vmlinuz initrd; do echo "write $(echo "$work"/guests/*/$f) /images/guest-$f"; done
	} >"$work/commands"
	debugfs -w -f "$work/commands" "$disk.new?offset=$offset" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
	mv "$disk.new" "$disk"
}

processor() {
	local v
	if [ -w /dev/kvm ] && grep -qE '^(Y|1)' /sys/module/kvm_*/parameters/nested 2>/dev/null; then
		echo "-accel kvm -cpu host"
		return
	fi
	v=$(qemu-system-x86_64 --version | sed -n 's/.*version \([0-9]*\).*/\1/p' | head -n 1)
	echo "-accel tcg,thread=single -cpu EPYC,+svm,+npt$([ "$v" -ge 8 ] || echo ,-cx16)"
}

if [ ! -e "$disk" ] || [ "$folder/freehold.iso" -nt "$disk" ]; then make_disk; fi
echo "Starting the appliance (under emulation: half a minute). Log in as root, password 'freehold'."
echo "A guest is ready: kernel images/guest-vmlinuz, initrd images/guest-initrd. Ctrl-A x pulls the plug."
terminal=$(stty -g 2>/dev/null || true)
# shellcheck disable=SC2046 # words
qemu-system-x86_64 $(processor) -M pc -smp 1 -m "${RUN_MEMORY:-2048}" -nodefaults -no-user-config -display none -device VGA \
	-drive "if=none,id=d,format=raw,cache=unsafe,file=$disk" -device virtio-blk-pci,drive=d,serial=RUN00001 \
	-netdev "user,id=n,hostfwd=tcp:127.0.0.1:${RUN_PORT:-8443}-:8443" -device virtio-net-pci,netdev=n,romfile= \
	-serial mon:stdio 2> >(grep -v "doesn't support requested feature" >&2)
