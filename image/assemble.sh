#!/bin/bash
# image/assemble.sh - makes the image; runs in the build chroot, started by image/build.sh.
#
#   /src    the project      /parts  Debian's packages, unpacked      /build  our programs and BusyBox, kept
#   /out    what comes out   SOURCE_DATE_EPOCH, VERSION, COMMIT
#
# Only tools of the chroot are used. Text lists say what goes in; this only copies. There is no /proc here.
set -eu
export LC_ALL=C TZ=UTC
tree=/build/tree
level=${COMPRESSION:-19}
early=/build/early
medium=/build/medium
label=FREEHOLD_${COMMIT^^}
stamp=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S00)

die() {
	echo "image: $*" >&2
	exit 1
}

rows() {
	sed 's/#.*//' "$1" | awk 'NF'
}

# Every time stamp of a tree becomes that of the commit.
stamps() {
	find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

# --- our programs and BusyBox ------------------------------------------------------------------------

programs() {
	make -s -C /src -j"$(nproc)" B=/build/obj C_FILES= image-programs
}

# Everything that rootfs/busybox.config does not name is switched off before BusyBox's own defaults can.
busybox() {
	local d=/build/busybox want=/src/rootfs/busybox.config
	local key
	key=$(cat "$want" /usr/src/busybox_*.dsc | sha256sum)
	[ "$(cat $d.key 2>/dev/null)" != "$key" ] || return 0
	rm -rf $d $d.key
	dpkg-source --no-check -x /usr/src/busybox_*.dsc $d >/dev/null 2>&1 # apt has checked it
	{
		cd $d
		make allnoconfig
		find . -name Config.in -exec awk '/^config / { s = $2 } /^[ \t]+bool/ { print "# CONFIG_" s " is not set" }' {} + |
			sort -u | grep -vwF "$(rows "$want" | sed 's/=.*//')" >.config
		rows "$want" >>.config
		yes '' | make oldconfig || true
		cd - 
	} >$d.log 2>&1
	rows "$want" | while read -r row; do
		grep -qxF "$row" $d/.config || die "BusyBox does not take $row (rootfs/busybox.config)"
	done
	make -s -C $d -j"$(nproc)" busybox busybox.links >>$d.log 2>&1 || die "BusyBox: $(tail -n 20 $d.log)"
	echo "$key" >$d.key
}

# --- the root tree -----------------------------------------------------------------------------------

# The folders of a merged /usr in which everything is in /usr/bin and /usr/lib.
folders() {
	local f
	mkdir -p "$1"/usr/bin "$1"/usr/lib "$1"/usr/lib64
	ln -s bin "$1"/usr/sbin
	for f in bin sbin lib lib64; do ln -s usr/$f "$1"/$f; done
}

# The shared libraries that the programs of a tree need, from Debian's packages, and theirs, and the loader.
libraries() {
	local more=1 lib from
	while [ -n "$more" ]; do
		more=
		for lib in $(find "$1/usr/bin" "$1/usr/lib/x86_64-linux-gnu" -type f \( -perm /111 -o -name '*.so*' \) 2>/dev/null |
			xargs readelf -d 2>/dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u) ld-linux-x86-64.so.2; do
			[ ! -e "$1/usr/lib/x86_64-linux-gnu/$lib" ] || continue
			from=/parts/usr/lib/x86_64-linux-gnu/$lib
			[ -e "$from" ] || die "$lib is in none of the packages of rootfs/packages.txt: $(dpkg -S "*/$lib" 2>/dev/null || true)"
			mkdir -p "$1/usr/lib/x86_64-linux-gnu"
			cp -L "$from" "$1/usr/lib/x86_64-linux-gnu/$lib"
			more=1
		done
	done
	ln -sf ../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$1/usr/lib64/ld-linux-x86-64.so.2"
}

# Debian's modules as they are signed, without the compression around them: the file systems compress better.
plain_modules() {
	local d=/build/modules-$kernel m
	[ ! -e "$d.done" ] || return 0
	while read -r m; do
		mkdir -p "$d/${m%/*}"
		xz -dc "/parts/usr/lib/modules/$kernel/$m" >"$d/${m%.xz}"
	done </build/modules.list
	depmod -b /parts "$kernel"
	cp "/parts/usr/lib/modules/$kernel/modules.dep" "$d/"
	: >"$d.done"
}

# modules TREE MARK: the modules of modules.txt (only lines that end in MARK), what they depend on, and the maps.
modules() {
	local from=/parts/usr/lib/modules/$kernel to=$1/usr/lib/modules/$kernel glob mark m
	local -A want=()
	rows /src/rootfs/modules.txt >/build/modules.rows
	while read -r glob mark; do
		if [ "${glob#!}" = "$glob" ]; then
			[ -z "$2" ] || [ "$mark" = "$2" ] || continue
		elif [ -n "$mark" ]; then
			[ "$mark" = "$2" ] || continue
		fi
		while read -r m; do
			# shellcheck disable=SC2053 # a glob
			if [ "${glob#!}" != "$glob" ]; then
				[[ $m != kernel/${glob#!} ]] || unset "want[$m]"
			elif [[ $m == kernel/$glob ]]; then
				want[$m]=1
			fi
		done </build/modules.list
	done </build/modules.rows
	printf '%s\n' "${!want[@]}" | awk -F': *' -v dep="/build/modules-$kernel/modules.dep" '
		BEGIN { while ((getline <dep) > 0) needs[$1] = $2 }
		{ print $1; n = split(needs[$1], d, " "); for (i = 1; i <= n; i++) print d[i] }' | sort -u >/build/modules.want
	mkdir -p "$to"
	while read -r m; do
		mkdir -p "$to/${m%/*}"
		cp "/build/modules-$kernel/${m%.xz}" "$to/${m%.xz}"
	done </build/modules.want
	cp "$from"/modules.builtin* "$from/modules.order" "$to/"
	depmod -b "$1" "$kernel"
	rm -f "$to/modules.devname"
}

root_tree() {
	local from to f
	rm -rf $tree
	folders $tree
	mkdir -p $tree/{dev,proc,sys,run,tmp,data,root,etc}
	cp -a /src/rootfs/tree/. $tree/
	rows /src/rootfs/files >/build/files.rows
	cd /parts
	while read -r from to; do
		for f in $from; do
			[ -e "$f" ] || die "rootfs/files: no $f in the packages"
			mkdir -p "$tree/${to:-${f%/*}}"
			cp -a "$f" "$tree/${to:-${f%/*}}/"
		done
	done </build/files.rows
	cp /build/busybox/busybox $tree/usr/bin/
	while read -r f; do
		[ -e "$tree/usr/bin/${f##*/}" ] || ln -s busybox "$tree/usr/bin/${f##*/}"
	done </build/busybox/busybox.links
	for f in $(cat /build/obj/image-programs); do
		strip -o "$tree/usr/bin/$f" "/build/obj/bin/$f"
	done
	modules $tree ''
	libraries $tree
	cat >$tree/usr/lib/os-release <<-END
	NAME=Freehold
	ID=freehold
	VERSION="$VERSION"
	VERSION_ID="$VERSION"
	PRETTY_NAME="Freehold $VERSION"
	FREEHOLD_BUILT=$SOURCE_DATE_EPOCH
	END
	chown -R 0:0 $tree
	stamps $tree
	rm -f /out/root.squashfs
	mksquashfs $tree /out/root.squashfs -noappend -quiet -no-progress -comp zstd -Xcompression-level "$level" -b 256K -no-xattrs >&2
}

initramfs() {
	local f key
	rm -rf $early
	folders $early
	mkdir -p $early/{dev,proc,sys,run,root}
	cp /build/busybox/busybox $early/usr/bin/
	for f in $(rows /src/rootfs/initramfs/applets); do
		ln -s busybox "$early/usr/bin/$f"
	done
	cp /src/rootfs/initramfs/init $early/init
	cp /src/rootfs/tree/usr/libexec/freehold/partition $early/usr/bin/
	modules $early early
	rm -f $early/usr/lib/modules/*/*.bin # kmod's; BusyBox reads the text
	libraries $early
	chown -R 0:0 $early
	stamps $early
	(cd $early && find . | sort | cpio --quiet --reproducible -o -H newc) >/build/initrd.cpio
	key=$level-$(sha256sum </build/initrd.cpio)
	[ "$(cat /build/initrd.key 2>/dev/null)" = "$key" ] || zstd -q -"$level" -T1 -f -o /out/initrd /build/initrd.cpio
	echo "$key" >/build/initrd.key
}

# --- boot loaders and the medium ---------------------------------------------------------------------

grub_modules() {
	rows /src/image/grub/modules-pc.txt | xargs
}

boot_loaders() {
	local g=/parts/usr/lib/grub/i386-pc
	mkdir -p $medium/boot/install $medium/boot/grub $medium/EFI/BOOT $medium/EFI/debian
	# BIOS: a disk's prefix is its own second partition; a medium finds itself by its label.
	# shellcheck disable=SC2046
	grub-mkimage -O i386-pc -d $g -p '(,gpt2)/grub' -o $medium/boot/install/core.img $(grub_modules)
	cp $g/boot.img $medium/boot/install/
	cp /src/image/grub/disk.cfg $medium/boot/install/grub.cfg
	sed "s/@LABEL@/$label/" /src/image/grub/iso.cfg >$medium/boot/grub/grub.cfg
	printf 'search --no-floppy --label --set=root %s\nset prefix=($root)/boot/grub\n' "$label" >/build/iso-early.cfg
	# shellcheck disable=SC2046
	grub-mkimage -O i386-pc-eltorito -d $g -c /build/iso-early.cfg -p /boot/grub -o $medium/boot/grub/eltorito.img $(grub_modules)
	# UEFI: the signed GRUB reads EFI/debian/grub.cfg beside it.
	cp /parts/usr/lib/shim/shimx64.efi.signed $medium/EFI/BOOT/BOOTX64.EFI
	cp /parts/usr/lib/shim/mmx64.efi.signed $medium/EFI/BOOT/mmx64.efi
	cp /parts/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed $medium/EFI/BOOT/grubx64.efi
	{ cat /build/iso-early.cfg; echo 'configfile $prefix/grub.cfg'; } >$medium/EFI/debian/grub.cfg
}

# The FAT image that firmware reads from the medium: EFI/ again.
efi_image() {
	local kib
	kib=$(($(du -sk $medium/EFI | cut -f 1) + 512))
	rm -f /build/efi.img
	mkfs.fat -C -F 16 -s 4 -i "$(printf %08x "$((SOURCE_DATE_EPOCH & 0xffffffff))")" -n EFI --invariant /build/efi.img $((kib < 9216 ? 9216 : kib)) >/dev/null
	stamps $medium/EFI
	mcopy -s -m -i /build/efi.img $medium/EFI ::
}

iso() {
	rm -rf $medium
	mkdir -p $medium/boot
	cp "/parts/boot/vmlinuz-$kernel" $medium/boot/vmlinuz
	cp /out/initrd $medium/boot/initrd
	cp /out/root.squashfs $medium/boot/root.squashfs
	boot_loaders
	efi_image
	echo "$VERSION" >$medium/boot/version
	stamps $medium
	rm -f /out/freehold.iso
	xorriso -as mkisofs -quiet -o /out/freehold.iso -r -V "$label" --modification-date="$stamp" --set_all_file_dates "$stamp" \
		-partition_offset 16 -b boot/grub/eltorito.img -c boot/grub/boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table --grub2-boot-info \
		--grub2-mbr /parts/usr/lib/grub/i386-pc/boot_hybrid.img --gpt_disk_guid "$(echo "$label" | md5sum | cut -c 1-32)" \
		-append_partition 2 0xef /build/efi.img -appended_part_as_gpt -eltorito-alt-boot \
		-e --interval:appended_partition_2:all:: -no-emul-boot $medium 2>/build/xorriso.log || die "xorriso: $(tail -n 20 /build/xorriso.log)"
}

sizes() {
	local f
	for f in /out/freehold.iso /out/root.squashfs /out/initrd $medium/boot/vmlinuz /build/efi.img; do
		printf '%8d KiB  %s\n' $(($(stat -c %s "$f") / 1024)) "${f##*/}"
	done
}

kernel=$(ls /parts/usr/lib/modules)
(cd "/parts/usr/lib/modules/$kernel" && find kernel -name '*.ko.xz' | sort) >/build/modules.list
mkdir -p /out
plain_modules
programs
busybox
root_tree
initramfs
iso
cp /parts/packages /out/packages.txt # name and version of every package that parts of the image are of
cp -a $medium/. /out/medium/ 2>/dev/null || { rm -rf /out/medium && mkdir /out/medium && cp -a $medium/. /out/medium/; }
sizes | tee /out/sizes.txt
