/*
 * tests/unit/fake_boot.h - a small machine with memory, and files made of bytes, for the tests of
 * hypervisor/boot.
 */
#ifndef TESTS_UNIT_FAKE_BOOT_H
#define TESTS_UNIT_FAKE_BOOT_H

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hypervisor/boot/boot.h"

struct fake_boot {
	struct machine m;
	struct gmem *mem;
	struct boot_entry entry;
	struct err e;
};

static inline int
fake_file(const void *bytes, size_t len)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	return fd;
}

/* A machine of so many MiB, its RAM made. */
static inline void
fake_boot_new(struct fake_boot *f, uint64_t mb)
{
	struct memory_map map;

	memset(f, 0, sizeof(*f));
	machine_defaults(&f->m);
	f->m.memory.size_mb = f->m.memory.maximum_mb = mb;
	machine_map(&f->m, &map);
	assert_int_equal(gmem_new(&f->mem, mb << 20, false, &f->e), 0);
	assert_int_equal(gmem_add(f->mem, 0, map.low_ram, NULL, &f->e), 0);
	if (map.high_ram != 0)
		assert_int_equal(gmem_add(f->mem, MAP_HIGH_RAM, map.high_ram, NULL, &f->e), 0);
}

static inline void
fake_boot_free(struct fake_boot *f)
{
	machine_close(&f->m);
	gmem_free(f->mem);
}

/* Loads a kernel, and an initrd unless its length is 0; the files are gone afterwards. */
static inline int
fake_boot_load(struct fake_boot *f, const void *kernel, size_t len, const void *initrd, size_t initrd_len)
{
	int rc;

	memset(&f->e, 0, sizeof(f->e));
	f->m.direct.kernel_fd = fake_file(kernel, len);
	f->m.direct.initrd_fd = initrd_len != 0 ? fake_file(initrd, initrd_len) : -1;
	rc = boot_load(&f->m, f->mem, &f->entry, &f->e);
	machine_close(&f->m);
	return rc;
}

#endif
