#!/bin/bash
# image.sh OUT GUEST L1 - builds what a measuring run starts with, GUEST and L1 being kernels of the lab:
#
#   OUT/vmlinuz    L1's kernel
#   OUT/initrd     L1: busybox, our worker, Debian's QEMU with its libraries and firmware, vmbench;
#                  in it /guest/vmlinuz and /guest/initrd, the same for every monitor
#
# Environment: BUILD (where bin/ is). Kernel modules are taken from the lab's packages and kept in .cache/bench.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../lab/lib.sh"
out=$1
kernels=${FREEHOLD_CACHE:-$top/.cache}
bin=${BUILD:-$top/build}/bin

# What guests need for either kind of device, and L1 for the tests with a disk or a network.
guest_modules="virtio_pci virtio_mmio virtio_blk virtio_scsi virtio_net sd_mod hv_vmbus hv_storvsc hv_netvsc"
l1_modules="irqbypass ccp kvm kvm_amd brd ext4 tun vhost_net"

# modules TREE DEST NAME...: NN-name.ko in an order in which they can be loaded. One a kernel lacks is left out.
modules() {
	local tree=$1 dest=$2 m n=0
	shift 2
	declare -A file=() seen=()
	while read -r m; do
		n=${m##*/}
		n=${n%%.ko*}
		file[${n//-/_}]=$m
	done < <(find "$tree" -name '*.ko*')
	n=0
	add() {
		local m=${1//-/_} f d
		f=${file[$m]:-}
		[ -z "${seen[$m]:-}" ] && [ -n "$f" ] || return 0
		seen[$m]=1
		for d in $(modinfo -F depends "$f" | tr , ' ') $(modinfo -F softdep "$f" | sed -n 's/pre: //p'); do
			add "$d"
		done
		cp "$f" "$dest/$(printf %02d $n)-$m.ko${f##*.ko}"
		n=$((n + 1))
	}
	mkdir -p "$dest"
	for m in "$@"; do add "$m"; done
	find "$dest" -name '*.xz' -exec xz -d {} +
	find "$dest" -name '*.zst' -exec zstd -q -d --rm {} +
}

# The modules of a kernel of the lab in .cache/bench/NAME/{guest,l1}.
unpack() {
	local name=$1 to=$kernels/bench/$1 made deb tmp suite arch package
	made="$(cat "$kernels/lab/$name/version"): $guest_modules; $l1_modules"
	[ "$(cat "$to/made-of" 2>/dev/null)" != "$made" ] || return 0
	read -r _ suite arch package < <(rows kernels.txt | awk -v n="$name" '$1 == n')
	deb=$("$top/packages.sh" fetch "$kernels/debs" "$suite" "$arch" "$package")
	mkdir -p "$kernels/bench"
	tmp=$(mktemp -d "$kernels/bench/.new.XXXXXX")
	mkdir "$tmp/all"
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$tmp/all" --wildcards '*/modules/*'
	# shellcheck disable=SC2086
	modules "$tmp/all" "$tmp/guest" $guest_modules
	# shellcheck disable=SC2086
	modules "$tmp/all" "$tmp/l1" $l1_modules
	rm -rf "$tmp/all"
	echo "$made" >"$tmp/made-of"
	rm -rf "$to"
	mv "$tmp" "$to"
}

program() { # NAME ROOT/PATH: a stripped copy
	strip -o "$2" "$bin/$1"
}

guest() { # NAME DEST
	local g=$tmp/guest
	mkdir -p "$g/dev" "$g/proc" "$2"
	program guest-init "$g/init"
	cp -r "$kernels/bench/$1/guest" "$g/mods"
	archive "$g" | gzip -9n >"$2/initrd"
	cp "$kernels/lab/$1/vmlinuz" "$2/vmlinuz"
}

# Programs of Debian as they are installed here, with their libraries.
installed() { # ROOT NAME...
	local r=$1 f p
	shift
	mkdir -p "$r"/usr/bin "$r"/lib/x86_64-linux-gnu "$r"/lib64
	for p in "$@"; do
		p=$(PATH=$PATH:/usr/sbin:/sbin command -v "$p")
		cp "$p" "$r/usr/bin/"
		ldd "$p" | awk '/=> \// { print $3 }' | while read -r f; do cp -L "$f" "$r/lib/x86_64-linux-gnu/"; done
	done
	cp -L /lib64/ld-linux-x86-64.so.2 "$r/lib64/"
}

qemu() { # ROOT
	local r=$1 f
	mkdir -p "$r"/usr/share/qemu "$r"/usr/share/seabios
	installed "$r" qemu-system-x86_64
	cp /usr/share/seabios/bios-256k.bin /usr/share/seabios/bios-microvm.bin "$r/usr/share/seabios/"
	for f in kvmvapic linuxboot_dma linuxboot pvh multiboot multiboot_dma; do
		cp -L "/usr/share/qemu/$f.bin" "$r/usr/share/qemu/"
	done
}

l1() { # NAME
	local r=$tmp/l1
	mkdir -p "$r"/bin "$r"/dev "$r"/proc "$r"/sys "$r"/tmp "$r"/run
	cp "$(command -v busybox)" "$r/bin/busybox"
	program fh-worker "$r/bin/fh-worker"
	program fh-start "$r/bin/fh-start"
	program vmbench "$r/bin/vmbench"
	cp "$here/l1-init" "$r/init"
	cp "$here/vmms.sh" "$r/vmms.sh"
	cp -r "$kernels/bench/$1/l1" "$r/mods"
	qemu "$r"
	installed "$r" mke2fs
	guest "$2" "$r/guest"
	archive "$r" >"$out/initrd"
	cp "$kernels/lab/$1/vmlinuz" "$out/vmlinuz"
}

mkdir -p "$out"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unpack "$2"
unpack "$3"
l1 "$3" "$2"
