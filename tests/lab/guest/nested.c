/*
 * tests/lab/guest/nested.c - a guest of the guest: `mov $0x42, %al; out %al, $0x10; hlt` in KVM.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "tests/lab/guest/tool.h"

static int
fail(const char *what)
{
	printf("FH-NESTED %s: %s\n", what, strerror(errno));
	return 1;
}

static int
set_up(int vm, int vcpu)
{
	static const uint8_t code[] = { 0xb0, 0x42, 0xe6, 0x10, 0xf4 };
	void *ram = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region slot = { .guest_phys_addr = 0x1000, .memory_size = 4096 };
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	struct kvm_sregs sregs;

	if (ram == MAP_FAILED)
		return -1;
	memcpy(ram, code, sizeof(code));
	slot.userspace_addr = (uintptr_t)ram;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0 || ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0)
		return -1;
	return ioctl(vcpu, KVM_SET_REGS, &regs);
}

int
tool_nested(char **args)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, vcpu, size;
	struct kvm_run *run;

	(void)args;
	if (kvm < 0)
		return fail("/dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0ul);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0ul);
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0ul);
	if (vm < 0 || vcpu < 0 || size < 0 || set_up(vm, vcpu) < 0)
		return fail("set-up");
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED || ioctl(vcpu, KVM_RUN, 0ul) < 0)
		return fail("run");
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != 0x10 ||
	    ((uint8_t *)run)[run->io.data_offset] != 0x42) {
		printf("FH-NESTED exit reason %u\n", run->exit_reason);
		return 1;
	}
	printf("FH-NESTED good\n");
	return 0;
}
