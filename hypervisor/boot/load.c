/*
 * hypervisor/boot/load.c - direct boot: tells what kind of image a kernel is and has it loaded.
 */
#include "hypervisor/boot/load.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MIB 0x100000ull

static int
file_open(struct boot_file *f, const char *what, int fd, struct err *e)
{
	off_t size;

	*f = (struct boot_file){ .what = what, .fd = fd };
	if (fd < 0)
		return 0;
	size = lseek(fd, 0, SEEK_END); /* the sandbox has no fstat */
	if (size < 0)
		return err_set(e, EINVAL, "%s: is not a regular file", what);
	f->size = (uint64_t)size;
	return 0;
}

int
boot_file_read(const struct boot_file *f, uint64_t off, void *buf, size_t len, struct err *e)
{
	ssize_t n;

	if (off > f->size || len > f->size - off)
		return err_set(e, EINVAL, "%s: cut short: needs %zu bytes at %llu, file has %llu", f->what,
		    len, (unsigned long long)off, (unsigned long long)f->size);
	do
		n = pread(f->fd, buf, len, (off_t)off);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(e, "%s: read", f->what);
	if ((size_t)n != len)
		return err_set(e, EIO, "%s: became shorter while it was read", f->what);
	return 0;
}

int
boot_file_load(
    const struct boot_file *f, struct gmem *mem, uint64_t gpa, uint64_t off, uint64_t len, struct err *e)
{
	int rc = gmem_load(mem, gpa, f->fd, off, len);

	if (rc == -EFAULT)
		return err_set(e, E2BIG, "%s: %llu bytes at %#llx are outside the machine's memory", f->what,
		    (unsigned long long)len, (unsigned long long)gpa);
	if (rc == -EIO)
		return err_set(e, EIO, "%s: cannot be read to its end", f->what);
	return rc == 0 ? 0 : err_set(e, -rc, "%s: read: %s", f->what, strerror(-rc));
}

int
boot_load_initrd(struct boot_job *job, uint64_t lowest, uint64_t limit, struct err *e)
{
	const struct boot_file *f = &job->initrd;
	uint64_t addr;

	job->initrd_at = (struct boot_range){ 0 };
	if (f->fd < 0)
		return 0;
	if (f->size == 0)
		return err_set(e, EINVAL, "initrd: is empty");
	if (limit > job->map.low_ram)
		limit = job->map.low_ram;
	addr = f->size < limit ? (limit - f->size) & ~(uint64_t)(GMEM_PAGE - 1) : 0;
	if (addr < lowest)
		return err_set(e, E2BIG, "initrd: %llu bytes do not fit between %llu and %llu MiB of memory",
		    (unsigned long long)f->size, (unsigned long long)(lowest / MIB),
		    (unsigned long long)(limit / MIB));
	job->initrd_at = (struct boot_range){ addr, f->size };
	return boot_file_load(f, job->mem, addr, 0, f->size, e);
}

static int
load_kernel(struct boot_job *job, struct boot_entry *entry, struct err *e)
{
	uint8_t head[0x206] = { 0 }; /* to the end of the magic of a bzImage */
	uint64_t n = job->kernel.size < sizeof(head) ? job->kernel.size : sizeof(head);
	int rc = boot_file_read(&job->kernel, 0, head, n, e);

	if (rc < 0)
		return rc;
	if (memcmp(head, ELFMAG, SELFMAG) == 0)
		return pvh_load(job, entry, e);
	if (memcmp(head + 0x202, "HdrS", 4) == 0)
		return bzimage_load(job, entry, e);
	return err_set(e, ENOEXEC, "kernel: is neither a Linux kernel (bzImage) nor an ELF file");
}

int
boot_load(const struct machine *m, struct gmem *mem, struct boot_entry *entry, struct err *e)
{
	struct boot_job job = { .m = m, .mem = mem };
	int rc;

	memset(entry, 0, sizeof(*entry));
	machine_map(m, &job.map);
	rc = file_open(&job.kernel, "kernel", m->direct.kernel_fd, e);
	if (rc == 0)
		rc = file_open(&job.initrd, "initrd", m->direct.initrd_fd, e);
	if (rc < 0)
		return rc;
	if (job.kernel.fd < 0)
		return err_set(e, ENOENT, "kernel: none is given");
	return load_kernel(&job, entry, e);
}
