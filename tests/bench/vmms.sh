# vmms.sh - how each VMM is started, sourced by the L1 init (busybox sh).
# One function a VMM: vmm_NAME. It calls `go` with the whole command line.
# Set for it: TEST (boot first disk net burst), MEM (MiB), KERNEL, INITRD,
# APPEND (kernel command line), DISK (raw file). The tap is tap0, made already.
# To add a VMM, add a function here, put its binary in EXTRA_DIR (see README)
# and name it in VMMS.

Q="qemu-system-x86_64 -accel kvm -cpu host -nodefaults -no-user-config -display none -serial stdio -no-reboot"
QB="-drive if=none,id=d,file=$DISK,format=raw,cache=writeback,aio=threads"
QN="-netdev tap,id=n,ifname=tap0,script=no,downscript=no"

vmm_qemu_pc() {
	case $TEST in
	disk) X="$QB -device virtio-blk-pci,drive=d" ;;
	net) X="$QN,vhost=off -device virtio-net-pci,netdev=n,romfile=" ;;
	*) X= ;;
	esac
	go $Q -M pc -m $MEM -kernel $KERNEL -initrd $INITRD -append "$APPEND" $X
}

# the best that Debian's QEMU does: I/O thread and io_uring, vhost in the kernel
vmm_qemu_pc_tuned() {
	case $TEST in
	disk) X="-object iothread,id=io -drive if=none,id=d,file=$DISK,format=raw,cache=writeback,aio=io_uring -device virtio-blk-pci,drive=d,iothread=io" ;;
	net) X="$QN,vhost=on -device virtio-net-pci,netdev=n,romfile=" ;;
	*) X= ;;
	esac
	go $Q -M q35 -m $MEM -kernel $KERNEL -initrd $INITRD -append "$APPEND" $X
}

vmm_qemu_microvm() {
	case $TEST in
	disk) X="$QB -device virtio-blk-device,drive=d" ;;
	net) X="$QN,vhost=off -device virtio-net-device,netdev=n" ;;
	*) X= ;;
	esac
	go $Q -M microvm,rtc=on,pit=off,pic=off -global virtio-mmio.force-legacy=false \
		-m $MEM -kernel $KERNEL -initrd $INITRD -append "$APPEND" $X
}

# lkvm: only where a binary was put in EXTRA_DIR by hand
vmm_kvmtool() {
	case $TEST in
	disk) X="-d $DISK" ;;
	net) X="-n mode=tap,tapif=tap0,vhost=${VHOST:-0}" ;;
	*) X= ;;
	esac
	go lkvm run -c 1 -m $MEM -k $KERNEL -i $INITRD -p "$APPEND" --console serial --name vm$$ $X
}

vmm_freehold() {
	go fh-start /usr/local/bin/fh-worker $MEM $KERNEL $INITRD "$APPEND"
}
