/*
 * hypervisor/disk/vhd_open.c - opening a VHD, what it says of itself, and a fixed one while it works: there
 * all requests go to the file as they are.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhd.h"

enum { GRANULARITY = 4096, PHYSICAL = 4096 };

/* --- Fixed ------------------------------------------------------------------------------------------- */

static void
ended(struct file_op *op, int rc)
{
	struct disk_io *io = (struct disk_io *)((char *)op - offsetof(struct disk_io, file));

	io->done(io, rc);
}

static void
fixed_submit(struct disk *d, struct disk_io *io)
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
fixed_extent(struct disk *d, uint64_t offset, uint64_t len, struct extent *x, struct err *e)
{
	uint64_t alike;
	bool hole = file_is_hole(d->file, offset, len, &alike);

	(void)e;
	*x = (struct extent){ .kind = hole && alike >= VHD_SECTOR ? EXTENT_ZERO : EXTENT_DATA, .at = offset };
	x->len = alike < VHD_SECTOR ? VHD_SECTOR : alike - alike % VHD_SECTOR;
	return 0;
}

static int
fixed_map(struct disk *d, uint64_t offset, uint64_t len, struct extent *x)
{
	(void)d;
	*x = (struct extent){ .kind = EXTENT_DATA, .at = offset, .len = len };
	return 0;
}

/* As a dynamic one: what was written is durable. */
static int
fixed_close(struct disk *d, struct err *e)
{
	return d->read_only ? 0 : file_sync(d->file, e);
}

static void
fixed_free(struct disk *d)
{
	file_free(d->file);
	free(d);
}

static const struct disk_ops fixed_ops = { .name = "VHD",
	.submit = fixed_submit,
	.extent = fixed_extent,
	.map = fixed_map,
	.close = fixed_close,
	.free = fixed_free };

static int
fixed_open(struct disk **out, const struct disk_open *how, struct vhd *v, struct err *e)
{
	struct disk *d = calloc(1, sizeof(*d));

	if (!d)
		return err_set(e, ENOMEM, "disk: out of memory");
	*d = (struct disk){ .ops = &fixed_ops,
		.loop = how->loop,
		.file = how->file,
		.size = v->footer.size,
		.logical = VHD_SECTOR,
		.physical = PHYSICAL,
		.read_only = how->read_only,
		.can_discard = !how->read_only && how->file->can_punch,
		.discard_zeroes = !how->read_only && how->file->can_punch,
		.discard_granularity = GRANULARITY };
	vhd_unload(v);
	*out = d;
	return 0;
}

/* --- Opening ----------------------------------------------------------------------------------------- */

static int
check_parent(const struct vhd *v, const struct disk *parent, struct err *e)
{
	bool child = v->footer.type == VHD_DIFFERENCING;

	if (child && !parent)
		return err_set(e, EINVAL, "a differencing disk cannot be opened without its parent");
	if (!child && parent)
		return err_set(e, EINVAL, "only a differencing disk has a parent");
	if (child && parent->logical != VHD_SECTOR)
		return err_set(
		    e, EINVAL, "the parent's sectors have %u bytes, a VHD's %d", parent->logical, VHD_SECTOR);
	return 0;
}

static int
open_loaded(struct disk **out, const struct disk_open *how, struct vhd *v, struct err *e)
{
	int rc = check_parent(v, how->parent, e);

	if (rc == 0 && !how->read_only) {
		rc = vhd_may_change(v, e);
		if (rc == 0)
			rc = vhd_mend(v, e);
	}
	if (rc < 0)
		return rc;
	return v->footer.type == VHD_FIXED ? fixed_open(out, how, v, e) : vhd_live_open(out, how, v, e);
}

static int
vhd_open(struct disk **out, const struct disk_open *how, struct err *e)
{
	struct vhd v;
	int rc = vhd_load(&v, how->file, e);

	if (rc < 0)
		return rc;
	rc = open_loaded(out, how, &v, e);
	if (rc < 0)
		vhd_unload(&v);
	return rc;
}

/* --- What it says of itself -------------------------------------------------------------------------- */

static void
tell_creator(const struct vhd_footer *f, char out[64])
{
	char name[5] = { 0 };

	for (unsigned i = 0; i < 4 && f->creator[i]; i++)
		name[i] = f->creator[i] > ' ' && f->creator[i] < 0x7f ? f->creator[i]
			  : f->creator[i] == ' '                      ? ' '
								      : '?';
	for (size_t n = strlen(name); n > 0 && name[n - 1] == ' '; n--)
		name[n - 1] = '\0';
	snprintf(out, 64, "%s %u.%u", name, f->creator_version >> 16, f->creator_version & 0xffff);
}

/* Whether a code of four characters is this one. */
static bool
is_code(const struct vhd_locator *l, const char *code)
{
	return memcmp(l->code, code, sizeof(l->code)) == 0;
}

static int
tell_path(const struct vhd *v, const struct vhd_locator *l, struct disk_parent_path *out, struct err *e)
{
	uint8_t raw[2 * DISK_PATH_MAX];
	size_t len = l->len < sizeof(raw) ? l->len : sizeof(raw);
	int rc = file_get(v->file, raw, len, l->at, e);

	if (rc < 0)
		return rc;
	snprintf(out->which, sizeof(out->which), "%.4s", l->code);
	if (!is_code(l, "MacX")) {
		vhd_from_utf16(raw, len, false, out->path, sizeof(out->path));
		return 0;
	}
	if (len >= sizeof(out->path))
		len = sizeof(out->path) - 1;
	memcpy(out->path, raw, len);
	for (size_t i = 0; i < len; i++)
		if ((uint8_t)out->path[i] < ' ')
			out->path[i] = '\0';
	out->path[len] = '\0';
	return 0;
}

/* The relative path first; the bare name in the header is the last to be tried. */
static int
tell_parent(const struct vhd *v, struct disk_info *out, struct err *e)
{
	static const char codes[][5] = { "W2ru", "W2ku", "MacX" };
	struct disk_parent_path *name;

	memcpy(out->parent_id, v->header.parent_id, GUID_BYTES);
	for (unsigned c = 0; c < sizeof(codes) / sizeof(codes[0]); c++)
		for (unsigned i = 0; i < VHD_LOCATORS && out->parent_paths < DISK_PARENT_PATHS - 1; i++) {
			const struct vhd_locator *l = &v->header.locator[i];
			int rc;

			if (!is_code(l, codes[c]) || l->len == 0)
				continue;
			rc = tell_path(v, l, &out->parent_path[out->parent_paths], e);
			if (rc < 0)
				return rc;
			out->parent_paths++;
		}
	name = &out->parent_path[out->parent_paths];
	vhd_from_utf16(v->header.parent_name, VHD_NAME, true, name->path, sizeof(name->path));
	snprintf(name->which, sizeof(name->which), "name");
	out->parent_paths += name->path[0] != '\0';
	return 0;
}

static enum disk_type
type_of(const struct vhd *v)
{
	return v->footer.type == VHD_FIXED     ? DISK_FIXED
	       : v->footer.type == VHD_DYNAMIC ? DISK_DYNAMIC
					       : DISK_DIFFERENCING;
}

static int
vhd_info(struct disk_file *f, struct disk_info *out, struct err *e)
{
	struct vhd v;
	int rc = vhd_load(&v, f, e);

	if (rc < 0)
		return rc;
	*out = (struct disk_info){ .format = DISK_VHD,
		.type = type_of(&v),
		.size = v.footer.size,
		.file_size = v.file_size,
		.allocated = v.footer.type == VHD_FIXED ? v.footer.size
							: (uint64_t)v.allocated * v.header.block_size,
		.block_size = v.header.block_size,
		.logical = VHD_SECTOR,
		.physical = v.footer.type == VHD_FIXED ? PHYSICAL : VHD_PHYSICAL,
		.created = v.footer.created,
		.dirty = (v.faults & ~(unsigned)VHD_OLD_TRAILER) != 0,
		.saved_state = v.footer.saved_state };
	memcpy(out->id, v.footer.id, GUID_BYTES);
	memcpy(out->data_id, v.footer.id, GUID_BYTES);
	tell_creator(&v.footer, out->creator);
	if (v.footer.type == VHD_DIFFERENCING)
		rc = tell_parent(&v, out, e);
	vhd_unload(&v);
	return rc;
}

/* --- The table's row --------------------------------------------------------------------------------- */

/* A merge writes into a parent under the identity that it has: there is no second one to be prepared. */
static int
keeps_id(struct disk_file *f, const uint8_t *next, struct err *e)
{
	(void)f, (void)next, (void)e;
	return 0;
}

const struct disk_format disk_vhd_format = {
	.name = "VHD",
	.open = vhd_open,
	.info = vhd_info,
	.create = vhd_create,
	.check = vhd_check,
	.resize = vhd_resize,
	.compact = vhd_compact,
	.relink = vhd_relink,
	.set = vhd_set,
	.set_parent_id2 = keeps_id,
	.set_data_id = keeps_id,
};
