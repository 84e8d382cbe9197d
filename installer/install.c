/* installer/install.c - the steps of an installation, in order, as a table. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "installer/boot_code.h"
#include "installer/install.h"
#include "installer/settings.h"
#include "installer/tool.h"

enum { CHUNK = 1024 * 1024 };

struct run {
	const struct install *in;
	struct layout *l;
	int fd;   /* the disk */
	int root; /* boot/root.squashfs */
	uint64_t root_size;
	char work[64];  /* folder for small files; "" while there is none */
	char boot[128]; /* the boot partition as mtools names it: DISK@@OFFSET */
	uint8_t *chunk; /* CHUNK bytes */
};

static int
open_medium(struct run *r, struct err *e)
{
	static const char *const files[] = { "boot/vmlinuz", "boot/initrd", "boot/install/boot.img",
		"boot/install/core.img", "boot/install/grub.cfg", "EFI/BOOT/BOOTX64.EFI",
		"EFI/BOOT/grubx64.efi", "EFI/BOOT/mmx64.efi" };
	char path[512];
	struct stat st;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", r->in->medium, files[i]);
		if (access(path, R_OK) < 0)
			return err_sys(e, "the medium lacks %s", path);
	}
	snprintf(path, sizeof(path), "%s/boot/root.squashfs", r->in->medium);
	r->root = open(path, O_RDONLY | O_CLOEXEC);
	if (r->root < 0 || fstat(r->root, &st) < 0)
		return err_sys(e, "the medium lacks %s", path);
	r->root_size = (uint64_t)st.st_size;
	return 0;
}

/* Opens the disk: nobody else may have it. */
static int
open_disk(struct run *r, struct err *e)
{
	const char *path = r->in->disk;
	uint64_t size;
	int sector = 512, fd, rc;
	struct stat st;

	fd = open(path, O_RDWR | O_CLOEXEC | O_EXCL);
	if (fd < 0)
		return errno == EBUSY ? err_set(e, EBUSY, "%s is in use", path) : err_sys(e, "%s", path);
	close(fd); /* the tools want it for themselves in turn */
	r->fd = open(path, O_RDWR | O_CLOEXEC);
	if (r->fd < 0 || fstat(r->fd, &st) < 0)
		return err_sys(e, "%s", path);
	size = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) &&
	    (ioctl(r->fd, BLKGETSIZE64, &size) < 0 || ioctl(r->fd, BLKSSZGET, &sector) < 0))
		return err_sys(e, "%s", path);
	if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s is neither a disk nor a file", path);
	rc = layout_plan(size, (uint32_t)sector, r->l, e);
	if (rc == 0 && r->root_size > r->l->part[PART_SLOT_A].size)
		rc = err_set(e, EFBIG, "the system on the medium is larger than a slot");
	return rc < 0 ? err_wrap(e, rc, "%s", path) : 0;
}

static int
write_at(const struct run *r, const void *data, size_t n, uint64_t at, struct err *e)
{
	ssize_t w;

	for (size_t done = 0; done < n; done += (size_t)w) {
		w = pwrite(r->fd, (const char *)data + done, n - done, (off_t)(at + done));
		if (w < 0)
			return err_sys(
			    e, "%s: writing at %llu MB", r->in->disk, (unsigned long long)(at / 1000000));
	}
	return 0;
}

/* The table, and zeros where a file system of old times could still be seen. */
static int
step_table(struct run *r, struct err *e)
{
	int rc;

	memset(r->chunk, 0, CHUNK);
	rc = write_at(r, r->chunk, CHUNK, 0, e);
	if (rc == 0)
		rc = write_at(r, r->chunk, CHUNK, r->l->disk - CHUNK, e);
	if (rc == 0)
		rc = layout_write(r->in->disk, r->l, e);
	for (int i = 0; i < PARTS && rc == 0; i++)
		rc = write_at(r, r->chunk, CHUNK, r->l->part[i].start, e);
	return rc;
}

static int
step_boot_fs(struct run *r, struct err *e)
{
	const struct layout_part *p = &r->l->part[PART_BOOT];
	char offset[24], sector[16], cluster[16], blocks[24];
	const char *argv[] = { "mkfs.fat", "-I", "-F", "32", "-n", "FREEHOLD", "-S", sector, "-s", cluster,
		"--offset", offset, r->in->disk, blocks, NULL };

	snprintf(sector, sizeof(sector), "%u", r->l->sector);
	snprintf(cluster, sizeof(cluster), "%u", 4096 / r->l->sector); /* FAT32 has 65525 clusters or more */
	snprintf(offset, sizeof(offset), "%llu", (unsigned long long)(p->start / r->l->sector));
	snprintf(blocks, sizeof(blocks), "%llu", (unsigned long long)(p->size / 1024));
	return tool_run(argv, e);
}

static int
make_folder(const struct run *r, const char *name, struct err *e)
{
	return tool_run((const char *const[]){ "mmd", "-i", r->boot, name, NULL }, e);
}

/* A file of the folder `from` to the boot partition. */
static int
copy_file(const struct run *r, const char *from, const char *name, const char *to, struct err *e)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", from, name);
	return tool_run((const char *const[]){ "mcopy", "-i", r->boot, path, to, NULL }, e);
}

/* A small text of our own in the work folder. */
static int
write_text(const struct run *r, const char *name, const char *text, struct err *e)
{
	char path[128];
	FILE *f;
	int rc = 0;

	snprintf(path, sizeof(path), "%s/%s", r->work, name);
	f = fopen(path, "we");
	if (!f)
		return err_sys(e, "%s", path);
	if (fputs(text, f) < 0)
		rc = err_sys(e, "%s", path);
	if (fclose(f) != 0 && rc == 0)
		rc = err_sys(e, "%s", path);
	return rc;
}

static int
step_boot_files(struct run *r, struct err *e)
{
	static const char *const folders[] = { "::EFI", "::EFI/BOOT", "::EFI/debian", "::grub", "::slot-a" };
	static const struct {
		const char *from, *to;
	} files[] = {
		{ "EFI/BOOT/BOOTX64.EFI", "::EFI/BOOT/BOOTX64.EFI" },
		{ "EFI/BOOT/grubx64.efi", "::EFI/BOOT/grubx64.efi" },
		{ "EFI/BOOT/mmx64.efi", "::EFI/BOOT/mmx64.efi" },
		{ "boot/install/grub.cfg", "::grub/grub.cfg" },
		{ "boot/vmlinuz", "::slot-a/vmlinuz" },
		{ "boot/initrd", "::slot-a/initrd" },
	};
	char text[256];
	int rc = 0;

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && rc == 0; i++)
		rc = make_folder(r, folders[i], e);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && rc == 0; i++)
		rc = copy_file(r, r->in->medium, files[i].from, files[i].to, e);
	/* The signed GRUB begins in EFI/debian of the partition it was loaded from. */
	if (rc == 0)
		rc = write_text(r, "uefi.cfg", "set prefix=($root)/grub\nconfigfile $prefix/grub.cfg\n", e);
	if (rc == 0)
		rc = copy_file(r, r->work, "uefi.cfg", "::EFI/debian/grub.cfg", e);
	snprintf(text, sizeof(text), "set slot_a=%s\nset slot_b=%s\nset data=%s\n",
	    r->l->part[PART_SLOT_A].uuid, r->l->part[PART_SLOT_B].uuid, r->l->part[PART_DATA].uuid);
	if (rc == 0)
		rc = write_text(r, "disk.cfg", text, e);
	return rc == 0 ? copy_file(r, r->work, "disk.cfg", "::grub/disk.cfg", e) : rc;
}

/* Calls back with each piece of the root: to write it, or to compare it with what was written. */
static int
each_piece(struct run *r, int (*piece)(struct run *, size_t n, uint64_t at, struct err *), const char *step,
    struct err *e)
{
	uint64_t at = 0;
	int rc = 0;

	while (at < r->root_size && rc == 0) {
		ssize_t n = pread(r->root, r->chunk, CHUNK, (off_t)at);

		if (n <= 0)
			return n < 0 ? err_sys(e, "reading the medium")
				     : err_set(e, EIO, "the medium ends too early");
		rc = piece(r, (size_t)n, at, e);
		at += (uint64_t)n;
		r->in->progress(r->in->ctx, step, (int)(at * 100 / r->root_size));
	}
	return rc;
}

static int
write_piece(struct run *r, size_t n, uint64_t at, struct err *e)
{
	return write_at(r, r->chunk, n, r->l->part[PART_SLOT_A].start + at, e);
}

static int
compare_piece(struct run *r, size_t n, uint64_t at, struct err *e)
{
	uint8_t *back = malloc(n);
	int rc = 0;

	if (!back)
		return err_set(e, ENOMEM, "out of memory");
	if (pread(r->fd, back, n, (off_t)(r->l->part[PART_SLOT_A].start + at)) != (ssize_t)n ||
	    memcmp(back, r->chunk, n) != 0)
		rc = err_set(e, EIO, "%s does not keep what is written to it", r->in->disk);
	free(back);
	return rc;
}

static int
step_root(struct run *r, struct err *e)
{
	int rc = each_piece(r, write_piece, "Copying the system", e);

	if (rc == 0 && fdatasync(r->fd) < 0)
		rc = err_sys(e, "%s", r->in->disk);
	posix_fadvise(r->fd, 0, 0, POSIX_FADV_DONTNEED); /* what is compared comes from the disk */
	return rc == 0 ? each_piece(r, compare_piece, "Comparing what was written", e) : rc;
}

static int
step_data(struct run *r, struct err *e)
{
	const struct layout_part *p = &r->l->part[PART_DATA];
	char folder[96], extended[64], blocks[24];
	const char *argv[] = { "mke2fs", "-q", "-F", "-t", "ext4", "-L", "FREEHOLD-DATA", "-m", "0", "-E",
		extended, "-d", folder, r->in->disk, blocks, NULL };
	int rc;

	snprintf(folder, sizeof(folder), "%s/data", r->work);
	rc = settings_write(folder, "/sys/class/net", r->in->answers, e);
	/* It would discard from the start of the disk, not of the partition. */
	snprintf(
	    extended, sizeof(extended), "nodiscard,root_owner=0:0,offset=%llu", (unsigned long long)p->start);
	snprintf(blocks, sizeof(blocks), "%lluk", (unsigned long long)(p->size / 1024));
	return rc == 0 ? tool_run(argv, e) : rc;
}

static int
step_boot_code(struct run *r, struct err *e)
{
	char sector[512], core[512];
	int rc;

	if (fsync(r->fd) < 0)
		return err_sys(e, "%s", r->in->disk);
	snprintf(sector, sizeof(sector), "%s/boot/install/boot.img", r->in->medium);
	snprintf(core, sizeof(core), "%s/boot/install/core.img", r->in->medium);
	rc = boot_code_write(r->fd, r->l, sector, core, e);
	if (rc == 0 && fsync(r->fd) < 0)
		rc = err_sys(e, "%s", r->in->disk);
	if (rc == 0)
		ioctl(r->fd, BLKRRPART); /* so that the kernel knows them, too; a restart does it otherwise */
	return rc;
}

static const struct {
	const char *what;
	int (*step)(struct run *r, struct err *e);
	bool tells; /* its progress itself */
} steps[] = {
	{ "Dividing the disk", step_table },
	{ "Making the boot partition", step_boot_fs },
	{ "Copying kernel and boot loader", step_boot_files },
	{ "Copying the system", step_root, true },
	{ "Making the data partition", step_data },
	{ "Making the disk bootable", step_boot_code },
};

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int
open_all(struct run *r, struct err *e)
{
	int rc = open_medium(r, e);

	if (rc == 0)
		rc = open_disk(r, e);
	if (rc < 0)
		return rc;
	snprintf(r->boot, sizeof(r->boot), "%s@@%llu", r->in->disk,
	    (unsigned long long)r->l->part[PART_BOOT].start);
	r->chunk = malloc(CHUNK);
	snprintf(r->work, sizeof(r->work), "/tmp/fh-install.XXXXXX");
	if (!r->chunk || !mkdtemp(r->work)) {
		r->work[0] = '\0';
		return err_sys(e, "a folder in /tmp");
	}
	return 0;
}

int
install_run(const struct install *in, struct layout *out, struct err *e)
{
	struct run r = { .in = in, .l = out, .fd = -1, .root = -1 };
	int rc = open_all(&r, e);

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && rc == 0; i++) {
		if (!steps[i].tells)
			in->progress(in->ctx, steps[i].what, 0);
		rc = steps[i].step(&r, e);
		if (rc < 0)
			err_wrap(e, rc, "%s", steps[i].what);
		else if (!steps[i].tells)
			in->progress(in->ctx, steps[i].what, 100);
	}
	if (r.work[0])
		nftw(r.work, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(r.chunk);
	if (r.fd >= 0)
		close(r.fd);
	if (r.root >= 0)
		close(r.root);
	return rc;
}
