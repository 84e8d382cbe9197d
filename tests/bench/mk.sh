#!/bin/bash
# mk.sh WORK - builds in WORK the guest's initrd and the L1 initramfs.
# Needs: gcc, libc6-dev, busybox-static, cpio, kmod, qemu-system-x86, and the
# kernel package linux-image-*-cloud-amd64 unpacked (dpkg -x) in KDIR.
# EXTRA_DIR: optional; its files go to /usr/local/bin of L1 (VMMs to compare).
# VMMS TESTS RUNS MEM LIMIT: what L1 runs (defaults below).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
W=$1; mkdir -p "$W"
: "${KDIR:?the unpacked kernel package}"
VMMS=${VMMS:-qemu_pc qemu_microvm}; TESTS=${TESTS:-boot first disk net}; RUNS=${RUNS:-3}
MEM=${MEM:-128}; LIMIT=${LIMIT:-180}
for p in guest-init vmbench; do
	gcc -O2 -static -Wall -Wno-unused-result -o "$W/$p" "$here/$p.c"
done
kv=$(ls "$KDIR"/lib/modules); cp "$KDIR/boot/vmlinuz-$kv" "$W/vmlinuz"

declare -A idx=()
while read -r f; do b=$(basename "$f" .ko); idx[${b//-/_}]=$f; done < <(find "$KDIR/lib/modules" -name '*.ko')
# modules in dependency order: mods DEST NAME...
mods() {
	local dest=$1 n=0 m f; shift; mkdir -p "$dest"
	declare -A seen=()
	add() {
		local m=${1//-/_} f d
		[ -n "${seen[$m]:-}" ] && return 0
		seen[$m]=1
		f=${idx[$m]:-}
		[ -n "$f" ] || return 0
		for d in $(modinfo -F depends "$f" | tr , ' ') $(modinfo -F softdep "$f" | sed -n 's/pre: //p'); do add "$d"; done
		cp "$f" "$dest/$(printf %02d $n)-$m.ko"; n=$((n + 1))
	}
	for m in "$@"; do add "$m"; done
}

rm -rf "$W/g" "$W/l1"; mkdir -p "$W/g/dev" "$W/g/proc"
cp "$W/guest-init" "$W/g/init"
mods "$W/g/mods" virtio_pci virtio_mmio virtio_blk virtio_net sd_mod hv_vmbus hv_storvsc hv_netvsc
(cd "$W/g" && find . | LC_ALL=C sort | cpio -o -H newc --reproducible 2>/dev/null | gzip -9n > "$W/guest.gz")

L=$W/l1; mkdir -p "$L"/{bin,dev,proc,sys,tmp,mods,usr/bin,usr/local/bin,usr/share/qemu,usr/share/seabios,lib/x86_64-linux-gnu,lib64}
cp /bin/busybox "$L/bin/"; cp "$W/vmbench" "$L/bin/"; cp "$W/vmlinuz" "$W/guest.gz" "$L/"
mods "$L/mods" irqbypass ccp kvm kvm_amd tun vhost_net
q=$(command -v qemu-system-x86_64); cp "$q" "$L/usr/bin/"
[ -n "${EXTRA_DIR:-}" ] && cp -a "$EXTRA_DIR"/. "$L/usr/local/bin/"
for b in "$q" "$L"/usr/local/bin/*; do
	[ -f "$b" ] || continue
	ldd "$b" 2>/dev/null | awk '/=> \//{print $3} /^\t\/lib64/{print $1}'
done | sort -u | while read -r l; do cp -L "$l" "$L/lib/x86_64-linux-gnu/"; done
cp -L /lib64/ld-linux-x86-64.so.2 "$L/lib64/"
for f in bios-256k.bin bios-microvm.bin; do cp /usr/share/seabios/$f "$L/usr/share/seabios/"; done
for f in kvmvapic.bin linuxboot_dma.bin linuxboot.bin pvh.bin multiboot.bin multiboot_dma.bin qboot.rom; do
	cp -L /usr/share/qemu/$f "$L/usr/share/qemu/" 2>/dev/null || true; done
cp "$here/vmms.sh" "$L/"
cat > "$L/init" <<END
#!/bin/busybox sh
/bin/busybox --install -s /bin
export VB=${VB:-} PATH=/usr/local/bin:/bin:/usr/bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
mkdir -p /dev/shm /dev/pts /dev/net /tmp; mount -t tmpfs t /dev/shm; mount -t tmpfs -o size=600m t /tmp
mount -t debugfs d /sys/kernel/debug; mount -t tracefs t /sys/kernel/tracing
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
echo 0 > /proc/sys/kernel/randomize_va_space
echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled
mount -t cgroup2 -o favordynmods c /sys/fs/cgroup
for m in /mods/*.ko; do insmod \$m || echo "insmod \$m failed"; done
[ -e /dev/kvm ] || { echo "X no /dev/kvm in L1"; poweroff -f; }
ifconfig lo 127.0.0.1 up
KERNEL=/vmlinuz INITRD=/guest.gz DISK=/tmp/disk.img MEM=$MEM LIMIT=$LIMIT
dd if=/dev/zero of=\$DISK bs=1M count=64 2>/dev/null
go() { vmbench \$NAME \$TEST \$LIMIT \$MEM -- "\$@"; }
. /vmms.sh
read up idle < /proc/uptime; echo "R l1 boot uptime_s \$up"
case " $TESTS " in *" disk "*) for r in \$(seq $RUNS); do vmbench host host 60 \$DISK; done ;; esac
for TEST in $TESTS; do
	APPEND="console=ttyS0 quiet panic=-1 nokaslr b.t=\$TEST"
	for r in \$(seq $RUNS); do for NAME in $VMMS; do
		echo "# run \$r"
		vmm_\$NAME
		[ -s /tmp/vmm.err ] && { sed 's/^/E /' /tmp/vmm.err | head -5; rm -f /tmp/vmm.err; }
	done; done
done
read up idle < /proc/uptime; echo "R l1 end uptime_s \$up"
poweroff -f
END
chmod +x "$L/init"
(cd "$L" && find . | LC_ALL=C sort | cpio -o -H newc --reproducible 2>/dev/null | gzip -1n > "$W/l1.gz")
ls -la "$W/guest.gz" "$W/l1.gz"
