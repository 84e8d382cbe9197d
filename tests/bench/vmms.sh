# vmms.sh - how each monitor is started, sourced by l1-init (busybox sh). One function each, vmm_NAME, which
# calls `go` with the whole command line. The guest's first serial port must come out on standard output.
# Set for it: TEST, MEMORY (MiB), KERNEL, INITRD, APPEND, DISK (a raw file). The tap, tap0, is made already. In the test
# of the network a machine has a disk as well: what one with both costs is measured there.
# shellcheck shell=sh disable=SC2086

qemu="qemu-system-x86_64 -accel kvm -cpu host -nodefaults -no-user-config -display none -serial stdio -no-reboot"
file="if=none,id=d,file=$DISK,format=raw,cache=writeback"
tap="tap,id=n,ifname=tap0,script=no,downscript=no"

# virtio-net, its frames moved by QEMU itself.
vmm_qemu_pc() {
	blk="-drive $file,aio=threads -device virtio-blk-pci,drive=d"
	case $TEST in
	disk) set -- $blk ;;
	net) set -- $blk -netdev $tap,vhost=off -device virtio-net-pci,netdev=n,romfile= ;;
	esac
	go $qemu -M pc -m $MEMORY -kernel $KERNEL -initrd $INITRD -append "$APPEND" "$@"
}

# The best that Debian's QEMU does for devices: a thread for I/O and io_uring, the network in the kernel.
vmm_qemu_q35() {
	blk="-object iothread,id=io -drive $file,aio=io_uring -device virtio-blk-pci,drive=d,iothread=io"
	case $TEST in
	disk) set -- $blk ;;
	net) set -- $blk -netdev $tap,vhost=on -device virtio-net-pci,netdev=n,romfile= ;;
	esac
	go $qemu -M q35 -m $MEMORY -kernel $KERNEL -initrd $INITRD -append "$APPEND" "$@"
}

# The same, as a SCSI disk: what is like ours.
vmm_qemu_scsi() {
	[ $TEST != disk ] || set -- -object iothread,id=io -device virtio-scsi-pci,id=s,iothread=io \
		-drive $file,aio=io_uring -device scsi-hd,drive=d,bus=s.0
	go $qemu -M q35 -m $MEMORY -kernel $KERNEL -initrd $INITRD -append "$APPEND" "$@"
}

vmm_qemu_microvm() {
	blk="-drive $file,aio=threads -device virtio-blk-device,drive=d"
	case $TEST in
	disk) set -- $blk ;;
	net) set -- $blk -netdev $tap,vhost=off -device virtio-net-device,netdev=n ;;
	esac
	go $qemu -M microvm,rtc=on,pit=off,pic=off -global virtio-mmio.force-legacy=false \
		-m $MEMORY -kernel $KERNEL -initrd $INITRD -append "$APPEND" "$@"
}

vmm_freehold() {
	case $TEST in
	disk) set -- -d $DISK ;;
	net) set -- -d $DISK -n tap0 ;;
	esac
	go fh-start "$@" /bin/fh-worker $MEMORY $KERNEL $INITRD "$APPEND"
}
