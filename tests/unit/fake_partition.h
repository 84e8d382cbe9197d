/*
 * tests/unit/fake_partition.h - a real partition on a fake KVM: a small machine with a kernel, all devices,
 * memory and processor threads.
 */
#ifndef TESTS_UNIT_FAKE_PARTITION_H
#define TESTS_UNIT_FAKE_PARTITION_H

#include <elf.h>
#include <pthread.h>

#include "hypervisor/core/partition.h"
#include "tests/unit/fake_kvm.h"

/* A kernel that a machine can be started with: one page at 2 MiB and the note that says where to begin. */
static inline int
fake_kernel(void)
{
	struct {
		Elf64_Ehdr h;
		Elf64_Phdr ph[2];
		Elf64_Nhdr note;
		char name[4];
		uint64_t entry;
	} k = {
		.h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		    .e_type = ET_EXEC,
		    .e_machine = EM_X86_64,
		    .e_phoff = sizeof(Elf64_Ehdr),
		    .e_phentsize = sizeof(Elf64_Phdr),
		    .e_phnum = 2 },
		.ph = { { .p_type = PT_LOAD, .p_paddr = 0x200000, .p_filesz = 4096, .p_memsz = 4096 },
		    { .p_type = PT_NOTE, .p_filesz = 24, .p_memsz = 24 } },
		.note = { 4, 8, 18 },
		.name = "Xen",
		.entry = 0x200100,
	};
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	k.ph[1].p_offset = (uintptr_t)&k.note - (uintptr_t)&k;
	if (fd < 0 || ftruncate(fd, 4096) < 0 || pwrite(fd, &k, sizeof(k), 0) != sizeof(k))
		abort();
	return fd;
}

static inline void
fake_machine(struct machine *m, uint64_t mb, uint64_t processors)
{
	machine_defaults(m);
	memset(m->id, 0x5a, sizeof(m->id));
	memcpy(m->name, "test", sizeof("test"));
	m->memory.size_mb = mb;
	m->processor.count = processors;
	m->com[0] = m->com[1] = true;
	m->direct.kernel_fd = fake_kernel();
	if (machine_check(m, NULL) < 0)
		abort();
}

static inline int
fake_leave(struct fake_vcpu *v, struct kvm_run *r)
{
	(void)v;
	(void)r;
	pthread_exit(NULL);
}

/* The threads of a partition wait for ever, and a worker ends with them. A test ends them inside the guest.
 */
static inline void
fake_end_threads(struct partition *p)
{
	partition_stop(p);
	fake_kvm.run = fake_leave;
	partition_go(p);
	for (unsigned i = 0; i < p->vcpus; i++)
		pthread_join(p->vcpu[i].thread, NULL);
	fake_kvm.run = NULL;
}

static inline void
fake_partition_free(struct partition *p)
{
	if (!p)
		return;
	fake_end_threads(p);
	partition_free(p);
	fake_kvm_forget_vm();
}

#endif
