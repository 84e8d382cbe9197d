/*
 * hypervisor/disk/vhd_relink.c - another parent or another path to it, another identity.
 *
 * The header has two sectors, so it is not replaced in its place: a new one, with new strings, is written
 * behind the end; the footers point there; then the same in the old place, and the footers point back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhd.h"

struct relink {
	const struct disk_info *parent;
	const char *relative, *absolute;
	uint8_t strings[VHD_STRINGS];
};

/* A header at `at`, its strings at `strings`. Durable, and nothing points there yet. */
static int
put_header(
    struct vhd *v, struct relink *r, uint64_t at, uint64_t strings, struct vhd_header *h, struct err *e)
{
	int rc;

	*h = v->header;
	rc = vhd_locate(h, r->parent, r->relative, r->absolute, strings, r->strings, e);
	if (rc == 0 && (r->relative || r->absolute))
		rc = file_put(v->file, r->strings, VHD_STRINGS, strings, e);
	vhd_header_encode(h);
	if (rc == 0)
		rc = file_put(v->file, h->raw, VHD_HEADER, at, e);
	return rc < 0 ? rc : file_sync(v->file, e);
}

static int
point_at(struct vhd *v, uint64_t header, struct err *e)
{
	v->footer.data_offset = header;
	return vhd_write_footers(v, e);
}

/* Whether there is room for strings behind the header, the old strings' included. */
static bool
has_room(const struct vhd *v, uint64_t at)
{
	uint64_t end = at + VHD_STRINGS, span = vhd_span(v);

	if (v->header.table < end && at < v->header.table + vhd_table_bytes(v->header.entries))
		return false;
	for (uint32_t i = 0; i < v->header.entries; i++) {
		uint64_t block = (uint64_t)vhd_entry(v, i) * VHD_SECTOR;

		if (vhd_entry(v, i) != VHD_ABSENT && block < end && at < block + span)
			return false;
	}
	return end <= v->trailer;
}

static int
relink(struct vhd *v, struct relink *r, struct err *e)
{
	uint64_t home = v->footer.data_offset, spare = vhd_place(v, v->trailer);
	uint64_t strings = home + VHD_HEADER;
	struct vhd_header h = v->header;
	int rc = vhd_locate(&h, r->parent, r->relative, r->absolute, strings, r->strings, e);

	if (rc == 0)
		rc = vhd_extend(v, vhd_place(v, spare + VHD_HEADER + VHD_STRINGS), e);

	if (rc == 0)
		rc = put_header(v, r, spare, spare + VHD_HEADER, &h, e);
	if (rc == 0)
		rc = point_at(v, spare, e);
	if (rc < 0)
		return rc;
	if (!has_room(v, strings))
		strings = spare + VHD_HEADER;
	rc = put_header(v, r, home, strings, &h, e);
	if (rc == 0)
		rc = point_at(v, home, e);
	if (rc < 0)
		return rc;
	v->header = h;
	vhd_recount(v);
	return vhd_cut(v, e);
}

int
vhd_relink(struct disk_file *f, const struct disk_info *parent, const char *relative, const char *absolute,
    struct err *e)
{
	struct relink *r = calloc(1, sizeof(*r));
	struct vhd v;
	int rc;

	if (!r)
		return err_set(e, ENOMEM, "no memory for a parent's paths");
	r->parent = parent;
	r->relative = relative;
	r->absolute = absolute;
	rc = vhd_load_to_change(&v, f, e);
	if (rc == 0) {
		rc = v.footer.type == VHD_DIFFERENCING
			 ? relink(&v, r, e)
			 : err_set(e, EINVAL, "only a differencing disk has a parent");
		vhd_unload(&v);
	}
	free(r);
	return rc;
}

int
vhd_set(struct disk_file *f, const uint8_t *id, uint32_t physical, struct err *e)
{
	struct vhd v;
	int rc;

	if (physical)
		return err_set(e, ENOTSUP, "a VHD does not say how large the sectors below are; a VHDX can");
	rc = vhd_load_to_change(&v, f, e);
	if (rc < 0)
		return rc;
	if (id) {
		memcpy(v.footer.id, id, GUID_BYTES);
		rc = vhd_write_footers(&v, e);
	}
	vhd_unload(&v);
	return rc;
}
