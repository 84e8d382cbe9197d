/*
 * hypervisor/sandbox/syscalls.c - which system calls each kind of thread may make, and why.
 *
 * Everything else answers EPERM (a call by another architecture's numbers ends the process). A call that
 * can open, create or reach anything outside what the worker was given has no place here.
 */
#include "hypervisor/sandbox/syscalls.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define C THREAD_CONTROL
#define P THREAD_PROCESSOR
#define I THREAD_IO

#define ANY                0, 0, 0
#define ONLY(arg, v)       arg, UINT64_MAX, v
#define WITHOUT(arg, bits) arg, bits, 0
#define KVM(cmd)           1, UINT64_MAX, cmd

const struct allowed_call allowed_calls[] = {
	/* Running the guest: the only thing processors are for. */
	{ SYS_ioctl, P, KVM(KVM_RUN), "enter the guest" },
	{ SYS_ioctl, C | P, KVM(KVM_IRQ_LINE), "interrupt lines of emulated devices" },

	/* Waiting and waking. */
	{ SYS_futex, C | P | I, ANY, "locks and conditions" },
	{ SYS_write, C | P | I, ANY, "wake other threads and the guest; log; console" },
	{ SYS_timerfd_settime, C | P, ANY, "timers of emulated devices" },
	{ SYS_clock_gettime, C | P | I, ANY, "time, where the vDSO cannot tell it" },
	{ SYS_rt_sigreturn, C | P | I, ANY, "return from the kick signal's handler" },
	{ SYS_restart_syscall, C | P | I, ANY, "a wait that a signal interrupted" },
	{ SYS_ppoll, C, ANY, "the control loop" },
	{ SYS_poll, C, ANY, "the same" },
	{ SYS_tgkill, C, ONLY(2, SIGUSR1), "kick a processor out of the guest" },
	{ SYS_getpid, C, ANY, "pthread_kill" },
	{ SYS_gettid, C, ANY, "the same" },
	{ SYS_rt_sigprocmask, C, ANY, "the same" },

	/* Disks. What goes through the ring is restricted by the ring itself (core/io_loop.c). */
	{ SYS_sched_yield, I, ANY, "the guest may send more before its ring is read" },
	{ SYS_io_uring_enter, I, ANY, "requests to disks, and waiting for them" },
	{ SYS_io_uring_register, I, ONLY(1, IORING_REGISTER_FILES_UPDATE), "a disk comes or goes" },
	{ SYS_eventfd2, C, ANY, "signals of a channel that the guest asks for" },
	{ SYS_fstat, C, ANY, "what a disk that comes is" },
	{ SYS_fcntl, C, ONLY(1, F_OFD_SETLK), "locks of images: a disk's own becomes a parent" },
	{ SYS_fcntl, C, ONLY(1, F_DUPFD_CLOEXEC), "an image is opened anew" },
	{ SYS_ioctl, C, KVM(KVM_HYPERV_EVENTFD), "signals of a channel" },
	{ SYS_pwrite64, C, ANY, "a disk image that comes is replayed, one that goes is closed" },
	{ SYS_fdatasync, C, ANY, "the same, in order" },
	{ SYS_getrandom, C, ANY, "identities of an image's contents that will change" },

	/* Taps that were given: their settings. What they are is whoever's who has opened them. */
	{ SYS_ioctl, C, KVM(TUNGETIFF), "a tap that comes: is it one?" },
	{ SYS_ioctl, C, KVM(TUNSETVNETHDRSZ), "the header before its frames" },
	{ SYS_ioctl, C, KVM(TUNSETOFFLOAD), "what the guest's driver does itself: checksums, large frames" },
	{ SYS_ioctl, C, KVM(TUNSETQUEUE), "a queue without a channel takes no frames" },
	{ SYS_getsockopt, C, ANY, "a socket in place of a tap: does it keep frames apart?" },

	/* The control socket and the descriptors that come through it. */
	{ SYS_accept4, C, ANY, "the controller connects" },
	{ SYS_recvmsg, C, ANY, "requests" },
	{ SYS_sendmsg, C, ANY, "answers and events" },
	{ SYS_read, C, ANY, "wake-ups, console input, saved state" },
	{ SYS_writev, C, ANY, "saved state" },
	{ SYS_pread64, C, ANY, "kernel and initrd; tables of disk images" },
	{ SYS_lseek, C, ANY, "size of an image; which guest pages exist" },
	{ SYS_fcntl, C, ONLY(1, F_GETFL), "console descriptors" },
	{ SYS_fcntl, C, ONLY(1, F_SETFL), "console descriptors are made non-blocking" },
	{ SYS_shutdown, C, ANY, "one direction of a stream has ended, or both" },
	{ SYS_close, C, ANY, "descriptors that are done with" },

	/* Memory: the heap, and guest memory that is added or given back. Never executable. */
	{ SYS_brk, C, ANY, "heap" },
	{ SYS_mmap, C, WITHOUT(2, PROT_EXEC), "heap; guest memory added" },
	{ SYS_mremap, C, ANY, "heap" },
	{ SYS_munmap, C, ANY, "heap" },
	{ SYS_madvise, C, ANY, "huge pages for guest memory; heap" },
	{ SYS_ftruncate, C, ANY, "guest memory added; the end of a disk image" },
	{ SYS_fallocate, C, ANY, "guest memory given back; holes in a disk image" },

	/* KVM: state of stopped processors, memory, interrupts. Nothing that makes a VM or a processor. */
	{ SYS_ioctl, C, KVM(KVM_CHECK_EXTENSION), "size of the XSAVE area" },
	{ SYS_ioctl, C, KVM(KVM_GET_MSR_INDEX_LIST), "state" },
	{ SYS_ioctl, C, KVM(KVM_SET_USER_MEMORY_REGION), "memory added" },
	{ SYS_ioctl, C, KVM(KVM_NMI), "NMI button" },
	{ SYS_ioctl, C, KVM(KVM_GET_CLOCK), "state" },
	{ SYS_ioctl, C, KVM(KVM_SET_CLOCK), "state" },
	{ SYS_ioctl, C, KVM(KVM_GET_IRQCHIP), "state" },
	{ SYS_ioctl, C, KVM(KVM_SET_IRQCHIP), "state" },
	{ SYS_ioctl, C, KVM(KVM_GET_MP_STATE), "state" },
	{ SYS_ioctl, C, KVM(KVM_SET_MP_STATE), "state" },
	{ SYS_ioctl, C, KVM(KVM_GET_REGS), "state" },
	{ SYS_ioctl, C, KVM(KVM_SET_REGS), "state" },
	{ SYS_ioctl, C, KVM(KVM_GET_SREGS), "first instruction" },
	{ SYS_ioctl, C, KVM(KVM_SET_SREGS), "first instruction" },
	{ SYS_ioctl, C, KVM(KVM_GET_SREGS2), "state" },
	{ SYS_ioctl, C, KVM(KVM_SET_SREGS2), "state" },
	{ SYS_ioctl, C, KVM(KVM_GET_MSRS), "state" },
	{ SYS_ioctl, C, KVM(KVM_SET_MSRS), "state" },
	{ SYS_ioctl, C, KVM(KVM_GET_LAPIC), "state" },
	{ SYS_ioctl, C, KVM(KVM_SET_LAPIC), "state" },
	{ SYS_ioctl, C, KVM(KVM_GET_XSAVE), "state" },
	{ SYS_ioctl, C, KVM(KVM_GET_XSAVE2), "state" },
	{ SYS_ioctl, C, KVM(KVM_SET_XSAVE), "state" },
	{ SYS_ioctl, C, KVM(KVM_GET_XCRS), "state" },
	{ SYS_ioctl, C, KVM(KVM_SET_XCRS), "state" },
	{ SYS_ioctl, C, KVM(KVM_GET_VCPU_EVENTS), "state" },
	{ SYS_ioctl, C, KVM(KVM_SET_VCPU_EVENTS), "state" },
	{ SYS_ioctl, C, KVM(KVM_GET_DEBUGREGS), "state" },
	{ SYS_ioctl, C, KVM(KVM_SET_DEBUGREGS), "state" },
	{ SYS_ioctl, C, KVM(KVM_GET_NESTED_STATE), "state" },
	{ SYS_ioctl, C, KVM(KVM_SET_NESTED_STATE), "state" },
	{ SYS_ioctl, C, KVM(KVM_GET_DEVICE_ATTR), "TSC offset" },
	{ SYS_ioctl, C, KVM(KVM_SET_DEVICE_ATTR), "TSC offset" },
	{ SYS_ioctl, C, KVM(KVM_SET_TSC_KHZ), "TSC rate of a machine from another host" },

	{ SYS_exit_group, C, ANY, "the end" },
};
const size_t allowed_calls_n = sizeof(allowed_calls) / sizeof(allowed_calls[0]);
