/* hypervisor/disk/raw.c - a file or block device as it is: nothing in it is anything but the guest's. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/format.h"

enum {
	PHYSICAL = 4096,
	GRANULARITY = 4096,
	DVD_SECTOR = 2048,
	SECTOR = 512,
};

/* --- Requests --------------------------------------------------------------------------------------- */

static void
ended(struct file_op *op, int rc)
{
	struct disk_io *io = (struct disk_io *)((char *)op - offsetof(struct disk_io, file));

	io->done(io, rc);
}

static void
raw_submit(struct disk *d, struct disk_io *io)
{
	struct file_op *op = &io->file;

	op->done = ended;
	switch (io->op) {
	case DISK_READ:
		file_readv(d->file, op, io->iov, io->iovs, io->len, io->offset);
		break;
	case DISK_WRITE:
		file_writev(d->file, op, io->iov, io->iovs, io->len, io->offset, io->fua);
		break;
	case DISK_FLUSH:
		file_flush(d->file, op);
		break;
	case DISK_DISCARD:
		file_discard(d->file, op, io->offset, io->len);
		break;
	case DISK_ZERO:
		file_zero(d->file, op, io->offset, io->len, io->unmap, io->fua);
		break;
	}
}

/* A sector that is only partly a hole is data. */
static int
raw_extent(struct disk *d, uint64_t offset, uint64_t len, struct extent *x, struct err *e)
{
	uint64_t alike;
	bool hole = file_is_hole(d->file, offset, len, &alike);

	(void)e;
	x->kind = hole && alike >= d->logical ? EXTENT_ZERO : EXTENT_DATA;
	x->at = offset;
	x->len = alike < d->logical ? d->logical : alike - alike % d->logical;
	return 0;
}

static int
raw_map(struct disk *d, uint64_t offset, uint64_t len, struct extent *x)
{
	(void)d;
	*x = (struct extent){ .kind = EXTENT_DATA, .at = offset, .len = len };
	return 0;
}

static int
raw_close(struct disk *d, struct err *e)
{
	(void)d, (void)e;
	return 0;
}

static void
raw_free(struct disk *d)
{
	file_free(d->file);
	free(d);
}

static const struct disk_ops raw_ops = { .name = "Raw",
	.submit = raw_submit,
	.extent = raw_extent,
	.map = raw_map,
	.close = raw_close,
	.free = raw_free };

/* --- Opening ---------------------------------------------------------------------------------------- */

int
disk_raw_new(struct disk **out, struct io_loop *loop, struct disk_file *file, uint32_t logical,
    bool read_only, struct err *e)
{
	struct disk *d;
	uint64_t size;
	int rc;

	if (logical != SECTOR && logical != DVD_SECTOR && logical != PHYSICAL)
		return err_set(e, EINVAL, "a disk's sectors have 512, 2048 or 4096 bytes, not %u", logical);
	rc = file_size(file, &size, e);
	if (rc < 0)
		return rc;
	if (size < logical)
		return err_set(e, EINVAL, "the disk's file is empty: it has not one sector");
	d = calloc(1, sizeof(*d));
	if (!d)
		return err_set(e, ENOMEM, "disk: out of memory");
	*d = (struct disk){ .ops = &raw_ops,
		.loop = loop,
		.file = file,
		.size = size / logical * logical,
		.logical = logical,
		.physical = PHYSICAL,
		.read_only = read_only,
		/* A device has to be tried in earnest. */
		.can_discard = !read_only && (file->can_punch || file->is_device),
		.discard_zeroes = !read_only && file->can_punch,
		.discard_granularity = GRANULARITY };
	*out = d;
	return 0;
}

static int
raw_open(struct disk **out, const struct disk_open *how, struct err *e)
{
	if (how->parent)
		return err_set(e, EINVAL, "a raw image has no parent");
	return disk_raw_new(
	    out, how->loop, how->file, how->logical ? how->logical : SECTOR, how->read_only, e);
}

/* --- The image as a whole --------------------------------------------------------------------------- */

static uint64_t
bytes_of_data(struct disk_file *f, uint64_t size)
{
	uint64_t sum = 0, alike;

	for (uint64_t at = 0; at < size; at += alike)
		if (!file_is_hole(f, at, size - at, &alike))
			sum += alike;
	return sum;
}

static int
raw_info(struct disk_file *f, struct disk_info *out, struct err *e)
{
	uint64_t size;
	int rc = file_size(f, &size, e);

	if (rc < 0)
		return rc;
	*out = (struct disk_info){ .format = DISK_RAW,
		.type = DISK_FIXED,
		.size = size,
		.file_size = size,
		.logical = SECTOR,
		.physical = PHYSICAL };
	out->allocated = bytes_of_data(f, size);
	return 0;
}

/* Space that is taken now, unless the file system has no way to do that but writing. */
static int
take_space(struct disk_file *f, uint64_t from, uint64_t size, struct err *e)
{
	int rc = size > from && !f->is_device ? f->ops->allocate(f, 0, from, size - from) : 0;

	if (rc == -EOPNOTSUPP || rc == -ENOSYS)
		rc = 0;
	return rc < 0 ? err_set(e, -rc, "there is no space for %llu bytes: %s", (unsigned long long)size,
			    strerror(-rc))
		      : 0;
}

static int
check_size(struct disk_file *f, uint64_t size, uint32_t sector, struct err *e)
{
	uint64_t has;
	int rc;

	if (size == 0 || size % sector || size > INT64_MAX)
		return err_set(e, EINVAL, "a raw image's size is a multiple of %u bytes, not %llu", sector,
		    (unsigned long long)size);
	if (!f->is_device)
		return 0;
	rc = file_size(f, &has, e);
	return rc < 0 || has == size ? rc
				     : err_set(e, EINVAL, "a device of %llu bytes cannot get another size",
					   (unsigned long long)has);
}

static int
raw_create(struct disk_file *f, const struct disk_create *how, const struct disk_progress *p, struct err *e)
{
	int rc;

	(void)p;
	if (how->type != DISK_FIXED)
		return err_set(e, EINVAL,
		    "a raw image is fixed: only VHD and VHDX can be dynamic or "
		    "differencing");
	rc = check_size(f, how->size, how->logical ? how->logical : SECTOR, e);
	if (rc < 0 || f->is_device)
		return rc;
	rc = how->sparse_fixed ? 0 : take_space(f, 0, how->size, e);
	if (rc == 0)
		rc = file_truncate(f, how->size, e);
	return rc < 0 ? rc : file_sync(f, e);
}

static int
raw_resize(struct disk_file *f, uint64_t size, const struct disk_progress *p, struct err *e)
{
	int rc = check_size(f, size, SECTOR, e);

	(void)p;
	if (rc == 0 && !f->is_device)
		rc = file_truncate(f, size, e);
	return rc < 0 ? rc : file_sync(f, e);
}

static int
has_nothing(const char *of, struct err *e)
{
	return err_set(e, EOPNOTSUPP, "a raw image has no %s: only VHD and VHDX do", of);
}

static int
raw_check(struct disk_file *f, struct disk_check *c, const struct disk_progress *p, struct err *e)
{
	(void)f, (void)c, (void)p;
	return has_nothing("tables that could be checked", e);
}

static int
raw_compact(struct disk_file *f, const struct disk_progress *p, struct err *e)
{
	(void)f, (void)p;
	return has_nothing("blocks that could be moved together", e);
}

static int
raw_relink(struct disk_file *f, const struct disk_info *parent, const char *relative, const char *absolute,
    struct err *e)
{
	(void)f, (void)parent, (void)relative, (void)absolute;
	return has_nothing("parent", e);
}

static int
raw_set(struct disk_file *f, const uint8_t *id, uint32_t physical, struct err *e)
{
	(void)f, (void)id, (void)physical;
	return has_nothing("identity or sector size of its own", e);
}

static int
raw_set_id(struct disk_file *f, const uint8_t *next, struct err *e)
{
	(void)f, (void)next;
	return has_nothing("identity", e);
}

const struct disk_format disk_raw_format = {
	.name = "Raw",
	.open = raw_open,
	.info = raw_info,
	.create = raw_create,
	.check = raw_check,
	.resize = raw_resize,
	.compact = raw_compact,
	.relink = raw_relink,
	.set = raw_set,
	.set_parent_id2 = raw_set_id,
	.set_data_id = raw_set_id,
};
