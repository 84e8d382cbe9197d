/* hypervisor/core/host.c - does this host have what a partition needs? */
#include "hypervisor/core/host.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define NEWER_KERNEL  "needs Linux 6.1 or newer on the host"
#define HYPERV_KERNEL "needs a host kernel built with CONFIG_KVM_HYPERV, as Debian's are"

static const struct need {
	int cap;
	const char *what;
	const char *how;
} needs[] = {
	{ KVM_CAP_IRQCHIP, "an interrupt controller in the kernel", NEWER_KERNEL },
	{ KVM_CAP_USER_MEMORY, "user memory", NEWER_KERNEL },
	{ KVM_CAP_IMMEDIATE_EXIT, "immediate exit", NEWER_KERNEL },
	{ KVM_CAP_IRQFD, "interrupts by descriptor", NEWER_KERNEL },
	{ KVM_CAP_GET_TSC_KHZ, "the TSC's rate", NEWER_KERNEL },
	{ KVM_CAP_ADJUST_CLOCK, "an adjustable clock", NEWER_KERNEL },
	{ KVM_CAP_VCPU_EVENTS, "processor events", NEWER_KERNEL },
	{ KVM_CAP_XSAVE, "extended processor state", NEWER_KERNEL },
	{ KVM_CAP_X86_USER_SPACE_MSR, "MSR exits", NEWER_KERNEL },
	{ KVM_CAP_X86_MSR_FILTER, "the MSR filter", NEWER_KERNEL },
	{ KVM_CAP_HYPERV, "the Hyper-V interface", HYPERV_KERNEL },
	{ KVM_CAP_HYPERV_SYNIC2, "the Hyper-V SynIC", HYPERV_KERNEL },
	{ KVM_CAP_HYPERV_EVENTFD, "Hyper-V event descriptors", HYPERV_KERNEL },
	{ KVM_CAP_HYPERV_TLBFLUSH, "the Hyper-V TLB flush hypercalls", HYPERV_KERNEL },
	{ KVM_CAP_HYPERV_SEND_IPI, "the Hyper-V IPI hypercalls", HYPERV_KERNEL },
	{ KVM_CAP_SYS_HYPERV_CPUID, "the Hyper-V CPUID leaves", HYPERV_KERNEL },
	{ KVM_CAP_HYPERV_ENFORCE_CPUID, "Hyper-V CPUID enforcement", HYPERV_KERNEL },
};

static int
check_capabilities(int kvm, struct err *e)
{
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return err_set(
		    e, ENOTSUP, "this host's /dev/kvm speaks another version of KVM: " NEWER_KERNEL);
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
		if (ioctl(kvm, KVM_CHECK_EXTENSION, needs[i].cap) <= 0)
			return err_set(
			    e, ENOTSUP, "this host's KVM lacks %s: %s", needs[i].what, needs[i].how);
	return 0;
}

/* A module parameter that is on reads "Y" or "1". Absent (the other vendor's module): not on. */
static bool
parameter_on(const char *path)
{
	char c = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (read(fd, &c, 1) != 1)
		c = 0;
	close(fd);
	return c == 'Y' || c == '1';
}

static int
check_processor(struct err *e)
{
	unsigned a, b, c, d;

	if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || !(d & 1u << 20))
		return err_set(e, ENOTSUP,
		    "this host's processor has no NX (no-execute): switch it on in the firmware set-up");
	if (!parameter_on("/sys/module/kvm_intel/parameters/ept") &&
	    !parameter_on("/sys/module/kvm_amd/parameters/npt"))
		return err_set(e, ENOTSUP,
		    "this host has no second level address translation (EPT or NPT): use a processor that "
		    "has "
		    "it, and load kvm_intel or kvm_amd without switching it off");
	return 0;
}

static int
open_kvm(struct err *e)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
		return err_set(e, errno,
		    "this host has no KVM: switch on virtualisation (VT-x, or AMD-V called SVM) in the "
		    "firmware "
		    "set-up and load kvm_intel or kvm_amd");
	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return err_set(
		    e, errno, "this host's /dev/kvm is not for this user: must be started as root");
	return fd < 0 ? err_sys(e, "/dev/kvm") : fd;
}

int
host_open(struct host *h, struct err *e)
{
	int rc, fd = open_kvm(e);

	if (fd < 0)
		return fd;
	rc = check_capabilities(fd, e);
	if (rc == 0)
		rc = check_processor(e);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	h->kvm_fd = fd;
	h->virtual_apic = parameter_on("/sys/module/kvm_intel/parameters/enable_apicv") ||
			  parameter_on("/sys/module/kvm_amd/parameters/avic");
	return 0;
}
